"""Segments from a table."""

from collections.abc import Iterator, Sequence

from m2fnet.conversation.reading import cleaned
from m2fnet.corpora import spreadsheet
from m2fnet.corpora.reading import seconds_of
from m2fnet.corpora.spreadsheet import Record, is_nothing
from m2fnet.errors import ConversationError, CorpusError
from m2fnet.records import Segment

_KNOWN = ("start_s", "end_s", "speaker", "text")
_EXPECTED = "Expected a first line like start,end,speaker,text, or speaker,text for a transcript without times."


def read_table(lines: Sequence[str], name: str) -> Iterator[Segment]:
    """Segments of a table with the columns start, end, speaker and text, in any order; others are ignored.

    The table may be as spreadsheets and other projects write it, see `m2fnet.corpora.spreadsheet`. Times are seconds or
    ``mm:ss``; a row without both is an utterance of a transcript without times. An empty speaker or text is unknown,
    and so is a speaker like ``NaN``.

    Raises:
        ConversationError: naming line and column of what is wrong.
    """
    try:
        table = spreadsheet.read_table([f"{line}\n" for line in lines], name, _KNOWN)
        known = set(table.columns) & set(_KNOWN)
        is_timed = "start_s" in known
        if is_timed != ("end_s" in known) or not (is_timed or "text" in known):
            raise ConversationError(f"{table.where} has the columns {', '.join(table.headings)[:80]!r}. {_EXPECTED}")
        for record in table.records:
            yield _segment(record)
    except CorpusError as problem:
        raise ConversationError(str(problem)) from problem


def _segment(record: Record) -> Segment:
    cells, where = record.cells, record.where
    is_timed = bool(cells.get("start_s") or cells.get("end_s"))
    start_s, end_s = (_seconds(cells[side], side, where) if is_timed else None for side in ("start_s", "end_s"))
    text, speaker = cleaned(cells.get("text", "")) or None, cleaned(cells.get("speaker", ""))
    if start_s is None and text is None:
        raise ConversationError(f"{where}, column text: it is empty, expected what was said.")
    return Segment(start_s, end_s, None if is_nothing(speaker) else speaker or None, text, where)


def _seconds(cell: str, side: str, where: str) -> float:
    seconds = seconds_of(cell)
    if seconds is None:
        raise ConversationError(
            f"{where}, column {side.removesuffix('_s')}: {cell[:80]!r} is not a time, expected seconds like 12.5 or "
            "0:12.5."
        )
    return seconds
