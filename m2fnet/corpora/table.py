"""Your own corpus from one table, CSV or JSONL, in; a manifest out.

One row is one utterance. Rows of a dialogue are in speaking order; the order of
the dialogues is free.

  dialogue       name of the conversation (required)
  split          train, dev or test, the same in all rows of a dialogue
                 (required)
  id             name of the utterance, unique in the table; without it
                 `<dialogue>_<place>`, counted from 0
  speaker        name of the speaker
  text           the spoken words
  label          the emotion; empty for an utterance that is context only
  labels         instead of label, a set of emotions: `joy|surprise` in CSV, a
                 list in JSONL; empty (in JSONL `[]`) for none of them, `?` (in
                 JSONL also null) or no cell at all for an utterance that was
                 not labelled and is context only
  start_s end_s  seconds on the clock of the recording, for information
  audio video    media files, relative to the table's folder (one clip may be
                 both)
  audio_start_s audio_end_s video_start_s video_end_s
                 seconds inside these files; without them the whole file is the
                 utterance
  crop           left or right: the half of the frame in which the speaker sits

At least one of text, audio and video is required. Other columns are ignored and
reported. Headings may be in any case and those of other projects (`Emotion`,
`Utterance`, `Start Time`); cells may be divided by semicolons or tabs, and
times may have decimal commas or colons. Words for nothing such as `NaN` are no
speaker and no emotion; emotions that differ only in case or blanks are one.
"""

import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from sys import intern
from typing import get_args

import numpy as np

from m2fnet.corpora.base import MISSING_MEDIA, DefectLog, media_file
from m2fnet.corpora.leaks import report_repeated_texts, report_repeats
from m2fnet.corpora.reading import OwnTable, Row, shown
from m2fnet.corpora.spreadsheet import is_no_text, is_nothing
from m2fnet.errors import CorpusError, ManifestError
from m2fnet.manifest import Manifest, media_path
from m2fnet.manifest.lookup import Lookup, hash_of
from m2fnet.manifest.table import collected
from m2fnet.records import SPLITS, Crop, LabelSet, Utterance

COLUMNS = (
    "dialogue", "split", "id", "speaker", "text", "label", "labels", "start_s", "end_s", "audio", "video",
    "audio_start_s", "audio_end_s", "video_start_s", "video_end_s", "crop",
)  # fmt: skip
_SUFFIXES = (".csv", ".tsv", ".jsonl")
_WHOLE_NUMBER = re.compile(r"^(-?[0-9]+)\.0+$")  # as pandas writes the numbers of a column with gaps
_OTHER_SET = re.compile(r"[,;\[\]]")  # of a set of emotions that is not divided by |
_LABELS = ("label", "labels")
_UNLABELLED = "?"  # in the column labels, where an empty cell is the empty set


def read_table(root: Path, *, labels: Sequence[str] = (), corpus: str | None = None) -> Manifest:
    """Manifest of the table in ``root``, whose columns this module's docstring describes.

    Args:
        root: the table, or the folder in which it is the only CSV or JSONL file.
        labels: the emotions in their order; without them those of the training split, sorted by name.
        corpus: name of the corpus; without it the table's file name.

    Raises:
        CorpusError: if there is no such table or a row of it cannot be used; the message names the line.
    """
    path = _table(root)
    name = corpus or path.stem
    rows = OwnTable(path, COLUMNS)
    survey = _Survey(rows, labels)
    if not survey.columns:
        raise CorpusError(f"{path} holds no row; expected one per utterance.")
    _check_columns(path, survey.columns)
    log, corrected, found = DefectLog(), DefectLog(), DefectLog()
    log.add("column without a meaning here", "ignored", (column for column in survey.columns if column not in COLUMNS))
    ids = array("q")
    utterances = collected(_utterances(path.parent, rows, name, survey, corrected, found, ids))
    log.take(corrected)
    log.take(found)
    _refuse_repeated_ids(path.parent, utterances, Lookup(np.frombuffer(ids, np.int64)))
    label_set = _label_set(name, survey)
    scenes = {u.id: f"{u.video or u.audio} {u.video_span or u.audio_span}" for u in utterances if u.video or u.audio}
    if scenes:
        report_repeats(utterances, scenes, log)
        report_repeated_texts([u for u in utterances if u.id not in scenes], log)
        _report_shared_recordings(utterances, log)
    else:
        report_repeated_texts(utterances, log)
    _report_dialogues(utterances, log)
    return Manifest(
        corpus=name,
        label_set=label_set,
        utterances=log.marked(utterances),
        root=path.parent if scenes else None,
        defects=log.defects(),
        provenance={"adapter": __name__, "table": path.name, "labels": list(labels)},
    )


def _table(root: Path) -> Path:
    root = root.resolve()
    if root.is_file() and root.suffix.lower() in _SUFFIXES:
        return root
    found = sorted(p for p in root.iterdir() if p.suffix.lower() in _SUFFIXES and p.is_file()) if root.is_dir() else []
    found = [path for path in found if not path.name.startswith(".")]
    if len(found) != 1:
        came = f"holds {len(found)} CSV or JSONL files" if root.is_dir() else "is not a CSV or JSONL file"
        raise CorpusError(
            f"{root} {came}. Expected a table, or a folder with one table in it, with these columns:\n{__doc__}"
        )
    return found[0]


class _Survey:
    """What has to be known of all rows before one can be read: their columns, and how emotions are spelled.

    Attributes:
        columns: that some row has.
        labels: the emotions that the user names.
        usual: an emotion, folded -> its spelling: that of ``labels``, otherwise that of most rows.
        of_training: the different cells of labels in training rows, as column and content.
    """

    def __init__(self, rows: Iterable[Row], labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self.columns: dict[str, None] = {}
        self.of_training: set[tuple[str, str]] = set()
        spellings: dict[str, Counter[str]] = {}
        for row in rows:
            self.columns |= dict.fromkeys(row.cells)
            if self.columns.keys() >= set(_LABELS):
                return  # refused for its columns
            for emotion in _emotions(row):
                spellings.setdefault(_folded(emotion), Counter())[emotion] += 1
            if row["split"].casefold() == "train":
                self.of_training |= {(column, row[column]) for column in _LABELS if _is_labelled(row, column)}
        self.usual = {
            key: min(of, key=lambda one: (-of[one], one.casefold() != one, one)) for key, of in spellings.items()
        }
        self.usual |= {_folded(label): label for label in labels}

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The emotions that the user names, otherwise those of the training rows, sorted."""
        return self.labels or tuple(sorted({one for cell in self.of_training for one in self.respelled(*cell) or ()}))

    def respelled(self, column: str, cell: str) -> list[str] | None:
        """The emotions in a cell, spelled as usual; None if one of them is a word for nothing."""
        written = [cell] if column == "label" else cell.split("|")  # only a set has several
        emotions = [self.usual[_folded(part)] for part in written if part.strip()]
        return None if any(is_nothing(one) and one not in self.labels for one in emotions) else emotions

    def corrected(self, row: Row, name: str, log: DefectLog) -> Row:
        """The row of the utterance ``name`` without words for nothing where an emotion or a speaker is due."""
        cells = dict(row.cells)
        for emotion in _emotions(row):
            if (now := self.usual[_folded(emotion)]) != emotion:
                what = f"label {shown(emotion)} differs from {shown(now)} only in its spelling"
                log.add(what, "counted as that", [name])
        for column in _LABELS:
            if not _is_labelled(row, column):
                continue
            emotions = self.respelled(column, row[column])
            if emotions is not None:
                cells[column] = "|".join(emotions)
            else:
                what = f"label {shown(row[column])} is a word for nothing"
                log.add(what, "counted as not labelled; name it with --labels if it is an emotion", [name])
                cells[column] = _UNLABELLED if column == "labels" else ""
        if is_nothing(row["speaker"]):
            log.add(f"speaker {shown(row['speaker'])} is a word for nothing", "counted as unknown", [name])
            cells["speaker"] = ""
        if is_no_text(row["text"]):
            what = f"text {shown(row['text'])} is a word for nothing"
            log.add(what, "kept as a word; leave its cell empty if the text is not known", [name])
        if row.is_short:
            log.add("row shorter than the first line", "its last cells counted as empty", [name])
        if row.is_short and row.cells.get("labels") == "":
            log.add("row without a cell for labels", "counted as not labelled", [name])
            cells["labels"] = _UNLABELLED
        return replace(row, cells=cells)


def _is_labelled(row: Row, column: str) -> bool:
    """Whether a cell names emotions, or words for nothing."""
    return bool(row[column]) and (column == "label" or row[column] != _UNLABELLED)


def _folded(label: str) -> str:
    """What two spellings of one name have in common: not case, blanks, the form of letters, or ``.0`` of numbers."""
    shown_letters = (letter for letter in unicodedata.normalize("NFKC", label) if unicodedata.category(letter) != "Cf")
    return _WHOLE_NUMBER.sub(r"\1", " ".join("".join(shown_letters).casefold().split()))


def _report_shared_recordings(utterances: Sequence[Utterance], log: DefectLog) -> None:
    """Name the utterances that would all be read from the whole of one recording.

    Raises:
        CorpusError: if their times are there, but not as places in the recording.
    """
    for kind in ("audio", "video"):
        users: dict[str, list[Utterance]] = {}
        spans: dict[object, list[Utterance]] = {}
        for u in utterances:
            file, span = (u.audio, u.audio_span) if kind == "audio" else (u.video, u.video_span)
            if file is not None and span is None:
                users.setdefault(file, []).append(u)
            elif file is not None:
                spans.setdefault((u.split, file, span), []).append(u)
        shared = {file: of for file, of in users.items() if len(of) > 1}
        timed = next((of for of in shared.values() if len({(u.start_s, u.end_s) for u in of}) > 1), None)
        if timed is not None:
            file = timed[1].audio if kind == "audio" else timed[1].video
            raise CorpusError(
                f"{timed[1].source}: {len(timed)} utterances share the recording {file!r}, but start_s and end_s do "
                "not say where in a file they are, so each would be read from all of it. Name these columns "
                f"{kind}_start_s and {kind}_end_s if they count from the beginning of the file, or give every "
                "utterance a separate file."
            )
        ids = [u.id for of in shared.values() for u in of]
        log.add(
            f"several utterances share one {kind} file without a span", "kept; each is read from the whole file", ids
        )
        ids = [u.id for of in spans.values() if len(of) > 1 for u in of]
        log.add(f"several utterances have the same span of one {kind} file", "kept", ids)


def _report_dialogues(utterances: Sequence[Utterance], log: DefectLog) -> None:
    """Name dialogues that may be one, and utterances whose row is not where their time is."""
    first: dict[str, str] = {}  # a name, folded -> the first dialogue that has it
    alike: dict[str, dict[str, None]] = {}  # a name, folded -> all dialogues, where they are several
    latest: dict[str, float] = {}
    for u in utterances:
        folded = _folded(u.dialogue)
        if (known := first.setdefault(folded, u.dialogue)) != u.dialogue:
            alike.setdefault(folded, {known: None})[u.dialogue] = None
        if u.start_s is not None and u.start_s < latest.get(u.dialogue, u.start_s):
            log.add("starts before an utterance above it in its dialogue", "kept in the order of the rows", [u.id])
        if u.start_s is not None:
            latest[u.dialogue] = max(u.start_s, latest.get(u.dialogue, u.start_s))
    for names in alike.values():
        some = " and ".join(map(shown, names))
        ids = [u.id for u in utterances if u.dialogue in names]
        log.add(f"dialogues {some} differ only in their spelling", "kept as different dialogues", ids)


def _check_columns(path: Path, columns: Collection[str]) -> None:
    if "dialogue" not in columns:
        raise CorpusError(f"{path} lacks the column 'dialogue': the name of the conversation of each utterance.")
    if "split" not in columns:
        raise CorpusError(
            f"{path} lacks the column 'split'. Add it with train, dev or test in every row, the same for all rows of a "
            "dialogue: for example test for a fifth of the dialogues, dev for a tenth, train for the rest."
        )
    if not {"text", "audio", "video"} & set(columns):
        raise CorpusError(f"{path} has none of the columns text, audio, video; expected at least one to learn from.")
    if {"label", "labels"} <= set(columns):
        raise CorpusError(
            f"{path} has both columns label and labels; expected label for one emotion, labels for several."
        )


def _label_set(corpus: str, survey: _Survey) -> LabelSet:
    classes = survey.classes
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise CorpusError(
            f"The labels are {shown(', '.join(classes))}, expected at least two different ones. "
            "Label the training rows, or name the emotions with --labels."
        )
    return LabelSet(corpus, classes, "multi" if "labels" in survey.columns else "single")


def _refuse_unknown_labels(row: Row, survey: _Survey) -> None:
    for emotion in _emotions(row):
        if emotion not in survey.classes and len(survey.classes) > 1:  # too few are refused later
            named = ", ".join(survey.classes)
            source = "as --labels says" if survey.labels else "the labels of the training rows; name more with --labels"
            raise CorpusError(f"{row.where}: the label is {shown(emotion)}, expected one of {named} ({source}).")


def _refuse_repeated_ids(root: Path, utterances: Sequence[Utterance], lookup: Lookup) -> None:
    for place in lookup.repeated()[:1]:
        again = utterances[place]
        first = utterances[lookup.place(again.id)]
        raise CorpusError(
            f"{root / str(again.source)}: the id {shown(again.id)} is already that of {first.source}; expected every "
            "id once."
        )


def _emotions(row: Row) -> tuple[str, ...]:
    """The emotions of a row, each once; none of an unlabelled one."""
    if row["labels"] == _UNLABELLED:
        return ()
    if _OTHER_SET.search(row["labels"]):
        raise CorpusError(
            f"{row.where}: the labels are {shown(row['labels'])}; expected names with | between them, such as joy|fear."
        )
    parts = [row["label"], *(part.strip() for part in row["labels"].split("|"))]
    if _UNLABELLED in parts[1:]:
        raise CorpusError(
            f"{row.where}: the labels are {row['labels']!r}; expected names with | between them, or only "
            f"{_UNLABELLED} for an utterance that is not labelled."
        )
    return tuple(dict.fromkeys(part for part in parts if part))


def _utterances(
    root: Path,
    rows: OwnTable,
    corpus: str,
    survey: _Survey,
    corrected: DefectLog,
    found: DefectLog,
    ids: "array[int]",
) -> Iterator[Utterance]:
    """The utterances of the rows; what was corrected and found goes into the logs, hashes of ids into ``ids``."""
    seen: dict[str, tuple[str, int]] = {}  # split and utterances of each dialogue so far
    for raw in rows:
        dialogue = raw["dialogue"]
        split, place = seen.get(dialogue, (intern(raw["split"].casefold()), 0))
        row = survey.corrected(raw, raw["id"] or f"{dialogue}_{place}", corrected)
        if row["split"].casefold() != split:
            first = next(one for one in rows if one["dialogue"] == dialogue)
            raise CorpusError(
                f"{row.where} puts dialogue {shown(dialogue)} into {shown(row['split'])}, "
                f"{first.where} into {shown(first['split'])}; expected all its rows in one split."
            )
        utterance = _utterance(root, row, corpus, place, found)
        _refuse_unknown_labels(row, survey)
        ids.append(hash_of(utterance.id))
        yield utterance
        seen[dialogue] = split, place + 1


def _utterance(root: Path, row: Row, corpus: str, index: int, log: DefectLog) -> Utterance:
    split = next((name for name in SPLITS if name == row["split"].casefold()), None)
    if split is None or not row["dialogue"]:
        raise CorpusError(
            f"{row.where}: dialogue is {shown(row['dialogue'])} and split {shown(row['split'])}, "
            f"expected a name and one of {', '.join(SPLITS)}."
        )
    crop = next((side for side in get_args(Crop) if side == row["crop"]), None)
    if row["crop"] and crop is None:
        raise CorpusError(f"{row.where}: crop is {shown(row['crop'])}, expected left or right, or nothing.")
    name = row["id"] or f"{row['dialogue']}_{index}"
    start_s, end_s = _times(row, "start_s", "end_s")
    if row.assumed is not None:
        log.add(f"{row.assumed} bytes in the text", f"decoded as {row.assumed}", [name])
    return Utterance(
        id=name,
        corpus=corpus,
        split=split,
        dialogue=row["dialogue"],
        index=index,
        speaker=row["speaker"] or None,
        text=row["text"] or None,
        label=row["label"] or None,
        labels=None if row.cells.get("labels") in (None, _UNLABELLED) else _emotions(row),
        start_s=start_s,
        end_s=end_s,
        audio=_media(root, row, "audio", name, log),
        video=_media(root, row, "video", name, log),
        audio_span=_span(row, "audio"),
        video_span=_span(row, "video"),
        crop=crop,
        source=row.where.removeprefix(f"{root}/"),
    )


def _media(root: Path, row: Row, kind: str, name: str, log: DefectLog) -> str | None:
    relative = row[kind]
    if not relative or is_nothing(relative):
        return None
    if "\\" in relative and media_file(root, relative) is not None:
        log.add(f"backslashes in the path of the {kind} file, as Windows writes them", "read as /", [name])
        relative = relative.replace("\\", "/")
    try:
        media_path(root, relative)
    except ManifestError as problem:
        raise CorpusError(
            f"{row.where}: {kind} is {shown(relative)}, expected a file inside {root}, given relative to it."
        ) from problem
    defect = media_file(root, relative)
    if defect is not None:
        log.add(f"{kind} file {defect}", "counts as missing, the rest of the row kept", [name], kind=MISSING_MEDIA)
    return relative if defect is None else None


def _span(row: Row, kind: str) -> tuple[float, float] | None:
    start_s, end_s = _times(row, f"{kind}_start_s", f"{kind}_end_s")
    if start_s is None and end_s is None:
        return None
    if start_s is None or end_s is None or not row[kind]:
        raise CorpusError(f"{row.where}: expected {kind}, {kind}_start_s and {kind}_end_s together or no span at all.")
    return start_s, end_s


def _times(row: Row, start: str, end: str) -> tuple[float | None, float | None]:
    start_s, end_s = row.seconds(start), row.seconds(end)
    if start_s is not None and end_s is not None and end_s <= start_s:
        raise CorpusError(f"{row.where}: {end} is {end_s:g}, expected more than {start}, which is {start_s:g}.")
    return start_s, end_s
