"""What a visual extractor sees of a turn: the frames in which it looks for faces, and the faces that it finds there."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from m2fnet.model.record import Extractor, stage
from m2fnet.records import SeenFrame
from m2fnet.store import Missing

MOST_FACES = 10  # of a frame, the largest; a picture of a crowd has hundreds

Turn = Any  # an `extractors.base.Turn`
Shown = tuple[Sequence[int], Sequence[Any]]  # height and width of frames, and the `Face`s of each


def looks_for_faces(extractor: Extractor) -> bool:
    """Whether it has a ``detector`` of faces, and tells by ``which`` the frames that it looks at."""
    return hasattr(extractor, "detector") and hasattr(extractor, "which")


def embed_and_watch(
    extractor: Extractor,
    turns: Sequence[Turn],
    loading: Any,  # noqa: ANN401
) -> tuple[list[Tensor | Missing], list[tuple[SeenFrame, ...]]]:
    """The embedding of each turn, or why it has none, and what was seen of it on the way; nothing is looked at twice.

    Args:
        extractor: that `looks_for_faces`.
        turns: in a manifest.
        loading: an `extractors.embedding.Loading` without workers.
    """
    embedding = stage("extractors.embedding")
    outcomes: list[Any] = []
    seen: list[tuple[SeenFrame, ...]] = []
    for turn in turns:
        with _noting(extractor) as shown:
            outcomes += embedding.read(extractor, [turn], loading)
        seen.append(tuple(frame for one in shown for frame in _frames(extractor, turn, one)))
    samples = [outcome for outcome in outcomes if not isinstance(outcome, Missing)]
    vectors = iter(embedding.embed_samples(extractor, samples, loading))
    return [outcome if isinstance(outcome, Missing) else next(vectors) for outcome in outcomes], seen


@contextmanager
def _noting(extractor: Extractor) -> Iterator[list[Shown]]:
    """What the extractor's detector is shown, and what it finds, while the block lasts."""
    detector: Callable[[Tensor], Sequence[Any]] = extractor.detector
    shown: list[Shown] = []

    def noting(frames: Tensor) -> Sequence[Any]:
        found = detector(frames)
        shown.append((frames.shape[1:3], found))
        return found

    extractor.detector = noting
    try:
        yield shown
    finally:
        extractor.detector = detector


def _frames(extractor: Extractor, turn: Turn, shown: Shown) -> Iterator[SeenFrame]:
    (height, width), found = shown
    times = stage("extractors.visual.pictures").utterance_times(turn, extractor.which)
    start, _ = turn.utterance.video_span or (0.0, None)
    every = torch.linspace(0, len(times) - 1, len(found)).long()  # times that share a frame show it once
    for time, faces in zip(times[every].tolist(), found, strict=True):
        yield SeenFrame(round(start + time, 3), tuple(_shares(face.box, width, height) for face in faces[:MOST_FACES]))


def _shares(box: tuple[int, int, int, int], width: int, height: int) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return round(left / width, 4), round(top / height, 4), round(right / width, 4), round(bottom / height, 4)
