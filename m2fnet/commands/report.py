"""``m2fnet report RUN [RUN ...]``: what the runs reach, how sure that is, and where they fail."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from m2fnet.commands.arguments import Parser, list_of
from m2fnet.errors import LabelSetsError
from m2fnet.files import write_json, write_text

if TYPE_CHECKING:
    import pandas as pd

GROUPS = ("position", "length", "speakers", "shift")
SPLITS = ("dev", "test")
# what this command leaves next to the runs, and a `*` names with them the next time
OWN = ("summary.md", "summary.json", "summary.tex", "report.html", "plots", "errors.md", "errors.json", "errors.csv")


def main(argv: list[str]) -> None:
    """Print the page and write it next to the runs, as Markdown and JSON, and as a page of pictures if asked to."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    arguments.runs = [run for run in arguments.runs if run.name not in OWN] or arguments.runs
    if arguments.errors and arguments.plots:
        parser.error("--plots draws the runs' scores, --errors lists their mistakes: give one of them")
    if arguments.errors:
        _errors(arguments)
    else:
        _summary(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="m2fnet report",
        description="Gather tested runs: runs that differ only in the seed become one setting, mean ± s.d. over the "
        "seeds, with 95 % bootstrap intervals over dialogues, F1 per class, the spread over dialogues, the majority "
        "class, and paired differences: of two settings, or of all others with the only setting that reads just text. "
        "All runs must have been tested on the same utterances.",
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
        "--group-by",
        type=list_of(GROUPS),
        default=[],
        metavar="WHAT",
        help=f"the main score of groups of utterances: any of {','.join(GROUPS)}; needs the manifest",
    )
    parser.add_argument(
        "--selected-on-test",
        action="store_true",
        help="add a column of that name: the best test score among a setting's seeds, to compare with papers that "
        "select on test. There is no best epoch by test to show, because `fit` never scores test",
    )
    parser.add_argument(
        "--plots",
        action="store_true",
        help="draw them too: report.html opens offline and holds all pictures (F1 of each emotion, confusion, training "
        "curves, calibration, dialogues utterance by utterance, spectrograms of confident mistakes, maps of the "
        "embeddings) and tables; plots/ has each as svg and png. Dialogues and maps need the manifest and the stores "
        "where the runs found them, spectrograms the sound of the corpus",
    )
    parser.add_argument(
        "--errors",
        action="store_true",
        help="instead: the most confident mistakes with the utterances before them, and the labels that are likely "
        "wrong (confident learning), from the probabilities of all given runs, averaged; needs the manifest",
    )
    parser.add_argument(
        "--split",
        type=list_of(SPLITS),
        default=list(SPLITS),
        metavar="SPLIT",
        help="with --errors: dev, test or dev,test (default). No run has trained on either, so their probabilities are "
        "out of sample (dev chose the epoch); whoever changes a model after reading test has used test to choose it. "
        "Utterances of train would need models trained without them, fold by fold",
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
        "--csv", type=Path, metavar="FILE", help="write all numbers, one a row, or all errors, as CSV to this file"
    )
    parser.add_argument(
        "--latex", action="store_true", help="write the tables as summary.tex too, for \\usepackage{booktabs}"
    )
    return parser


def _summary(arguments: argparse.Namespace) -> None:
    # scikit-learn and pandas take seconds to import
    from m2fnet.reports.summary import named, pairs_to_compare, summarise_settings
    from m2fnet.reports.summary_page import as_latex, as_page
    from m2fnet.runs.tested import collect, manifest_of

    settings = collect(arguments.runs)
    pairs = [(named(settings, a), named(settings, b)) for a, b in arguments.compare] or pairs_to_compare(settings)
    dialogues = manifest_of(settings, arguments.manifest).dialogues("test") if arguments.group_by else []
    summary = summarise_settings(settings, compare=pairs, group_by=arguments.group_by, dialogues=dialogues)
    page = as_page(summary, selected_on_test=arguments.selected_on_test)
    _deliver(arguments, "summary", page, summary.as_dict(), summary.scores)
    if arguments.latex:
        write_text(_folder(arguments) / "summary.tex", as_latex(summary, selected_on_test=arguments.selected_on_test))
        print(f"Wrote {_folder(arguments) / 'summary.tex'}")
    if arguments.plots:
        from m2fnet.reports.figures import NotDrawn, pictures
        from m2fnet.reports.html_page import write_page

        drawn = list(pictures(settings, summary, lambda: manifest_of(settings, arguments.manifest)))
        folder = _folder(arguments)
        print(f"Wrote {write_page(folder, summary, drawn, selected_on_test=arguments.selected_on_test)}")
        for picture in drawn:
            if isinstance(picture, NotDrawn):
                print(f"Not drawn: {picture.title}. {picture.reason}")


def _errors(arguments: argparse.Namespace) -> None:
    from m2fnet.reports.mistakes import as_page, find_mistakes
    from m2fnet.reports.summary import records
    from m2fnet.runs.tested import collect, kind_of, manifest_of

    settings = collect(arguments.runs)
    runs = [run for setting in settings for run in setting.runs]
    for run in runs:
        if kind_of(run.report) == "multi":
            raise LabelSetsError(run.folder, "--errors", "Without it the report has the scores of each emotion.")
    mistakes = find_mistakes(runs, manifest_of(settings, arguments.manifest), arguments.split)
    page = as_page(mistakes, runs, arguments.split, top=arguments.top)
    arguments.csv = arguments.csv or _folder(arguments) / "errors.csv"
    content: dict[str, object] = {"runs": [str(run.folder) for run in runs], "errors": records(mistakes)}
    _deliver(arguments, "errors", page, content, mistakes.assign(before=mistakes["before"].map(" / ".join)))


def _deliver(
    arguments: argparse.Namespace, name: str, page: str, content: dict[str, object], table: "pd.DataFrame"
) -> None:
    """Print the page, and write it, the JSON and, if asked for, the table."""
    from m2fnet.reports.terminal import for_terminal  # imports rich

    print(for_terminal(page), end="\n\n")
    files = [_folder(arguments) / f"{name}.md", arguments.json or _folder(arguments) / f"{name}.json"]
    write_text(files[0], page)
    write_json(files[1], content)
    if arguments.csv:
        write_text(arguments.csv, as_csv(table))
        files.append(arguments.csv)
    print(f"Wrote {', '.join(map(str, files))}")


def _folder(arguments: argparse.Namespace) -> Path:
    return arguments.out or Path(os.path.commonpath([run.resolve().parent for run in arguments.runs]))


def as_csv(table: "pd.DataFrame") -> str:
    r"""The table as CSV; a text that a spreadsheet would run as a formula gets an apostrophe before it.

    Example:
        >>> import pandas as pd
        >>> as_csv(pd.DataFrame({"text": ["=1+1", None], "margin": [-0.5, 0.25]}))
        "text,margin\n'=1+1,-0.5\n,0.25\n"
    """
    formulas = ("=", "+", "-", "@", "\t", "\r")
    defused = table.map(lambda cell: f"'{cell}" if isinstance(cell, str) and cell.startswith(formulas) else cell)
    text: str = defused.to_csv(index=False, lineterminator="\n")
    return text


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)
