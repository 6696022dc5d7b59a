"""What a dialogue network gets: the embeddings of some dialogues, side by side, with masks."""

from typing import TypedDict

from torch import Tensor


class DialogueBatch(TypedDict):
    """B dialogues padded to the longest one, U utterances.

    Attributes:
        inputs: modality -> embeddings (B, U, D), zero where absent.
        present: modality -> (B, U) as bool; False for a missing embedding and for padding.
        valid: (B, U) as bool; False for padding.
        label: (B, U) class numbers, or for label sets (B, U, C) of 0 and 1; `m2fnet.problems.UNLABELLED` for context
            utterances and padding.
        row: (B, U) place of the utterance in `Dialogues.utterances`; -1 for padding.
        labelled: number of utterances that have a label; counted here so that the device need not be asked.
    """

    inputs: dict[str, Tensor]
    present: dict[str, Tensor]
    valid: Tensor
    label: Tensor
    row: Tensor
    labelled: int
