"""Raw features projected on their principal components, which the closed-form audio and visual extractors learn."""

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer

from extractors.layers.scaling import Scaler, Scaling


class Projection(nn.Module):
    """Features (N, F), standardised and projected on their principal components (N, D).

    Args:
        width: number of components D; smaller where the training split has fewer features or samples.
        scaling: how the projected features are scaled.

    Example:
        >>> projection = Projection(width=1)
        >>> projection.fit(torch.tensor([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]]))
        >>> projection(torch.tensor([[1.0, 2.0]])).abs() < 1e-6
        tensor([[True]])
    """

    components: Tensor

    def __init__(self, width: int, scaling: Scaling = "variance") -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"Expected a width of at least 1, but got {width}.")
        self._width = width
        self.standardise = Scaler("variance")
        self.scaler = Scaler(scaling)
        self.register_buffer("components", UninitializedBuffer())

    @property
    def width(self) -> int:
        """Number of components D."""
        return self._width if isinstance(self.components, UninitializedBuffer) else self.components.shape[1]

    def fit(self, features: Tensor) -> None:
        """Learn scale and directions from the training split's features (N, F)."""
        self.standardise.fit(features)
        standardised = self.standardise(features)
        directions = torch.linalg.svd(standardised, full_matrices=False).Vh[: self._width].T
        largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
        self.components = (directions * largest.sign()).contiguous()  # the sign of a direction is arbitrary
        self.scaler.fit(standardised @ self.components)

    def forward(self, features: Tensor) -> Tensor:
        """Projected features (N, D) in the precision of ``features``, computed in double precision.

        The kernel of a product, and with it the order of its sums, depends on the processor and on the number of
        rows. Where a component with little variance is scaled up, single precision would show that in the embeddings.
        """
        precise = torch.float32 if features.device.type == "mps" else torch.float64  # Apple's GPUs have no double
        projected: Tensor = self.scaler(self.standardise(features.to(precise)) @ self.components.to(precise))
        return projected.to(features.dtype)
