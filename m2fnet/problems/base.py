"""A problem as the data side states it and the network, the training and the reports read it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from torch import Tensor

from m2fnet.metrics.scores import score_title
from m2fnet.records import MODALITIES, LabelSet, Modality, Scored, Utterance

if TYPE_CHECKING:
    from torchmetrics import Metric, MetricCollection

UNLABELLED = -100  # the target of what has no label; torch's cross-entropy ignores that class number


@dataclass(frozen=True)
class Stream:
    """One input of a network.

    Attributes:
        modality: what it is made of.
        width: numbers per vector.
        is_sequence: whether an utterance is a sequence of vectors, such as one per frame, instead of one vector.
    """

    modality: Modality
    width: int
    is_sequence: bool = False

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES or type(self.width) is not int or self.width < 1:
            raise ValueError(
                f"Expected a modality out of {', '.join(MODALITIES)} and a width of at least 1, but got "
                f"{self.modality!r} and {self.width!r}."
            )


@dataclass(frozen=True)
class Problem(ABC):
    """What a network has to solve; `m2fnet.problems.make_problem` makes the one that fits a label set.

    Attributes:
        label_set: the emotions, and whether an utterance has one or a set of them.
        streams: name of each input of the network -> what it is, in the order the network gets them.
        ratings: names of the scales, such as ``valence``, on which it rates each utterance in addition.

    Example:
        >>> import torch
        >>> from m2fnet.problems import make_problem
        >>> problem = make_problem(LabelSet("two", ("anger", "joy")), {"text": 768})
        >>> problem.classes, problem.widths, problem.modalities
        (('anger', 'joy'), {'text': 768}, {'text': 'text'})
        >>> problem.probabilities(torch.tensor([[0.0, 0.0]]))
        tensor([[0.5000, 0.5000]])
    """

    label_set: LabelSet
    streams: dict[str, Stream] = field(default_factory=dict)
    ratings: tuple[str, ...] = ()

    score_names: ClassVar[tuple[str, ...]]  # of `scores`
    monitor: ClassVar[str]  # name of the score on dev that selects weights

    @property
    def monitor_title(self) -> str:
        """The same for people."""
        return score_title(self.monitor)

    @property
    def classes(self) -> tuple[str, ...]:
        """The emotions in class order."""
        return self.label_set.classes

    @property
    def widths(self) -> dict[str, int]:
        """Name of each stream -> width of its vectors."""
        return {name: stream.width for name, stream in self.streams.items()}

    @property
    def modalities(self) -> dict[str, Modality]:
        """Name of each stream -> its modality."""
        return {name: stream.modality for name, stream in self.streams.items()}

    @abstractmethod
    def target(self, utterance: Utterance) -> Tensor:
        """What the network should answer to ``utterance``; filled with `UNLABELLED` if it has no label."""

    @abstractmethod
    def class_weights(self, utterances: Iterable[Utterance], power: float) -> Tensor:
        """Weights (C,) for `loss` by how often each emotion occurs in ``utterances``; ``power`` 0 weighs none."""

    @abstractmethod
    def loss(self, scores: Tensor, target: Tensor, weight: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
        """Loss of logits (N, C), summed over the labelled utterances; targets as of `target`.

        ``smoothing`` is the share of each target that is spread over all its possible values.
        """

    @abstractmethod
    def probabilities(self, scores: Tensor) -> Tensor:
        """Probabilities (..., C) of logits (..., C)."""

    @abstractmethod
    def decide(self, probabilities: Tensor) -> Tensor:
        """Whether each emotion is in the answer, (..., C) as bool, by the probabilities (..., C)."""

    @abstractmethod
    def metrics(self) -> "Metric | MetricCollection":
        """A new metric that is updated with logits (N, C) and targets; `scores` and `chosen_on_dev` read it."""

    @abstractmethod
    def scores(self, metrics: "Metric | MetricCollection") -> dict[str, Tensor]:
        """Name -> score, `monitor` among them, of what ``metrics`` has seen."""

    def chosen_on_dev(self, metrics: "Metric | MetricCollection") -> Self:
        """The problem with what its decisions need, such as thresholds, chosen on what ``metrics`` has seen of dev."""
        return self

    def with_decisions_of(self, other: "Problem") -> Self:
        """The problem with what `chosen_on_dev` chose for ``other``, which a checkpoint holds."""
        return self

    def answers(self, utterances: Iterable[Utterance], probabilities: Tensor) -> list[Scored]:
        """What was predicted for each of N utterances, as records, by the probabilities (N, C)."""
        decided = self.decide(probabilities).tolist()
        return [
            self._answer(
                utterance,
                tuple(name for name, is_in in zip(self.classes, answer, strict=True) if is_in),
                dict(zip(self.classes, values, strict=True)),
            )
            for utterance, answer, values in zip(utterances, decided, probabilities.tolist(), strict=True)
        ]

    @abstractmethod
    def _answer(self, utterance: Utterance, predicted: tuple[str, ...], probabilities: dict[str, float]) -> Scored:
        """The record of one answer."""

    @abstractmethod
    def report(self, answers: Mapping[str, Sequence[Scored]], training: Sequence[tuple[str, ...]]) -> dict[str, Any]:
        """What ``report.json`` says about answers: kind, classes, all scores by split, and what was chosen on dev.

        Args:
            answers: to the utterances of ``"dev"`` and ``"test"``.
            training: labels of each labelled utterance of the training split, for the baselines.
        """

    def as_dict(self) -> dict[str, object]:
        """Plain data for a checkpoint; `m2fnet.problems.problem_from_dict` reads it."""
        names = self.label_set
        return {
            "label_set": {"name": names.name, "classes": list(names.classes), "kind": names.kind},
            "streams": {name: dict(vars(stream)) for name, stream in self.streams.items()},
            **({"ratings": list(self.ratings)} if self.ratings else {}),
        }


def streams_from_dict(content: Mapping[str, object]) -> dict[str, Stream]:
    """Streams out of `Problem.as_dict`; older checkpoints have the widths of modalities instead.

    Raises:
        KeyError, TypeError, ValueError: if something is absent or not what it should be.
    """
    if "streams" in content:
        streams = content["streams"]
        if not isinstance(streams, Mapping):
            raise TypeError(f"streams is {streams!r}, expected the streams by name")
        return {str(name): Stream(**stream) for name, stream in streams.items()}
    widths = content["widths"]
    if not isinstance(widths, Mapping):
        raise TypeError(f"widths is {widths!r}, expected the widths by modality")
    return {name: Stream(name, width) for name, width in widths.items()}
