"""IEMOCAP's release in, a manifest out. Busso et al. 2008, doi:10.1007/s10579-008-9076-6.

The sound of a turn is its own file, its picture a stretch of the dialogue's film in which two people sit side by side.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from m2fnet.corpora.base import DefectLog, expect_counts, media_file, not_the_corpus
from m2fnet.corpora.iemocap_protocols import FILE_LABELS, SESSION_DIALOGUES, Protocol
from m2fnet.corpora.reading import read_lines, shown
from m2fnet.errors import CorpusError
from m2fnet.manifest import Manifest
from m2fnet.records import Split, Utterance

TREE = """IEMOCAP_full_release/
  Session1/ ... Session5/
    dialog/EmoEvaluation/Ses01F_impro01.txt ...     (times and labels)
    dialog/transcriptions/Ses01F_impro01.txt ...    (text)
    dialog/avi/DivX/Ses01F_impro01.avi ...          (optional: picture)
    sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav ...    (optional: sound)"""

_DIALOGUE = re.compile(r"Ses0([1-5])[FM]_[A-Za-z0-9_]+")
_TIME = r"([0-9]{1,6}(?:\.[0-9]{1,9})?)"
_TURN = re.compile(rf"\[{_TIME} - {_TIME}\]\t(\S+)\t(\S+)\t\[.*\]\s*")
_BESIDE_TURNS = re.compile(r"\s*|%.*|[AC]-[A-Z]+[0-9]*:.*")  # header and the lines of the single raters
_SPOKEN = re.compile(rf"(\S+) \[{_TIME}-{_TIME}\]:?(.*)")


@dataclass(frozen=True)
class _Turn:
    """A turn line of an evaluation file."""

    id: str
    dialogue: str
    start_s: float
    end_s: float
    label: str
    where: str

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
        drop_unlabelled: leave out turns without a label of the protocol, as older papers do; they are context else.

    Raises:
        CorpusError: if the folder is not IEMOCAP, a file is damaged, or the counts differ and ``partial`` is False.
    """
    root = _top(root.resolve())
    log = DefectLog()
    turns = [turn for session in _sessions(root, partial) for turn in _read_session(session, log)]
    if not turns:
        raise not_the_corpus(root, "turn in Session*/dialog/EmoEvaluation/Ses*.txt", TREE)
    if not partial:
        _expect_release(turns)
    utterances = _utterances(root, turns, protocol, log)
    kept = [u for u in utterances if u.label is not None] if drop_unlabelled else utterances
    manifest = Manifest(
        corpus=protocol.name,
        label_set=protocol.label_set,
        utterances=log.marked(_numbered(kept)),
        root=root if any(u.audio or u.video for u in kept) else None,
        defects=log.defects(),
        provenance={
            "adapter": __name__,
            "protocol": protocol.name,
            "test_session": protocol.test_session,
            "partial": partial,
            "drop_unlabelled": drop_unlabelled,
        },
    )
    if not partial:
        expect_counts(manifest, protocol.counts)
    return manifest


def _top(root: Path) -> Path:
    below = root / "IEMOCAP_full_release"
    return below if below.is_dir() else root


def _sessions(root: Path, partial: bool) -> list[Path]:
    folders = [root / f"Session{number}" for number in SESSION_DIALOGUES]
    present = [folder for folder in folders if (folder / "dialog/EmoEvaluation").is_dir()]
    if not present or (len(present) < len(folders) and not partial):
        missing = next(folder for folder in folders if folder not in present)
        raise not_the_corpus(root, f"{missing.name}/dialog/EmoEvaluation", TREE)
    return present


def _read_session(session: Path, log: DefectLog) -> list[_Turn]:
    turns: list[_Turn] = []
    for path in sorted((session / "dialog/EmoEvaluation").iterdir()):
        if path.name.startswith("._"):
            log.add("macOS ._ file", "ignored", [str(path.relative_to(session.parent))])
        elif path.suffix == ".txt" and path.is_file() and _DIALOGUE.fullmatch(path.stem):
            turns += _read_turns(path, log)
    return turns


def _read_turns(path: Path, log: DefectLog) -> list[_Turn]:
    turns: dict[str, _Turn] = {}
    for line in read_lines(path):
        match = _TURN.fullmatch(line.text)
        if match is None:
            if line.text.startswith("["):
                raise CorpusError(
                    f"{line.where} is {shown(line.text)}, expected a turn as "
                    "`[6.2901 - 8.2357]`, its id, its label and `[2.5, 2.5, 2.5]` with tabs between them."
                )
            if not _BESIDE_TURNS.fullmatch(line.text):
                log.add("evaluation line of no known kind", "ignored", [_short(line.where, path)])
            continue
        if "XX" in match[3].rsplit("_", 1)[-1]:
            log.add("label line of a turn without a number (XX)", "skipped", [_short(line.where, path)])
            continue
        turn = _turn(path.stem, match, line.where)
        if turn.id in turns:
            raise CorpusError(f"{line.where} gives the turn {turn.id} again, first in {turns[turn.id].where}.")
        turns[turn.id] = turn
    return list(turns.values())


def _turn(dialogue: str, match: re.Match[str], where: str) -> _Turn:
    start_s, end_s, name, label = match.groups()
    if not re.fullmatch(rf"{re.escape(dialogue)}_[FM][0-9]{{3}}", name):
        raise CorpusError(
            f"{where}: the turn is called {shown(name)}, expected {dialogue}_ and F or M and three digits."
        )
    if label not in FILE_LABELS:
        raise CorpusError(f"{where}: the label is {shown(label)}, expected one of {', '.join(FILE_LABELS)}.")
    return _Turn(name, dialogue, float(start_s), float(end_s), label, where)


def _expect_release(turns: Sequence[_Turn]) -> None:
    """Refuse a copy whose dialogues or labels are not those of the release, whatever the protocol."""
    sessions = Counter(int(name[4]) for name in {turn.dialogue for turn in turns})
    labels = Counter(turn.label for turn in turns)
    found = [(f"dialogues in session {n}", sessions[n], SESSION_DIALOGUES[n]) for n in SESSION_DIALOGUES]
    found += [(f"turns labelled {label}", labels[label], number) for label, number in FILE_LABELS.items()]
    for what, number, expected in found:
        if number != expected:
            raise CorpusError(
                f"The copy has {number} {what}, expected {expected}. "
                "It is incomplete or altered: unpack it again, or accept it with --partial."
            )


def _utterances(root: Path, turns: Sequence[_Turn], protocol: Protocol, log: DefectLog) -> list[Utterance]:
    splits = protocol.splits({turn.dialogue for turn in turns})
    known = {turn.id for turn in turns}
    texts: dict[str, str] = {}
    films: dict[str, str | None] = {}
    for dialogue in dict.fromkeys(turn.dialogue for turn in turns):
        texts |= _read_transcript(root / _session(dialogue) / f"dialog/transcriptions/{dialogue}.txt", known, log)
        films[dialogue] = _film(root, dialogue, log)
    sounds = _sounds(root, turns, log)
    log.add("no transcript", "kept without text", (t.id for t in turns if t.id not in texts))
    log.add("span of zero length or negative", "kept without video", (t.id for t in turns if t.end_s <= t.start_s))
    _check_relabelled(turns, protocol)
    ordered = sorted(turns, key=lambda turn: (turn.dialogue, turn.start_s, turn.end_s, turn.id))
    return [
        _utterance(root, turn, protocol, splits[turn.dialogue], texts.get(turn.id), sounds, films) for turn in ordered
    ]


def _utterance(
    root: Path,
    turn: _Turn,
    protocol: Protocol,
    split: Split,
    text: str | None,
    sounds: dict[str, str],
    films: dict[str, str | None],
) -> Utterance:
    film = films[turn.dialogue] if turn.end_s > turn.start_s else None
    is_left = turn.dialogue[5] == turn.sex  # the name's letter is the sex of the actor with the markers, who sits left
    return Utterance(
        id=turn.id,
        corpus=protocol.name,
        split=split,
        dialogue=turn.dialogue,
        index=0,
        speaker=f"{turn.dialogue[:5]}_{turn.sex}",
        text=text,
        label=protocol.emotion(turn.id, turn.label),
        start_s=turn.start_s,
        end_s=turn.end_s,
        audio=sounds.get(turn.id),
        video=film,
        video_span=(turn.start_s, turn.end_s) if film else None,
        crop=("left" if is_left else "right") if film else None,
        source=turn.where.removeprefix(f"{root}/"),
    )


def _numbered(utterances: Iterable[Utterance]) -> list[Utterance]:
    places: Counter[str] = Counter()
    numbered = []
    for utterance in utterances:
        numbered.append(replace(utterance, index=places[utterance.dialogue]))
        places[utterance.dialogue] += 1
    return numbered


def _read_transcript(path: Path, known: set[str], log: DefectLog) -> dict[str, str]:
    """Text by turn id; what is no line of a known turn is counted and skipped."""
    if not path.is_file():
        log.add("dialogue without a file of transcripts", "kept without text", [path.stem])
        return {}
    texts: dict[str, str] = {}
    for line in read_lines(path):
        match = _SPOKEN.fullmatch(line.text.strip())
        where = [_short(line.where, path)]
        if match is None:
            if line.text.strip():
                log.add("transcript line that is no turn", "skipped", where)
        elif match[1] not in known:
            log.add("transcript line of a turn without a label line", "skipped", where)
        elif match[1] in texts:
            log.add("second transcript of a turn", "the first counts", [match[1]])
        elif match[4].strip():
            texts[match[1]] = match[4].strip()
            log.add("cp1252 bytes in the text", "decoded as cp1252", [match[1]] if line.is_repaired else [])
    return texts


def _sounds(root: Path, turns: Sequence[_Turn], log: DefectLog) -> dict[str, str]:
    """Path of each usable sentence file, by turn id."""
    sounds: dict[str, str] = {}
    silent = {
        s for s in dict.fromkeys(_session(t.dialogue) for t in turns) if not (root / s / "sentences/wav").is_dir()
    }
    log.add("session without sentences/wav", "its turns have no sound", sorted(silent))
    for turn in turns:
        session = _session(turn.dialogue)
        if session in silent:
            continue
        path = f"{session}/sentences/wav/{turn.dialogue}/{turn.id}.wav"
        problem = media_file(root, path)
        if problem is None:
            sounds[turn.id] = path
        else:
            log.add(f"sentence wav {problem}", "audio counts as missing", [turn.id])
    return sounds


def _film(root: Path, dialogue: str, log: DefectLog) -> str | None:
    path = f"{_session(dialogue)}/dialog/avi/DivX/{dialogue}.avi"
    problem = media_file(root, path)
    if problem is not None:
        log.add(f"dialogue avi {problem}", "video counts as missing in all its turns", [dialogue])
    return path if problem is None else None


def _check_relabelled(turns: Sequence[_Turn], protocol: Protocol) -> None:
    for turn in turns:
        if turn.id in protocol.relabelled and turn.label != "xxx":
            raise CorpusError(
                f"{turn.where} labels {turn.id} as {turn.label}, but {protocol.name} gives this turn an emotion "
                "because the release has none (xxx). Check the copy."
            )


def _session(dialogue: str) -> str:
    return f"Session{int(dialogue[3:5])}"


def _short(where: str, path: Path) -> str:
    """``where`` from the session's folder on: Session1/dialog/..."""
    return where.removeprefix(f"{path.parents[3]}/")
