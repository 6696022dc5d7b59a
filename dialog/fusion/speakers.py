"""Speakers by their number in the dialogue."""

import torch
from torch import Tensor, nn

from dialog.batch import UNKNOWN_SPEAKER

MOST_SPEAKERS = 8


def by_appearance(speaker: Tensor) -> Tensor:
    """The speakers (B, U) numbered from 0 by order of appearance in their dialogue; unknown ones stay so.

    Example:
        >>> by_appearance(torch.tensor([[7, 2, -1, 7, 5]]))
        tensor([[ 0,  1, -1,  0,  2]])
    """
    first = (speaker[:, :, None] == speaker[:, None, :]).int().argmax(-1)
    is_new = (first == torch.arange(speaker.shape[1], device=speaker.device)) & (speaker != UNKNOWN_SPEAKER)
    numbers = (is_new.long().cumsum(1) - 1).gather(1, first)
    return torch.where(speaker == UNKNOWN_SPEAKER, UNKNOWN_SPEAKER, numbers)


class SpeakerEmbedding(nn.Module):
    """A vector (B, U, D) for the speaker of each utterance, numbered by order of appearance in the dialogue."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(MOST_SPEAKERS + 1, width)
        nn.init.normal_(self.vectors.weight, std=0.1)

    def forward(self, speaker: Tensor) -> Tensor:
        """The vectors for speakers (B, U)."""
        vectors: Tensor = self.vectors(by_appearance(speaker).clamp(max=MOST_SPEAKERS - 1) + 1)
        return vectors
