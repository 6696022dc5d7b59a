"""A set of emotions per utterance, possibly none: binary cross-entropy, a threshold per emotion, micro F1."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import torch
from torch import Tensor

from m2fnet.losses.multilabel import binary_cross_entropy, positive_weights
from m2fnet.metrics.multilabel import choose_threshold, choose_thresholds, exact_match, macro_f1, micro_f1
from m2fnet.problems.base import UNLABELLED, Problem
from m2fnet.records import Scored, ScoredLabelSet, Utterance

if TYPE_CHECKING:
    from torchmetrics import Metric, MetricCollection

Thresholds = Literal["each", "one"] | float


@dataclass(frozen=True)
class MultiLabel(Problem):
    """Every labelled utterance has a set of emotions, which may be empty.

    Attributes:
        thresholds: the probability from which each emotion is in the answer, in class order; None until they are
            chosen on dev, which means 0.5 for all.
        chosen: how that is done: ``each`` emotion has its own, ``one`` is for all, and a number is it.

    Example:
        >>> from m2fnet.problems import make_problem
        >>> from m2fnet.records import LabelSet
        >>> problem = make_problem(LabelSet("three", ("anger", "joy", "fear"), "multi"), {"text": 4})
        >>> problem.target(Utterance("u", "toy", "train", "d", 0, labels=("joy", "fear")))
        tensor([0, 1, 1])
        >>> problem.decide(torch.tensor([[0.3, 0.7, 0.5]]))
        tensor([[False,  True,  True]])
    """

    thresholds: tuple[float, ...] | None = None
    chosen: Thresholds = "each"

    score_names: ClassVar[tuple[str, ...]] = ("micro_f1", "macro_f1", "exact_match")
    monitor: ClassVar[str] = "micro_f1"

    def __post_init__(self) -> None:
        given = self.thresholds
        if given is not None and (len(given) != len(self.classes) or not all(0 <= value <= 1 for value in given)):
            raise ValueError(f"Expected {len(self.classes)} thresholds from 0 to 1, one per emotion, but got {given}.")
        if self.chosen not in ("each", "one") and not (isinstance(self.chosen, float) and 0 <= self.chosen <= 1):
            raise ValueError(f"Expected thresholds to be each, one or a number from 0 to 1, but got {self.chosen!r}.")

    @property
    def used_thresholds(self) -> tuple[float, ...]:
        """``thresholds``, or 0.5 for all."""
        return self.thresholds or (0.5,) * len(self.classes)

    def with_thresholds(self, thresholds: Sequence[float]) -> "MultiLabel":
        """The same problem that decides by ``thresholds``, one per emotion in class order."""
        return replace(self, thresholds=tuple(map(float, thresholds)))

    def target(self, utterance: Utterance) -> Tensor:
        """1 for each emotion that the utterance has and 0 for each other one, (C,)."""
        labels = utterance.labels
        if labels is None:
            return torch.full((len(self.classes),), UNLABELLED)
        return torch.tensor([int(name in labels) for name in self.classes])

    def class_weights(self, utterances: Iterable[Utterance], power: float) -> Tensor:
        """Weights (C,) of having an emotion against not having it, see `m2fnet.losses.multilabel.positive_weights`."""
        return positive_weights(torch.stack([self.target(u) for u in utterances if u.labels is not None]), power)

    def loss(self, scores: Tensor, target: Tensor, weight: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
        """Binary cross-entropy, mean over the emotions, summed over the labelled utterances.

        Args:
            scores: logits (N, C).
            target: 0 or 1, or `UNLABELLED` throughout a row, (N, C).
            weight: of having each emotion against not having it, (C,).
            smoothing: how far targets move from 0 and 1 towards one half: by half of it.
        """
        return binary_cross_entropy(scores, target, weight, ignored=UNLABELLED, smoothing=smoothing)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Sigmoid of the logits (..., C)."""
        return scores.sigmoid()

    def decide(self, probabilities: Tensor) -> Tensor:
        """True for each emotion whose probability reaches its threshold, (..., C)."""
        thresholds = torch.tensor(self.used_thresholds, dtype=torch.double)
        return probabilities.double() >= thresholds.to(probabilities.device)

    def metrics(self) -> "Metric":
        """Collects the probabilities and label sets of the labelled utterances."""
        from m2fnet.metrics.collected import LabelledProbabilities

        return LabelledProbabilities(ignored=UNLABELLED)

    def scores(self, metrics: "Metric | MetricCollection") -> dict[str, Tensor]:
        """Micro F1, macro F1 and the share of exact matches of what ``metrics`` has seen, by the thresholds."""
        probabilities, targets = cast(tuple[Tensor, Tensor], metrics.compute())
        answers = self.decide(probabilities)
        return {
            "micro_f1": micro_f1(answers, targets),
            "macro_f1": macro_f1(answers, targets),
            "exact_match": exact_match(answers, targets),
        }

    def chosen_on_dev(self, metrics: "Metric | MetricCollection") -> "MultiLabel":
        """The problem with the thresholds that are best on what ``metrics`` has seen, see `choose_thresholds`."""
        if isinstance(self.chosen, float):
            return self.with_thresholds([self.chosen] * len(self.classes))
        seen = cast(tuple[Tensor, Tensor], metrics.compute())
        if self.chosen == "one":
            return self.with_thresholds([choose_threshold(*seen)] * len(self.classes))
        return self.with_thresholds(choose_thresholds(*seen))

    def with_decisions_of(self, other: Problem) -> "MultiLabel":
        """The problem with the thresholds of ``other``."""
        return replace(self, thresholds=other.thresholds if isinstance(other, MultiLabel) else None)

    def _answer(self, utterance: Utterance, predicted: tuple[str, ...], probabilities: dict[str, float]) -> Scored:
        return ScoredLabelSet(utterance.id, utterance.dialogue, utterance.labels, predicted, probabilities)

    def report(self, answers: Mapping[str, Sequence[Scored]], training: Sequence[tuple[str, ...]]) -> dict[str, Any]:
        """All scores by split with intervals and baselines, and the thresholds."""
        from m2fnet.metrics.summaries import summarise_label_sets

        used = self.used_thresholds
        return {
            "kind": "multi",
            "classes": list(self.classes),
            "thresholds": dict(zip(self.classes, used, strict=True)),
            "thresholds_are_fixed": isinstance(self.chosen, float),
            **{split: summarise_label_sets(rows, training, self.classes, used) for split, rows in answers.items()},
        }

    def as_dict(self) -> dict[str, object]:
        """Plain data for a checkpoint, with the thresholds."""
        return {**super().as_dict(), "thresholds": None if self.thresholds is None else list(self.thresholds)}
