"""A page of Markdown as text for a terminal: tables aligned, no line longer than the terminal is wide."""

import io
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from m2fnet.formatting import BOLD

_BETWEEN_CELLS = re.compile(r"(?<!\\)\|")
_ESCAPED = re.compile(r"\\([\\`<|(])")
_NUMBERS = re.compile(r"[-−+–]?\d*[\d.,]*( ?%)?( ± [\d.]+)?( to [-−+]?[\d.]+)?( \[[-−+\d., ]+\])?")
_NOTHING = ("", "–")  # cells without a value
_NARROWEST = 40
_BETWEEN = 2  # characters between two columns


def for_terminal(page: str, width: int | None = None) -> str:
    r"""The page as text; without its pictures; ``**bold**`` cells are bold where a terminal shows it.

    Args:
        page: Markdown as the reports of this package are written.
        width: of the lines, in characters; None for that of the terminal, or 80 without one.

    Example:
        >>> print(for_terminal("# Toy\n\n| class | F1 |\n|---|---|\n| joy | 66.67 |\n| a\\|b | 7.50 |", width=40))
        Toy
        <BLANKLINE>
        class     F1
        ─────────────
        joy    66.67
        a|b     7.50
    """
    width = width or max(_NARROWEST, shutil.get_terminal_size((80, 24)).columns)
    text = "\n".join(_parts(page, width))
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")


def _parts(page: str, width: int) -> Iterator[str]:
    is_code = False
    for is_table, lines in groupby(page.splitlines(), key=lambda line: line.startswith("|")):
        if is_table:
            yield _shown(_table(list(lines), width), width)
            continue
        for line in lines:
            if line.startswith("```"):
                is_code = not is_code
            elif is_code:  # a command to copy
                yield line
            elif line.startswith("#"):
                yield _shown(Text(_plain(line.lstrip("# ")), style="bold"), width)
            elif not line.startswith("!["):
                yield textwrap.fill(_plain(line), width, break_long_words=False, break_on_hyphens=False)


def _shown(part: RenderableType, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=sys.stdout.isatty(), highlight=False, emoji=False).print(part)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _table(lines: Sequence[str], width: int) -> RenderableType:
    header, _, *rows = [
        [cell.strip() for cell in _BETWEEN_CELLS.split(line.strip().removeprefix("|").removesuffix("|"))]
        for line in lines
    ]
    columns = [[_plain(cell) for cell in column] for column in zip(header, *rows, strict=True)]
    widths = _widths(columns, width)
    if widths is None:  # too narrow even for the longest words: a line per cell
        return Text(_plain("\n".join(_block(header, row) for row in rows)))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for (title, *cells), place in zip(columns, widths, strict=True):
        is_number = all(map(_NUMBERS.fullmatch, cells))
        table.add_column(Text(title), justify="right" if is_number else "left", overflow="fold", width=place)
    for row in rows:
        table.add_row(*(Text(_plain(cell), style="bold" if BOLD.fullmatch(cell) else "") for cell in row))
    return table


def _block(header: Sequence[str], row: Sequence[str]) -> str:
    """The first cell, and under it a line for each other one that says something."""
    named = zip(header[1:], row[1:], strict=True)
    return "\n  ".join([row[0], *(f"{name}: {cell}" for name, cell in named if cell not in _NOTHING)])


def _widths(columns: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """How wide each column is, so that all fit into ``width`` and no word is broken; None if that cannot be."""
    widths = [max(map(len, column)) for column in columns]
    words = [max((len(word) for word in " ".join(column).split()), default=0) for column in columns]
    while sum(widths) + _BETWEEN * len(widths) > width:
        spare = [wide - longest for wide, longest in zip(widths, words, strict=True)]
        most = max(range(len(spare)), key=lambda number: (spare[number] > 0, widths[number]))
        if spare[most] <= 0:
            return None
        widths[most] -= 1
    return widths


def _plain(text: str) -> str:
    """Without Markdown's marks for bold text and its escapes."""
    return _ESCAPED.sub(r"\1", BOLD.sub(r"\1", text))
