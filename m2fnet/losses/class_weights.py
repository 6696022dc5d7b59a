"""Weights of the emotions in cross-entropy, for corpora in which half of all utterances are neutral."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def class_weights(labels: Iterable[str | None], classes: Sequence[str], power: float) -> Tensor:
    """Weights (C,) of the classes, ``count ** -power``, scaled so that their mean over the labelled utterances is 1.

    With a power of 0 every utterance weighs the same, with 1 every class; numbers between are compromises.

    Args:
        labels: of the training utterances; None for one without.
        classes: the emotions in class order.
        power: 0 to 1.

    Returns:
        The weights; a class that never occurs has the weight of one that occurs once.
    """
    numbers = torch.tensor([classes.index(label) for label in labels if label is not None], dtype=torch.long)
    counts = torch.bincount(numbers, minlength=len(classes)).double()
    weights = counts.clamp(min=1) ** -power
    return (weights * counts.sum() / (weights * counts).sum()).float()


def weighted_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None, ignored: int = -100, smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy summed over the utterances, each times the weight of its class.

    A mean over utterances is this divided by their number; the mean that torch takes divides by the weights of the
    batch instead, so that in a batch of one class they would do nothing.

    Args:
        logits: (N, C).
        labels: (N,) class numbers.
        weights: (C,), or None for 1 each.
        ignored: class number of utterances that do not count.
        smoothing: share of each target that is spread evenly over all classes (arXiv:1512.00567, section 7).
    """
    weights = None if weights is None else weights.to(logits)
    return F.cross_entropy(
        logits, labels, weight=weights, ignore_index=ignored, reduction="sum", label_smoothing=smoothing
    )
