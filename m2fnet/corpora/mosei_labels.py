"""A table of CMU-MOSEI's segments with the intensity of each emotion, as it is published in several shapes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from m2fnet.corpora.base import DefectLog
from m2fnet.corpora.label_sets import MOSEI
from m2fnet.corpora.reading import Row, read_csv, shown
from m2fnet.errors import CorpusError
from m2fnet.records import Annotation, Split

# the names that a column has in the tables of MMSA, s3prl and the raw answers of the raters
_COLUMNS = {
    "video": ("video_id", "file", "video", "Input.VIDEO_ID"),
    "clip": ("clip_id", "index", "clip", "segment", "Input.CLIP"),
    "start": ("start", "start_time"),
    "end": ("end", "end_time"),
    "split": ("mode", "split"),
    "text": ("text",),
    "sentiment": ("sentiment", "label", "Answer.sentiment"),
    "happy": ("happy", "happiness", "Answer.happiness"),
    "sad": ("sad", "sadness", "Answer.sadness"),
    "anger": ("anger", "angry", "Answer.anger"),
    "surprise": ("surprise", "Answer.surprise"),
    "disgust": ("disgust", "Answer.disgust"),
    "fear": ("fear", "Answer.fear"),
}
_SPLITS: dict[str, Split | None] = {
    "train": "train", "valid": "dev", "dev": "dev", "test": "test", "0": "train", "1": "dev", "2": "test", "3": None,
}  # fmt: skip


@dataclass(frozen=True)
class Segment:
    """One segment of a video; ``split`` is None where the official folds do not have its video."""

    video: str
    clip: str
    split: Split | None
    labels: tuple[str, ...] | None
    annotation: Annotation
    where: str
    text: str | None = None
    span: tuple[float, float] | None = None

    @property
    def order(self) -> float:
        """Place in the video: by start, or by the number of the clip."""
        return self.span[0] if self.span else float(self.clip) if self.clip.isdecimal() else 0.0

    @property
    def id(self) -> str:
        """Video and clip."""
        return f"{self.video}_{self.clip}"


def read_segments(path: Path, log: DefectLog) -> dict[str, Segment]:
    """The segments in a table by their id; several rows of a segment are those of several raters.

    Raises:
        CorpusError: if a column is missing, or a cell is wrong; the message names the line.
    """
    rows = read_csv(path, ())
    present = set(rows[0].cells)
    names = {name: next((column for column in known if column in present), "") for name, known in _COLUMNS.items()}
    absent = [name for name in ("video", "clip", *MOSEI.classes) if not names[name]]
    if absent:
        raise CorpusError(
            f"{path} has no column for {', '.join(absent)}; its columns are {shown(', '.join(sorted(present)))}. "
            f"Expected video_id, clip_id and the intensities {', '.join(MOSEI.classes)}: a table of sentiments does "
            "not have them."
        )
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(f"{row[names['video']]}_{row[names['clip']]}", []).append(row)
    segments = {name: _segment(members, names, path, log) for name, members in groups.items()}
    if names["split"]:
        no_split = (segment.where for segment in segments.values() if segment.split is None)
        log.add("segment in no official split", "skipped where the table gives the splits", no_split)
    return segments


def _segment(rows: Sequence[Row], names: dict[str, str], path: Path, log: DefectLog) -> Segment:
    first = rows[0]
    cell = {name: first[column] if column else "" for name, column in names.items()}
    if not cell["video"] or (cell["split"] and cell["split"] not in _SPLITS):
        raise CorpusError(
            f"{first.where}: the video is {shown(cell['video'])} and the split {shown(cell['split'])}; expected a name "
            "and train, valid or test, or 0, 1, 2, and 3 for none."
        )
    intensities: dict[str, list[float]] = {
        name: [_number(row, names[name]) for row in rows if row[names[name]]] for name in MOSEI.classes
    }
    is_labelled = any(intensities.values())
    means = {name: sum(values) / len(values) for name, values in intensities.items() if values}
    if names["sentiment"] and cell["sentiment"]:
        values = [_number(row, names["sentiment"]) for row in rows if row[names["sentiment"]]]
        means["sentiment"] = sum(values) / len(values)
    votes = {name: sum(value > 0 for value in values) for name, values in intensities.items()}
    span = None
    segment_id = f"{cell['video']}_{cell['clip']}"
    if cell["start"] and cell["end"]:
        start_s, end_s = _number(first, names["start"]), _number(first, names["end"])
        log.add("segment that starts before its video", "starts at 0", [segment_id] if start_s < 0 else [])
        span = max(start_s, 0.0), max(end_s, 0.0)
    return Segment(
        video=cell["video"],
        clip=cell["clip"],
        split=_SPLITS[cell["split"]] if cell["split"] else None,
        labels=tuple(name for name in MOSEI.classes if means.get(name, 0.0) > 0) if is_labelled else None,
        annotation=Annotation(
            votes={"raters": {name: n for name, n in votes.items() if n}} if len(rows) > 1 else {},
            raters={"raters": len(rows)} if len(rows) > 1 else {},
            values=means,
        ),
        where=first.where.removeprefix(f"{path.parent}/"),
        text=cell["text"] or None,
        span=span,
    )


def _number(row: Row, column: str) -> float:
    try:
        number = float(row[column]) if row[column].isascii() and "_" not in row[column] else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise CorpusError(f"{row.where}: {column} is {shown(row[column])}, expected a number.")
    return number
