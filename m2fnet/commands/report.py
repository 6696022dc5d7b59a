"""``m2fnet report RUN [RUN ...]``: what the runs reach, how sure that is, and where they fail."""

import argparse
import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from m2fnet.commands.arguments import list_of
from m2fnet.files import write_json, write_text

GROUPS = ("position", "length", "speakers", "shift")
SPLITS = ("dev", "test")


def main(argv: list[str]) -> None:
    """Print the page and write it beside the runs, as Markdown and JSON, and as a page of pictures if asked to."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.errors and arguments.plots:
        parser.error("--plots draws the runs' scores, --errors lists their mistakes: give one of them")
    if arguments.errors:
        _errors(arguments)
    else:
        _summary(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="m2fnet report",
        description="Gather tested runs: runs that differ in the seed alone become one setting, mean ± s.d. over the "
        "seeds, with 95 % bootstrap intervals over dialogues, F1 per class, the spread over dialogues, the majority "
        "class beside, and paired differences: of two settings, or of all others with the only one of text alone. "
        "All runs must have been tested on the same turns.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder that `m2fnet dialog test` wrote into")
    parser.add_argument(
        "--compare",
        nargs=2,
        action="append",
        metavar=("A", "B"),
        default=[],
        help="give the difference A minus B of two settings, named as in the table or by one of their runs; repeatable",
    )
    parser.add_argument(
        "--by",
        type=list_of(GROUPS),
        default=[],
        metavar="WHAT",
        help=f"weighted F1 of groups of turns: any of {','.join(GROUPS)}; needs the manifest",
    )
    parser.add_argument(
        "--selected-on-test",
        action="store_true",
        help="add a column of that name: the best test score among a setting's seeds, to set beside papers that select "
        "on test. There is no best epoch by test to show, because `fit` never scores test",
    )
    parser.add_argument(
        "--plots",
        action="store_true",
        help="draw them too: report.html opens offline and holds all pictures (F1 of each emotion, confusion, training "
        "curves, calibration, dialogues turn by turn, maps of the embeddings); plots/ has each as svg and png. "
        "Dialogues and maps need the manifest and the stores where the runs found them",
    )
    parser.add_argument(
        "--errors",
        action="store_true",
        help="instead: the most confident mistakes with the turns before them, and the labels that are likely wrong "
        "(confident learning), from the probabilities of all given runs, averaged; needs the manifest",
    )
    parser.add_argument(
        "--split",
        type=list_of(SPLITS),
        default=list(SPLITS),
        metavar="SPLIT",
        help="with --errors: dev, test or dev,test (default). No run has trained on either, so their probabilities are "
        "out of sample (dev chose the epoch); whoever changes a model after reading test has used test to choose it. "
        "Turns of train would need models trained without them, fold by fold",
    )
    parser.add_argument(
        "--top", type=_positive, default=20, help="with --errors: rows of each printed list (default 20)"
    )
    parser.add_argument("--manifest", type=Path, metavar="DIR", help="the corpus, if it is not where the runs found it")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for summary.md and .json, or errors.md, .json and .csv (default: the runs' parent)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON to this file instead")
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="write all numbers, or all errors, as CSV to this file"
    )
    return parser


def _summary(arguments: argparse.Namespace) -> None:
    from m2fnet.reports.summary import (
        named,
        pairs_to_compare,
        summarise_settings,
    )  # scikit-learn takes a second to import
    from m2fnet.reports.summary_page import COLUMNS, as_page, as_rows
    from m2fnet.runs.tested import collect, manifest_of

    settings = collect(arguments.runs)
    pairs = [(named(settings, a), named(settings, b)) for a, b in arguments.compare] or pairs_to_compare(settings)
    dialogues = manifest_of(settings, arguments.manifest).dialogues("test") if arguments.by else []
    summary = summarise_settings(settings, compare=pairs, by=arguments.by, dialogues=dialogues)
    page = as_page(summary, selected_on_test=arguments.selected_on_test)
    _deliver(arguments, "summary", page, summary, COLUMNS, as_rows(summary) if arguments.csv else [])
    if arguments.plots:
        from m2fnet.reports.figures import LeftOut, pictures
        from m2fnet.reports.html_page import write_page

        drawn = list(pictures(settings, summary, lambda: manifest_of(settings, arguments.manifest)))
        print(f"Wrote {write_page(_folder(arguments), summary, drawn)}")
        for picture in drawn:
            if isinstance(picture, LeftOut):
                print(f"Not drawn: {picture.title}. {picture.reason}")


def _errors(arguments: argparse.Namespace) -> None:
    from m2fnet.reports.mistakes import COLUMNS, as_page, as_rows, find_mistakes
    from m2fnet.runs.tested import collect, manifest_of

    settings = collect(arguments.runs)
    runs = [run for setting in settings for run in setting.runs]
    mistakes = find_mistakes(runs, manifest_of(settings, arguments.manifest), arguments.split)
    page = as_page(mistakes, runs, arguments.split, top=arguments.top)
    rows = as_rows(mistakes)
    arguments.csv = arguments.csv or _folder(arguments) / "errors.csv"
    _deliver(arguments, "errors", page, {"runs": [str(run.folder) for run in runs], "errors": rows}, COLUMNS, rows)


def _deliver(
    arguments: argparse.Namespace,
    name: str,
    page: str,
    content: dict[str, Any],
    columns: Sequence[str],
    rows: Sequence[dict[str, Any]],
) -> None:
    print(page)
    files = [_folder(arguments) / f"{name}.md", arguments.json or _folder(arguments) / f"{name}.json"]
    write_text(files[0], page)
    write_json(files[1], content)
    if arguments.csv:
        write_text(arguments.csv, _as_csv(columns, rows))
        files.append(arguments.csv)
    print(f"Wrote {', '.join(map(str, files))}")


def _folder(arguments: argparse.Namespace) -> Path:
    return arguments.out or Path(os.path.commonpath([run.resolve().parent for run in arguments.runs]))


def _as_csv(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    """The rows as CSV; a text that a spreadsheet would run as a formula gets an apostrophe before it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        is_formula = {
            key: isinstance(v, str) and v.startswith(("=", "+", "-", "@", "\t", "\r")) for key, v in row.items()
        }
        writer.writerow({key: f"'{value}" if is_formula[key] else value for key, value in row.items()})
    return text.getvalue()


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)
