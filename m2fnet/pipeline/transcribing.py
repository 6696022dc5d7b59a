"""The utterances of a clip that have no words, with those that a recogniser hears."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from torch import Tensor
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from m2fnet.conversation.recognised import NO_WORDS, Heard, Phrase, at_pauses, cleaned, divided, joined, reason_against
from m2fnet.conversation.segments import Found
from m2fnet.errors import MediaError
from m2fnet.media.audio import RATE, read_audio
from m2fnet.pipeline.recogniser import Recogniser
from m2fnet.records import Segment

Progress = Callable[[int, int], None]

_FOR_LANGUAGE = 5  # stretches from which the language is detected, the longest
_SHORTEST_S = 0.1  # of a piece that is heard


@dataclass(frozen=True)
class _Stretch:
    """What is heard together: stretches of voice, or a segment that somebody gave."""

    segments: tuple[Segment, ...]
    start_s: float
    end_s: float
    heard: Heard | str  # or why it could not be heard


def needs_words(found: Found) -> bool:
    """Whether the utterances have times and none has words, as from voice activity or RTTM.

    Example:
        >>> needs_words(Found((Segment(0.0, 1.5),), "voice activity"))
        True
        >>> needs_words(Found((Segment(0.0, 1.5, "Ann", "Hi!"),), "talk.srt"))
        False
    """
    return all(segment.text is None and segment.start_s is not None for segment in found.segments)


def transcribe(clip: Path, found: Found, recogniser: Recogniser, progress: Progress | None = None) -> Found:
    """The utterances of ``clip`` with their words; ``found`` itself where they have words.

    Stretches from voice activity that are parts of one are heard together, and divided where sentences end. Segments
    that a file gives stay as they are. Words that are not believed are dropped, and ``no_text`` of the segment says
    why. One stretch of at most 30 seconds is in memory at a time.

    Args:
        clip: video or sound.
        found: its utterances, with times.
        recogniser: writes the words.
        progress: called with the number of stretches that were heard, and the number of all.

    Example:
        >>> from m2fnet.pipeline import conversation_of
        >>> clip, found = conversation_of("talk.mp4")  # doctest: +SKIP
        >>> transcribe(clip, found, Recogniser("openai/whisper-tiny")).segments[0].text  # doctest: +SKIP
        'Look who is here!'
    """
    if not needs_words(found):
        return found
    is_given = found.source not in ("voice activity", "whole clip")
    groups = [(one,) for one in found.segments] if is_given else list(joined(found.segments, recogniser.longest_s))
    language = recogniser.language_of(_longest_sounds(clip, groups, recogniser) if recogniser.languages else ())
    stretches = []
    for number, group in enumerate(groups, start=1):
        start_s, end_s = group[0].start_s or 0.0, group[-1].end_s or 0.0
        stretches.append(_Stretch(group, start_s, end_s, _heard(clip, start_s, end_s, recogniser, language)))
        if progress is not None:
            progress(number, len(groups))
    levels = [stretch.heard.level_db for stretch in stretches if isinstance(stretch.heard, Heard)]
    usual_db = median(levels) if levels else 0.0
    segments = [one for stretch in stretches for one in _segments(stretch, usual_db, recogniser.name, is_given)]
    return replace(found, segments=tuple(segments), notes=(*found.notes, _note(recogniser, language)))


def _note(recogniser: Recogniser, language: str | None) -> str:
    which = "in English, the only language it knows"
    if language is not None:
        which = f"in {LANGUAGES[language].title()} ({'given' if recogniser.language else 'detected'})"
    return f"The words are by the recogniser {recogniser.name}, {which}, not by people: expect errors."


def _longest_sounds(clip: Path, groups: Sequence[tuple[Segment, ...]], recogniser: Recogniser) -> list[Tensor]:
    spans = [(group[0].start_s or 0.0, group[-1].end_s or 0.0) for group in groups]
    longest = sorted(spans, key=lambda span: span[0] - span[1])[:_FOR_LANGUAGE]
    return [sound for start, end in longest if not isinstance(sound := _read(clip, start, end, recogniser), str)]


def _heard(clip: Path, start_s: float, end_s: float, recogniser: Recogniser, language: str | None) -> Heard | str:
    """What is said between two times of the clip, in pieces if that is long; or why it cannot be heard."""
    heard: list[tuple[float, Heard]] = []
    reason, begin = NO_WORDS, start_s
    while end_s - begin >= _SHORTEST_S or begin == start_s:
        stop = min(end_s, begin + recogniser.longest_s)
        sound = _read(clip, begin, stop, recogniser)
        if isinstance(sound, str):
            reason = sound
        else:
            piece = recogniser.hear(sound, language)
            heard.append((begin, replace(piece, phrases=at_pauses(piece.phrases, sound.numpy(), RATE))))
        begin = stop
    if not heard:
        return reason
    phrases = tuple(
        replace(phrase, start_s=offset + phrase.start_s, end_s=offset + phrase.end_s)
        for offset, piece in heard
        for phrase in piece.phrases
    )
    pieces = [piece for _, piece in heard]
    return Heard(phrases, min(piece.no_speech for piece in pieces), max(piece.level_db for piece in pieces))


def _read(clip: Path, start_s: float, end_s: float, recogniser: Recogniser) -> Tensor | str:
    try:
        return read_audio(clip, span=(start_s, end_s), max_seconds=recogniser.longest_s).samples
    except MediaError as problem:
        return problem.reason


def _segments(stretch: _Stretch, usual_db: float, name: str, is_given: bool) -> list[Segment]:
    """The utterances of a stretch with their words, or with the reason why they have none."""
    if isinstance(stretch.heard, str):
        return [replace(segment, no_text=stretch.heard) for segment in stretch.segments]
    heard = stretch.heard
    phrases = divided(heard.phrases, stretch.start_s, stretch.end_s)
    if is_given:
        phrases = _as_one(phrases, stretch)
    reasons = [reason_against(phrase, heard, usual_db) for phrase in phrases]
    if all(reasons):
        reason = next(iter(reasons), NO_WORDS)
        return [replace(segment, no_text=reason) for segment in stretch.segments]
    first = stretch.segments[0]
    return [
        replace(
            first,
            start_s=phrase.start_s,
            end_s=phrase.end_s,
            text=None if reason else cleaned(phrase.text),
            text_source=None if reason else name,
            no_text=reason,
        )
        for phrase, reason in zip(phrases, reasons, strict=True)
    ]


def _as_one(phrases: Sequence[Phrase], stretch: _Stretch) -> tuple[Phrase, ...]:
    """The phrases of a segment whose times somebody gave."""
    if not phrases:
        return ()
    sizes = [len(phrase.text) for phrase in phrases]
    mean = sum(phrase.log_probability * size for phrase, size in zip(phrases, sizes, strict=True)) / sum(sizes)
    return (Phrase(stretch.start_s, stretch.end_s, " ".join(phrase.text for phrase in phrases), mean),)
