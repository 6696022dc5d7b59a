"""A model in memory."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from extractors.base import Extractor
from m2fnet.corpora.label_sets import TOY, TOY_SETS
from m2fnet.records import LabelSet


@dataclass(frozen=True)
class Model:
    """All stages of a trained run, ready to be used.

    Attributes:
        label_set: the emotions in class order.
        extractors: stream -> its extractor, in the order of the network's inputs; in evaluation mode.
        network: the dialogue network, `dialog.batch.DialogueBatch` -> `dialog.batch.Output`; in evaluation mode.
        config: the content of ``model.json``: classes and settings of the parts, and their training data.
    """

    label_set: LabelSet
    extractors: dict[str, Extractor]
    network: nn.Module
    config: dict[str, Any]

    @property
    def temperature(self) -> float:
        """Divisor of the logits that calibrates the probabilities; 1 where none was fitted on dev."""
        return float(self.config["temperature"])

    def probabilities(self, logits: Tensor) -> Tensor:
        """Calibrated probabilities (..., C) of the network's logits (..., C); for sets of emotions each separate."""
        scaled = logits.float() / self.temperature
        return scaled.sigmoid() if self.label_set.kind == "multi" else scaled.softmax(-1)

    @property
    def ratings(self) -> tuple[str, ...]:
        """Names of the scales that the network rates utterances on; empty if it rates nothing."""
        return tuple(self.config.get("network", {}).get("ratings", ()))

    @property
    def trained_on(self) -> str:
        """What the network learned from, in a sentence for who uses it; empty where that is not known."""
        trained = self.config.get("trained")
        if not isinstance(trained, dict) or not isinstance(trained.get("corpus"), str):
            return ""
        match trained.get("counts"):
            case {"train": {"labelled": int(number)}}:
                size = f"{number:,} utterances"
            case _:
                size = "utterances"
        people = " of made-up people" if trained["corpus"] in (TOY.name, TOY_SETS.name) else ""
        return (
            f"The model was trained on {size}{people}, corpus {trained['corpus']}; expect less on other kinds of "
            "recordings."
        )

    @property
    def thresholds(self) -> dict[str, float]:
        """Emotion -> the probability from which it is in the answer; empty unless answers are sets."""
        thresholds = self.config.get("thresholds") if self.label_set.kind == "multi" else None
        return dict(thresholds) if thresholds is not None else {}
