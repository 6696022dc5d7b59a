"""Calibration: does an answer given with 80 % probability come true in 80 % of cases?"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from m2fnet.records import Scored

Floats = NDArray[np.float64]

_TEMPERATURES = (0.05, 20.0)  # a fit that ends at a bound says that the probabilities carry nothing, or no doubt at all
_TINY = float(np.finfo(np.float64).tiny)  # the logarithm of a probability that was rounded to 0


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence is in (``low``, ``high``].

    Attributes:
        low: lower bound of the confidence.
        high: upper bound of the confidence.
        n: number of answers in it.
        confidence: their mean confidence; None for an empty bin.
        accuracy: the share of them that is right; None for an empty bin.
    """

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None


def reliability(probabilities: Floats, labels: NDArray[np.int64], bins: int = 15) -> list[Bin]:
    """Bins of equal width for a reliability diagram, of probabilities ``(N, C)`` and class numbers ``(N,)``.

    The confidence of an answer is its probability, the answer the most probable class.

    Raises:
        ValueError: if the shapes do not fit, the rows are not probabilities, or a label is not a class number.
    """
    probabilities, labels = checked(probabilities, labels)
    return binned(probabilities.max(-1), probabilities.argmax(-1) == labels, bins)


def binned(confidence: Floats, is_right: NDArray[np.bool_], bins: int = 15) -> list[Bin]:
    """Bins of equal width of statements ``(N,)``, each made with a probability and either right or wrong.

    A label of a set is such a statement, made with its own probability.

    Example:
        >>> [(one.n, one.accuracy) for one in binned(np.array([0.2, 0.9, 0.8]), np.array([False, True, False]), 2)]
        [(1, 0.0), (2, 0.5)]

    Raises:
        ValueError: if there is no bin.
    """
    if bins < 1:
        raise ValueError(f"Expected at least one bin, got {bins}.")
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    found = []
    for n, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = place == n
        means = (float(confidence[inside].mean()), float(is_right[inside].mean())) if inside.any() else (None, None)
        found.append(Bin(float(low), float(high), int(inside.sum()), *means))
    return found


def expected_calibration_error(probabilities: Floats, labels: NDArray[np.int64], bins: int = 15) -> float:
    """Mean distance between confidence and accuracy over the bins, weighted by their share of the N answers.

    Equation 3 of Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv:1706.04599. From 0 to 1; a
    small N raises it too, so compare it on the same N and bins only.

    Raises:
        ValueError: as `reliability`.
    """
    return calibration_error(reliability(probabilities, labels, bins))


def calibration_error(bins: Sequence[Bin]) -> float:
    """Mean distance between confidence and accuracy over ``bins``, weighted by what is in each.

    Example:
        >>> calibration_error([Bin(0.0, 0.5, 3, 0.2, 0.2), Bin(0.5, 1.0, 1, 0.9, 0.5)])
        0.1
    """
    gaps = [b.n * abs(b.confidence - b.accuracy) for b in bins if b.confidence is not None and b.accuracy is not None]
    return sum(gaps) / sum(b.n for b in bins)


def negative_log_likelihood(probabilities: Floats, labels: NDArray[np.int64]) -> float:
    """Mean negative logarithm, in nats, of the true class's probability, ``(N, C)`` and ``(N,)``.

    Raises:
        ValueError: as `reliability`.
    """
    probabilities, labels = checked(probabilities, labels)
    true = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(true, _TINY)).mean())


def fit_temperature(probabilities: Floats, labels: NDArray[np.int64]) -> float:
    """The temperature that makes ``labels`` ``(N,)`` most likely; fit it on dev, use it on test.

    Section 4.2 of Guo et al., arXiv:1706.04599. Above 1 the network was too sure of itself, below 1 not sure enough.
    The logarithms of the probabilities serve as logits: they differ from them by a constant per row, which softmax
    removes. Fitted between 0.05 and 20.

    Raises:
        ValueError: as `reliability`.

    Example:
        >>> probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
        >>> round(fit_temperature(probabilities, np.array([0, 0, 1, 0])), 2)  # too sure: one of four is wrong
        2.0
    """
    probabilities, labels = checked(probabilities, labels)

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(at_temperature(probabilities, float(np.exp(log_temperature))), labels)

    # the loss is convex in 1 / T, so it has one valley in log T too
    found = minimize_scalar(loss, bounds=tuple(np.log(_TEMPERATURES)), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def temperature_of(predictions: Sequence[Scored], classes: Sequence[str]) -> float:
    """`fit_temperature` of the labelled ``predictions``, of one emotion each, which should be those for dev.

    Example:
        >>> from m2fnet.records import ScoredPrediction
        >>> sure = ScoredPrediction("u", "d", "joy", "joy", {"anger": 0.2, "joy": 0.8})
        >>> round(temperature_of([sure], ["anger", "joy"]), 2)
        0.05
    """
    labelled = [(one.probabilities, true[0]) for one in predictions if (true := one.label_sets[0])]
    probabilities = np.array([[values[name] for name in classes] for values, _ in labelled])
    return fit_temperature(probabilities, np.array([classes.index(label) for _, label in labelled]))


def at_temperature(probabilities: Floats, temperature: float) -> Floats:
    """Softmax of the logits of ``probabilities`` ``(N, C)`` divided by ``temperature``; the answers stay the same.

    Raises:
        ValueError: if the temperature is not positive.

    Example:
        >>> at_temperature(np.array([[0.8, 0.2]]), 2.0).round(2).tolist()
        [[0.67, 0.33]]
    """
    if not temperature > 0:
        raise ValueError(f"Expected a temperature above 0, got {temperature}.")
    logits = np.log(np.maximum(np.asarray(probabilities, dtype=float), _TINY)) / temperature
    scaled = np.exp(logits - logits.max(-1, keepdims=True))
    normalised: Floats = scaled / scaled.sum(-1, keepdims=True)
    return normalised


def checked(probabilities: Floats, labels: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    """Probabilities ``(N, C)`` and class numbers ``(N,)`` as arrays.

    Raises:
        ValueError: if the shapes do not fit, the rows are not probabilities, or a label is not a class number.
    """
    probabilities, labels = np.asarray(probabilities, dtype=float), np.asarray(labels)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise ValueError(
            "Expected probabilities of shape (N >= 1, C) and N class numbers, got shapes "
            f"{probabilities.shape} and {labels.shape}."
        )
    if not ((probabilities >= 0).all() and np.allclose(probabilities.sum(-1), 1, atol=1e-2)):
        raise ValueError("Expected rows of probabilities that add up to 1; use softmax on logits first.")
    if not (np.issubdtype(labels.dtype, np.integer) and ((labels >= 0) & (labels < probabilities.shape[1])).all()):
        raise ValueError(f"Expected class numbers from 0 to {probabilities.shape[1] - 1}.")
    return probabilities, labels
