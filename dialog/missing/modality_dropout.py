"""Streams removed from utterances: at random in training, on purpose in tests."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dialog.batch import DialogueBatch
from m2fnet.errors import UsageError


@dataclass(frozen=True)
class ModalityDropout:
    """Removes streams from whole dialogues at random in training, so that the network learns to do without each.

    From whole dialogues, because a stream that is removed from single utterances is still there in the utterances
    around them, and a network trained so does badly where the stream is gone (docs/results.md measures both).

    Args:
        probability: of each stream of each dialogue to be removed; if that would remove all, one stays.
        warmup_epochs: epochs over which the probability rises to that in equal steps, from 0 in the first.
    """

    probability: float
    warmup_epochs: int = 0

    def check(self) -> None:
        """Refuse numbers that are out of range.

        Raises:
            UsageError: naming both.
        """
        if not 0 <= self.probability < 1 or self.warmup_epochs < 0:
            raise UsageError(
                f"model.modality_dropout is probability {self.probability} and warmup_epochs {self.warmup_epochs}; "
                "expected a probability from 0 to below 1, and a number of epochs from 0."
            )

    def probability_in(self, epoch: int) -> float:
        """The probability in ``epoch``, counted from 0.

        >>> [ModalityDropout(0.4, warmup_epochs=2).probability_in(epoch) for epoch in range(4)]
        [0.0, 0.2, 0.4, 0.4]
        """
        return self.probability * min(epoch / self.warmup_epochs, 1.0) if self.warmup_epochs else self.probability

    def __call__(self, batch: DialogueBatch, epoch: int) -> DialogueBatch:
        """The batch with streams removed as in ``epoch``."""
        dialogues, utterances = batch["valid"].shape
        draws = torch.rand(dialogues, 1, len(batch["present"]), device=batch["valid"].device).expand(-1, utterances, -1)
        return with_present(batch, remove_at_random(batch["present"], self.probability_in(epoch), draws))


def remove_at_random(present: Mapping[str, Tensor], probability: float, draws: Tensor) -> dict[str, Tensor]:
    """Presence (B, U) of each stream after removing each with ``probability``, but never all of an utterance.

    The stream with the highest draw among an utterance's present ones stays, whatever the probability. So the same
    draws with a higher probability remove the same streams and more.

    Args:
        present: stream -> (B, U) as bool.
        probability: from 0, which removes nothing, to 1, which leaves one stream of each utterance.
        draws: (B, U, S) uniform random numbers from 0 to below 1, streams in the order of ``present``.

    Example:
        >>> here = torch.ones(1, 2, dtype=torch.bool)
        >>> draws = torch.tensor([[[0.1, 0.9], [0.4, 0.2]]])
        >>> remove_at_random({"text": here, "audio": here}, 0.3, draws)
        {'text': tensor([[False,  True]]), 'audio': tensor([[ True, False]])}
    """
    there = torch.stack(list(present.values()), dim=-1)  # (B, U, M)
    draws = draws.masked_fill(~there, -1.0)
    stays = (draws >= probability) | (draws == draws.amax(-1, keepdim=True))
    return dict(zip(present, (there & stays).unbind(-1), strict=True))


def only(present: Mapping[str, Tensor], streams: Collection[str]) -> dict[str, Tensor]:
    """Presence (B, U) of each stream if all but ``streams`` are removed.

    Example:
        >>> here = torch.tensor([[True, False]])
        >>> only({"text": here, "audio": here}, ["audio"])
        {'text': tensor([[False, False]]), 'audio': tensor([[ True, False]])}
    """
    return {name: here if name in streams else torch.zeros_like(here) for name, here in present.items()}


def with_present(batch: DialogueBatch, present: Mapping[str, Tensor]) -> DialogueBatch:
    """The batch in which only ``present``, stream -> (B, U), is there; absent embeddings and their frames are zero."""
    inputs = {
        name: values * present[name].reshape(*present[name].shape, *[1] * (values.ndim - 2))
        for name, values in batch["inputs"].items()
    }
    frames = {name: real & present[name][..., None] for name, real in batch["frames"].items()}
    return {**batch, "inputs": inputs, "frames": frames, "present": dict(present)}
