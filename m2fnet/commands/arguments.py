"""Kinds of command-line arguments that several commands take."""

import argparse
from collections.abc import Callable, Sequence


def list_of(choices: Sequence[str]) -> Callable[[str], list[str]]:
    """What reads names with commas between them, each out of ``choices``, for argparse's ``type``.

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
