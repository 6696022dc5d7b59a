"""A few frames of a clip."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from torch import Tensor

from m2fnet.errors import MediaError
from m2fnet.media.container import Media, bounds_of, open_video
from m2fnet.media.frames import end_of, frames_at, rate_of
from m2fnet.media.picture import is_picture, read_picture
from m2fnet.records import Crop

Place = Literal["spread", "centre", "start", "random"]


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
        MediaError: if there is no picture, it cannot be decoded, or it clearly ends before the file or the span does.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (64, 48)).save(Path(folder) / "face.png")
        ...     read_frames(Path(folder) / "face.png", count=4).shape
        torch.Size([1, 48, 64, 3])
    """
    start, stop = bounds_of(span)
    if is_picture(path):
        return torch.from_numpy(_half(read_picture(path, max_side)[None], crop))
    with open_video(path) as media:
        if span is not None:
            media.check_span(span)
        times = times_in(media, start, stop, count=count, place=place, generator=generator)
        pictures = list(_upright(frames_at(media, times, start), max_side, media.stream.sample_aspect_ratio))
    if not pictures:
        raise MediaError("decode", "there is no frame")
    return torch.from_numpy(_half(np.stack(pictures), crop))


def times_in(
    media: Media[VideoStream],
    start: float,
    stop: float,
    *,
    count: int,
    place: Place,
    generator: torch.Generator | None = None,
) -> list[float]:
    """Times in seconds to look at an open clip at, from ``start`` to ``stop`` or to its end if that is earlier."""
    stop = max(start, min(stop, end_of(media)))
    return frame_times(start, stop, rate=rate_of(media), count=count, place=place, generator=generator)


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

    Fewer than ``count`` where so many successive frames would go beyond ``stop``, where somebody else may speak; if
    that is no later than ``start``, nobody knows the end.

    >>> frame_times(0.0, 6.0, rate=25, count=3, place="spread")
    [1.0, 3.0, 5.0]
    >>> frame_times(0.0, 6.0, rate=2, count=3, place="centre")
    [2.5, 3.0, 3.5]
    >>> frame_times(0.0, 1.0, rate=2, count=3, place="centre")
    [0.0, 0.5]
    """
    if count < 1:
        raise ValueError(f"Expected at least one frame, but got count={count}.")
    if place == "spread":
        return [start + (i + 0.5) / count * (stop - start) for i in range(count)]
    share = {"start": 0.0, "centre": 0.5}.get(place)
    if share is None:
        share = float(torch.rand((), generator=generator))
    first = start + share * max(0.0, stop - start - (count - 1) / rate)
    times = [first + i / rate for i in range(count)]
    return [time for time in times if time < stop] if stop > start else times


def _upright(frames: Iterable[VideoFrame], max_side: int | None, aspect: Fraction | None) -> Iterator[np.ndarray]:
    """RGB pictures (H, W, 3) of one size with square pixels, turned as the camera was held, mirrored if it says so."""
    scaler = VideoReformatter()  # one for all: it keeps its tables
    size: tuple[int, int] | None = None
    for frame in frames:
        size = size or _scaled(*_as_shown(frame.width, frame.height, aspect), max_side)
        picture = scaler.reformat(frame, *size, "rgb24").to_ndarray()
        yield np.rot90(picture[::-1] if _is_mirrored(frame) else picture, round(frame.rotation / 90))


def _is_mirrored(frame: VideoFrame) -> bool:
    """Whether the frame is to be shown as its own mirror image: the angle of a rotation does not tell."""
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")  # a buffer, which its type does not say
    if matrix is None:
        return False
    a, b, _, c, d, *_ = np.frombuffer(matrix, np.int32).tolist()
    return bool(a * d < b * c)


def _as_shown(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Size on a screen, where pixels are square; no side gets smaller. A ratio that no recording has is not followed.

    >>> _as_shown(720, 576, Fraction(64, 45)), _as_shown(720, 480, Fraction(8, 9)), _as_shown(64, 48, None)
    ((1024, 576), (720, 540), (64, 48))
    """
    if aspect is None or not 0.25 <= aspect <= 4:
        return width, height
    return (round(width * aspect), height) if aspect >= 1 else (width, round(height / aspect))


def _scaled(width: int, height: int, max_side: int | None) -> tuple[int, int]:
    factor = min(1.0, max_side / max(width, height)) if max_side is not None else 1.0
    return max(1, round(width * factor)), max(1, round(height * factor))


def _half(frames: np.ndarray, crop: Crop | None) -> np.ndarray:
    if crop is None:
        return frames
    middle = max(1, frames.shape[2] // 2)
    half = frames[:, :, :middle] if crop == "left" else frames[:, :, -middle:]
    return np.ascontiguousarray(half)
