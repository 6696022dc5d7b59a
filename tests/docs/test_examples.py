"""Every function that a page or a notebook imports shows in its docstring how it is called."""

import ast
import importlib
import inspect
import json
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("m2fnet", "extractors", "dialog")


def python_of(path):
    """The Python of a page or of a notebook's cells, block by block."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return ["".join(line for line in cell["source"] if not line.startswith("%")) for cell in cells]


def imported_names():
    """(module, name) of everything of ours that pages and notebooks import."""
    pages = [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md"), *(REPOSITORY / "notebooks").glob("*.ipynb")]
    return {
        (node.module, alias.name)
        for page in pages
        for block in python_of(page)
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in PACKAGES
        for alias in node.names
    }


def called_functions():
    """Those of the names that are functions."""
    found = {name: getattr(importlib.import_module(name[0]), name[1]) for name in imported_names()}
    return sorted(name for name, value in found.items() if inspect.isfunction(value))


def test_pages_and_notebooks_import_functions():
    assert len(called_functions()) > 10


@pytest.mark.parametrize("name", called_functions(), ids=".".join)
def test_a_function_of_a_page_has_an_example(name):
    function = getattr(importlib.import_module(name[0]), name[1])
    assert re.search(r"^Example:\n    >>> ", inspect.getdoc(function), flags=re.MULTILINE)
