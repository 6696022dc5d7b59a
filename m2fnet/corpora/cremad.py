"""CREMA-D in, a manifest out: 12 sentences acted by 91 actors. Cao et al. 2014, doi:10.1109/TAFFC.2014.2336244.

The acted emotion is in the name of a file, ``1001_DFA_ANG_XX.wav``. What its raters perceived, from the voice, the face
and both, is in ``processedResults/tabulatedVotes.csv``.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from m2fnet.corpora.base import MISSING_MEDIA, DefectLog, media_file, not_the_corpus
from m2fnet.corpora.label_sets import CREMAD, CREMAD_VOTES
from m2fnet.corpora.reading import read_csv, shown
from m2fnet.errors import CorpusError
from m2fnet.manifest import Manifest
from m2fnet.records import Annotation, Split, Utterance

TREE = """CREMA-D/
  AudioWAV/1001_DFA_ANG_XX.wav ...
  VideoFlash/1001_DFA_ANG_XX.flv ...           (optional)
  processedResults/tabulatedVotes.csv          (optional; needed for --protocol cremad-votes)"""

Protocol = Literal["cremad", "cremad-votes"]
_NAME = re.compile(r"(1[0-9]{3})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX|X)")
_EMOTIONS = dict(zip(("ANG", "DIS", "FEA", "HAP", "NEU", "SAD"), CREMAD.classes, strict=True))
_SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
_GROUPS = {"1": "voice", "2": "face", "3": "both"}  # the first of the six digits that number a row
_LAST_ACTOR: Mapping[Split, int] = {"train": 1063, "dev": 1077, "test": 1091}  # ours: no actor is in two splits
_ACTED = (1271, 1271, 1271, 1271, 1087, 1271)


def read_cremad(
    root: Path, protocol: Protocol = "cremad", *, least_share: float = 0.2, partial: bool = False
) -> Manifest:
    """Manifest of CREMA-D in ``root``; every clip is a dialogue of one utterance.

    Actors 1001 to 1063 are train, 1064 to 1077 dev, 1078 to 1091 test; the corpus has no official split. The votes of
    all three groups of raters become annotations.

    Args:
        root: folder as in `TREE`.
        protocol: ``"cremad"``: the acted emotion; ``"cremad-votes"``: the set of emotions that raters of sound and
            picture together perceived.
        least_share: share of these raters, above 0, from which an emotion is in the set.
        partial: accept a copy with other counts than the published ones.

    Raises:
        CorpusError: if the folder is not CREMA-D, a row of votes is damaged, or the counts differ and ``partial`` is
            False.
    """
    root = root.resolve()
    log = DefectLog()
    folder = root / "AudioWAV"
    names = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if _NAME.fullmatch(path.stem) and path.suffix == ".wav" and path.stem.split("_")[1] in _SENTENCES:
            names.append(path.stem)
        else:
            log.add("file of another name", "ignored", [f"AudioWAV/{path.name}"])
    if not names:
        raise not_the_corpus(root, "AudioWAV/1001_DFA_ANG_XX.wav", TREE)
    votes = _votes(root, log)
    is_set = protocol == "cremad-votes"
    if is_set and not votes:
        raise not_the_corpus(root, "processedResults/tabulatedVotes.csv", TREE)
    utterances = []
    for name in names:
        actor, sentence, emotion, _ = name.split("_")
        media: dict[str, str | None] = {}
        for kind, relative in (("audio", f"AudioWAV/{name}.wav"), ("video", f"VideoFlash/{name}.flv")):
            problem = media_file(root, relative) if (root / relative).parent.is_dir() else "missing"
            media[kind] = relative if problem is None else None
            if kind == "audio" or (root / "VideoFlash").is_dir():
                log.add(
                    f"{kind} file {problem}", f"{kind} counts as missing", [name] if problem else [], kind=MISSING_MEDIA
                )
        note = votes.get(name)
        perceived = note is not None and note.raters.get("both", 0) > 0
        if is_set and not perceived:
            log.add("clip without votes on sound and picture", "unlabelled", [name])
        utterances.append(
            Utterance(
                id=name,
                corpus=protocol,
                split=next((s for s, last in _LAST_ACTOR.items() if int(actor) <= last), "test"),
                dialogue=name,
                index=0,
                speaker=f"actor_{actor}",
                text=_SENTENCES[sentence],
                label=None if is_set else _EMOTIONS[emotion],
                labels=tuple(e for e in CREMAD.classes if note.share("both", e) >= least_share)
                if is_set and note is not None and perceived
                else None,
                audio=media["audio"],
                video=media["video"],
                source=f"AudioWAV/{name}.wav:1",
            )
        )
    manifest = Manifest(
        corpus=protocol,
        label_set=CREMAD_VOTES if is_set else CREMAD,
        utterances=log.marked(utterances),
        root=root if any(u.audio or u.video for u in utterances) else None,
        defects=log.defects(),
        provenance={"adapter": __name__, "protocol": protocol, "least_share": least_share, "partial": partial},
        annotations={name: votes[name] for name in names if name in votes},
    )
    if not partial:
        _expect_corpus(names)
    return manifest


def _expect_corpus(names: list[str]) -> None:
    """Refuse a copy without all 7,442 clips of 91 actors."""
    acted = [name.split("_")[2] for name in names]
    actors = {name[:4] for name in names}
    found = [("actors", len(actors), 91)]
    found += [(f"clips of {code}", acted.count(code), n) for code, n in zip(_EMOTIONS, _ACTED, strict=True)]
    for what, number, expected in found:
        if number != expected:
            raise CorpusError(
                f"The copy has {number} {what}, expected {expected}. Download the missing files (they are in Git LFS), "
                "or accept it with --partial."
            )


def _votes(root: Path, log: DefectLog) -> dict[str, Annotation]:
    """The votes on each clip; none where the copy does not have them."""
    path = root / "processedResults/tabulatedVotes.csv"
    if not path.is_file():
        return {}
    counts: dict[str, dict[str, dict[str, int]]] = {}
    raters: dict[str, dict[str, int]] = {}
    for row in read_csv(path, ("fileName", "numResponses", "A", "D", "F", "H", "N", "S")):
        number = next(iter(row.cells.values())) or ""
        group = _GROUPS.get(number[:1]) if re.fullmatch(r"[0-9]{6}", number) else None
        if group is None:
            raise CorpusError(
                f"{row.where}: the row is called {shown(number)}, expected six digits, of which the first is 1 for "
                "voice, 2 for face or 3 for both."
            )
        chosen = {emotion: row.integer(emotion[0].upper()) for emotion in CREMAD.classes}
        counts.setdefault(row["fileName"], {})[group] = {emotion: n for emotion, n in chosen.items() if n}
        raters.setdefault(row["fileName"], {})[group] = sum(chosen.values())
        if sum(chosen.values()) != row.integer("numResponses"):
            log.add("votes that do not sum to the number of responses", "the votes count", [row["fileName"]])
    return {name: Annotation(votes=groups, raters=raters[name]) for name, groups in counts.items()}
