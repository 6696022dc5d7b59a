"""The model's process: it answers, it refuses, and it may hang or crash without harm to whoever asks next."""

import json
import multiprocessing
import time
from base64 import b64decode
from threading import Timer

import pytest
from fake_pipeline import EMOTIONS, HEARD, load, load_annotator, load_made_up, load_nothing
from PIL import Image
from small_clips import write_sound, write_subtitles

from m2fnet.errors import PredictionError, RunError
from m2fnet.web.example import CLIP, SUBTITLES, write_example
from m2fnet.web.limits import Limits
from m2fnet.web.worker import Worker

pytestmark = pytest.mark.slow  # each process imports torch


@pytest.fixture(scope="module")
def worker():
    made = Worker(load, Limits(minutes=0.1, timeout_s=12))
    made.facts = made.start()
    yield made
    made.stop()


@pytest.fixture
def ask(worker, tmp_path):
    """``ask("Hello.", ...)`` sends a sound with these utterances and returns all messages."""

    def call(*texts, seconds=4.0):
        clip = write_sound(tmp_path / "talk.clip", seconds)
        return list(worker.predict(clip, write_subtitles(tmp_path / "talk.srt", texts)))

    return call


def test_the_facts_of_the_model_come_first(worker):
    assert worker.facts == {
        "classes": list(EMOTIONS),
        "corpus": "fake",
        "modalities": ["text", "visual"],
        "trained_on": "Trained on fakes.",
        "recogniser": None,
    }


def test_progress_comes_and_then_the_answer_in_plain_json(ask):
    *progress, answer = ask("Ann: One. !slow", "Bob: Two. !slow")
    assert progress == [{"done": 1, "of": 2}, {"done": 2, "of": 2}]
    assert json.loads(json.dumps(answer)) == answer
    first, second = answer["utterances"]
    assert (first["speaker"], first["text"], first["emotion"], first["missing"]) == ("Ann", "One. !slow", "neutral", {})
    assert (second["start_s"], second["end_s"], second["missing"]) == (0.25, 0.5, {"visual": "no face"})
    assert answer["end_s"] == pytest.approx(4.0)
    assert answer["source"] == "the subtitles"
    assert answer["spectrogram"]["utterance"] == 0
    assert answer["spectrogram"]["seconds"] == pytest.approx(0.25)
    by_day, by_night = (b64decode(answer["spectrogram"][name]) for name in ("png", "dark_png"))
    assert by_day.startswith(b"\x89PNG")
    assert by_night.startswith(b"\x89PNG")
    assert by_day != by_night
    assert "Bob" in answer["srt"]
    assert "joy" in answer["srt"]


def test_a_transcript_needs_no_clip(worker, tmp_path):
    *_, answer = worker.predict(None, write_subtitles(tmp_path / "talk.srt", ["Ann: One."]))
    assert (answer["source"], answer["end_s"], answer["spectrogram"]) == ("the transcript", None, None)
    (tmp_path / "talk.txt").write_text("Ann: One.\nBob: Two.\n", encoding="utf-8")
    *_, answer = worker.predict(None, tmp_path / "talk.txt")
    assert [utterance["start_s"] for utterance in answer["utterances"]] == [None, None]
    assert answer["srt"] is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["talk.srt", "talk.txt"]
    with pytest.raises(PredictionError, match="Neither a clip nor subtitles"):
        list(worker.predict(None, None))


def test_cues_that_are_no_utterances_are_told_without_the_place_of_their_file(worker, tmp_path):
    clip, subtitles = write_sound(tmp_path / "talk.clip"), write_subtitles(tmp_path / "talk.srt", ["Ann: One.", "", ""])
    for asked, name in (((clip, subtitles), "the subtitles"), ((None, subtitles), "the transcript")):
        *_, answer = worker.predict(*asked)
        assert [utterance["text"] for utterance in answer["utterances"]] == ["One."]
        assert answer["skipped"] == [f"{name}:6 says nothing", f"{name}:10 says nothing"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("!crash", "made its reader crash"),
        ("!hang", "did not finish in 12 seconds.*--timeout-s"),
        ("!fail", "the sound is silent"),
        ("!bug", "The model failed over this file"),
    ],
)
def test_what_goes_wrong_is_a_sentence_and_the_next_one_is_answered(ask, text, sentence):
    with pytest.raises(PredictionError, match=sentence) as problem:
        ask("Ann: One.", text)
    assert "inside" not in str(problem.value)
    assert len(ask("Ann: Again.")[-1]["utterances"]) == 1


def test_nobody_gets_the_rest_of_an_answer_that_was_meant_for_another(worker, tmp_path, ask):
    clip = write_sound(tmp_path / "first.clip")
    asked = worker.predict(clip, write_subtitles(tmp_path / "first.srt", ["!slow first"] * 3))
    next(asked)
    asked.close()  # whoever asked has left
    assert [utterance["text"] for utterance in ask("second")[-1]["utterances"]] == ["second"]


def test_a_prediction_is_cancelled_by_the_name_of_its_file_only(worker, tmp_path, ask):
    clip = write_sound(tmp_path / "first.clip")
    asked = worker.predict(clip, write_subtitles(tmp_path / "first.srt", ["!slow first", "!hang"]))
    next(asked)
    worker.cancel("other.clip")
    Timer(0.5, worker.cancel, ["first.clip"]).start()
    begun = time.monotonic()
    with pytest.raises(PredictionError, match=r"^The prediction was cancelled\.$"):
        list(asked)
    assert time.monotonic() - begun < 10  # not by the limit of time
    loading, *_, answer = ask("second")
    assert loading == {"loading": True}
    assert [utterance["text"] for utterance in answer["utterances"]] == ["second"]
    worker.cancel("talk.clip")  # too late, so nothing happens
    assert "loading" not in ask("third")[0]


def test_a_clip_that_is_too_long_is_refused_before_the_model_sees_it(ask):
    with pytest.raises(PredictionError, match=r"lasts 0:09 minutes, this page takes up to 0:06"):
        ask("!crash", seconds=9.0)


@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:1/secret.ts\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"PK\x03\x04 a zip",
        b"<html><script>alert(1)</script></html>",
        b"",
    ],
)
def test_what_is_no_clip_is_refused_by_content_and_named_without_its_place(worker, tmp_path, content):
    path = tmp_path / "renamed.clip"
    path.write_bytes(content)
    with pytest.raises(PredictionError, match="cannot be used as a clip") as problem:
        list(worker.predict(path, None))
    assert str(tmp_path) not in str(problem.value)
    assert str(problem.value).startswith("the clip cannot")


def test_bad_subtitles_are_named_with_their_line_but_without_their_place(worker, tmp_path):
    clip, subtitles = write_sound(tmp_path / "talk.clip"), tmp_path / "talk.csv"
    subtitles.write_text("start,end,speaker,text\n3,1,Ann,Backwards.\n", encoding="utf-8")
    with pytest.raises(PredictionError, match=r"the subtitles:2\b") as problem:
        list(worker.predict(clip, subtitles))
    assert str(tmp_path) not in str(problem.value)


def test_a_model_that_cannot_be_loaded_is_an_error_at_the_start():
    lost = Worker(load_nothing, Limits())
    with pytest.raises(RunError, match="There is no model in nowhere"):
        lost.start()
    assert not [process for process in multiprocessing.active_children() if process is lost._process]


def test_a_clip_without_words_gets_those_of_the_recogniser_and_guessed_speakers(tmp_path):
    made = Worker(load, Limits(), load_annotator)
    assert made.start()["recogniser"] == "saying"
    write_example(tmp_path)
    clip = (tmp_path / CLIP).rename(tmp_path / "only.clip")
    *progress, answer = made.predict(clip, None)
    assert {"words", "voices"} >= {message.get("what", "words") for message in progress}
    for utterance in answer["utterances"]:
        assert (utterance["text"], utterance["text_source"]) == (HEARD, "saying")
        assert utterance["speaker"] == "speaker 1"
        assert utterance["speaker_source"]
    assert any(note.startswith("The words are by the recogniser saying") for note in answer["notes"])
    *_, answer = made.predict(clip, tmp_path / SUBTITLES)  # what people wrote is kept
    assert {utterance["text_source"] for utterance in answer["utterances"]} == {None}
    *_, answer = made.predict(None, tmp_path / SUBTITLES)
    made.stop()
    assert {utterance["speaker_source"] for utterance in answer["utterances"]} == {None}


def test_a_photograph_is_one_utterance_without_times(worker, tmp_path):
    Image.new("RGB", (64, 48)).save(tmp_path / "random.jpg")
    *_, answer = worker.predict(tmp_path / "random.jpg", None)
    assert (answer["source"], answer["end_s"], answer["srt"], answer["spectrogram"]) == ("a photograph", *3 * [None])
    assert len(answer["utterances"]) == 1


def test_a_real_pipeline_answers_the_example(tmp_path):
    write_example(tmp_path)
    real = Worker(load_made_up, Limits())
    facts = real.start()
    *_, answer = real.predict(tmp_path / CLIP, tmp_path / SUBTITLES)
    (tmp_path / "face.png").write_bytes(b"\x89PNG, but damaged")
    with pytest.raises(PredictionError, match=r"None of the utterances of the clip .* no picture of the formats"):
        list(real.predict(tmp_path / "face.png", None))
    real.stop()
    assert len(answer["utterances"]) >= 8
    for utterance in answer["utterances"]:
        assert list(utterance["probabilities"]) == facts["classes"]
        assert sum(utterance["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert set(utterance["modalities"]) | set(utterance["missing"]) == set(facts["modalities"])
    assert answer["end_s"] == pytest.approx(answer["utterances"][-1]["end_s"], abs=0.1)
