"""The frames on screen at given times, found with as little decoding as their exact choice allows.

From the nearest key frame on, every frame that others refer to must be decoded. The rest is decoded only if somebody
looks at it: the packets tell when a frame is shown before anything is decoded.
"""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import TypeAlias

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from m2fnet.errors import MediaError
from m2fnet.media.container import RAW, Media, is_clearly_short

_INDEXED = frozenset({"avi", "flv", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2"})  # elsewhere a jump ends anywhere
_SKIPPING = frozenset({"h264", "hevc", "mpeg2video", "mpeg4"})  # decoders that can be told packet by packet
_REORDERED = 16  # H.264 and HEVC send a frame at most so many frames before it is shown
_BACK = (0.0, 1.0, 5.0, 25.0, math.inf)  # how many seconds earlier to look for a key frame while it came too late
_ALMOST = 1e-6  # time stamps are fractions: 0.3 s may be 0.30000001

Timed = tuple[float, VideoFrame]
VideoPacket: TypeAlias = "Packet[VideoStream]"  # generic only for the type checker


def frames_at(media: Media[VideoStream], times: Sequence[float], start: float) -> Iterator[VideoFrame]:
    """The frame on screen at each of ``times``, each frame once; before the first frame that one, after the last that.

    Args:
        media: the open clip.
        times: seconds from its origin, ascending.
        start: where the part of the clip begins that is looked at.

    Raises:
        MediaError: if the pictures clearly end before the last time, although the file declares them to continue.
    """
    given = -math.inf
    for group in _groups(media, [time + _ALMOST for time in times]):
        for time, frame in _shown(_from_key_frame(media, group, start), group):
            if time > given:
                given = time
                yield frame


def rate_of(media: Media[VideoStream]) -> float:
    """Frames per second, on the average."""
    return float(media.stream.average_rate or 25)


def end_of(media: Media[VideoStream]) -> float:
    """Second at which the pictures end: as far as the file tells, or as its packets do, which are then all read.

    Browsers record without writing down a length.
    """
    if media.likely_end > 0 or not _can_jump(media):
        return media.likely_end
    stamps = (packet.pts for packet in media.container.demux(media.stream) if packet.pts is not None)
    return media.seconds(max(stamps, default=0)) + 1 / rate_of(media)


def _groups(media: Media[VideoStream], times: Sequence[float]) -> Iterator[list[float]]:
    """Times that are reached from the same key frame."""
    if not _can_jump(media):
        yield list(times)
        return
    media.seek(times[-1])  # Matroska reads its index only when it has to jump, or makes one on the way
    keys = [media.key_before(time) for time in times]
    breaks = [place for place in range(1, len(keys)) if keys[place] != keys[place - 1]]
    for begin, end in pairwise([0, *breaks, len(times)]):
        yield list(times[begin:end])


def _from_key_frame(media: Media[VideoStream], times: Sequence[float], start: float) -> Iterator[Timed]:
    """Decoded frames from one at or before ``times[0]`` on, if there is such a one."""
    if not _can_jump(media):
        yield from (_counted if _counts_only(media) else _decoded)(media, times, start)
        return
    for back in _BACK:
        # a jump goes by the time of decoding, and behind some key frames the next frames miss what they refer to
        media.seek(max(0.0, times[0] - back))
        frames = _decoded(media, times, start)
        first = next(frames, None)
        if first is not None and (first[0] <= times[0] or back >= times[0]):
            yield from chain((first,), frames)
            return


def _decoded(media: Media[VideoStream], times: Sequence[float], start: float) -> Iterator[Timed]:
    """Frames with their times in the order of showing; those that nobody looks at may be skipped."""
    context = media.stream.codec_context
    can_skip = context.name in _SKIPPING
    end, is_over = math.inf, False
    for packet, is_wanted in _with_demand(media, times):
        context.skip_frame = "NONREF" if can_skip and not is_wanted else "DEFAULT"
        is_over = packet.size == 0  # the last packet of a file is empty and makes the decoder give out what it holds
        for frame in packet.decode():
            time = _time(media, frame)
            end = time + _duration(media, frame)
            yield time, frame
    if is_over:
        _check_end(media, end, times, start)
    else:
        yield from ((_time(media, frame), frame) for frame in context.decode(None))


def _with_demand(media: Media[VideoStream], times: Sequence[float]) -> Iterator[tuple[VideoPacket, bool]]:
    """Packets up to the last one shown by ``times[-1]``, and whether one of the times may show them."""
    ahead: deque[VideoPacket] = deque()
    for packet in media.container.demux(media.stream):
        if packet.dts is not None and media.seconds(packet.dts) > times[-1]:
            break  # nothing is shown before it is decoded
        ahead.append(packet)
        if len(ahead) > _REORDERED:
            yield _next_packet(media, ahead, times)
    while ahead:
        yield _next_packet(media, ahead, times)


def _next_packet(
    media: Media[VideoStream], ahead: deque[VideoPacket], times: Sequence[float]
) -> tuple[VideoPacket, bool]:
    packet = ahead.popleft()
    if packet.pts is None:
        return packet, True
    following = min((p.pts for p in ahead if p.pts is not None and p.pts > packet.pts), default=None)
    place = bisect_left(times, media.seconds(packet.pts))
    return packet, place < len(times) and (following is None or times[place] < media.seconds(following))


def _counted(media: Media[VideoStream], times: Sequence[float], start: float) -> Iterator[Timed]:
    """All frames up to ``times[-1]`` with times by their number."""
    rate, number = rate_of(media), 0
    for number, frame in enumerate(media.container.decode(media.stream), start=1):
        yield (number - 1) / rate, frame
        if (number - 1) / rate > times[-1]:
            return
    _check_end(media, number / rate, times, start)


def _check_end(media: Media[VideoStream], end: float, times: Sequence[float], start: float) -> None:
    if media.end is not None and is_clearly_short(end - start, min(times[-1], media.end) - start):
        raise MediaError("decode", "the pictures end before their declared length")


def _counts_only(media: Media[VideoStream]) -> bool:
    """Whether the file gives only the order of decoding, or not for every frame when it is shown."""
    name = media.container.format.name
    is_reordered = media.stream.codec_context.name in ("h264", "hevc", "mpeg2video")
    return name in RAW or name == "mpeg" or (name in ("avi", "asf") and is_reordered)


def _can_jump(media: Media[VideoStream]) -> bool:
    """Whether a jump ends at a key frame, and whether it is known where that is."""
    return media.container.format.name in _INDEXED and not _counts_only(media)


def _shown(frames: Iterator[Timed], times: Sequence[float]) -> Iterator[Timed]:
    """The frame on screen at each of ``times``."""
    waiting = deque(times)
    shown: Timed | None = None
    for upcoming in frames:
        while shown is not None and waiting and waiting[0] < upcoming[0]:
            waiting.popleft()
            yield shown
        if not waiting:
            return
        shown = upcoming
    if shown is not None:
        yield from (shown for _ in waiting)


def _time(media: Media[VideoStream], frame: VideoFrame) -> float:
    return media.seconds(frame.pts) if frame.pts is not None else 0.0


def _duration(media: Media[VideoStream], frame: VideoFrame) -> float:
    return float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 1 / rate_of(media)
