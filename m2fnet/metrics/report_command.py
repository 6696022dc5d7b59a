"""``m2fnet report RUN [RUN ...]``: mean ± s.d. over runs in one table."""

import argparse
import os
from pathlib import Path

from m2fnet.files import write_json, write_text


def main(argv: list[str]) -> None:
    """Print the table and write it beside the runs as ``summary.md`` and ``summary.json``."""
    parser = argparse.ArgumentParser(
        prog="m2fnet report",
        description="Gather tested runs in one table: runs that differ in the seed alone become one row, "
        "mean ± s.d. over the seeds, with the majority class beside.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder that `m2fnet dialog test` wrote into")
    parser.add_argument("--out", type=Path, help="folder for summary.md and summary.json (default: the runs' parent)")
    arguments = parser.parse_args(argv)
    from m2fnet.metrics.summary import as_table, collect  # scikit-learn takes a second to import

    settings = collect(arguments.runs)
    table = as_table(settings)
    out = arguments.out or Path(os.path.commonpath([run.resolve().parent for run in arguments.runs]))
    write_text(out / "summary.md", table)
    write_json(out / "summary.json", {"settings": [setting.as_dict() for setting in settings]})
    print(table)
    print(f"Wrote {out / 'summary.md'} and {out / 'summary.json'}")
