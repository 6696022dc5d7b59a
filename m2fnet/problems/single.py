"""One emotion per utterance: cross-entropy, the most probable emotion, weighted F1."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from m2fnet.losses.class_weights import class_weights, weighted_cross_entropy
from m2fnet.problems.base import UNLABELLED, Problem
from m2fnet.records import Scored, ScoredPrediction, Utterance

if TYPE_CHECKING:
    from torchmetrics import Metric, MetricCollection


@dataclass(frozen=True)
class SingleLabel(Problem):
    """Every labelled utterance has one emotion.

    Example:
        >>> from m2fnet.problems import make_problem
        >>> from m2fnet.records import LabelSet
        >>> problem = make_problem(LabelSet("two", ("anger", "joy")), {"text": 4})
        >>> problem.target(Utterance("u", "toy", "train", "d", 0, label="joy"))
        tensor(1)
        >>> problem.decide(torch.tensor([[0.3, 0.7]]))
        tensor([[False,  True]])
    """

    score_names: ClassVar[tuple[str, ...]] = ("weighted_f1", "accuracy", "macro_f1")
    monitor: ClassVar[str] = "weighted_f1"

    def target(self, utterance: Utterance) -> Tensor:
        """The class number, a tensor without dimensions."""
        return torch.tensor(UNLABELLED if utterance.label is None else self.label_set.index(utterance.label))

    def class_weights(self, utterances: Iterable[Utterance], power: float) -> Tensor:
        """Weights (C,) of the emotions, see `m2fnet.losses.class_weights.class_weights`."""
        return class_weights((utterance.label for utterance in utterances), self.classes, power)

    def loss(self, scores: Tensor, target: Tensor, weight: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
        """Cross-entropy (arXiv:2206.02187, eq 14), summed over the labelled utterances.

        Args:
            scores: logits (N, C).
            target: class numbers (N,).
            weight: of each class, (C,).
            smoothing: share of the target that is spread evenly over all classes.
        """
        return weighted_cross_entropy(scores, target, weight, ignored=UNLABELLED, smoothing=smoothing)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Softmax of the logits (..., C)."""
        return scores.softmax(-1)

    def decide(self, probabilities: Tensor) -> Tensor:
        """True for the most probable emotion, (..., C)."""
        return F.one_hot(probabilities.argmax(-1), len(self.classes)).bool()

    def metrics(self) -> "MetricCollection":
        """Weighted F1, accuracy and macro F1."""
        from torchmetrics import MetricCollection
        from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

        def f1(average: Literal["weighted", "macro"]) -> MulticlassF1Score:
            return MulticlassF1Score(num_classes=len(self.classes), average=average, ignore_index=UNLABELLED)

        accuracy = MulticlassAccuracy(num_classes=len(self.classes), average="micro", ignore_index=UNLABELLED)
        return MetricCollection({"weighted_f1": f1("weighted"), "accuracy": accuracy, "macro_f1": f1("macro")})

    def scores(self, metrics: "Metric | MetricCollection") -> dict[str, Tensor]:
        """Weighted F1, accuracy and macro F1 of what ``metrics`` has seen."""
        found: dict[str, Tensor] = metrics.compute()
        return found

    def _answer(self, utterance: Utterance, predicted: tuple[str, ...], probabilities: dict[str, float]) -> Scored:
        return ScoredPrediction(utterance.id, utterance.dialogue, utterance.label, predicted[0], probabilities)

    def report(self, answers: Mapping[str, Sequence[Scored]], training: Sequence[tuple[str, ...]]) -> dict[str, Any]:
        """All scores by split, those of each test dialogue, and the temperature that fits dev."""
        from m2fnet.metrics.calibration import temperature_of
        from m2fnet.metrics.summaries import per_dialogue, summarise

        return {
            "temperature": temperature_of(answers["dev"], self.classes),
            "kind": "single",
            "classes": list(self.classes),
            "per_dialogue": per_dialogue(answers["test"], self.classes),
            **{split: summarise(rows, training, self.classes) for split, rows in answers.items()},
        }
