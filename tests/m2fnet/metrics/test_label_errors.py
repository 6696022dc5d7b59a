import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2fnet.metrics.label_errors import confident_classes, confident_joint, likely_label_errors


def planted(count=3000, classes=4, flipped=0.1, seed=0):
    """Probabilities of a decent model that never saw the labels, labels of which some are flipped, and which."""
    draw = np.random.default_rng(seed)
    true = draw.choice(classes, count, p=np.arange(classes, 0, -1) / np.arange(classes, 0, -1).sum())
    logits = draw.standard_normal((count, classes)) + 3.5 * np.eye(classes)[true]
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    is_flipped = draw.random(count) < flipped
    labels = np.where(is_flipped, (true + draw.integers(1, classes, count)) % classes, true)
    return probabilities, labels, is_flipped, true


def confident_loop(probabilities, labels):
    """Equations 1 and 2 of the paper, one utterance and one class after the other."""
    count, classes = probabilities.shape
    thresholds = {
        j: np.mean([probabilities[n, j] for n in range(count) if labels[n] == j]) for j in range(classes) if j in labels
    }
    found = []
    for row in probabilities:
        confident = [j for j, threshold in thresholds.items() if row[j] >= threshold]
        found.append(max(confident, key=lambda j: row[j]) if confident else -1)
    return found


@given(st.integers(0, 300), st.integers(1, 30))
def test_confident_classes_are_those_of_the_equations(seed, count):
    probabilities, labels, _, _ = planted(count, seed=seed)
    expected = confident_loop(probabilities, labels)
    assert confident_classes(probabilities, labels).tolist() == expected
    joint = confident_joint(probabilities, labels)
    assert joint.sum() == sum(j >= 0 for j in expected)
    assert all(
        joint[i, j] == sum(labels[n] == i and expected[n] == j for n in range(count))
        for i in range(4)
        for j in range(4)
    )


@pytest.mark.parametrize("flipped", [0.05, 0.2])
def test_planted_flips_are_found(flipped):
    probabilities, labels, is_flipped, true = planted(flipped=flipped)
    errors = likely_label_errors(probabilities, labels)
    found = np.zeros(len(labels), dtype=bool)
    found[[error.row for error in errors]] = True
    assert found[is_flipped].mean() > 0.7  # recall
    assert is_flipped[found].mean() > 0.6  # precision
    first = errors[: int(is_flipped.sum() / 2)]
    assert np.mean([is_flipped[error.row] for error in first]) > 0.95  # the likeliest are nearly all real
    assert np.mean([error.suggested == true[error.row] for error in first]) > 0.95


def test_the_likeliest_error_comes_first():
    probabilities, labels, _, _ = planted()
    errors = likely_label_errors(probabilities, labels)
    assert [error.margin for error in errors] == sorted(error.margin for error in errors)
    assert all(error.margin < 0 for error in errors)
    worst = errors[0]
    row = probabilities[worst.row]
    assert worst.margin == pytest.approx(row[labels[worst.row]] - row[worst.suggested])


def test_a_label_that_is_the_first_choice_is_no_suspect():
    """The second row reaches the low threshold of the shy class 1, but answers its own label 0."""
    probabilities = np.array([[0.99, 0.01], [0.6, 0.4], [0.7, 0.3], [0.8, 0.2]])
    labels = np.array([0, 0, 1, 1])
    assert confident_classes(probabilities, labels).tolist() == [0, 1, 1, 0]
    assert [error.row for error in likely_label_errors(probabilities, labels)] == [3]


def test_a_class_without_a_label_is_never_suggested():
    probabilities = np.array([[0.1, 0.2, 0.7], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]])
    assert all(error.suggested != 2 for error in likely_label_errors(probabilities, np.array([0, 1, 0])))


def test_right_labels_of_a_sure_model_raise_no_suspicion():
    assert likely_label_errors(np.eye(3) * 0.97 + 0.01, np.arange(3)) == []


def test_what_is_no_set_of_probabilities_is_refused():
    with pytest.raises(ValueError, match="Expected class numbers from 0 to 1"):
        likely_label_errors(np.array([[0.5, 0.5]]), np.array([2]))
