"""Training curves: loss and dev score by epoch."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from m2fnet.metrics.scores import score_title
from m2fnet.plots.style import colour, marker, short, styled
from m2fnet.runs.curves import SCORES, Curves

_COLUMNS = 3  # panels in a row


def training_curves(settings: Mapping[str, Sequence[Curves]]) -> Figure:
    """Loss on train and dev, the gap between them, and the main score on dev, by epoch.

    A line per run, a colour per setting.

    The marker is at the epoch whose weights were selected.

    Example:
        >>> run = Curves(kept=1)
        >>> run.values["train/loss"].update({0: 1.9, 1: 1.5})
        >>> run.values["dev/loss"].update({0: 1.8, 1: 1.6})
        >>> run.values["dev/weighted_f1"].update({0: 0.4, 1: 0.5})
        >>> [axes.get_ylabel() for axes in training_curves({"M2FNet": [run]}).axes]
        ['cross-entropy (nats)', 'dev less train (nats)', 'weighted F1 on dev (%)']
    """
    with styled():
        figure = Figure(figsize=(15, 4.2 + 0.2 * len(settings)))
        loss, gap, score = figure.subplots(1, 3)
        for number, (name, runs) in enumerate(settings.items()):
            score.plot([], [], marker=marker(number), color=colour(number), label=short(name, 40))
            for run in runs:
                width = {"color": colour(number), "lw": 1.2, "alpha": 0.8}
                loss.plot(*_line(run.values["train/loss"]), ls=":", **width)
                loss.plot(*_line(run.values["dev/loss"]), **width)
                train, of_dev = run.values["train/loss"], run.values["dev/loss"]
                gap.plot(*_line({epoch: of_dev[epoch] - train[epoch] for epoch in train if epoch in of_dev}), **width)
                scored, values = next(((name, of) for name in SCORES if (of := run.values[name])), (SCORES[0], {}))
                dev = {epoch: 100 * value for epoch, value in values.items()}
                title = score_title(scored.removeprefix("dev/"))
                score.plot(*_line(dev), **width)
                if run.kept in dev:
                    score.plot(run.kept + 1, dev[run.kept], marker(number), color=colour(number), ms=7, mec="black")
        loss.set(xlabel="epoch", ylabel="cross-entropy (nats)", title="loss: dotted on train, solid on dev")
        gap.axhline(0, color="grey", lw=0.8)
        gap.set(xlabel="epoch", ylabel="dev less train (nats)", title="gap between the losses")
        score.set(xlabel="epoch", ylabel=f"{title} on dev (%)", title="dev score: the marker is the selected epoch")
        for axes in (loss, gap, score):
            axes.xaxis.get_major_locator().set_params(integer=True)
        if len(settings) > 1:
            figure.legend(loc="outside lower center", ncols=2)
    return figure


def gradient_norms(settings: Mapping[str, Sequence[Curves]]) -> Figure:
    """Norm of the gradient of each layer by epoch, mean over the runs: a panel per setting, first layers dark.

    Example:
        >>> run = Curves(gradients={"encoders.0": {0: 0.1, 1: 0.2}, "classifier": {0: 1.0, 1: 0.5}})
        >>> [axes.get_title() for axes in gradient_norms({"M2FNet": [run]}).axes]
        ['M2FNet']
    """
    with styled():
        columns = min(_COLUMNS, len(settings))
        lines = math.ceil(len(settings) / columns)
        figure = Figure(figsize=(1 + 5 * columns, 4.6 * lines))
        panels = figure.subplots(lines, columns, squeeze=False, sharey=True)
        for unused in panels.flat[len(settings) :]:
            unused.remove()
        for axes, (name, runs) in zip(panels.flat, settings.items(), strict=False):
            layers = list(dict.fromkeys(layer for run in runs for layer in run.gradients))
            for place, layer in enumerate(layers):
                epochs = dict.fromkeys(epoch for run in runs for epoch in run.gradients.get(layer, {}))
                means = {
                    epoch: float(
                        np.mean([run.gradients[layer][epoch] for run in runs if epoch in run.gradients[layer]])
                    )
                    for epoch in epochs
                }
                shade = colormaps["viridis"](0.95 * place / max(len(layers) - 1, 1))
                axes.plot(*_line(means), color=shade, lw=1.4, marker="." if len(epochs) < 3 else None, label=layer)
            axes.set(xlabel="epoch", title=short(name, 40), yscale="log")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.yaxis.set_major_formatter("{x:g}")  # the default one writes mathematics, which `styled` turns off
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, ncols=1 + len(layers) // 24)
        for first in panels[:, 0]:
            first.set(ylabel="norm of the gradient")
    return figure


def _line(values: Mapping[int, float]) -> tuple[list[int], list[float]]:
    """Epochs, counted from 1, and values."""
    return [epoch + 1 for epoch in values], list(values.values())
