"""Counts per dialogue, from which every score follows: of one emotion per utterance, or of sets of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_PER_LABEL, _OTHERS = 3, 4


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts of C labels for any number of dialogues, runs or draws; counts of several are the sum of their counts.

    Attributes:
        values: ``(..., 3 C + 4)``: what the properties name, one after another.
    """

    values: Array

    def __post_init__(self) -> None:
        if self.values.ndim < 1 or (self.values.shape[-1] - _OTHERS) % _PER_LABEL or self.labels < 1:
            raise ValueError(f"Expected counts of shape (..., 3 C + 4), got {self.values.shape}.")

    @property
    def labels(self) -> int:
        """The number C of labels."""
        return int(self.values.shape[-1] - _OTHERS) // _PER_LABEL

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is counted, such as (S, D) for the dialogues of several runs."""
        return self.values.shape[:-1]

    @property
    def true_positives(self) -> Array:
        """Utterances whose answer holds a label that they have, (..., C)."""
        return self.values[..., : self.labels]

    @property
    def predicted(self) -> Array:
        """Utterances whose answer holds a label, (..., C)."""
        return self.values[..., self.labels : 2 * self.labels]

    @property
    def support(self) -> Array:
        """Utterances that have a label, (..., C)."""
        return self.values[..., 2 * self.labels : 3 * self.labels]

    @property
    def n(self) -> Array:
        """Labelled utterances, (...)."""
        return self.values[..., -4]

    @property
    def exact(self) -> Array:
        """Utterances whose whole label set is right, (...)."""
        return self.values[..., -3]

    @property
    def jaccard(self) -> Array:
        """Sum over the utterances of |answer and labels| / |answer or labels|, 1 where both are empty, (...)."""
        return self.values[..., -2]

    @property
    def both_empty(self) -> Array:
        """Utterances that have no label and got none, (...)."""
        return self.values[..., -1]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, place: int) -> "Counts":
        return Counts(self.values[place])

    def sum(self, axis: int | tuple[int, ...]) -> "Counts":
        """The counts of all dialogues (or runs) along ``axis`` together."""
        return Counts(self.values.sum(axis))

    def drawn(self, times: NDArray[np.int64]) -> "Counts":
        """Counts (draws, S) of sets of dialogues, each taken ``times`` (draws, D); ``self`` is (S, D)."""
        return Counts(np.tensordot(times.astype(float), self.values, axes=([1], [1])))

    @staticmethod
    def stack(parts: Sequence["Counts"]) -> "Counts":
        """Counts with a new first axis."""
        return Counts(np.stack([part.values for part in parts]))


def count_dialogues(
    labels: Sequence[Collection[str]],
    answers: Sequence[Collection[str]],
    dialogues: Sequence[str],
    classes: Sequence[str],
) -> Counts:
    """Counts ``(D,)`` of N utterances, dialogues sorted by name.

    Args:
        labels: the set of labels of each utterance; of one label in a single-label corpus.
        answers: the set that was predicted for each.
        dialogues: the dialogue of each.
        classes: all labels in their order.

    Raises:
        ValueError: if the lengths differ, or a label is not one of ``classes``.

    Example:
        >>> counts = count_dialogues([["joy"], ["joy", "fear"]], [["joy"], ["joy"]], ["a", "a"], ["fear", "joy"])
        >>> counts.true_positives, counts.support, counts.jaccard
        (array([[0., 2.]]), array([[1., 2.]]), array([1.5]))
    """
    if not len(labels) == len(answers) == len(dialogues):
        raise ValueError(
            f"Expected labels, an answer and a dialogue for each utterance, got {len(labels)}, {len(answers)} and "
            f"{len(dialogues)}."
        )
    unknown = {name for sets in (labels, answers) for one in sets for name in one} - set(classes)
    if unknown:
        raise ValueError(f"Expected the classes {', '.join(classes)}, got {', '.join(sorted(unknown))} too.")
    true, answered = (
        np.array([[name in one for name in classes] for one in sets], dtype=bool).reshape(-1, len(classes))
        for sets in (labels, answers)
    )
    both, either = (true & answered).sum(-1), (true | answered).sum(-1)
    is_empty = either == 0
    jaccard = np.where(is_empty, 1.0, both / np.maximum(either, 1))
    others = np.stack([np.ones(len(true)), (true == answered).all(-1), jaccard, is_empty], axis=-1)
    rows = np.concatenate([true & answered, answered, true, others], axis=-1)
    names, place = np.unique(np.asarray(dialogues), return_inverse=True)
    values = np.zeros((len(names), rows.shape[-1]))
    np.add.at(values, place, rows)
    return Counts(values)
