"""When the utterances of a clip begin and end: read from a file or subtitles, or found in the sound."""

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

MAX_SEGMENTS = 10_000
SUFFIXES = (".srt", ".vtt", ".rttm", ".csv", ".tsv", ".txt")
MAX_TEXT = 10_000  # characters of an utterance; a quarter of an hour of speech
_SIDECARS = (".srt", ".vtt")  # the suffixes under which players look for subtitles


@dataclass(frozen=True)
class Found:
    """The utterances of a clip and where they were found.

    Attributes:
        segments: one per utterance, in speaking order.
        source: ``"talk.srt"`` (the name of a file), ``"subtitles inside the clip"``, ``"voice activity"`` or
            ``"whole clip"``.
        skipped: which cues or lines are not utterances and why, such as ``"talk.srt:2 says nothing"``.
    """

    segments: tuple[Segment, ...]
    source: str
    skipped: tuple[str, ...] = ()


def read_segments(path: Path, clip: str | None = None) -> tuple[Segment, ...]:
    """The ``segments`` of `segments_in`."""
    return segments_in(path, clip).segments


def segments_in(path: Path, clip: str | None = None) -> Found:
    r"""The utterances in a file, by start and end; those without times in the order of the file.

    The suffix gives the format: ``.srt``, ``.vtt``, ``.rttm``, ``.csv`` (start, end, speaker, text), or ``.txt``
    (``Speaker: text``); a file that begins with ``WEBVTT`` is WebVTT with any suffix. Cues of subtitles that do not
    end after they begin, and cues and lines of transcripts without text, are skipped and named.

    Args:
        path: the file.
        clip: the file id to choose where an RTTM file has several.

    Raises:
        ConversationError: naming file and line of what cannot be read, of a row of a table that does not end after it
            begins, of a text longer than `MAX_TEXT` or of utterances beyond `MAX_SEGMENTS`; or if there is no
            utterance, or only some have times.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "talk.csv"
        ...     _ = path.write_text("start,end,speaker,text\n0.5,2,Ann,You came!\n2.5,4,Bob,Of course.\n")
        ...     found = segments_in(path)
        >>> [(s.start_s, s.end_s, s.speaker, s.text) for s in found.segments]
        [(0.5, 2.0, 'Ann', 'You came!'), (2.5, 4.0, 'Bob', 'Of course.')]
    """
    found = _sorted(_read(path, clip), path.name, str(path))
    if not found.segments:
        why = f" ({found.skipped[0]})" if found.skipped else ""
        raise ConversationError(
            f"{path} holds no utterance{why}. Check that it is the right file, and not only a header."
        )
    return found


def segments_of(clip: Path, segments: Path | None = None) -> Found:
    """The utterances of a clip: those of the file ``segments``, otherwise of the first of these that exists.

    Subtitles in the same folder as the clip (``talk.srt`` or ``talk.vtt`` for ``talk.mp4``), a stream of text subtitles
    inside it, stretches of speech in its sound, and last the whole clip as one utterance. An utterance that is longer
    than the clip is cut at its end.

    Raises:
        ConversationError: if ``clip`` cannot be used as one, the file cannot be read, or an utterance begins after the
            end of the clip.
    """
    streams = streams_of(clip)
    sidecars = (clip.with_suffix(suffix) for suffix in _SIDECARS)
    file = segments or next((path for path in sidecars if path.exists()), None)
    if file is not None:
        return _fitted(segments_in(file, clip.stem), clip, streams.end_s)
    try:
        inside = _sorted(read_embedded(clip, streams), "subtitles inside the clip", f"The subtitles inside {clip}")
        if inside.segments:
            return _fitted(inside, clip, streams.end_s)
        return replace(_heard(clip, streams), skipped=inside.skipped)
    except MediaError as problem:
        raise ConversationError(f"{clip} is damaged ({problem}). Repair it or take another copy.") from problem


def _heard(clip: Path, streams: Streams) -> Found:
    levels = levels_of(clip) if streams.sound_s is not None else NO_LEVELS
    spoken = speech_in(levels)
    if spoken:
        return Found(spoken, "voice activity")
    end_s = streams.end_s if math.isfinite(streams.end_s) else seconds_in(levels)
    if end_s <= 0:
        raise ConversationError(f"{clip} does not say how long it is, and has no sound. Give a file of segments.")
    return Found((Segment(0.0, end_s),), "whole clip")


def _read(path: Path, clip: str | None) -> Iterator[Segment | str]:
    """Segments, and sentences about what was skipped, from the reader for the suffix."""
    lines, name = read_lines(path), str(path)
    match ".vtt" if lines[0].startswith("WEBVTT") else path.suffix.lower():
        case ".srt" | ".vtt" as suffix:
            return read_subtitles(lines, name, is_vtt=suffix == ".vtt")
        case ".rttm":
            return read_rttm(lines, name, clip)
        case ".csv" | ".tsv":
            return read_table(lines, name)
        case ".txt":
            return read_transcript(lines, name)
        case suffix:
            raise ConversationError(f"{path} has the suffix {suffix!r}, expected one of {', '.join(SUFFIXES)}.")


def _sorted(read: Iterable[Segment | str], source: str, name: str) -> Found:
    """All segments by time, each checked, and what was skipped; reading ends soon after there are too many."""
    found: list[Segment] = []
    skipped: list[str] = []
    for item in read:
        if isinstance(item, str):
            skipped.append(item)
        else:
            found.append(_checked(item))
        if len(found) > MAX_SEGMENTS:
            raise ConversationError(
                f"{name}: from {found[-1].source} on there are more than {MAX_SEGMENTS:,} utterances, expected "
                "those of one conversation. Split them, and the clip."
            )
        if len(skipped) > MAX_SEGMENTS:
            raise ConversationError(f"{name}: more than {MAX_SEGMENTS:,} cues are not utterances: {item}. Repair it.")
    timeless = next((segment for segment in found if segment.start_s is None), None)
    if timeless is not None and any(segment.start_s is not None for segment in found):
        raise ConversationError(
            f"{timeless.source}: the utterance has no times, but others have. Give all of them times."
        )
    found.sort(key=lambda segment: (segment.start_s or 0.0, segment.end_s or 0.0))
    return Found(tuple(found), source, tuple(skipped))


def _checked(segment: Segment) -> Segment:
    if segment.start_s is not None and segment.end_s is not None and segment.end_s <= segment.start_s:
        raise ConversationError(
            f"{segment.source}: the utterance begins at {segment.start_s:g} s and ends at {segment.end_s:g} s, "
            "expected an end after the start. Correct the times or remove the utterance."
        )
    for what, text in (("text", segment.text), ("speaker's name", segment.speaker)):
        if text is not None and len(text) > MAX_TEXT:
            raise ConversationError(
                f"{segment.source}: the {what} has {len(text):,} characters, expected at most {MAX_TEXT:,}. Split it."
            )
    return segment


def _fitted(found: Found, clip: Path, end_s: float) -> Found:
    """The same with the last segments cut where the clip ends."""
    for segment in found.segments:
        if segment.start_s is None:
            raise ConversationError(
                f"{segment.source} has no times, but the utterances of a clip need them. Give a file with start and "
                "end, or the transcript without the clip."
            )
        if segment.start_s >= end_s:
            raise ConversationError(
                f"{segment.source}: the utterance begins at {segment.start_s:g} s, but {clip} ends at {end_s:.2f} s. "
                "Check that the file belongs to the clip, or remove the utterance."
            )
    cut = (replace(s, end_s=min(s.end_s, end_s)) if s.end_s is not None else s for s in found.segments)
    return replace(found, segments=tuple(cut))


__all__ = ["MAX_SEGMENTS", "MAX_TEXT", "SUFFIXES", "Found", "Segment", "read_segments", "segments_in", "segments_of"]
