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
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from m2fnet.corpora.base import MISSING_MEDIA, DefectLog, media_file
from m2fnet.corpora.leaks import report_repeated_texts, report_repeats
from m2fnet.corpora.reading import Row, read_own_csv, read_own_jsonl, shown
from m2fnet.corpora.spreadsheet import is_no_text, is_nothing
from m2fnet.errors import CorpusError, ManifestError
from m2fnet.manifest import Manifest, media_path
from m2fnet.records import SPLITS, Crop, LabelSet, Utterance

COLUMNS = (
    "dialogue", "split", "id", "speaker", "text", "label", "labels", "start_s", "end_s", "audio", "video",
    "audio_start_s", "audio_end_s", "video_start_s", "video_end_s", "crop",
)  # fmt: skip
_SUFFIXES = (".csv", ".tsv", ".jsonl")
_WHOLE_NUMBER = re.compile(r"^(-?[0-9]+)\.0+$")  # as pandas writes the numbers of a column with gaps
_OTHER_SET = re.compile(r"[,;\[\]]")  # of a set of emotions that is not divided by |
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
    is_json = path.suffix.lower() == ".jsonl"
    rows = read_own_jsonl(path, COLUMNS) if is_json else read_own_csv(path, COLUMNS)
    if not rows:
        raise CorpusError(f"{path} holds no row; expected one per utterance.")
    columns = {column: None for row in rows for column in row.cells}
    _check_columns(path, columns)
    log = DefectLog()
    log.add("column without a meaning here", "ignored", (column for column in columns if column not in COLUMNS))
    rows = _with_one_spelling(rows, labels, log)
    utterances = _utterances(path.parent, rows, name, log)
    scenes = {u.id: f"{u.video or u.audio} {u.video_span or u.audio_span}" for u in utterances if u.video or u.audio}
    report_repeats(utterances, scenes, log)
    report_repeated_texts([u for u in utterances if u.id not in scenes], log)
    _report_shared_recordings(utterances, log)
    _report_dialogues(utterances, log)
    return Manifest(
        corpus=name,
        label_set=_label_set(name, rows, labels, is_multi="labels" in columns),
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


def _with_one_spelling(rows: Sequence[Row], labels: Sequence[str], log: DefectLog) -> list[Row]:
    """The rows with every emotion spelled in one way, and without words for nothing where an emotion or a name is due.

    An emotion is spelled as in ``labels``, otherwise as most of the rows do.
    """
    spellings: dict[str, Counter[str]] = {}
    for row in rows:
        for emotion in _emotions(row):
            spellings.setdefault(_folded(emotion), Counter())[emotion] += 1
    usual = {key: min(of, key=lambda name: (-of[name], name.casefold() != name, name)) for key, of in spellings.items()}
    usual |= {_folded(label): label for label in labels}
    places: Counter[str] = Counter()
    found = []
    for row in rows:
        name = row["id"] or f"{row['dialogue']}_{places[row['dialogue']]}"
        places[row["dialogue"]] += 1
        cells = dict(row.cells)
        for emotion in _emotions(row):
            if (now := usual[_folded(emotion)]) != emotion:
                log.add(
                    f"label {shown(emotion)} differs from {shown(now)} only in its spelling", "counted as that", [name]
                )
        for column in ("label", "labels"):
            if not row[column] or (column == "labels" and row[column] == _UNLABELLED):
                continue
            written = [row[column]] if column == "label" else row[column].split("|")  # only a set has several
            parts = [usual[_folded(part)] for part in written if part.strip()]
            if any(is_nothing(part) and part not in labels for part in parts):
                what = f"label {shown(row[column])} is a word for nothing"
                log.add(what, "counted as not labelled; name it with --labels if it is an emotion", [name])
                cells[column] = _UNLABELLED if column == "labels" else ""
            else:
                cells[column] = "|".join(parts)
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
        found.append(replace(row, cells=cells))
    return found


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
    names: dict[str, dict[str, None]] = {}
    latest: dict[str, float] = {}
    for u in utterances:
        names.setdefault(_folded(u.dialogue), {})[u.dialogue] = None
        if u.start_s is not None and u.start_s < latest.get(u.dialogue, u.start_s):
            log.add("starts before an utterance above it in its dialogue", "kept in the order of the rows", [u.id])
        if u.start_s is not None:
            latest[u.dialogue] = max(u.start_s, latest.get(u.dialogue, u.start_s))
    for alike in names.values():
        if len(alike) > 1:
            some = " and ".join(map(shown, alike))
            ids = [u.id for u in utterances if u.dialogue in alike]
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


def _label_set(corpus: str, rows: Sequence[Row], labels: Sequence[str], *, is_multi: bool) -> LabelSet:
    classes = tuple(labels) or tuple(
        sorted({e for row in rows if row["split"].casefold() == "train" for e in _emotions(row)})
    )
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise CorpusError(
            f"The labels are {shown(', '.join(classes))}, expected at least two different ones. "
            "Label the training rows, or name the emotions with --labels."
        )
    for row in rows:
        for emotion in _emotions(row):
            if emotion not in classes:
                source = "as --labels says" if labels else "the labels of the training rows; name more with --labels"
                raise CorpusError(
                    f"{row.where}: the label is {shown(emotion)}, expected one of {', '.join(classes)} ({source})."
                )
    return LabelSet(corpus, classes, "multi" if is_multi else "single")


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


def _utterances(root: Path, rows: Sequence[Row], corpus: str, log: DefectLog) -> list[Utterance]:
    places: Counter[str] = Counter()
    first_rows: dict[str, Row] = {}
    utterances: dict[str, Utterance] = {}
    for row in rows:
        dialogue = row["dialogue"]
        first = first_rows.setdefault(dialogue, row)
        if row["split"].casefold() != first["split"].casefold():
            raise CorpusError(
                f"{row.where} puts dialogue {shown(dialogue)} into {shown(row['split'])}, "
                f"{first.where} into {shown(first['split'])}; expected all its rows in one split."
            )
        utterance = _utterance(root, row, corpus, places[dialogue], log)
        if utterance.id in utterances:
            raise CorpusError(
                f"{row.where}: the id {shown(utterance.id)} is already that of {utterances[utterance.id].source}; "
                "expected every id once."
            )
        utterances[utterance.id] = utterance
        places[dialogue] += 1
    return list(utterances.values())


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
