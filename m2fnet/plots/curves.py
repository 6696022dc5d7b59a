"""Training curves: loss and dev score by epoch, from the CSV files that every training leaves."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from m2fnet.errors import RunError
from m2fnet.files import read_json
from m2fnet.plots.style import colour, marker, short, styled
from m2fnet.run_folder import FIT

COLUMNS = ("train/loss", "dev/loss", "dev/weighted_f1")


@dataclass(frozen=True)
class Curves:
    """The course of one training.

    Attributes:
        values: a name of `COLUMNS` -> epoch -> value.
        kept: the epoch whose weights were kept, from 0 as in ``values``, or None if the run does not say.
    """

    values: dict[str, dict[int, float]] = field(default_factory=lambda: {name: {} for name in COLUMNS})
    kept: int | None = None

    @classmethod
    def read(cls, run: Path) -> "Curves":
        """Read ``logs/*/metrics.csv`` in the run folder; a resumed training has several, the later ones win.

        Raises:
            RunError: if there is none, or a line of one is damaged.
        """
        files = sorted(run.glob("logs/*/metrics.csv"), key=lambda file: (len(file.parent.name), file.parent.name))
        if not files:
            raise RunError(f"{run} has no logs/*/metrics.csv; `m2fnet dialog fit` writes it.")
        curves = cls(kept=_kept(run))
        for file in files:
            _read(file, curves.values)
        return curves


def training_curves(settings: Mapping[str, Sequence[Curves]]) -> Figure:
    """Loss on train and dev, and weighted F1 on dev, by epoch: a line per run, a colour per setting.

    A marker stands where the weights were kept.
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
                dev = {epoch: 100 * value for epoch, value in run.values["dev/weighted_f1"].items()}
                score.plot(*_line(dev), **width)
                if run.kept in dev:
                    score.plot(run.kept + 1, dev[run.kept], marker(number), color=colour(number), ms=7, mec="black")
        loss.set(xlabel="epoch", ylabel="cross-entropy (nats)", title="loss: dotted on train, solid on dev")
        score.set(xlabel="epoch", ylabel="weighted F1 on dev (%)", title="dev score: the marker is the epoch kept")
        for axes in (loss, score):
            axes.xaxis.get_major_locator().set_params(integer=True)
        if len(settings) > 1:
            figure.legend(loc="outside lower center", ncols=2)
    return figure


def _line(values: Mapping[int, float]) -> tuple[list[int], list[float]]:
    """Epochs, counted from 1, and values."""
    return [epoch + 1 for epoch in values], list(values.values())


def _read(file: Path, values: dict[str, dict[int, float]]) -> None:
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            for number, row in enumerate(csv.DictReader(lines), start=2):
                _take(row, values, f"{file}:{number}")
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise RunError(f"Cannot read {file}: {problem}. Train the run again to get its curves.") from problem


def _take(row: Mapping[str, str | None], values: dict[str, dict[int, float]], where: str) -> None:
    try:
        for name in COLUMNS:
            if row.get(name):
                values[name][int(row["epoch"] or "")] = float(row[name] or "")
    except (KeyError, ValueError) as problem:
        raise RunError(
            f"{where} is no line of training curves ({problem}); expected the columns epoch, {', '.join(COLUMNS)} "
            "with numbers. Train the run again to get its curves."
        ) from problem


def _kept(run: Path) -> int | None:
    if not (run / FIT).is_file():
        return None
    epoch = read_json(run / FIT, RunError, "Train the run again.").get("epoch")
    return epoch - 1 if isinstance(epoch, int) else None  # counted from 1 there, from 0 in the log
