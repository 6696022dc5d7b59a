"""Text subtitles inside a clip."""

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle
from av.video.stream import VideoStream

from m2fnet.conversation.clip import Streams
from m2fnet.conversation.cues import Cue
from m2fnet.conversation.reading import Note
from m2fnet.conversation.substation import STREAM_FIELDS, cue_of, spoken_events
from m2fnet.media.container import Media, open_audio, open_video
from m2fnet.records import Segment

_TEXT_CODECS = frozenset({"ass", "mov_text", "srt", "ssa", "subrip", "text", "webvtt"})  # the others are pictures
_PLAIN_CODECS = frozenset({"srt", "subrip", "text", "webvtt"})  # FFmpeg's decoder would drop their voice tags
_PARTIAL = Disposition.forced | Disposition.comment | Disposition.lyrics | Disposition.karaoke
_PARTIAL_TITLE = re.compile(r"\b(?:signs?|songs?|forced|commentary|karaoke)\b", re.IGNORECASE)


def read_embedded(clip: Path, streams: Streams) -> Iterator[Segment | Note | str]:
    """Segments of a stream of text subtitles; none without one.

    Of several streams the one is read that is marked as the default, else the first; never one for foreign passages,
    signs, songs or comments only. A cue that is not an utterance gives a sentence that says why; packets without text
    only fill gaps. The whole file is read if there is such a stream.

    Raises:
        MediaError: if the stream cannot be decoded.
    """
    opened: AbstractContextManager[Media[AudioStream] | Media[VideoStream]]
    opened = open_audio(clip) if streams.sound_s is not None else open_video(clip)
    with opened as media:
        yield from _segments(media.container, media.origin, clip.name)


def _segments(container: InputContainer, origin: float, name: str) -> Iterator[Segment | Note | str]:
    all_streams = container.streams.subtitles
    texts = [stream for stream in all_streams if _codec(stream) in _TEXT_CODECS]
    wanted = [stream for stream in texts if not _is_partial(stream)]
    if not wanted:
        if all_streams:
            kinds = ", ".join(map(_described, all_streams))
            yield Note(f"The subtitles inside {name} were not read: {kinds}. Expected text that is not partial.")
        return
    stream = min(wanted, key=lambda stream: (not stream.disposition & Disposition.default, stream.index))
    if len(all_streams) > 1:
        others = ", ".join(_described(other) for other in all_streams if other is not stream)
        yield Note(
            f"{name} has {len(all_streams)} streams of subtitles. Of them was read {_described(stream)}, not {others}."
        )
    events: list[tuple[Cue, dict[str, str]]] = []
    for packet in container.demux(stream):
        event = _event(stream, packet)
        if packet.pts is None or packet.time_base is None or not event.get("text", "").strip():
            continue
        start_s = float(packet.pts * packet.time_base) - origin
        end_s = start_s + float((packet.duration or 0) * packet.time_base)
        events.append((cue_of(event, f"{name} at {start_s:.2f} s", start_s, end_s), event))
    yield from spoken_events(events)


def _event(stream: SubtitleStream, packet: "Packet[SubtitleStream]") -> dict[str, str]:
    """The fields of a packet; only its text where the format has no others."""
    codec = _codec(stream)
    if codec in _PLAIN_CODECS:
        return {"text": bytes(packet).decode("utf-8", errors="replace")}
    parts = [part.ass for part in stream.decode(packet) if isinstance(part, AssSubtitle)]
    fields = [part.decode("utf-8", errors="replace").split(",", len(STREAM_FIELDS) - 1) for part in parts]
    events = [dict(zip(STREAM_FIELDS, values, strict=True)) for values in fields if len(values) == len(STREAM_FIELDS)]
    if not events:
        return {}
    return events[0] | {"text": "\n".join(event["text"] for event in events)}


def _codec(stream: SubtitleStream) -> str:
    context = getattr(stream, "codec_context", None)  # None for an unknown code, although the types exclude it
    return str(context.name) if context is not None else "unknown"


def _is_partial(stream: SubtitleStream) -> bool:
    """Whether a stream is not what is said in the whole clip."""
    return bool(stream.disposition & _PARTIAL) or _PARTIAL_TITLE.search(stream.metadata.get("title", "")) is not None


def _described(stream: SubtitleStream) -> str:
    """A stream in words, such as ``'#3 (eng, Signs, forced, ass)'``."""
    names: Sequence[str | None] = (
        stream.metadata.get("language"),
        stream.metadata.get("title"),
        "forced" if stream.disposition & Disposition.forced else None,
        "default" if stream.disposition & Disposition.default else None,
        _codec(stream),
    )
    return f"#{stream.index} ({', '.join(filter(None, names))})"
