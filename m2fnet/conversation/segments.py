"""Where the turns of a clip begin and end: told by a file, by subtitles, or found in the sound."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from m2fnet.conversation.clip import Streams, streams_of
from m2fnet.conversation.embedded import read_embedded
from m2fnet.conversation.reading import read_lines
from m2fnet.conversation.rttm import read_rttm
from m2fnet.conversation.subtitles import read_subtitles
from m2fnet.conversation.transcript import read_table, read_transcript
from m2fnet.conversation.voice import NO_LEVELS, levels_of, seconds_in, speech_in
from m2fnet.errors import ConversationError, MediaError
from m2fnet.records import Segment

MAX_TURNS = 10_000
SUFFIXES = (".srt", ".vtt", ".rttm", ".csv", ".txt")
MAX_TEXT = 10_000  # characters of a turn; a quarter of an hour of speech
_BESIDE = (".srt", ".vtt")  # the suffixes under which players look for subtitles


@dataclass(frozen=True)
class Found:
    """The turns of a clip and what told them.

    Attributes:
        segments: in speaking order.
        source: ``"talk.srt"`` (the name of a file), ``"subtitles inside the clip"``, ``"voice activity"`` or
            ``"whole clip"``.
    """

    segments: tuple[Segment, ...]
    source: str


def read_segments(path: Path, clip: str | None = None) -> tuple[Segment, ...]:
    """Turns told by a file, by start and end, those without times in the order of the file.

    The suffix tells the format: ``.srt``, ``.vtt``, ``.rttm``, ``.csv`` (start, end, speaker, text), or ``.txt``
    (``Speaker: text``); a file that begins with ``WEBVTT`` is WebVTT whatever its suffix.

    Args:
        path: the file.
        clip: the file id to choose where an RTTM file tells of several.

    Raises:
        ConversationError: naming file and line of what cannot be read, of a turn that does not end after it begins,
            of a text longer than `MAX_TEXT` or of turns beyond `MAX_TURNS`; or if there is no turn, or only some
            have times.
    """
    segments = _sorted(_read(path, clip), str(path))
    if not segments:
        raise ConversationError(f"{path} tells of no turn. Check that it is the right file, and not only a header.")
    return segments


def segments_of(clip: Path, segments: Path | None = None) -> Found:
    """The turns of a clip: those of the file ``segments``, or else of what is found first.

    Subtitles beside the clip (``talk.srt`` or ``talk.vtt`` for ``talk.mp4``), a stream of text subtitles inside it,
    stretches of speech in its sound, or else the whole clip as one turn. A turn that goes on when the clip ends is
    cut there.

    Raises:
        ConversationError: if ``clip`` cannot be used as one, the file cannot be read, or a turn begins when the clip
            has ended.
    """
    streams = streams_of(clip)
    beside = (clip.with_suffix(suffix) for suffix in _BESIDE)
    file = segments or next((path for path in beside if path.exists()), None)
    if file is not None:
        return Found(_fitted(read_segments(file, clip.stem), clip, streams.end_s), file.name)
    try:
        inside = _sorted(read_embedded(clip, streams), f"The subtitles inside {clip}")
        if inside:
            return Found(_fitted(inside, clip, streams.end_s), "subtitles inside the clip")
        return _heard(clip, streams)
    except MediaError as problem:
        raise ConversationError(f"{clip} is damaged ({problem}). Repair it or take another copy.") from problem


def _heard(clip: Path, streams: Streams) -> Found:
    levels = levels_of(clip) if streams.sound_s is not None else NO_LEVELS
    turns = speech_in(levels)
    if turns:
        return Found(turns, "voice activity")
    end_s = streams.end_s if math.isfinite(streams.end_s) else seconds_in(levels)
    if end_s <= 0:
        raise ConversationError(f"{clip} does not tell how long it is, and has no sound. Give a file of segments.")
    return Found((Segment(0.0, end_s),), "whole clip")


def _read(path: Path, clip: str | None) -> Iterator[Segment]:
    """Segments as the reader for the suffix gives them."""
    lines, name = read_lines(path), str(path)
    match ".vtt" if lines[0].startswith("WEBVTT") else path.suffix.lower():
        case ".srt" | ".vtt" as suffix:
            return read_subtitles(lines, name, is_vtt=suffix == ".vtt")
        case ".rttm":
            return read_rttm(lines, name, clip)
        case ".csv":
            return read_table(lines, name)
        case ".txt":
            return read_transcript(lines, name)
        case suffix:
            raise ConversationError(f"{path} has the suffix {suffix!r}, expected one of {', '.join(SUFFIXES)}.")


def _sorted(segments: Iterable[Segment], name: str) -> tuple[Segment, ...]:
    """All segments by time, each checked; only one more than there may be is taken from ``segments``."""
    found = tuple(map(_checked, islice(segments, MAX_TURNS + 1)))
    if len(found) > MAX_TURNS:
        raise ConversationError(
            f"{name}: from {found[-1].source} on there are more than {MAX_TURNS:,} turns, expected those of one "
            "conversation. Split them, and the clip."
        )
    timeless = next((segment for segment in found if segment.start_s is None), None)
    if timeless is not None and any(segment.start_s is not None for segment in found):
        raise ConversationError(f"{timeless.source}: the turn has no times, but others have. Give all of them times.")
    return tuple(sorted(found, key=lambda segment: (segment.start_s or 0.0, segment.end_s or 0.0)))


def _checked(segment: Segment) -> Segment:
    if segment.start_s is not None and segment.end_s is not None and segment.end_s <= segment.start_s:
        raise ConversationError(
            f"{segment.source}: the turn begins at {segment.start_s:g} s and ends at {segment.end_s:g} s, expected an "
            "end after the start. Correct the times or take the turn out."
        )
    for what, text in (("text", segment.text), ("speaker's name", segment.speaker)):
        if text is not None and len(text) > MAX_TEXT:
            raise ConversationError(
                f"{segment.source}: the {what} has {len(text):,} characters, expected at most {MAX_TEXT:,}. Split it."
            )
    return segment


def _fitted(segments: Sequence[Segment], clip: Path, end_s: float) -> tuple[Segment, ...]:
    """The segments, the last ones cut where the clip ends."""
    for segment in segments:
        if segment.start_s is None:
            raise ConversationError(
                f"{segment.source} has no times, but the turns of a clip need them. Give a file with start and end, "
                "or the transcript without the clip."
            )
        if segment.start_s >= end_s:
            raise ConversationError(
                f"{segment.source}: the turn begins at {segment.start_s:g} s, but {clip} ends at {end_s:.2f} s. "
                "Check that the file belongs to the clip, or take the turn out."
            )
    return tuple(replace(s, end_s=min(s.end_s, end_s)) if s.end_s is not None else s for s in segments)


__all__ = ["MAX_TEXT", "MAX_TURNS", "SUFFIXES", "Found", "Segment", "read_segments", "segments_of"]
