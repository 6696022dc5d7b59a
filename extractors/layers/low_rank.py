"""LoRA: a small trained change of frozen weights. Hu et al., arXiv:2106.09685."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


@dataclass(frozen=True)
class LowRank:
    """Which weights of an encoder's blocks are changed, and by how much.

    Attributes:
        rank: of the change.
        alpha: the change is scaled by ``alpha / rank``.
        targets: names of the modules whose weight is changed, whatever they are inside; the defaults are the queries
            and values of attention, as in section 4.2, in the spellings of the families.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: Sequence[str] = ("q_proj", "v_proj", "query", "value", "q", "v", "c_attn")


class LowRankChange(nn.Module):
    """A weight (M, N) plus ``up @ down``, scaled; ``up`` starts at 0, so that nothing is changed at first (eq 3).

    It is a parametrization of the weight rather than a layer around it, because some encoders (WavLM) read the weight
    of a linear layer without calling the layer.

    Args:
        shape: (M, N) of the weight.
        rank: R.
        scale: ``alpha / rank``.

    Example:
        >>> linear = nn.Linear(3, 2)
        >>> before = linear.weight.clone()
        >>> parametrize.register_parametrization(linear, "weight", LowRankChange(linear.weight.shape, 1, 2.0))
        ParametrizedLinear(...
        >>> torch.equal(linear.weight, before)
        True
    """

    def __init__(self, shape: Sequence[int], rank: int, scale: float) -> None:
        super().__init__()
        rows, columns = shape
        self.scale = scale
        self.down = nn.Parameter(torch.empty(rank, columns))
        self.up = nn.Parameter(torch.zeros(rows, rank))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """The changed weight (M, N)."""
        changed: Tensor = weight + self.scale * self.up @ self.down
        return changed


def add_low_rank(blocks: nn.Module, settings: LowRank) -> None:
    """Freeze ``blocks``, and change the weights that ``settings`` name by something trainable of low rank.

    Raises:
        ValueError: for a rank or scale that makes no sense, or if no module has one of the names.
    """
    if settings.rank < 1 or not settings.alpha > 0:
        raise ValueError(f"Expected low_rank with rank >= 1 and alpha > 0, but got {settings}.")
    blocks.requires_grad_(False)
    weighted = {
        name: part
        for name, part in blocks.named_modules()
        if isinstance(getattr(part, "weight", None), Tensor) and part.weight.ndim == 2
    }
    chosen = [part for name, part in weighted.items() if name.rpartition(".")[2] in settings.targets]
    if not chosen:
        names = ", ".join(sorted({name.rpartition(".")[2] for name in weighted}))
        raise ValueError(f"None of low_rank.targets {list(settings.targets)} is in the encoder; it has {names}.")
    for part in chosen:
        weight: Tensor = part.weight
        change = LowRankChange(weight.shape, settings.rank, settings.alpha / settings.rank)
        parametrize.register_parametrization(part, "weight", change)
