"""Sound of a clip as one channel at one rate."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
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
# seconds decoded ahead of a span: a coder's first packets after a jump overlap with what it did not see
_BACK = (0.5, 4.0, 30.0, math.inf)  # further ones where the jump ended after the beginning of the span
_ALMOST = 1e-6  # 9.777 - 7.777 is a little more than 2
_JUMP = 0.05  # seconds between the clock of a file and its samples that are no rounding of time stamps
_RESTART = 1.0  # seconds back: the clock was started again
_STUCK = 3  # frames in a row that are no later than the one before: the time stamps are damaged
_BLOCK = 32_000  # samples of silence in a piece
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

    Of more than ``max_seconds`` only the beginning is read, so that memory stays bounded. Where the channels cancel
    each other, because one of them is in opposite phase, the first one is read.

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
        channels = media.stream.codec_context.channels
        expected = min(media.end, stop, limit) - max(start, media.begin) if media.end is not None else 0.0
        cut_s = max(0.0, min(stop, media.likely_end) - limit)
    if channels > 1 and len(samples) and is_silent(samples.abs().max()):
        with open_audio(path) as media:
            samples = _decode(media, start, min(stop, limit), rate, channel=0)
    if is_clearly_short(len(samples) / rate, expected):
        raise MediaError("decode", "the sound is shorter than declared")
    return Sound(_checked(samples).clamp_(-1, 1), cut_s)


def _checked(samples: Tensor) -> Tensor:
    if len(samples) == 0:
        raise MediaError("decode", "the sound is empty")
    if not torch.isfinite(samples).all():
        raise MediaError("decode", "the sound holds NaN or infinity")
    if is_silent(samples.abs().max()):
        raise MediaError("decode", "the sound is silent")
    return samples


def is_silent(peak: float | Tensor) -> bool:
    """Whether the largest sample is no more than the noise of a coder that was given nothing."""
    return bool(peak < _SILENCE)


def _decode(media: Media[AudioStream], start: float, stop: float, rate: int, channel: int | None = None) -> Tensor:
    placed = PlacedSound(rate, channel=channel)
    pieces: list[np.ndarray] = []
    clock, begun, heard = 0.0, math.nan, 0.0
    for frame in _frames_from(media, start):
        clock = frame.time - media.origin if frame.time is not None else clock  # raw streams have no times
        length = frame.samples / checked_rate(frame)
        if clock + length > start - _EDGE:
            begun = clock if math.isnan(begun) else begun
            pieces += placed.add(frame, clock, until=stop)
            heard += length
        clock += length
        # the latter where a damaged clock never gets there
        if clock >= stop or heard + placed.moved / rate >= stop - begun:
            break
    if not pieces:
        return torch.empty(0)
    pieces += placed.rest()
    surplus = round(max(0.0, start - begun) * rate)
    wanted = (stop - max(start, begun)) * rate
    return torch.from_numpy(np.concatenate(pieces)[surplus : surplus + math.ceil(wanted - _ALMOST)].copy())


class PlacedSound:
    """Decoded frames in, samples of one channel out, each where the time stamps of the file place it.

    Silence fills what the time stamps leave open, and what they give twice is heard once, as FFmpeg's own
    ``aresample=async`` does: files that were joined without decoding overlap a little at every joint. Time stamps that
    do not advance, or that start again, are not followed.

    Args:
        rate: of the samples, in Hz.
        begin: second at which the first sample is; by default where the first frame is.
        channel: number of the only one that is read; by default the mean of all.

    Attributes:
        moved: samples of silence that were put in, less those that were dropped.
    """

    def __init__(self, rate: int, begin: float | None = None, channel: int | None = None) -> None:
        self.channel = channel
        self.rate, self.begin, self.moved = rate, begin, 0
        self._resampler = av.AudioResampler("fltp", None, rate)
        self._given, self._surplus = 0, 0
        self._latest, self._stuck = -math.inf, 0

    def add(self, frame: AudioFrame, time: float, until: float = math.inf) -> Iterator[np.ndarray]:
        """The samples of ``frame``, which is heard at ``time``, in pieces; silence is only put in up to ``until``."""
        self.begin = time if self.begin is None else self.begin
        self._stuck = self._stuck + 1 if time <= self._latest else 0
        self._latest = time
        if self._stuck >= _STUCK:
            self._surplus = 0
        else:
            off = time - self.begin - self._given / self.rate
            if off < -_RESTART:
                self.begin += off
            elif off < -_JUMP:
                self._surplus = round(-off * self.rate)
            elif off > _JUMP:
                self._surplus = 0
                yield from self._silence(round((min(time, until) - self.begin) * self.rate) - self._given)
        for piece in mixed(self._resampler, frame, self.channel):
            dropped = min(self._surplus, len(piece))
            self._surplus -= dropped
            self.moved -= dropped
            self._given += len(piece) - dropped
            yield piece[dropped:]

    def rest(self) -> list[np.ndarray]:
        """What the resampler still holds."""
        return mixed(self._resampler, None, self.channel)

    def _silence(self, samples: int) -> Iterator[np.ndarray]:
        self.moved += max(0, samples)
        self._given += max(0, samples)
        for first in range(0, samples, _BLOCK):
            yield np.zeros(min(_BLOCK, samples - first), np.float32)


def _frames_from(media: Media[AudioStream], start: float) -> Iterator[AudioFrame]:
    """Decoded frames from one at or before ``start`` on, if there is such a one.

    Files without an index, such as programme streams, are searched by the places of their bytes: a jump may end late.
    """
    if start <= _BACK[0] or media.is_timed_by_a_rate:
        yield from _frames(media, jumped=False)
        return
    for back in _BACK:
        media.seek(max(0.0, start - back))
        frames = _frames(media, jumped=True)
        first = next(frames, None)
        is_early = first is not None and (first.time is None or first.time - media.origin <= start)
        if first is not None and (is_early or back >= start):
            yield from chain((first,), frames)
            return


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


def mixed(resampler: av.AudioResampler, frame: AudioFrame | None, channel: int | None = None) -> list[np.ndarray]:
    """Mean of all channels, or only one; FFmpeg's own mixing to mono adds them up and lets them clip."""
    pieces = (piece.to_ndarray() for piece in resampler.resample(frame))
    return [piece.mean(0) if channel is None else piece[channel] for piece in pieces]


def checked_rate(frame: AudioFrame) -> int:
    """Rate of a decoded frame in Hz.

    Raises:
        MediaError: if no recording has such a rate.
    """
    low, high = _RATES
    if not low <= frame.sample_rate <= high:
        raise MediaError("decode", f"the sample rate is {frame.sample_rate} Hz, expected {low} to {high}")
    return frame.sample_rate
