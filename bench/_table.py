"""What every benchmark shares: its arguments, its table and its JSON file."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One measured figure beside what it is compared with, or alone."""

    name: str
    unit: str
    ours: float
    baseline: float | None = None
    larger_is_better: bool = True

    @property
    def ratio(self) -> float | None:
        """How many times better ours is (above 1: better); None without a baseline or where it is undefined."""
        if self.baseline is None:
            return None
        better, worse = (self.ours, self.baseline) if self.larger_is_better else (self.baseline, self.ours)
        return better / worse if worse else None


def parser(description: str) -> argparse.ArgumentParser:
    """Arguments of a benchmark: ``--quick`` and ``--json FILE``."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--quick", action="store_true", help="smaller sizes, under a minute")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    return arguments


def finish(rows: Sequence[Row], args: argparse.Namespace) -> None:
    """Print ``rows`` as a table and write them to ``args.json`` if it is given."""
    name = max(len(row.name) for row in rows)
    unit = max(len(row.unit) for row in rows)
    print(f"{'':<{name}}  {'unit':<{unit}}  {'ours':>12}  {'baseline':>12}  {'ratio':>8}")
    for row in rows:
        print(
            f"{row.name:<{name}}  {row.unit:<{unit}}  {_figure(row.ours):>12}  {_figure(row.baseline):>12}  "
            f"{_figure(row.ratio):>8}"
        )
    if args.json is not None:
        content = {
            "rows": [
                {"name": r.name, "unit": r.unit, "ours": r.ours, "baseline": r.baseline, "ratio": r.ratio} for r in rows
            ]
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
