"""A baseline that reads sequences: a transformer over the frames of every stream, and the mean of their scores."""

import torch
from torch import Tensor, nn

from dialog.batch import DialogueBatch, Output
from dialog.fusion.frames import FrameEncoder, LabelAttention, frames_of, in_dialogues, valid_rows
from m2fnet.problems import Problem


class FrameLateFusion(nn.Module):
    """Scores (B, U, C) of each utterance without its context: the mean over the streams that it has.

    Per stream ``scores = W pooled(encoder(frames))``; `dialog.models.late_fusion` is its like over utterances.

    Args:
        problem: emotions and streams, of sequences or vectors.
        width: of the encoders.
        layers: encoder layers per stream.
        heads: attention heads; must divide ``width``.
        feedforward: inner width of the encoders.
        dropout: in the encoders and before the classifiers.
        positions: learned positions of frames; frames beyond the last share its position.

    Raises:
        ValueError: if a size does not fit.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
        feedforward: int = 256,
        dropout: float = 0.3,
        positions: int = 512,
    ) -> None:
        super().__init__()
        if min(width, layers, heads, feedforward, positions) < 1 or width % heads:
            raise ValueError(
                "Expected every size to be at least 1 and `heads` to divide `width`, but got "
                f"{width}, {layers}, {heads}, {feedforward} and {positions}."
            )
        self.encoders, self.pool, self.classify = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for name, own in problem.widths.items():
            self.encoders[name] = FrameEncoder(own, width, layers, heads, feedforward, dropout, positions)
            self.pool[name] = LabelAttention(width, 1)
            self.classify[name] = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, len(problem.classes)))

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores (B, U, C); zero where nothing is present."""
        rows = valid_rows(batch["valid"])
        found = [self._scores(name, batch, rows) for name in self.encoders]
        present = torch.stack([has for _, has in found])[..., None]
        total = torch.stack([scores for scores, _ in found]).mul(present).sum(0)
        return Output(in_dialogues(total / present.sum(0).clamp(min=1), rows, batch["valid"]))

    def _scores(self, name: str, batch: DialogueBatch, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N, C) of one stream, and which utterances have it."""
        frames, mask = (part.flatten(0, 1)[rows] for part in frames_of(batch, name))
        hidden, mask = self.encoders[name](frames.masked_fill(~mask[..., None], 0), mask)
        return self.classify[name](self.pool[name](hidden, mask)[:, 0]), mask.any(1)
