"""SubRip (SRT) and WebVTT subtitles as they are found, turned into segments.

The parser is our own. Tried on damaged files, pysubs2 made comments and cues with a misspelt time part of the text of
the cue before, webvtt-py dropped such cues without a word, and srt stopped without saying in which line; none of the
three keeps line numbers, which the errors here name, and only webvtt-py keeps one speaker per cue.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from m2fnet.conversation.cue_text import spoken
from m2fnet.conversation.reading import clock
from m2fnet.errors import ConversationError
from m2fnet.records import Segment

_TIMING = re.compile(
    r"\s*([0-9]+:[0-9:.,]+)\s*-->\s*([0-9]+:[0-9:.,]+)(?:\s|$)"
)  # settings such as "align:start" may follow
_TRIED = re.compile(r"\s*-?[0-9]\S*\s*-->|[^>]*-->\s*-?[0-9]+[:.,]")  # meant as times, an arrow in a text is not
_NUMBER = re.compile(r"\s*[0-9]+\s*")


@dataclass(frozen=True)
class _Cue:
    where: str
    start_s: float
    end_s: float
    lines: list[str]


def read_subtitles(lines: Sequence[str], name: str, *, is_vtt: bool) -> Iterator[Segment | str]:
    """Segments of the cues, in the order of the file; a cue that is not an utterance gives a sentence that says why.

    WebVTT's blocks of notes, styles and regions are not cues.

    Args:
        lines: of the file.
        name: of the file, for errors.
        is_vtt: a blank line ends a cue. In SRT files blank lines occur in the middle of cues.

    Raises:
        ConversationError: if a line is meant as the times of a cue and does not tell two of them.
    """
    for cue in _cues(lines, name):
        payload = takewhile(str.strip, cue.lines) if is_vtt else cue.lines
        yield from utterances_in(cue.start_s, cue.end_s, "\n".join(payload), cue.where)


def utterances_in(start_s: float, end_s: float, payload: str, where: str) -> Iterator[Segment | str]:
    r"""Segments of the utterances in one cue, which share its time in proportion to the length of their texts.

    A cue without text, or one that does not end after it begins, gives a sentence that says so: real files have such
    cues.

    Example:
        >>> [(s.start_s, s.end_s, s.speaker) for s in utterances_in(0.0, 4.0, "ANN: No.\nBOB: Yes", "talk.srt:2")]
        [(0.0, 2.0, 'ANN'), (2.0, 4.0, 'BOB')]
        >>> list(utterances_in(0.0, 4.0, "<i></i>", "talk.srt:6"))
        ['talk.srt:6 says nothing']
    """
    utterances = spoken(payload)
    if not utterances:
        yield f"{where} says nothing"
        return
    if end_s <= start_s:
        yield f"{where} begins at {start_s:g} s and ends at {end_s:g} s"
        return
    total = sum(len(text) for _, text in utterances)
    begin, heard = start_s, 0
    for speaker, text in utterances:
        heard += len(text)
        end = start_s + (end_s - start_s) * heard / total
        yield Segment(begin, end, speaker, text, where)
        begin = end


def _cues(lines: Sequence[str], name: str) -> Iterator[_Cue]:
    """Cues with all lines up to the times of the next cue, without its number."""
    cue: _Cue | None = None
    for number, line in enumerate(lines, start=1):
        times = _times(line, f"{name}:{number}") if "-->" in line else None
        if times is not None:
            if cue is not None:
                if cue.lines and _NUMBER.fullmatch(cue.lines[-1]):
                    cue.lines.pop()
                yield cue
            cue = _Cue(f"{name}:{number}", *times, [])
        elif cue is not None:
            cue.lines.append(line)
    if cue is not None:
        yield cue


def _times(line: str, where: str) -> tuple[float, float] | None:
    """Start and end in seconds; None where the line is a text with an arrow in it."""
    match = _TIMING.match(line)
    start_s, end_s = (clock(match[1]), clock(match[2])) if match is not None else (None, None)
    if start_s is not None and end_s is not None:
        return start_s, end_s
    if match is not None or _TRIED.match(line):
        raise ConversationError(
            f"{where} is {line.strip()[:80]!r}, expected two times like 00:01:02,500 --> 00:01:04,000. "
            "Correct the line or take the cue out."
        )
    return None
