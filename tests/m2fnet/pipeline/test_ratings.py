"""A model that rates valence next to the emotion: on a conversation, live, in files and in the terminal."""

import json
import re

import pytest
import torch
from made_up_model import Letters, counts, talk

from dialog.saved import build
from m2fnet.cli import DONE, run
from m2fnet.conversation.writing import load, write_csv, write_jsonl
from m2fnet.errors import ConversationError
from m2fnet.model import Model
from m2fnet.pipeline import Pipeline
from m2fnet.pipeline.stages import WINDOW
from m2fnet.problems import make_problem
from m2fnet.records import LabelSet

LABELS = LabelSet("rated", ("joy", "anger"))
NETWORKS = {
    "attention": ("dialog.models.attention_fusion.AttentionFusion", {"hidden": 8}),
    "low rank": ("dialog.models.low_rank_fusion.LowRankFusion", {"hidden": 8}),
}


class Single(Letters):
    """Counts of letters in an utterance, whatever is said before and after it."""

    def preprocess(self, placed):
        return {"counts": counts(placed.utterance.text)}


def model_of(network="attention", ratings=("valence", "arousal")):
    torch.manual_seed(0)
    class_path, settings = NETWORKS[network]
    net = {"class_path": class_path, "init_args": settings}
    built = build(net, make_problem(LABELS, {"text": 26}, ratings), "a test").eval()
    names = {"ratings": list(ratings)} if ratings else {}
    content = {"network": {**net, "widths": {"text": 26}, **names}, "temperature": 1.0}
    return Model(LABELS, {"text": Single()}, built, content)


@pytest.mark.parametrize("network", NETWORKS)
def test_ratings_are_those_of_the_network_in_the_order_of_its_scales(network):
    model = model_of(network)
    pipeline = Pipeline(model)
    said = talk(WINDOW + 40)  # more than is read together
    predictions = pipeline(segments=said)
    for place in (0, 5, WINDOW + 39):
        vector = counts(said[place].text)
        batch = {
            "inputs": {"text": vector[None, None]},
            "frames": {},
            "present": {"text": torch.ones(1, 1, dtype=torch.bool)},
            "valid": torch.ones(1, 1, dtype=torch.bool),
        }
        with torch.inference_mode():
            expected = model.network(batch).ratings[0, 0]
        found = predictions[place].ratings
        assert list(found) == ["valence", "arousal"]
        assert list(found.values()) == pytest.approx(expected.tolist(), abs=1e-5)
    live = pipeline.stream()
    assert live.add(said[0]).ratings == pytest.approx(predictions[0].ratings, abs=1e-5)


def test_a_model_that_rates_nothing_has_no_ratings(tmp_path):
    predictions = Pipeline(model_of(ratings=()))(segments=talk(2))
    assert [p.ratings for p in predictions] == [{}, {}]
    assert "valence" not in predictions.to_pandas()
    write_jsonl(predictions, tmp_path / "a.jsonl")
    assert "ratings" not in (tmp_path / "a.jsonl").read_text()


def test_files_hold_the_ratings_and_are_read_back(tmp_path):
    predictions = Pipeline(model_of())(segments=talk(3, seconds=2.0))
    write_jsonl(predictions, tmp_path / "a.jsonl")
    assert load(tmp_path / "a.jsonl") == predictions
    write_csv(predictions, tmp_path / "a.csv")
    head, row, *_ = (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()
    assert "p_joy,p_anger,valence,arousal,modalities" in head
    assert f"{predictions[0].ratings['valence']:.4f}" in row.split(",")


@pytest.mark.parametrize("wrong", ["high", ["valence"], {"valence": "high"}, {"valence": float("nan")}])
def test_a_file_with_other_ratings_is_refused(tmp_path, wrong):
    write_jsonl(Pipeline(model_of())(segments=talk(1)), tmp_path / "a.jsonl")
    row = json.loads((tmp_path / "a.jsonl").read_text())
    (tmp_path / "a.jsonl").write_text(json.dumps({**row, "ratings": wrong}))
    with pytest.raises(ConversationError, match=r"the field 'ratings'|NaN"):
        load(tmp_path / "a.jsonl")


def test_the_command_prints_the_ratings(tmp_path, monkeypatch, capsys):
    model = model_of()
    monkeypatch.setattr("m2fnet.pipeline.pipeline.load_model", lambda place: model)
    (tmp_path / "talk.txt").write_text("Ann: Look who is here!\n")
    assert run(["predict", str(tmp_path / "talk.txt"), "--model", "any", "--out", str(tmp_path / "out")]) == DONE
    assert re.search(r"% +valence [+-]\d\.\d\d  arousal [+-]\d\.\d\d  Look who is here!", capsys.readouterr().out)
