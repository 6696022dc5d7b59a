"""Reliability diagram: is a prediction with 80 % probability right in 80 % of cases?"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from m2fnet.metrics.calibration import Bin, Floats, expected_calibration_error, reliability
from m2fnet.plots.style import COLOURS, short, styled

Answers = tuple[Floats, NDArray[np.int64]]


def reliability_diagram(answers: Mapping[str, Answers], bins: int = 10) -> Figure:
    """Accuracy by confidence, with the share of the predictions below: a column of panels per entry of ``answers``.

    Args:
        answers: title -> probabilities ``(N, C)`` and class numbers ``(N,)``.
        bins: of equal width, over which the expected calibration error (ECE) is taken too.

    Raises:
        ValueError: as `m2fnet.metrics.calibration.reliability`.

    Example:
        >>> import numpy as np
        >>> probabilities = np.array([[0.8, 0.2], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8]])
        >>> figure = reliability_diagram({"M2FNet": (probabilities, np.array([0, 0, 1, 0]))}, bins=5)
        >>> figure.axes[0].get_title().splitlines()[1].endswith("n = 4")
        True
    """
    with styled():
        figure = Figure(figsize=(4.8 * len(answers), 5.6))
        panels = figure.subplots(2, len(answers), height_ratios=(3, 1), sharex=True, sharey="row", squeeze=False)
        for (upper, lower), (title, (probabilities, labels)) in zip(panels.T, answers.items(), strict=True):
            error = expected_calibration_error(probabilities, labels, bins)
            _bars(upper, lower, reliability(probabilities, labels, bins), len(labels))
            upper.set(title=f"{short(title, 48)}\nECE {100 * error:.1f} points, n = {len(labels)}")
            lower.set(xlabel="confidence (%)")
        panels[0, 0].set(ylabel="right predictions (%)")
        panels[1, 0].set(ylabel="predictions (%)")
        panels[0, 0].legend(loc="upper left")
    return figure


def _bars(upper: Axes, lower: Axes, found: list[Bin], n: int) -> None:
    width = 100 * (found[0].high - found[0].low)
    middles = np.array([50 * (b.low + b.high) for b in found])
    filled = [b for b in found if b.accuracy is not None]
    accuracy = [100 * (b.accuracy or 0) for b in found]
    upper.bar(middles, accuracy, width=0.92 * width, color=COLOURS[0], label="predictions in this bin")
    confidence = [100 * (b.confidence or 0) for b in filled]
    upper.plot(
        confidence, [100 * (b.accuracy or 0) for b in filled], "o", color="black", ms=4, label="their mean confidence"
    )
    upper.plot([0, 100], [0, 100], color=COLOURS[1], lw=1.5, ls="--", label="calibrated")
    upper.set(xlim=(-2, 102), ylim=(0, 102))  # the margin keeps the outer numbers of two panels apart
    lower.bar(middles, [100 * b.n / n for b in found], width=0.92 * width, color=COLOURS[6])
