"""Keeping the dimensions of the embeddings from saying the same."""

from torch import Tensor


def covariance_penalty(z: Tensor, *, as_printed: bool = False) -> Tensor:
    """Squared off-diagonal covariance of un-normalised embeddings ``(N, D)``, summed over pairs and divided by ``D``.

    c(Z) of VICReg, arXiv:2105.04906; facebookresearch/vicreg@4e12602 main_vicreg.py:209-218.

    Args:
        z: embeddings.
        as_printed: as printed in M2FNet (arXiv:2206.02187, eq 13), without the square: unbounded below.

    Raises:
        ValueError: if there are fewer than two rows.
    """
    if z.ndim != 2 or len(z) < 2:
        raise ValueError(f"covariance needs z of shape (N >= 2, D), got {tuple(z.shape)}")
    z = z - z.mean(0)
    cov = z.T @ z / (len(z) - 1)  # (D, D)
    off_diagonal = cov - cov.diagonal().diag()
    return (off_diagonal if as_printed else off_diagonal.square()).sum() / z.shape[1]
