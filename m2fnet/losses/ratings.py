"""Losses of ratings on a scale, such as valence."""

from typing import Literal

import torch
from torch import Tensor

RatingLoss = Literal["mse", "ccc"]


def rating_loss(ratings: Tensor, target: Tensor, kind: RatingLoss = "mse") -> Tensor:
    """Loss of ratings (..., R), summed over the R scales; a target that is NaN is unknown and ignored.

    ``mse`` is the mean squared error; ``ccc`` is one minus the concordance correlation coefficient
    (`concordance`), which a constant answer does not lower.

    Example:
        >>> found, true = torch.tensor([[1.0], [2.0], [9.0]]), torch.tensor([[0.0], [2.0], [float("nan")]])
        >>> rating_loss(found, true)
        tensor(0.5000)

    Raises:
        ValueError: if the shapes differ.
    """
    if ratings.shape != target.shape:
        raise ValueError(
            f"Expected ratings and target of one shape, got {tuple(ratings.shape)} and {tuple(target.shape)}."
        )
    total = ratings.new_zeros(())
    for found, true in zip(ratings.flatten(0, -2).T, target.flatten(0, -2).T, strict=True):
        known = ~true.isnan()
        if kind == "mse":
            total = total + (found[known] - true[known]).square().sum() / known.sum().clamp(min=1)
        elif known.sum() > 1:
            total = total + 1 - concordance(found[known], true[known])
    return total


def concordance(first: Tensor, second: Tensor) -> Tensor:
    """Concordance correlation coefficient of two series (N,): ``2 s_xy / (s_x^2 + s_y^2 + (m_x - m_y)^2)``.

    Lin, "A concordance correlation coefficient to evaluate reproducibility", Biometrics 45, 1989, equation 1, with
    variances divided by N. 0 if both series are the same constant.

    Example:
        >>> series = torch.tensor([0.0, 1.0, 2.0])
        >>> concordance(series, series), concordance(series, series + 1)
        (tensor(1.), tensor(0.5714))
    """
    x, y = first - first.mean(), second - second.mean()
    apart = x.square().mean() + y.square().mean() + (first.mean() - second.mean()).square()
    return 2 * (x * y).mean() / apart.clamp(min=torch.finfo(apart.dtype).tiny)
