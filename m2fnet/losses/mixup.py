"""Mixup: a classifier learns from mixtures of two examples, and from the labels of both. arXiv:1710.09412."""

import torch
from torch import Tensor


def draw_mixture(count: int, alpha: float) -> tuple[float, Tensor]:
    """How to mix the rows of a batch: the share of each row itself, and the numbers (B,) of the rows it is mixed with.

    One share for the batch, from Beta(``alpha``, ``alpha``), and a permutation; facebookresearch/mixup-cifar10
    train.py `mixup_data`. A small ``alpha`` gives shares near 0 and 1, so that little is mixed; 1 gives any share. They
    come from torch's random numbers, as dropout does: a resumed run draws what it would have drawn.

    Example:
        >>> share, partners = draw_mixture(4, 0.2)
        >>> 0 <= share <= 1, sorted(partners.tolist())
        (True, [0, 1, 2, 3])
    """
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    return share, torch.randperm(count)


def mixed(rows: Tensor, share: float, partners: Tensor) -> Tensor:
    """Rows (B, D) mixed with others: ``share * x_i + (1 - share) * x_j`` for the partner j of i.

    Example:
        >>> mixed(torch.tensor([[0.0], [4.0]]), 0.75, torch.tensor([1, 0]))
        tensor([[1.],
                [3.]])
    """
    return torch.lerp(rows[partners], rows, share)
