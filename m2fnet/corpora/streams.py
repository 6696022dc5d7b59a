"""Published sequences of features in, stores out: cleaned, cut to their real frames, and never larger than the file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from m2fnet.corpora.base import DefectLog
from m2fnet.errors import CorpusError, UsageError
from m2fnet.manifest import Manifest
from m2fnet.records import Modality
from m2fnet.store.layout import META, Missing
from m2fnet.store.writer import StoreWriter

Frames = NDArray[np.float32]
_MOST_EXPANSION = 64  # bytes of frames per byte of file; one array that occurs very often must not fill the disk


@dataclass(frozen=True)
class Stream:
    """The frames of one modality for all utterances of a corpus.

    Attributes:
        modality: what the frames are of.
        width: length D of a frame.
        frames: utterance id -> its frames (T, D), finite; None where the file has none.
        origin: the file and what was done, for the store's provenance.
    """

    modality: Modality
    width: int
    frames: Callable[[str], Frames | None]
    origin: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """A corpus that comes with features: its manifest, and streams by the name of their store."""

    manifest: Manifest
    streams: Mapping[str, Stream] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """What a file has of one utterance: a matrix (T, D) per modality, and how many frames are real where it says so."""

    id: str
    matrices: Mapping[Modality, NDArray[np.generic]]
    lengths: Mapping[Modality, int] = field(default_factory=dict)


def make_streams(
    path: Path, samples: Sequence[Sample], log: DefectLog, *, is_aligned: bool, padded: bool = False
) -> dict[str, Stream]:
    """The streams of ``samples``, whose defects go into ``log``; a stream is called as its modality.

    NaN and infinity become 0. Frames of zeros before the first and after the last real one are padding and are dropped;
    a modality that has only those is missing in that utterance.

    Args:
        path: the file the samples are from.
        samples: one per utterance, all with the same modalities.
        log: gets what was repaired and what is missing.
        is_aligned: frame t of all modalities is the same moment, so all are cut to the same frames.
        padded: keep every frame, padding included.

    Raises:
        CorpusError: if a matrix is not one of numbers, or two of a modality have different widths.
    """
    left = _MOST_EXPANSION * path.stat().st_size
    widths: dict[Modality, int] = {}
    spans: dict[str, dict[Modality, slice | None]] = {}
    for sample in samples:
        for modality, matrix in sample.matrices.items():
            if matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
                raise CorpusError(
                    f"{path} has {modality} of shape {matrix.shape} and type {matrix.dtype} for {sample.id}; expected "
                    "numbers (frames, width)."
                )
            if matrix.shape[1] != widths.setdefault(modality, matrix.shape[1]) or not matrix.shape[1]:
                raise CorpusError(
                    f"{path} has {modality} of width {matrix.shape[1]} for {sample.id}; expected "
                    f"{widths[modality] or 'at least 1'} as before it."
                )
            left -= 4 * matrix.size
            if left < 0:
                raise CorpusError(
                    f"Written out, the frames of {path} are more than {_MOST_EXPANSION} times its size, because one "
                    "array occurs very often in it. Take another copy."
                )
            values = np.asarray(matrix)
            if matrix.dtype.kind == "f" and not np.isfinite(values).all():
                what = "-inf" if np.isneginf(values).any() else "NaN or infinity"
                log.add(f"{modality} with {what}", "replaced by 0", [sample.id])
        spans[sample.id] = _spans(sample, is_aligned, padded)
    for modality in widths:
        absent = (sample.id for sample in samples if spans[sample.id][modality] is None)
        log.add(f"{modality} has no frame but padding", f"{modality} counts as missing", absent)
    by_id = {sample.id: sample for sample in samples}

    def frames_of(modality: Modality) -> Callable[[str], Frames | None]:
        def frames(name: str) -> Frames | None:
            span = spans[name][modality]
            return None if span is None else _finite(by_id[name].matrices[modality][span])

        return frames

    origin = {"imported": path.name, "padding": "kept" if padded else "dropped", "aligned": is_aligned}
    return {modality: Stream(modality, width, frames_of(modality), origin) for modality, width in widths.items()}


def write_streams(prepared: Prepared, saved: Manifest, folder: Path, *, overwrite: bool) -> list[Path]:
    """Write a store of sequences for each stream into ``folder`` and return their folders.

    Raises:
        UsageError: if one of them exists and ``overwrite`` is False.
    """
    used = [folder / name for name in prepared.streams if (folder / name / META).exists()]
    if used and not overwrite:
        raise UsageError(f"{used[0]} already holds a store; choose another --out, or replace it with --overwrite.")
    for name, stream in prepared.streams.items():
        with StoreWriter(
            folder / name,
            saved,
            modality=stream.modality,
            width=stream.width,
            extractor=dict(stream.origin),
            resolution="frame",
            replaces=True,
        ) as writer:
            for utterance in saved.utterances:
                frames = stream.frames(utterance.id)
                if frames is None:
                    writer.add_missing(utterance.id, Missing("import", "no frame but padding"))
                else:
                    writer.add(utterance.id, torch.from_numpy(frames))
    return [folder / name for name in prepared.streams]


def _finite(matrix: NDArray[np.generic]) -> Frames:
    """A copy as float32 with 0 for NaN and infinity, and for numbers beyond float32."""
    with np.errstate(over="ignore"):
        frames = matrix.astype(np.float32)
    frames[~np.isfinite(frames)] = 0
    return frames


def _spans(sample: Sample, is_aligned: bool, padded: bool) -> dict[Modality, slice | None]:
    """The real frames of each modality; None where there is none."""
    spans: dict[Modality, slice | None] = {}
    for modality, matrix in sample.matrices.items():
        real = np.flatnonzero(_finite(matrix).any(axis=1))
        end = min(sample.lengths.get(modality, len(matrix)), len(matrix))
        if not len(real) or not end:
            spans[modality] = None
        elif padded:
            spans[modality] = slice(0, len(matrix))
        elif modality in sample.lengths:
            spans[modality] = slice(0, end)
        else:
            spans[modality] = slice(int(real[0]), int(real[-1]) + 1)
    present = [span for span in spans.values() if span is not None]
    if is_aligned and present:
        whole = slice(min(span.start for span in present), max(span.stop for span in present))
        return {modality: None if span is None else whole for modality, span in spans.items()}
    return spans
