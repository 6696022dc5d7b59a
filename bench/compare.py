"""Which ratios of benchmarks have become worse: two folders of what ``--json`` wrote, the older one first.

    make bench FIGURES=figures/today
    python bench/compare.py figures/before figures/today

A ratio compares us with a rival in one run on one machine, so it can be compared between runs; seconds cannot. Figures
of another processor are named. Exit code 1 if a ratio has lost more than ``--allowed`` per cent.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from m2fnet.formatting import terminal_table


def main() -> int:
    """Print the ratios that both folders have, the largest loss first."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("before", type=Path, help="folder of JSON files")
    arguments.add_argument("now", type=Path, help="the same from today")
    arguments.add_argument("--allowed", type=float, default=25, metavar="PERCENT", help="of a loss (default 25)")
    args = arguments.parse_args()
    found = sorted(changes(args.before, args.now), key=lambda row: row["change %"])
    if not found:
        print("The folders have no ratio in common.")
        return 1
    table = pd.DataFrame(found)
    for column, form in (("before", "{:.3g}"), ("now", "{:.3g}"), ("change %", "{:+.0f}")):
        table[column] = table[column].map(form.format)
    print(terminal_table(table))
    lost = [row for row in found if row["change %"] < -args.allowed]
    print(f"{len(lost)} of {len(found)} ratios have lost more than {args.allowed:g} %.")
    return int(bool(lost))


def changes(before: Path, now: Path) -> Iterator[dict[str, Any]]:
    """Every ratio of a file that is in both folders."""
    for path in sorted(now.glob("*.json")):
        if not (before / path.name).is_file():
            continue
        old, new = (json.loads(file.read_text(encoding="utf-8")) for file in (before / path.name, path))
        ratios = {row["name"]: row["ratio"] for row in old["rows"] if row["ratio"] is not None}
        elsewhere = old["machine"]["processor"] != new["machine"]["processor"]
        for row in new["rows"]:
            if row["ratio"] is not None and row["name"] in ratios:
                was = ratios[row["name"]]
                yield {
                    "benchmark": path.stem,
                    "figure": row["name"] + (" (another processor)" if elsewhere else ""),
                    "before": was,
                    "now": row["ratio"],
                    "change %": 100 * (row["ratio"] / was - 1),
                }


if __name__ == "__main__":
    raise SystemExit(main())
