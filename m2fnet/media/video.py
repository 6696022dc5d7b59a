"""A few frames of a clip."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from torch import Tensor

from m2fnet.errors import MediaError
from m2fnet.media.container import Media, open_video
from m2fnet.media.picture import is_picture, read_picture
from m2fnet.records import Crop

Place = Literal["spread", "centre", "start", "random"]
_FAR = 5.0  # seconds to the next wanted frame from which a seek is cheaper than decoding on


def read_frames(
    path: Path,
    *,
    count: int,
    place: Place = "spread",
    span: tuple[float, float] | None = None,
    crop: Crop | None = None,
    max_side: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """RGB frames (T, H, W, 3) as uint8, 1 <= T <= ``count``; fewer where the clip has fewer.

    Args:
        path: the clip, or a still image, which is a clip of one frame.
        count: how many frames.
        place: spread evenly over the clip, or successive frames in its centre, at its start or at a random place.
        span: the part of the clip to look at, in seconds; the whole clip when None.
        crop: keep this half of the frame.
        max_side: frames are scaled down until the longer side of the whole frame has at most this many pixels.
        generator: draws the random place.

    Raises:
        MediaError: if there is no picture or it cannot be decoded.
    """
    start, stop = span or (0.0, math.inf)
    if not 0 <= start < stop:
        raise MediaError("span", "the span is empty")
    if is_picture(path):
        return torch.from_numpy(_half(read_picture(path, max_side)[None], crop))
    with open_video(path) as media:
        duration = media.duration
        if duration is not None and start >= duration:
            raise MediaError("span", "the span begins after the end of the pictures")
        stop = min(stop, duration if duration is not None else _container_duration(media))
        rate = float(media.stream.average_rate or 25)
        times = frame_times(start, max(stop, start), rate=rate, count=count, place=place, generator=generator)
        frames = list(_shown_at(media, times))
        if not frames:
            raise MediaError("decode", "there is no frame")
        last = (frames[-1].time or 0.0) - media.origin
        if duration is not None and min(times[-1], stop) - last > max(1.0, (stop - start) / 2):
            raise MediaError("decode", "the pictures end before half of their declared length")
        width, height = _scaled(frames[0].width, frames[0].height, max_side)
        pictures = [frame.reformat(width, height, "rgb24").to_ndarray() for frame in frames]
    return torch.from_numpy(_half(np.stack(pictures), crop))


def frame_times(
    start: float,
    stop: float,
    *,
    rate: float,
    count: int,
    place: Place,
    generator: torch.Generator | None = None,
) -> list[float]:
    """Times in seconds at which to look at a clip from ``start`` to ``stop`` with ``rate`` frames per second.

    >>> frame_times(0.0, 6.0, rate=25, count=3, place="spread")
    [1.0, 3.0, 5.0]
    >>> frame_times(0.0, 6.0, rate=2, count=3, place="centre")
    [2.5, 3.0, 3.5]
    """
    if count < 1:
        raise ValueError(f"Expected at least one frame, but got count={count}.")
    if place == "spread":
        return [start + (i + 0.5) / count * (stop - start) for i in range(count)]
    share = {"start": 0.0, "centre": 0.5}.get(place)
    if share is None:
        share = float(torch.rand((), generator=generator))
    first = start + share * max(0.0, stop - start - (count - 1) / rate)
    return [first + i / rate for i in range(count)]


def _shown_at(media: Media[VideoStream], times: Sequence[float]) -> Iterator[VideoFrame]:
    """The frames on screen at ``times`` (ascending), each once."""
    frames = media.container.decode(media.stream)
    shown: VideoFrame | None = None
    upcoming = next(frames, None)
    given: VideoFrame | None = None
    for time in times:
        if upcoming is not None and time - _time(upcoming, media) > _FAR:
            media.seek(time)
            frames = media.container.decode(media.stream)
            shown, upcoming = None, next(frames, None)
        while upcoming is not None and (shown is None or _time(upcoming, media) <= time + 1e-6):
            shown, upcoming = upcoming, next(frames, None)
        if shown is not None and shown is not given:
            given = shown
            yield shown


def _time(frame: VideoFrame, media: Media[VideoStream]) -> float:
    """Seconds from the origin; frames of raw streams have no time and count as being at it."""
    return frame.time - media.origin if frame.time is not None else 0.0


def _container_duration(media: Media[VideoStream]) -> float:
    return (media.container.duration or 0) / 1_000_000


def _scaled(width: int, height: int, max_side: int | None) -> tuple[int, int]:
    factor = min(1.0, max_side / max(width, height)) if max_side is not None else 1.0
    return max(1, round(width * factor)), max(1, round(height * factor))


def _half(frames: np.ndarray, crop: Crop | None) -> np.ndarray:
    if crop is None:
        return frames
    middle = max(1, frames.shape[2] // 2)
    half = frames[:, :, :middle] if crop == "left" else frames[:, :, -middle:]
    return np.ascontiguousarray(half)
