"""Tables in Markdown, of text that may come from anywhere."""

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; no cell can leave its place or send control characters to a terminal."""
    return [_line(header), "|---" * len(header) + "|", *map(_line, rows)]


def plain(text: str) -> str:
    """``text`` on one line without control characters."""
    return "".join(character if character.isprintable() else " " for character in text)


def percent(fraction: float) -> str:
    """A score as papers print it: 0.6671 -> ``66.71``."""
    return f"{100 * fraction:.2f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(plain(cell).replace("|", "\\|") for cell in cells) + " |"


def upright(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The cells of a table, turned on its side if it has more columns than rows.

    >>> upright([["setting", "width", "heads"], ["a", "4", "2"]])
    [['setting', 'a'], ['width', '4'], ['heads', '2']]
    """
    return [list(row) for row in (zip(*rows, strict=True) if len(rows[0]) > len(rows) else rows)]
