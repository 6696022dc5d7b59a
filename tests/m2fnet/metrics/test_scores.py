import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score

from m2fnet.metrics.scores import bootstrap_interval, majority, score

CLASSES = ("anger", "fear", "joy", "neutral")
EMOTION = st.sampled_from(CLASSES)
PAIRS = st.lists(st.tuples(EMOTION, EMOTION), min_size=1, max_size=60)


def columns(pairs):
    return [label for label, _ in pairs], [answer for _, answer in pairs]


def numbers(names):
    return torch.tensor([CLASSES.index(name) for name in names])


@given(PAIRS)
def test_the_scores_are_those_of_scikit_learn(pairs):
    labels, predicted = columns(pairs)
    found = score(labels, predicted, CLASSES)
    assert found["weighted_f1"] == pytest.approx(f1_score(labels, predicted, average="weighted"))
    assert found["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert found["confusion"] == confusion_matrix(labels, predicted, labels=CLASSES).tolist()
    assert found["n"] == len(pairs)


@given(PAIRS)
def test_the_scores_are_those_that_training_selects_by(pairs):
    labels, predicted = columns(pairs)
    found = score(labels, predicted, CLASSES)
    given_to_both = (numbers(predicted), numbers(labels), len(CLASSES))
    assert found["weighted_f1"] == pytest.approx(float(multiclass_f1_score(*given_to_both, average="weighted")))
    assert found["macro_f1"] == pytest.approx(float(multiclass_f1_score(*given_to_both, average="macro")))
    assert found["accuracy"] == pytest.approx(float(multiclass_accuracy(*given_to_both, average="micro")))


@given(PAIRS)
def test_the_table_of_classes_adds_up(pairs):
    labels, predicted = columns(pairs)
    found = score(labels, predicted, CLASSES)
    per_class = found["per_class"]
    assert tuple(per_class) == CLASSES
    assert sum(row["support"] for row in per_class.values()) == found["n"]
    assert sum(row["support"] * row["f1"] for row in per_class.values()) / found["n"] == pytest.approx(
        found["weighted_f1"]
    )
    recalled = sum(row["support"] * row["recall"] for row in per_class.values()) / found["n"]
    assert recalled == pytest.approx(found["accuracy"])
    assert all(0 <= row[key] <= 1 for row in per_class.values() for key in ("f1", "precision", "recall"))


def test_macro_f1_leaves_out_what_neither_occurs_nor_is_answered():
    labels, predicted = ["joy", "joy", "anger"], ["joy", "joy", "anger"]
    assert score(labels, predicted, CLASSES)["macro_f1"] == 1.0
    answered = score(labels, ["joy", "fear", "anger"], CLASSES)
    assert answered["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)  # fear is answered once, and wrongly


@pytest.mark.parametrize(("labels", "predicted"), [([], []), (["joy"], []), (["joy"], ["joy", "joy"])])
def test_nothing_to_score_or_unequal_lengths_are_refused(labels, predicted):
    with pytest.raises(ValueError, match="Expected as many predictions as labels, at least one; got"):
        score(labels, predicted, CLASSES)


def test_the_majority_is_that_of_the_training_labels():
    training = ["joy", "neutral", "neutral"]
    labels = ["joy", "joy", "joy", "neutral"]
    found = majority(training, labels, CLASSES)
    assert found["majority_class"] == "neutral"
    assert found["majority_weighted_f1"] == pytest.approx(f1_score(labels, ["neutral"] * 4, average="weighted"))
    assert majority(training, ["joy"], CLASSES)["majority_weighted_f1"] == 0.0


def test_always_neutral_scores_what_papers_print_for_meld():
    test_split = {"neutral": 1256, "joy": 402, "surprise": 281, "anger": 345, "sadness": 208, "disgust": 68, "fear": 50}
    labels = [name for name, count in test_split.items() for _ in range(count)]
    found = majority(["neutral"], labels, tuple(test_split))
    assert round(100 * found["majority_weighted_f1"], 2) == 31.27


def made_up(dialogues, turns=5, right=0.6, seed=0):
    """Labels, answers of which about ``right`` are right, and dialogue names."""
    draw = np.random.default_rng(seed)
    labels = draw.choice(CLASSES, size=dialogues * turns)
    predicted = np.where(draw.random(len(labels)) < right, labels, draw.choice(CLASSES, size=len(labels)))
    return labels.tolist(), predicted.tolist(), [f"d{n // turns}" for n in range(len(labels))]


def resampled(labels, predicted, dialogues, draws, seed):
    """Weighted F1 of every bootstrap sample, one dialogue after the other, by scikit-learn."""
    names = sorted(set(dialogues))
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    values = []
    for counts in drawn:
        rows = [
            n
            for name, count in zip(names, counts, strict=True)
            for _ in range(count)
            for n, dialogue in enumerate(dialogues)
            if dialogue == name
        ]
        values.append(f1_score([labels[n] for n in rows], [predicted[n] for n in rows], average="weighted"))
    return values


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_interval_is_that_of_a_plain_loop_over_drawn_dialogues(level):
    labels, predicted, dialogues = made_up(6, turns=3)
    values = resampled(labels, predicted, dialogues, draws=40, seed=7)
    expected = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    found = bootstrap_interval(labels, predicted, dialogues, CLASSES, draws=40, level=level, seed=7)
    assert found == pytest.approx(tuple(expected))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_the_interval_is_deterministic_and_holds_the_estimate(seed):
    columns_of_it = made_up(20, seed=seed)
    low, high = bootstrap_interval(*columns_of_it, CLASSES)
    assert (low, high) == bootstrap_interval(*columns_of_it, CLASSES)
    assert 0 <= low <= score(*columns_of_it[:2], CLASSES)["weighted_f1"] <= high <= 1


def test_the_interval_is_wider_for_fewer_dialogues():
    few, many = (bootstrap_interval(*made_up(n), CLASSES) for n in (10, 250))
    assert few[1] - few[0] > 2 * (many[1] - many[0])


def test_dialogues_are_drawn_whole():
    """The same turns in one dialogue cannot vary, in dialogues that are right or wrong throughout they vary most."""
    labels = ["joy"] * 20
    predicted = ["joy"] * 10 + ["anger"] * 10
    one = bootstrap_interval(labels, predicted, ["d"] * 20, CLASSES)
    assert one[0] == one[1] == pytest.approx(score(labels, predicted, CLASSES)["weighted_f1"])
    halves = bootstrap_interval(labels, predicted, ["a"] * 10 + ["b"] * 10, CLASSES)
    assert halves == (0.0, 1.0)


def test_the_order_of_the_utterances_changes_nothing():
    rows = list(zip(*made_up(8), strict=True))
    forth, back = (list(zip(*r, strict=True)) for r in (rows, rows[::-1]))
    assert bootstrap_interval(*forth, CLASSES) == pytest.approx(bootstrap_interval(*back, CLASSES))
