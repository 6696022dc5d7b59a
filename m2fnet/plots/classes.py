"""F1 of every emotion with its interval, several settings and the paper's number side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from m2fnet.plots.style import GREY, colour, marker, short, styled

# F1 in percent per emotion of M2FNet with text, audio and visual on the whole test set: arXiv:2206.02187, Tables 2, 3
PAPER: dict[str, dict[str, float]] = {
    "meld": {
        "neutral": 80.06,
        "surprise": 58.66,
        "fear": 3.45,
        "sadness": 47.03,
        "joy": 65.5,
        "disgust": 25.24,
        "anger": 55.25,
    },
    "iemocap6": {
        "happy": 60.0,
        "sad": 82.11,
        "neutral": 65.88,
        "angry": 68.21,
        "excited": 72.6,
        "frustrated": 68.31,
    },
}

Score = Mapping[str, float | None]


def class_scores(settings: Mapping[str, Mapping[str, Score]], published: Mapping[str, float] | None = None) -> Figure:
    """F1 in percent of each emotion: a point and its interval per setting, the published number as a line.

    Args:
        settings: name -> emotion -> ``{"mean", "low", "high"}`` as fractions, the bounds None where there are none,
            as `m2fnet.reports.summary.summarise_settings` gives them in ``per_class_f1``.
        published: emotion -> F1 in percent.
    """
    classes = list(next(iter(settings.values())))
    step = 0.8 / len(settings)
    with styled():
        figure = Figure(figsize=(8.5, 1.6 + len(classes) * max(0.5, 0.22 * len(settings))))
        axes = figure.subplots()
        places = np.arange(len(classes))
        for number, (name, scores) in enumerate(settings.items()):
            _points(axes, places + (number + 0.5) * step - 0.4, [scores[c] for c in classes], number, short(name, 40))
        if published:
            values = [published.get(name, np.nan) for name in classes]
            axes.vlines(
                values, places - 0.42, places + 0.42, color="black", lw=1.5, ls=(0, (3, 1.5)), label="M2FNet paper"
            )
        axes.set_yticks(places, [short(name, 24) for name in classes], parse_math=False)
        axes.set(xlabel="F1 (%)", ylabel="emotion", xlim=(-1.5, 101.5), ylim=(len(classes) - 0.5, -0.5))
        axes.hlines(places[:-1] + 0.5, -1.5, 101.5, color=GREY, lw=0.5, alpha=0.5)
        axes.grid(visible=False, axis="y")
        figure.legend(loc="outside upper left", ncols=2)
    return figure


def _points(axes: Any, places: Any, scores: Sequence[Score], number: int, name: str) -> None:  # noqa: ANN401
    means = np.array([score["mean"] for score in scores], dtype=float)
    low, high = (np.array([score[key] for score in scores], dtype=float) for key in ("low", "high"))  # None -> NaN
    bars = 100 * np.abs(np.nan_to_num(np.stack([means - low, high - means])))
    style: dict[str, Any] = {"fmt": marker(number), "color": colour(number), "capsize": 3, "markersize": 6}
    axes.errorbar(100 * means, places, xerr=bars, label=name, **style)
