"""Segments from a table."""

import re
from collections.abc import Iterator, Sequence

from m2fnet.conversation.reading import Note, cleaned
from m2fnet.corpora import spreadsheet
from m2fnet.corpora.reading import seconds_of
from m2fnet.corpora.spreadsheet import Record, is_no_text, is_nothing
from m2fnet.errors import ConversationError, CorpusError
from m2fnet.records import Segment

_KNOWN = ("start_s", "end_s", "duration_s", "start_ms", "end_ms", "speaker", "text")
_TIMES = (("start_s", "end_s"), ("start_ms", "end_ms"), ("start_s", "duration_s"))  # the first pair that is there
_EXPECTED = "Expected a first line like start,end,speaker,text, or speaker,text for a transcript without times."
_SLOWEST = 0.1  # characters of speech per second; times in milliseconds look a hundred times slower


def read_table(lines: Sequence[str], name: str) -> Iterator[Segment | Note]:
    """Segments of a table with the columns start, end, speaker and text, in any order; others are named in a note.

    The table may be as spreadsheets and other projects write it, see `m2fnet.corpora.spreadsheet`. Times are seconds or
    ``mm:ss``; a row without both is an utterance of a transcript without times. Instead of the end there may be a
    duration, and instead of both ``start_ms`` and ``end_ms``. Whole numbers in which nobody could speak so slowly are
    milliseconds, as Whisper writes its ``.tsv``. An empty speaker or text is unknown, and so is a speaker like ``NaN``;
    as a text it is read as a word, with a note.

    Raises:
        ConversationError: naming line and column of what is wrong.
    """
    try:
        table = spreadsheet.read_table([f"{line}\n" for line in lines], name, _KNOWN)
        columns = set(table.columns)
        times = next((pair for pair in _TIMES if columns.issuperset(pair)), None)
        if times is None and (columns & {"start_s", "end_s", "start_ms", "end_ms"} or "text" not in columns):
            raise ConversationError(f"{table.where} has the columns {', '.join(table.headings)[:80]!r}. {_EXPECTED}")
        read = {"speaker", "text", *(times or ())}
        unread = [heading for heading, column in zip(table.headings, table.columns, strict=True) if column not in read]
        if unread := [heading for heading in unread if heading]:
            yield Note(f"{name}: not read, as their headings mean nothing here: {', '.join(unread)[:200]}.")
        records = list(table.records)
        scale = 0.001 if times == _TIMES[1] else 1.0
        if times == _TIMES[0] and _is_in_milliseconds(records):
            scale = 0.001
            yield Note(f"{name} was read as times in milliseconds: in seconds, nobody speaks so slowly.")
        words = [record.where for record in records if is_no_text(record.cells.get("text", ""))]
        if words:
            yield Note(
                f"{words[0]}: a text like NaN was read as a word. Leave its cell empty if the text is not known."
            )
        for record in records:
            yield _segment(record, times, scale)
    except CorpusError as problem:
        raise ConversationError(str(problem)) from problem


def is_table(lines: Sequence[str]) -> bool:
    """Whether a text begins with the headings of a table with times.

    Example:
        >>> is_table(["start,end,text", "0,1,Hi"]), is_table(["Ann: start, end, text"])
        (True, False)
    """
    try:
        columns = set(spreadsheet.read_table([f"{line}\n" for line in lines], "", _KNOWN).columns)
    except CorpusError:
        return False
    return any(columns.issuperset(pair) for pair in _TIMES)


def _is_in_milliseconds(records: Sequence[Record]) -> bool:
    """Whether times are whole numbers between which next to nothing is said."""
    spans = [(record.cells["start_s"], record.cells["end_s"]) for record in records]
    if not all(re.fullmatch(r"[0-9]{1,9}", cell) for span in spans for cell in span):
        return False
    said = sum(len(record.cells.get("text", "")) for record in records)
    return 0 < said < _SLOWEST * sum(int(end) - int(start) for start, end in spans)


def _segment(record: Record, times: tuple[str, str] | None, scale: float) -> Segment:
    cells, where = record.cells, record.where
    start_s = end_s = None
    if times is not None and any(cells[column] for column in times):
        start_s, end_s = (scale * _seconds(cells[column], column, where) for column in times)
        end_s += start_s if times[1] == "duration_s" else 0.0
    text, speaker = cleaned(cells.get("text", "")), cleaned(cells.get("speaker", ""))
    if start_s is None and not text:
        raise ConversationError(f"{where}, column text: it is empty, expected what was said.")
    return Segment(start_s, end_s, None if is_nothing(speaker) else speaker or None, text or None, where)


def _seconds(cell: str, column: str, where: str) -> float:
    seconds = seconds_of(cell)
    if seconds is None:
        raise ConversationError(
            f"{where}, column {column.removesuffix('_s')}: {cell[:80]!r} is not a time, expected seconds like 12.5 or "
            "0:12.5."
        )
    return seconds
