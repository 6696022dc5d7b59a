"""Tables as spreadsheets, statistics programs and other projects write them; `prepare table` and `--segments` share it.

What is read: commas, semicolons, tabs or bars between cells, Excel's ``sep=;`` line, blank rows, columns without a
name, rows whose last empty cells are not written (Excel, KB77295), and the headings of other projects in any case, such
as ``Start Time`` or ``emotion``. The standard library's `csv` reads the records, not pandas: after a text with line
breaks pandas no longer knows the line of a row.
"""

import csv
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from m2fnet.errors import CorpusError

# meaning of a column -> our names for it, then those of others; letters and digits only, as `_plain` leaves them
HEADINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "dialogue": (("dialogue",), ("dialog", "dialogueid", "dialogid", "conversation", "conversationid", "convid")),
    "split": (("split",), ("subset", "partition", "splitset")),
    "id": (("id",), ("uttid",)),
    "speaker": (("speaker",), ("speakerid", "speakername", "speakerlabel", "spk", "spkid", "who")),
    "text": (("text",), ("utterance", "transcript", "transcription", "sentence", "words", "caption", "said")),
    "label": (("label",), ("emotion", "emotionlabel", "labelemotion")),
    "labels": (("labels",), ("emotions",)),
    "start_s": (
        ("start", "starts"),
        (
            "starttime",
            "starttimes",
            "startseconds",
            "startsec",
            "begin",
            "begins",
            "begintime",
            "onset",
            "from",
            "tmin",
            "segmentstart",
        ),
    ),
    "end_s": (
        ("end", "ends"),
        (
            "endtime",
            "endtimes",
            "endseconds",
            "endsec",
            "stop",
            "stops",
            "stoptime",
            "finish",
            "offset",
            "to",
            "tmax",
            "segmentend",
        ),
    ),
    "duration_s": (("durations",), ("duration", "durationseconds", "durationsec", "dur")),
    "start_ms": (("startms",), ("starttimems", "startmsec", "startmilliseconds", "beginms", "onsetms")),
    "end_ms": (("endms",), ("endtimems", "endmsec", "endmilliseconds", "stopms", "offsetms")),
    "audio": (("audio",), ("audiopath", "audiofile", "audiofilepath", "wav", "wavpath", "wavfile")),
    "video": (("video",), ("videopath", "videofile")),
    "audio_start_s": (("audiostarts",), ("audiostart",)),
    "audio_end_s": (("audioends",), ("audioend",)),
    "video_start_s": (("videostarts",), ("videostart",)),
    "video_end_s": (("videoends",), ("videoend",)),
    "crop": (("crop",), ()),
}
# what programs write for nothing: the default `na_values` of pandas.read_csv, which R and Excel share
_NOTHING = frozenset(
    ["#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "-nan", "1.#ind", "1.#qnan", "<na>", "n/a", "na", "null"]
)
_NOTHING |= {"nan", "none", "nat", "nil", "<nan>", "<none>"}
_NOTHING |= {".", "-", "--", "–", "—", "?", "??", "???"}  # as Stata and SAS (.) and people write it
_MAY_BE_SAID = frozenset(["na", "nat", "nil", "none", "null"])
_SEPARATORS = ",;\t|"
_SEP_LINE = re.compile(r"\"?sep=(.)\1*\"?\s*", re.IGNORECASE)
_NOT_PLAIN = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Record:
    """One row of a table.

    Attributes:
        where: its place, as ``file:line``.
        cells: by the meaning of their column, otherwise by its heading; stripped.
        is_short: whether its last cells were not written.
    """

    where: str
    cells: dict[str, str]
    is_short: bool = False


@dataclass(frozen=True)
class Table:
    """A table with its columns understood.

    Attributes:
        where: place of its first line, as ``file:line``.
        headings: the first line, as it is written.
        columns: what each of the headings means, or itself where it means nothing here; empty for a column without one.
        records: the rows that are not blank; they can be read once.
    """

    where: str
    headings: tuple[str, ...]
    columns: tuple[str, ...]
    records: Iterator[Record]


def read_table(lines: Iterable[str], name: str, known: Collection[str]) -> Table:
    r"""The table in ``lines``, which keep their line ends.

    Args:
        lines: of the file.
        name: of the file, for messages.
        known: the meanings, out of `HEADINGS`, that count here.

    Raises:
        CorpusError: naming the line of a column that is there twice, a row that is too long, or quotes that do not
            close; for rows once they are read.

    Example:
        >>> lines = ["sep=;\n", "Start Time;Emotion;;\n", "1,5;joy;;\n", ";;;\n"]
        >>> table = read_table(lines, "a.csv", ["start_s", "label"])
        >>> table.columns
        ('start_s', 'label', '', '')
        >>> [(record.where, record.cells) for record in table.records]
        [('a.csv:3', {'start_s': '1,5', 'label': 'joy'})]
    """
    left = enumerate(lines)
    first, header = next(((n, line) for n, line in left if line.strip(" \t\r\n,;|\"'")), (0, ""))
    sep = _SEP_LINE.fullmatch(header)
    if sep is not None:
        first, header = next(left, (first + 1, ""))
    rest = chain([header], (line for _, line in left))
    records = _records(rest, name, first, sep[1] if sep is not None else _separator(header, known))
    where, headings = next(records, (f"{name}:1", []))
    headings = [heading.strip() for heading in headings]
    columns = meanings(headings, known, where)
    return Table(where, tuple(headings), tuple(columns), _read(records, columns))


def meanings(headings: Sequence[str], known: Collection[str], where: str) -> list[str]:
    """What each heading means; itself if it means nothing out of ``known``.

    A heading of ours wins against one of others with the same meaning. ``offset`` is the end next to ``onset``, but the
    start next to a duration, as in the manifests of NeMo.

    Raises:
        CorpusError: if two headings have the same meaning.

    Example:
        >>> meanings(["Emotion", "label", "Start Time"], ["label", "start_s"], "a.csv:1")
        ['Emotion', 'label', 'start_s']
        >>> meanings(["offset", "duration"], ["start_s", "end_s", "duration_s"], "a.csv:1")
        ['start_s', 'duration_s']
    """
    found = list(headings)
    for meaning in known:
        for names in HEADINGS[meaning]:
            places = [n for n, heading in enumerate(headings) if _plain(heading) in names]
            if len(places) > 1:
                named = " and ".join(repr(headings[place]) for place in places)
                what = meaning.removesuffix("_s") if meaning in ("start_s", "end_s") else meaning
                raise CorpusError(
                    f"{where} names the column {what} twice ({named}); its columns are "
                    f"{', '.join(headings)[:80]}. Rename or remove one of them."
                )
            if places:
                found[places[0]] = meaning
                break
    plain = [_plain(heading) for heading in headings]
    has_duration = any(name in plain for names in HEADINGS["duration_s"] for name in names)
    if has_duration and "start_s" in known and "start_s" not in found and "end_s" in found:
        place = found.index("end_s")
        found[place] = "start_s" if plain[place] == "offset" else "end_s"
    return found


def is_nothing(cell: str) -> bool:
    """Whether a cell holds one of the words that programs write for a missing value, such as ``NaN`` or ``#N/A``.

    Example:
        >>> is_nothing(" NaN"), is_nothing("<NA>"), is_nothing("Nancy"), is_nothing("")
        (True, True, False, False)
    """
    return cell.strip().casefold() in _NOTHING


def is_no_text(cell: str) -> bool:
    """Whether a cell of spoken words holds what programs write for a missing one, and nobody says.

    Example:
        >>> is_no_text("NaN"), is_no_text("#N/A"), is_no_text("None"), is_no_text("Nan")
        (True, True, False, False)
    """
    return is_nothing(cell) and cell.strip().casefold() not in _MAY_BE_SAID and cell.strip() not in ("Nan", "NAN")


def _plain(heading: str) -> str:
    return _NOT_PLAIN.sub("", heading.casefold())


def _separator(header: str, known: Collection[str]) -> str:
    """What is between the cells: by it, most headings are known, and otherwise there are most of them."""
    names = {name for meaning in known for group in HEADINGS[meaning] for name in group}

    def fit(separator: str) -> tuple[int, int]:
        try:
            cells = next(csv.reader([header], delimiter=separator), [])
        except csv.Error:
            return 0, 0
        return sum(_plain(cell) in names for cell in cells), len(cells)

    return max(_SEPARATORS, key=fit)


def _records(lines: Iterable[str], name: str, skipped: int, separator: str) -> Iterator[tuple[str, list[str]]]:
    """Records that are not blank, each with the place of its first line."""
    # the csv module's cell limit is a setting of the whole process; a text has to fit its default of 128 KiB
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        where = f"{name}:{skipped + reader.line_num + 1}"
        try:
            record = next(reader, None)
        except csv.Error as problem:
            raise CorpusError(
                f"{where} is not valid CSV: {problem}. Check the quotes in and after this line."
            ) from problem
        if record is None:
            return
        if any(cell.strip() for cell in record):
            yield where, record


def _read(records: Iterator[tuple[str, list[str]]], columns: Sequence[str]) -> Iterator[Record]:
    for where, record in records:
        cells = [cell.strip() for cell in record]
        if any(cells[len(columns) :]):
            raise CorpusError(
                f"{where} has {len(cells)} cells, expected {len(columns)} as in the first line. "
                "Put a text with a comma in it into double quotes."
            )
        is_short = len(cells) < len(columns)
        padded = [*cells, *[""] * (len(columns) - len(cells))]
        named = {column: cell for column, cell in zip(columns, padded, strict=False) if column}
        named |= {f"column {n + 1}": cell for n, cell in enumerate(padded[: len(columns)]) if cell and not columns[n]}
        yield Record(where, named, is_short)
