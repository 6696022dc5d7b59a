"""The frames of an utterance in which a visual extractor searches for faces, and the faces it finds there."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor

from extractors.base import Extractor, PlacedUtterance, Sample
from extractors.extraction.embedding import Loading, embed_samples, read
from extractors.visual.pictures import Frames, utterance_times
from m2fnet.records import SeenFrame
from m2fnet.store import Missing

if TYPE_CHECKING:
    from m2fnet.media.faces import Face  # brings the detector's networks along

MOST_FACES = 10  # of a frame, the largest; a picture of a crowd has hundreds

Shown = tuple[Sequence[int], "Sequence[Sequence[Face]]"]  # height and width of frames, and the faces of each


class LooksForFaces(Protocol):
    """An extractor with a ``detector`` of faces; its attribute ``which`` says in which frames it searches."""

    detector: "Callable[[Tensor], Sequence[Sequence[Face]]]"
    which: Frames


def looks_for_faces(extractor: Extractor) -> bool:
    """Whether it has a ``detector`` of faces, and says by ``which`` in which frames it searches."""
    return hasattr(extractor, "detector") and hasattr(extractor, "which")


def embed_and_watch(
    extractor: Extractor,
    utterances: Sequence[PlacedUtterance],
    loading: Loading,
) -> tuple[list[Tensor | Missing], list[tuple[SeenFrame, ...]]]:
    """The embedding of each utterance, or why it has none, and the frames that were searched for it, each once.

    Args:
        extractor: one that `looks_for_faces`.
        utterances: with their places in a manifest.
        loading: an `extractors.extraction.embedding.Loading` without workers.
    """
    watcher = cast(LooksForFaces, extractor)
    outcomes: list[Sample | Missing] = []
    seen: list[tuple[SeenFrame, ...]] = []
    for placed in utterances:
        with _noting(watcher) as shown:
            outcomes += read(extractor, [placed], loading)
        seen.append(tuple(frame for one in shown for frame in _frames(watcher, placed, one)))
    samples = [outcome for outcome in outcomes if not isinstance(outcome, Missing)]
    vectors = iter(embed_samples(extractor, samples, loading))
    return [outcome if isinstance(outcome, Missing) else next(vectors) for outcome in outcomes], seen


@contextmanager
def _noting(extractor: LooksForFaces) -> Iterator[list[Shown]]:
    """The frames that the extractor's detector gets in the block, and the faces it finds."""
    detector = extractor.detector
    shown: list[Shown] = []

    def noting(frames: Tensor) -> "Sequence[Sequence[Face]]":
        found = detector(frames)
        shown.append((frames.shape[1:3], found))
        return found

    extractor.detector = noting
    try:
        yield shown
    finally:
        extractor.detector = detector


def _frames(extractor: LooksForFaces, placed: PlacedUtterance, shown: Shown) -> Iterator[SeenFrame]:
    (height, width), found = shown
    times = utterance_times(placed, extractor.which)
    start, _ = placed.utterance.video_span or (0.0, None)
    every = torch.linspace(0, len(times) - 1, len(found)).long()  # times that share a frame show it once
    for time, faces in zip(times[every].tolist(), found, strict=True):
        yield SeenFrame(round(start + time, 3), tuple(_shares(face.box, width, height) for face in faces[:MOST_FACES]))


def _shares(box: tuple[int, int, int, int], width: int, height: int) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return round(left / width, 4), round(top / height, 4), round(right / width, 4), round(bottom / height, 4)
