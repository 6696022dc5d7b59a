"""Stretches of speech in the sound of a clip, found by energy.

A frame is the energy of 32 ms in six bands up to 4000 Hz, every 10 ms. Noise is followed band by band: its floor is
the 90th percentile of the quietest half second within seven seconds around, at most 15 dB over its 10th, so that speech
without a pause is not taken for noise. A frame counts as speech while its bands rise above their floors, with
hysteresis: the threshold to begin is higher than the one to continue. Short gaps are closed and every utterance gets a
margin (hang-over), so that soft beginnings and ends are kept. Short bursts are dropped, and utterances that are too
long are cut at their deepest pause.

Voices are not distinguished from each other, nor from music or a slammed door; give subtitles or a diarisation if you
have them.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from av.audio.stream import AudioStream
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from m2fnet.errors import MediaError
from m2fnet.media.audio import PlacedSound, checked_rate, is_silent
from m2fnet.media.container import Media, open_audio
from m2fnet.records import Segment

SHORTEST_S, LONGEST_S = 0.4, 15.0  # of an utterance
MAX_HOURS = 6  # of sound; its levels fill 50 MB then

_RATE, _HOP, _WINDOW = 8_000, 80, 256  # samples
_EDGES = (100, 300, 600, 1_000, 1_700, 2_700, 4_000)  # of the bands, in Hz
_STEP_S = _HOP / _RATE

Levels = NDArray[np.float32]  # (N, bands) in dB of full scale, one row every 10 ms
Samples = NDArray[np.float32]  # (N,)
Run = tuple[int, int]  # its first frame, and the first one after it
NO_LEVELS: Levels = np.empty((0, len(_EDGES) - 1), np.float32)

_AUDIBLE = 45.0  # dB below the loudest speech; what is softer counts as silence
_SILENT = -75.0  # dB of full scale; so does this
_QUIET, _AROUND = 50, 14  # frames of a quiet stretch, and how many such before and after a frame to choose from
_SPREAD = 15.0  # dB between soft and loud in a stretch of noise; between and within syllables it is more
_ON, _OFF = 5.0, 2.5  # dB over the floor, mean of the bands, to begin and to continue
_SMOOTH, _PAUSE = 5, 25  # frames over which is averaged, to find speech and pauses in it
_BURST = 10  # frames of energy; less is a click
_GAP = 35  # frames between two utterances with their margins; with fewer, they are one
_MARGIN = 7  # frames before and after an utterance
_BLOCK = 4 * _RATE  # samples
_FULL_SCALE = (np.hanning(_WINDOW).sum() / 2) ** 2  # power of a sine of amplitude 1


def voice_activity(clip: Path) -> tuple[Segment, ...]:
    """Segments of 0.4 to 15 s in which somebody speaks in ``clip``, without speaker and text; none without speech.

    The sound is decoded block by block; only its levels are kept.

    Raises:
        MediaError: if there is no sound, it cannot be decoded, or lasts more than `MAX_HOURS`.
    """
    return speech_in(levels_of(clip))


def levels_of(clip: Path) -> Levels:
    """Levels of the whole sound of ``clip``.

    Raises:
        MediaError: as `voice_activity`.
    """
    levels, peak, channels = _levels(clip, None)
    if channels > 1 and is_silent(peak):  # one of them may be in opposite phase
        levels, _, _ = _levels(clip, 0)
    return levels


def _levels(clip: Path, channel: int | None) -> tuple[Levels, float, int]:
    """Levels and largest sample of the mean of all channels or of one, and the number of channels."""
    rows: list[Levels] = []
    rest = np.empty(0, np.float32)
    heard, peak = 0, 0.0
    with open_audio(clip) as media:
        for block in _blocks(media, channel):
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
            heard += len(block)
            if heard > MAX_HOURS * 3600 * _RATE:
                raise MediaError("decode", f"the sound lasts more than {MAX_HOURS} hours")
            rest = np.concatenate([rest, block])
            if len(rest) >= _WINDOW:
                rows.append(_band_levels(rest))
                rest = rest[len(rows[-1]) * _HOP :]
        channels = media.stream.codec_context.channels
    return np.concatenate(rows) if rows else NO_LEVELS, peak, channels


def seconds_in(levels: Levels) -> float:
    """Length in seconds of the sound that has these levels."""
    return (len(levels) * _HOP + _WINDOW - _HOP) / _RATE if len(levels) else 0.0


def speech_in(levels: Levels) -> tuple[Segment, ...]:
    """Segments of 0.4 to 15 s of speech in the sound that has these levels."""
    if not len(levels):
        return ()
    score = _smooth(_rise(levels), _SMOOTH)
    depth = _smooth(score, _PAUSE)
    bursts = [run for run in _runs(_hysteresis(score)) if run[1] - run[0] >= _BURST]
    parts = [part for run in _joined(bursts) for part in _cut(run, depth)]
    spoken = [part for part in parts if part[1] - part[0] >= SHORTEST_S / _STEP_S]
    first_s, end_s = (_WINDOW - _HOP) / 2 / _RATE, seconds_in(levels)  # a window is placed at its middle
    return tuple(
        Segment(max(0.0, begin * _STEP_S + first_s), min(end * _STEP_S + first_s, end_s)) for begin, end in spoken
    )


def _blocks(media: Media[AudioStream], channel: int | None) -> Iterator[Samples]:
    """The sound as one channel at `_RATE`, some seconds at a time."""
    pieces: list[Samples] = []
    gathered = 0
    for piece in _pieces(media, channel):
        pieces.append(piece)
        gathered += len(piece)
        if gathered >= _BLOCK:
            yield _block(pieces)
            pieces, gathered = [], 0
    if pieces:
        yield _block(pieces)


def _pieces(media: Media[AudioStream], channel: int | None) -> Iterator[Samples]:
    """The sound as it is decoded, where the clock of the file places it."""
    placed = PlacedSound(_RATE, begin=0.0, channel=channel)
    clock = 0.0
    for frame in media.container.decode(media.stream):
        clock = frame.time - media.origin if frame.time is not None else clock  # raw streams have no times
        yield from placed.add(frame, clock)
        clock += frame.samples / checked_rate(frame)
    yield from placed.rest()


def _block(pieces: list[Samples]) -> Samples:
    block = np.concatenate(pieces)
    if not np.isfinite(block).all():
        raise MediaError("decode", "the sound holds NaN or infinity")
    return block


def _band_levels(samples: Samples) -> Levels:
    """(N, bands) of as many whole windows as there are in ``samples``."""
    windows = sliding_window_view(samples, _WINDOW)[::_HOP] * np.hanning(_WINDOW).astype(np.float32)
    power = np.abs(np.fft.rfft(windows)) ** 2
    bins = np.searchsorted(np.fft.rfftfreq(_WINDOW, 1 / _RATE), _EDGES)
    bands = np.add.reduceat(power, bins[:-1], axis=1)
    levels: Levels = (10 * np.log10(bands / _FULL_SCALE + 1e-12)).astype(np.float32)
    return levels


def _rise(levels: Levels) -> Samples:
    """(N,) dB of the sound over the floor of its noise, as the mean of the bands."""
    loud = np.percentile(levels.max(axis=1), 95)
    heard = np.maximum(levels, max(loud - _AUDIBLE, _SILENT))
    floor = _floor(heard)
    rise: Samples = np.maximum(heard - floor, 0).mean(axis=1)
    return rise


def _floor(levels: Levels) -> Levels:
    """(N, bands) the level of the quietest stretch around each frame, band by band."""
    whole = np.pad(levels, ((0, -len(levels) % _QUIET), (0, 0)), mode="edge")
    soft, loud = np.percentile(whole.reshape(-1, _QUIET, levels.shape[1]), (10, 90), axis=1)
    floor: Levels = np.minimum(_lowest(loud), _lowest(soft) + _SPREAD).repeat(_QUIET, axis=0)[: len(levels)]
    return floor


def _lowest(values: Levels) -> Levels:
    """(M, bands) the lowest of the values around each, band by band."""
    padded = np.pad(values, ((_AROUND, _AROUND), (0, 0)), mode="edge")
    lowest: Levels = sliding_window_view(padded, 2 * _AROUND + 1, axis=0).min(axis=-1)
    return lowest


def _smooth(score: Samples, width: int) -> Samples:
    """Moving mean over ``width`` frames, an odd number."""
    padded = np.pad(score, width // 2, mode="edge")
    return np.convolve(padded, np.full(width, 1 / width, np.float32), mode="valid")


def _hysteresis(score: Samples) -> NDArray[np.bool_]:
    """Frames over `_OFF` in stretches that reach `_ON`."""
    is_possible = score > _OFF
    stretch = np.cumsum(np.diff(is_possible, prepend=False) & is_possible)  # its number, from 1
    reached = np.zeros(stretch[-1] + 1, bool)
    reached[stretch[is_possible & (score > _ON)]] = True
    return is_possible & reached[stretch]


def _runs(is_speech: NDArray[np.bool_]) -> list[Run]:
    edges = np.flatnonzero(np.diff(is_speech, prepend=False, append=False)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _joined(runs: list[Run]) -> list[Run]:
    """The runs with a margin on either side, joined where the gap between them is short."""
    joined: list[Run] = []
    for begin, end in runs:
        if joined and begin - joined[-1][1] - _MARGIN <= _GAP:
            joined[-1] = (joined[-1][0], end + _MARGIN)
        else:
            joined.append((begin - _MARGIN, end + _MARGIN))
    return joined


def _cut(run: Run, depth: Samples) -> Iterator[Run]:
    """The run in parts of at most `LONGEST_S`, cut at the deepest pause that is five seconds or more from its start."""
    begin, end = run
    longest, shortest = round(LONGEST_S / _STEP_S), round(SHORTEST_S / _STEP_S)
    while end - begin > longest:
        earliest = begin + longest // 3
        pause = earliest + int(depth[earliest : min(begin + longest, end - shortest)].argmin())
        yield begin, pause
        begin = pause
    yield begin, end
