"""F1 of every emotion with its interval, of several settings, with the paper's number."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
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


def class_scores(settings: Mapping[str, pd.DataFrame], published: Mapping[str, float] | None = None) -> Figure:
    """F1 in percent of each emotion: a point and its interval per setting, the published number as a line.

    Args:
        settings: name -> a row per emotion, which is the index, with the fractions ``value``, ``low`` and ``high``;
            the bounds may be missing.
        published: emotion -> F1 in percent.

    Example:
        >>> scores = pd.DataFrame({"value": [0.8, 0.4], "low": [0.7, 0.3], "high": [0.9, 0.5]}, ["joy", "anger"])
        >>> [tick.get_text() for tick in class_scores({"text": scores}).axes[0].get_yticklabels()]
        ['joy', 'anger']
    """
    classes = [str(name) for name in next(iter(settings.values())).index]
    step = 0.8 / len(settings)
    with styled():
        figure = Figure(figsize=(8.5, 1.6 + len(classes) * max(0.5, 0.22 * len(settings))))
        axes = figure.subplots()
        places = np.arange(len(classes))
        for number, (name, scores) in enumerate(settings.items()):
            value, low, high = (scores.loc[classes, key].to_numpy(float) for key in ("value", "low", "high"))
            axes.errorbar(
                100 * value,
                places + (number + 0.5) * step - 0.4,
                xerr=100 * np.abs(np.nan_to_num(np.stack([value - low, high - value]))),
                label=short(name, 40),
                fmt=marker(number),
                color=colour(number),
                capsize=3,
                markersize=6,
            )
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
