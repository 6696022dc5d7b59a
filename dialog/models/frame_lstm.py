"""A baseline that reads sequences: a bidirectional LSTM over the frames of every stream, and attention pooling."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dialog.batch import DialogueBatch, Output
from dialog.fusion.frames import LabelAttention, frames_of, in_dialogues, valid_rows
from m2fnet.problems import Problem


class FrameLSTM(nn.Module):
    """Scores (B, U, C) of each utterance without its context, from streams of sequences or vectors.

    Per stream ``h = BiLSTM(LN(frames))`` and its attention pooling; all of them, zero where an utterance lacks the
    stream, through one hidden layer.

    Args:
        problem: emotions and streams.
        width: of the hidden state, per direction.
        layers: number of LSTM layers.
        hidden: width of the layer over all streams.
        dropout: on the pooled states and the hidden layer.

    Raises:
        ValueError: if a size is below 1.
    """

    def __init__(
        self, problem: Problem, *, width: int = 64, layers: int = 1, hidden: int = 128, dropout: float = 0.4
    ) -> None:
        super().__init__()
        if min(width, layers, hidden) < 1:
            raise ValueError(
                f"Expected `width`, `layers` and `hidden` to be at least 1, but got {width}, {layers} and {hidden}."
            )
        self.norm = nn.ModuleDict({name: nn.LayerNorm(own) for name, own in problem.widths.items()})
        self.recurrent = nn.ModuleDict(
            {
                name: nn.LSTM(own, width, layers, batch_first=True, bidirectional=True)
                for name, own in problem.widths.items()
            }
        )
        self.pool = nn.ModuleDict({name: LabelAttention(2 * width, 1) for name in problem.widths})
        self.classify = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(2 * width * len(problem.widths), hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, len(problem.classes)),
        )

    def forward(self, batch: DialogueBatch) -> Output:
        """Scores (B, U, C)."""
        rows = valid_rows(batch["valid"])
        parts = torch.cat([self._pooled(name, batch, rows) for name in self.recurrent], -1)
        return Output(in_dialogues(self.classify(parts), rows, batch["valid"]))

    def _pooled(self, name: str, batch: DialogueBatch, rows: Tensor) -> Tensor:
        """One vector (N, 2 width) of each utterance, zero where it has no frame."""
        frames, mask = (part.flatten(0, 1)[rows] for part in frames_of(batch, name))
        lengths = mask.sum(1)  # real frames come first
        normed = self.norm[name](frames.masked_fill(~mask[..., None], 0))
        packed = pack_padded_sequence(normed, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.recurrent[name](packed)[0], batch_first=True, total_length=mask.shape[1])
        pooled: Tensor = self.pool[name](states, mask)[:, 0]
        return pooled * (lengths > 0)[:, None]
