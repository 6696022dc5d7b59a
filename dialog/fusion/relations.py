"""How far apart two utterances are and who speaks them, as an input of attention."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from dialog.batch import UNKNOWN_SPEAKER, DialogueBatch

Bias = Literal["none", "fixed", "learned"]

MOST_SPEAKERS = 8  # with separate embeddings in a dialogue; later ones share the last
_STRENGTH = 1.0  # of the bias between speakers, in the logits of attention


@dataclass(frozen=True)
class Relations:
    """What attention knows about a pair of utterances besides their embeddings.

    Attributes:
        distance: ``fixed`` subtracts ``slope * |t - s|`` from the logits of attention, where each head has another
            slope, see `slopes` (ALiBi, arXiv:2108.12409, in both directions); ``learned`` starts there.
        speaker: ``fixed`` adds 1 to the logits of utterances by the same speaker in the first, third, ... head and
            to those of other speakers in the second, fourth, ... head; ``learned`` starts there. A pair with an
            unknown speaker gets nothing.
        window: no utterance reads others more than this number of utterances away; None for no limit.
    """

    distance: Bias = "none"
    speaker: Bias = "none"
    window: int | None = None

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 0:
            raise ValueError(f"Expected `relations.window` to be at least 0, or None, but got {self.window}.")


def slopes(heads: int) -> Tensor:
    """Slope (H,) of the distance in each head: 1/2, 1/8, 1/32, ..., each for two heads.

    In ratio 1/4 as for 4 heads in arXiv:2108.12409, section 3. The two heads of a slope differ in the speakers that
    they prefer, see `Relations`.

    Example:
        >>> slopes(4)
        tensor([0.5000, 0.5000, 0.1250, 0.1250])
    """
    return torch.pow(2.0, -(1.0 + 2 * (torch.arange(heads) // 2)))


class AttentionBias(nn.Module):
    """What is added to the logits of attention (B, H, U, U) for each pair of utterances; None if nothing is.

    Args:
        relations: see there.
        heads: H.

    Example:
        >>> bias = AttentionBias(Relations(speaker="fixed"), heads=2)
        >>> batch = {"speaker": torch.tensor([[0, 1, 0]]), "valid": torch.ones(1, 3, dtype=torch.bool)}
        >>> bias(batch)[0, :, 0]  # first utterance, both heads
        tensor([[1., 0., 1.],
                [0., 1., 0.]])
    """

    distance: Tensor | None  # (H,)
    speaker: Tensor | None  # (H,)

    def __init__(self, relations: Relations, heads: int) -> None:
        super().__init__()
        strengths = torch.full((heads,), _STRENGTH)
        for name, kind, start in (
            ("distance", relations.distance, slopes(heads)),
            ("speaker", relations.speaker, strengths),
        ):
            if kind == "learned":
                self.register_parameter(name, nn.Parameter(start))
            else:
                self.register_buffer(name, start if kind == "fixed" else None, persistent=False)

    @property
    def is_used(self) -> bool:
        """Whether there is any bias."""
        return self.distance is not None or self.speaker is not None

    def forward(self, batch: DialogueBatch) -> Tensor | None:
        """The bias for ``batch``."""
        parts = []
        dialogues, utterances = batch["valid"].shape
        if self.distance is not None:
            place = torch.arange(utterances, device=self.distance.device)
            distance = (place - place[:, None]).abs() * -self.distance[:, None, None]
            parts.append(distance.expand(dialogues, -1, -1, -1))
        if self.speaker is not None:
            speaker = batch["speaker"]
            is_known = speaker != UNKNOWN_SPEAKER
            known = is_known[:, None, :, None] & is_known[:, None, None, :]
            same = (speaker[:, None, :, None] == speaker[:, None, None, :]) & known
            prefers_same = (torch.arange(len(self.speaker), device=speaker.device) % 2 == 0)[:, None, None]
            preferred = (same & prefers_same) | (known & ~same & ~prefers_same)
            parts.append(preferred * self.speaker[:, None, None])
        return torch.stack(parts).sum(0) if parts else None


class SpeakerEmbedding(nn.Module):
    """A vector (B, U, D) for the speaker of each utterance, numbered by order of appearance in the dialogue.

    The numbers in a batch may be any: only which utterances have the same one matters. Later speakers than the
    eighth share its vector, and unknown ones have another.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(MOST_SPEAKERS + 1, width)
        nn.init.normal_(self.vectors.weight, std=0.1)

    def forward(self, speaker: Tensor) -> Tensor:
        """The vectors for speakers (B, U)."""
        vectors: Tensor = self.vectors(by_appearance(speaker).clamp(max=MOST_SPEAKERS - 1) + 1)
        return vectors


def by_appearance(speaker: Tensor) -> Tensor:
    """The speakers (B, U) numbered from 0 by order of appearance in their dialogue; unknown ones stay so.

    Example:
        >>> by_appearance(torch.tensor([[7, 2, -1, 7, 5]]))
        tensor([[ 0,  1, -1,  0,  2]])
    """
    first = (speaker[:, :, None] == speaker[:, None, :]).int().argmax(-1)  # utterance at which the speaker appears
    is_new = (first == torch.arange(speaker.shape[1], device=speaker.device)) & (speaker != UNKNOWN_SPEAKER)
    numbers = (is_new.long().cumsum(1) - 1).gather(1, first)
    return torch.where(speaker == UNKNOWN_SPEAKER, UNKNOWN_SPEAKER, numbers)
