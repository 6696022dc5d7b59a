"""Doctests of docstrings as code on the site: Markdown would take their prompts for quotations."""

import re
from typing import Any

import griffe

_DOCTEST = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?P=indent)\S.*)*", flags=re.MULTILINE)


def fenced(docstring: str) -> str:
    """The docstring with a fence around each doctest."""
    return _DOCTEST.sub(lambda found: f"{found['indent']}```pycon\n{found[0]}\n{found['indent']}```", docstring)


class FencedDoctests(griffe.Extension):
    """Fences the doctests of every object that the site documents."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:  # noqa: ANN401
        """Change the docstring before it is parsed."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
