"""The course of a training, from the CSV files that every run leaves."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from m2fnet.errors import RunError
from m2fnet.files import read_json
from m2fnet.metrics.scores import STATISTICS, main_score
from m2fnet.runs.folder import FIT

SCORES = tuple(f"dev/{main_score(kind)}" for kind in STATISTICS)
GRADIENT = "gradient/"  # begins names of norms: gradient/<place>/<layer>
COLUMNS = ("train/loss", "dev/loss", *SCORES)
_OF_SCORES = "train/scores_loss"  # of networks that add terms to their loss; those are not counted on dev


@dataclass(frozen=True)
class Curves:
    """The course of one training.

    Attributes:
        values: a name of `COLUMNS` -> epoch -> value; losses without the terms that a network adds in training.
        gradients: name of a layer -> epoch -> norm of its gradient, in the order of the network; empty in older runs.
        kept: the epoch whose weights were selected, from 0 as in ``values``, or None if the run does not say.
    """

    values: dict[str, dict[int, float]] = field(default_factory=lambda: {name: {} for name in COLUMNS})
    kept: int | None = None
    gradients: dict[str, dict[int, float]] = field(default_factory=dict)

    @classmethod
    def read(cls, run: Path) -> "Curves":
        r"""Read ``logs/*/metrics.csv`` in the run folder; a resumed training has several, the later ones win.

        Raises:
            RunError: if there is none, or a line of one is damaged.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     (Path(folder) / "logs" / "version_0").mkdir(parents=True)
            ...     file = Path(folder) / "logs" / "version_0" / "metrics.csv"
            ...     _ = file.write_text("epoch,train/loss,dev/loss,dev/weighted_f1\n0,1.5,1.25,0.5\n")
            ...     Curves.read(Path(folder)).values["dev/weighted_f1"]
            {0: 0.5}
        """
        files = sorted(run.glob("logs/*/metrics.csv"), key=lambda file: (len(file.parent.name), file.parent.name))
        if not files:
            raise RunError(f"{run} has no logs/*/metrics.csv; `m2fnet dialog fit` writes it.")
        curves = cls(kept=_kept(run))
        for file in files:
            _read(file, curves)
        return curves


def _read(file: Path, curves: Curves) -> None:
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            for number, row in enumerate(csv.DictReader(lines), start=2):
                _take(row, curves, f"{file}:{number}")
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise RunError(f"Cannot read {file}: {problem}. Train the run again to get its curves.") from problem


def _take(row: Mapping[str, str | None], curves: Curves, where: str) -> None:
    try:
        for name in COLUMNS:
            if row.get(name):
                found = row.get(_OF_SCORES) if name == "train/loss" else None
                curves.values[name][int(row["epoch"] or "")] = float(found or row[name] or "")
        for name in (name for name in row if name.startswith(GRADIENT) and row[name]):
            layer = curves.gradients.setdefault(name.removeprefix(GRADIENT).partition("/")[2], {})
            layer[int(row["epoch"] or "")] = float(row[name] or "")
    except (KeyError, ValueError) as problem:
        raise RunError(
            f"{where} is not a line of training curves ({problem}); expected the columns epoch, {', '.join(COLUMNS)} "
            "with numbers. Train the run again to get its curves."
        ) from problem


def _kept(run: Path) -> int | None:
    if not (run / FIT).is_file():
        return None
    epoch = read_json(run / FIT, RunError, "Train the run again.").get("epoch")
    return epoch - 1 if isinstance(epoch, int) else None  # counted from 1 there, from 0 in the log
