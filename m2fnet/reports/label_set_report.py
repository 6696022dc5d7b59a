"""The report of one run on a multi-label corpus: ``report.json``, ``report.md`` and ``predictions.jsonl``."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from m2fnet.files import write_json, write_text
from m2fnet.formatting import escaped, markdown_table, percent
from m2fnet.metrics.bootstrap import FEWEST_DIALOGUES, bootstrap_intervals
from m2fnet.metrics.counts import Counts, count_dialogues
from m2fnet.metrics.scores import STATISTICS, class_f1
from m2fnet.records import ScoredLabelSet
from m2fnet.reports.predictions_file import write_predictions
from m2fnet.runs.tested import inputs_of, name_of_data

SCORES = STATISTICS["multi"]
TITLES = {
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "exact_match": "exact match",
    "jaccard": "Jaccard (empty sets agree: 1)",
    "jaccard_carat": "Jaccard as CARAT (empty sets: 0)",
    "hamming_loss": "Hamming loss",
}


def summarise_label_sets(
    predictions: Sequence[ScoredLabelSet],
    training: Sequence[tuple[str, ...]],
    classes: Sequence[str],
    thresholds: Sequence[float],
) -> dict[str, Any]:
    """All scores of the labelled ``predictions`` with 95 % intervals over dialogues, and of two baselines.

    Args:
        predictions: of one split.
        training: label sets of the training split, for the baselines.
        classes: the emotions in order.
        thresholds: of each emotion, as they were used.
    """
    labelled = [(p.labels, p.predicted, p.dialogue) for p in predictions if p.labels is not None]
    labels, answers, dialogues = (list(column) for column in zip(*labelled, strict=True))
    counts = count_dialogues(labels, answers, dialogues, classes)
    whole = counts.sum(0)
    intervals = bootstrap_intervals(counts, SCORES) if len(counts) >= FEWEST_DIALOGUES else {}
    f1 = class_f1(whole)
    return {
        **_scores(whole),
        "intervals": {name: [found.low, found.high] for name, found in intervals.items()} or None,
        "per_class": {
            name: {
                "f1": float(f1[n]),
                "precision": float(whole.true_positives[n] / max(whole.predicted[n], 1)),
                "recall": float(whole.true_positives[n] / max(whole.support[n], 1)),
                "support": int(whole.support[n]),
                "predicted": int(whole.predicted[n]),
                "threshold": thresholds[n],
            }
            for n, name in enumerate(classes)
        },
        "n": int(whole.n),
        "empty": sum(not one for one in labels),
        "baselines": {
            name: {
                "labels": list(one),
                **_scores(count_dialogues(labels, [one] * len(labels), dialogues, classes).sum(0)),
            }
            for name, one in baselines(training).items()
        },
    }


def baselines(training: Sequence[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Label sets that need no network: the most frequent label, and the most frequent set, of the training split.

    Example:
        >>> baselines([("joy", "fear"), ("joy",), (), ()])
        {'most frequent label': ('joy',), 'most frequent label set': ()}
    """
    labels = Counter(label for one in training for label in one).most_common(1)
    return {
        "most frequent label": tuple(label for label, _ in labels),
        "most frequent label set": Counter(training).most_common(1)[0][0],
    }


def write_label_set_report(
    run: Path,
    facts: dict[str, Any],
    predictions: Mapping[str, Sequence[ScoredLabelSet]],
    training: Sequence[tuple[str, ...]],
    classes: Sequence[str],
    thresholds: Sequence[float],
) -> dict[str, Any]:
    """Write all files of the report into ``run`` and return what is in ``report.json``.

    Args:
        run: the run folder.
        facts: seed, corpus, manifest_sha256, modalities and whatever else identifies the run.
        predictions: those of ``"dev"`` and ``"test"``.
        training: label sets of the training split, for the baselines.
        classes: the emotions in order.
        thresholds: the probability from which each emotion was predicted.
    """
    splits = {name: summarise_label_sets(rows, training, classes, thresholds) for name, rows in predictions.items()}
    report = {
        **facts,
        "kind": "multi",
        "classes": list(classes),
        "thresholds": dict(zip(classes, thresholds, strict=True)),
        **splits,
    }
    for name, rows in predictions.items():
        write_predictions(run, name, [row for row in rows if row.labels is not None])
    write_text(run / "report.md", label_sets_as_markdown(report))
    write_json(run / "report.json", report)
    return report


def label_sets_as_markdown(report: dict[str, Any]) -> str:
    """The report as a page: headline, scores with intervals, table of emotions, what the scores are."""
    test, dev = report["test"], report["dev"]
    bounds = test["intervals"] or {}
    interval = "95 % interval over dialogues {}".format(_bounds(bounds["micro_f1"])) if bounds else "too few dialogues"
    chosen = "The last epoch was kept" if report.get("select") == "last" else "The epoch was chosen on dev"
    others = [
        [f"{name} ({', '.join(of['labels']) or 'none'})", *(percent(of[key]) for key in SCORES)]
        for name, of in test["baselines"].items()
    ]
    return "\n".join(
        [
            f"# {escaped(name_of_data(report))}: {' + '.join(inputs_of(report))}, seed {report['seed']}",
            "",
            f"Micro F1 on test **{percent(test['micro_f1'])}** ({interval}), macro F1 {percent(test['macro_f1'])}. "
            f"{chosen}; dev {percent(dev['micro_f1'])}. The thresholds were chosen on dev.",
            "",
            *markdown_table(
                pd.DataFrame(
                    [
                        [name, str(of["n"]), str(of["empty"]), *(percent(of[key]) for key in SCORES)]
                        for name, of in (("dev", dev), ("test", test))
                    ],
                    columns=["split", "n", "without label", *TITLES.values()],
                )
            ),
            "",
            *markdown_table(
                pd.DataFrame(
                    [
                        ["95 % interval", *(_bounds(bounds[key]) if bounds else "–" for key in SCORES)],
                        *others,
                    ],
                    columns=["test", *TITLES.values()],
                )
            ),
            "",
            *markdown_table(
                pd.DataFrame(
                    [
                        [name, str(of["support"]), str(of["predicted"])]
                        + [percent(of[key]) for key in ("f1", "precision", "recall")]
                        + [f"{of['threshold']:.3f}"]
                        for name, of in test["per_class"].items()
                    ],
                    columns=["test, per emotion", "n", "predicted", "F1", "precision", "recall", "threshold"],
                )
            ),
            "",
            "Jaccard is the mean over utterances of |predicted and true| / |predicted or true|. Where both sets are "
            "empty the standard counts 1 and CARAT's code 0; compare each with its own kind. Hamming loss is the share "
            "of wrong pairs of utterance and emotion; lower is better.",
            "",
        ]
    )


def _scores(whole: Counts) -> dict[str, float]:
    return {name: float(statistic(whole)) for name, statistic in SCORES.items()}


def _bounds(interval: Sequence[float]) -> str:
    return " to ".join(percent(bound) for bound in interval)
