"""Who speaks when, in RTTM files (NIST, Rich Transcription 2009 evaluation plan, appendix A).

A line has ten fields, or nine in older files: type, file, channel, start, length, two that are ``<NA>`` for speakers,
name, and one or two more. They are divided by any blanks. NeMo and others write the names of files as they are, with
blanks in them, so the fields are found from the numbers.
"""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from m2fnet.conversation.reading import Note, cleaned
from m2fnet.errors import ConversationError
from m2fnet.records import Segment

_UNKNOWN = ("<na>", "na", "n/a", "-")
_MOST = 1e9  # seconds, thirty years; NaN is not smaller either
_EXAMPLE = "`SPEAKER clip 1 12.50 1.75 <NA> <NA> ann <NA> <NA>`"
_MEDIA = re.compile(r"\.(?:wav|flac|mp3|m4a|aac|ogg|opus|sph|mp4|mkv|mov|avi|webm)$", re.IGNORECASE)
_OTHERS = frozenset((  # the types of the plan that are not about who speaks
    "SEGMENT", "NOSCORE", "NO_RT_METADATA", "LEXEME", "NON-LEX", "NON-SPEECH", "FILLER", "EDIT", "IP", "SU", "CB",
    "A/P", "SPKR-INFO",
))  # fmt: skip


def read_rttm(lines: Sequence[str], name: str, clip: str | None) -> Iterator[Segment | Note | str]:
    """Segments of the SPEAKER lines, in the order of the file; comments and the other types of lines are skipped.

    A line that cannot be read, or does not last, gives a sentence that says why.

    Args:
        lines: of the file.
        name: of the file, for errors.
        clip: the file id whose lines are read where the file has several.

    Raises:
        ConversationError: if there are several file ids and none is ``clip``.

    Example:
        >>> (first,) = read_rttm(["SPEAKER my talk 1 0.10 1.20 <NA> <NA> A <NA> <NA>"], "talk.rttm", "my talk")
        >>> (first.start_s, round(first.end_s, 2), first.speaker)
        (0.1, 1.3, 'A')
    """
    rows: list[tuple[str, list[str]]] = []
    for number, line in enumerate(lines, start=1):
        kind = line.split(maxsplit=1)[0].upper() if line.strip() else ""
        if kind == "SPEAKER":
            fields = _fields(line)
            if fields is not None:
                rows.append((f"{name}:{number}", fields))
            else:
                yield f"{name}:{number} is {line.strip()[:80]!r}, expected fields as in {_EXAMPLE}"
        elif kind and not kind.startswith((";", "#")) and kind not in _OTHERS:
            yield f"{name}:{number} is {line.strip()[:80]!r}, expected a line that begins with SPEAKER"
    ids = list(dict.fromkeys(fields[0] for _, fields in rows))
    wanted = clip if clip in ids else next((one for one in ids if _plain(one) == _plain(clip or "")), None)
    if len(ids) > 1 and wanted is None:
        some = ", ".join(sorted(ids)[:5])
        raise ConversationError(
            f"{name} is about {len(ids)} files ({some}{', …' if len(ids) > 5 else ''}), none of them {clip!r}. "
            "Name the clip like one of them, or keep the lines of one file."
        )
    if ids and wanted is None and clip is not None:
        yield Note(f"{name} is about {ids[0]!r}, and was read as that of {clip!r}.")
    for where, (file, start, length, speaker) in rows:
        if len(ids) > 1 and file != wanted:
            continue
        start_s, length_s = _seconds(start), _seconds(length)
        if not (abs(start_s) < _MOST and abs(length_s) < _MOST):
            yield f"{where} begins at {start[:80]!r} and lasts {length[:80]!r}, expected seconds like 12.50"
        elif length_s <= 0 or start_s + length_s <= 0:
            yield f"{where} begins at {start_s:g} s and lasts {length_s:g} s"
        else:
            if start_s < 0:
                yield Note(f"{where} begins at {start_s:g} s and was read from 0 s on.")
            who = None if speaker.lower() in _UNKNOWN else cleaned(speaker) or None
            yield Segment(max(0.0, start_s), start_s + length_s, who, None, where)


def _fields(line: str) -> list[str] | None:
    """File, start, length and speaker of a line; None if it does not have them.

    Two numbers after a channel, with the two unused fields behind them, are start and length, so blanks in the names
    of file and speaker do no harm. Lines with other unused fields must have the usual number of fields.
    """
    by_tabs = [field.strip() for field in line.strip().split("\t")]
    fields = by_tabs if len(by_tabs) >= 8 else line.split()
    if len(fields) < 8:
        return None
    places = (place for place in range(len(fields) - 5, 1, -1) if _is_unused(fields[place + 3 : place + 5]))
    channel = next((place for place in places if all(map(_is_number, fields[place + 1 : place + 3]))), None)
    if channel is None:
        if len(fields) > 10:
            return None
        channel = 2
    first_behind = channel + 6  # of the speaker's name, in one word
    last = next((n for n in range(first_behind, len(fields)) if _is_unused(fields[n : n + 1])), len(fields))
    while last > first_behind and len(fields) - last < 2 and _is_number(fields[last - 1]):  # a confidence
        last -= 1
    speaker = " ".join(fields[channel + 5 : last])
    return [" ".join(fields[1:channel]), fields[channel + 1], fields[channel + 2], speaker]


def _is_unused(fields: Sequence[str]) -> bool:
    return all(field.lower() in _UNKNOWN for field in fields)


def _is_number(field: str) -> bool:
    return not math.isnan(_seconds(field)) or field.lower() == "nan"


def _seconds(field: str) -> float:
    try:
        return float(field.replace(",", ".")) if re.fullmatch(r"[-+0-9.,eEinfa]+", field) else math.nan
    except ValueError:
        return math.nan


def _plain(file: str) -> str:
    """A file's name without folder, suffix of media, case and what is written for blanks."""
    stem = _MEDIA.sub("", PurePath(file).name)
    return re.sub(r"[\s_]+", " ", stem).casefold()
