"""When the utterances of a clip begin and end: read from a file or subtitles, or found in the sound."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from m2fnet.conversation.clip import Streams, streams_of
from m2fnet.conversation.embedded import read_embedded
from m2fnet.conversation.other_formats import advice_by_content, advice_by_suffix, unread_sidecars
from m2fnet.conversation.reading import Note, read_lines
from m2fnet.conversation.rttm import read_rttm
from m2fnet.conversation.sidecars import is_forced, is_own_output, sidecars_of, similar_to
from m2fnet.conversation.substation import is_substation, read_substation
from m2fnet.conversation.subtitles import read_subtitles, timing
from m2fnet.conversation.transcript import is_table, read_table
from m2fnet.conversation.transcript_text import read_transcript
from m2fnet.conversation.voice import NO_LEVELS, levels_of, seconds_in, speech_in
from m2fnet.errors import ConversationError, MediaError
from m2fnet.records import Segment

MAX_SEGMENTS = 10_000
SUFFIXES = (".srt", ".vtt", ".ass", ".ssa", ".sbv", ".rttm", ".csv", ".tsv", ".txt")
MAX_TEXT = 10_000  # characters of an utterance; a quarter of an hour of speech


@dataclass(frozen=True)
class Found:
    """The utterances of a clip and where they were found.

    Attributes:
        segments: one per utterance, in speaking order.
        source: ``"talk.srt"`` (the name of a file), ``"subtitles inside the clip"``, ``"voice activity"`` or
            ``"whole clip"``.
        skipped: what is not an utterance and why, such as ``"talk.srt:2 says nothing"``.
        notes: what was assumed, such as ``"talk.srt is not UTF-8 and was read as cp1251."``.
    """

    segments: tuple[Segment, ...]
    source: str
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_segments(path: Path, clip: str | None = None) -> tuple[Segment, ...]:
    """The ``segments`` of `segments_in`."""
    return segments_in(path, clip).segments


def segments_in(path: Path, clip: str | None = None) -> Found:
    r"""The utterances in a file, by start and end; those without times in the order of the file.

    The content gives the format: subtitles (SRT, WebVTT, SBV, ASS or SSA), RTTM, and else by the suffix a table
    (``.csv`` with start, end, speaker, text) or a transcript (``.txt``). Whatever is in subtitles, RTTM and transcripts
    and is not an utterance is skipped and named.

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

    Subtitles in the same folder as the clip (see `sidecars_of`), a stream of text subtitles inside it, stretches of
    speech in its sound, and last the whole clip as one utterance. An utterance that is longer than the clip is cut at
    its end, and one that begins after it is skipped and named.

    Raises:
        ConversationError: if ``clip`` cannot be used as one, the file cannot be read, or all utterances begin after the
            end of the clip.
    """
    streams = streams_of(clip)
    file, notes = (segments, ()) if segments is not None else _sidecar(clip)
    if file is not None:
        found = segments_in(file, clip.stem)
        return _fitted(replace(found, notes=(*notes, *found.notes)), clip, streams.end_s)
    try:
        inside = _sorted(read_embedded(clip, streams), "subtitles inside the clip", f"The subtitles inside {clip}")
        inside = replace(inside, notes=(*notes, *inside.notes))
        if inside.segments:
            return _fitted(inside, clip, streams.end_s)
        return replace(_heard(clip, streams), skipped=inside.skipped, notes=inside.notes)
    except MediaError as problem:
        raise ConversationError(f"{clip} is damaged ({problem}). Repair it or take another copy.") from problem


def subtitles_of(clip: Path) -> Path | None:
    """The file with subtitles in the folder of a clip that `segments_of` reads; None where there is none."""
    return _sidecar(clip)[0]


def _sidecar(clip: Path) -> tuple[Path | None, tuple[str, ...]]:
    """The same, with sentences about files that were not read."""
    notes: list[str] = []
    good: list[Path] = []
    for path in sidecars_of(clip):
        if is_forced(path):
            notes.append(f"{path.name} was not read: it is for foreign passages only. Choose it with --segments.")
        elif path.suffix.lower() == ".srt" and is_own_output(_first_texts(path)):
            notes.append(f"{path.name} was not read: it holds predictions, not what is said.")
        else:
            good.append(path)
    if len(good) > 1:
        others = ", ".join(path.name for path in good[1:])
        notes.insert(0, f"{good[0].name} was read, not {others}. Choose another one with --segments.")
    if not good and not notes and (others := ", ".join(path.name for path in similar_to(clip))):
        notes.append(f"{others} was not read, because its name is not that of the clip. Choose it with --segments.")
    notes += [f"{path.name} {advice_by_suffix(path)}" for path in unread_sidecars(clip)]
    return next(iter(good), None), tuple(notes)


def _first_texts(path: Path) -> list[str]:
    """The line behind each line with times."""
    lines, _ = read_lines(path)
    return [after for line, after in pairwise(lines) if "-->" in line]


def _heard(clip: Path, streams: Streams) -> Found:
    levels = levels_of(clip) if streams.sound_s is not None else NO_LEVELS
    spoken = speech_in(levels)
    if spoken:
        return Found(spoken, "voice activity")
    end_s = streams.end_s if math.isfinite(streams.end_s) else seconds_in(levels)
    if end_s <= 0:
        raise ConversationError(f"{clip} does not say how long it is, and has no sound. Give a file of segments.")
    return Found((Segment(0.0, end_s),), "whole clip")


def _read(path: Path, clip: str | None) -> Iterator[Segment | Note | str]:
    """Segments, and sentences about what was skipped and assumed, from the reader for the content."""
    if (advice := advice_by_suffix(path)) is not None:
        raise ConversationError(f"{path} {advice}")
    lines, note = read_lines(path)
    if note is not None:
        yield Note(note)
    name, suffix = str(path), path.suffix.lower()
    if (advice := advice_by_content(lines)) is not None:
        raise ConversationError(f"{path} {advice}")
    if suffix not in SUFFIXES and not lines[0].startswith("WEBVTT"):
        raise ConversationError(f"{path} has the suffix {suffix!r}, expected one of {', '.join(SUFFIXES)}.")
    format_ = _format(lines, suffix)
    if format_ != suffix and (suffix, format_) not in ((".ssa", ".ass"), (".sbv", ".srt")):
        yield Note(f"{path} was read as {format_[1:].upper()}, which its content is.")
    match format_:
        case ".srt" | ".vtt":
            if is_own_output(_first_texts(path)):
                raise ConversationError(
                    f"{path} holds predictions of m2fnet. Expected what they were made from; the predictions.csv next "
                    "to them has it too."
                )
            yield from read_subtitles(lines, name, is_vtt=format_ == ".vtt")
        case ".ass":
            yield from read_substation(lines, name)
        case ".rttm":
            yield from read_rttm(lines, name, clip)
        case ".csv" | ".tsv":
            yield from read_table(lines, name)
        case _:
            yield from read_transcript(lines, name)


def _format(lines: Sequence[str], suffix: str) -> str:
    """The suffix that fits to the content of a file; its own where the content does not say."""
    first = next(line.strip() for line in lines if line.strip())
    if first.startswith("WEBVTT"):
        return ".vtt"
    if is_substation(lines):
        return ".ass"
    if suffix in (".csv", ".tsv"):
        return suffix
    if first.startswith("SPEAKER ") and len(first.split()) >= 8 and suffix == ".txt":
        return ".rttm"
    if suffix in (".txt", ".rttm", ".ass", ".ssa", ".sbv") and any(timing(line) is not None for line in lines):
        return ".srt"
    return ".csv" if suffix == ".txt" and is_table(lines) else suffix


def _sorted(read: Iterable[Segment | Note | str], source: str, name: str) -> Found:
    """All segments by time, each checked, and what was skipped; reading ends soon after there are too many."""
    found: list[Segment] = []
    skipped: list[str] = []
    notes: list[str] = []
    for item in read:
        if isinstance(item, Note):
            notes.append(item.text)
        elif isinstance(item, str):
            skipped.append(item)
        else:
            found.append(_checked(item))
        if len(found) > MAX_SEGMENTS:
            raise ConversationError(
                f"{name}: from {found[-1].source} on there are more than {MAX_SEGMENTS:,} utterances, expected "
                "those of one conversation. Split them, and the clip."
            )
        if len(skipped) > MAX_SEGMENTS:
            raise ConversationError(
                f"{name}: more than {MAX_SEGMENTS:,} cues are not utterances: {skipped[-1]}. Repair it."
            )
    timeless = next((segment for segment in found if segment.start_s is None), None)
    if timeless is not None and any(segment.start_s is not None for segment in found):
        raise ConversationError(
            f"{timeless.source}: the utterance has no times, but others have. Give all of them times."
        )
    found.sort(key=lambda segment: (segment.start_s or 0.0, segment.end_s or 0.0))
    return Found(tuple(found), source, tuple(skipped), tuple(notes))


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
    """The same with the last segments cut where the clip ends, and without those after it."""
    fitted: list[Segment] = []
    late: list[str] = []
    for segment in found.segments:
        if segment.start_s is None or segment.end_s is None:
            raise ConversationError(
                f"{segment.source} has no times, but the utterances of a clip need them. Give a file with start and "
                "end, or the transcript without the clip."
            )
        if segment.start_s < end_s:
            fitted.append(replace(segment, end_s=min(segment.end_s, end_s)))
            continue
        late.append(
            f"{segment.source}: the utterance begins at {segment.start_s:g} s, but {clip} ends at {end_s:.2f} s"
        )
    if not fitted:
        raise ConversationError(f"{late[0]}, as all others do. Check that the file belongs to the clip.")
    return replace(found, segments=tuple(fitted), skipped=(*found.skipped, *late))


__all__ = [
    "MAX_SEGMENTS",
    "MAX_TEXT",
    "SUFFIXES",
    "Found",
    "Segment",
    "read_segments",
    "segments_in",
    "segments_of",
    "subtitles_of",
]
