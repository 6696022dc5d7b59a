"""Sound of a clip as one channel at one rate."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from torch import Tensor

from m2fnet.errors import MediaError
from m2fnet.media.container import Media, bounds_of, is_clearly_short, open_audio

RATE = 16_000
_SILENCE = 1e-4  # -80 dB of full scale: the noise of a coder that was given nothing
_RATES = (1_000, 768_000)  # outside it a header is damaged, and resampling would ask for any amount of memory
_LEAD = 0.5  # seconds decoded ahead of a span: a coder's first packets after a jump overlap with what it did not see
_ALMOST = 1e-6  # 9.777 - 7.777 is a little more than 2
_EDGE = 0.05  # seconds resampled ahead of a span, so that the filter has settled


@dataclass(frozen=True)
class Sound:
    """What was read of a clip's sound.

    Attributes:
        samples: (N,) in -1..1, one channel.
        cut_s: seconds beyond the limit that were not read.
    """

    samples: Tensor
    cut_s: float = 0.0


def read_audio(
    path: Path, *, rate: int = RATE, span: tuple[float, float] | None = None, max_seconds: float = 60.0
) -> Sound:
    r"""Sound of a clip, or of its ``span`` in seconds, mixed to one channel at ``rate`` Hz.

    Of more than ``max_seconds`` only the beginning is read, so that memory stays bounded.

    Raises:
        MediaError: if there is no sound, it cannot be decoded, it is clearly shorter than the file or the span says,
            or it is empty, silent or not finite.

    Example:
        >>> import tempfile, wave
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "tone.wav"
        ...     with wave.open(str(path), "wb") as file:
        ...         file.setparams((1, 2, 8000, 0, "NONE", ""))
        ...         _ = file.writeframes(b"\x00\x20" * 8000)
        ...     read_audio(path).samples.shape  # one second, at 16 kHz
        torch.Size([16000])
    """
    start, stop = bounds_of(span)
    limit = start + max_seconds
    with open_audio(path) as media:
        if span is not None:
            media.check_span(span)
        samples = _decode(media, start, min(stop, limit), rate)
        expected = min(media.end, stop, limit) - max(start, media.begin) if media.end is not None else 0.0
        cut_s = max(0.0, min(stop, media.likely_end) - limit)
    if is_clearly_short(len(samples) / rate, expected):
        raise MediaError("decode", "the sound is shorter than declared")
    return Sound(_checked(samples).clamp_(-1, 1), cut_s)


def _checked(samples: Tensor) -> Tensor:
    if len(samples) == 0:
        raise MediaError("decode", "the sound is empty")
    if not torch.isfinite(samples).all():
        raise MediaError("decode", "the sound holds NaN or infinity")
    if samples.abs().max() < _SILENCE:
        raise MediaError("decode", "the sound is silent")
    return samples


def _decode(media: Media[AudioStream], start: float, stop: float, rate: int) -> Tensor:
    resampler = av.AudioResampler("fltp", None, rate)
    jumps = start > _LEAD
    if jumps:
        media.seek(start - _LEAD)
    pieces: list[np.ndarray] = []
    clock, begun, heard = 0.0, math.nan, 0.0
    for frame in _frames(media, jumped=jumps):
        clock = frame.time - media.origin if frame.time is not None else clock  # raw streams have no times
        length = frame.samples / checked_rate(frame)
        if clock + length > start - _EDGE:
            begun = clock if math.isnan(begun) else begun
            pieces += mixed(resampler, frame)
            heard += length
        clock += length
        if clock >= stop or heard >= stop - begun:  # the latter where a damaged clock never gets there
            break
    if not pieces:
        return torch.empty(0)
    pieces += mixed(resampler, None)
    surplus = round(max(0.0, start - begun) * rate)
    wanted = (stop - max(start, begun)) * rate
    return torch.from_numpy(np.concatenate(pieces)[surplus : surplus + math.ceil(wanted - _ALMOST)].copy())


def _frames(media: Media[AudioStream], *, jumped: bool) -> Iterator[AudioFrame]:
    """Decoded frames. A jump may end in the middle of a packet: what cannot be decoded before the first frame is left.

    Raises:
        FFmpegError: for damage anywhere else.
    """
    for packet in media.container.demux(media.stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            if not jumped:
                raise
            continue
        jumped = jumped and not frames
        yield from frames


def mixed(resampler: av.AudioResampler, frame: AudioFrame | None) -> list[np.ndarray]:
    """Mean of all channels; FFmpeg's own mixing to mono adds them up and lets them clip."""
    return [piece.to_ndarray().mean(0) for piece in resampler.resample(frame)]


def checked_rate(frame: AudioFrame) -> int:
    """Rate of a decoded frame in Hz.

    Raises:
        MediaError: if no recording has such a rate.
    """
    low, high = _RATES
    if not low <= frame.sample_rate <= high:
        raise MediaError("decode", f"the sample rate is {frame.sample_rate} Hz, expected {low} to {high}")
    return frame.sample_rate
