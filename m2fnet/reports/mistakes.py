"""Turns worth a second look: the most confident mistakes, and labels that are likely wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from m2fnet.errors import UsageError
from m2fnet.formatting import escaped, percent, plain, table
from m2fnet.manifest import Manifest
from m2fnet.metrics.calibration import Floats
from m2fnet.metrics.label_errors import likely_label_errors
from m2fnet.records import ScoredPrediction, Utterance
from m2fnet.runs.tested import TestedRun, read_predictions

COLUMNS = (
    *("id", "split", "dialogue", "index", "speaker", "text", "label", "predicted", "confidence", "label_probability"),
    *("suggested", "margin", "before", "audio", "video"),
)
CONTEXT = 3  # turns shown before a mistake


@dataclass(frozen=True)
class Mistake:
    """A turn whose label is not what the runs answer.

    Attributes:
        utterance: the turn.
        before: up to `CONTEXT` turns before it in its dialogue, in speaking order.
        predicted: the emotion with the highest probability, averaged over the runs.
        confidence: that probability.
        label_probability: the probability of its label.
        suggested: the emotion that it confidently belongs to if its label is likely wrong, else None.
        margin: probability of the label minus that of ``suggested``; the lower, the likelier the error.
        audio: path of the file that holds its sound, or None.
        video: path of the file that holds its picture, or None.
    """

    utterance: Utterance
    before: tuple[Utterance, ...]
    predicted: str
    confidence: float
    label_probability: float
    suggested: str | None
    margin: float | None
    audio: str | None
    video: str | None


def find_mistakes(runs: Sequence[TestedRun], manifest: Manifest, splits: Sequence[str]) -> list[Mistake]:
    """The turns that the runs get wrong, the most confident mistake first, with likely label errors among them.

    The probabilities of the runs are averaged. They are out of sample on dev and test, which no run has trained on; dev
    has chosen the epoch, so its probabilities are a little too good. Likely label errors: confident learning over all
    turns of ``splits``, see `m2fnet.metrics.label_errors.likely_label_errors`.

    Raises:
        UsageError: if the runs were not scored on the same turns, or the manifest lacks one.
    """
    classes = runs[0].report["classes"]
    parts = [_averaged(runs, split, classes) for split in splits]
    turns = [prediction for predictions, _ in parts for prediction in predictions]
    probabilities = np.concatenate([mean for _, mean in parts])
    labels = np.array([classes.index(turn.label) for turn in turns])
    errors = {error.row: error for error in likely_label_errors(probabilities, labels)}
    places = {u.id: (d.utterances, n) for d in manifest.dialogues() for n, u in enumerate(d.utterances)}
    mistakes = []
    for row in np.flatnonzero(probabilities.argmax(-1) != labels).tolist():
        if turns[row].id not in places:
            raise UsageError(f"{runs[0].folder} has predictions of {turns[row].id!r}, which is not in the manifest.")
        utterances, place = places[turns[row].id]
        predicted, error = int(probabilities[row].argmax()), errors.get(row)
        mistakes.append(
            Mistake(
                utterance=utterances[place],
                before=utterances[max(0, place - CONTEXT) : place],
                predicted=classes[predicted],
                confidence=float(probabilities[row, predicted]),
                label_probability=float(probabilities[row, labels[row]]),
                suggested=classes[error.suggested] if error else None,
                margin=error.margin if error else None,
                audio=_place(manifest, utterances[place].audio),
                video=_place(manifest, utterances[place].video),
            )
        )
    return sorted(mistakes, key=lambda mistake: (-mistake.confidence, mistake.utterance.id))


def as_rows(mistakes: Sequence[Mistake]) -> list[dict[str, Any]]:
    """One row per mistake with the columns `COLUMNS`; ``suggested`` marks the likely label errors."""
    return [
        {
            **{
                key: getattr(m.utterance, key)
                for key in ("id", "split", "dialogue", "index", "speaker", "text", "label")
            },
            **{key: getattr(m, key) for key in ("predicted", "confidence", "label_probability", "suggested", "margin")},
            "before": " / ".join(_line(turn) for turn in m.before),
            "audio": m.audio,
            "video": m.video,
        }
        for m in mistakes
    ]


def as_page(mistakes: Sequence[Mistake], runs: Sequence[TestedRun], splits: Sequence[str], *, top: int) -> str:
    """Both lists as Markdown, the ``top`` first of each."""
    suspects = likely_errors(mistakes)
    lines = [
        f"# {escaped(runs[0].report['corpus'])}: mistakes and likely label errors on {' and '.join(splits)}",
        "",
        f"From the probabilities of {len(runs)} run{'s' * (len(runs) > 1)}, averaged; no run has trained on these "
        f"turns. {len(mistakes)} turns are wrong; {len(suspects)} of them have a label that confident learning doubts "
        "(Northcutt et al. 2021). A weak model doubts many labels that are right: listen before you change one.",
        "",
        f"## The {min(top, len(mistakes))} most confident mistakes",
        "",
        *(line for number, mistake in enumerate(mistakes[:top], start=1) for line in _block(number, mistake)),
        f"## The {min(top, len(suspects))} likeliest label errors",
        "",
        *table(["turn", "label", "suggested", "margin", "said", "clip"], [_row(mistake) for mistake in suspects[:top]]),
    ]
    return "\n".join(lines) + "\n"


def likely_errors(mistakes: Sequence[Mistake]) -> list[Mistake]:
    """The mistakes whose label is likely wrong, the likeliest first."""
    return sorted((m for m in mistakes if m.margin is not None), key=lambda m: (m.margin, m.utterance.id))


def _averaged(
    runs: Sequence[TestedRun], split: str, classes: Sequence[str]
) -> tuple[tuple[ScoredPrediction, ...], Floats]:
    """The turns of a split sorted by id, and their probabilities (N, C) averaged over the runs."""
    first, *others = ((run, read_predictions(run.folder, split, classes)) for run in runs)
    turns = [(turn.id, turn.label) for turn in first[1]]
    for run, predictions in others:
        if [(turn.id, turn.label) for turn in predictions] != turns:
            raise UsageError(
                f"{first[0].folder} and {run.folder} were scored on different turns or labels of {split}. Only the "
                "same turns can be averaged: give the runs apart, or --split with the other split."
            )
    every = [[[turn.probabilities[name] for name in classes] for turn in p] for _, p in (first, *others)]
    return first[1], np.mean(every, axis=0)


def _place(manifest: Manifest, name: str | None) -> str | None:
    return None if name is None else str(manifest.root / name if manifest.root is not None else name)


def _line(turn: Utterance) -> str:
    return plain(f"{turn.speaker or 'someone'} ({turn.label or 'no label'}): {turn.text or '(no transcript)'}")


def _block(number: int, mistake: Mistake) -> list[str]:
    turn = mistake.utterance
    clip = mistake.video or mistake.audio
    label, answer = escaped(str(turn.label)), escaped(mistake.predicted)
    return [
        f"{number}. {escaped(turn.id)} ({turn.split}): labelled **{label}**, answered **{answer}** "
        f"with {percent(mistake.confidence)} %, its label {percent(mistake.label_probability)} %",
        *(f"   - {escaped(_line(before))}" for before in mistake.before),
        f"   - **{escaped(_line(turn))}**",
        *([f"   - {escaped(clip)}"] if clip else []),
        "",
    ]


def _row(mistake: Mistake) -> list[str]:
    turn = mistake.utterance
    said = f"{turn.speaker or 'someone'}: {turn.text or '(no transcript)'}"
    margin = f"{mistake.margin:+.3f}"
    return [turn.id, str(turn.label), str(mistake.suggested), margin, said, mistake.video or mistake.audio or "–"]
