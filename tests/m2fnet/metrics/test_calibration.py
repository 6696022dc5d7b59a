import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from m2fnet.metrics.calibration import (
    at_temperature,
    binned,
    calibration_error,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)


def made_up(count=2000, classes=4, sharpness=1.0, seed=0):
    """Probabilities, and labels drawn from them after their logits were divided by ``sharpness``."""
    draw = np.random.default_rng(seed)
    logits = 2 * draw.standard_normal((count, classes))
    true = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    labels = (draw.random((count, 1)) > true.cumsum(-1)).sum(-1).clip(max=classes - 1)
    return at_temperature(true, 1 / sharpness), labels


@given(st.integers(0, 200), st.integers(1, 20), st.integers(2, 6))
def test_the_error_is_that_of_torchmetrics(seed, bins, classes):
    probabilities, labels = made_up(60, classes, sharpness=2, seed=seed)
    in_bins = probabilities.max(-1) * bins
    assume(
        (abs(in_bins - in_bins.round()) > 1e-5).all()
    )  # torchmetrics counts in single precision: it sees them rounded
    expected = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(labels), classes, n_bins=bins, norm="l1"
    )
    assert expected_calibration_error(probabilities, labels, bins) == pytest.approx(float(expected), abs=1e-6)


def test_bins_hold_every_answer_once_at_its_confidence():
    probabilities, labels = made_up(500, sharpness=3)
    bins = reliability(probabilities, labels, bins=10)
    assert [b.low for b in bins] == pytest.approx([n / 10 for n in range(10)])
    assert sum(b.n for b in bins) == 500
    assert all(b.low <= b.confidence <= b.high and 0 <= b.accuracy <= 1 for b in bins if b.n)
    assert sum(b.n * b.accuracy for b in bins if b.n) / 500 == pytest.approx(
        (probabilities.argmax(-1) == labels).mean()
    )
    empty = bins[0]  # of four classes, the best has at least a quarter
    assert (empty.n, empty.confidence, empty.accuracy) == (0, None, None)


def test_certain_and_right_is_perfect_and_certain_and_wrong_the_worst():
    sure = np.eye(3)
    assert expected_calibration_error(sure, np.arange(3)) == 0
    assert expected_calibration_error(sure, np.array([1, 2, 0])) == 1


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_how_much_too_sure_the_network_was(sharpness):
    probabilities, labels = made_up(4000, sharpness=sharpness)
    temperature = fit_temperature(probabilities, labels)
    assert temperature == pytest.approx(sharpness, rel=0.1)
    better = at_temperature(probabilities, temperature)
    assert (better.argmax(-1) == probabilities.argmax(-1)).all()
    assert expected_calibration_error(better, labels) < 0.03
    neighbours = [negative_log_likelihood(at_temperature(probabilities, temperature * f), labels) for f in (0.98, 1.02)]
    assert negative_log_likelihood(better, labels) < min(neighbours)


def test_temperature_one_changes_nothing_and_high_temperatures_level():
    probabilities, _ = made_up(50)
    assert at_temperature(probabilities, 1.0) == pytest.approx(probabilities)
    assert at_temperature(probabilities, 1e9) == pytest.approx(np.full_like(probabilities, 0.25))
    assert at_temperature(np.array([[1.0, 0.0]]), 2.0) == pytest.approx(np.array([[1.0, 0.0]]))  # a rounded zero


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.ones((2, 2)) / 2, np.zeros(3, int), r"Expected probabilities of shape .* got shapes \(2, 2\) and \(3,\)"),
        (np.ones((0, 2)), np.zeros(0, int), r"N >= 1"),
        (np.array([[3.0, -1.0]]), np.zeros(1, int), "add up to 1; use softmax on logits first"),
        (np.array([[np.nan, 1.0]]), np.zeros(1, int), "add up to 1"),
        (np.ones((2, 2)) / 2, np.array([0, 2]), "Expected class numbers from 0 to 1"),
        (np.ones((2, 2)) / 2, np.array([0.0, 1.0]), "Expected class numbers from 0 to 1"),
    ],
)
def test_what_is_no_set_of_probabilities_is_refused(probabilities, labels, message):
    for function in (reliability, expected_calibration_error, negative_log_likelihood, fit_temperature):
        with pytest.raises(ValueError, match=message):
            function(probabilities, labels)


def test_impossible_settings_are_refused():
    probabilities, labels = made_up(10)
    with pytest.raises(ValueError, match="at least one bin, got 0"):
        reliability(probabilities, labels, bins=0)
    with pytest.raises(ValueError, match="temperature above 0, got 0"):
        at_temperature(probabilities, 0)


def test_the_error_of_a_label_is_that_of_torchmetrics():
    draw = np.random.default_rng(0)
    chances = draw.random(500)
    has = draw.random(500) < chances**2
    expected = binary_calibration_error(torch.from_numpy(chances), torch.from_numpy(has).long(), n_bins=15, norm="l1")
    assert calibration_error(binned(chances, has)) == pytest.approx(float(expected), abs=1e-6)
    assert float(expected) > 0.1
