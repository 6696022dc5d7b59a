"""MELD's raw tree, or only its three CSV files, in; a manifest out. Poria et al., arXiv:1810.02508.

Its known defects are counted in declare-lab/MELD@2d2011b and described in that repository's issues
#20 #22 #27 #28 #39 #52. Nothing is dropped: an utterance whose clip cannot be used keeps its text and is still scored.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from m2fnet.corpora.base import MISSING_MEDIA, Counts, DefectLog, expect_counts, media_file, not_the_corpus
from m2fnet.corpora.label_sets import MELD, TOY
from m2fnet.corpora.leaks import report_repeats
from m2fnet.corpora.meld_fair import realign
from m2fnet.corpora.reading import Row, read_csv, shown
from m2fnet.errors import CorpusError
from m2fnet.manifest import Manifest
from m2fnet.records import SPLITS, LabelSet, Split, Utterance

TREE = """MELD.Raw/
  train_sent_emo.csv  dev_sent_emo.csv  test_sent_emo.csv
  train_splits/dia0_utt0.mp4 ...                  (clips are optional: the CSV files are enough for a text corpus)
  dev_splits_complete/dia0_utt0.mp4 ...
  output_repeated_splits_test/dia0_utt0.mp4 ...
Each CSV file may also be in train/, dev/, test/ or data/MELD/, each folder of clips in train/, dev/, test/."""

COUNTS: dict[Split, Counts] = {
    "train": {
        "utterances": 9989,
        "dialogues": 1038,
        "labels": dict(zip(MELD.classes, (4710, 1205, 268, 683, 1743, 271, 1109), strict=True)),
    },
    "dev": {
        "utterances": 1109,
        "dialogues": 114,
        "labels": dict(zip(MELD.classes, (470, 150, 40, 111, 163, 22, 153), strict=True)),
    },
    "test": {
        "utterances": 2610,
        "dialogues": 280,
        "labels": dict(zip(MELD.classes, (1256, 281, 50, 208, 402, 68, 345), strict=True)),
    },
}

# one cannot be decoded, one is absent, and two are a cut of several minutes in place of one utterance
UNUSABLE = frozenset({"train_dia125_utt3", "dev_dia110_utt7", "test_dia38_utt4", "test_dia220_utt0"})

COLUMNS = (
    "Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID", "Season", "Episode", "StartTime", "EndTime",
)  # fmt: skip
CLIP_FOLDERS: dict[Split, str] = {
    "train": "train_splits",
    "dev": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}
_TIME = re.compile(r"([0-9]{1,2}):([0-5][0-9]):([0-5][0-9]),([0-9]{1,3})")
_SEVERAL = re.compile(r"\b(?:and|all|both|everyone)\b|[&,/]", re.IGNORECASE)

# none of these words occurs in the repository's copy, many rows hold one where apostrophes were stripped
_STRIPPED = re.compile(r"\b(?:im|dont|didnt|doesnt|isnt|wasnt|thats|youre|youll|theyre|whats|couldnt)\b", re.IGNORECASE)


@dataclass(frozen=True)
class _Line:
    """A row of a CSV file with the numbers read out of it; ``start`` and ``end`` are the times as written."""

    id: str
    split: Split
    dialogue: str
    dialogue_number: int
    number: int
    speaker: str
    text: str
    emotion: str
    start: str
    end: str
    start_s: float
    end_s: float
    scene: str
    where: str
    is_repaired: bool


def read_meld(root: Path, *, partial: bool = False, realigned: Path | None = None) -> Manifest:
    """Manifest of the MELD copy in ``root``.

    Args:
        root: folder as in `TREE`.
        partial: accept a copy with other counts than the published ones, or without one of the CSV files.
        realigned: copy of MELD-FAIR's folder ``csvs``; the media of an utterance are then the part of a clip that
            these tables give.

    Raises:
        CorpusError: if the folder is not MELD, a CSV file is damaged, or the counts differ and ``partial`` is False.
    """
    manifest = _read_layout(root, corpus="meld", label_set=MELD, unusable=UNUSABLE, partial=partial)
    if not partial:
        expect_counts(manifest, COUNTS)
    return realign(manifest, realigned) if realigned is not None else manifest


def read_toy(root: Path) -> Manifest:
    """Manifest of the toy corpus in ``root``, which `m2fnet.corpora.toy.write_toy` lays out as MELD.

    Raises:
        CorpusError: if the folder does not fit `TREE`, or a CSV file is damaged.
    """
    return _read_layout(root, corpus="toy", label_set=TOY)


def _read_layout(
    root: Path,
    *,
    corpus: str,
    label_set: LabelSet,
    unusable: Collection[str] = (),
    partial: bool = False,
) -> Manifest:
    root = root.resolve()
    tables = {split: _find(root, f"{split}_sent_emo.csv", (split, "data/MELD")) for split in SPLITS}
    absent = [split for split, path in tables.items() if path is None]
    if len(absent) == len(SPLITS) or (absent and not partial):
        raise not_the_corpus(root, f"{absent[0]}_sent_emo.csv", TREE)
    log = DefectLog()
    lines = [line for split, path in tables.items() if path is not None for line in _read_lines(path, split, label_set)]
    frame = pd.DataFrame(lines)
    _report_rows(frame, log)
    _report_order(frame, log)
    clips = _find_clips(root, lines, unusable, log)
    utterances = [
        Utterance(
            id=line.id,
            corpus=corpus,
            split=line.split,
            dialogue=line.dialogue,
            index=index,
            speaker=line.speaker or None,
            text=line.text or None,
            label=line.emotion,
            start_s=line.start_s,
            end_s=line.end_s,
            audio=clips.get(line.id),
            video=clips.get(line.id),
            source=line.where.removeprefix(f"{root}/"),
        )
        for line, index in zip(lines, frame.groupby("dialogue").cumcount(), strict=True)
    ]
    report_repeats(utterances, {line.id: line.scene for line in lines}, log)
    return Manifest(
        corpus=corpus,
        label_set=label_set,
        utterances=log.marked(utterances),
        root=root if clips else None,
        defects=log.defects(),
        provenance={"adapter": __name__, "partial": partial},
    )


def _find(root: Path, name: str, folders: Iterable[str]) -> Path | None:
    return next((path for path in (root / name, *(root / folder / name for folder in folders)) if path.exists()), None)


def _read_lines(path: Path, split: Split, label_set: LabelSet) -> list[_Line]:
    """The utterances of one CSV file by dialogue and utterance number."""
    lines: dict[str, _Line] = {}
    for row in read_csv(path, COLUMNS):
        if row["Emotion"] not in label_set.classes:
            raise CorpusError(
                f"{row.where}: Emotion is {shown(row['Emotion'])}, expected one of {', '.join(label_set.classes)}."
            )
        start_s, end_s = (_seconds(row, column) for column in ("StartTime", "EndTime"))
        dialogue_number, number = row.integer("Dialogue_ID"), row.integer("Utterance_ID")
        line = _Line(
            id=f"{split}_dia{dialogue_number}_utt{number}",
            split=split,
            dialogue=f"{split}_dia{dialogue_number}",
            dialogue_number=dialogue_number,
            number=number,
            speaker=row["Speaker"],
            text=row["Utterance"],
            emotion=row["Emotion"],
            start=row["StartTime"],
            end=row["EndTime"],
            start_s=start_s,
            end_s=end_s,
            scene=f"{row['Season']}/{row['Episode']}",
            where=row.where,
            is_repaired=row.assumed is not None,
        )
        first = lines.setdefault(line.id, line)
        if first is not line:
            raise CorpusError(
                f"{line.where} is utterance {number} of dialogue {dialogue_number}, and so is {first.where}; "
                "expected each once. Give one of them another Utterance_ID, or remove it."
            )
    return sorted(lines.values(), key=lambda line: (line.dialogue_number, line.number))


def _seconds(row: Row, column: str) -> float:
    match = _TIME.fullmatch(row[column])
    if match is None:
        raise CorpusError(f"{row.where}: {column} is {shown(row[column])}, expected HH:MM:SS,mmm.")
    hours, minutes, seconds, fraction = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(f"{seconds}.{fraction}")


def _report_rows(frame: pd.DataFrame, log: DefectLog) -> None:
    """Log the defects of single rows."""
    ids, text, start, end = frame["id"], frame["text"], frame["start"], frame["end"]
    log.add("cp1252 bytes in the text", "decoded as cp1252", ids[frame["is_repaired"]])
    log.add("characters lost (U+FFFD)", "kept as it is", ids[text.str.contains("\ufffd", regex=False)])
    advice = "kept as it is; better take the CSV files of declare-lab/MELD"
    log.add("apostrophe lost", advice, ids[text.str.contains(_STRIPPED)])
    log.add("no text", "kept without text", ids[text == ""])
    log.add("joint speaker", "kept as a speaker of that name", ids[frame["speaker"].str.contains(_SEVERAL)])
    one_digit = (start.str[1] == ":") | (end.str[1] == ":")
    log.add("hour written with one digit", "read as hours", ids[one_digit])
    few_digits = pd.concat([time.str.split(",").str[1].str.len() for time in (start, end)], axis=1).min(axis=1) < 3
    log.add("fewer than three digits after the seconds", "read as a decimal fraction", ids[few_digits])
    span, done = frame["end_s"] - frame["start_s"], "times kept as they are; the clip counts"
    log.add("span of zero length or negative", done, ids[span <= 0])
    log.add("span below 0.5 s", done, ids[span < 0.5])
    log.add("span of 20 s or more", done, ids[span >= 20])


def _report_order(frame: pd.DataFrame, log: DefectLog) -> None:
    """Log the defects in the order of utterances and dialogues; ``frame`` is sorted by their numbers."""
    dialogues = frame.groupby("dialogue", sort=False)
    log.add(
        "gap in the utterance numbers of a dialogue",
        "places counted without the gap; ids keep the number",
        frame["dialogue"][frame["number"] != dialogues.cumcount()].unique(),
    )
    firsts = frame.drop_duplicates("dialogue")
    log.add(
        "dialogue before whose number one or more are skipped",
        "nothing to do",
        firsts["dialogue"][firsts.groupby("split")["dialogue_number"].diff() > 1],
    )
    log.add(
        "dialogue in which an utterance starts before the one it follows",
        "order of the utterance numbers kept",
        frame["dialogue"][dialogues["start_s"].diff() < 0].unique(),
    )


def _find_clips(root: Path, lines: Sequence[_Line], unusable: Collection[str], log: DefectLog) -> Mapping[str, str]:
    """Paths of the usable clips relative to ``root``, by utterance id."""
    clips: dict[str, str] = {}
    for split in dict.fromkeys(line.split for line in lines):
        folder = _find(root, CLIP_FOLDERS[split], (split,))
        if folder is None or not folder.is_dir():
            log.add("split without a folder of clips", "its utterances are text only", [split], kind=MISSING_MEDIA)
            continue
        expected = set()
        for line in (line for line in lines if line.split == split):
            name = f"dia{line.dialogue_number}_utt{line.number}.mp4"
            path = f"{folder.relative_to(root)}/{name}"
            problem = "known to be unusable" if line.id in unusable else media_file(root, path)
            expected.add(name)
            if problem is None:
                clips[line.id] = path
            else:
                done = "audio and video count as missing, text kept"
                log.add(f"clip {problem}", done, [line.id], kind=MISSING_MEDIA)
        surplus = sorted(str(path.relative_to(root)) for path in folder.iterdir() if path.name not in expected)
        is_apple = {path: Path(path).name.startswith("._") for path in surplus}
        log.add("macOS ._ file", "ignored", (path for path in surplus if is_apple[path]))
        log.add("file that no row names", "ignored", (path for path in surplus if not is_apple[path]))
    return clips
