"""All modalities of an utterance in one vector: what the baselines start from."""

import torch
from torch import Tensor, nn

from dialog.batch import DialogueBatch
from m2fnet.problems import Problem


class EarlyFusion(nn.Module):
    """Embeddings (B, U, sum of the widths), each normalised by itself, zero where one is absent.

    Args:
        problem: names and widths of the modalities.
        normalise: layer norm on every embedding, for stores whose vectors come in any scale.
    """

    def __init__(self, problem: Problem, *, normalise: bool) -> None:
        super().__init__()
        self.norms = nn.ModuleDict(
            {name: nn.LayerNorm(width) if normalise else nn.Identity() for name, width in problem.widths.items()}
        )
        self.width = sum(problem.widths.values())

    def forward(self, batch: DialogueBatch) -> Tensor:
        """The embeddings of ``batch``."""
        parts = [norm(batch["inputs"][name]) * batch["present"][name][..., None] for name, norm in self.norms.items()]
        return torch.cat(parts, dim=-1)
