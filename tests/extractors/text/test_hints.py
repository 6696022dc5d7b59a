"""Answers are kept one by one, none is asked for twice, and a hint is only for the transcript it was made for."""

import dataclasses
import json
import threading
import time

import pytest

from extractors.text import hints as hints_module
from extractors.text.hint_prompt import Prompt
from extractors.text.hints import (
    ANSWERS,
    HINTS,
    META,
    Answer,
    AnswerCache,
    Hinter,
    HintFile,
    NoAnswerError,
    read_hints,
    refuse_other_hints,
    write_hints,
)
from m2fnet.errors import HintError, UsageError
from m2fnet.manifest import Manifest
from m2fnet.records import LabelSet, Utterance

TEXTS = ("Great!", "Go away!", None, "Great!", "The table.")
LABELS = Prompt(("joy", "anger"), "label")


class Scripted:
    """A model that knows the answer to each transcript."""

    most_tokens, parallel, keeps_to_beginnings = 5, 1, False

    def __init__(self, answers=None, **settings):
        self.answers, self.asked, self.settings = answers or {}, [], {"model": "scripted"} | settings

    def count(self, question):
        return 10

    def ask(self, question):
        self.asked.append(json.loads(question.data)["utterance"])
        found = self.answers.get(self.asked[-1], "joy")
        if isinstance(found, Exception):
            raise found
        return Answer(found, 10, 1)


def manifest_of(folder, texts=TEXTS):
    said = tuple(Utterance(f"u{n}", "own", "train", "d", n, "Ann", text) for n, text in enumerate(texts))
    return Manifest("own", LabelSet("own", ("joy", "anger")), said).save(folder / "data")


@pytest.fixture
def manifest(tmp_path):
    return manifest_of(tmp_path)


def hinter(out, model, prompt=LABELS):
    return Hinter(prompt, model, AnswerCache(out / ANSWERS))


def test_hints_are_written_with_prompt_model_and_counts(manifest, tmp_path):
    model = Scripted({"Go away!": "anger", "The table.": "boredom"})
    counts = write_hints(tmp_path / "out", manifest, hinter(tmp_path / "out", model))
    assert counts == {"hints": 3, "no transcript": 1, "not in the label set": 1}
    assert model.asked == ["Great!", "Go away!", "The table."]  # the same transcript once
    meta = json.loads((tmp_path / "out" / META).read_text(encoding="utf-8"))
    assert meta["model"] == {"model": "scripted"}
    assert meta["prompt"]["instruction"] == LABELS.whole_instruction
    assert (meta["manifest_sha256"], meta["input_tokens"], meta["output_tokens"]) == (manifest.sha256, 30, 3)
    found = read_hints(tmp_path / "out")
    assert [found.hint_of(one) for one in manifest.utterances] == ["joy", "anger", "", "joy", ""]
    assert found.made_from == {name: meta[name] for name in ("sha256", "prompt", "model")}


def test_nothing_is_asked_twice_and_the_files_are_the_same(manifest, tmp_path):
    out = tmp_path / "out"
    write_hints(out, manifest, hinter(out, Scripted()))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    model = Scripted()
    write_hints(out, manifest, hinter(out, model))
    assert model.asked == []
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("other", ["prompt", "model", "context"])
def test_another_question_is_asked_again(other, manifest, tmp_path):
    out = tmp_path / "out"
    write_hints(out, manifest, hinter(out, Scripted()))
    model = Scripted(temperature=1) if other == "model" else Scripted()
    prompts = {"prompt": Prompt(("joy", "fear"), "label"), "context": dataclasses.replace(LABELS, context=1)}
    write_hints(out, manifest, hinter(out, model, prompts.get(other, LABELS)))
    assert len(model.asked) == (4 if other == "context" else 3)


def test_only_who_keeps_to_the_labels_is_asked_again_for_others(manifest, tmp_path):
    """With an instruction of one's own the labels are not in what is sent."""
    prompts = [Prompt(labels, "label", instruction="Which?") for labels in (("joy", "anger"), ("joy", "fear"))]
    for keeps, asked in ((False, 3), (True, 6)):
        model = Scripted(keeps=keeps)
        model.keeps_to_beginnings = keeps
        for prompt in prompts:
            hinter(tmp_path / "h", model, prompt).answer(manifest)
        assert len(model.asked) == asked


def test_another_length_is_taken_from_the_same_answers(manifest, tmp_path):
    out, model = tmp_path / "out", Scripted(dict.fromkeys(TEXTS, "joy: " + "ha" * 50))
    write_hints(out, manifest, hinter(out, model, Prompt(("joy", "anger"))))
    write_hints(out, manifest, hinter(out, model, Prompt(("joy", "anger"), most_characters=9)))
    assert len(model.asked) == 3
    assert read_hints(out).hint_of(manifest.utterances[0]) == "joy: haha"


@pytest.mark.parametrize("torn", [b'{"key": "ab', b"\0\0\0", b'{"key": 1}\n', b"[" * 100_000, "{}é\n".encode()[:-2]])
def test_a_torn_line_costs_one_answer_at_most(torn, manifest, tmp_path):
    out = tmp_path / "out"
    write_hints(out, manifest, hinter(out, Scripted()))
    lines = (out / ANSWERS).read_bytes().splitlines(keepends=True)
    (out / ANSWERS).write_bytes(b"".join(lines[:-1]) + torn)
    model = Scripted()
    write_hints(out, manifest, hinter(out, model))
    assert model.asked == ["The table."]
    again = Scripted()
    write_hints(out, manifest, hinter(out, again))
    assert again.asked == []


def test_a_stopped_model_leaves_its_answers(manifest, tmp_path):
    out, model = tmp_path / "out", Scripted({"The table.": HintError("no money left")})
    with pytest.raises(HintError, match="no money left"):
        write_hints(out, manifest, hinter(out, model))
    assert not (out / META).exists()
    with pytest.raises(HintError, match="m2fnet hints"):
        read_hints(out)
    model = Scripted()
    write_hints(out, manifest, hinter(out, model))
    assert model.asked == ["The table."]


def test_an_utterance_without_an_answer_is_asked_again_and_stops_no_other(manifest, tmp_path):
    out = tmp_path / "out"
    counts = write_hints(out, manifest, hinter(out, Scripted({"Go away!": NoAnswerError("filtered 4711.")})))
    assert counts == {"hints": 3, "no transcript": 1, "no answer": 1}
    assert "4711" not in (out / HINTS).read_text(encoding="utf-8")
    model = Scripted()
    assert write_hints(out, manifest, hinter(out, model)) == {"hints": 4, "no transcript": 1}
    assert model.asked == ["Go away!"]


def test_many_without_an_answer_stop_the_work(tmp_path):
    manifest, refused = manifest_of(tmp_path, [f"text {n}" for n in range(9)]), NoAnswerError("is busy.")
    model = Scripted({f"text {n}": refused for n in range(1, 9)})
    with pytest.raises(HintError, match="5 questions in sequence got no answer, the last because: is busy"):
        write_hints(tmp_path / "out", manifest, hinter(tmp_path / "out", model))
    assert len(model.asked) == 6


def test_several_questions_are_asked_at_the_same_time(tmp_path):
    manifest, meeting = manifest_of(tmp_path, [f"text {n}" for n in range(8)]), threading.Barrier(4, timeout=30)

    class Meeting(Scripted):
        parallel = 4

        def ask(self, question):
            meeting.wait()  # passes only if four are here
            return super().ask(question)

    model = Meeting({"text 3": NoAnswerError("filtered.")})
    source = hinter(tmp_path / "out", model)
    assert write_hints(tmp_path / "out", manifest, source) == {"hints": 7, "no answer": 1}
    assert len(model.asked) == 8
    assert list(source.unanswered.values()) == ["filtered."]
    assert len(list(hinter(tmp_path / "out", model).unasked(manifest))) == 1


def test_a_failure_of_one_of_several_stops_the_others(tmp_path):
    manifest = manifest_of(tmp_path, [f"text {n}" for n in range(500)])

    class Failing(Scripted):
        parallel = 2

        def ask(self, question):
            time.sleep(0.005)
            return super().ask(question)

    model = Failing({"text 3": HintError("the key is refused.")})
    with pytest.raises(HintError, match="the key is refused"):
        write_hints(tmp_path / "out", manifest, hinter(tmp_path / "out", model))
    assert len(model.asked) < 100


def test_what_is_left_is_counted_without_asking(manifest, tmp_path):
    model = Scripted()
    source = hinter(tmp_path / "out", model)
    assert len(list(source.unasked(manifest))) == 3
    source.ask(manifest.utterances[0])
    assert len(list(source.unasked(manifest))) == 2
    assert len(model.asked) == 1


def test_an_endless_answer_is_kept_short(manifest, tmp_path):
    out = tmp_path / "out"
    hinter(out, Scripted({"Great!": "joy" * 10**6})).ask(manifest.utterances[0])
    assert (out / ANSWERS).stat().st_size < 30_000


def test_a_hint_is_not_used_for_another_transcript(manifest, tmp_path):
    write_hints(tmp_path / "out", manifest, hinter(tmp_path / "out", Scripted()))
    found, first = read_hints(tmp_path / "out"), manifest.utterances[0]
    assert found.hint_of(first) == "joy"
    assert found.hint_of(dataclasses.replace(first, text="great!")) == ""


def test_a_file_of_hints_is_checked_like_answers(manifest, tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text('{"id": "u0", "hint": "Joy"}\n{"id": "u1", "hint": "boredom"}\n', encoding="utf-8")
    counts = write_hints(tmp_path / "out", manifest, HintFile(LABELS, path))
    assert counts == {"hints": 1, "not in the label set": 1, "no transcript": 1, "not in the file": 2}
    assert read_hints(tmp_path / "out").hint_of(manifest.utterances[0]) == "joy"


def test_a_file_of_hints_can_be_read_as_it_is(manifest, tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps({"id": "u0", "hint": "so\n\x1b[1m happy" + "x" * 999}) + "\n", encoding="utf-8")
    found = read_hints(path)
    assert found.hint_of(manifest.utterances[0]).startswith("so [1m happyx")
    assert len(found.hint_of(manifest.utterances[0])) == 300
    assert set(found.made_from) == {"sha256"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "u0"}', r"own.jsonl:1: expected"),
        ('{"id": "u0", "hint": 3}', r"own.jsonl:1: expected"),
        ('{"id": "u0", "hint": "a", "text_sha256": 3}', r"own.jsonl:1: expected"),
        ('{"id": "u0", "hint": "a"}\n{"id": "u0", "hint": "b"}', r"own.jsonl:2: the utterance 'u0' has a hint already"),
        ("[]", r"own.jsonl:1"),
        ("{", r"own.jsonl:1"),
    ],
)
def test_a_damaged_file_is_refused_by_its_line(line, message, tmp_path):
    (tmp_path / "own.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(HintError, match=message):
        read_hints(tmp_path / "own.jsonl")


def test_missing_changed_and_huge_hints_are_refused(manifest, tmp_path, monkeypatch):
    with pytest.raises(HintError, match="Cannot read"):
        HintFile(LABELS, tmp_path / "nowhere.jsonl")
    write_hints(tmp_path / "out", manifest, hinter(tmp_path / "out", Scripted()))
    with (tmp_path / "out" / HINTS).open("a", encoding="utf-8") as file:
        file.write('{"id": "u9", "hint": "joy"}\n')
    with pytest.raises(HintError, match="was changed after it was made"):
        read_hints(tmp_path / "out")
    monkeypatch.setattr(hints_module, "MOST_BYTES", 10)
    with pytest.raises(HintError, match="expected at most 10"):
        read_hints(tmp_path / "out")


def test_other_hints_are_not_replaced_unasked(manifest, tmp_path):
    out = tmp_path / "out"
    write_hints(out, manifest, hinter(out, Scripted()))
    refuse_other_hints(out, manifest, hinter(out, Scripted()))
    with pytest.raises(UsageError, match=r"holds hints of another prompt and model; .* --overwrite"):
        refuse_other_hints(out, manifest, hinter(out, Scripted(size=7), Prompt(("joy", "fear"))))
