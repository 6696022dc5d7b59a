"""Streams removed from utterances: at random in training, on purpose in tests."""

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dialog.batch import DialogueBatch
from m2fnet.errors import UsageError

By = Literal["stream", "modality"]
Scheme = Literal["restore_one", "redraw", "keep_all", "even"]


@dataclass(frozen=True)
class ModalityDropout:
    """Removes streams from whole dialogues at random in training, so that the network learns to do without each.

    From whole dialogues, because a stream that is removed from single utterances is still there in the utterances
    around them, and a network trained so does badly where the stream is gone (docs/results.md measures both).

    Args:
        probability: of each stream of each dialogue to be removed; for ``even`` of anything to be removed.
        warmup_epochs: epochs over which the probability rises to that in equal steps, from 0 in the first.
        by: remove each ``stream``, or each ``modality`` with all its streams, so that of two visual streams one does
            not replace the other.
        scheme: what happens where all would be removed, see `pattern_probabilities`.
    """

    probability: float
    warmup_epochs: int = 0
    by: By = "stream"
    scheme: Scheme = "restore_one"

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

    def __call__(self, batch: DialogueBatch, epoch: int, modalities: Mapping[str, str] | None = None) -> DialogueBatch:
        """The batch with streams removed as in ``epoch``; ``modalities`` says that of each stream."""
        present = batch["present"]
        groups = {name: modalities[name] if self.by == "modality" and modalities else name for name in present}
        names = list(dict.fromkeys(groups.values()))
        there = {  # of a group, where any of its streams is
            name: torch.stack([here for stream, here in present.items() if groups[stream] == name]).any(0)
            for name in names
        }
        probability, device = self.probability_in(epoch), batch["valid"].device
        if self.scheme == "restore_one":
            dialogues, utterances = batch["valid"].shape
            draws = torch.rand(dialogues, 1, len(names), device=device).expand(-1, utterances, -1)
            left = remove_at_random(there, probability, draws)
        else:
            patterns, chances = pattern_probabilities(len(names), probability, self.scheme)
            drawn = patterns[torch.multinomial(chances, len(batch["valid"]), replacement=True)].to(device)
            left = keep_pattern(there, drawn)
        return with_present(batch, {stream: here & left[groups[stream]] for stream, here in present.items()})


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


def pattern_probabilities(streams: int, probability: float, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """Every pattern of streams that stay, (K, S) as bool and never none, and how likely each is, (K,) in float64.

    Each of S streams is removed with ``probability`` p. Where that would remove all, ``restore_one`` keeps one of them,
    each as likely; ``redraw`` draws again; ``keep_all`` removes nothing. ``even`` is another rule: with p one of the
    incomplete patterns, each as likely (yuxia214/autodl-tmp@9d6ba69, a fork of MERBench), so each of three streams is
    absent with p / 2.

    The expectation of anything over the dropout is the sum over the patterns, exactly.

    Example:
        >>> patterns, chances = pattern_probabilities(2, 0.5, "restore_one")
        >>> patterns.tolist(), chances.tolist()
        ([[True, True], [True, False], [False, True]], [0.25, 0.375, 0.375])
    """
    patterns = torch.tensor([kept for kept in itertools.product((True, False), repeat=streams) if any(kept)])
    count, p = patterns.sum(1), torch.tensor(probability, dtype=torch.double)
    if scheme == "even":
        incomplete = len(patterns) - 1
        share = p / incomplete if incomplete else p
        return patterns, torch.where(count == streams, 1 - p if incomplete else 1.0, share)
    chances = (1 - p) ** count * p ** (streams - count)
    nothing = p**streams
    if scheme == "redraw":
        return patterns, chances / (1 - nothing)
    spared = count == (1 if scheme == "restore_one" else streams)
    return patterns, chances + nothing * spared / spared.sum()


def keep_pattern(present: Mapping[str, Tensor], patterns: Tensor) -> dict[str, Tensor]:
    """Presence (B, U) of each stream after keeping those of the pattern (B, S) of its dialogue.

    An utterance that has no stream of its pattern keeps what it has.

    Example:
        >>> here = torch.ones(1, 2, dtype=torch.bool)
        >>> sound = torch.tensor([[True, False]])
        >>> keep_pattern({"text": here, "audio": sound}, torch.tensor([[False, True]]))
        {'text': tensor([[False,  True]]), 'audio': tensor([[ True, False]])}
    """
    there = torch.stack(list(present.values()), dim=-1)  # (B, U, S)
    kept = there & patterns[:, None]
    left = torch.where(kept.any(-1, keepdim=True), kept, there)
    return dict(zip(present, left.unbind(-1), strict=True))


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
