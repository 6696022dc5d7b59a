"""Conversations in, predictions out: the same in one go, one at a time, from several threads, with parts missing."""

import json
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import pytest
import torch
from made_up_model import LABELS, made_up_model, subtitles, talk, write_wav
from tiny_media import write_clip

from extractors.extraction.embedding import place_utterances
from m2fnet.conversation.clip import manifest_of
from m2fnet.errors import ConversationError, PredictionError, UsageError
from m2fnet.pipeline import Pipeline, conversation_of
from m2fnet.pipeline.stages import WINDOW, windows
from m2fnet.records import Segment

CLOSE = 1e-5


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Six seconds of sound and picture."""
    return write_clip(tmp_path_factory.mktemp("clip") / "talk.mp4", seconds=6, codecs=("mpeg4", "aac"))


def probabilities(predictions):
    return torch.tensor([list(prediction.probabilities.values()) for prediction in predictions])


def assert_same(found, expected, tolerance=CLOSE):
    torch.testing.assert_close(probabilities(found), probabilities(expected), atol=tolerance, rtol=0)
    assert [(p.start_s, p.end_s, p.speaker, p.text, p.emotion, p.modalities, p.missing) for p in found] == [
        (p.start_s, p.end_s, p.speaker, p.text, p.emotion, p.modalities, p.missing) for p in expected
    ]


def differ(one, other):
    return float((probabilities(one) - probabilities(other)).abs().max()) > 100 * CLOSE


def test_every_utterance_gets_an_emotion_with_what_it_was_made_from(clip):
    utterances = talk(3, seconds=2.0)
    predictions = Pipeline(made_up_model())(clip, segments=utterances)
    assert [(p.start_s, p.end_s, p.speaker, p.text) for p in predictions] == [
        (utterance.start_s, utterance.end_s, utterance.speaker, utterance.text) for utterance in utterances
    ]
    for prediction in predictions:
        assert tuple(prediction.probabilities) == LABELS.classes
        assert math.isclose(sum(prediction.probabilities.values()), 1, abs_tol=1e-6)
        assert prediction.emotion == max(prediction.probabilities, key=prediction.probabilities.get)
        assert prediction.modalities == ("text", "audio", "visual")
        assert prediction.missing == {}


def test_the_network_gets_the_whole_conversation_as_one_dialogue():
    model, utterances = made_up_model("text"), talk(5)
    letters = torch.stack(
        [model.extractors["text"].preprocess(utterance)["counts"] for utterance in in_dialogue(utterances)]
    )
    inputs, present = {"text": letters[None]}, {"text": torch.ones(1, 5, dtype=torch.bool)}
    with torch.inference_mode():
        expected = (
            model.network({"inputs": inputs, "frames": {}, "present": present, "valid": present["text"]})
            .scores[0]
            .softmax(-1)
        )
    torch.testing.assert_close(probabilities(Pipeline(model)(segments=utterances)), expected, atol=CLOSE, rtol=0)


def in_dialogue(segments):
    return place_utterances(manifest_of(None, segments, LABELS))


def test_probabilities_are_at_the_temperature_of_the_model():
    warm, cold = made_up_model("text"), made_up_model("text")
    warm.config["temperature"] = 100.0
    assert float(probabilities(Pipeline(warm)(segments=talk(4))).max()) < 0.4
    assert float(probabilities(Pipeline(cold)(segments=talk(4))).max()) > 0.4


def test_utterances_come_from_the_subtitles_next_to_the_clip(tmp_path):
    write_wav(tmp_path / "talk.wav", 4)
    utterances = talk(2, seconds=2.0)
    (tmp_path / "talk.srt").write_text(subtitles(utterances), encoding="utf-8")
    predictions = Pipeline(made_up_model())(tmp_path / "talk.wav")
    assert [(p.start_s, p.text) for p in predictions] == [
        (utterance.start_s, utterance.text.strip()) for utterance in utterances
    ]


@pytest.mark.parametrize("name", ["talk.txt", "talk.csv"])
def test_a_transcript_is_a_conversation_by_itself(name, tmp_path):
    path = tmp_path / name
    text = "Ann: Hello!\nBob: You again.\n" if name == "talk.txt" else "speaker,text\nAnn,Hello!\nBob,You again.\n"
    path.write_text(text, encoding="utf-8")
    pipeline = Pipeline(made_up_model())
    predictions = pipeline(str(path))
    assert [(p.start_s, p.speaker, p.text) for p in predictions] == [
        (None, "Ann", "Hello!"),
        (None, "Bob", "You again."),
    ]
    assert predictions[0].modalities == ("text",)
    assert predictions[0].missing == {"audio": "there is no sound", "visual": "there is no picture"}
    assert_same(pipeline(segments=path), predictions)
    assert conversation_of(path)[1].source == name


def test_what_is_missing_is_reported_utterance_by_utterance(tmp_path):
    write_wav(tmp_path / "talk.wav", 3)
    utterances = (Segment(0.0, 1.5, "A", "Hello"), Segment(1.5, 3.0, "B", None), Segment(4.0, 5.0, "A", "Still there?"))
    predictions = Pipeline(made_up_model())(tmp_path / "talk.wav", segments=utterances)
    assert [p.modalities for p in predictions] == [("text", "audio"), ("audio",), ("text",)]
    assert predictions[1].missing == {"text": "there is no transcript", "visual": "there is no picture"}
    assert predictions[2].missing["audio"].startswith("the sound ends before the ")


def test_a_conversation_with_nothing_that_the_model_takes_is_refused(tmp_path):
    clip = write_wav(tmp_path / "talk.wav", 1)
    with pytest.raises(PredictionError) as refused:
        Pipeline(made_up_model("text"))(clip, segments=[Segment(0.0, 1.0)])
    assert "talk.wav (1 in all) has anything that the model takes" in str(refused.value)
    assert "text: there is no transcript" in str(refused.value)
    with pytest.raises(PredictionError, match="visual: there is no picture"):
        Pipeline(made_up_model("visual"), causal=True)(clip, segments=[Segment(0.0, 1.0)])


def test_neither_clip_nor_segments_is_wrong_use():
    with pytest.raises(UsageError, match="Expected a clip, segments, or both"):
        Pipeline(made_up_model("text"))()


@pytest.mark.parametrize("device", ["cuda:99", "toaster"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(UsageError, match=f"The device '{device}' is not there"):
        Pipeline(made_up_model("text"), device=device)


@pytest.mark.parametrize("utterances", [1, 7, 20])
def test_causal_equals_a_stream(utterances):
    segments = talk(utterances)
    pipeline = Pipeline(made_up_model("text"), causal=True)
    stream = pipeline.stream()
    assert_same([stream.add(segment) for segment in segments], pipeline(segments=segments))


def test_causal_with_a_clip_equals_a_stream(clip):
    pipeline = Pipeline(made_up_model(), causal=True)
    stream, utterances = pipeline.stream(), talk(3, seconds=2.0)
    assert_same([stream.add(utterance, clip) for utterance in utterances], pipeline(clip, segments=utterances))


def test_causal_sees_no_later_utterance():
    model = made_up_model("text")
    whole, causal = Pipeline(model), Pipeline(model, causal=True)
    assert_same(causal(segments=talk(9))[:4], causal(segments=talk(4)))
    assert differ(whole(segments=talk(9))[:4], whole(segments=talk(4)))
    assert_same(whole(segments=talk(1)), causal(segments=talk(1)))


def test_a_causal_network_says_the_same_in_one_go_where_the_extractors_are_causal_too(clip):
    model = made_up_model("audio", causal=True)
    utterances = talk(6, seconds=1.0)
    assert_same(Pipeline(model, causal=True)(clip, segments=utterances), Pipeline(model)(clip, segments=utterances))


@pytest.mark.parametrize("causal", [False, True])
def test_each_utterance_is_embedded_once(causal):
    model = made_up_model("text")
    Pipeline(model, causal=causal)(segments=talk(40))
    assert sorted(model.extractors["text"].seen) == sorted(f"conversation_{n}" for n in range(40))


@pytest.mark.parametrize("causal", [False, True])
def test_progress_counts_utterances(causal):
    shown = []
    Pipeline(made_up_model("text"), causal=causal)(segments=talk(40), progress=lambda *step: shown.append(step))
    assert shown[-1] == (40, 40)
    assert [done for done, _ in shown] == sorted({done for done, _ in shown})
    assert len(shown) > 1


def test_a_clip_that_cannot_be_read_is_named_and_the_others_go_on(clip, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"#EXTM3U\nhttp://example.org/a.ts\n")
    good = write_wav(tmp_path / "good.wav", 2)
    pipeline = Pipeline(made_up_model())
    answers = dict(pipeline.batch([clip, bad, good]))
    assert list(answers) == [clip, bad, good]
    assert isinstance(answers[bad], ConversationError)
    assert "bad.mp4" in str(answers[bad])
    assert_same(answers[clip], pipeline(clip))
    assert_same(answers[good], pipeline(good))


@pytest.mark.parametrize(("utterances", "size"), [(1, 8), (8, 8), (9, 8), (16, 8), (1000, 8), (257, 256)])
def test_windows_count_every_utterance_once_with_context_on_either_side(utterances, size):
    seen_and_counted = list(windows(utterances, size))
    assert [utterance for _, counted in seen_and_counted for utterance in counted] == list(range(utterances))
    for seen, counted in seen_and_counted:
        assert len(seen) == min(utterances, size)
        assert counted.start - seen.start >= size // 4 or seen.start == 0
        assert seen.stop - counted.stop >= size // 4 or seen.stop == utterances
    assert len(seen_and_counted) <= max(1, 2 * utterances // size)


class Watched(torch.nn.Module):
    """A network that notes how many utterances it is given together."""

    def __init__(self, network):
        super().__init__()
        self.network, self.lengths = network, []

    def forward(self, batch):
        self.lengths.append(batch["valid"].shape[1])
        return self.network(batch)


def watched(model):
    return replace(model, network=Watched(model.network))


def test_up_to_a_window_is_seen_at_once():
    model = watched(made_up_model("text"))
    Pipeline(model)(segments=talk(WINDOW))
    assert model.network.lengths == [WINDOW]


def test_ten_thousand_utterances_that_all_speak_at_once_take_no_more_memory_than_a_window():
    utterances = tuple(Segment(0.0, 1800.0, "AB"[n % 2], f"{n} times no") for n in range(10_000))
    model = watched(made_up_model("text"))
    predictions = Pipeline(model)(segments=utterances)
    assert [p.text for p in predictions] == [utterance.text for utterance in utterances]
    assert max(model.network.lengths) == WINDOW
    assert sum(model.network.lengths) < 2.1 * len(utterances)


def test_what_is_far_away_changes_nothing():
    utterances = talk(3 * WINDOW)
    pipeline = Pipeline(made_up_model("text"))
    other = (*utterances[:-1], Segment(None, None, "A", "q" * 30))
    ours, theirs = pipeline(segments=utterances), pipeline(segments=other)
    assert_same(ours[:WINDOW], theirs[:WINDOW])
    assert differ(ours[-20:-1], theirs[-20:-1])


def test_a_stream_remembers_a_window_and_no_more():
    model = watched(made_up_model("text"))
    stream = Pipeline(model).stream()
    for utterance in talk(WINDOW + 20):
        stream.add(utterance)
    assert model.network.lengths == [*range(1, WINDOW + 1), *repeat(WINDOW, 20)]


def test_an_utterance_that_cannot_be_read_leaves_the_stream_as_it_was(tmp_path):
    pipeline, utterances = Pipeline(made_up_model("text", "audio")), talk(3)
    stream, undisturbed = pipeline.stream(), pipeline.stream()
    stream.add(utterances[0])
    with pytest.raises(ConversationError, match=r"gone\.wav"):
        stream.add(Segment(0.0, 1.0), tmp_path / "gone.wav")
    undisturbed.add(utterances[0])
    assert_same([stream.add(utterances[1])], [undisturbed.add(utterances[1])])


@pytest.mark.parametrize("causal", [False, True])
def test_several_threads_get_what_one_after_the_other_gets(clip, causal):
    pipeline = Pipeline(made_up_model(), causal=causal)
    conversations = [(clip, talk(3, seconds=2.0)), *((None, talk(utterances)) for utterances in (4, 35, 1, 18))] * 3
    expected = [pipeline(file, segments=segments) for file, segments in conversations]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda given: pipeline(given[0], segments=given[1]), conversations))
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other, tolerance=0)


@pytest.mark.slow
def test_ten_thousand_utterances_in_a_thousand_conversations_at_once():
    pipeline = Pipeline(made_up_model("text"))

    def listen(utterances):
        stream = pipeline.stream()
        return [stream.add(utterance) for utterance in utterances]

    conversations = [talk(13)[n % 4 :][:10] for n in range(1000)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(listen, conversations))
    expected = [listen(conversation) for conversation in conversations[:4]]
    assert sum(map(len, found)) == 10_000
    for number, predictions in enumerate(found):
        assert_same(predictions, expected[number % 4], tolerance=0)


@pytest.mark.parametrize("causal", [False, True])
def test_the_rest_of_the_process_is_not_touched(clip, causal):
    before = (torch.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype())
    Pipeline(made_up_model(), causal=causal)(clip)
    after = (torch.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype())
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


SCRIPT = """
import json, sys
from m2fnet.pipeline import Pipeline
imported = set(sys.modules)
from made_up_model import made_up_model
Pipeline(made_up_model("text", "audio"))(sys.argv[1])
training = {"pytorch_lightning", "lightning", "lightning_fabric", "torchmetrics", "tensorboard"}
heavy = {"transformers", "sklearn", "matplotlib", "torchvision", "facenet_pytorch"}
print(json.dumps([sorted(training & set(sys.modules)), sorted(heavy & imported)]))
"""


def test_a_fresh_process_imports_no_training_code_and_little_else(tmp_path):
    clip = write_wav(tmp_path / "talk.wav", 2)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(clip)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(Path(made_up_model.__code__.co_filename).parent), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    training, heavy = json.loads(done.stdout)
    assert training == []
    assert heavy == []
