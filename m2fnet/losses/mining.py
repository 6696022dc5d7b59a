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
    anchor, positive = _pairs(labels)
    pairs_before = torch.searchsorted(anchor, torch.arange(len(labels), device=labels.device))
    slot = torch.arange(len(anchor), device=labels.device) - pairs_before[anchor]
    table = distances.new_full((len(labels), int(slot.max()) + 1 if len(slot) else 0), torch.inf)
    table[anchor, slot] = distances[anchor, positive]  # only the positives: there are far fewer than rows
    nearer = torch.searchsorted(ranked, table, right=True)[anchor, slot]  # how many negatives are not farther
    return _triplets(order, count, anchor, positive, nearer)


def hardest(distances: Tensor, labels: Tensor) -> Tensor:
    """Triplets (T, 3): for each anchor and positive the nearest negative."""
    order, _, count = _ranked_negatives(distances, labels)
    anchor, positive = _pairs(labels)
    return _triplets(order, count, anchor, positive, torch.zeros_like(anchor))


def random_negative(distances: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Triplets (T, 3): for each anchor and positive any negative."""
    order, _, count = _ranked_negatives(distances, labels)
    anchor, positive = _pairs(labels)
    draw = torch.rand(anchor.shape, generator=generator, device=labels.device, dtype=torch.float64)
    return _triplets(order, count, anchor, positive, (draw * count[anchor]).long())


def all_triplets(distances: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG001 one signature for all miners
    """All triplets (T, 3) of the batch; up to N³ of them."""
    is_positive, is_negative = _relations(labels)
    return (is_positive[:, :, None] & is_negative[:, None, :]).nonzero()


MINERS: dict[Mining, Callable[[Tensor, Tensor], Tensor]] = {
    "semi-hard": semi_hard,
    "hard": hardest,
    "random": random_negative,
    "all": all_triplets,
}


def _relations(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Whether another row (N,) is a positive of a row (N,), and whether it is a negative, (N, N) each."""
    is_same = labels[:, None] == labels
    return is_same.clone().fill_diagonal_(False), ~is_same


def _pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of all anchors and their positives, anchor by anchor."""
    anchor, positive = _relations(labels)[0].nonzero(as_tuple=True)
    return anchor, positive


def _ranked_negatives(distances: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every anchor's rows from the nearest negative on (N, N), their distances (N, N), the number of negatives (N,).

    Rows that are not negatives come last, at an infinite distance.
    """
    _, is_negative = _relations(labels)
    ranked, order = distances.masked_fill(~is_negative, torch.inf).sort(1)
    return order, ranked, is_negative.sum(1)


def _triplets(order: Tensor, count: Tensor, anchor: Tensor, positive: Tensor, rank: Tensor) -> Tensor:
    """Pairs with the anchor's negative of that rank (T,), as far as there are so many negatives."""
    exists = rank < count[anchor]
    anchor, positive, rank = anchor[exists], positive[exists], rank[exists]
    return torch.stack([anchor, positive, order[anchor, rank]], 1)
