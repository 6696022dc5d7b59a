"""Sound of a clip as one channel at one rate."""

import math
from pathlib import Path

import av
import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from torch import Tensor

from m2fnet.errors import MediaError
from m2fnet.media.container import Media, open_audio

RATE = 16_000
_SILENCE = 1e-4  # -80 dB of full scale: the noise of a coder that was given nothing
_RATES = (1_000, 768_000)  # outside it a header is damaged, and resampling would ask for any amount of memory


def read_audio(
    path: Path, *, rate: int = RATE, span: tuple[float, float] | None = None, max_seconds: float = 60.0
) -> Tensor:
    """Samples (N,) in -1..1 of a clip, or of its ``span`` in seconds, mixed to one channel at ``rate`` Hz.

    Of more than ``max_seconds`` only the beginning is read, so that memory stays bounded.

    Raises:
        MediaError: if there is no sound, it cannot be decoded, or it is empty, silent or not finite.
    """
    start, stop = span or (0.0, math.inf)
    if not 0 <= start < stop:
        raise MediaError("span", "the span is empty")
    stop = min(stop, start + max_seconds)
    with open_audio(path) as media:
        samples = _decode(media, start, stop, rate)
        declared = min(media.duration if media.duration is not None else 0.0, stop) - start
    if len(samples) < declared * rate / 2:
        raise MediaError("decode", "the sound ends before half of its declared length")
    if len(samples) == 0:
        raise MediaError("decode", "the sound is empty")
    if not torch.isfinite(samples).all():
        raise MediaError("decode", "the sound holds NaN or infinity")
    if samples.abs().max() < _SILENCE:
        raise MediaError("decode", "the sound is silent")
    return samples.clamp_(-1, 1)


def _decode(media: Media[AudioStream], start: float, stop: float, rate: int) -> Tensor:
    resampler = av.AudioResampler("fltp", None, rate)
    if start > 0:
        media.seek(start)
    pieces: list[np.ndarray] = []
    clock, begun = 0.0, math.nan
    for frame in media.container.decode(media.stream):
        clock = frame.time - media.origin if frame.time is not None else clock  # raw streams have no times
        end = clock + frame.samples / _checked_rate(frame)
        if end > start:
            begun = clock if math.isnan(begun) else begun
            pieces += _mixed(resampler, frame)
        clock = end
        if clock >= stop:
            break
    if not pieces:
        return torch.empty(0)
    pieces += _mixed(resampler, None)
    surplus = round(max(0.0, start - begun) * rate)
    length = math.ceil((stop - max(start, begun)) * rate)
    return torch.from_numpy(np.concatenate(pieces)[surplus : surplus + max(0, length)].copy())


def _mixed(resampler: av.AudioResampler, frame: AudioFrame | None) -> list[np.ndarray]:
    """Mean of all channels; FFmpeg's own mixing to mono adds them up and lets them clip."""
    return [piece.to_ndarray().mean(0) for piece in resampler.resample(frame)]


def _checked_rate(frame: AudioFrame) -> int:
    low, high = _RATES
    if not low <= frame.sample_rate <= high:
        raise MediaError("decode", f"the sample rate is {frame.sample_rate} Hz, expected {low} to {high}")
    return frame.sample_rate
