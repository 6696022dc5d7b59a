"""The report of one run: ``report.json``, ``report.md``, ``predictions.jsonl`` and a confusion-matrix picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from m2fnet.files import replaced, write_json, write_text
from m2fnet.formatting import escaped, markdown_table, percent
from m2fnet.metrics.bootstrap import FEWEST_DIALOGUES, bootstrap_interval
from m2fnet.metrics.counts import count_dialogues
from m2fnet.metrics.scores import majority, score
from m2fnet.records import ScoredPrediction
from m2fnet.reports.predictions_file import write_predictions
from m2fnet.runs.tested import inputs_of, name_of_data

PICTURE = "confusion.png"
_SCORES = ("weighted_f1", "accuracy", "macro_f1", "majority_weighted_f1")


def summarise(
    predictions: Sequence[ScoredPrediction], training_labels: Sequence[str], classes: Sequence[str]
) -> dict[str, Any]:
    """All scores of the labelled ``predictions`` and of the majority class; no interval for few dialogues."""
    labels, predicted, dialogues = _columns(predictions)
    counts = count_dialogues([[label] for label in labels], [[one] for one in predicted], dialogues, classes)
    interval = bootstrap_interval(counts) if len(counts) >= FEWEST_DIALOGUES else None
    return {
        **score(labels, predicted, classes),
        "weighted_f1_interval": [interval.low, interval.high] if interval is not None else None,
        **majority(training_labels, labels, classes),
    }


def per_dialogue(predictions: Sequence[ScoredPrediction], classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Weighted F1, accuracy and n of every dialogue that has a labelled utterance."""
    groups: dict[str, list[ScoredPrediction]] = {}
    for prediction in predictions:
        if prediction.label is not None:
            groups.setdefault(prediction.dialogue, []).append(prediction)
    scores = {name: score(*_columns(group)[:2], classes) for name, group in groups.items()}
    return {name: {key: s[key] for key in ("weighted_f1", "accuracy", "n")} for name, s in scores.items()}


def write_report(
    run: Path,
    facts: dict[str, Any],
    predictions: Mapping[str, Sequence[ScoredPrediction]],
    training_labels: Sequence[str],
    classes: Sequence[str],
) -> dict[str, Any]:
    """Write all files of the report into ``run`` and return what is in ``report.json``.

    Args:
        run: the run folder.
        facts: seed, corpus, manifest_sha256, modalities and whatever else identifies the run.
        predictions: those of ``"dev"`` and ``"test"``.
        training_labels: of the training split, for the majority baseline.
        classes: the emotions in order.
    """
    splits = {name: summarise(rows, training_labels, classes) for name, rows in predictions.items()}
    report = {
        **facts,
        "kind": "single",
        "classes": list(classes),
        "per_dialogue": per_dialogue(predictions["test"], classes),
        **splits,
    }
    for name, rows in predictions.items():
        write_predictions(run, name, [row for row in rows if row.label is not None])
    draw_confusion(run / PICTURE, splits["test"]["confusion"], classes)
    write_text(run / "report.md", as_markdown(report))
    write_json(run / "report.json", report)
    return report


def as_markdown(report: dict[str, Any]) -> str:
    """The report as a page: headline, table of classes, spread over dialogues, picture."""
    test, dev = report["test"], report["dev"]
    ends = " to ".join(percent(bound) for bound in test["weighted_f1_interval"] or ())
    interval = f"95 % interval over dialogues {ends}" if ends else "too few dialogues for an interval"
    per = np.array([row["weighted_f1"] for row in report["per_dialogue"].values()])
    quartiles = ", ".join(percent(value) for value in np.quantile(per, [0.25, 0.5, 0.75]))
    chosen = "The last epoch was kept" if report.get("select") == "last" else "The epoch was chosen on dev"
    head = [
        f"# {escaped(name_of_data(report))}: {' + '.join(inputs_of(report))}, seed {report['seed']}",
        "",
        f"Weighted F1 on test **{percent(test['weighted_f1'])}** ({interval}), "
        f"majority class {percent(test['majority_weighted_f1'])}. "
        f"{chosen}; dev {percent(dev['weighted_f1'])}.",
        "",
        *markdown_table(
            pd.DataFrame(
                [_row(name, report[name], "n", _SCORES) for name in ("dev", "test")],
                columns=["split", "n", "weighted F1", "accuracy", "macro F1", "majority class weighted F1"],
            )
        ),
        "",
        *markdown_table(
            pd.DataFrame(
                [_row(name, of, "support", ("f1", "precision", "recall")) for name, of in test["per_class"].items()],
                columns=["test, per class", "n", "F1", "precision", "recall"],
            )
        ),
        "",
        f"Weighted F1 per dialogue, quartiles over {len(per)} test dialogues: {quartiles}.",
        "",
        f"![confusion matrix on test]({PICTURE})",
        "",
    ]
    return "\n".join(head)


def draw_confusion(path: Path, table: Sequence[Sequence[int]], classes: Sequence[str]) -> None:
    """Draw a confusion matrix (rows true, columns predicted) into a PNG file."""
    from m2fnet.plots.confusion import confusion  # matplotlib, which nobody needs who only reads a report
    from m2fnet.plots.style import rendered

    with replaced(path) as temporary:
        temporary.write_bytes(rendered(confusion(table, classes), "png"))


def _columns(predictions: Sequence[ScoredPrediction]) -> tuple[list[str], list[str], list[str]]:
    labelled = [(p.label, p.predicted, p.dialogue) for p in predictions if p.label is not None]
    return [row[0] for row in labelled], [row[1] for row in labelled], [row[2] for row in labelled]


def _row(name: str, scores: Mapping[str, Any], count: str, keys: Sequence[str]) -> list[str]:
    return [name, str(scores[count]), *(percent(scores[key]) for key in keys)]
