"""Late fusion: a plain transformer per stream over the dialogue, and the mean of their scores."""

from typing import cast

import torch
from torch import Tensor, nn

from dialog.batch import DialogueBatch, Output
from dialog.fusion.attention import allowed_pairs, blocked_for_heads
from dialog.fusion.encoder import Norm, Position, sinusoidal_positions
from dialog.fusion.frames import FramePooling, Pooling
from m2fnet.problems import Problem


class LateFusion(nn.Module):
    """Scores (B, U, C): the mean over the streams that the utterance has.

    Args:
        problem: emotions and streams.
        width: every stream is projected to it.
        layers: encoder layers per stream.
        heads: attention heads; must divide ``width``.
        feedforward: inner width of the encoders as a multiple of ``width``.
        dropout: in the encoders and before the classifiers.
        input_norm: layer norm on the embeddings, for stores whose vectors come in any scale.
        norm: place of the layer norm in the encoders.
        position: position encoding added to every stream.
        causal: no utterance sees a later one.
        pooling: of the frames of streams of sequences, ``mean`` or ``attention``; None to read vectors only.

    Raises:
        ValueError: if a size does not fit, or a stream has sequences and ``pooling`` is None.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        width: int = 256,
        layers: int = 1,
        heads: int = 4,
        feedforward: float = 4.0,
        dropout: float = 0.4,
        input_norm: bool = True,
        norm: Norm = "post",
        position: Position = "sinusoidal",
        causal: bool = False,
        pooling: Pooling | None = None,
    ) -> None:
        super().__init__()
        if min(width, layers, heads) < 1 or width % heads:
            raise ValueError(
                "Expected `width`, `layers` and `heads` to be at least 1 and `heads` to divide `width`, "
                f"but got {width}, {layers} and {heads}."
            )
        self.pooling = FramePooling(problem, pooling)
        widths = self.pooling.widths
        self.heads, self.position, self.causal = heads, position, causal
        self.project = nn.ModuleDict(
            {
                name: nn.Sequential(nn.LayerNorm(own) if input_norm else nn.Identity(), nn.Linear(own, width))
                for name, own in widths.items()
            }
        )
        self.encoders = nn.ModuleDict(
            {
                name: nn.ModuleList(
                    nn.TransformerEncoderLayer(
                        width, heads, round(feedforward * width), dropout, batch_first=True, norm_first=norm == "pre"
                    )
                    for _ in range(layers)
                )
                for name in widths
            }
        )
        classes = len(problem.label_set.classes)
        self.classify = nn.ModuleDict(
            {name: nn.Sequential(nn.Dropout(dropout), nn.Linear(width, classes)) for name in widths}
        )

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores (B, U, C); zero where nothing is present."""
        batch = self.pooling(batch)
        present = torch.stack([batch["present"][name] for name in self.encoders])[..., None]  # (S, B, U, 1)
        scores = torch.stack([self._scores(name, batch) for name in self.encoders])
        return Output((scores * present).sum(0) / present.sum(0).clamp(min=1))

    def _scores(self, name: str, batch: DialogueBatch) -> Tensor:
        h: Tensor = self.project[name](batch["inputs"][name])
        if self.position == "sinusoidal":
            h = h + sinusoidal_positions(h.shape[1], h.shape[2], h)
        blocked = blocked_for_heads(allowed_pairs(batch["present"][name], causal=self.causal), self.heads)
        for layer in cast(nn.ModuleList, self.encoders[name]):
            h = layer(h, src_mask=blocked)
        scores: Tensor = self.classify[name](h)
        return scores
