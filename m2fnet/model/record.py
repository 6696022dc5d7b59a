"""What a model is in memory."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from extractors.base import Extractor
from m2fnet.records import LabelSet


@dataclass(frozen=True)
class Model:
    """All stages of a trained run, ready to be used.

    Attributes:
        label_set: the emotions in class order.
        extractors: modality -> what embeds its utterances, in the order of the network's inputs; in evaluation mode.
        network: the dialogue network, `dialog.batch.DialogueBatch` -> logits (B, U, C); in evaluation mode.
        config: what ``model.json`` holds: classes and settings of the parts, and what they were trained on.
    """

    label_set: LabelSet
    extractors: dict[str, Extractor]
    network: nn.Module
    config: dict[str, Any]

    @property
    def temperature(self) -> float:
        """What logits are divided by so that probabilities mean what they say; 1 where none was fitted on dev."""
        return float(self.config["temperature"])

    def probabilities(self, logits: Tensor) -> Tensor:
        """Calibrated probabilities (..., C) of the network's logits (..., C)."""
        return (logits.float() / self.temperature).softmax(-1)
