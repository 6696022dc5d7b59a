"""What a dialogue network gets and gives: padded dialogues with masks in, scores out."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, NotRequired, TypedDict

import torch
from torch import Tensor, nn

from m2fnet.errors import UsageError
from m2fnet.records import Utterance

UNKNOWN_SPEAKER = -1


class DialogueBatch(TypedDict):
    """B dialogues, padded to the U utterances of the longest one.

    Attributes:
        inputs: stream -> embeddings (B, U, D), or for a stream of sequences (B, U, T, D); zero where absent.
        frames: stream of sequences -> (B, U, T) as bool, False for padding and in absent utterances; empty if every
            stream has one vector per utterance.
        present: stream -> (B, U) as bool; False for a missing embedding and for padding.
        valid: (B, U) as bool; False for padding.
        speaker: (B, U) numbers of the speakers of a dialogue by order of appearance, so that a number means nothing in
            another dialogue; `UNKNOWN_SPEAKER` where the speaker is unknown, and for padding.
        gap_s: (B, U) seconds of silence before an utterance, since the end of the one before; negative where they
            overlap, NaN where a time is unknown, for the first one, and for padding.
        label: (B, U) class numbers, or for label sets (B, U, C) of 0 and 1; `m2fnet.problems.UNLABELLED` for context
            utterances and padding.
        row: (B, U) place of the utterance in `Dialogues.utterances`; -1 for padding.
        labelled: number of utterances that have a label; counted here so that the device need not be asked.
        rating: (B, U, R) what people rated each utterance on the scales of the problem, NaN where that is unknown, and
            for padding; only where the problem has ratings.
    """

    inputs: dict[str, Tensor]
    frames: dict[str, Tensor]
    present: dict[str, Tensor]
    valid: Tensor
    speaker: Tensor
    gap_s: Tensor
    label: Tensor
    row: Tensor
    labelled: int
    rating: NotRequired[Tensor]


class Output(NamedTuple):
    """What a dialogue network returns.

    Attributes:
        scores: (B, U, C), one score per emotion before softmax or sigmoid; what padding gets is ignored.
        terms: name (any but ``loss`` and ``scores_loss``) -> scalar, already weighted, that training adds to the loss
            of the scores and logs as ``train/name``.
        ratings: (B, U, R), one number per scale of the problem; None of a network that rates nothing.

    Example:
        >>> import torch
        >>> output = Output(torch.zeros(2, 5, 7), {"orthogonality": torch.tensor(0.1)})
        >>> output.scores.shape, list(output.terms)
        (torch.Size([2, 5, 7]), ['orthogonality'])
    """

    scores: Tensor
    terms: Mapping[str, Tensor] = MappingProxyType({})
    ratings: Tensor | None = None


def output_of(network: nn.Module, batch: DialogueBatch) -> Output:
    """What ``network`` returns for ``batch``, checked to be an `Output`.

    Raises:
        UsageError: if it is something else, such as a plain tensor of scores.
    """
    output = network(batch)
    if not isinstance(output, Output):
        name = type(network).__qualname__
        raise UsageError(
            f"The network {name} returned a {type(output).__name__}, expected dialog.batch.Output. End its forward "
            "with `return Output(scores)`, or `return Output(scores, terms)` if it adds terms to the loss."
        )
    return output


def speaker_numbers(utterances: Sequence[Utterance]) -> Tensor:
    """The speakers (U,) of one dialogue, numbered from 0 by order of appearance; `UNKNOWN_SPEAKER` for None.

    Example:
        >>> from m2fnet.records import Utterance
        >>> names = ["Ross", "Rachel", None, "Ross"]
        >>> speaker_numbers([Utterance(str(i), "meld", "train", "d", i, speaker=name) for i, name in enumerate(names)])
        tensor([ 0,  1, -1,  0])
    """
    numbers: dict[str | None, int] = {None: UNKNOWN_SPEAKER}
    return torch.tensor([numbers.setdefault(one.speaker, len(numbers) - 1) for one in utterances], dtype=torch.long)


def gaps_s(utterances: Sequence[Utterance]) -> Tensor:
    """Seconds of silence before each utterance (U,) of one dialogue, see `DialogueBatch`.

    Example:
        >>> from m2fnet.records import Utterance
        >>> times = [(0.0, 2.0), (2.5, 4.0), (3.5, 5.0)]
        >>> gaps_s([Utterance(str(s), "meld", "train", "d", 0, start_s=s, end_s=e) for s, e in times])
        tensor([    nan,  0.5000, -0.5000])
    """
    unknown = float("nan")
    starts = torch.tensor([unknown if one.start_s is None else one.start_s for one in utterances], dtype=torch.double)
    ends = torch.tensor([unknown if one.end_s is None else one.end_s for one in utterances], dtype=torch.double)
    before = torch.cat([torch.tensor([unknown], dtype=torch.double), ends[:-1]])
    return (starts - before).float()
