"""What a dialogue network gets and gives: padded dialogues with masks in, scores out."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, TypedDict

from torch import Tensor, nn

from m2fnet.errors import UsageError


class DialogueBatch(TypedDict):
    """B dialogues, padded to the U utterances of the longest one.

    Attributes:
        inputs: stream -> embeddings (B, U, D), or for a stream of sequences (B, U, T, D); zero where absent.
        frames: stream of sequences -> (B, U, T) as bool, False for padding and in absent utterances; empty if every
            stream has one vector per utterance.
        present: stream -> (B, U) as bool; False for a missing embedding and for padding.
        valid: (B, U) as bool; False for padding.
        label: (B, U) class numbers, or for label sets (B, U, C) of 0 and 1; `m2fnet.problems.UNLABELLED` for context
            utterances and padding.
        row: (B, U) place of the utterance in `Dialogues.utterances`; -1 for padding.
        labelled: number of utterances that have a label; counted here so that the device need not be asked.
    """

    inputs: dict[str, Tensor]
    frames: dict[str, Tensor]
    present: dict[str, Tensor]
    valid: Tensor
    label: Tensor
    row: Tensor
    labelled: int


class Output(NamedTuple):
    """What a dialogue network returns.

    Attributes:
        scores: (B, U, C), one score per emotion before softmax or sigmoid; what padding gets is ignored.
        terms: name (any but ``loss``) -> scalar, already weighted, that training adds to the loss of the scores and
            logs as ``train/name``.

    Example:
        >>> import torch
        >>> output = Output(torch.zeros(2, 5, 7), {"orthogonality": torch.tensor(0.1)})
        >>> output.scores.shape, list(output.terms)
        (torch.Size([2, 5, 7]), ['orthogonality'])
    """

    scores: Tensor
    terms: Mapping[str, Tensor] = MappingProxyType({})


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
