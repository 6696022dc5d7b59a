"""Training curves: loss and dev score by epoch."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from m2fnet.metrics.scores import score_title
from m2fnet.plots.style import colour, marker, short, styled
from m2fnet.runs.curves import SCORES, Curves


def training_curves(settings: Mapping[str, Sequence[Curves]]) -> Figure:
    """Loss on train and dev, and the main score on dev, by epoch: a line per run, a colour per setting.

    The marker is at the epoch whose weights were selected.

    Example:
        >>> run = Curves(kept=1)
        >>> run.values["train/loss"].update({0: 1.9, 1: 1.5})
        >>> run.values["dev/loss"].update({0: 1.8, 1: 1.6})
        >>> run.values["dev/weighted_f1"].update({0: 0.4, 1: 0.5})
        >>> [axes.get_ylabel() for axes in training_curves({"M2FNet": [run]}).axes]
        ['cross-entropy (nats)', 'weighted F1 on dev (%)']
    """
    with styled():
        figure = Figure(figsize=(11, 4.2 + 0.2 * len(settings)))
        loss, score = figure.subplots(1, 2)
        for number, (name, runs) in enumerate(settings.items()):
            score.plot([], [], marker=marker(number), color=colour(number), label=short(name, 40))
            for run in runs:
                width = {"color": colour(number), "lw": 1.2, "alpha": 0.8}
                loss.plot(*_line(run.values["train/loss"]), ls=":", **width)
                loss.plot(*_line(run.values["dev/loss"]), **width)
                scored, values = next(((name, of) for name in SCORES if (of := run.values[name])), (SCORES[0], {}))
                dev = {epoch: 100 * value for epoch, value in values.items()}
                title = score_title(scored.removeprefix("dev/"))
                score.plot(*_line(dev), **width)
                if run.kept in dev:
                    score.plot(run.kept + 1, dev[run.kept], marker(number), color=colour(number), ms=7, mec="black")
        loss.set(xlabel="epoch", ylabel="cross-entropy (nats)", title="loss: dotted on train, solid on dev")
        score.set(xlabel="epoch", ylabel=f"{title} on dev (%)", title="dev score: the marker is the selected epoch")
        for axes in (loss, score):
            axes.xaxis.get_major_locator().set_params(integer=True)
        if len(settings) > 1:
            figure.legend(loc="outside lower center", ncols=2)
    return figure


def _line(values: Mapping[int, float]) -> tuple[list[int], list[float]]:
    """Epochs, counted from 1, and values."""
    return [epoch + 1 for epoch in values], list(values.values())
