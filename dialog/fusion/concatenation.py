"""All streams of an utterance in one vector, the input of the baselines."""

import torch
from torch import Tensor, nn

from dialog.batch import DialogueBatch
from dialog.fusion.frames import FramePooling, Pooling
from m2fnet.problems import Problem


class EarlyFusion(nn.Module):
    """Embeddings (B, U, sum of the widths), each normalised separately, zero where one is absent.

    Args:
        problem: names and widths of the streams.
        normalise: layer norm on every embedding, for stores whose vectors come in any scale.
        pooling: of the frames of streams of sequences, see `FramePooling`.

    Raises:
        ValueError: if a stream has sequences and ``pooling`` is None.

    Example:
        >>> from m2fnet.problems import make_problem
        >>> from m2fnet.records import LabelSet
        >>> problem = make_problem(LabelSet("two", ("anger", "joy")), {"text": 4, "audio": 3})
        >>> EarlyFusion(problem, normalise=True).width
        7
    """

    def __init__(self, problem: Problem, *, normalise: bool, pooling: Pooling | None = None) -> None:
        super().__init__()
        self.pooling = FramePooling(problem, pooling)
        widths = self.pooling.widths
        self.norms = nn.ModuleDict(
            {name: nn.LayerNorm(width) if normalise else nn.Identity() for name, width in widths.items()}
        )
        self.width = sum(widths.values())

    def forward(self, batch: DialogueBatch) -> Tensor:
        """The embeddings of ``batch``."""
        batch = self.pooling(batch)
        parts = [norm(batch["inputs"][name]) * batch["present"][name][..., None] for name, norm in self.norms.items()]
        return torch.cat(parts, dim=-1)
