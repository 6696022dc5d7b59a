"""Where the turns of a clip begin and end: told by a file, by subtitles, or found in the sound."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
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
        left_out: which cues or lines are no turns and why, such as ``"talk.srt:2 says nothing"``.
    """

    segments: tuple[Segment, ...]
    source: str
    left_out: tuple[str, ...] = ()


def read_segments(path: Path, clip: str | None = None) -> tuple[Segment, ...]:
    """The same as `segments_in`, the turns alone."""
    return segments_in(path, clip).segments


def segments_in(path: Path, clip: str | None = None) -> Found:
    """Turns told by a file, by start and end, those without times in the order of the file.

    The suffix tells the format: ``.srt``, ``.vtt``, ``.rttm``, ``.csv`` (start, end, speaker, text), or ``.txt``
    (``Speaker: text``); a file that begins with ``WEBVTT`` is WebVTT whatever its suffix. Cues of subtitles that do not
    end after they begin, and cues and lines of transcripts in which nothing is said, are left out.

    Args:
        path: the file.
        clip: the file id to choose where an RTTM file tells of several.

    Raises:
        ConversationError: naming file and line of what cannot be read, of a row of a table that does not end after it
            begins, of a text longer than `MAX_TEXT` or of turns beyond `MAX_TURNS`; or if there is no turn, or only
            some have times.
    """
    found = _sorted(_read(path, clip), path.name, str(path))
    if not found.segments:
        why = f" ({found.left_out[0]})" if found.left_out else ""
        raise ConversationError(
            f"{path} tells of no turn{why}. Check that it is the right file, and not only a header."
        )
    return found


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
        return _fitted(segments_in(file, clip.stem), clip, streams.end_s)
    try:
        inside = _sorted(read_embedded(clip, streams), "subtitles inside the clip", f"The subtitles inside {clip}")
        if inside.segments:
            return _fitted(inside, clip, streams.end_s)
        return replace(_heard(clip, streams), left_out=inside.left_out)
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


def _read(path: Path, clip: str | None) -> Iterator[Segment | str]:
    """Segments, and sentences about what is none, as the reader for the suffix gives them."""
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


def _sorted(read: Iterable[Segment | str], source: str, name: str) -> Found:
    """All segments by time, each checked, and what is none; not much more than there may be is taken from ``read``."""
    found: list[Segment] = []
    left_out: list[str] = []
    for item in read:
        if isinstance(item, str):
            left_out.append(item)
        else:
            found.append(_checked(item))
        if len(found) > MAX_TURNS:
            raise ConversationError(
                f"{name}: from {found[-1].source} on there are more than {MAX_TURNS:,} turns, expected those of one "
                "conversation. Split them, and the clip."
            )
        if len(left_out) > MAX_TURNS:
            raise ConversationError(f"{name}: more than {MAX_TURNS:,} cues are no turns: {item}. Repair it.")
    timeless = next((segment for segment in found if segment.start_s is None), None)
    if timeless is not None and any(segment.start_s is not None for segment in found):
        raise ConversationError(f"{timeless.source}: the turn has no times, but others have. Give all of them times.")
    found.sort(key=lambda segment: (segment.start_s or 0.0, segment.end_s or 0.0))
    return Found(tuple(found), source, tuple(left_out))


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


def _fitted(found: Found, clip: Path, end_s: float) -> Found:
    """The same, the last segments cut where the clip ends."""
    for segment in found.segments:
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
    cut = (replace(s, end_s=min(s.end_s, end_s)) if s.end_s is not None else s for s in found.segments)
    return replace(found, segments=tuple(cut))


__all__ = ["MAX_TEXT", "MAX_TURNS", "SUFFIXES", "Found", "Segment", "read_segments", "segments_in", "segments_of"]
