"""Vectors of several utterances that stay mapped from disk; what is asked for is read."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Vectors:
    """N vectors of width D, of which 16 bytes each are in memory.

    Args:
        shards: (rows, D) each, mapped from disk.
        places: (N, 2), of each utterance the shard and the row there; a negative row for an absent one.
        width: D.

    Example:
        >>> vectors = Vectors([torch.arange(6.0).reshape(3, 2)], np.array([[0, 2], [0, -1], [0, 0]]), 2)
        >>> vectors[torch.tensor([[0, 1], [2, 2]])].tolist()
        [[[4.0, 5.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]]
    """

    def __init__(self, shards: Sequence[Tensor], places: NDArray[np.int64], width: int) -> None:
        self.shards, self.width = shards, width
        self._shard, self._row = (torch.from_numpy(column.copy()) for column in places.T)

    def __len__(self) -> int:
        return len(self._row)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Vectors (..., D) as float32, zero where absent.

        Args:
            rows: numbers of utterances, of any shape (...).
        """
        shard, row = self._shard[rows], self._row[rows]
        out = torch.zeros(*rows.shape, self.width)
        for number in torch.unique(shard[row >= 0]).tolist():
            here = (shard == number) & (row >= 0)
            out[here] = self.shards[number].index_select(0, row[here]).float()
        return out
