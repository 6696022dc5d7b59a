"""Foreign text in, checked lines and rows out; errors name file and line.

Tables of published corpora are read by a strict reader on the standard library's `csv`, not by `pandas.read_csv`:
after a text with line breaks pandas no longer knows the line of a row, and it fills up short rows, takes an unclosed
quote for text, and decodes the whole file in one encoding. A user's own tables may be as spreadsheets write them, see
`m2fnet.corpora.spreadsheet`.
"""

import csv
import io
import json
import math
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from m2fnet.corpora.encoding import UNREADABLE, Encoding, encoding_of
from m2fnet.corpora.spreadsheet import meanings, read_table
from m2fnet.errors import CorpusError

MAX_BYTES = 512 * 2**20  # a table of utterances is thousands of times smaller; a wrong path may be a film

_JUDGED = 64 * 2**20  # bytes at the beginning of a user's own table by which its encoding is judged

# `surrogateescape` keeps every byte that is no UTF-8 as U+DC80..U+DCFF; five of them mean nothing in cp1252 either
_CP1252 = {0xDC00 + byte: bytes([byte]).decode("cp1252", errors="replace") for byte in range(0x80, 0x100)}
_HALF_OR_NUL = re.compile("[\\0\\ud800-\\udfff]")  # JSON can spell both, files and paths can hold neither
_INTEGER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Line:
    """One line of a text file; ``is_repaired`` if it held cp1252 bytes."""

    where: str
    text: str
    is_repaired: bool


@dataclass(frozen=True)
class Row:
    """One record of a table.

    Attributes:
        where: its place, as ``file:line``.
        cells: by column name, stripped of surrounding blanks; None for JSON's null.
        assumed: the encoding in which its letters were read if they are not in the one of the file, or if that had to
            be guessed.
        is_short: whether its last cells were not written.
    """

    where: str
    cells: dict[str, str | None]
    assumed: str | None = None
    is_short: bool = False

    def __getitem__(self, column: str) -> str:
        """The cell; empty where the row has no such column, or null in it.

        Example:
            >>> row = Row("own.jsonl:1", {"text": "Hi", "label": None})
            >>> row["text"], row["label"], row["speaker"]
            ('Hi', '', '')
        """
        return self.cells.get(column) or ""

    def integer(self, column: str) -> int:
        """The cell as a whole number, 0 or more.

        Raises:
            CorpusError: if it is anything else.
        """
        if not _INTEGER.fullmatch(self[column]):
            raise CorpusError(f"{self.where}: {column} is {shown(self[column])}, expected a whole number from 0.")
        return int(self[column])

    def seconds(self, column: str) -> float | None:
        """The cell as seconds, 0 or more; None when it is empty.

        Raises:
            CorpusError: if it is anything else.
        """
        if not self[column]:
            return None
        seconds = seconds_of(self[column])
        if seconds is None:
            raise CorpusError(f"{self.where}: {column} is {shown(self[column])}, expected seconds from 0, like 12.5.")
        return seconds


def seconds_of(cell: str) -> float | None:
    """Seconds written as ``12.5``, ``12,5``, ``1:02.5`` or ``00:01:02,500``; None if it is no such time.

    Example:
        >>> seconds_of("12,5"), seconds_of("00:01:02,500"), seconds_of("1e1"), seconds_of("1:75"), seconds_of("-1")
        (12.5, 62.5, 10.0, None, None)
    """
    *clock, last = cell.strip().replace(",", ".").split(":")
    is_plain = last.isascii() and "_" not in last  # Python reads 1_0 and other scripts' digits too
    try:
        seconds = float(last) if is_plain else math.nan
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        return None
    if not clock:
        return seconds
    minutes = [int(part) if _INTEGER.fullmatch(part) else -1 for part in clock]
    if len(minutes) > 2 or min(minutes) < 0 or seconds >= 60 or (len(minutes) == 2 and minutes[1] >= 60):
        return None
    return seconds + 60 * minutes[-1] + (3600 * minutes[0] if len(minutes) == 2 else 0)


def read_lines(path: Path) -> list[Line]:
    """Lines of a text file, UTF-8 with single cp1252 bytes repaired.

    Raises:
        CorpusError: if the file cannot be read, or a line holds bytes that are text in neither encoding.
    """
    return _lines(_decoded(path), path)


def read_csv(path: Path, required: Sequence[str]) -> list[Row]:
    """Records of a CSV file whose first line names its columns, UTF-8 with single cp1252 bytes repaired.

    Raises:
        CorpusError: if the file cannot be read, lacks one of the ``required`` columns, or has a row of another length.
    """
    records = _records(path, _decoded(path))
    header, where, _ = next(records, ([], f"{path}:1", False))
    columns = [name.strip() for name in header]
    absent = [name for name in required if name not in columns]
    if absent or len(set(columns)) < len(columns):
        problem = f"lacks the column {absent[0]!r}" if absent else "names a column twice"
        raise CorpusError(
            f"{where} {problem}; its columns are {shown(', '.join(columns))}. Expected {', '.join(required)}."
        )
    rows = []
    for cells, where, is_repaired in records:
        if len(cells) != len(columns):
            raise CorpusError(
                f"{where} has {len(cells)} cells, expected {len(columns)} as in the first line. "
                "Put a text with a comma in it into double quotes."
            )
        stripped = (cell.strip() for cell in cells)
        rows.append(Row(where, dict(zip(columns, stripped, strict=True)), "cp1252" if is_repaired else None))
    if not rows:
        raise CorpusError(f"{path} holds no row below its first line; expected one per utterance.")
    return rows


class OwnTable:
    r"""The rows of a user's own table, CSV as spreadsheets write it or JSONL, in any encoding; read anew each time.

    Args:
        path: of the table.
        known: the meanings that count, see `m2fnet.corpora.spreadsheet.HEADINGS`.

    Raises:
        CorpusError: if the file cannot be read; for its rows once they are read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "own.csv"
        >>> _ = path.write_text("Utterance;Emotion\nHi!;joy\n", encoding="utf-16")
        >>> [row.cells for row in OwnTable(path, ["text", "label"])]
        [{'text': 'Hi!', 'label': 'joy'}]
    """

    def __init__(self, path: Path, known: Collection[str]) -> None:
        self.path, self.known = path, known
        head = _bytes(path, _JUDGED)
        if len(head) == _JUDGED:
            head = head[: head.rfind(b"\n") + 1] or head  # not half of a letter
        self._encoding = encoding_of(head, str(path), CorpusError)

    def __iter__(self) -> Iterator[Row]:
        return self._of_json() if self.path.suffix.lower() == ".jsonl" else self._of_csv()

    def _of_csv(self) -> Iterator[Row]:
        table = read_table(self._lines(), str(self.path), self.known)
        for record in table.records:
            cells = {_repaired(table.where, name): _repaired(record.where, cell) for name, cell in record.cells.items()}
            encoding = "cp1252" if cells != record.cells else self._assumed("".join(cells.values()))
            yield Row(record.where, dict(cells), encoding, record.is_short)

    def _of_json(self) -> Iterator[Row]:
        for number, text in enumerate(self._lines(), start=1):
            if text.strip():
                row = _object(_line(f"{self.path}:{number}", text.rstrip("\r\n")))
                cells = dict(zip(meanings(list(row.cells), self.known, row.where), row.cells.values(), strict=True))
                yield Row(row.where, cells, row.assumed or self._assumed(text))

    def _lines(self) -> Iterator[str]:
        """Its lines with their ends; of UTF-8, other bytes become surrogates."""
        is_utf8 = self._encoding.name == "utf-8"
        errors = "surrogateescape" if is_utf8 else "replace"
        with self.path.open(encoding=self._encoding.name, errors=errors, newline="") as file:
            for number, line in enumerate(file, start=1):
                if not is_utf8 and (UNREADABLE in line or "\0" in line):
                    raise _cut_off(self.path, self._encoding)
                if "\0" in line:
                    raise CorpusError(f"{self.path}:{number} holds a NUL byte, expected text. Save the file as UTF-8.")
                yield line.removeprefix("\ufeff") if number == 1 else line

    def _assumed(self, text: str) -> str | None:
        """The encoding if it had to be guessed, for a row that would read differently in others."""
        return self._encoding.name if self._encoding.is_assumed and not text.isascii() else None


def read_jsonl(path: Path) -> list[Row]:
    """Records of a file with one JSON object per line; a list becomes one cell with ``|`` between its items.

    Raises:
        CorpusError: if the file cannot be read, or a line is not an object of texts, numbers and lists of texts.
    """
    return [_object(line) for line in read_lines(path) if line.text.strip()]


def shown(text: str) -> str:
    """``text`` in quotes, cut to a length that fits an error message."""
    return repr(text if len(text) <= 80 else text[:80] + "…")


def _bytes(path: Path, most: int | None = None) -> bytes:
    """The content of a file, or only the first bytes of it."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited on for ever
            raise CorpusError(f"{path} is not a plain file, expected a text file.")
        if most is None and path.stat().st_size > MAX_BYTES:
            raise CorpusError(f"{path} is larger than {MAX_BYTES // 2**20} MiB; expected a table of utterances.")
        with path.open("rb") as file:
            raw = file.read(most)
    except OSError as problem:
        raise CorpusError(f"Cannot read {path}: {problem.strerror}. Check the path and its permissions.") from problem
    if not raw.strip():
        raise CorpusError(f"{path} is empty. Unpack or download it again.")
    return raw


def _decoded(path: Path) -> str:
    """A file of a published corpus, which is UTF-8 unless somebody saved it again; other bytes become surrogates."""
    raw = _bytes(path)
    return _text(raw, encoding_of(raw, str(path), CorpusError) if b"\0" in raw else Encoding("utf-8"), path)


def _text(raw: bytes, encoding: Encoding, path: Path) -> str:
    errors = "surrogateescape" if encoding.name == "utf-8" else "replace"
    text = raw.decode(encoding.name, errors).removeprefix("\ufeff")
    if encoding.name != "utf-8" and (UNREADABLE in text or "\0" in text):
        raise _cut_off(path, encoding)
    return text


def _cut_off(path: Path, encoding: Encoding) -> CorpusError:
    return CorpusError(f"{path} looks like {encoding.name}, but is cut off or damaged. Save it as UTF-8.")


def _lines(text: str, path: Path) -> list[Line]:
    return [_line(f"{path}:{n}", line) for n, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1)]


def _line(where: str, text: str) -> Line:
    repaired = _repaired(where, text)
    return Line(where, repaired, repaired != text)


def _repaired(where: str, text: str) -> str:
    repaired = text.translate(_CP1252)
    if repaired != text and repaired.count(UNREADABLE) > text.count(UNREADABLE):
        raise CorpusError(f"{where} holds bytes that are text in neither UTF-8 nor cp1252. Save the file as UTF-8.")
    return repaired


def _records(path: Path, text: str) -> Iterator[tuple[list[str], str, bool]]:
    # the csv module's cell limit is a setting of the whole process; a text has to fit its default of 128 KiB
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        where = f"{path}:{reader.line_num + 1}"
        try:
            record = next(reader, None)
        except csv.Error as problem:
            raise CorpusError(
                f"{where} is not valid CSV: {problem}. Check the quotes in and after this line."
            ) from problem
        if record is None:
            return
        if record:
            cells = [_repaired(where, cell) for cell in record]
            yield cells, where, cells != record


def _object(line: Line) -> Row:
    try:
        content = json.loads(line.text)
    except (ValueError, RecursionError) as problem:
        raise CorpusError(f"{line.where} is not valid JSON: {problem}. Expected one object per line.") from problem
    if not isinstance(content, dict):
        raise CorpusError(f'{line.where} holds a {type(content).__name__}, expected an object like {{"id": "a1"}}.')
    cells = {name: _cell(line.where, name, value) for name, value in content.items()}
    if any(_HALF_OR_NUL.search(text or "") for item in cells.items() for text in item):
        raise CorpusError(
            f"{line.where} holds \\u0000 or half of a surrogate pair, expected text. Write it again as UTF-8."
        )
    return Row(line.where, cells, "cp1252" if line.is_repaired else None)


def _cell(where: str, name: str, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    if isinstance(value, list) and all(isinstance(item, str) and "|" not in item for item in value):
        return "|".join(value).strip()
    raise CorpusError(
        f"{where}: {shown(name)} is a {type(value).__name__}, expected a text, a number or a list of texts without |."
    )
