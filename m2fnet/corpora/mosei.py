"""CMU-MOSEI's published feature files in, a manifest with label sets and stores of sequences out.

Bagher Zadeh et al. 2018, ACL P18-1208. An emotion is present where its intensity is above 0, so a set may be empty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from m2fnet.corpora.base import Counts, DefectLog, expect_counts, not_the_corpus
from m2fnet.corpora.label_sets import MOSEI
from m2fnet.corpora.mosei_labels import Segment, read_segments
from m2fnet.corpora.streams import Prepared, Sample, Stream, make_streams
from m2fnet.errors import CorpusError
from m2fnet.manifest import Manifest
from m2fnet.records import Annotation, LabelSet, Modality, Split, Utterance
from m2fnet.store.safe_pickle import load_plain
from m2fnet.store.torch_file import load_torch

Protocol = Literal["aligned", "unaligned", "mmsa-aligned", "mmsa-unaligned", "labels"]

TREE = """MOSEI/                             (each file here or in a folder in it)
  train_valid_test.pt               --protocol aligned, unaligned: label sets; frames aligned to words
  mosei_senti_data_noalign.pkl      --protocol unaligned: frames
  aligned_50.pkl, unaligned_50.pkl  --protocol mmsa-aligned, mmsa-unaligned: frames and texts
  label.csv                         --protocol mmsa-..., labels: intensities of the emotions by video and clip"""

_ALIGNED = "train_valid_test.pt"
_UNALIGNED = "mosei_senti_data_noalign.pkl"
_SPLITS: dict[str, Split] = {"train": "train", "valid": "dev", "test": "test"}
_FIRST_TOKEN = 4  # the number of the first emotion in a list of tokens; 2 begins it, 3 ends it
_KEYS: dict[Modality, tuple[str, ...]] = {
    "text": ("src-text", "text"),
    "audio": ("src-audio", "audio"),
    "visual": ("src-visual", "vision"),
}

COUNTS: dict[Split, Counts] = {
    "train": {"utterances": 16_326},
    "dev": {"utterances": 1871},
    "test": {"utterances": 4659},
}
TEST_LABELS = dict(zip(MOSEI.classes, (2502, 1129, 1071, 441, 805, 385), strict=True))
# a table of all segments has four more than the feature files
SEGMENTS: dict[Split, Counts] = {
    "train": {"utterances": 16_327},
    "dev": {"utterances": 1871},
    "test": {"utterances": 4662},
}


def read_mosei(root: Path, protocol: Protocol, *, partial: bool = False, padded: bool = False) -> Prepared:
    """CMU-MOSEI as one of its published copies has it: a manifest, and streams where the copy has frames.

    Args:
        root: folder as in `TREE`.
        protocol: which of its files are read.
        partial: accept other counts than the published ones.
        padded: keep the frames of zeros that fill up the sequences, as the released networks read them.

    Raises:
        UnsafePickleError: if a file holds more than plain data.
        CorpusError: if a file is missing or damaged, two files do not fit each other, or the counts differ and
            ``partial`` is False.
    """
    root = root.resolve()
    log = DefectLog()
    corpus = f"mosei-{protocol}"
    streams: dict[str, Stream] = {}
    annotations: dict[str, Annotation] = {}
    if protocol in ("aligned", "unaligned"):
        path = _file(root, _ALIGNED)
        rows = read_token_file(path, MOSEI, log)
        if protocol == "unaligned":
            path = _file(root, _UNALIGNED)
            rows = _joined(path, rows)
    else:
        table = _file(root, "label.csv")
        segments = read_segments(table, log)
        path = table if protocol == "labels" else _file(root, f"{protocol.removeprefix('mmsa-')}_50.pkl")
        rows = _segment_rows(segments, table) if protocol == "labels" else _with_labels(path, table, segments)
        annotations = {row.sample.id: segments[row.sample.id].annotation for row in rows}
    if protocol != "labels":
        samples = [row.sample for row in rows]
        streams = make_streams(path, samples, log, is_aligned=not protocol.endswith("unaligned"), padded=padded)
    manifest = _with_names_as_published(
        Manifest(
            corpus=corpus,
            label_set=MOSEI,
            utterances=log.marked(_utterances(rows, corpus)),
            defects=log.defects(),
            provenance={"adapter": __name__, "protocol": protocol, "partial": partial, "padded": padded},
            annotations=annotations,
        )
    )
    if not partial:
        is_table = manifest.counts()["train"]["utterances"] == SEGMENTS["train"]["utterances"]
        expect_counts(manifest, SEGMENTS if protocol == "labels" and is_table else COUNTS)
        if protocol in ("aligned", "unaligned"):
            expect_counts(manifest, {"test": {"labels": TEST_LABELS}})
    return Prepared(manifest, streams)


@dataclass(frozen=True)
class Row:
    """One row of a feature file: a sample, its place, and what is known of its utterance."""

    sample: Sample
    split: Split
    labels: tuple[str, ...] | None
    where: str
    dialogue: str
    order: float = 0.0  # in its video
    text: str | None = None
    span: tuple[float, float] | None = None


def _utterances(rows: Sequence[Row], corpus: str) -> list[Utterance]:
    """The utterances of the rows, those of a video together and in order; who speaks in a video is its only speaker."""
    videos: dict[str, list[Row]] = {}
    for row in rows:
        videos.setdefault(row.dialogue, []).append(row)
    return [
        Utterance(
            id=row.sample.id,
            corpus=corpus,
            split=row.split,
            dialogue=video,
            index=index,
            speaker=video if video != row.sample.id else None,
            text=row.text,
            labels=row.labels,
            start_s=row.span[0] if row.span else None,
            end_s=row.span[1] if row.span else None,
            source=row.where,
        )
        for video, members in videos.items()
        for index, row in enumerate(sorted(members, key=lambda row: row.order))
    ]


def read_token_file(path: Path, label_set: LabelSet, log: DefectLog) -> list[Row]:
    """The samples of a file such as ``train_valid_test.pt``: label sets as lists of tokens, frames per modality.

    The file knows no videos, so every sample is a dialogue of one utterance, ``train_0``.

    Raises:
        CorpusError: if it is not such a file, or a list of tokens is wrong; the message names split and row.
    """
    content = load_torch(path)
    _report_names(content, label_set, path, log)
    rows = []
    for name, split in _SPLITS.items():
        part = _part(path, content, name, ("tgt",))
        count = len(_sequence(path, name, "tgt", part["tgt"]))
        columns = _columns(path, name, part, count)
        for number, tokens in enumerate(_sequence(path, name, "tgt", part["tgt"])):
            where = f"{path.name}:{name}:{number}"
            labels = _labels(tokens, label_set, where)
            sample = Sample(f"{split}_{number}", {modality: column[number] for modality, column in columns.items()})
            rows.append(Row(sample, split, labels, where, sample.id))
    return rows


def _report_names(content: object, label_set: LabelSet, path: Path, log: DefectLog) -> None:
    """Log where the file's own dictionary gives a token another name than its place in the label set."""
    names = content.get("dict") if isinstance(content, dict) else None
    tokens = names.get("tgt") if isinstance(names, dict) else None
    if not isinstance(tokens, dict):
        return
    known = {str(name).lower(): number for name, number in tokens.items()}
    aliases = {"happiness": "happy", "sadness": "sad", "angry": "anger", "surprised": "surprise"}
    known = {aliases.get(name, name): number for name, number in known.items()}
    wrong = [
        name
        for number, name in enumerate(label_set.classes, start=_FIRST_TOKEN)
        if name.lower() in known and known[name.lower()] != number
    ]
    if wrong:
        log.add(
            f"{path.name} exchanges the names of {' and '.join(wrong)}",
            "the place of a token counts, whose published counts fit",
            ["train", "dev", "test"],
        )


def _labels(tokens: object, label_set: LabelSet, where: str) -> tuple[str, ...]:
    classes = label_set.classes
    last = _FIRST_TOKEN + len(classes) - 1
    match tokens.tolist() if isinstance(tokens, np.ndarray) else tokens:
        case [2, *numbers, 3] if all(type(n) is int and _FIRST_TOKEN <= n <= last for n in numbers):
            return tuple(name for number, name in enumerate(classes, start=_FIRST_TOKEN) if number in numbers)
        case other:
            raise CorpusError(
                f"{where} has the tokens {str(other)[:60]}; expected 2, the emotions from {_FIRST_TOKEN} to {last}, "
                "and 3."
            )


def _joined(path: Path, tokens: Sequence[Row]) -> list[Row]:
    """The rows of the file of unaligned frames with the label sets of the same rows of the aligned file."""
    content = load_plain(path, texts=True)
    rows = []
    for name, split in _SPLITS.items():
        part = _part(path, content, name, ())
        labelled = [row for row in tokens if row.split == split]
        columns = _columns(path, name, part, len(labelled))
        spans = _video_spans(part.get("id"), len(labelled))
        for number, row in enumerate(labelled):
            matrices = {modality: column[number] for modality, column in columns.items()}
            joined = replace(row, sample=Sample(row.sample.id, matrices), where=f"{path.name}:{name}:{number}")
            if spans is not None:
                video, start_s, end_s = spans[number]
                joined = replace(joined, dialogue=video, order=start_s, span=(max(start_s, 0.0), max(end_s, 0.0)))
            rows.append(joined)
    return rows


def _video_spans(ids: object, count: int) -> list[tuple[str, float, float]] | None:
    """Video, start and end of each row, where the file has them."""
    rows = ids.tolist() if isinstance(ids, np.ndarray) else ids
    if not isinstance(rows, list | tuple) or len(rows) != count:
        return None
    spans = []
    for row in rows:
        cells = row if isinstance(row, list | tuple) else ()
        names = [cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell) for cell in cells]
        try:
            spans.append((names[0], float(names[1]), float(names[2])))
        except (IndexError, ValueError):
            return None
    return spans


def _with_labels(path: Path, table: Path, segments: Mapping[str, Segment]) -> list[Row]:
    """The rows of an MMSA file with the label sets of the table, joined by video and clip."""
    content = load_plain(path, texts=True)
    rows = []
    for name, split in _SPLITS.items():
        part = _part(path, content, name, ("id",))
        ids = _sequence(path, name, "id", part["id"])
        columns = _columns(path, name, part, len(ids))
        texts = _sequence(path, name, "raw_text", part["raw_text"]) if "raw_text" in part else None
        for number, key in enumerate(ids):
            video, _, clip = str(key).partition("$_$")
            where = f"{path.name}:{name}:{number}"
            segment = segments.get(f"{video}_{clip}")
            if segment is None:
                raise CorpusError(
                    f"{where} is the clip {str(key)[:80]!r}, of which {table} has no row with that video and clip."
                )
            matrices = {modality: column[number] for modality, column in columns.items()}
            text = str(texts[number]) if texts is not None else segment.text
            sample = Sample(segment.id, matrices, _lengths(part, number))
            rows.append(Row(sample, split, segment.labels, where, video, segment.order, text, segment.span))
    return rows


def _lengths(part: Mapping[object, object], number: int) -> dict[Modality, int]:
    """How many frames are real, where the file says so: by lists of lengths, and the mask of BERT's tokens."""
    lengths: dict[Modality, int] = {}
    for modality, key in (("audio", "audio_lengths"), ("visual", "vision_lengths")):
        values = part.get(key)
        if isinstance(values, list | np.ndarray) and len(values) > number:
            lengths["audio" if modality == "audio" else "visual"] = int(values[number])
    tokens = part.get("text_bert")
    if isinstance(tokens, np.ndarray) and tokens.ndim == 3 and tokens.shape[1] == 3 and len(tokens) > number:
        lengths["text"] = int(tokens[number, 1].sum())
    return lengths


def _segment_rows(segments: Mapping[str, Segment], table: Path) -> list[Row]:
    rows = [
        Row(Sample(name, {}), part.split, part.labels, part.where, part.video, part.order, part.text, part.span)
        for name, part in segments.items()
        if part.split is not None
    ]
    if not rows:
        raise CorpusError(
            f"{table} puts no segment into a split; expected a column mode or split with train, valid or test."
        )
    return rows


def _with_names_as_published(manifest: Manifest) -> Manifest:
    """The manifest, with surprise and fear exchanged where its counts are those of the other one."""
    counts = manifest.counts()["test"]["labels"]
    exchanged = {"surprise": "fear", "fear": "surprise"}
    if any(counts[name] != TEST_LABELS[other] for name, other in exchanged.items()):
        return manifest
    log = DefectLog()
    log.add("names of surprise and fear exchanged, by their published counts", "exchanged back", _SPLITS.values())

    def right(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        changed = {exchanged.get(name, name) for name in names or ()}
        return None if names is None else tuple(name for name in MOSEI.classes if name in changed)

    return replace(
        manifest,
        utterances=tuple(replace(u, labels=right(u.labels)) for u in manifest.utterances),
        defects=(*manifest.defects, *log.defects()),
        annotations={
            name: replace(
                note,
                values={exchanged.get(key, key): value for key, value in note.values.items()},
                votes={
                    group: {exchanged.get(key, key): number for key, number in votes.items()}
                    for group, votes in note.votes.items()
                },
            )
            for name, note in manifest.annotations.items()
        },
    )


def _file(root: Path, name: str) -> Path:
    found = [path for path in (root / name, *sorted(root.glob(f"*/{name}"))) if path.is_file()]
    if not found:
        raise not_the_corpus(root, name, TREE)
    return found[0]


def _part(path: Path, content: object, split: str, needed: Sequence[str]) -> dict[object, object]:
    part = content.get(split) if isinstance(content, dict) else None
    if not isinstance(part, dict) or any(key not in part for key in needed):
        keys = ", ".join(str(key)[:30] for key in list(part)[:10]) if isinstance(part, dict) else "nothing"
        raise CorpusError(
            f"{path} has {keys} for the split {split!r}; expected a dict with "
            f"{', '.join(needed) or 'text, audio, vision'}. Expected these files:\n{TREE}"
        )
    return part


def _sequence(path: Path, split: str, key: str, value: object) -> Sequence[object] | NDArray[np.generic]:
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0):
        return value
    raise CorpusError(f"{path} has a {type(value).__name__} for {split}/{key}; expected a list or an array.")


def _columns(
    path: Path, split: str, part: Mapping[object, object], count: int
) -> dict[Modality, list[NDArray[np.generic]]]:
    """The matrices of each modality of a split, one per row."""
    columns: dict[Modality, list[NDArray[np.generic]]] = {}
    for modality, keys in _KEYS.items():
        key = next((key for key in keys if key in part), None)
        if key is None:
            raise CorpusError(f"{path} has no {' or '.join(keys)} for the split {split!r}; expected all modalities.")
        values = _sequence(path, split, key, part[key])
        if len(values) != count:
            raise CorpusError(
                f"{path} has {len(values)} rows of {key} for {split!r}, but there are {count} label sets; expected as "
                "many. Take both files from the same source."
            )
        columns[modality] = [np.asarray(value) for value in values]
    return columns
