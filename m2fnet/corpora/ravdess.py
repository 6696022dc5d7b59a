"""RAVDESS in, a manifest out: acted speech of 24 actors. Livingstone and Russo 2018, doi:10.1371/journal.pone.0196391.

The facts are in the names of the files: ``03-01-06-01-02-01-12.wav`` is audio only, speech, fearful, normal, the second
sentence, its first repetition, actor 12.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from m2fnet.corpora.base import Counts, DefectLog, expect_counts, media_file, not_the_corpus
from m2fnet.corpora.label_sets import RAVDESS
from m2fnet.errors import CorpusError
from m2fnet.manifest import Manifest
from m2fnet.records import Split, Utterance

TREE = """RAVDESS/
  Actor_01/03-01-01-01-01-01-01.wav ...       sound (03); any folders, .wav or .flac
  Actor_01/01-01-01-01-01-01-01.mp4 ...       optional: film with sound (01), or without (02)"""

_NAME = re.compile(r"(0[123])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1[0-9]|2[0-4])\.(wav|flac|mp4)")
_SENTENCES = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}
_LAST_ACTOR: Mapping[Split, int] = {"train": 16, "dev": 20, "test": 24}  # ours: no actor is in two splits

# 60 utterances of each of the 24 actors: 4 are neutral, 8 of every other emotion
_ACTORS: Mapping[Split, int] = {"train": 16, "dev": 4, "test": 4}
COUNTS: dict[Split, Counts] = {
    split: {
        "utterances": 60 * actors,
        "labels": {emotion: (4 if emotion == "neutral" else 8) * actors for emotion in RAVDESS.classes},
    }
    for split, actors in _ACTORS.items()
}


def read_ravdess(root: Path, *, partial: bool = False) -> Manifest:
    """Manifest of the spoken part of RAVDESS in ``root``; every utterance is a dialogue of one.

    Actors 1 to 16 are train, 17 to 20 dev, 21 to 24 test. The song part is skipped.

    Args:
        root: folder as in `TREE`.
        partial: accept a copy with other counts than the published ones.

    Raises:
        CorpusError: if the folder holds no such file, or the counts differ and ``partial`` is False.
    """
    root = root.resolve()
    log = DefectLog()
    files: dict[str, dict[str, str]] = {}  # the last six numbers -> kind of file -> path
    for path in sorted(root.rglob("*")) if root.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        relative = path.relative_to(root).as_posix()
        if match is None:
            is_media = path.suffix in (".wav", ".flac", ".mp4")
            log.add("media file of another name", "ignored", [relative] if is_media else [])
        elif match[2] == "02":
            log.add("song", "skipped: only speech is read", [relative])
        elif (problem := media_file(root, relative)) is not None:
            log.add(f"media file {problem}", "ignored", [relative])
        else:
            files.setdefault(path.stem[3:], {}).setdefault(match[1], relative)
    unusable = [defect for defect in log.defects() if defect.what.startswith("media file ")]
    if unusable and not files:
        why = unusable[0].what.removeprefix("media file ")
        raise CorpusError(
            f"None of the files of speech in {root} can be used: {unusable[0].ids[0]} is {why}. Copy the files into "
            "the folder, or name with --root the folder that they are in."
        )
    if not files:
        raise not_the_corpus(root, "file of speech such as 03-01-01-01-01-01-01.wav", TREE)
    utterances = []
    for name, kinds in sorted(files.items()):
        emotion, _, sentence, _, actor = name.split("-")[1:]
        film = kinds.get("01") or kinds.get("02")
        sound = kinds.get("03") or kinds.get("01")
        log.add("film without sound, and no file of its sound", "kept without sound", [] if sound else [name])
        split = next(split for split, last in _LAST_ACTOR.items() if int(actor) <= last)
        utterances.append(
            Utterance(
                id=name,
                corpus=RAVDESS.name,
                split=split,
                dialogue=name,
                index=0,
                speaker=f"actor_{actor}",
                text=_SENTENCES[sentence],
                label=RAVDESS.classes[int(emotion) - 1],
                audio=sound,
                video=film,
                source=f"{sound or film}:1",
            )
        )
    manifest = Manifest(
        corpus=RAVDESS.name,
        label_set=RAVDESS,
        utterances=log.marked(utterances),
        root=root,
        defects=log.defects(),
        provenance={"adapter": __name__, "partial": partial},
    )
    if not partial:
        expect_counts(manifest, COUNTS)
    return manifest
