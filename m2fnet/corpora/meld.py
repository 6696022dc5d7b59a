"""MELD's raw tree, or its three CSV files alone, in; a manifest out. Poria et al., arXiv:1810.02508.

What is known to be wrong in it is counted in declare-lab/MELD@2d2011b and told in that repository's issues
#20 #22 #27 #28 #39 #52. Nothing is dropped: a turn whose clip cannot be used keeps its text and is still scored.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from m2fnet.corpora.base import DefectLog, expect_counts, media_file, not_the_corpus
from m2fnet.corpora.leaks import report_repeats
from m2fnet.corpora.meld_fair import realign
from m2fnet.corpora.reading import Row, read_csv, shown
from m2fnet.errors import CorpusError
from m2fnet.manifest import Manifest
from m2fnet.records import SPLITS, LabelSet, Split, Utterance

TOY_LABELS = LabelSet("toy", ("neutral", "joy", "anger", "sadness", "surprise"))
LABELS = LabelSet("meld", ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"))

TREE = """MELD.Raw/
  train_sent_emo.csv  dev_sent_emo.csv  test_sent_emo.csv
  train_splits/dia0_utt0.mp4 ...                  (clips are optional: the CSV files alone give a text corpus)
  dev_splits_complete/dia0_utt0.mp4 ...
  output_repeated_splits_test/dia0_utt0.mp4 ...
Each CSV file may also lie in train/, dev/, test/ or data/MELD/, each folder of clips in train/, dev/, test/."""

COUNTS = {
    split: {"utterances": utterances, "dialogues": dialogues, "labels": dict(zip(LABELS.classes, labels, strict=True))}
    for split, utterances, dialogues, labels in (
        ("train", 9989, 1038, (4710, 1205, 268, 683, 1743, 271, 1109)),
        ("dev", 1109, 114, (470, 150, 40, 111, 163, 22, 153)),
        ("test", 2610, 280, (1256, 281, 50, 208, 402, 68, 345)),
    )
}

# undecodable, absent, and twice a cut of several minutes in place of one turn
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
_SEVERAL = re.compile(r"\b(and|all|both|everyone)\b|[&,/]", re.IGNORECASE)

# none of these words occurs in the repository's copy, many rows hold one where apostrophes were stripped
_STRIPPED = re.compile(r"\b(im|dont|didnt|doesnt|isnt|wasnt|thats|youre|youll|theyre|whats|couldnt)\b", re.IGNORECASE)


@dataclass(frozen=True)
class _Turn:
    """A row with the numbers read out of it."""

    row: Row
    split: Split
    dialogue: int
    number: int
    start_s: float
    end_s: float

    @property
    def id(self) -> str:
        return f"{self.split}_dia{self.dialogue}_utt{self.number}"


def read_meld(root: Path, *, partial: bool = False, realigned: Path | None = None) -> Manifest:
    """Manifest of the MELD copy in ``root``.

    Args:
        root: folder as in `TREE`.
        partial: accept a copy with other counts than the published ones, or without one of the CSV files.
        realigned: copy of MELD-FAIR's folder ``csvs``; utterances then are the stretches of clips that it tells.

    Raises:
        CorpusError: if the folder is not MELD, a CSV file is damaged, or the counts differ and ``partial`` is False.
    """
    manifest = _read_layout(root, corpus="meld", label_set=LABELS, unusable=UNUSABLE, partial=partial)
    if not partial:
        expect_counts(manifest, COUNTS)
    return realign(manifest, realigned) if realigned is not None else manifest


def read_toy(root: Path) -> Manifest:
    """Manifest of the toy corpus in ``root``, which `m2fnet.corpora.toy.write_toy` lays out as MELD.

    Raises:
        CorpusError: if the folder does not fit `TREE`, or a CSV file is damaged.
    """
    return _read_layout(root, corpus="toy", label_set=TOY_LABELS)


def _read_layout(
    root: Path,
    *,
    corpus: str,
    label_set: LabelSet,
    unusable: Iterable[str] = (),
    partial: bool = False,
) -> Manifest:
    root = root.resolve()
    tables = {split: _find(root, f"{split}_sent_emo.csv", (split, "data/MELD")) for split in SPLITS}
    absent = [split for split, path in tables.items() if path is None]
    if len(absent) == len(SPLITS) or (absent and not partial):
        raise not_the_corpus(root, f"{absent[0]}_sent_emo.csv", TREE)
    log = DefectLog()
    turns = [turn for split, path in tables.items() if path is not None for turn in _read_turns(path, split, label_set)]
    _report_rows(turns, log)
    clips = _find_clips(root, turns, frozenset(unusable), log)
    utterances = _utterances(turns, corpus, clips, root)
    report_repeats(utterances, {t.id: f"{t.row['Season']}/{t.row['Episode']}" for t in turns}, log)
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


def _read_turns(path: Path, split: Split, label_set: LabelSet) -> list[_Turn]:
    turns: dict[str, _Turn] = {}
    for row in read_csv(path, COLUMNS):
        if row["Emotion"] not in label_set.classes:
            raise CorpusError(
                f"{row.where}: Emotion is {shown(row['Emotion'])}, expected one of {', '.join(label_set.classes)}."
            )
        start_s, end_s = (_seconds(row, column) for column in ("StartTime", "EndTime"))
        turn = _Turn(row, split, row.integer("Dialogue_ID"), row.integer("Utterance_ID"), start_s, end_s)
        first = turns.setdefault(turn.id, turn)
        if first is not turn:
            raise CorpusError(
                f"{row.where} is utterance {turn.number} of dialogue {turn.dialogue}, and so is {first.row.where}; "
                "expected each once. Give one of them another Utterance_ID, or remove it."
            )
    return sorted(turns.values(), key=lambda turn: (turn.dialogue, turn.number))


def _seconds(row: Row, column: str) -> float:
    match = _TIME.fullmatch(row[column])
    if match is None:
        raise CorpusError(f"{row.where}: {column} is {shown(row[column])}, expected HH:MM:SS,mmm.")
    hours, minutes, seconds, fraction = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(f"{seconds}.{fraction}")


def _report_rows(turns: Sequence[_Turn], log: DefectLog) -> None:
    def add(what: str, done: str, found: Iterable[_Turn]) -> None:
        log.add(what, done, (turn.id for turn in found))

    def times(turn: _Turn) -> tuple[str, str]:
        return turn.row["StartTime"], turn.row["EndTime"]

    add("cp1252 bytes in the text", "decoded as cp1252", (t for t in turns if t.row.is_repaired))
    add("characters lost (U+FFFD)", "kept as it is", (t for t in turns if "\ufffd" in t.row["Utterance"]))
    stripped = (t for t in turns if _STRIPPED.search(t.row["Utterance"]))
    add("apostrophe lost", "kept as it is; better take the CSV files of declare-lab/MELD", stripped)
    add("no text", "kept without text", (t for t in turns if not t.row["Utterance"]))
    add("joint speaker", "kept as a speaker of that name", (t for t in turns if _SEVERAL.search(t.row["Speaker"])))
    add("hour written with one digit", "read as hours", (t for t in turns if any(x[1] == ":" for x in times(t))))
    add(
        "fewer than three digits after the seconds",
        "read as a decimal fraction",
        (t for t in turns if any(len(x.split(",")[1]) < 3 for x in times(t))),
    )
    spans = [(turn, turn.end_s - turn.start_s) for turn in turns]
    kept = "times kept as they are; the clip counts"
    add("span of zero length or negative", kept, (turn for turn, span in spans if span <= 0))
    add("span below 0.5 s", kept, (turn for turn, span in spans if span < 0.5))
    add("span of 20 s or more", kept, (turn for turn, span in spans if span >= 20))
    _report_order(turns, log)


def _report_order(turns: Sequence[_Turn], log: DefectLog) -> None:
    dialogues: dict[str, list[_Turn]] = {}
    for turn in turns:
        dialogues.setdefault(_dialogue(turn), []).append(turn)
    log.add(
        "gap in the utterance numbers of a dialogue",
        "turns counted through; ids keep the number",
        (name for name, members in dialogues.items() if [t.number for t in members] != list(range(len(members)))),
    )
    numbers = sorted({(SPLITS.index(turn.split), turn.dialogue) for turn in turns})
    log.add(
        "dialogue before whose number one or more are skipped",
        "nothing to do",
        (f"{SPLITS[b[0]]}_dia{b[1]}" for a, b in pairwise(numbers) if a[0] == b[0] and b[1] > a[1] + 1),
    )
    log.add(
        "dialogue in which a turn starts before the one it follows",
        "order of the utterance numbers kept",
        (name for name, members in dialogues.items() if any(b.start_s < a.start_s for a, b in pairwise(members))),
    )


def _find_clips(root: Path, turns: Sequence[_Turn], unusable: frozenset[str], log: DefectLog) -> dict[str, str]:
    """Paths of the usable clips relative to ``root``, by utterance id."""
    clips: dict[str, str] = {}
    for split in dict.fromkeys(turn.split for turn in turns):
        members = [turn for turn in turns if turn.split == split]
        folder = _find(root, CLIP_FOLDERS[split], (split,))
        if folder is None or not folder.is_dir():
            log.add("split without a folder of clips", "its utterances are text only", [split])
            continue
        paths = {t.id: f"{folder.relative_to(root)}/dia{t.dialogue}_utt{t.number}.mp4" for t in members}
        for name, path in paths.items():
            problem = "known to be unusable" if name in unusable else media_file(root, path)
            if problem is None:
                clips[name] = path
            else:
                log.add(f"clip {problem}", "audio and video count as missing, text kept", [name])
        _report_surplus(root, folder, {Path(path).name for path in paths.values()}, log)
    return clips


def _report_surplus(root: Path, folder: Path, expected: set[str], log: DefectLog) -> None:
    surplus = sorted(path for path in folder.iterdir() if path.name not in expected)
    names = [(path, str(path.relative_to(root))) for path in surplus]
    log.add("macOS ._ file", "ignored", (name for path, name in names if path.name.startswith("._")))
    log.add("file that no row names", "ignored", (name for path, name in names if not path.name.startswith("._")))


def _utterances(turns: Sequence[_Turn], corpus: str, clips: Mapping[str, str], root: Path) -> list[Utterance]:
    places: dict[str, int] = {}
    utterances = []
    for turn in turns:
        dialogue = _dialogue(turn)
        places[dialogue] = places.get(dialogue, -1) + 1
        clip = clips.get(turn.id)
        utterances.append(
            Utterance(
                id=turn.id,
                corpus=corpus,
                split=turn.split,
                dialogue=dialogue,
                index=places[dialogue],
                speaker=turn.row["Speaker"] or None,
                text=turn.row["Utterance"] or None,
                label=turn.row["Emotion"],
                start_s=turn.start_s,
                end_s=turn.end_s,
                audio=clip,
                video=clip,
                source=turn.row.where.removeprefix(f"{root}/"),
            )
        )
    return utterances


def _dialogue(turn: _Turn) -> str:
    return f"{turn.split}_dia{turn.dialogue}"
