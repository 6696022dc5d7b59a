"""IEMOCAP's release in, a manifest out. Busso et al. 2008, doi:10.1007/s10579-008-9076-6.

The sound of an utterance is a file, its picture a part of the dialogue's film, in which two people sit next to each
other.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from m2fnet.corpora.base import MISSING_MEDIA, DefectLog, expect_counts, media_file, not_the_corpus
from m2fnet.corpora.iemocap_protocols import FILE_LABELS, SESSION_DIALOGUES, Protocol
from m2fnet.corpora.label_sets import IEMOCAP_CATEGORIES
from m2fnet.corpora.reading import read_lines, shown
from m2fnet.errors import CorpusError
from m2fnet.manifest import Manifest
from m2fnet.records import Annotation, Utterance

TREE = """IEMOCAP_full_release/
  Session1/ ... Session5/
    dialog/EmoEvaluation/Ses01F_impro01.txt ...     (times and labels)
    dialog/transcriptions/Ses01F_impro01.txt ...    (text)
    dialog/avi/DivX/Ses01F_impro01.avi ...          (optional: picture)
    sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav ...    (optional: sound)"""

_DIALOGUE = re.compile(r"Ses0([1-5])[FM]_[A-Za-z0-9_]+")
_TIME = r"([0-9]{1,6}(?:\.[0-9]{1,9})?)"
_LABEL_LINE = re.compile(rf"\[{_TIME} - {_TIME}\]\t(\S+)\t(\S+)\t\[(.*)\]\s*")
_RATER_LINE = re.compile(r"C-([EFM])[0-9]*:([^(]*)(?:\(.*)?")  # C-E2 is an evaluator, C-F1 or C-M1 an actor
_OTHER_LINE = re.compile(r"\s*|%.*|[AC]-[A-Z]+[0-9]*:.*")  # header and the lines of the single raters
_SCALES = ("valence", "activation", "dominance")
_TRANSCRIPT_LINE = re.compile(rf"(\S+) \[{_TIME}-{_TIME}\]:?(.*)")


@dataclass(frozen=True)
class _Line:
    """An utterance as its label line in an evaluation file gives it."""

    id: str
    dialogue: str
    start_s: float
    end_s: float
    label: str
    where: str
    scales: str = ""  # as written
    ticked: list[tuple[str, frozenset[str]]] = field(default_factory=list)  # group and emotions of each rater

    @property
    def annotation(self) -> Annotation:
        """The votes of the evaluators (``raters``) and of the actors (``self``), and the three scales."""
        votes: dict[str, Counter[str]] = {}
        for group, emotions in self.ticked:
            votes.setdefault(group, Counter()).update(sorted(emotions))
        numbers = re.findall(r"[0-9]+\.?[0-9]*", self.scales)
        return Annotation(
            votes={group: dict(sorted(counts.items())) for group, counts in votes.items()},
            raters=dict(Counter(group for group, _ in self.ticked)),
            values=dict(zip(_SCALES, map(float, numbers), strict=True)) if len(numbers) == len(_SCALES) else {},
        )

    @property
    def session(self) -> int:
        return int(self.dialogue[4])

    @property
    def sex(self) -> str:
        """Sex of the speaker: F or M."""
        return self.id.rsplit("_", 1)[1][0]


def read_iemocap(root: Path, protocol: Protocol, *, partial: bool = False, drop_unlabelled: bool = False) -> Manifest:
    """Manifest of the IEMOCAP release in ``root`` under a protocol.

    Args:
        root: folder as in `TREE`, or the one above it.
        protocol: label set and split, from `m2fnet.corpora.iemocap_protocols`.
        partial: accept a copy with other counts than the published ones, or without some sessions.
        drop_unlabelled: drop the utterances without a label of the protocol, as older papers do; otherwise they are
            context.

    Raises:
        CorpusError: if the folder is not IEMOCAP, a file is damaged, or the counts differ and ``partial`` is False.
    """
    root = root.resolve()
    root = root / "IEMOCAP_full_release" if (root / "IEMOCAP_full_release").is_dir() else root
    log = DefectLog()
    lines = [line for session in _sessions(root, partial) for line in _read_session(session, log)]
    if not lines:
        raise not_the_corpus(root, "utterance in Session*/dialog/EmoEvaluation/Ses*.txt", TREE)
    if not partial:
        _expect_release(lines)
    for line in lines:
        if line.id in protocol.relabelled and line.label != "xxx":
            raise CorpusError(
                f"{line.where} labels {line.id} as {line.label}, but {protocol.name} gives this utterance an emotion "
                "because the release has none (xxx). Check the copy."
            )
    texts = _texts(root, lines, log)
    films = _films(root, lines, log)
    sounds = _sounds(root, lines, log)
    log.add("no transcript", "kept without text", (line.id for line in lines if line.id not in texts))
    no_time = (line.id for line in lines if line.end_s <= line.start_s)
    log.add("span of zero length or negative", "kept without video", no_time)

    lines.sort(key=lambda line: (line.dialogue, line.start_s, line.end_s, line.id))
    sets = _label_sets(lines, protocol, log) if protocol.label_set.kind == "multi" else {}
    is_labelled = {line.id: line.id in sets or _emotion(line, protocol) is not None for line in lines}
    if drop_unlabelled:
        lines = [line for line in lines if is_labelled[line.id]]
    splits = protocol.splits(films.keys())
    utterances = []
    dialogues = pd.Series([line.dialogue for line in lines], dtype="str")
    for line, index in zip(lines, dialogues.groupby(dialogues).cumcount(), strict=True):
        film = films[line.dialogue] if line.end_s > line.start_s else None
        is_left = line.dialogue[5] == line.sex  # the name's letter: sex of the actor with the markers, who sits left
        utterances.append(
            Utterance(
                id=line.id,
                corpus=protocol.name,
                split=splits[line.dialogue],
                dialogue=line.dialogue,
                index=index,
                speaker=f"{line.dialogue[:5]}_{line.sex}",
                text=texts.get(line.id),
                label=_emotion(line, protocol),
                labels=sets.get(line.id),
                start_s=line.start_s,
                end_s=line.end_s,
                audio=sounds.get(line.id),
                video=film,
                video_span=(line.start_s, line.end_s) if film else None,
                crop=("left" if is_left else "right") if film else None,
                source=line.where.removeprefix(f"{root}/"),
            )
        )
    manifest = Manifest(
        corpus=protocol.name,
        label_set=protocol.label_set,
        utterances=log.marked(utterances),
        root=root if any(u.audio or u.video for u in utterances) else None,
        defects=log.defects(),
        provenance={
            "adapter": __name__,
            "protocol": protocol.name,
            "test_session": protocol.test_session,
            "partial": partial,
            "drop_unlabelled": drop_unlabelled,
        },
        annotations={line.id: line.annotation for line in lines},
    )
    if not partial:
        expect_counts(manifest, protocol.counts)
    return manifest


def _emotion(line: _Line, protocol: Protocol) -> str | None:
    """The one emotion of an utterance; None for context, and for all utterances of a multi-label protocol."""
    return protocol.emotion(line.id, line.label) if protocol.label_set.kind == "single" else None


def _label_sets(lines: Sequence[_Line], protocol: Protocol, log: DefectLog) -> dict[str, tuple[str, ...]]:
    """The emotions that at least one evaluator ticked, by utterance id; none for an utterance without evaluators."""
    sets = {}
    for line in lines:
        ticked = [emotions for group, emotions in line.ticked if group == "raters"]
        if not ticked:
            log.add("utterance without a line of an evaluator (C-E)", "unlabelled, kept as context", [line.id])
            continue
        union = frozenset[str]().union(*ticked)
        sets[line.id] = tuple(emotion for emotion in protocol.label_set.classes if emotion in union)
        emotion = protocol.emotion(line.id, line.label)
        if emotion is not None and emotion not in union:
            log.add("the file's label is an emotion that no evaluator ticked", "what they ticked counts", [line.id])
    return sets


def _sessions(root: Path, partial: bool) -> list[Path]:
    folders = [root / f"Session{number}" for number in SESSION_DIALOGUES]
    present = [folder for folder in folders if (folder / "dialog/EmoEvaluation").is_dir()]
    if not present or (len(present) < len(folders) and not partial):
        missing = next(folder for folder in folders if folder not in present)
        raise not_the_corpus(root, f"{missing.name}/dialog/EmoEvaluation", TREE)
    return present


def _read_session(session: Path, log: DefectLog) -> list[_Line]:
    lines: list[_Line] = []
    for path in sorted((session / "dialog/EmoEvaluation").iterdir()):
        if path.name.startswith("._"):
            log.add("macOS ._ file", "ignored", [str(path.relative_to(session.parent))])
        elif path.suffix == ".txt" and path.is_file() and _DIALOGUE.fullmatch(path.stem):
            lines += _read_evaluation(path, log)
    return lines


def _read_evaluation(path: Path, log: DefectLog) -> list[_Line]:
    """The utterances of one dialogue, in the order of its evaluation file."""
    lines: dict[str, _Line] = {}
    current: _Line | None = None
    for read in read_lines(path):
        match = _LABEL_LINE.fullmatch(read.text)
        if match is None:
            rater = _RATER_LINE.fullmatch(read.text)
            if rater is not None and current is not None:
                names = [name.strip() for name in rater[2].split(";") if name.strip()]
                unknown = [name for name in names if name not in IEMOCAP_CATEGORIES]
                log.add("rater's category of no known name", "ignored", [_short(read.where, path)] if unknown else [])
                emotions = frozenset(IEMOCAP_CATEGORIES[name] for name in names if name not in unknown)
                current.ticked.append(("raters" if rater[1] == "E" else "self", emotions))
            if read.text.startswith("["):
                raise CorpusError(
                    f"{read.where} is {shown(read.text)}, expected an utterance as "
                    "`[6.2901 - 8.2357]`, its id, its label and `[2.5, 2.5, 2.5]` with tabs between them."
                )
            if not _OTHER_LINE.fullmatch(read.text):
                log.add("evaluation line of no known kind", "ignored", [_short(read.where, path)])
            continue
        start_s, end_s, name, label, scales = match.groups()
        current = None
        if "XX" in name.rsplit("_", 1)[-1]:
            log.add("label line of an utterance without a number (XX)", "skipped", [_short(read.where, path)])
            continue
        if not re.fullmatch(rf"{re.escape(path.stem)}_[FM][0-9]{{3}}", name):
            raise CorpusError(
                f"{read.where}: the utterance is called {shown(name)}, expected {path.stem}_ and F or M and three "
                "digits."
            )
        if label not in FILE_LABELS:
            raise CorpusError(f"{read.where}: the label is {shown(label)}, expected one of {', '.join(FILE_LABELS)}.")
        if name in lines:
            raise CorpusError(f"{read.where} gives the utterance {name} again, first in {lines[name].where}.")
        current = lines[name] = _Line(name, path.stem, float(start_s), float(end_s), label, read.where, scales)
    return list(lines.values())


def _expect_release(lines: Sequence[_Line]) -> None:
    """Refuse a copy whose dialogues or labels are not those of the release, whatever the protocol."""
    frame = pd.DataFrame(lines).assign(session=[line.session for line in lines])
    dialogues = frame.groupby("session")["dialogue"].nunique()
    labels = frame["label"].value_counts()
    found = [(f"dialogues in session {n}", dialogues.get(n, 0), SESSION_DIALOGUES[n]) for n in SESSION_DIALOGUES]
    found += [(f"utterances labelled {label}", labels.get(label, 0), number) for label, number in FILE_LABELS.items()]
    for what, number, expected in found:
        if number != expected:
            raise CorpusError(
                f"The copy has {number} {what}, expected {expected}. "
                "It is incomplete or altered: unpack it again, or accept it with --partial."
            )


def _texts(root: Path, lines: Sequence[_Line], log: DefectLog) -> dict[str, str]:
    """Text by utterance id; a transcript line of no known utterance is counted and skipped."""
    known = {line.id for line in lines}
    texts: dict[str, str] = {}
    for dialogue, session in {line.dialogue: line.session for line in lines}.items():
        path = root / f"Session{session}/dialog/transcriptions/{dialogue}.txt"
        if not path.is_file():
            log.add("dialogue without a file of transcripts", "kept without text", [dialogue])
            continue
        for read in read_lines(path):
            match = _TRANSCRIPT_LINE.fullmatch(read.text.strip())
            where = [_short(read.where, path)]
            if match is None:
                if read.text.strip():
                    log.add("transcript line that is no utterance", "skipped", where)
            elif match[1] not in known:
                log.add("transcript line of an utterance without a label line", "skipped", where)
            elif match[1] in texts:
                log.add("second transcript", "the first counts", [match[1]])
            elif match[4].strip():
                texts[match[1]] = match[4].strip()
                log.add("cp1252 bytes in the text", "decoded as cp1252", [match[1]] if read.is_repaired else [])
    return texts


def _films(root: Path, lines: Sequence[_Line], log: DefectLog) -> dict[str, str | None]:
    """Path of the film of every dialogue, None where it cannot be used."""
    films: dict[str, str | None] = {}
    for dialogue, session in {line.dialogue: line.session for line in lines}.items():
        path = f"Session{session}/dialog/avi/DivX/{dialogue}.avi"
        problem = media_file(root, path)
        films[dialogue] = path if problem is None else None
        if problem is not None:
            done = "video counts as missing in all its utterances"
            log.add(f"dialogue avi {problem}", done, [dialogue], kind=MISSING_MEDIA)
    return films


def _sounds(root: Path, lines: Sequence[_Line], log: DefectLog) -> Mapping[str, str]:
    """Path of each usable sentence file, by utterance id."""
    sessions = sorted({line.session for line in lines})
    silent = [session for session in sessions if not (root / f"Session{session}/sentences/wav").is_dir()]
    names = [f"Session{session}" for session in silent]
    log.add("session without sentences/wav", "its utterances have no sound", names, kind=MISSING_MEDIA)
    sounds: dict[str, str] = {}
    for line in lines:
        if line.session in silent:
            continue
        path = f"Session{line.session}/sentences/wav/{line.dialogue}/{line.id}.wav"
        problem = media_file(root, path)
        if problem is None:
            sounds[line.id] = path
        else:
            log.add(f"sentence wav {problem}", "audio counts as missing", [line.id], kind=MISSING_MEDIA)
    return sounds


def _short(where: str, path: Path) -> str:
    """``where`` from the session's folder on: Session1/dialog/..."""
    return where.removeprefix(f"{path.parents[3]}/")
