"""Scores of ratings on a scale, such as valence, with intervals over dialogues."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2fnet.metrics.bootstrap import FEWEST_DIALOGUES, Resampling

Numbers = NDArray[np.float64]
RATING_SCORES = {"mse": "mean squared error", "ccc": "concordance", "pearson": "Pearson correlation"}


def rating_scores(sums: Numbers) -> dict[str, Numbers]:
    """Scores (...) of ``sums`` (..., 6): n, and the sums of x, y, x^2, y^2 and x y over n predicted and true ratings.

    ``mse`` is the mean of (x - y)^2; ``ccc`` is Lin's concordance correlation coefficient (Biometrics 45, 1989,
    equation 1) with variances divided by n; ``pearson`` is the correlation. The latter two are 0 where a series is
    constant.

    Example:
        >>> found = rating_scores(sums_of(np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])))
        >>> {name: round(float(score), 4) for name, score in found.items()}
        {'mse': 1.0, 'ccc': 0.5714, 'pearson': 1.0}
    """
    n, x, y, xx, yy, xy = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    n = np.maximum(n, 1)
    mean_x, mean_y = x / n, y / n
    # rounding may leave a variance just below or above the zero of a constant series
    variance_x, variance_y = (
        (of - mean**2) * (of > mean**2 * (1 + 1e-12)) for of, mean in ((xx / n, mean_x), (yy / n, mean_y))
    )
    covariance = np.where((variance_x > 0) & (variance_y > 0), xy / n - mean_x * mean_y, 0.0)
    apart = variance_x + variance_y + (mean_x - mean_y) ** 2
    return {
        "mse": np.maximum((xx + yy - 2 * xy) / n, 0.0),
        "ccc": np.divide(2 * covariance, apart, out=np.zeros_like(apart), where=apart > 0),
        "pearson": np.divide(
            covariance,
            np.sqrt(variance_x * variance_y),
            out=np.zeros_like(apart),
            where=(variance_x > 0) & (variance_y > 0),
        ),
    }


def sums_of(predicted: Numbers, true: Numbers) -> Numbers:
    """The sums (..., 6) that `rating_scores` reads, over the last axis of both series (..., N)."""
    series = (np.ones_like(true), predicted, true, predicted**2, true**2, predicted * true)
    return np.stack([one.sum(-1) for one in series], -1)


def summarise_ratings(
    predicted: Sequence[float], true: Sequence[float], dialogues: Sequence[str], resampling: Resampling | None = None
) -> dict[str, Any]:
    """What a report says of one scale: n, all scores, and their intervals over dialogues.

    Args:
        predicted: the ratings of N utterances.
        true: those of the raters.
        dialogues: the dialogue of each.
        resampling: number of draws, level and seed.

    Example:
        >>> found = summarise_ratings([0.0, 1.0, 2.0], [0.0, 1.0, 2.0], ["a", "b", "c"])
        >>> found["n"], found["ccc"], found["intervals"]
        (3, 1.0, None)
    """
    resampling = resampling or Resampling()
    x, y = np.asarray(predicted, dtype=np.float64), np.asarray(true, dtype=np.float64)
    names = list(dict.fromkeys(dialogues))
    number = {name: place for place, name in enumerate(names)}
    sums = np.zeros((len(names), 6))
    np.add.at(sums, [number[name] for name in dialogues], sums_of(x[:, None], y[:, None]))
    scores = {name: float(score) for name, score in rating_scores(sums.sum(0)).items()}
    intervals = None
    if len(names) >= FEWEST_DIALOGUES:
        drawn = rating_scores(resampling.times(len(names)) @ sums)
        edges = [(1 - resampling.level) / 2, (1 + resampling.level) / 2]
        intervals = {name: [float(bound) for bound in np.quantile(of, edges)] for name, of in drawn.items()}
    return {"n": len(y), **scores, "intervals": intervals}
