"""The pictures of an utterance in its manifest."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from extractors.base import PlacedUtterance
from m2fnet.errors import MediaError
from m2fnet.media.container import bounds_of, open_video
from m2fnet.media.picture import is_picture
from m2fnet.media.video import Place, read_frames, times_in


@dataclass(frozen=True)
class Frames:
    """Which frames of an utterance are looked at.

    Attributes:
        count: how many.
        place: where in the utterance they are; ``random`` is drawn once per utterance, from its id and ``seed``.
        max_side: larger frames are scaled down to this many pixels.
        seed: of the random place.
    """

    count: int
    place: Place
    max_side: int
    seed: int = 0

    def generator(self, placed: PlacedUtterance) -> torch.Generator:
        """Draws the random place in the utterance, the same each time."""
        digest = hashlib.sha256(f"{self.seed} {placed.utterance.id}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7]))


def utterance_frames(placed: PlacedUtterance, which: Frames) -> Tensor:
    """RGB frames (T, H, W, 3) as uint8 of the utterance.

    Raises:
        MediaError: if it has no picture that can be decoded.
    """
    frames = read_frames(
        _path(placed),
        count=which.count,
        place=which.place,
        span=placed.utterance.video_span,
        crop=placed.utterance.crop,
        max_side=which.max_side,
        generator=which.generator(placed),
    )
    return frames if placed.noise is None else placed.noise.seen(frames)


def utterance_times(placed: PlacedUtterance, which: Frames) -> Tensor:
    """Seconds (T,) from the start of the utterance at which `utterance_frames` looks; 0 for a still image.

    Raises:
        MediaError: if it has no picture that can be decoded.
    """
    if is_picture(_path(placed)):
        return torch.zeros(1)
    start, stop = bounds_of(placed.utterance.video_span)
    with open_video(_path(placed)) as media:
        times = times_in(media, start, stop, count=which.count, place=which.place, generator=which.generator(placed))
    return torch.tensor(times) - start


def _path(placed: PlacedUtterance) -> Path:
    if placed.utterance.video is None:
        raise MediaError("video", "the manifest names no picture")
    return placed.manifest.media_path(placed.utterance.video)
