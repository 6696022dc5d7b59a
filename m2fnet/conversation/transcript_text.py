"""Transcripts as plain text: one utterance per line, exports of meetings with clock times, and of chats with dates."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from m2fnet.conversation.cue_text import spoken
from m2fnet.conversation.cues import not_said
from m2fnet.conversation.reading import Note, cleaned, clock
from m2fnet.conversation.speakers import is_header_name, mostly_named
from m2fnet.errors import ConversationError
from m2fnet.records import Segment

_CLOCK = r"[0-9]{1,3}(?::[0-9]{2}){1,2}(?:[.,][0-9]{1,3})?"
_RANGE = rf"({_CLOCK})(?:\s*[-–—]\s*({_CLOCK}))?"
_BEFORE = re.compile(rf"(?:[\[(]\s*{_RANGE}\s*[\])]|{_RANGE}(?=\s|$))\s*(?:[-–—|:]\s+)?(.*)")  # [00:12] Ann: Hello
_BEHIND = re.compile(
    rf"(.{{1,60}}?)(\s*[\[(]\s*|,\s*|\s+[-–—|]?\s*){_RANGE}(\s?[AaPp]\.?[Mm]\.?)?\s*[\])]?\s*:?$"
)  # Ann Lee  0:03
_AMID = re.compile(rf"([^:\[(]{{1,60}}?)\s*(:?)\s*[\[(]\s*({_CLOCK})\s*[\])]\s*(:?)\s+(.+)")  # Ann (0:03): Hello
_SECONDS = re.compile(r"([0-9]{1,6}[.,][0-9]{1,6})\s+([0-9]{1,6}[.,][0-9]{1,6})\s+(.*)")  # 0.00 2.50 SPEAKER_00 Hello
_FROM = re.compile(r"From\s+(.{1,60}?)(?:\s+to\s+.{1,60}?)?\s*:\s*(.*)", re.IGNORECASE)  # in saved chats of Zoom
_DATE = re.compile(
    r"\[?(?:[0-9]{1,4}[./-](?:[0-9]{1,2}|[a-z]{3})[./-][0-9]{1,4}\.?),?\s+(?:[^\d\s\[\]]{1,4}\s?)?[0-9]{1,2}[:.][0-9]{2}(?:[:.][0-9]{2})?"
    r"(?:\s?[ap]\.?\s?m\.?)?(?:\]|\s[-–—])\s*(.*)",
    re.IGNORECASE,
)  # WhatsApp on Android and on iPhones, in the order of dates of any country; DiscordChatExporter
_DATE_BEHIND = re.compile(
    r"(.{1,60}?), \[[0-9]{1,4}([./-])[0-9]{1,2}\2[0-9]{1,4},? [0-9]{1,2}:[0-9]{2}[^\]]{0,6}\]"
)  # Telegram
_STAMP = re.compile(
    r"\s*#([0-9]{1,2}:[0-9]{2}:[0-9]{2})-([0-9])#\s*"
)  # of f4transkript and MAXQDA, tenths behind the dash
_TIME_CELL = re.compile(rf"{_CLOCK}|[0-9]{{1,9}}(?:[.,][0-9]{{1,6}})?")
_NOT_SAID = re.compile(
    r"<[^<>]+>|.{0,40} omitted|.{0,40} weggelassen|.*\(file attached\)|(?:this message was|you) deleted.*|"
    r".*end-to-end encrypted.*|missed (?:voice|video|group).*|null",
    re.IGNORECASE,
)
_FRAME = re.compile(
    r"(?:transcribed by|this (?:editable )?transcript|transcription (?:ended|by)|transcript ended|meeting ended after|"
    r"recording (?:started|stopped)|end of transcript)\b.*|.{1,60} (?:started|stopped) transcription",
    re.IGNORECASE,
)
_SPELLED = re.compile(r"(?:.{1,60}?\s)?(?:[0-9]+ hours? )?(?:[0-9]+ minutes? )?[0-9]+ seconds?")  # copied from Teams
_OF_DAY = re.compile(r"[0-9]{1,2}:[0-9]{2}\t([^\t]{1,60})\t(.+)")  # exports of LINE
_DAY = re.compile(r"[0-9]{4}[./-][0-9]{1,2}[./-][0-9]{1,2}\s?\(.{1,3}\)")
_INVISIBLE = re.compile("[\u200b\u200e\u200f\u2068\u2069]")
_PER_S = 15  # characters of fluent speech, for the utterance after which no time is written


@dataclass(frozen=True)
class _Line:
    """A line and what it tells about time."""

    where: str
    text: str  # without the time
    start_s: float | None = None
    end_s: float | None = None
    speaker: str | None = None
    is_certain: bool = False  # the time is in brackets, or far behind the name: not a part of a sentence
    is_daytime: bool = False  # such as 10:15 AM


@dataclass
class _Block:
    """What is said from one time on."""

    start_s: float
    end_s: float | None
    said: list[Segment] = field(default_factory=list)  # with the times unknown


def read_transcript(lines: Sequence[str], name: str) -> Iterator[Segment | Note | str]:
    """Segments of a transcript: ``Speaker: text`` or only a text on each line, or the export of a meeting or a chat.

    Exports of meetings (Otter, Teams, Meet, Zoom, YouTube, ``[00:12] Ann: Hello``) have times; those of chats
    (WhatsApp) have dates, which are no times of a clip. What nobody said gives a sentence.

    Raises:
        ConversationError: if it is a table whose columns have no names.

    Example:
        >>> [(s.speaker, s.text) for s in read_transcript(["Ann: You came!", "", "Of course."], "talk.txt")]
        [('Ann', 'You came!'), (None, 'Of course.')]
        >>> ann, bob, _ = read_transcript(["Ann Lee  0:03", "Hello!", "", "Bob  0:07", "Hi: all good?"], "talk.txt")
        >>> (ann.start_s, ann.end_s, ann.speaker), (bob.start_s, bob.speaker, bob.text)
        ((3.0, 7.0, 'Ann Lee'), (7.0, 'Bob', 'Hi: all good?'))
    """
    plain = [_INVISIBLE.sub("", line).replace("\u202f", " ").replace("\xa0", " ") for line in lines]
    spelled = [number for number, line in enumerate(plain) if _SPELLED.fullmatch(line.strip()) is not None]
    if len(spelled) > 1:
        plain = ["" if number in spelled else line for number, line in enumerate(plain)]
        yield Note(f"{name}:{spelled[0] + 1} and {len(spelled) - 1} others are times in words, which were not read.")
    of_day = [_OF_DAY.fullmatch(line.strip()) for line in plain]
    if sum(match is not None for match in of_day) > 1:
        for number, line in enumerate(plain):
            if _DAY.fullmatch(line.strip()):
                yield f"{name}:{number + 1} is not said: {line.strip()!r}"
                plain[number] = ""
        plain = [f"{match[1]}: {match[2]}" if match else line for line, match in zip(plain, of_day, strict=True)]
        yield Note(f"{name} has times of day, not of a clip, so they were not used.")
    _refuse_table(plain, name)
    if 2 * sum(_STAMP.search(line) is not None for line in plain) > sum(bool(line.strip()) for line in plain):
        yield from _stamped(plain, name)
        return
    dated = [any(date.fullmatch(line.strip()) for date in (_DATE, _DATE_BEHIND)) for line in plain]
    if sum(dated) > 1 or (any(dated) and dated[next(n for n, line in enumerate(plain) if line.strip())]):
        yield from _chat(lines, name)
        return
    read = [_timed(line, f"{name}:{number}") for number, line in enumerate(plain, start=1) if line.strip()]
    stamps = [line for line in read if line.start_s is not None]
    uncertain = [line for line in stamps if not line.is_certain]
    starts = [line.start_s for line in stamps if line.start_s is not None]
    in_order = starts == sorted(starts)
    if len(uncertain) == len(stamps) and (len(stamps) < 2 or 3 * len(stamps) < len(read) or not in_order):
        named = _with_colons(plain)
        if named != plain:
            yield Note(f"{name} has names on lines above what is said, which were read as speakers.")
        yield from _untimed(named, name)
    elif in_order and not any(line.is_daytime for line in stamps):
        yield from _meeting(read, name)
    else:
        what = "that go back" if not in_order else "of day, not of a clip"
        yield Note(f"{name} has times {what}, so they were not used.")
        yield from _meeting(read, name, is_timed=False)


def _timed(line: str, where: str) -> _Line:
    """What a line of an export tells."""
    text = cleaned(line)
    if (match := _BEFORE.fullmatch(text)) is not None:
        start_s = clock(match[1] or match[3])
        end = match[2] or match[4]
        if start_s is not None:
            sender = _FROM.fullmatch(match[5])
            speaker, rest = (sender[1], sender[2]) if sender is not None else (None, match[5])
            who, bar, words = rest.partition(" | ")
            if bar and is_header_name(who):  # 00:03 | Ann Lee | Hello.
                speaker, rest = who, words
            is_certain = match[1] is not None or re.fullmatch(r"[0-9]+:[0-9]{2}:[0-9]{2}", text) is not None
            return _Line(where, rest, start_s, clock(end) if end else None, speaker, is_certain)
    if (match := _SECONDS.fullmatch(text)) is not None:
        return _Line(where, match[3], clock(match[1]), clock(match[2]), is_certain=True)
    if (match := _BEHIND.fullmatch(text)) is not None:
        who = match[1].strip("[]*: ")
        is_apart = (
            re.search(rf"(?:\s{{2,}}|\t|[\[(]\s*){_RANGE}(?:\s?[AaPp]\.?[Mm]\.?)?\s*[\])]?\s*:?\s*$", line) is not None
        )
        is_certain = is_apart or match[1].startswith("[")
        if clock(match[3]) is not None and (is_header_name(who) or (is_certain and mostly_named([f"{who}: x"] * 2))):
            end_s = clock(match[4]) if match[4] else None
            return _Line(where, "", clock(match[3]), end_s, who, is_certain, is_daytime=match[5] is not None)
    if (match := _AMID.fullmatch(text)) is not None and (match[2] or match[4] or is_header_name(match[1].strip("* "))):
        who = match[1].strip("* ")
        if clock(match[3]) is not None and mostly_named([f"{who}: x"] * 2):
            return _Line(where, match[5], clock(match[3]), None, who, is_certain=True)
    return _Line(where, text)


def _meeting(read: Sequence[_Line], name: str, *, is_timed: bool = True) -> Iterator[Segment | Note | str]:
    """Segments of an export with times: each is said from its time to the next one."""
    read = _with_names_behind(_with_names_above(read))
    is_mostly_named = mostly_named(line.text for line in read if line.text and line.speaker is None)
    blocks: list[_Block] = []
    speaker: str | None = None  # of the lines under a header
    for line in read:
        if line.start_s is not None:
            if not blocks or blocks[-1].start_s != line.start_s or line.end_s is not None:
                blocks.append(_Block(line.start_s, line.end_s))
            speaker = line.speaker
        elif not blocks or _FRAME.fullmatch(line.text):
            yield f"{line.where} is not said: {line.text[:80]!r}"
            continue
        if not line.text:
            if line.start_s is not None and speaker is not None:
                blocks[-1].said.append(Segment(None, None, speaker, None, line.where))
            continue
        heard = spoken(line.text, speaker=speaker, is_mostly_named=is_mostly_named)
        if heard.silent and not heard.utterances and not heard.unspoken:  # a name above what is said
            speaker = heard.silent[-1]
            blocks[-1].said.append(Segment(None, None, speaker, None, line.where))
            continue
        yield from not_said(heard, line.where)
        said = blocks[-1].said
        for who, text in heard.utterances:
            last = said[-1] if said and line.start_s is None else None
            if last is not None and who in (None, last.speaker):
                said[-1] = replace(last, text=f"{last.text} {text}" if last.text else text)
            else:
                said.append(Segment(None, None, who, text, line.where))
    is_guessed = False
    for number, block in enumerate(blocks):
        for segment in block.said:
            if segment.text is None:
                yield f"{segment.source} says nothing"
        said = [segment for segment in block.said if segment.text is not None]
        total = sum(len(segment.text or "") for segment in said)
        following = blocks[number + 1].start_s if number + 1 < len(blocks) else block.start_s + max(1.0, total / _PER_S)
        end_s = block.end_s if block.end_s is not None else following
        is_guessed |= block.end_s is None
        count = 0
        for segment in said:
            begin = block.start_s + (end_s - block.start_s) * count / total
            count += len(segment.text or "")
            end = block.start_s + (end_s - block.start_s) * count / total
            if is_timed and end <= begin:
                yield f"{segment.source} begins at {begin:g} s and ends at {end:g} s"
            else:
                yield replace(segment, start_s=begin, end_s=end) if is_timed else segment
    if is_guessed and is_timed:
        yield Note(
            f"{name} says when an utterance begins, but not when it ends. Each was taken to end where the next begins, "
            f"the last after one second per {_PER_S} characters."
        )


def _with_names_above(read: Sequence[_Line]) -> list[_Line]:
    """The lines with each name that is in the line above its time joined to it, where most times have one."""
    places = [n for n, line in enumerate(read) if line.start_s is not None and not line.text and line.speaker is None]
    above = [n for n in places if n > 0 and read[n - 1].start_s is None and is_header_name(read[n - 1].text)]
    if not above or 4 * len(above) < 3 * len(places):
        return list(read)
    joined = [replace(line, speaker=read[n - 1].text) if n in above else line for n, line in enumerate(read)]
    return [line for n, line in enumerate(joined) if n + 1 not in above]


def _with_names_behind(read: Sequence[_Line]) -> list[_Line]:
    """The lines with the text behind each time as the speaker, where it is a name and what is said is under it."""
    stamped = [n for n, line in enumerate(read) if line.start_s is not None]
    is_above_text = all(n + 1 < len(read) and read[n + 1].start_s is None for n in stamped)
    if len(stamped) < 2 or not is_above_text or not all(is_header_name(read[n].text) for n in stamped):
        return list(read)
    return [replace(line, speaker=line.text, text="") if n in stamped else line for n, line in enumerate(read)]


def _with_colons(lines: Sequence[str]) -> list[str]:
    """The lines with a colon behind each name that is the first line of a paragraph, as in scripts and some exports.

    They are names if most paragraphs of several lines begin so, and one of them more than once or all in capitals.
    """
    starts = [n for n, line in enumerate(lines) if line.strip() and (n == 0 or not lines[n - 1].strip())]
    starts = [n for n in starts if n + 1 < len(lines) and lines[n + 1].strip()]
    above = [n for n in starts if is_header_name(lines[n].strip())]
    names = [lines[n].split("(")[0].strip() for n in above]
    is_clear = len(set(names)) < len(names) or all(map(str.isupper, names))
    if len(above) < 2 or 4 * len(above) < 3 * len(starts) or not is_clear:
        return list(lines)
    return [f"{names[above.index(n)]}:" if n in above else line for n, line in enumerate(lines)]


def _refuse_table(lines: Sequence[str], name: str) -> None:
    """Raise ConversationError if most lines are rows of a table with times, whose columns nobody named (ELAN)."""
    cells = [[cell.strip() for cell in line.split("\t")] for line in lines if line.strip()]
    rows = [row for row in cells if len(row) > 3 and sum(_TIME_CELL.fullmatch(cell) is not None for cell in row) > 1]
    if 2 * len(rows) > len(cells):
        raise ConversationError(
            f"{name} is a table whose columns have no names: {' | '.join(rows[0])[:80]!r}. Put a first line such as "
            "start, end, speaker, text above it, with tabs between, and save it as .tsv."
        )


def _stamped(lines: Sequence[str], name: str) -> Iterator[Segment | Note | str]:
    """Segments of a transcript whose paragraphs end with the time at which they do, ``Ann: Hello. #00:00:05-1#``."""
    is_mostly_named = mostly_named(_STAMP.sub(" ", line).strip() for line in lines if line.strip())
    end_s = 0.0
    for number, line in enumerate(lines, start=1):
        where = f"{name}:{number}"
        stamps = [(clock(f"{match[1]}.{match[2]}"), match) for match in _STAMP.finditer(line)]
        text = _STAMP.sub(" ", line).strip()
        if stamps and stamps[0][1].start() == 0 and stamps[0][0] is not None:
            end_s = stamps.pop(0)[0] or end_s
        if not text:
            continue
        heard = spoken(text, is_mostly_named=is_mostly_named)
        yield from not_said(heard, where)
        start_s, last_s = end_s, stamps[-1][0] if stamps else None
        if last_s is None or last_s <= start_s:
            if heard.utterances:
                yield f"{where} begins at {start_s:g} s and has no time after it: {text[:80]!r}"
            continue
        end_s = last_s
        total, count = sum(len(words) for _, words in heard.utterances), 0
        for speaker, words in heard.utterances:
            begin = start_s + (end_s - start_s) * count / total
            count += len(words)
            yield Segment(begin, start_s + (end_s - start_s) * count / total, speaker, words, where)
    yield Note(f"{name} says when an utterance ends. Each was taken to begin where the one before ends.")


def _chat(lines: Sequence[str], name: str) -> Iterator[Segment | str]:
    """Segments of an exported chat; lines without a date continue the message before."""
    messages: list[tuple[str, list[str]]] = []
    for number, line in enumerate(lines, start=1):
        line = line.replace("\u202f", " ").replace("\xa0", " ").strip()
        plain = line.lstrip("\u200e\u200f")
        match = _DATE_BEHIND.fullmatch(plain) or _DATE.fullmatch(plain)
        if match is not None:
            messages.append((f"{name}:{number}", [match[1]]))
        elif messages and line:
            messages[-1][1].append(line)
        elif line:
            yield f"{name}:{number} comes before the first message: {line[:80]!r}"
    has_headers = not any(": " in parts[0] for _, parts in messages)  # only the sender is on the line with the date
    for where, parts in messages:
        if has_headers and len(parts) > 1:
            parts = [f"{parts[0]}: ", *parts[1:]]
        sender, colon, text = cleaned(" ".join(parts)).partition(": ")
        text = re.sub(r"\s*<This message was edited>$", "", text)
        if not colon or len(sender) > 60:
            yield f"{where} is a message of the program: {(sender + colon + text)[:80]!r}"
        elif text.startswith("\u200e") or _NOT_SAID.fullmatch(text):  # the mark is before words of the program
            yield f"{where} says nothing but shows {_INVISIBLE.sub('', text)[:80]!r}"
        else:
            yield Segment(None, None, _INVISIBLE.sub("", sender).strip("~ ") or None, _INVISIBLE.sub("", text), where)


def _untimed(lines: Sequence[str], name: str) -> Iterator[Segment | str]:
    """Segments of a text with one utterance per line; a name on a separate line belongs to the lines under it."""
    is_mostly_named = mostly_named(cleaned(line) for line in lines if line.strip())
    above: str | None = None  # the speaker of the lines up to the next name or empty line
    silent: str | None = None  # where they are named, until they say something
    for number, line in enumerate(lines, start=1):
        where = f"{name}:{number}"
        if not line.strip():
            above = above if silent is not None else None
            continue
        heard = spoken(line, is_mostly_named=is_mostly_named)
        if above is not None and not (heard.utterances or heard.silent):  # (laughing), above what is said
            yield from not_said(heard, where)
            continue
        is_continued = bool(heard.utterances) and heard.utterances[0][0] is None and above is not None
        if silent is not None and not is_continued:
            yield f"{silent} says nothing"
        silent = None
        if is_continued:
            heard = replace(heard, utterances=((above, heard.utterances[0][1]), *heard.utterances[1:]))
        elif heard.silent and not (heard.utterances or heard.unspoken):
            above, silent = heard.silent[-1], where
            continue
        else:
            above = None
        yield from not_said(heard, where)
        for speaker, text in heard.utterances:
            yield Segment(None, None, speaker, text, where)
    if silent is not None:
        yield f"{silent} says nothing"
