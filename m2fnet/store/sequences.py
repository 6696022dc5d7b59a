"""Sequences of vectors of several utterances: one flat tensor with offsets, padded only for the batch that asks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Sequences:
    """The frames of U utterances, one utterance after another.

    Attributes:
        values: (N, D) all frames, in the stored number type.
        offsets: (U + 1,) the frames of utterance ``u`` are ``values[offsets[u] : offsets[u + 1]]``.
        present: (U,) as bool; an absent utterance has no frames.

    Example:
        >>> present = torch.tensor([True, False, True])
        >>> sequences = Sequences(torch.arange(6.0).reshape(3, 2), torch.tensor([0, 1, 1, 3]), present)
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


def gather(shards: Sequence[Tensor], places: NDArray[np.int64], width: int) -> Sequences:
    """The sequences at ``places``: a view of the shard if they follow each other there, else a copy.

    Args:
        shards: (rows, D) each, mapped from disk.
        places: (U, 3), of the utterances in the wanted order the shard, its first row there, and the number of its
            rows; no rows for an absent one.
        width: D.
    """
    present = places[:, 2] > 0
    shard, row, rows = places[present].T
    follows = (shard[1:] == shard[:-1]) & (row[1:] == row[:-1] + rows[:-1])  # on disk, the one before it
    first = np.flatnonzero(np.concatenate([np.ones(min(1, len(shard)), bool), ~follows]))
    last = np.concatenate([first[1:], [len(shard)]])[: len(first)] - 1
    spans = zip(shard[first].tolist(), row[first].tolist(), (row[last] + rows[last]).tolist(), strict=True)
    parts = [shards[number][start:end] for number, start, end in spans]
    if not parts:
        parts = [shards[0][:0] if shards else torch.zeros(0, width)]
    values = parts[0] if len(parts) == 1 else torch.cat(parts)
    offsets = torch.from_numpy(np.concatenate([[0], places[:, 2].cumsum()]))
    return Sequences(values, offsets, torch.from_numpy(present))
