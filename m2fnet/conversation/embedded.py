"""Text subtitles inside a clip."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle
from av.video.stream import VideoStream

from m2fnet.conversation.clip import Streams
from m2fnet.conversation.subtitles import utterances_in
from m2fnet.media.container import Media, open_audio, open_video
from m2fnet.records import Segment

_TEXT_CODECS = frozenset({"ass", "mov_text", "srt", "ssa", "subrip", "text", "webvtt"})  # the others are pictures


def read_embedded(clip: Path, streams: Streams) -> Iterator[Segment | str]:
    """Segments of the first stream of text subtitles that is not only for foreign passages; none without one.

    A cue that is not an utterance gives a sentence that says why; packets without text only fill gaps. The whole file
    is read if there is such a stream.

    Raises:
        MediaError: if the stream cannot be decoded.
    """
    opened: AbstractContextManager[Media[AudioStream] | Media[VideoStream]]
    opened = open_audio(clip) if streams.sound_s is not None else open_video(clip)
    with opened as media:
        yield from _segments(media.container, media.origin, clip.name)


def _segments(container: InputContainer, origin: float, name: str) -> Iterator[Segment | str]:
    stream = next(filter(_is_wanted, container.streams.subtitles), None)
    if stream is None:
        return
    for packet in container.demux(stream):
        if packet.pts is None or not packet.duration or packet.time_base is None:
            continue
        start_s = float(packet.pts * packet.time_base) - origin
        end_s = start_s + float(packet.duration * packet.time_base)
        parts = (part for part in stream.decode(packet) if isinstance(part, AssSubtitle))
        text = "\n".join(part.dialogue.decode(errors="replace") for part in parts)
        if text.strip():
            yield from utterances_in(max(0.0, start_s), end_s, text, f"{name} at {start_s:.2f} s")


def _is_wanted(stream: SubtitleStream) -> bool:
    context = getattr(
        stream, "codec_context", None
    )  # None for an unknown code, although the library's types exclude it
    return context is not None and context.name in _TEXT_CODECS and not stream.disposition & Disposition.forced
