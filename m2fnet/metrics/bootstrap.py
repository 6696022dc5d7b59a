"""Intervals over dialogues: how far would the scores move with other dialogues of the same kind?

Utterances of one dialogue depend on each other, so whole dialogues are drawn with replacement (the cluster bootstrap:
Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8); drawing utterances gives intervals
that are too narrow. The counts of a drawn set are the sum of its dialogues', so thousands of draws are one product.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m2fnet.metrics.counts import Array, Counts
from m2fnet.metrics.scores import Statistic, weighted_f1

FEWEST_DIALOGUES = 10  # percentile intervals from fewer dialogues say less than they seem to, and are not shown


@dataclass(frozen=True)
class Resampling:
    """How intervals are drawn.

    Attributes:
        draws: how many sets of dialogues are drawn.
        level: share of the draws inside the interval.
        seed: of the random numbers; the same seed draws the same dialogues for every model.
    """

    draws: int = 2000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.draws < 1 or not 0 < self.level < 1:
            raise ValueError(f"Expected draws >= 1 and 0 < level < 1, got {self.draws} and {self.level}.")

    def times(self, items: int, stream: int = 0) -> NDArray[np.int64]:
        """How often each of ``items`` is drawn, ``(draws, items)``; each ``stream`` has its own random numbers."""
        generator = np.random.default_rng([self.seed, stream] if stream else self.seed)
        return generator.multinomial(items, np.full(items, 1 / items), size=self.draws)


@dataclass(frozen=True)
class Interval:
    """A score and the bounds between which it falls in most draws."""

    value: float
    low: float
    high: float


def bootstrap_interval(
    counts: Counts, statistic: Statistic = weighted_f1, resampling: Resampling | None = None
) -> Interval:
    """Percentile interval over dialogues of a score, averaged over the runs within each draw.

    The runs stay as they are: the interval tells what other dialogues would have done to their mean, and the standard
    deviation over seeds, printed next to it, what other seeds would have done.

    Args:
        counts: of runs and dialogues, ``(S, D)``, or ``(D,)`` for one run.
        statistic: from counts ``(...)`` to scores ``(...)``.
        resampling: number of draws, level and seed.

    Raises:
        ValueError: if there is no dialogue, or the counts have another shape.

    Example:
        >>> from m2fnet.metrics.counts import count_dialogues
        >>> dialogues = [f"d{n // 2}" for n in range(60)]
        >>> counts = count_dialogues([["joy"]] * 60, [["joy"], ["fear"]] * 30, dialogues, ["fear", "joy"])
        >>> interval = bootstrap_interval(counts)
        >>> interval.low == interval.high  # dialogues that are all alike
        True
    """
    return bootstrap_intervals(counts, {"score": statistic}, resampling)["score"]


def bootstrap_intervals(
    counts: Counts, statistics: Mapping[str, Statistic], resampling: Resampling | None = None
) -> dict[str, Interval]:
    """`bootstrap_interval` of several scores, all from the same draws."""
    resampling = resampling or Resampling()
    counts = _by_run(counts)
    drawn, all_dialogues = counts.drawn(resampling.times(counts.shape[1])), counts.sum(1)
    return {
        name: _interval(float(statistic(all_dialogues).mean()), statistic(drawn).mean(-1), resampling)
        for name, statistic in statistics.items()
    }


def paired_difference(
    first: Counts, second: Counts, statistic: Statistic = weighted_f1, resampling: Resampling | None = None
) -> Interval:
    """Interval of the difference of a score, ``first`` minus ``second``, of two settings on the same dialogues.

    Each draw takes the same dialogues for both sides, so that what makes a dialogue hard cancels out, and draws the
    runs of each side with replacement too: the question is which setting is better, not which of these runs. Where
    both sides have as many runs, run ``i`` of one is drawn together with run ``i`` of the other (give them in the order
    of their seeds).

    Drawing both ways counts more than once what a run does by chance on a dialogue (Owen, The pigeonhole bootstrap,
    2007, arXiv:0712.1111), so the interval is too wide where seeds hardly matter. In simulations 95 % intervals of
    settings of one to five runs on 60 to 250 dialogues held the truth in 92 to 98 % of cases, in 100 % without any
    difference between seeds.

    Args:
        first: counts of runs and dialogues, ``(S, D)``, or ``(D,)`` for one run.
        second: the same dialogues in the same order, for any number of runs.
        statistic: from counts ``(...)`` to scores ``(...)``.
        resampling: number of draws, level and seed.

    Raises:
        ValueError: if the sides do not hold the same labels in every dialogue.

    Example:
        >>> from m2fnet.metrics.counts import count_dialogues
        >>> names, true = [f"d{n // 2}" for n in range(60)], [["joy"], ["fear"]] * 30
        >>> good, poor = (count_dialogues(true, said, names, ["fear", "joy"]) for said in (true, [["joy"]] * 60))
        >>> round(paired_difference(good, poor).value, 3)
        0.667
    """
    return paired_differences(first, second, {"score": statistic}, resampling)["score"]


def paired_differences(
    first: Counts, second: Counts, statistics: Mapping[str, Statistic], resampling: Resampling | None = None
) -> dict[str, Interval]:
    """`paired_difference` of several scores, all from the same draws."""
    resampling = resampling or Resampling()
    first, second = _by_run(first), _by_run(second)
    if first.shape[1:] != second.shape[1:] or not np.array_equal(first[0].support, second[0].support):
        raise ValueError(
            f"Expected two sides with the same labels in every dialogue, got {first.shape[1]} and {second.shape[1]} "
            "dialogues whose labels differ. Compare runs that were tested on the same utterances."
        )
    is_paired = len(first) == len(second)
    sides = [(side.drawn(resampling.times(side.shape[1])), side.sum(1)) for side in (first, second)]
    weights = [_run_weights(len(side), resampling, 1 if is_paired else 1 + n) for n, side in enumerate((first, second))]
    found = {}
    for name, statistic in statistics.items():
        value = [float(statistic(whole).mean()) for _, whole in sides]
        drawn = [(statistic(side) * weight).mean(-1) for (side, _), weight in zip(sides, weights, strict=True)]
        found[name] = _interval(value[0] - value[1], drawn[0] - drawn[1], resampling)
    return found


def _run_weights(runs: int, resampling: Resampling, stream: int) -> Array:
    """Weights (draws, S) of drawn runs, spread by sqrt(S / (S - 1)) so that few runs show their whole variance.

    The rescaling of Rao and Wu, Resampling inference with complex survey data, JASA 83 (1988).
    """
    times = resampling.times(runs, stream)
    weights: Array = 1 + (times - 1) * np.sqrt(runs / max(runs - 1, 1))
    return weights


def _by_run(counts: Counts) -> Counts:
    counts = Counts(counts.values[None]) if len(counts.shape) == 1 else counts
    if len(counts.shape) != 2 or 0 in counts.shape:
        raise ValueError(f"Expected counts of runs and dialogues, (S, D), at least one of each, got {counts.shape}.")
    return counts


def _interval(value: float, draws: Array, resampling: Resampling) -> Interval:
    outside = 1 - resampling.level
    low, high = np.quantile(draws, [outside / 2, 1 - outside / 2])
    return Interval(value, float(low), float(high))
