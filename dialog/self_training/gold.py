"""True labels of utterances, the only labels that are scored."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dialog.self_training.policies import Array
from m2fnet.errors import UsageError
from m2fnet.manifest import Manifest
from m2fnet.metrics.scores import majority, score


@dataclass(frozen=True)
class GoldLabels:
    """What people said of N utterances.

    Attributes:
        ids: of the utterances.
        labels: the emotion of each.
        classes: all emotions in class order.
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, manifest: Manifest, ids: Sequence[str]) -> "GoldLabels":
        """Those of the utterances ``ids`` of ``manifest``.

        Raises:
            UsageError: if one of them has no label.
        """
        labels = {u.id: u.label for u in manifest.utterances}
        found = [(name, label) for name in ids if (label := labels[name]) is not None]
        if len(found) < len(ids):
            raise UsageError(f"{len(ids) - len(found)} of {len(ids)} utterances have no label; expected one of each.")
        return cls(tuple(ids), tuple(label for _, label in found), manifest.label_set.classes)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Class numbers (N,)."""
        return np.array([self.classes.index(label) for label in self.labels], dtype=np.int64)


def weighted_f1_of(gold: GoldLabels, probabilities: Array) -> float:
    """Weighted F1 of the most probable classes of ``probabilities`` (N, C).

    Raises:
        UsageError: if the labels are not `GoldLabels`; pseudo-labels are not.

    Example:
        >>> gold = GoldLabels(("a", "b"), ("joy", "anger"), ("joy", "anger"))
        >>> weighted_f1_of(gold, np.array([[0.9, 0.1], [0.2, 0.8]]))
        1.0
    """
    if not isinstance(gold, GoldLabels):
        raise UsageError(
            f"Expected GoldLabels to score, but got {type(gold).__name__}: only labels of people are scored."
        )
    answers = [gold.classes[number] for number in probabilities.argmax(-1)]
    return float(score(gold.labels, answers, gold.classes)["weighted_f1"])


def majority_f1(training: GoldLabels, gold: GoldLabels) -> float:
    """Weighted F1 of always answering the most frequent label of ``training``.

    Example:
        >>> gold = GoldLabels(("a", "b"), ("joy", "joy"), ("joy", "anger"))
        >>> majority_f1(gold, gold)
        1.0
    """
    return float(majority(training.labels, gold.labels, gold.classes)["majority_weighted_f1"])
