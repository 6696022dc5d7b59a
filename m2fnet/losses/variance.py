"""Keeping every dimension of the embeddings alive."""

import torch
from torch import Tensor


def variance_penalty(z: Tensor, *, as_printed: bool = False, eps: float = 1e-4) -> Tensor:
    """How far the standard deviations of un-normalised embeddings ``(N, D)`` fall below 1, mean over dimensions.

    v(Z) of VICReg, arXiv:2105.04906; facebookresearch/vicreg@4e12602 main_vicreg.py:205-208, there halved over two
    views.

    Args:
        z: embeddings; normalised ones of width D cannot have a deviation above ``1 / sqrt(D)``.
        as_printed: as printed in M2FNet (arXiv:2206.02187, eq 12), without the hinge: unbounded below.
        eps: added to the variance, because the square root is steep at 0.

    Raises:
        ValueError: if there are fewer than two rows.
    """
    if z.ndim != 2 or len(z) < 2:
        raise ValueError(f"variance needs z of shape (N >= 2, D), got {tuple(z.shape)}")
    shortfall = 1 - torch.sqrt(z.var(0) + eps)
    return (shortfall if as_printed else shortfall.relu()).mean()
