"""Scores of predicted emotions; every score is a fraction from 0 to 1."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

Tables = NDArray[np.float64]


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


def confusion_tables(
    labels: Sequence[str], predicted: Sequence[str], dialogues: Sequence[str], classes: Sequence[str]
) -> Tables:
    """Confusion matrices ``(D, C, C)`` of N predictions, rows true, columns predicted, dialogues sorted by name.

    Sums of them are the confusion matrices of any selection of dialogues, from which follow all scores below.

    Raises:
        ValueError: if the lengths differ, or a label or an answer is not one of ``classes``.

    Example:
        >>> confusion_tables(["joy", "anger"], ["joy", "joy"], ["a", "b"], ["anger", "joy"]).shape
        (2, 2, 2)
    """
    if not len(labels) == len(predicted) == len(dialogues):
        raise ValueError(
            f"Expected a label, an answer and a dialogue for each utterance, got {len(labels)}, {len(predicted)} and "
            f"{len(dialogues)}."
        )
    unknown = {*labels, *predicted} - set(classes)
    if unknown:
        raise ValueError(f"Expected the classes {', '.join(classes)}, got {', '.join(sorted(unknown))} too.")
    number = {name: n for n, name in enumerate(classes)}
    names, place = np.unique(np.asarray(dialogues), return_inverse=True)
    tables = np.zeros((len(names), len(classes), len(classes)))
    true, answer = (np.array([number[name] for name in column], dtype=int) for column in (labels, predicted))
    np.add.at(tables, (place, true, answer), 1)
    return tables


def weighted_f1(tables: Tables) -> Tables:
    """Weighted F1 ``(...)`` of confusion matrices ``(..., C, C)``."""
    support = tables.sum(-1)
    weighted: Tables = (class_f1(tables) * support).sum(-1) / support.sum(-1)
    return weighted


def macro_f1(tables: Tables) -> Tables:
    """Macro F1 ``(...)`` of confusion matrices ``(..., C, C)``: the mean over the classes that occur in them."""
    occurs = tables.sum(-1) + tables.sum(-2) > 0
    macro: Tables = class_f1(tables).sum(-1) / occurs.sum(-1)
    return macro


def accuracy(tables: Tables) -> Tables:
    """Accuracy ``(...)`` of confusion matrices ``(..., C, C)``."""
    share: Tables = np.trace(tables, axis1=-2, axis2=-1) / tables.sum((-2, -1))
    return share


def class_f1(tables: Tables) -> Tables:
    """F1 of each class, ``(..., C)``, of confusion matrices ``(..., C, C)``; 0 for a class that does not occur."""
    hits = np.diagonal(tables, axis1=-2, axis2=-1)
    f1: Tables = 2 * hits / np.maximum(tables.sum(-1) + tables.sum(-2), 1)
    return f1
