"""MulT over the frames of an utterance: cross-modal transformers, in which each stream reads each other one.

Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language Sequences", ACL 2019, arXiv:1906.00295. Ours
pools the frames by attention instead of taking the last one, and has no convolution. `dialog.models.mult` reads
utterances of a dialogue instead.
"""

from typing import cast

import torch
from torch import Tensor, nn

from dialog.batch import DialogueBatch, Output
from dialog.fusion.encoder import sinusoidal_positions
from dialog.fusion.frames import LabelAttention, frames_of, in_dialogues, some_frame, valid_rows
from m2fnet.problems import Problem


class CrossModalLayer(nn.Module):
    """``z = h + Attention(Q = LN(h), K = V = LN(other))``, then ``z + FFN(LN(z))``; arXiv:1906.00295, eq 4.

    Args:
        width: of both sequences.
        heads: attention heads.
        dropout: of the attention weights and in the feed-forward block.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.other_norm, self.forward_norm = (nn.LayerNorm(width) for _ in range(3))
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.feedforward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )

    def forward(self, h: Tensor, other: Tensor, mask: Tensor) -> Tensor:
        """Frames (N, T, D) that have read the ``other`` ones (N, S, D), as far as ``mask`` (N, S) allows.

        An utterance without any other frame reads nothing.
        """
        keys = self.other_norm(other)
        read, _ = self.attention(self.norm(h), keys, keys, key_padding_mask=~some_frame(mask), need_weights=False)
        z = h + read * mask.any(1)[:, None, None]
        changed: Tensor = z + self.feedforward(self.forward_norm(z))
        return changed


class FrameMulT(nn.Module):
    """Scores (B, U, C) of each utterance without its context, from streams of sequences or vectors.

    Every stream is projected to one width and gets positions. For every two streams, the first reads the second through
    `CrossModalLayer`; what it read from all others, concatenated, goes through a transformer over its frames and is
    pooled; all streams together are classified.

    Args:
        problem: emotions and streams.
        width: of every stream.
        layers: cross-modal layers of a pair, and layers of the transformers after them.
        heads: attention heads; must divide ``width``.
        dropout: in the layers and before the classifier.

    Raises:
        ValueError: if a size does not fit.
    """

    def __init__(
        self, problem: Problem, *, width: int = 40, layers: int = 2, heads: int = 5, dropout: float = 0.2
    ) -> None:
        super().__init__()
        if min(width, layers, heads) < 1 or width % heads:
            raise ValueError(
                "Expected `width`, `layers` and `heads` to be at least 1 and `heads` to divide `width`, "
                f"but got {width}, {layers} and {heads}."
            )
        names = tuple(problem.widths)
        self.project = nn.ModuleDict(
            {name: nn.Sequential(nn.LayerNorm(own), nn.Linear(own, width)) for name, own in problem.widths.items()}
        )
        self.pairs, self.memory, self.pool = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        whole = width * max(len(names) - 1, 1)
        for name in names:
            others = [other for other in names if other != name] or [name]
            self.pairs[name] = nn.ModuleDict(
                {
                    other: nn.ModuleList(CrossModalLayer(width, heads, dropout) for _ in range(layers))
                    for other in others
                }
            )
            self.memory[name] = nn.ModuleList(
                nn.TransformerEncoderLayer(whole, heads, 4 * whole, dropout, batch_first=True, norm_first=True)
                for _ in range(layers)
            )
            self.pool[name] = LabelAttention(whole, 1)
        self.classify = nn.Sequential(
            nn.Linear(whole * len(names), whole), nn.ReLU(), nn.Dropout(dropout), nn.Linear(whole, len(problem.classes))
        )

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores (B, U, C)."""
        rows = valid_rows(batch["valid"])
        streams, masks = {}, {}
        for name, project in self.project.items():
            frames, masks[name] = (part.flatten(0, 1)[rows] for part in frames_of(batch, name))
            h = project(frames.masked_fill(~masks[name][..., None], 0))
            streams[name] = h + sinusoidal_positions(h.shape[1], h.shape[2], h)
        pooled = [self._read(name, streams, masks) for name in streams]
        return Output(in_dialogues(self.classify(torch.cat(pooled, -1)), rows, batch["valid"]))

    def _read(self, name: str, streams: dict[str, Tensor], masks: dict[str, Tensor]) -> Tensor:
        """One vector of each utterance from its stream ``name`` that read the others; zero where it has no frame."""
        read = []
        for other, layers in cast(nn.ModuleDict, self.pairs[name]).items():
            h = streams[name]
            for layer in cast(nn.ModuleList, layers):
                h = layer(h, streams[other], masks[other])
            read.append(h)
        h = torch.cat(read, -1)
        for layer in cast(nn.ModuleList, self.memory[name]):
            h = layer(h, src_key_padding_mask=~some_frame(masks[name]))
        pooled: Tensor = self.pool[name](h, masks[name])[:, 0]
        return pooled * masks[name].any(1, keepdim=True)
