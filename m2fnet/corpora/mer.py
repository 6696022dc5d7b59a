"""MER2023, MER2024 and MER2025 in, a manifest out: Chinese clips with six emotions and valence.

Lian et al., arXiv:2304.08981 (2023), arXiv:2404.17113 (2024), arXiv:2504.19423 (2025). The corpora are given out on
request; the layouts are those that the organisers' code reads (zeroQiaoba/MERTools).
"""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from m2fnet.corpora.base import MISSING_MEDIA, Counts, DefectLog, expect_counts, not_the_corpus
from m2fnet.corpora.label_sets import MER
from m2fnet.corpora.mer_labels import Labelled, read_label_csv, read_label_npz, read_names
from m2fnet.corpora.reading import read_csv
from m2fnet.errors import CorpusError, UsageError
from m2fnet.manifest import Manifest
from m2fnet.records import Annotation, Split, Utterance

_VIDEO = (".mp4", ".avi", ".mkv", ".webm")
_SUBTITLES = ("subtitle_chieng.csv", "transcription-engchi-polish.csv", "transcription_merge.csv", "transcription.csv")
_LANGUAGES = {"chinese": ("chinese", "sentence", "text"), "english": ("english",)}


@dataclass(frozen=True)
class Year:
    """The files of one challenge.

    Attributes:
        name: of the corpus.
        labels: CSV file of the labelled clips.
        tracks: test track -> CSV files that may list its clips, with labels or only names; the first that is there
            counts.
        npz: test track -> its part in ``label-6way.npz``, which may be there instead.
        folders: where the clips may be.
        labelled: published number of labelled clips.
        pool: published number of clips without a label, those of the test track included; None where the folders hold
            those of other tracks too.
        tests: published number of clips of a track, where it is known.
    """

    name: str
    labels: str
    tracks: Mapping[str, tuple[str, ...]]
    npz: Mapping[str, str]
    folders: tuple[str, ...]
    labelled: int
    pool: int | None
    tests: Mapping[str, int] = field(default_factory=dict)

    @property
    def tree(self) -> str:
        """The expected files in words."""
        tests = ", ".join(name for names in self.tracks.values() for name in names)
        return (
            f"{self.name}/\n"
            f"  {self.labels}             name, discrete, valence (or label-6way.npz for labels of all parts)\n"
            f"  {', '.join(f'{folder}/' for folder in self.folders)}    clips; any of these folders\n"
            "  audio/                    optional: the sound of each clip as .wav\n"
            f"  {' or '.join(_SUBTITLES)}    optional: name, chinese, english\n"
            f"  {tests}    optional: clips of the test tracks"
        )


YEARS = {
    "mer2023": Year(
        name="mer2023",
        labels="train-label.csv",
        tracks={"semi": ("test3-label.csv",), "multi": ("test1-label.csv",), "noise": ("test2-label.csv",)},
        npz={"semi": "test3_corpus", "multi": "test1_corpus", "noise": "test2_corpus"},
        folders=("video", "train", "test1", "test2", "test3"),
        labelled=3373,
        pool=None,  # 73,148, but the other tracks are in the same folders
        tests={"semi": 834, "multi": 411, "noise": 412},
    ),
    "mer2024": Year(
        name="mer2024",
        labels="label-disdim.csv",
        tracks={
            "semi": ("reference-semi.csv", "candidate_20000.csv"),
            "noise": ("reference-noise.csv", "candidate_20000.csv"),
        },
        npz={"semi": "test1_corpus", "noise": "test2_corpus"},
        folders=("video", "video-labeled", "video-unlabeled", "video-unlabeled-with-test2noise"),
        labelled=5030,
        pool=115_595,
    ),
    "mer2025": Year(
        name="mer2025",
        labels="track1_train_disdim.csv",
        tracks={"semi": ("track1_test_dis.csv", "track_all_candidates.csv")},
        npz={"semi": "test1_corpus"},
        folders=("video",),
        labelled=7369,
        pool=124_802,
    ),
}


def read_mer(
    root: Path,
    year: Year,
    *,
    track: str = "semi",
    language: str = "chinese",
    pool: bool = False,
    partial: bool = False,
) -> Manifest:
    """Manifest of one MER challenge; every clip is a dialogue of one utterance.

    Every tenth labelled clip in the order of names is dev, the others are train: the corpora have no official dev
    split. The test split has the clips of ``track``, unlabelled where only their names are known. Valence becomes an
    annotation.

    Args:
        root: folder as in ``year.tree``.
        year: one of `YEARS`.
        track: whose clips are the test split.
        language: of the subtitles, ``"chinese"`` or ``"english"``.
        pool: also take the clips without a label that are not in the test split, as unlabelled utterances of train.
        partial: accept other counts than the published ones.

    Raises:
        UsageError: if the year has no such track.
        CorpusError: if a file is missing or damaged, or the counts differ and ``partial`` is False.
    """
    if track not in year.tracks:
        raise UsageError(f"{year.name} has no track {track!r}; expected one of {', '.join(year.tracks)}.")
    root = root.resolve()
    log = DefectLog()
    labelled, test = _labels(root, year, track)
    twice = sorted(set(labelled) & set(test))
    log.add("clip of the test track that has a label in train", "in the test split only", twice)
    train = {name: label for name, label in labelled.items() if name not in test}
    dev = set(sorted(train)[9::10])
    videos, sounds = _clips(root, year.folders, _VIDEO), _clips(root, ("audio",), (".wav",))
    rest = sorted((set(videos) or set(sounds)) - set(train) - set(test))
    pooled = {name: Labelled(None, None, f"{videos.get(name) or sounds[name]}:1") for name in rest} if pool else {}
    texts = _texts(root, language)

    def utterance(name: str, label: Labelled, split: Split) -> Utterance:
        for kind, found in (("video", videos), ("audio", sounds)):
            if found and name not in found:
                log.add(f"{kind} file missing", f"{kind} counts as missing", [name], kind=MISSING_MEDIA)
        if texts and name not in texts:
            log.add("no subtitle", "kept without text", [name])
        return Utterance(
            id=name,
            corpus=year.name,
            split=split,
            dialogue=name,
            index=0,
            text=texts.get(name) or None,
            label=label.emotion,
            audio=sounds.get(name, videos.get(name)),
            video=videos.get(name),
            source=label.where,
        )

    utterances = [
        *(utterance(name, label, "dev" if name in dev else "train") for name, label in train.items()),
        *(utterance(name, label, "train") for name, label in pooled.items()),
        *(utterance(name, label, "test") for name, label in test.items()),
    ]
    manifest = Manifest(
        corpus=year.name,
        label_set=MER,
        utterances=log.marked(utterances),
        root=root if videos or sounds else None,
        defects=log.defects(),
        provenance={"adapter": __name__, "track": track, "language": language, "pool": pool, "partial": partial},
        annotations={
            name: Annotation(values={"valence": label.valence})
            for name, label in {**train, **test}.items()
            if label.valence is not None
        },
    )
    if not partial:
        unlabelled = len(set(rest) | (set(test) - set(labelled))) if pool and year.pool is not None else None
        _expect(manifest, year, track, len(labelled), unlabelled)
    return manifest


def _expect(manifest: Manifest, year: Year, track: str, labelled: int, pool: int | None) -> None:
    if track in year.tests and manifest.counts()["test"]["utterances"]:
        counts: dict[Split, Counts] = {"test": {"utterances": year.tests[track]}}
        expect_counts(manifest, counts)
    for what, number, expected in (
        ("labelled clips", labelled, year.labelled),
        ("clips without a label", pool, year.pool),
    ):
        if number not in (None, expected):
            raise CorpusError(
                f"{year.name} has {number} {what}, expected {expected}. The copy is incomplete or altered: unpack it "
                "again, or accept it with --partial."
            )


def _labels(root: Path, year: Year, track: str) -> tuple[dict[str, Labelled], dict[str, Labelled]]:
    """The labelled clips, and those of the test track."""
    archive = root / "label-6way.npz"
    table = root / year.labels
    if table.is_file():
        labelled = read_label_csv(table)
    elif archive.is_file():
        labelled = read_label_npz(archive, "train_corpus")
    else:
        raise not_the_corpus(root, year.labels, year.tree)
    listed = next((path for name in year.tracks[track] if (path := root / name).is_file()), None)
    if listed is not None:
        return labelled, read_names(listed) if "candidate" in listed.name else read_label_csv(listed)
    if archive.is_file():
        return labelled, read_label_npz(archive, year.npz[track], is_optional=True)
    return labelled, {}


def _clips(root: Path, folders: Iterable[str], suffixes: Collection[str]) -> dict[str, str]:
    """Path of each clip relative to ``root``, by its name; a plain file that is not empty."""
    clips: dict[str, str] = {}
    for folder in folders:
        if not (root / folder).is_dir():
            continue
        with os.scandir(root / folder) as entries:  # a hundred thousand files: one call each, not five
            for entry in entries:
                stem, _, suffix = entry.name.rpartition(".")
                if f".{suffix}" in suffixes and entry.is_file(follow_symlinks=False) and entry.stat().st_size:
                    clips.setdefault(stem, f"{folder}/{entry.name}")
    return clips


def _texts(root: Path, language: str) -> dict[str, str]:
    path = next((path for name in _SUBTITLES if (path := root / name).is_file()), None)
    if path is None:
        return {}
    rows = read_csv(path, ("name",))
    column = next((name for name in _LANGUAGES[language] if name in rows[0].cells), None)
    if column is None:
        raise CorpusError(f"{path} has no column for {language}; expected {' or '.join(_LANGUAGES[language])}.")
    return {row["name"]: row[column] for row in rows}
