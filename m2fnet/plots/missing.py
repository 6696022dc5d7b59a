"""How the score falls when parts of the inputs are missing, or noisy."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from m2fnet.plots.style import GREY, colour, marker, short, styled
from m2fnet.runs.missing_scores import MissingScores
from m2fnet.runs.noise_scores import NOISES, NoiseScores

Floats = NDArray[np.float64]
_CHANCE = "chance that a modality is missing from an utterance (%),\nwhich keeps at least one"


def missing_curves(
    settings: Mapping[str, Sequence[MissingScores]],
    majority: float | None = None,
    noise: Mapping[str, Sequence[NoiseScores]] | None = None,
) -> Figure:
    """The main score by the share missing at random, and with each subset of the modalities, several settings in one.

    Points are means over the runs of a setting, bars their standard deviation.

    Args:
        settings: name -> its runs.
        majority: the score of always predicting the most frequent emotion.
        noise: name -> its runs that were tested with noise, in a second row: a panel for each noisy modality.

    Example:
        >>> scores = MissingScores({0.0: 0.7, 0.5: 0.6}, {"text + audio": 0.7, "text": 0.6}, "0" * 64)
        >>> figure = missing_curves({"M2FNet": [scores]}, majority=0.3)
        >>> [label.get_text() for label in figure.axes[1].get_yticklabels()]
        ['text + audio', 'text']
    """
    title = next(run.title for runs in settings.values() for run in runs)
    subsets = list(dict.fromkeys(name for runs in settings.values() for run in runs for name in run.by_subset))
    noisy = [kind for kind in NOISES if any(kind in run.by_level for runs in (noise or {}).values() for run in runs)]
    with styled():
        height = 4.4 + 0.2 * len(settings)
        figure = Figure(figsize=(11.5, height + (3.6 if noisy else 0)))
        rows = figure.add_gridspec(2 if noisy else 1, 1, height_ratios=[height, 3.6][: 2 if noisy else 1])
        curve, points = rows[0].subgridspec(1, 2).subplots(squeeze=False)[0]
        step = 0.8 / len(settings)
        for number, (name, runs) in enumerate(settings.items()):
            look = _look(number)
            shares = list(runs[0].by_share)
            mean, spread = _over_runs([[run.by_share.get(share, np.nan) for share in shares] for run in runs])
            curve.errorbar([100 * share for share in shares], mean, spread, label=short(name, 44), **look)
            mean, spread = _over_runs([[run.by_subset.get(subset, np.nan) for subset in subsets] for run in runs])
            places = np.arange(len(subsets)) + (number + 0.5) * step - 0.4
            points.errorbar(mean, places, xerr=spread, ls="none", **look)
        if majority is not None:
            curve.axhline(100 * majority, color=GREY, lw=1.2, ls="--", label="majority class")
            points.axvline(100 * majority, color=GREY, lw=1.2, ls="--")
        curve.set(xlabel=_CHANCE, ylabel=f"{title} on test (%)", ylim=(0, 100))
        points.set(xlabel=f"{title} on test (%)", ylabel="modalities", xlim=(0, 100), ylim=(len(subsets) - 0.5, -0.5))
        points.set_yticks(np.arange(len(subsets)), subsets, parse_math=False)
        curve.set(title="a growing share of the inputs missing")
        points.set(title="only these modalities given")
        if noise and noisy:
            panels = rows[1].subgridspec(1, len(noisy)).subplots(squeeze=False, sharey=True)[0]
            for axes, kind in zip(panels, noisy, strict=True):
                _noise_panel(axes, kind, {name: noise[name] for name in settings if name in noise}, list(settings))
                if majority is not None:
                    axes.axhline(100 * majority, color=GREY, lw=1.2, ls="--")
            panels[0].set(ylabel=f"{title} (%)", ylim=(0, 100))
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def _noise_panel(axes: Axes, kind: str, settings: Mapping[str, Sequence[NoiseScores]], names: Sequence[str]) -> None:
    """Scores by the level of one noise; without noise is the first point, apart from the others."""
    title, unit = NOISES[kind]
    tested = {name: [run for run in runs if kind in run.by_level] for name, runs in settings.items()}
    levels = list(dict.fromkeys(level for runs in tested.values() for run in runs for level in run.by_level[kind]))
    for name, runs in tested.items():
        if runs:
            scores = [[run.clean, *(run.by_level[kind].get(level, np.nan) for level in levels)] for run in runs]
            axes.errorbar(np.arange(len(levels) + 1), *_over_runs(scores), **_look(names.index(name)))
    axes.set_xticks(np.arange(len(levels) + 1), ["none", *(f"{level:g}" for level in levels)])
    axes.set(title=title, xlabel=unit)


def _look(number: int) -> dict[str, Any]:
    return {"color": colour(number), "marker": marker(number), "ms": 6, "capsize": 3}


def _over_runs(scores: Sequence[Sequence[float]]) -> tuple[Floats, Floats | None]:
    """Mean and standard deviation over the runs, in per cent; no deviation of one run."""
    values = 100 * np.array(scores)
    return values.mean(0), values.std(0, ddof=1) if len(values) > 1 else None
