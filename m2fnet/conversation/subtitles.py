"""SubRip (SRT), WebVTT and SubViewer (SBV) subtitles as they are found, turned into cues.

The parser is our own. Tried on damaged files, pysubs2 made comments and cues with a misspelt time part of the text of
the cue before, webvtt-py dropped such cues without a word, and srt stopped without saying in which line; none of the
three keeps line numbers, which the sentences here name, and only webvtt-py keeps one speaker per cue.

WebVTT follows its specification (https://www.w3.org/TR/webvtt1/#file-parsing): only an empty line ends a cue, a line
with a blank does not. SRT has none; as in players, a cue ends where the times of the next one are, and its number is
the line before them.
"""

import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from m2fnet.conversation.cues import Cue, utterances_of
from m2fnet.conversation.reading import Note, clock
from m2fnet.conversation.speakers import is_header_name
from m2fnet.errors import ConversationError
from m2fnet.records import Segment

MAX_CUES = 50_000  # ten hours of rolling captions
Line = tuple[int, str]  # its number in the file, from 1

_TIME = r"-?[0-9]{1,6}(?::[0-9]{1,3}){0,3}(?:[.,][0-9]{1,9})?"
_TIMING = re.compile(rf"\s*(?:[0-9]+\s+)?[\[(]?\s*({_TIME})\s*-->\s*({_TIME})\s*(?:[\])]|(?=\s)|$)(.*)")
_EXACT = r"[0-9]{1,3}:[0-9]{2}(?::[0-9]{2})?[.,][0-9]{1,3}"  # two of them are times whatever is between them
_OTHER = re.compile(rf"\s*(?:[0-9]+\s+)?[\[(]?({_EXACT})(?:\s*(?:[^\w\s:.]{{1,4}}|to)\s*|\s+)({_EXACT})[\])]?(?=\s|$)")
_ARROW = re.compile(r"\s*(?:[-–—―−‒‑=]{1,3}\s?>{1,2}|[→⟶➔➡⇒])\s*")
_TRIED = re.compile(r"\s*-?[0-9]\S*\s*-->|[^>]*-->\s*-?[0-9]+[:.,]")  # meant as times, an arrow in a text is not
_LOOSE = re.compile(r"(?<=[0-9])\s*([:.,])\s*(?=[0-9])")  # translators by machine write "00: 00: 01, 500"
_TEAMS_TIME = re.compile(r"\s*[0-9]:[0-9]{1,2}:[0-9]{1,2}\.[0-9]+\s*-->")
_SETTINGS = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9]*:\S+\s*)*")  # of WebVTT (align:start) and SubRip (X1:40)
_NUMBER = re.compile(r"\s*[0-9]+\s*")
_MAP = re.compile(r"X-TIMESTAMP-MAP\s*=\s*(?=.*MPEGTS:([0-9]{1,12}))(?=.*LOCAL:([0-9:.]{1,20}))")
_MPEGTS_HZ = 90_000


@dataclass
class _Block:
    """A line with times and the lines that belong to it."""

    number: int
    times: tuple[float, float] | None  # None where they cannot be read
    line: str
    lines: list[Line] = field(default_factory=list)


def read_subtitles(lines: Sequence[str], name: str, *, is_vtt: bool) -> Iterator[Segment | Note | str]:
    """Segments of the cues, by time; whatever else was on the screen gives a sentence that says why it is none.

    WebVTT's blocks of notes, styles and regions are not on the screen.

    Args:
        lines: of the file.
        name: of the file, for the sentences.
        is_vtt: an empty line ends a cue. In SRT files there are empty lines in the middle of cues.

    Raises:
        ConversationError: if there are more than `MAX_CUES`.
    """
    cues: list[Cue] = []
    has_teams_times = False
    for item in (_vtt_blocks if is_vtt else _srt_blocks)(_single_spaced(lines), name):
        if not isinstance(item, _Block):
            yield item
            continue
        payload = "\n".join(line for _, line in item.lines).strip("\n")
        where = f"{name}:{item.number}"
        if item.times is None:
            text = " ".join(payload.split())
            yield (
                f"{where} is {item.line.strip()[:80]!r}, expected two times like 00:01:02,500 --> 00:01:04,000"
                + (f"; its text is {text[:80]!r}" if text else "")
            )
        else:
            has_teams_times |= _TEAMS_TIME.match(item.line) is not None
            cues.append(Cue(where, *item.times, payload))
        if len(cues) > MAX_CUES:
            raise ConversationError(
                f"{name}:{item.number}: there are more than {MAX_CUES:,} cues, expected those of one conversation. "
                "Split them, and the clip."
            )
    yield from utterances_of(_with_names_above(cues) if has_teams_times else cues)


def timing(line: str) -> tuple[tuple[float, float] | None, str] | None:
    """Start and end of a cue, and the text after them in the same line; None where the line has no times.

    The arrow may be any that editors and phones make of ``-->``. Times that cannot be read are None.

    Example:
        >>> timing("00:00:01,000 –> 00:00:02,500"), timing("[00:01.0 --> 00:02.5]  Hi")
        (((1.0, 2.5), ''), ((1.0, 2.5), 'Hi'))
        >>> timing("00:00:0x,000 --> 00:00:02,000"), timing("go --> there")
        ((None, ''), None)
    """
    if not any(letter.isdigit() for letter in line[:40]):
        return None
    text = html.unescape(line) if "&gt;" in line else line
    normal = _LOOSE.sub(r"\1", unicodedata.normalize("NFKC", text[:400]))
    is_arrow = "-->" in normal
    if (exact := _OTHER.match(normal)) is not None and not is_arrow:
        normal = f"{exact[1]} --> {exact[2]} {normal[exact.end() :]}"
    else:
        normal = _ARROW.sub(" --> ", normal, count=1)
    if "-->" not in normal:
        return None
    match = _TIMING.match(normal)
    is_time = re.compile(r".*[:.,]" if is_arrow else rf"-?(?:{_EXACT}|[0-9]+:[0-9]+:[0-9]+(?::[0-9]{{3}})?)$").match
    if match is not None and all(map(is_time, match.group(1, 2))):
        start_s, end_s = (_seconds(time) for time in match.group(1, 2))
        if start_s is None or end_s is None:
            return None, ""
        rest = match[3]
        return (start_s, end_s), "" if _SETTINGS.fullmatch(rest) else rest.strip()
    if _TRIED.match(normal) and (is_arrow or re.match(r"\s*-?[0-9]+:[0-9]", normal)):
        return None, ""
    return None


def _with_names_above(cues: Sequence[Cue]) -> list[Cue]:
    """The cues with their first lines as speakers if all are names, as in transcripts that Teams saves as documents."""
    parts = [(first.strip(), rest.strip()) for first, _, rest in (cue.payload.partition("\n") for cue in cues)]
    if not all(rest and is_header_name(first) for first, rest in parts):
        return list(cues)
    return [replace(cue, speaker=first, payload=rest) for cue, (first, rest) in zip(cues, parts, strict=True)]


def _seconds(time: str) -> float | None:
    sign, time = (-1, time[1:]) if time.startswith("-") else (1, time)
    if re.fullmatch(r"[0-9]+:[0-9]{2}:[0-9]{2}:[0-9]{3}", time):  # milliseconds behind a colon
        time = ".".join(time.rsplit(":", 1))
    seconds = clock(time)
    return None if seconds is None else sign * seconds


def _single_spaced(lines: Sequence[str]) -> list[Line]:
    """Lines with their numbers, without the empty one that some tools put after each."""
    numbered = list(enumerate(lines, start=1))
    for first in (0, 1):
        if len(lines) > 3 and not any(line.strip() for line in lines[1 - first :: 2]):
            return numbered[first::2]
    return numbered


def _srt_blocks(lines: Sequence[Line], name: str) -> Iterator[_Block | str]:
    """Blocks with all lines up to the times of the next one, without its number."""
    block: _Block | None = None
    before: list[Line] = []  # the first block
    has_numbers = False
    for number, line in lines:
        if (found := timing(line)) is None:
            (before if block is None else block.lines).append((number, line))
            continue
        times, rest = found
        so_far = before if block is None else block.lines
        has_numbers = bool(so_far and _NUMBER.fullmatch(_last(so_far))) if block is None else has_numbers
        if has_numbers and _NUMBER.fullmatch(_last(so_far)):
            while not so_far[-1][1].strip():
                so_far.pop()
            so_far.pop()
        if block is not None:
            yield block
        block = _Block(number, times, line, [(number, rest)] if rest else [])
    if block is not None:
        yield block
    for number, line in before:
        if line.strip():
            yield f"{name}:{number} has no times: {line.strip()[:80]!r}"


def _last(lines: Sequence[Line]) -> str:
    """The last line that is not blank; blank if there is none."""
    return next((line for _, line in reversed(lines) if line.strip()), "")


def _vtt_blocks(lines: Sequence[Line], name: str) -> Iterator[_Block | Note | str]:
    """The same for WebVTT, where an empty line ends a block; text in a block without times is not shown by players."""
    first_map: float | None = None
    shift = 0.0
    for group in _groups(lines):
        head = group[0][1].strip()
        is_header = head.startswith(("WEBVTT", "X-TIMESTAMP-MAP"))
        if is_header:
            for number, line in group:
                match = _MAP.match(line.strip())
                local = clock(match[2]) if match is not None else None
                if match is not None and local is not None:
                    here = int(match[1]) / _MPEGTS_HZ - local
                    if first_map is None:
                        first_map = here
                        yield Note(
                            f"{name}:{number} maps its times to those of a broadcast. They were taken to count from "
                            "the beginning of the clip."
                        )
                    shift = here - first_map
        times = [place for place, (_, line) in enumerate(group) if timing(line) is not None]
        begin = times[0] if times else len(group)
        is_comment = re.match(r"(?:NOTE|STYLE|REGION)(?:\s|$)", head) is not None and times[:1] != [1]
        for number, line in group[: max(0, begin - 1) if times else begin]:
            is_unseen = is_comment or is_header or _NUMBER.fullmatch(line)
            if line.strip() and not is_unseen:
                yield f"{name}:{number} is in no cue, because an empty line ends one: {line.strip()[:80]!r}"
        for place, end in zip(times, [*times[1:], len(group)], strict=False):
            number, line = group[place]
            found = timing(line)
            assert found is not None
            read, rest = found
            texts = [*([(number, rest)] if rest else []), *group[place + 1 : end]]
            if end < len(group) and len(texts) > 1 and _NUMBER.fullmatch(texts[-1][1]):
                texts.pop()  # of the next cue, in a file that has blanks in the line between
            yield _Block(number, (read[0] + shift, read[1] + shift) if read is not None else None, line, texts)


def _groups(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Lines between empty ones."""
    group: list[Line] = []
    for number, line in lines:
        if line:
            group.append((number, line))
        elif group:
            yield group
            group = []
    if group:
        yield group
