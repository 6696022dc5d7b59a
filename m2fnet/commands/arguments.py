"""Parsers of the command line that several commands share: their form, and kinds of arguments."""

import argparse
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from m2fnet.errors import UsageError
from m2fnet.formatting import did_you_mean, similar_choice, unknown_option

WIDTH = 78  # characters of a line of help, for a terminal of 80


class Parser(argparse.ArgumentParser):
    """Options cannot be abbreviated, so that a new one never changes what an old command line means.

    Of a wrong option or choice it asks whether the one like it is meant.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **{"allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        """Print usage and ``message``, and exit with 2."""
        unknown = unknown_option(message)
        question = did_you_mean(unknown, self._options()) if unknown else similar_choice(message)
        super().error(f"{message}.{question}" if question else message)

    def _options(self) -> Iterator[str]:
        """All options, those of subcommands too: what a subcommand does not know is refused by the whole command."""
        yield from self._option_string_actions
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for parser in action.choices.values():
                    yield from parser._option_string_actions


def make_parser(command: str, description: str, *, examples: Sequence[str], notes: str = "") -> argparse.ArgumentParser:
    """A parser whose ``--help`` explains ``m2fnet COMMAND``: description, options, notes, examples.

    Args:
        command: its name.
        description: what it does, in paragraphs with an empty line between them.
        examples: whole command lines.
        notes: more paragraphs, which are shown after the options.

    Example:
        >>> parser = make_parser("check", "Print versions.", examples=["m2fnet check"])
        >>> print(parser.format_help())
        usage: m2fnet check [-h]
        <BLANKLINE>
        Print versions.
        <BLANKLINE>
        options:
          -h, --help  show this help message and exit
        <BLANKLINE>
        example:
          m2fnet check
        <BLANKLINE>
    """

    def wrapped(text: str) -> str:
        return "\n\n".join(textwrap.fill(paragraph, WIDTH) for paragraph in text.split("\n\n"))

    title = "examples" if len(examples) > 1 else "example"
    shown = "\n".join([f"{title}:", *(f"  {example}" for example in examples)])
    return Parser(
        prog=f"m2fnet {command}",
        description=wrapped(description),
        epilog=f"{wrapped(notes)}\n\n{shown}" if notes else shown,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def list_of(choices: Sequence[str]) -> Callable[[str], list[str]]:
    """A reader of names with commas between them, each one of ``choices``, for argparse's ``type``.

    Example:
        >>> list_of(["dev", "test"])("test,dev,test")
        ['test', 'dev']
    """

    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in choices:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(choices)}")
        return list(dict.fromkeys(names))

    return parse


def positive_int(text: str) -> int:
    """The whole number in ``text``, which is at least 1, for argparse's ``type``.

    Example:
        >>> positive_int("4")
        4
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def positive_float(text: str) -> float:
    """The finite number above 0 in ``text``, for argparse's ``type``.

    Example:
        >>> positive_float("0.5")
        0.5
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):  # false for nan too
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def add_extractor_option(parser: argparse._ActionsContainer) -> None:
    """Add ``--extractor STREAM=RUN``, which `given_extractors` reads."""
    parser.add_argument(
        "--extractor",
        type=_named_run,
        action="append",
        default=[],
        metavar="STREAM=RUN",
        help="run folder of an extractor that is not found automatically; once for each stream",
    )


def given_extractors(pairs: Sequence[tuple[str, Path]]) -> dict[str, Path]:
    """Stream -> run folder, from all ``--extractor``.

    Raises:
        UsageError: if a stream is named twice.

    Example:
        >>> list(given_extractors([("text", Path("runs/lsa"))]))
        ['text']
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UsageError("--extractor names one stream twice; expected one run for each.")
    return found


def _named_run(text: str) -> tuple[str, Path]:
    name, _, run = text.partition("=")
    if not (name and run):
        raise argparse.ArgumentTypeError(f"expected the name of a stream, =, and a run folder; got {text!r}")
    return name, Path(run)
