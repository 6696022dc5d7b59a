"""The pictures of an utterance in its manifest."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from extractors.base import Turn
from m2fnet.errors import MediaError
from m2fnet.media.container import bounds_of, open_video
from m2fnet.media.picture import is_picture
from m2fnet.media.video import Place, read_frames, times_in


@dataclass(frozen=True)
class Frames:
    """Which frames of an utterance are looked at.

    Attributes:
        count: how many.
        place: where in the utterance they lie; ``random`` is drawn once per utterance, from its id and ``seed``.
        max_side: larger frames are scaled down to this many pixels.
        seed: of the random place.
    """

    count: int
    place: Place
    max_side: int
    seed: int = 0

    def generator(self, turn: Turn) -> torch.Generator:
        """Draws the random place in the turn's utterance, the same each time."""
        digest = hashlib.sha256(f"{self.seed} {turn.utterance.id}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7]))


def utterance_frames(turn: Turn, which: Frames) -> Tensor:
    """RGB frames (T, H, W, 3) as uint8 of the turn's utterance.

    Raises:
        MediaError: if it has no picture that can be decoded.
    """
    return read_frames(
        _path(turn),
        count=which.count,
        place=which.place,
        span=turn.utterance.video_span,
        crop=turn.utterance.crop,
        max_side=which.max_side,
        generator=which.generator(turn),
    )


def utterance_times(turn: Turn, which: Frames) -> Tensor:
    """Seconds (T,) from the start of the utterance at which `utterance_frames` looks; 0 for a still image.

    Raises:
        MediaError: if it has no picture that can be decoded.
    """
    if is_picture(_path(turn)):
        return torch.zeros(1)
    start, stop = bounds_of(turn.utterance.video_span)
    with open_video(_path(turn)) as media:
        times = times_in(media, start, stop, count=which.count, place=which.place, generator=which.generator(turn))
    return torch.tensor(times) - start


def _path(turn: Turn) -> Path:
    if turn.utterance.video is None:
        raise MediaError("video", "the manifest names no picture")
    return turn.manifest.media_path(turn.utterance.video)
