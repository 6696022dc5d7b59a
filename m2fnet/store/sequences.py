"""Sequences of vectors of several utterances: one flat tensor with offsets, padded only for the batch that asks."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Place = tuple[int, int, int]  # shard, first row, number of rows


@dataclass(frozen=True)
class Sequences:
    """The frames of U utterances, one utterance after another.

    Attributes:
        values: (N, D) all frames, in the stored number type.
        offsets: (U + 1,) the frames of utterance ``u`` are ``values[offsets[u] : offsets[u + 1]]``.
        present: (U,) as bool; an absent utterance has no frames.

    Example:
        >>> sequences = Sequences(torch.arange(6.0).reshape(3, 2), torch.tensor([0, 1, 1, 3]), torch.tensor([1, 0, 1]) > 0)
        >>> sequences[2]
        tensor([[2., 3.],
                [4., 5.]])
        >>> sequences.lengths
        tensor([1, 0, 2])
    """

    values: Tensor
    offsets: Tensor
    present: Tensor

    def __len__(self) -> int:
        """Number of utterances U."""
        return len(self.present)

    def __getitem__(self, utterance: int) -> Tensor:
        """Frames (T, D) of one utterance, without a copy."""
        return self.values[self.offsets[utterance] : self.offsets[utterance + 1]]

    @property
    def lengths(self) -> Tensor:
        """Number of frames of each utterance, (U,)."""
        return self.offsets.diff()

    def padded(self, utterances: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (..., T, D) as float32, zero behind an utterance's end, and which frames are real, (..., T) as bool.

        T is the length of the longest of these utterances, at least 1. Only their frames are read.

        Args:
            utterances: numbers of utterances, of any shape (...); -1 for padding, which has no frames.

        Example:
            >>> sequences = Sequences(torch.ones(3, 2), torch.tensor([0, 1, 3]), torch.tensor([True, True]))
            >>> values, frames = sequences.padded(torch.tensor([[1, 0, -1]]))
            >>> values.shape, frames.tolist()
            (torch.Size([1, 3, 2, 2]), [[[True, True], [True, False], [False, False]]])
        """
        lengths = self.lengths[utterances] * (utterances >= 0)
        steps = torch.arange(max(1, int(lengths.max())))
        frames = steps < lengths[..., None]  # (..., T)
        padded = torch.zeros(*frames.shape, self.values.shape[1])
        padded[frames] = self.values[(self.offsets[utterances][..., None] + steps)[frames]].float()
        return padded, frames


def gather(shards: Sequence[Tensor], places: Sequence[Place | None], width: int, most: int | None = None) -> Sequences:
    """The sequences at ``places`` (None: absent): a view of the shard where they follow each other, else one copy.

    Args:
        shards: (rows, D) each, mapped from disk.
        places: of the utterances, in order.
        width: D.
        most: frames that an utterance keeps; a longer one is thinned to as many, evenly spaced.
    """
    lengths = [0 if place is None else min(place[2], most or place[2]) for place in places]
    parts: list[Tensor] = []
    if any(place is not None and place[2] > length for place, length in zip(places, lengths, strict=True)):
        for place, length in zip(places, lengths, strict=True):
            if place is not None:
                shard, row, rows = place
                parts.append(shards[shard][row + torch.linspace(0, rows - 1, length).round().long()])
    else:
        spans: list[tuple[int, int, int]] = []  # shard, first row, row behind the last
        for shard, row, rows in filter(None, places):
            if spans and spans[-1][::2] == (shard, row):
                spans[-1] = (shard, spans[-1][1], row + rows)
            else:
                spans.append((shard, row, row + rows))
        parts = [shards[shard][first:end] for shard, first, end in spans]
    values = parts[0] if len(parts) == 1 else torch.cat([shards[0][:0] if shards else torch.zeros(0, width), *parts])
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    return Sequences(values, offsets, torch.tensor([place is not None for place in places], dtype=torch.bool))
