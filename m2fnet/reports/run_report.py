"""The report of one run: ``report.json``, ``report.md``, ``predictions.jsonl`` and a confusion-matrix picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from m2fnet.files import replaced, write_json, write_text
from m2fnet.formatting import escaped, markdown_table, percent
from m2fnet.metrics.ratings import RATING_SCORES
from m2fnet.metrics.scores import STATISTICS, main_score, score_title
from m2fnet.problems import Problem
from m2fnet.records import Scored
from m2fnet.reports.predictions_file import write_predictions
from m2fnet.runs.tested import inputs_of, kind_of, name_of_data

PICTURE = "confusion.png"
TOGETHER = "together.png"  # which emotions of a set occur together
WARNING = "Warning: "  # how a line begins that says what is wrong with the scores


def write_report(
    run: Path,
    facts: Mapping[str, object],
    answers: Mapping[str, Sequence[Scored]],
    training: Sequence[tuple[str, ...]],
    problem: Problem,
) -> str:
    """Write all files of the report into ``run`` and return the page that is in ``report.md``.

    Args:
        run: the run folder.
        facts: seed, corpus, manifest_sha256, modalities and whatever else identifies the run.
        answers: what was predicted for ``"dev"`` and ``"test"``.
        training: labels of each labelled utterance of the training split, for the baselines.
        problem: what the network had to solve; it scores the answers.
    """
    report = {**facts, **problem.report(answers, training)}
    for split, rows in answers.items():
        write_predictions(run, split, [row for row in rows if row.label_sets[0] is not None])
    if "confusion" in report["test"]:
        draw_confusion(run / PICTURE, report["test"]["confusion"], problem.classes)
    if "together" in report["test"]:
        draw_together(run / TOGETHER, report["test"]["together"], problem.classes)
    page = as_markdown(report)
    write_text(run / "report.md", page)
    write_json(run / "report.json", report)
    return page


def as_markdown(report: Mapping[str, Any]) -> str:
    """The report as a page: headline, scores, a table of the emotions, and what else the kind of labels offers."""
    kind, test = kind_of(report), report["test"]
    main = main_score(kind)
    interval = (test.get("intervals") or {}).get(main) or test.get(f"{main}_interval")
    sure = f"95 % interval over dialogues {_bounds(interval)}" if interval else "too few dialogues for an interval"
    other = (
        f"majority class {percent(test['majority_weighted_f1'])}"
        if kind == "single"
        else f"macro F1 {percent(test['macro_f1'])}"
    )
    linear = f", linear classifier {percent(report['linear']['test'][main])}" if "linear" in report else ""
    chosen = "The last epoch was kept" if report.get("select") == "last" else "The epoch was chosen on dev"
    title = score_title(main)
    fold = report.get("fold")
    where = f"fold {fold['number'] + 1} of {fold['of']}, held out from training," if fold else "test"
    return "\n".join(
        [
            f"# {escaped(name_of_data(report))}: {' + '.join(inputs_of(report))}, seed {report['seed']}",
            "",
            f"{title[0].upper()}{title[1:]} on {where} **{percent(test[main])}** ({sure}), {other}{linear}. "
            f"{chosen}; dev {percent(report['dev'][main])}."
            f"{'' if kind == 'single' else _of_thresholds(report)}",
            *_warnings(report, main),
            "",
            *(_of_one_emotion(report) if kind == "single" else _of_label_sets(report)),
            *_of_ratings(report.get("ratings", {})),
            "",
        ]
    )


def _of_thresholds(report: Mapping[str, Any]) -> str:
    """A sentence about where they come from, with a blank before it."""
    how = "were given" if report.get("thresholds_are_fixed") else "were chosen on dev"
    return f" The thresholds {how}."


def _warnings(report: Mapping[str, Any], main: str) -> list[str]:
    """A line if the network is below a baseline that anything trained should reach."""
    test = report["test"]
    baselines = {f"always answering {name}": of[main] for name, of in test.get("baselines", {}).items()}
    if "majority_weighted_f1" in test:
        baselines["always answering the majority class"] = test["majority_weighted_f1"]
    if "linear" in report:
        baselines["a linear classifier of single utterances on the same inputs"] = report["linear"]["test"][main]
    better = [f"{name} ({percent(score)})" for name, score in baselines.items() if score > test[main]]
    if not better:
        return []
    return [
        "",
        f"{WARNING}the {score_title(main)} of {percent(test[main])} is below that of {' and '.join(better)}. Look at "
        "the training curves (`m2fnet report --plots`): train longer, at another rate, or a smaller network.",
    ]


def _of_one_emotion(report: Mapping[str, Any]) -> list[str]:
    scores = [*STATISTICS["single"], "majority_weighted_f1"]
    names = [*map(score_title, STATISTICS["single"]), "majority class weighted F1"]
    per = np.array([row[main_score("single")] for row in report["per_dialogue"].values()])
    quartiles = ", ".join(percent(value) for value in np.quantile(per, [0.25, 0.5, 0.75]))
    return [
        *_table(
            ["split", "n", *names],
            [[split, str(report[split]["n"]), *_cells(report[split], scores)] for split in ("dev", "test")],
        ),
        "",
        *_table(
            ["test, per class", "n", "F1", "precision", "recall"],
            [
                [name, str(of["support"]), *_cells(of, ("f1", "precision", "recall"))]
                for name, of in report["test"]["per_class"].items()
            ],
        ),
        "",
        f"Weighted F1 per dialogue, quartiles over {len(per)} test dialogues: {quartiles}.",
        "",
        f"![confusion matrix on test]({PICTURE})",
    ]


def _of_label_sets(report: Mapping[str, Any]) -> list[str]:
    scores, test = list(STATISTICS["multi"]), report["test"]
    names, intervals = [score_title(name) for name in scores], test["intervals"]
    baselines = [
        [f"{name} ({', '.join(of['labels']) or 'none'})", *_cells(of, scores)] for name, of in test["baselines"].items()
    ]
    return [
        *_table(
            ["split", "n", "without label", *names],
            [
                [split, str(report[split]["n"]), str(report[split]["empty"]), *_cells(report[split], scores)]
                for split in ("dev", "test")
            ],
        ),
        "",
        *_table(
            ["test", *names],
            [["95 % interval", *(_bounds(intervals[name]) if intervals else "–" for name in scores)], *baselines],
        ),
        "",
        *_table(
            ["test, per emotion", "n", "predicted", "F1", "precision", "recall", "threshold", "calibration error"],
            [
                [
                    *(name, str(of["support"]), str(of["predicted"])),
                    *(*_cells(of, ("f1", "precision", "recall")), f"{of['threshold']:.3f}"),
                    percent(of["calibration_error"]),
                ]
                for name, of in test["per_class"].items()
            ],
        ),
        "",
        f"Micro precision on test {percent(test['micro_precision'])}, micro recall {percent(test['micro_recall'])}.",
        "",
        f"![emotions that occur together on test]({TOGETHER})",
        "",
        "Jaccard is the mean over utterances of |predicted and true| / |predicted or true|. Where both sets are "
        "empty the standard counts 1 and CARAT's code 0; compare each with its own kind. Hamming loss is the share "
        "of wrong pairs of utterance and emotion; lower is better.",
    ]


def _of_ratings(ratings: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """A table of the scores on scales such as valence, with intervals over dialogues."""

    def cell(of: Mapping[str, Any], score: str) -> str:
        bounds = (of["intervals"] or {}).get(score)
        return f"{of[score]:.3f}" + (f" ({bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else "")

    rows = [
        [name, split, str(of["n"]), *(cell(of, score) for score in RATING_SCORES)]
        for name, splits in ratings.items()
        for split, of in splits.items()
    ]
    return ["", *_table(["rating", "split", "n", *RATING_SCORES.values()], rows)] if rows else []


def draw_confusion(path: Path, table: Sequence[Sequence[int]], classes: Sequence[str]) -> None:
    """Draw a confusion matrix (rows true, columns predicted) into a PNG file."""
    from m2fnet.plots.confusion import confusion  # matplotlib, which nobody needs who only reads a report
    from m2fnet.plots.style import rendered

    with replaced(path) as temporary:
        temporary.write_bytes(rendered(confusion(table, classes), "png"))


def draw_together(path: Path, tables: Mapping[str, Sequence[Sequence[int]]], classes: Sequence[str]) -> None:
    """Draw which emotions of the true and of the predicted sets occur together into a PNG file."""
    from m2fnet.plots.confusion import together
    from m2fnet.plots.style import rendered

    with replaced(path) as temporary:
        temporary.write_bytes(rendered(together(tables["true"], tables["predicted"], classes), "png"))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return markdown_table(pd.DataFrame(rows, columns=list(columns)))


def _cells(scores: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [percent(scores[name]) for name in names]


def _bounds(interval: Sequence[float]) -> str:
    return " to ".join(map(percent, interval))
