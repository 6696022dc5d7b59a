"""Confident learning: which labels does a model contradict more firmly than its own doubts explain?

Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 70 (2021),
arXiv:1911.00068. cleanlab/cleanlab is the reference implementation (``find_label_issues`` with
``filter_by="confident_learning"``); the method itself is so short that it needs no dependency.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m2fnet.metrics.calibration import Floats, checked


@dataclass(frozen=True)
class LabelError:
    """A label that is probably wrong.

    Attributes:
        row: its place among the N utterances.
        suggested: number of the class that the model is confident of instead.
        margin: probability of the label minus that of ``suggested``; the lower, the likelier the error.
    """

    row: int
    suggested: int
    margin: float


def confident_classes(probabilities: Floats, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class each of N utterances confidently belongs to, ``(N,)``, or -1 where none is confident.

    A class is confident for an utterance when its probability reaches the mean probability that the class has among the
    utterances labelled with it (equation 2); of several, the most probable counts (equation 1). So an over-confident
    class needs more, a shy one less. A class that no utterance is labelled with is never confident.

    Args:
        probabilities: ``(N, C)``, from a model that has not been trained on these utterances.
        labels: class numbers ``(N,)``.

    Raises:
        ValueError: if the shapes do not fit, the rows are not probabilities, or a label is not a class number.
    """
    probabilities, labels = checked(probabilities, labels)
    is_label = labels[:, None] == np.arange(probabilities.shape[1])  # (N, C)
    support = is_label.sum(0)
    own = (probabilities * is_label).sum(0) / np.maximum(support, 1)
    thresholds = np.where(support > 0, own, np.inf)
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    return np.where(confident.max(-1) >= 0, confident.argmax(-1), -1)


def confident_joint(probabilities: Floats, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts ``(C, C)`` of utterances by label (row) and confident class (column); equation 1.

    Off the diagonal are the candidates of `likely_label_errors`.

    Raises:
        ValueError: as `confident_classes`.
    """
    found, labels = confident_classes(probabilities, labels), np.asarray(labels)
    joint = np.zeros((np.shape(probabilities)[1],) * 2, dtype=np.int64)
    np.add.at(joint, (labels[found >= 0], found[found >= 0]), 1)
    return joint


def likely_label_errors(probabilities: Floats, labels: NDArray[np.int64]) -> list[LabelError]:
    """The utterances that confidently belong to another class than their label, the likeliest error first.

    What counts is the off-diagonal of the confident joint, without the utterances whose label is the model's own first
    choice (as in cleanlab); the order is that of the normalised margin (section 3.1 of the paper). A weak model is
    confidently wrong too: these are candidates for a person's second look.

    Args:
        probabilities: ``(N, C)``, from a model that has not been trained on these utterances.
        labels: class numbers ``(N,)``.

    Raises:
        ValueError: as `confident_classes`.

    Example:
        >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.9, 0.1], [0.2, 0.8]])
        >>> [(error.row, error.suggested) for error in likely_label_errors(probabilities, np.array([0, 0, 1, 1, 1]))]
        [(3, 0)]
    """
    probabilities, labels = checked(probabilities, labels)
    found = confident_classes(probabilities, labels)
    is_contradicted = (found >= 0) & (found != labels) & (probabilities.argmax(-1) != labels)
    errors = [
        LabelError(int(row), int(found[row]), float(probabilities[row, labels[row]] - probabilities[row, found[row]]))
        for row in np.flatnonzero(is_contradicted)
    ]
    return sorted(errors, key=lambda error: (error.margin, error.row))
