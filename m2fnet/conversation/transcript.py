"""Segments from a table."""

import csv
from collections.abc import Iterator, Sequence

from m2fnet.conversation.reading import cleaned, clock
from m2fnet.errors import ConversationError
from m2fnet.records import Segment

_COLUMNS = {"start": "start", "start_s": "start", "end": "end", "end_s": "end", "speaker": "speaker", "text": "text"}
_EXPECTED = "Expected a first line like start,end,speaker,text, or speaker,text for a transcript without times."


def read_table(lines: Sequence[str], name: str) -> Iterator[Segment]:
    """Segments of a CSV file with the columns start, end, speaker and text, in any order; others are ignored.

    Cells are divided by commas, semicolons or tabs, as the first line is. Times are seconds or ``mm:ss``; a
    row without both is an utterance of a transcript without times. An empty speaker or text is unknown.

    Raises:
        ConversationError: naming line and column of what is wrong.
    """
    delimiter = max(",;\t", key=lines[0].count)
    records = _records(lines, name, delimiter)
    _, header = next(records)
    columns = [_COLUMNS.get(cell.strip().lower(), "") for cell in header]
    _check_header(columns, header, f"{name}:1")
    for where, cells in records:
        if len(cells) != len(columns):
            raise ConversationError(
                f"{where} has {len(cells)} cells, expected {len(columns)} as in the first line. "
                "Put a text with a comma in it into double quotes."
            )
        row = {column: cell.strip() for column, cell in zip(columns, cells, strict=True) if column}
        is_timed = bool(row.get("start") or row.get("end"))
        start_s, end_s = (_seconds(row, side, where) if is_timed else None for side in ("start", "end"))
        text = cleaned(row.get("text", "")) or None
        if start_s is None and text is None:
            raise ConversationError(f"{where}, column text: it is empty, expected what was said.")
        yield Segment(start_s, end_s, cleaned(row.get("speaker", "")) or None, text, where)


def _records(lines: Sequence[str], name: str, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    """Records that are not blank, each with the place of its first line."""
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True)
    while True:
        where = f"{name}:{reader.line_num + 1}"
        try:
            record = next(reader, None)
        except csv.Error as problem:  # an open quote, a cell of more than 128 KiB
            raise ConversationError(
                f"{where} is not valid CSV: {problem}. Check the quotes in and after this line."
            ) from problem
        if record is None:
            return
        if any(cell.strip() for cell in record):
            yield where, record


def _check_header(columns: Sequence[str], header: Sequence[str], where: str) -> None:
    known = [column for column in columns if column]
    twice = next((column for column in known if known.count(column) > 1), None)
    if twice is not None:
        raise ConversationError(f"{where} names the column {twice} twice. {_EXPECTED}")
    is_timed = "start" in known
    if is_timed != ("end" in known) or not (is_timed or "text" in known):
        names = ", ".join(cell.strip() for cell in header)
        raise ConversationError(f"{where} has the columns {names[:80]!r}. {_EXPECTED}")


def _seconds(row: dict[str, str], side: str, where: str) -> float:
    seconds = clock(row[side])
    if seconds is None:
        raise ConversationError(
            f"{where}, column {side}: {row[side][:80]!r} is not a time, expected seconds like 12.5 or 0:12.5."
        )
    return seconds
