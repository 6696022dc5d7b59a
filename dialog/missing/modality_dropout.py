"""Which modalities of an utterance are there, and leaving some out: at random in training, on purpose in tests."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dialog.batch import DialogueBatch
from m2fnet.errors import UsageError


@dataclass(frozen=True)
class ModalityDropout:
    """Training with modalities left out of whole dialogues at random, so that the network does without each of them.

    Of whole dialogues, because left out of single utterances a modality is still there in the turns around them, and a
    network so trained does badly where it is gone (docs/results.md measures both).

    Args:
        probability: of each modality of each dialogue to be left out; where that would take all, one stays.
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
        """The batch with modalities left out as in ``epoch``."""
        dialogues, utterances = batch["valid"].shape
        draws = torch.rand(dialogues, 1, len(batch["present"]), device=batch["valid"].device).expand(-1, utterances, -1)
        return with_present(batch, leave_out(batch["present"], self.probability_in(epoch), draws))


def leave_out(present: Mapping[str, Tensor], probability: float, draws: Tensor) -> dict[str, Tensor]:
    """Presence (B, U) of each modality after leaving each out with ``probability``, but never all of an utterance.

    An utterance's modality with the highest draw among those present stays, whatever the probability. So the same draws
    with a higher probability leave out the same modalities and more.

    Args:
        present: modality -> (B, U) as bool.
        probability: from 0, which leaves nothing out, to 1, which leaves one modality of each utterance.
        draws: (B, U, M) uniform random numbers from 0 to below 1, modalities in the order of ``present``.
    """
    there = torch.stack(list(present.values()), dim=-1)  # (B, U, M)
    draws = draws.masked_fill(~there, -1.0)
    stays = (draws >= probability) | (draws == draws.amax(-1, keepdim=True))
    return dict(zip(present, (there & stays).unbind(-1), strict=True))


def only(present: Mapping[str, Tensor], modalities: Collection[str]) -> dict[str, Tensor]:
    """Presence (B, U) of each modality if nothing but ``modalities`` is given."""
    return {name: here if name in modalities else torch.zeros_like(here) for name, here in present.items()}


def with_present(batch: DialogueBatch, present: Mapping[str, Tensor]) -> DialogueBatch:
    """The batch in which nothing but ``present`` (B, U) is there; what is absent is zero."""
    inputs = {name: values * present[name][..., None] for name, values in batch["inputs"].items()}
    return {**batch, "inputs": inputs, "present": dict(present)}
