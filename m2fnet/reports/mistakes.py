"""Utterances worth a second look: the most confident mistakes, and labels that are likely wrong."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from m2fnet.errors import UsageError
from m2fnet.formatting import escaped, markdown_table, plain
from m2fnet.manifest import Manifest
from m2fnet.metrics.calibration import Floats
from m2fnet.metrics.label_errors import likely_label_errors
from m2fnet.records import ScoredPrediction
from m2fnet.reports.summary import Row, records
from m2fnet.runs.tested import TestedRun, read_predictions

COLUMNS = (
    *("id", "split", "dialogue", "index", "speaker", "text", "label", "predicted", "confidence", "label_probability"),
    *("suggested", "margin", "before", "audio", "video"),
)
CONTEXT = 3  # utterances shown before a mistake
_OF_UTTERANCE = ("id", "split", "dialogue", "index", "speaker", "text", "label")


def find_mistakes(runs: Sequence[TestedRun], manifest: Manifest, splits: Sequence[str]) -> pd.DataFrame:
    """The utterances that the runs get wrong, the most confident mistake first, with likely label errors among them.

    The probabilities of the runs are averaged. They are out of sample on dev and test, which no run has trained on; dev
    has chosen the epoch, so its probabilities are a little too good. Likely label errors: confident learning over all
    utterances of ``splits``, see `m2fnet.metrics.label_errors.likely_label_errors`.

    Returns:
        A row per mistake with the columns `COLUMNS`: ``predicted`` has the highest mean probability, which is
        ``confidence``. Only for a likely label error, ``suggested`` is the emotion that the utterance confidently
        belongs to and ``margin`` the probability of the label minus that of ``suggested``. ``before`` lists up to
        `CONTEXT` utterances before it; ``audio`` and ``video`` the paths of its media.

    Raises:
        UsageError: if the runs were not scored on the same utterances, or the manifest lacks one.
    """
    classes = runs[0].report["classes"]
    parts = [_averaged(runs, split, classes) for split in splits]
    scored = [prediction for predictions, _ in parts for prediction in predictions]
    probabilities = np.concatenate([mean for _, mean in parts])
    labels = np.array([classes.index(one.label) for one in scored])
    errors = {error.row: error for error in likely_label_errors(probabilities, labels)}
    places = {u.id: (d.utterances, n) for d in manifest.dialogues() for n, u in enumerate(d.utterances)}
    rows = []
    for row in np.flatnonzero(probabilities.argmax(-1) != labels).tolist():
        if scored[row].id not in places:
            raise UsageError(f"{runs[0].folder} has predictions of {scored[row].id!r}, which is not in the manifest.")
        utterances, place = places[scored[row].id]
        utterance, error = utterances[place], errors.get(row)
        before = utterances[max(0, place - CONTEXT) : place]
        predicted = int(probabilities[row].argmax())
        rows.append(
            {
                **{key: getattr(utterance, key) for key in _OF_UTTERANCE},
                "predicted": classes[predicted],
                "confidence": float(probabilities[row, predicted]),
                "label_probability": float(probabilities[row, labels[row]]),
                "suggested": classes[error.suggested] if error else None,
                "margin": error.margin if error else None,
                "before": [_line(one.speaker, one.label, one.text) for one in before],
                "audio": _place(manifest, utterance.audio),
                "video": _place(manifest, utterance.video),
            }
        )
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    return found.sort_values(["confidence", "id"], ascending=[False, True], ignore_index=True)


def likely_errors(mistakes: pd.DataFrame) -> pd.DataFrame:
    """The mistakes whose label is likely wrong, the likeliest first."""
    return mistakes[mistakes["margin"].notna()].sort_values(["margin", "id"], ignore_index=True)


def as_page(mistakes: pd.DataFrame, runs: Sequence[TestedRun], splits: Sequence[str], *, top: int) -> str:
    """Both lists as Markdown, the ``top`` first of each."""
    suspects = likely_errors(mistakes)
    shown = records(suspects.head(top))
    table = pd.DataFrame(
        {
            "utterance": [row["id"] for row in shown],
            "label": [row["label"] for row in shown],
            "suggested": [row["suggested"] for row in shown],
            "margin": [f"{row['margin']:+.3f}" for row in shown],
            "said": [f"{row['speaker'] or 'someone'}: {row['text'] or '(no transcript)'}" for row in shown],
            "clip": [row["video"] or row["audio"] for row in shown],
        }
    )
    lines = [
        f"# {escaped(runs[0].report['corpus'])}: mistakes and likely label errors on {' and '.join(splits)}",
        "",
        f"From the probabilities of {len(runs)} run{'s' * (len(runs) > 1)}, averaged; no run has trained on these "
        f"utterances. {len(mistakes)} utterances are wrong; {len(suspects)} of them have a label that confident "
        "learning doubts (Northcutt et al. 2021). A weak model doubts many labels that are right: listen before you "
        "change one.",
        "",
        f"## The {min(top, len(mistakes))} most confident mistakes",
        "",
        *(line for number, row in enumerate(records(mistakes.head(top)), start=1) for line in _block(number, row)),
        f"## The {min(top, len(suspects))} likeliest label errors",
        "",
        *markdown_table(table),
    ]
    return "\n".join(lines) + "\n"


def _averaged(
    runs: Sequence[TestedRun], split: str, classes: Sequence[str]
) -> tuple[tuple[ScoredPrediction, ...], Floats]:
    """The utterances of a split sorted by id, and their probabilities (N, C) averaged over the runs."""
    first, *others = ((run, read_predictions(run.folder, split, classes)) for run in runs)
    scored = [(one.id, one.label) for one in first[1]]
    for run, predictions in others:
        if [(one.id, one.label) for one in predictions] != scored:
            raise UsageError(
                f"{first[0].folder} and {run.folder} were scored on different utterances or labels of {split}. Only "
                "the same utterances can be averaged: report the runs one by one, or use --split with the other split."
            )
    every = [[[one.probabilities[name] for name in classes] for one in p] for _, p in (first, *others)]
    return first[1], np.mean(every, axis=0)


def _place(manifest: Manifest, name: str | None) -> str | None:
    return None if name is None else str(manifest.root / name if manifest.root is not None else name)


def _line(speaker: object, label: object, text: object) -> str:
    return plain(f"{speaker or 'someone'} ({label or 'no label'}): {text or '(no transcript)'}")


def _block(number: int, row: Row) -> list[str]:
    """A mistake with the utterances before it as an item of a list."""
    clip, before = row["video"] or row["audio"], row["before"]
    label, predicted = escaped(str(row["label"])), escaped(str(row["predicted"]))
    confidence, probability = (f"{100 * float(str(row[key])):.2f}" for key in ("confidence", "label_probability"))
    return [
        f"{number}. {escaped(str(row['id']))} ({row['split']}): labelled **{label}**, predicted **{predicted}** "
        f"with {confidence} %, its label {probability} %",
        *(f"   - {escaped(line)}" for line in (before if isinstance(before, list) else ())),
        f"   - **{escaped(_line(row['speaker'], row['label'], row['text']))}**",
        *([f"   - {escaped(str(clip))}"] if clip else []),
        "",
    ]
