"""Pairs of utterances: whether one person speaks both, and weights over those that an utterance may read."""

import torch
from torch import Tensor

from dialog.batch import UNKNOWN_SPEAKER


def same_speaker(speaker: Tensor) -> Tensor:
    """Whether two utterances have the same speaker, (B, U, U) as bool, from the speakers (B, U).

    An unknown speaker is the speaker of that utterance only.

    Example:
        >>> same_speaker(torch.tensor([[0, 1, 0, -1]]))[0].int()
        tensor([[1, 0, 1, 0],
                [0, 1, 0, 0],
                [1, 0, 1, 0],
                [0, 0, 0, 1]], dtype=torch.int32)
    """
    itself = torch.eye(speaker.shape[1], dtype=torch.bool, device=speaker.device)
    is_known = speaker[:, :, None] != UNKNOWN_SPEAKER
    return ((speaker[:, :, None] == speaker[:, None, :]) & is_known) | itself


def masked_softmax(scores: Tensor, allowed: Tensor) -> Tensor:
    """Softmax over the last dimension of the entries that are ``allowed``; the others, and rows without any, are zero.

    Example:
        >>> masked_softmax(torch.zeros(2, 3), torch.tensor([[True, True, False], [False, False, False]]))
        tensor([[0.5000, 0.5000, 0.0000],
                [0.0000, 0.0000, 0.0000]])
    """
    lowest = torch.finfo(scores.dtype).min  # not -inf, which would be NaN in rows without any
    return scores.masked_fill(~allowed, lowest).softmax(-1) * allowed
