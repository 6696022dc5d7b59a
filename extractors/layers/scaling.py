"""Bringing fitted embeddings to one scale."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer

Scaling = Literal["variance", "length", "none"]


class Scaler(nn.Module):
    """Embeddings (N, D) on a common scale.

    Args:
        scaling: ``"variance"``: every dimension has mean 0 and variance 1 on the training split, the scale a network
            learns from best; ``"length"``: every embedding has Euclidean length 1; ``"none"``: as they are.

    Example:
        >>> Scaler("length")(torch.tensor([[3.0, 4.0]]))
        tensor([[0.6000, 0.8000]])
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, scaling: Scaling = "variance") -> None:
        super().__init__()
        self.scaling = scaling
        if scaling == "variance":
            self.register_buffer("mean", UninitializedBuffer())
            self.register_buffer("deviation", UninitializedBuffer())

    def fit(self, embeddings: Tensor) -> None:
        """Learn mean and deviation from the training split's embeddings (N, D); a constant dimension stays as it is."""
        if self.scaling == "variance":
            deviation = embeddings.std(0, correction=0)
            self.mean = embeddings.mean(0)
            self.deviation = torch.where(deviation > 1e-6, deviation, 1.0)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Scaled embeddings (N, D)."""
        if self.scaling == "variance":
            return (embeddings - self.mean) / self.deviation
        return F.normalize(embeddings) if self.scaling == "length" else embeddings
