"""Pseudo-labels: a file that is read as it was written, and a type that nothing scores."""

import json

import numpy as np
import pytest
from sklearn.metrics import f1_score

from dialog.self_training.gold import GoldLabels, weighted_f1_of
from dialog.self_training.policies import FixedThreshold, Meta, Policy, Selection, SoftWeights
from dialog.self_training.pseudo_labels import Origin, PseudoLabels
from m2fnet.errors import M2FNetError, RunError, UsageError
from m2fnet.metrics.calibration import fit_temperature
from m2fnet.metrics.counts import count_dialogues
from m2fnet.metrics.scores import majority, score
from m2fnet.runs.tested import TestedRun

CLASSES = ("joy", "anger")
SENTENCE = "These are pseudo-labels, which a network made up, and cannot be scored"


@pytest.fixture
def pseudo():
    probabilities, votes = np.array([[0.9, 0.1], [0.4, 0.6], [0.55, 0.45]]), np.array([[3, 0], [1, 2], [2, 1]])
    meta = Meta(CLASSES, ("network 0", "network 1", "network 2"))
    origin = Origin(1, frozenset({1, 2}), ("t1", "t2"), {"text": "s"}, "split", 1.5, "soft")
    selection = SoftWeights().select(probabilities, votes, meta)
    return PseudoLabels(("a", "b", "c"), probabilities, votes, meta, selection, origin)


@pytest.mark.parametrize(
    "metric",
    [
        lambda pseudo: score(pseudo, ["joy"] * 3, CLASSES),
        lambda pseudo: majority(["joy"], pseudo, CLASSES),
        lambda pseudo: count_dialogues(pseudo, [["joy"]] * 3, ["d"] * 3, CLASSES),
        lambda pseudo: fit_temperature(np.full((3, 2), 0.5), pseudo),
        lambda pseudo: f1_score(pseudo, [0, 1, 1], average="weighted"),
        lambda pseudo: np.mean(np.array(["joy"] * 3) == np.asarray(pseudo)),
        lambda pseudo: pseudo == ["joy"] * 3,
        lambda pseudo: list(pseudo),
        lambda pseudo: pseudo[0],
        len,
        bool,
    ],
)
def test_whatever_would_score_pseudo_labels_is_refused(pseudo, metric):
    with pytest.raises(UsageError, match=SENTENCE):
        metric(pseudo)


def test_only_labels_of_people_are_scored(pseudo):
    with pytest.raises(UsageError, match="Expected GoldLabels to score, but got PseudoLabels"):
        weighted_f1_of(pseudo, pseudo.probabilities)
    gold = GoldLabels(("a", "b", "c"), ("joy", "anger", "anger"), CLASSES)
    expected = f1_score([0, 1, 1], [0, 1, 0], average="weighted")
    assert weighted_f1_of(gold, pseudo.probabilities) == pytest.approx(expected)


def test_a_round_file_is_no_file_of_predictions(pseudo, tmp_path):
    pseudo.save(tmp_path / "predictions.jsonl")
    with pytest.raises(M2FNetError):
        TestedRun.read(tmp_path)


def test_a_round_is_read_as_it_was_written(pseudo, tmp_path):
    path = tmp_path / "pool.jsonl"
    pseudo.save(path)
    found = PseudoLabels.load(path)
    assert (found.ids, found.meta, found.origin) == (pseudo.ids, pseudo.meta, pseudo.origin)
    assert np.allclose(found.probabilities, pseudo.probabilities)
    assert np.array_equal(found.votes, pseudo.votes)
    assert all(np.allclose(one, other) for one, other in zip(found.selection, pseudo.selection, strict=True))


def test_a_row_and_its_meta_file_say_everything(pseudo, tmp_path):
    pseudo.save(tmp_path / "pool.jsonl")
    row = json.loads((tmp_path / "pool.jsonl").read_text().splitlines()[1])
    assert row == {
        "uid": "b",
        "probabilities": [0.4, 0.6],
        "label": "anger",
        "confidence": 0.6,
        "vote": 0.6667,
        "votes": [1, 2],
        "weight": 0.6,
        "selected": True,
    }
    meta = json.loads((tmp_path / "pool.meta.json").read_text())
    assert meta["counts"] == {"pool": 3, "selected": 3, "mean_weight": 0.6833, "labels": {"joy": 2, "anger": 1}}
    assert meta["origin"]["teachers_sha256"] == ["t1", "t2"]
    assert meta["origin"]["learned_from"] == [1, 2]
    assert (meta["origin"]["stores_sha256"], meta["origin"]["split_sha256"]) == ({"text": "s"}, "split")


def test_another_policy_selects_from_the_stored_probabilities(pseudo, tmp_path):
    pseudo.save(tmp_path / "pool.jsonl")
    found = PseudoLabels.load(tmp_path / "pool.jsonl").selected_by(FixedThreshold(0.58), "fixed")
    assert found.selection.mask.tolist() == [True, True, False]
    assert found.origin.policy == "fixed: FixedThreshold(threshold=0.58)"
    assert found.origin.teachers_sha256 == pseudo.origin.teachers_sha256


class Wrong(Policy):
    def select(self, probs, votes, meta):
        return Selection(np.ones(2, dtype=bool), probs.argmax(1), np.ones(3))


def test_a_policy_that_answers_nonsense_is_refused(pseudo):
    with pytest.raises(UsageError, match=r"Wrong answers with shapes \(2,\), \(3,\) and \(3,\); expected a mask"):
        pseudo.selected_by(Wrong(), "mine")


def test_a_policy_may_select_nothing_as_long_as_nobody_learns_from_it(pseudo):
    counts = pseudo.selected_by(FixedThreshold(0.95), "fixed").counts()
    assert counts == {"pool": 3, "selected": 0, "mean_weight": 0.0, "labels": {"joy": 0, "anger": 0}}


def test_a_round_that_was_changed_is_refused(pseudo, tmp_path):
    path = tmp_path / "pool.jsonl"
    pseudo.save(path)
    path.write_text(path.read_text().replace("0.9", "0.8"))
    with pytest.raises(RunError, match="was changed after it was written"):
        PseudoLabels.load(path)
    path.unlink()
    with pytest.raises(RunError, match=r"Cannot read .*pool.jsonl"):
        PseudoLabels.load(path)
