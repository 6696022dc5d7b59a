"""A model of sets of emotions at work: as a folder, on a conversation, in files and in a picture."""

import json
import re

import pytest
import torch
from made_up_model import Letters, talk

from dialog.saved import build
from m2fnet.cli import DONE, run
from m2fnet.conversation.writing import load, write_csv, write_jsonl, write_srt
from m2fnet.errors import ConversationError
from m2fnet.model import Model
from m2fnet.model.onnx import export_onnx
from m2fnet.pipeline import Pipeline
from m2fnet.plots.emotion_timeline import emotion_timeline
from m2fnet.problems import Stream, make_problem
from m2fnet.records import LabelSet

LABELS = LabelSet("sets", ("joy", "anger", "fear"), "multi")
SMALL = {"width": 8, "latent": 4, "layers": 1, "heads": 2, "feedforward": 8, "queue": 0}


class Frames(Letters):
    """An extractor of sequences, of which only the settings are read here."""

    resolution = "frame"


def model_of(extractor, thresholds=(0.5, 0.5, 0.5), **settings):
    torch.manual_seed(0)
    stream = Stream("text", extractor.width, extractor.resolution == "frame")
    net = {"class_path": "dialog.models.carat.CARAT", "init_args": {**SMALL, **settings}}
    network = build(net, make_problem(LABELS, {"text": stream}), "a test").eval()
    config = {"temperature": 1.0, "thresholds": dict(zip(LABELS.classes, thresholds, strict=True))}
    return Model(LABELS, {"text": extractor}, network, {"network": {**net, "widths": {"text": 26}}, **config})


@pytest.fixture(scope="module")
def predictions():
    """Five utterances, by thresholds that answer with all three, some and no emotion."""
    loose = Pipeline(model_of(Letters(), (0.0, 0.0, 1.0)))(segments=talk(5, seconds=2.0))
    middle = sorted(p.probabilities["anger"] for p in loose)[2]
    return Pipeline(model_of(Letters(), (1.0, middle, 1.0)))(segments=talk(5, seconds=2.0))


def test_an_answer_is_every_emotion_that_reaches_its_threshold(predictions):
    for p in predictions:
        assert p.labels == tuple(name for name in LABELS.classes if p.probabilities[name] >= p.thresholds[name])
        assert p.answers == p.labels
        assert p.emotion == max(p.probabilities, key=p.probabilities.get)
    assert {len(p.answers) for p in predictions} == {0, 1}
    every = Pipeline(model_of(Letters(), (0.0, 0.0, 0.0)))(segments=talk(1))
    assert every[0].as_words.count(" %, ") == 2


def test_the_command_prints_several_emotions_and_the_thresholds(tmp_path, monkeypatch, capsys):
    model = model_of(Letters(), (0.0, 0.0, 1.0))
    monkeypatch.setattr("m2fnet.pipeline.pipeline.load_model", lambda place: model)
    (tmp_path / "talk.txt").write_text("Ann: Look who is here!\n")
    assert run(["predict", str(tmp_path / "talk.txt"), "--model", "any", "--out", str(tmp_path / "out")]) == DONE
    printed = capsys.readouterr().out
    assert "An emotion is an answer from this probability on: joy 0 %, anger 0 %, fear 100 %" in printed
    assert re.search(r"Ann  joy \d+ %, anger \d+ %  Look who is here!", printed)


def test_files_hold_the_sets_and_are_read_back(predictions, tmp_path):
    write_jsonl(predictions, tmp_path / "a.jsonl")
    assert load(tmp_path / "a.jsonl") == predictions
    write_csv(predictions, tmp_path / "a.csv")
    head, *rows = (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()
    assert "emotions,p_joy" in head
    assert [",none," in row for row in rows] == [not p.answers for p in predictions]
    write_srt(predictions, tmp_path / "a.srt")
    written = (tmp_path / "a.srt").read_text(encoding="utf-8")
    assert "[none] " in written
    assert "[anger " in written


@pytest.mark.parametrize(
    ("change", "field"),
    [({"labels": ["rage"]}, "labels"), ({"thresholds": {"joy": 0.5}}, "thresholds"), ({"labels": None}, "labels")],
)
def test_a_file_with_another_set_is_refused(predictions, tmp_path, change, field):
    write_jsonl(predictions[:1], tmp_path / "a.jsonl")
    row = json.loads((tmp_path / "a.jsonl").read_text(encoding="utf-8"))
    (tmp_path / "a.jsonl").write_text(json.dumps({**row, **change}), encoding="utf-8")
    with pytest.raises(ConversationError, match=f"the field '{field}'"):
        load(tmp_path / "a.jsonl")


def test_the_picture_frames_every_emotion_of_a_set(predictions):
    figure = emotion_timeline(predictions, LABELS.classes, "talk")
    frames = figure.axes[1].collections[1]
    assert len(frames.get_paths()) == sum(len(p.answers) for p in predictions)


@pytest.mark.slow
def test_as_onnx_a_network_of_sequences_answers_the_same(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: `make test` brings it")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: `make test` brings it")
    model = model_of(Frames())
    (path,) = export_onnx(model, tmp_path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    draw = torch.Generator().manual_seed(0)
    for dialogues, utterances, frames in ((1, 2, 3), (3, 4, 9)):
        real = torch.rand(dialogues, utterances, frames, generator=draw) < 0.7
        real[0, 0] = False
        present = real.any(-1)
        values = torch.randn(dialogues, utterances, frames, 26, generator=draw) * real[..., None]
        given = {"text": values, "text_present": present, "text_frames": real}
        batch = {"inputs": {"text": values}, "frames": {"text": real}, "present": {"text": present}, "valid": present}
        with torch.inference_mode():
            expected = model.network(batch).scores
        found = torch.from_numpy(session.run(["logits"], {name: x.numpy() for name, x in given.items()})[0])
        torch.testing.assert_close(found[present], expected[present], rtol=0, atol=1e-4)
