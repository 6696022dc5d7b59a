"""Which pseudo-labels a student learns from, and how much each counts."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Selection(NamedTuple):
    """What a policy decides for N utterances.

    Attributes:
        mask: which are selected, (N,) as bool.
        label: class numbers (N,).
        weight: in the loss, (N,) from 0; 0 where not selected.
    """

    mask: NDArray[np.bool_]
    label: NDArray[np.int64]
    weight: Array


@dataclass(frozen=True)
class Meta:
    """What a policy knows in addition.

    Attributes:
        classes: the emotions in class order.
        voters: who voted: the streams, where there are several, else the networks.
    """

    classes: tuple[str, ...]
    voters: tuple[str, ...]


class Policy(ABC):
    """A rule that selects pseudo-labels."""

    @abstractmethod
    def select(self, probs: Array, votes: NDArray[np.int64], meta: Meta) -> Selection:
        """The selection.

        Args:
            probs: calibrated probabilities (N, C) of the teacher.
            votes: how many of the voters answer each class, (N, C).
            meta: what the columns are, and who voted.
        """


@dataclass(frozen=True)
class SoftWeights(Policy):
    """Everything is selected, with the weight confidence ** gamma.

    Ours; the idea that a label's weight should grow with its confidence instead of jumping at a threshold is that of
    SoftMatch (Chen et al., arXiv:2301.10921), which uses a truncated Gaussian.

    Args:
        gamma: 0 weighs all alike; the larger, the less the doubtful ones count.

    Example:
        >>> probs, votes = np.array([[0.9, 0.1], [0.5, 0.5]]), np.array([[5, 0], [3, 2]])
        >>> SoftWeights(gamma=2.0).select(probs, votes, Meta(("joy", "anger"), ("a",) * 5)).weight
        array([0.81, 0.25])
    """

    gamma: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < np.inf:
            raise ValueError(f"Expected a gamma of at least 0, but got {self.gamma}.")

    def select(self, probs: Array, votes: NDArray[np.int64], meta: Meta) -> Selection:
        """All, weighted."""
        return Selection(np.ones(len(probs), dtype=bool), probs.argmax(-1), probs.max(-1) ** self.gamma)


@dataclass(frozen=True)
class FixedThreshold(Policy):
    """Those whose confidence reaches one threshold.

    FixMatch (Sohn et al., arXiv:2001.07685, equation 4) with 0.95; Lee 2013 takes all.

    Args:
        threshold: from 0 to 1.

    Example:
        >>> probs = np.array([[0.9, 0.1], [0.4, 0.6]])
        >>> FixedThreshold(0.8).select(probs, np.zeros((2, 2), int), Meta(("joy", "anger"), ())).mask
        array([ True, False])
    """

    threshold: float = 0.95

    def __post_init__(self) -> None:
        _check_share("threshold", self.threshold)

    def select(self, probs: Array, votes: NDArray[np.int64], meta: Meta) -> Selection:
        """Those above the threshold, each with weight 1."""
        return _above(probs, np.full(probs.shape[1], self.threshold))


@dataclass(frozen=True)
class ClassThresholds(Policy):
    """Those whose confidence reaches the threshold of their class.

    Args:
        thresholds: emotion -> threshold from 0 to 1.
        otherwise: of the emotions that are not named.

    Example:
        >>> probs = np.array([[0.9, 0.1], [0.4, 0.6]])
        >>> policy = ClassThresholds({"anger": 0.5}, otherwise=0.95)
        >>> policy.select(probs, np.zeros((2, 2), int), Meta(("joy", "anger"), ())).mask
        array([False,  True])
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    otherwise: float = 0.95

    def __post_init__(self) -> None:
        for threshold in (*self.thresholds.values(), self.otherwise):
            _check_share("threshold", threshold)

    def select(self, probs: Array, votes: NDArray[np.int64], meta: Meta) -> Selection:
        """Those above the threshold of their class, each with weight 1.

        Raises:
            ValueError: if a threshold is for an emotion that does not exist.
        """
        if unknown := set(self.thresholds) - set(meta.classes):
            raise ValueError(f"Expected thresholds of {', '.join(meta.classes)}, but got {min(unknown)!r}.")
        return _above(probs, np.array([self.thresholds.get(name, self.otherwise) for name in meta.classes]))


@dataclass(frozen=True)
class TopPerClass(Policy):
    """The most confident share of the utterances of each predicted class.

    Class-balanced self-training (Zou et al., arXiv:1810.07911, section 4.2), without its normalised labels.

    Args:
        share: of each class, above 0 to 1.

    Example:
        >>> probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]])
        >>> TopPerClass(0.5).select(probs, np.zeros((4, 2), int), Meta(("joy", "anger"), ())).mask
        array([ True, False, False,  True])
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"Expected a share above 0 and up to 1, but got {self.share}.")

    def select(self, probs: Array, votes: NDArray[np.int64], meta: Meta) -> Selection:
        """At least one of each predicted class, each with weight 1."""
        label, confidence = probs.argmax(-1), probs.max(-1)
        mask = np.zeros(len(probs), dtype=bool)
        for number in np.unique(label):
            rows = np.flatnonzero(label == number)
            order = rows[np.argsort(-confidence[rows], kind="stable")]
            mask[order[: max(1, round(self.share * len(rows)))]] = True
        return Selection(mask, label, mask.astype(float))


@dataclass(frozen=True)
class FlexMatch(Policy):
    """A threshold that is lower for a class that is learned less: of which fewer pass the full threshold.

    Zhang et al., arXiv:2110.08263, equations 5 to 8 and 11 (with warm-up, ``M(x) = x / (2 - x)``), on a pool that is
    labelled once per round instead of in every step.

    Args:
        threshold: of the class that is learned best.

    Example:
        >>> probs = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.15, 0.85]])
        >>> FlexMatch(0.8).select(probs, np.zeros((4, 2), int), Meta(("joy", "anger"), ())).mask
        array([ True,  True,  True,  True])
    """

    threshold: float = 0.95

    def __post_init__(self) -> None:
        _check_share("threshold", self.threshold)

    def select(self, probs: Array, votes: NDArray[np.int64], meta: Meta) -> Selection:
        """Those above the threshold of their class, each with weight 1."""
        passed = probs.max(-1) >= self.threshold
        learned = np.bincount(probs.argmax(-1)[passed], minlength=probs.shape[1])
        effect = learned / max(learned.max(), (~passed).sum(), 1)
        return _above(probs, effect / (2 - effect) * self.threshold)


@dataclass(frozen=True)
class FreeMatch(Policy):
    """Thresholds out of the pool itself: the mean confidence, lowered for the classes that get less probability.

    Wang et al., arXiv:2205.07246, equations 5 to 8, on the whole pool instead of moving averages over batches.

    Example:
        >>> probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]])
        >>> FreeMatch().select(probs, np.zeros((3, 2), int), Meta(("joy", "anger"), ())).mask
        array([ True,  True,  True])
    """

    def select(self, probs: Array, votes: NDArray[np.int64], meta: Meta) -> Selection:
        """Those above the threshold of their class, each with weight 1."""
        share = probs.mean(0)
        return _above(probs, share / share.max() * probs.max(-1).mean())


@dataclass(frozen=True)
class Agreement(Policy):
    """Those on whose label enough voters agree: each stream separately, or with one stream the networks.

    Several views that label for each other are co-training (Blum and Mitchell, COLT 1998); agreement of several
    teachers is tri-training (Zhou and Li, IEEE TKDE 17, 2005).

    Args:
        share: of the voters, above 0 to 1.

    Example:
        >>> probs, votes = np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([[3, 0], [2, 1]])
        >>> Agreement().select(probs, votes, Meta(("joy", "anger"), ("text", "audio", "visual"))).mask
        array([ True, False])
    """

    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"Expected a share above 0 and up to 1, but got {self.share}.")

    def select(self, probs: Array, votes: NDArray[np.int64], meta: Meta) -> Selection:
        """Those with enough votes, each with weight 1."""
        label = probs.argmax(-1)
        agree = votes[np.arange(len(probs)), label] >= self.share * max(len(meta.voters), 1) - 1e-9
        return Selection(agree, label, agree.astype(float))


def _above(probs: Array, thresholds: Array) -> Selection:
    """Those whose confidence reaches the threshold (C,) of their class."""
    label = probs.argmax(-1)
    mask = probs.max(-1) >= thresholds[label]
    return Selection(mask, label, mask.astype(float))


def _check_share(what: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"Expected a {what} from 0 to 1, but got {value}.")
