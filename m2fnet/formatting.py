"""Pages in Markdown, of text that may come from anywhere."""

import re
from collections.abc import Mapping, Sequence

# what begins code, HTML or a cell, and the bracket that would give a link or a picture its address
_MARKUP = re.compile(r"[\\`<|]|(?<=\])\(")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; no cell can leave its place, hold markup or send control characters to a terminal."""
    return [_line(header), "|---" * len(header) + "|", *map(_line, rows)]


def plain(text: str) -> str:
    """``text`` on one line without control characters."""
    return "".join(character if character.isprintable() else " " for character in text)


def escaped(text: str) -> str:
    r"""``text`` on one line, so that Markdown shows it as it is; stars stay, which can do no more than emphasise.

    >>> print(escaped("<b>`a | b`</b> [c](d)"))
    \<b>\`a \| b\`\</b> [c]\(d)
    """
    return _MARKUP.sub(r"\\\g<0>", plain(text))


def percent(fraction: float) -> str:
    """A score as papers print it: 0.6671 -> ``66.71``."""
    return f"{100 * fraction:.2f}"


def spread(score: Mapping[str, float | None]) -> str:
    """Mean ± standard deviation of a score, the mean alone where one seed has no deviation.

    >>> spread({"mean": 0.5, "sd": 0.01}), spread({"mean": 0.5, "sd": None})
    ('50.00 ± 1.00', '50.00')
    """
    return " ± ".join(percent(value) for value in (score["mean"], score["sd"]) if value is not None)


def bounds(score: Mapping[str, float | None]) -> str:
    """The interval of a score, a dash where it has none.

    >>> bounds({"low": 0.4, "high": 0.6}), bounds({"low": None, "high": None})
    ('40.00 to 60.00', '–')
    """
    ends = [percent(value) for value in (score["low"], score["high"]) if value is not None]
    return " to ".join(ends) or "–"


def upright(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The cells of a table, turned on its side if it has more columns than rows.

    >>> upright([["setting", "width", "heads"], ["a", "4", "2"]])
    [['setting', 'a'], ['width', '4'], ['heads', '2']]
    """
    return [list(row) for row in (zip(*rows, strict=True) if len(rows[0]) > len(rows) else rows)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(escaped, cells)) + " |"
