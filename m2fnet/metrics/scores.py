"""Scores of predicted emotions; every score is a fraction from 0 to 1."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from m2fnet.metrics.counts import Array, Counts
from m2fnet.records import LabelKind

Statistic = Callable[[Counts], Array]


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
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support  # takes a second to import

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
    """The most frequent training label, and the weighted F1 on ``labels`` of always answering it.

    Example:
        >>> majority(["joy", "joy", "anger"], ["joy", "joy"], ["anger", "joy"])
        {'majority_class': 'joy', 'majority_weighted_f1': 1.0}
    """
    most_frequent = Counter(training_labels).most_common(1)[0][0]
    scores = score(labels, [most_frequent] * len(labels), classes)
    return {"majority_class": most_frequent, "majority_weighted_f1": scores["weighted_f1"]}


def weighted_f1(counts: Counts) -> Array:
    """Mean of the labels' F1 weighted by their support, ``(...)``.

    Example:
        >>> from m2fnet.metrics.counts import count_dialogues
        >>> counts = count_dialogues([["joy"], ["fear"]], [["joy"], ["joy"]], ["a", "b"], ["fear", "joy"])
        >>> round(float(weighted_f1(counts.sum(0))), 3)
        0.333
    """
    weighted: Array = (class_f1(counts) * counts.support).sum(-1) / counts.support.sum(-1)
    return weighted


def macro_f1(counts: Counts) -> Array:
    """Mean of the F1 of the labels that occur in labels or answers, ``(...)``."""
    occurs = counts.support + counts.predicted > 0
    macro: Array = class_f1(counts).sum(-1) / occurs.sum(-1)
    return macro


def mean_f1(counts: Counts) -> Array:
    """Mean of the F1 of all labels, ``(...)``; one that does not occur counts as 0: macro F1 of label sets."""
    mean: Array = class_f1(counts).mean(-1)
    return mean


def micro_f1(counts: Counts) -> Array:
    """F1 of all pairs of utterance and label together, ``(...)``; 0 where no label occurs."""
    occurrences = (counts.support + counts.predicted).sum(-1)
    micro: Array = 2 * counts.true_positives.sum(-1) / np.maximum(occurrences, 1)
    return micro


def accuracy(counts: Counts) -> Array:
    """Share of the utterances whose whole answer is right, ``(...)``: exact match, if they have sets of labels."""
    share: Array = counts.exact / counts.n
    return share


def jaccard(counts: Counts) -> Array:
    """Mean over the utterances of |answer and labels| / |answer or labels|, 1 where both are empty, ``(...)``."""
    mean: Array = counts.jaccard / counts.n
    return mean


def jaccard_carat(counts: Counts) -> Array:
    """`jaccard` where two empty sets count as 0, ``(...)``: "Acc" of CARAT (chengzju/CARAT@3210086)."""
    mean: Array = (counts.jaccard - counts.both_empty) / counts.n
    return mean


def hamming_loss(counts: Counts) -> Array:
    """Share of the pairs of utterance and label that are wrong, ``(...)``; lower is better."""
    wrong = (counts.support + counts.predicted - 2 * counts.true_positives).sum(-1)
    share: Array = wrong / (counts.n * counts.labels)
    return share


def class_f1(counts: Counts) -> Array:
    """F1 of each label, ``(..., C)``; 0 for one that does not occur."""
    f1: Array = 2 * counts.true_positives / np.maximum(counts.support + counts.predicted, 1)
    return f1


# kind of a label set -> its scores; the first heads every table and selects weights on dev
STATISTICS: dict[LabelKind, dict[str, Statistic]] = {
    "single": {"weighted_f1": weighted_f1, "accuracy": accuracy, "macro_f1": macro_f1},
    "multi": {
        "micro_f1": micro_f1,
        "macro_f1": mean_f1,
        "exact_match": accuracy,
        "jaccard": jaccard,
        "jaccard_carat": jaccard_carat,
        "hamming_loss": hamming_loss,
    },
}
# the main score and the share of utterances whose answer is right, where there is no place for more
TWO_SCORES: dict[LabelKind, tuple[str, str]] = {
    "single": ("weighted_f1", "accuracy"),
    "multi": ("micro_f1", "exact_match"),
}


def main_score(kind: LabelKind) -> str:
    """The score that selects weights on dev and heads every table.

    Example:
        >>> main_score("single"), main_score("multi")
        ('weighted_f1', 'micro_f1')
    """
    return next(iter(STATISTICS[kind]))


def score_title(score: str) -> str:
    """The name of a score as it is printed.

    Example:
        >>> score_title("weighted_f1")
        'weighted F1'
    """
    jaccards = {"jaccard": "Jaccard (empty sets agree: 1)", "jaccard_carat": "Jaccard as CARAT (empty sets: 0)"}
    return jaccards.get(score, score.replace("_", " ").replace("f1", "F1").replace("hamming", "Hamming"))
