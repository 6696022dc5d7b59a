"""Scores as text, and tables of them for Markdown pages and terminals, whose cells may come from anywhere."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    import pandas as pd  # takes longer to import than `m2fnet --help` may take

# what begins code, HTML or a cell, and the bracket that would give a link or a picture its address
BOLD = re.compile(r"\*\*(.+?)\*\*")  # in a cell: the best of its column
_UNKNOWN_OPTION = re.compile(r"Option '([^']+)' is not accepted|unrecognized arguments: (--[^\s=]+)")
_INVALID_CHOICE = re.compile(r"invalid choice: '([^']*)' \(choose from ([^)]*)\)")
_MARKUP = re.compile(r"[\\`<|]|(?<=\])\(")

_SAID: ContextVar[set[tuple[str, ...]] | None] = ContextVar("said", default=None)  # by the command that runs

_IN_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "–": "--", "−": "$-$", "<": "$<$", ">": "$>$", "…": r"\dots{}",
}  # fmt: skip


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """A question whether the one of ``known`` is meant that is like ``wrong``, with a blank before it; or nothing.

    Example:
        >>> did_you_mean("--latx", ["--latex", "--csv"]), did_you_mean("--jobs", ["--latex", "--csv"])
        (' Did you mean --latex?', '')
    """
    found = get_close_matches(wrong, list(known), n=1)
    return f" Did you mean {found[0]}?" if found else ""


def unknown_option(message: str) -> str:
    """The option that argparse or jsonargparse calls unknown in ``message``; empty if it says something else.

    Example:
        >>> unknown_option("unrecognized arguments: --latx=yes"), unknown_option("Option 'latx' is not accepted")
        ('--latx', 'latx')
    """
    found = _UNKNOWN_OPTION.search(message)
    return (found[1] or found[2]) if found else ""


def similar_choice(message: str) -> str:
    """`did_you_mean` about what argparse calls an invalid choice; empty for any other message.

    Example:
        >>> similar_choice("invalid choice: 'fti' (choose from 'fit', 'test')")
        ' Did you mean fit?'
    """
    found = _INVALID_CHOICE.search(message)
    return did_you_mean(found[1], re.findall(r"[^\s',]+", found[2])) if found else ""


def markdown_table(frame: "pd.DataFrame") -> list[str]:
    r"""Lines of a Markdown table with the columns and rows of ``frame``; its index is not shown.

    No cell can leave its place, hold markup or send control characters to a terminal. What is missing is a dash.

    Example:
        >>> import pandas as pd
        >>> print("\n".join(markdown_table(pd.DataFrame({"class": ["a|b"], "F1": [None]}))))
        | class | F1 |
        |---|---|
        | a\|b | – |
    """
    header = list(map(str, frame.columns))
    lines = ["| " + " | ".join(map(escaped, row)) + " |" for row in (header, *cells(frame))]
    return [lines[0], "|---" * len(header) + "|", *lines[1:]]


def terminal_table(frame: "pd.DataFrame") -> str:
    r"""The columns and rows of ``frame`` as aligned text without control characters; its index is not shown.

    Numbers end at the right of their column, everything else begins at its left. What is missing is a dash.

    Example:
        >>> import pandas as pd
        >>> print(terminal_table(pd.DataFrame({"setting": ["text", "text + audio"], "seeds": [10, 3]})))
        setting       seeds
        text             10
        text + audio      3
    """
    columns = zip(map(str, frame.columns), *cells(frame), strict=True)
    padded = []
    for column, kind in zip(columns, frame.dtypes, strict=True):
        lines = list(map(plain, column))
        width, is_number = max(map(len, lines)), kind.kind in "if"
        padded.append([line.rjust(width) if is_number else line.ljust(width) for line in lines])
    return "\n".join("  ".join(row).rstrip() for row in zip(*padded, strict=True))


def latex_table(frame: "pd.DataFrame") -> list[str]:
    r"""Lines of a LaTeX table of the package booktabs with the columns and rows of ``frame``; its index is not shown.

    Example:
        >>> import pandas as pd
        >>> print("\n".join(latex_table(pd.DataFrame({"class": ["joy_1"], "F1": ["**66.67 ± 1**"]}))))
        \begin{tabular}{ll}
        \toprule
        class & F1 \\
        \midrule
        joy\_1 & \textbf{66.67 $\pm$ 1} \\
        \bottomrule
        \end{tabular}
    """
    header, *rows = [" & ".join(map(_latex, row)) + r" \\" for row in (map(str, frame.columns), *cells(frame))]
    begin = rf"\begin{{tabular}}{{{'l' * frame.shape[1]}}}"
    return [begin, r"\toprule", header, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"]


def _latex(cell: str) -> str:
    bold = BOLD.fullmatch(cell)
    text = "".join(_IN_LATEX.get(character, character) for character in plain(bold[1] if bold else cell))
    return rf"\textbf{{{text}}}" if bold else text


def cells(frame: "pd.DataFrame") -> list[list[str]]:
    """The rows of ``frame`` as text, a dash for what is missing.

    Example:
        >>> import pandas as pd
        >>> cells(pd.DataFrame({"class": ["joy", None], "n": [3, 4]}))
        [['joy', '3'], ['–', '4']]
    """
    is_missing = frame.isna().to_numpy()
    columns = [frame.iloc[:, number].tolist() for number in range(frame.shape[1])]
    return [
        ["–" if is_missing[number, place] else str(cell) for place, cell in enumerate(row)]
        for number, row in enumerate(zip(*columns, strict=True))
    ]


def plain(text: str) -> str:
    r"""``text`` on one line without control characters.

    Example:
        >>> plain("red\x1b[31m\nnext")
        'red [31m next'
    """
    return "".join(character if character.isprintable() else " " for character in text)


@contextmanager
def one_command() -> Iterator[None]:
    """Within it, and within the commands that are run in it, `is_news` is true once for each thing.

    Example:
        >>> with one_command():
        ...     first = is_news("leak", "data/meld")
        ...     with one_command():
        ...         print(first, is_news("leak", "data/meld"))
        True False
    """
    if _SAID.get() is not None:
        yield
        return
    before = _SAID.set(set())
    try:
        yield
    finally:
        _SAID.reset(before)


def is_news(*what: str) -> bool:
    """Whether the command that runs has not asked this before; outside a command everything is news."""
    said = _SAID.get()
    if said is None:
        return True
    is_new = what not in said
    said.add(what)
    return is_new


def escaped(text: str) -> str:
    r"""``text`` on one line, so that Markdown shows it as it is; stars stay, which can do no more than emphasise.

    Example:
        >>> print(escaped("<b>`a | b`</b> [c](d)"))
        \<b>\`a \| b\`\</b> [c]\(d)
    """
    return _MARKUP.sub(r"\\\g<0>", plain(text))


def percent(fraction: float) -> str:
    """A score as papers print it.

    Example:
        >>> percent(0.6671)
        '66.71'
    """
    return f"{100 * fraction:.2f}"


def is_given(value: float | None) -> TypeGuard[float]:
    """Whether there is a number: neither None nor NaN, which stands for it in a DataFrame.

    Example:
        >>> is_given(0.0), is_given(None), is_given(float("nan"))
        (True, False, False)
    """
    return value is not None and value == value


def spread(score: Mapping[str, float | None]) -> str:
    """Mean ± standard deviation of a score, only the mean where one seed has no deviation.

    Example:
        >>> spread({"value": 0.5, "sd": 0.01}), spread({"value": 0.5, "sd": None})
        ('50.00 ± 1.00', '50.00')
    """
    return " ± ".join(percent(value) for value in (score["value"], score["sd"]) if is_given(value))


def bounds(score: Mapping[str, float | None]) -> str:
    """The interval of a score, a dash where it has none.

    Example:
        >>> bounds({"low": 0.4, "high": 0.6}), bounds({"low": None, "high": None})
        ('40.00 to 60.00', '–')
    """
    return " to ".join(percent(value) for value in (score["low"], score["high"]) if is_given(value)) or "–"
