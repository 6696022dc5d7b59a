"""Scores of predicted emotions; every score is a fraction from 0 to 1."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support


def score(labels: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    """Weighted F1, accuracy, macro F1 and the per-class table of N predictions.

    Weighted F1 is the mean of the classes' F1 weighted by their support; macro F1 is their plain mean over the
    classes that occur in ``labels`` or ``predicted``. F1 of a class that is never predicted is 0.

    Raises:
        ValueError: if there is nothing to score or the lengths differ.

    Example:
        >>> score(["joy", "joy", "anger"], ["joy", "anger", "anger"], ["anger", "joy"])["accuracy"]
        0.6666666666666666
    """
    if len(labels) != len(predicted) or not labels:
        raise ValueError(f"Expected as many predictions as labels, at least one; got {len(predicted)}, {len(labels)}.")
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=list(classes), zero_division=0.0
    )
    occurs = np.isin(list(classes), [*labels, *predicted])
    return {
        "weighted_f1": float(np.average(f1, weights=support)),
        "accuracy": float(np.mean(np.asarray(labels) == np.asarray(predicted))),
        "macro_f1": float(f1[occurs].mean()),
        "per_class": {
            name: {"f1": float(f), "precision": float(p), "recall": float(r), "support": int(s)}
            for name, f, p, r, s in zip(classes, f1, precision, recall, support, strict=True)
        },
        "confusion": confusion_matrix(labels, predicted, labels=list(classes)).tolist(),
        "n": len(labels),
    }


def majority(training_labels: Sequence[str], labels: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    """The most frequent training label, and the weighted F1 on ``labels`` of always answering it."""
    most_frequent = Counter(training_labels).most_common(1)[0][0]
    scores = score(labels, [most_frequent] * len(labels), classes)
    return {"majority_class": most_frequent, "majority_weighted_f1": scores["weighted_f1"]}


def bootstrap_interval(
    labels: Sequence[str],
    predicted: Sequence[str],
    dialogues: Sequence[str],
    classes: Sequence[str],
    *,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of weighted F1, drawing whole dialogues with replacement.

    Utterances of one dialogue depend on each other, so drawing utterances would give too narrow an interval.
    """
    number = {name: n for n, name in enumerate(classes)}
    names, place = np.unique(np.asarray(dialogues), return_inverse=True)
    tables = np.zeros((len(names), len(classes), len(classes)))
    true, answer = (np.array([number[name] for name in column]) for column in (labels, predicted))
    np.add.at(tables, (place, true, answer), 1)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    values = _weighted_f1(np.tensordot(drawn, tables, axes=1))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _weighted_f1(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted F1 of confusion matrices (..., C, C), rows true, columns predicted."""
    hits = np.diagonal(tables, axis1=-2, axis2=-1)
    support, answers = tables.sum(-1), tables.sum(-2)
    f1 = 2 * hits / np.maximum(support + answers, 1)
    weighted: NDArray[np.float64] = (f1 * support).sum(-1) / support.sum(-1)
    return weighted
