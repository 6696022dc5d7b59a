"""M3ED's official annotation in, a manifest with label sets out. Zhao et al. 2022, ACL 2022.acl-long.391.

Chinese television dialogues; an utterance has one emotion or several, and the answers of three annotators.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from m2fnet.corpora.base import MISSING_MEDIA, Counts, DefectLog, expect_counts, media_file, not_the_corpus
from m2fnet.corpora.label_sets import M3ED, M3ED_DIALOGUES
from m2fnet.corpora.reading import read_lines, shown
from m2fnet.errors import CorpusError
from m2fnet.files import JsonObject, read_json
from m2fnet.manifest import Manifest
from m2fnet.records import Annotation, Split, Utterance

TREE = """M3ED/
  M3ED_annotation.json (or annotation.json)
  splitInfo/movie_list_train.txt  movie_list_val.txt  movie_list_test.txt
  video/A_anjia_1_1.mp4 ...  audio/A_anjia_1_1.wav ...    (optional: speaker and utterance)"""

Protocol = Literal["m3ed", "m3ed-dialogues"]
COUNTS: dict[Split, Counts] = {
    "train": {"dialogues": 685, "utterances": 17_427},
    "dev": {"dialogues": 126, "utterances": 2821},
    "test": {"dialogues": 179, "utterances": 4201},
}
_LISTS: dict[Split, str] = {"train": "train", "dev": "val", "test": "test"}
_EMOTIONS = {
    "Happy": "happy", "Neutral": "neutral", "Sad": "sad", "Disgust": "disgust", "Anger": "anger", "Fear": "fear",
    "Surprise": "surprise",
}  # fmt: skip
_TIME = re.compile(r"([0-9]{1,2}):([0-5]?[0-9]):([0-5]?[0-9])[:.,]([0-9]{1,3})")
_FRAMES_PER_SECOND = 25  # the last part of a time counts frames


@dataclass(frozen=True)
class _Spoken:
    """One utterance as the annotation has it."""

    id: str
    movie: str
    dialogue: str
    entry: JsonObject
    where: str


def read_m3ed(root: Path, protocol: Protocol = "m3ed", *, partial: bool = False) -> Manifest:
    """Manifest of M3ED in the official split by television series.

    Args:
        root: folder as in `TREE`.
        protocol: ``"m3ed"`` scores every utterance; ``"m3ed-dialogues"`` makes one sample of a dialogue, whose label
            set is the union over its utterances, as CARAT does.
        partial: accept a copy with other counts than the published ones.

    Raises:
        CorpusError: if the folder is not M3ED, an entry is damaged, or the counts differ and ``partial`` is False.
    """
    root = root.resolve()
    table = next((p for name in ("M3ED_annotation.json", "annotation.json") if (p := root / name).is_file()), None)
    if table is None:
        raise not_the_corpus(root, "M3ED_annotation.json", TREE)
    log = DefectLog()
    split_of = _splits(root)
    utterances: list[Utterance] = []
    annotations: dict[str, Annotation] = {}
    places: Counter[str] = Counter()
    for spoken in _spoken(table):
        split = split_of.get(spoken.movie)
        if split is None:
            log.add("series in no list of a split", "skipped", [f"{table.name}:{spoken.movie}"])
            continue
        labels, note = _labels(spoken)
        utterance = _utterance(root, spoken, split, places[spoken.dialogue], labels, log)
        places[spoken.dialogue] += 1
        utterances.append(utterance)
        annotations[utterance.id] = note
    if not utterances:
        raise CorpusError(f"{table} holds no utterance of a series in {root / 'splitInfo'}. Take both from one source.")
    manifest = Manifest(
        corpus="m3ed",
        label_set=M3ED,
        utterances=log.marked(utterances),
        root=root if any(u.audio or u.video for u in utterances) else None,
        defects=log.defects(),
        provenance={"adapter": __name__, "protocol": protocol, "partial": partial},
        annotations=annotations,
    )
    if not partial:
        expect_counts(manifest, COUNTS)
    return manifest if protocol == "m3ed" else one_sample_per_dialogue(manifest)


def one_sample_per_dialogue(manifest: Manifest) -> Manifest:
    """M3ED with one sample per dialogue: its texts one after another, and the union of its label sets.

    Scores of these samples say little about utterances and cannot be compared with those of ``m3ed``.
    """
    samples = []
    for dialogue in manifest.dialogues():
        present = {label for utterance in dialogue.utterances for label in utterance.labels or ()}
        first = dialogue.utterances[0]
        samples.append(
            Utterance(
                id=dialogue.id,
                corpus=M3ED_DIALOGUES.name,
                split=dialogue.split,
                dialogue=dialogue.id,
                index=0,
                text="\n".join(u.text for u in dialogue.utterances if u.text) or None,
                labels=tuple(label for label in M3ED.classes if label in present),
                source=first.source,
            )
        )
    spoken = {utterance.id for utterance in manifest.utterances}
    return Manifest(
        corpus=M3ED_DIALOGUES.name,
        label_set=M3ED_DIALOGUES,
        utterances=tuple(samples),
        defects=tuple(defect for defect in manifest.defects if not spoken.intersection(defect.ids)),
        provenance=manifest.provenance,
    )


def _splits(root: Path) -> dict[str, Split]:
    """The split of each series."""
    split_of: dict[str, Split] = {}
    for split, name in _LISTS.items():
        path = root / f"splitInfo/movie_list_{name}.txt"
        if not path.is_file():
            raise not_the_corpus(root, f"splitInfo/movie_list_{name}.txt", TREE)
        for line in read_lines(path):
            movie = line.text.strip()
            if movie and split_of.setdefault(movie, split) != split:
                raise CorpusError(f"{line.where} puts the series {movie} into {split}, it is in {split_of[movie]} too.")
    return split_of


def _spoken(table: Path) -> Iterator[_Spoken]:
    """The utterances of the annotation in its order: series, dialogue, utterance."""
    content = read_json(table, CorpusError, "Download the annotation again.")
    for movie, dialogues in content.items():
        for name, dialogue in _items(dialogues, f"{table}: series {movie}"):
            where = f"{table}: dialogue {name}"
            parts = dialogue.get("Dialog") if isinstance(dialogue, dict) else None
            for number, (key, entry) in enumerate(_items(parts, where)):
                if not isinstance(entry, dict):
                    raise CorpusError(f"{where}: {key} is a {type(entry).__name__}, expected an object.")
                yield _Spoken(key, movie, name, entry, f"{table.name}:{name}:{number}")


def _items(value: object, where: str) -> list[tuple[str, object]]:
    if not isinstance(value, dict) or not value:
        raise CorpusError(f"{where} holds {shown(json.dumps(value)[:80])}, expected an object that is not empty.")
    return list(value.items())


def _emotions(answer: object, spoken: _Spoken) -> tuple[str, ...]:
    names = [name.strip() for name in answer.split(",") if name.strip()] if isinstance(answer, str) else []
    wrong = [name for name in names if name not in _EMOTIONS]
    if wrong or not names:
        raise CorpusError(
            f"{spoken.where}: the emotions of {spoken.id} are {shown(str(answer))}, expected names of "
            f"{', '.join(_EMOTIONS)} with commas between them."
        )
    present = {_EMOTIONS[name] for name in names}
    return tuple(label for label in M3ED.classes if label in present)


def _labels(spoken: _Spoken) -> tuple[tuple[str, ...], Annotation]:
    """The agreed emotions, and how many annotators named each."""
    answers = spoken.entry.get("EmoAnnotation")
    if not isinstance(answers, Mapping):
        raise CorpusError(f"{spoken.where}: {spoken.id} has no EmoAnnotation.")
    raters = [answers[key] for key in ("EmoAnnotator1", "EmoAnnotator2", "EmoAnnotator3") if answers.get(key)]
    known = [
        [_EMOTIONS[name.strip()] for name in str(answer).split(",") if name.strip() in _EMOTIONS] for answer in raters
    ]
    votes = Counter(emotion for emotions in known for emotion in dict.fromkeys(emotions))
    labels = _emotions(answers.get("final_mul_emo"), spoken)
    return labels, Annotation(votes={"raters": dict(sorted(votes.items()))}, raters={"raters": len(raters)})


def _utterance(
    root: Path, spoken: _Spoken, split: Split, index: int, labels: tuple[str, ...], log: DefectLog
) -> Utterance:
    text, speaker = (spoken.entry.get(key) for key in ("Text", "Speaker"))
    name = f"{speaker}_{spoken.id}"
    media: dict[str, str | None] = {}
    for kind, suffix in (("audio", "wav"), ("video", "mp4")):
        media[kind] = None
        if (root / kind).is_dir():
            problem = media_file(root, f"{kind}/{name}.{suffix}")
            media[kind] = f"{kind}/{name}.{suffix}" if problem is None else None
            missing = [] if problem is None else [spoken.id]
            log.add(f"{kind} file {problem}", f"{kind} counts as missing", missing, kind=MISSING_MEDIA)
    start_s, end_s = (_seconds(spoken.entry.get(key)) for key in ("StartTime", "EndTime"))
    log.add("time that cannot be read", "kept without times", [spoken.id] if None in (start_s, end_s) else [])
    return Utterance(
        id=spoken.id,
        corpus="m3ed",
        split=split,
        dialogue=spoken.dialogue,
        index=index,
        speaker=f"{spoken.dialogue}_{speaker}" if speaker else None,
        text=str(text).strip() or None if text is not None else None,
        labels=labels,
        start_s=start_s,
        end_s=end_s,
        audio=media["audio"],
        video=media["video"],
        source=spoken.where,
    )


def _seconds(time: object) -> float | None:
    """Seconds of ``HH:MM:SS:FF``, whose last part counts frames."""
    match = _TIME.fullmatch(str(time))
    if match is None:
        return None
    hours, minutes, seconds, frames = map(int, match.groups())
    return round(hours * 3600 + minutes * 60 + seconds + frames / _FRAMES_PER_SECOND, 3)
