"""Choosing triplets (anchor, positive, negative) within a batch, without a loop over its rows.

FaceNet, arXiv:1503.03832, section 3.2: online, over all pairs of anchor and positive in the batch. Every miner takes
distances (N, N) and class numbers (N,), and gives row numbers (T, 3): of anchors, positives and negatives.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Mining = Literal["semi-hard", "hard", "random", "all"]


def semi_hard(distances: Tensor, labels: Tensor) -> Tensor:
    """Triplets (T, 3): for each anchor and positive the nearest of the negatives that are farther than the positive.

    Pairs without such a negative give no triplet. FaceNet, arXiv:1503.03832, eq 4.
    """
    order, ranked, count = _ranked_negatives(distances, labels)
    rank = torch.searchsorted(ranked, distances.contiguous(), right=True)  # how many negatives are not farther
    return _triplets(order, rank, _positives(labels) & (rank < count))


def hardest(distances: Tensor, labels: Tensor) -> Tensor:
    """Triplets (T, 3): for each anchor and positive the nearest negative."""
    order, _, count = _ranked_negatives(distances, labels)
    return _triplets(order, torch.zeros_like(order), _positives(labels) & (count > 0))


def random_negative(distances: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Triplets (T, 3): for each anchor and positive any negative."""
    order, _, count = _ranked_negatives(distances, labels)
    draw = torch.rand(distances.shape, generator=generator, device=distances.device, dtype=torch.float64)
    return _triplets(order, (draw * count).long(), _positives(labels) & (count > 0))


def all_triplets(distances: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG001 one signature for all miners
    """All triplets (T, 3) of the batch; up to N³ of them."""
    is_negative = labels[:, None] != labels
    return (_positives(labels)[:, :, None] & is_negative[:, None, :]).nonzero()


MINERS: dict[Mining, Callable[[Tensor, Tensor], Tensor]] = {
    "semi-hard": semi_hard,
    "hard": hardest,
    "random": random_negative,
    "all": all_triplets,
}


def _positives(labels: Tensor) -> Tensor:
    """Whether a row (N,) and another one (N,) are of one class, (N, N)."""
    return (labels[:, None] == labels).fill_diagonal_(False)


def _ranked_negatives(distances: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every anchor's rows from the nearest negative on (N, N), their distances (N, N), the number of negatives (N, 1).

    Rows that are no negatives come last, at an infinite distance.
    """
    is_negative = labels[:, None] != labels
    ranked, order = distances.masked_fill(~is_negative, torch.inf).sort(1)
    return order, ranked, is_negative.sum(1, keepdim=True)


def _triplets(order: Tensor, rank: Tensor, is_pair: Tensor) -> Tensor:
    """The pairs (anchor, positive) of ``is_pair`` (N, N), each with the anchor's negative of that ``rank`` (N, N)."""
    anchor, positive = is_pair.nonzero(as_tuple=True)
    return torch.stack([anchor, positive, order[anchor, rank[anchor, positive]]], 1)
