import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score

from m2fnet.metrics.counts import count_dialogues
from m2fnet.metrics.scores import STATISTICS, accuracy, class_f1, macro_f1, majority, score, weighted_f1

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


def counts_of(labels, predicted, dialogues):
    return count_dialogues([[label] for label in labels], [[one] for one in predicted], dialogues, CLASSES)


@given(st.lists(st.tuples(EMOTION, EMOTION, st.sampled_from("abc")), min_size=1, max_size=40))
def test_scores_of_counts_are_those_of_the_utterances(utterances):
    labels, predicted, dialogues = zip(*utterances, strict=True)
    whole = counts_of(labels, predicted, dialogues).sum(0)
    found = score(labels, predicted, CLASSES)
    assert weighted_f1(whole) == pytest.approx(f1_score(labels, predicted, average="weighted"))
    assert macro_f1(whole) == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert accuracy(whole) == pytest.approx(accuracy_score(labels, predicted))
    assert class_f1(whole).tolist() == pytest.approx([row["f1"] for row in found["per_class"].values()])
    assert whole.support.tolist() == [row["support"] for row in found["per_class"].values()]


@given(PAIRS)
def test_one_emotion_per_utterance_has_micro_f1_equal_to_accuracy(pairs):
    whole = counts_of(*columns(pairs), ["d"] * len(pairs)).sum(0)
    assert STATISTICS["multi"]["micro_f1"](whole) == pytest.approx(accuracy(whole))


def test_there_are_counts_of_each_dialogue_in_the_order_of_their_names():
    counts = counts_of(["joy", "fear", "joy"], ["joy", "joy", "anger"], ["b", "a", "b"])
    assert counts.shape == (2,)
    assert counts.support.tolist() == [[0, 1, 0, 0], [0, 0, 2, 0]]
    assert counts.predicted.tolist() == [[0, 0, 1, 0], [1, 0, 1, 0]]
    assert counts.true_positives.tolist() == [[0, 0, 0, 0], [0, 0, 1, 0]]
    assert accuracy(counts).tolist() == [0, 0.5]  # leading dimensions stay
    assert class_f1(counts).shape == (2, 4)


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(ValueError, match="labels, an answer and a dialogue for each utterance, got 1, 2 and 1"):
        count_dialogues([["joy"]], [["joy"], ["joy"]], ["a"], CLASSES)
    with pytest.raises(ValueError, match="Expected the classes anger, fear, joy, neutral, got rage too"):
        count_dialogues([["joy"]], [["rage"]], ["a"], CLASSES)
