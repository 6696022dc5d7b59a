"""Reliability diagram: is a prediction with 80 % probability right in 80 % of cases?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from m2fnet.metrics.calibration import Bin, Floats, binned, expected_calibration_error, reliability
from m2fnet.plots.style import COLOURS, short, styled

_MANY: dict[str, Any] = {"facecolor": COLOURS[0]}
_FEW: dict[str, Any] = {"facecolor": "white", "edgecolor": COLOURS[0], "hatch": "///", "linewidth": 1}
_MEAN: dict[str, Any] = {"color": "black", "marker": "o", "ms": 4, "ls": "none"}
_CALIBRATED: dict[str, Any] = {"color": COLOURS[1], "lw": 1.5, "ls": "--"}
HANDFUL = 10  # predictions of a bin, below which its accuracy says little
_ACROSS = 4  # panels next to each other
Answers = tuple[Floats, NDArray[np.int64]]


def reliability_diagram(answers: Mapping[str, Answers], bins: int = 10) -> Figure:
    """Accuracy by confidence, with the share of the predictions below: a column of panels per entry of ``answers``.

    Bins of fewer than `HANDFUL` predictions are hatched.

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
        figure = Figure(figsize=(4.8 * len(answers), 6.2))
        panels = figure.subplots(2, len(answers), height_ratios=(3, 1), sharex=True, sharey="row", squeeze=False)
        for (upper, lower), (title, (probabilities, labels)) in zip(panels.T, answers.items(), strict=True):
            error = expected_calibration_error(probabilities, labels, bins)
            _bars(upper, lower, reliability(probabilities, labels, bins), len(labels))
            upper.set(title=f"{short(title, 48)}\nECE {100 * error:.1f} points, n = {len(labels)}")
            lower.set(xlabel="confidence (%)")
        panels[0, 0].set(ylabel="right predictions (%)")
        panels[1, 0].set(ylabel="predictions (%)")
        figure.legend(
            handles=_legend("predictions in this bin", "their mean confidence"), loc="outside lower center", ncols=2
        )
    return figure


def label_reliability(answers: Mapping[str, tuple[Floats, NDArray[np.bool_]]], bins: int = 10) -> Figure:
    """How often an utterance has an emotion of a set, by the probability that it was given: a panel per emotion.

    Bins of fewer than `HANDFUL` utterances are hatched.

    Args:
        answers: emotion -> its probabilities ``(N,)`` and whether each utterance has it ``(N,)``.
        bins: of equal width.

    Example:
        >>> figure = label_reliability({"joy": (np.array([0.1, 0.9]), np.array([False, True]))})
        >>> figure.axes[0].get_title()
        'joy (n = 1)'
    """
    rows = -(-len(answers) // _ACROSS)
    with styled():
        figure = Figure(figsize=(2.4 * min(len(answers), _ACROSS) + 1.2, 2.3 * rows + 1.1))
        panels = figure.subplots(rows, min(len(answers), _ACROSS), sharex=True, sharey=True, squeeze=False)
        for axes, (name, (chances, has)) in zip(panels.flat, answers.items(), strict=False):
            for one in binned(chances, has, bins):
                if one.accuracy is not None and one.confidence is not None:
                    look = _FEW if one.n < HANDFUL else _MANY
                    width = 92 * (one.high - one.low)
                    axes.bar(50 * (one.low + one.high), 100 * one.accuracy, width=width, **look)
                    axes.plot(100 * one.confidence, 100 * one.accuracy, **_MEAN)
            axes.plot([0, 100], [0, 100], **_CALIBRATED)
            axes.set(xlim=(-2, 102), ylim=(0, 102))
            axes.set_title(f"{short(name, 18)} (n = {has.sum():.0f})", parse_math=False)
        for axes in panels.flat[len(answers) :]:
            axes.set_axis_off()
        for axes in panels.flat[max(0, len(answers) - _ACROSS) : len(answers)]:  # the lowest of each column
            axes.set_xlabel("its probability (%)")
            axes.tick_params(labelbottom=True)
        figure.supylabel("utterances that have it (%)")
        figure.legend(
            handles=_legend("utterances in this bin", "their mean probability"), loc="outside lower center", ncols=2
        )
    return figure


def _bars(upper: Axes, lower: Axes, found: list[Bin], n: int) -> None:
    width = 100 * (found[0].high - found[0].low)
    for one in found:
        middle = 50 * (one.low + one.high)
        lower.bar(middle, 100 * one.n / n, width=0.92 * width, color=COLOURS[6])
        if one.accuracy is None or one.confidence is None:
            continue
        look = _FEW if one.n < HANDFUL else _MANY
        upper.bar(middle, 100 * one.accuracy, width=0.92 * width, **look)
        upper.plot(100 * one.confidence, 100 * one.accuracy, **_MEAN)
    upper.plot([0, 100], [0, 100], **_CALIBRATED)
    upper.set(xlim=(-2, 102), ylim=(0, 102))  # the margin keeps the outer numbers of two panels apart


def _legend(of_bars: str, of_points: str) -> list[Artist]:
    return [
        Patch(**_MANY, label=of_bars),
        Patch(**_FEW, label=f"fewer than {HANDFUL} of them"),
        Line2D([], [], **_MEAN, label=of_points),
        Line2D([], [], **_CALIBRATED, label="calibrated"),
    ]
