"""The page of all commands, and what a shell completes, name the options that they have."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
OPTION = re.compile(r"--[a-z][\w.-]*")


@pytest.fixture(scope="module")
def commands():
    spec = importlib.util.spec_from_file_location("commands", DOCS / "commands.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_shell_completes_every_command_option_and_setting(commands):
    written = json.loads(commands.WORDS.read_text(encoding="utf-8"))
    assert written == commands.completions(), "run `python docs/commands.py`"


@pytest.mark.slow
def test_the_page_has_every_command_and_option(commands):
    """Python's versions break the lines of a help in other places, so that only the options are compared."""
    written, now = (DOCS / "commands.md").read_text(encoding="utf-8"), commands.page()
    headings = re.compile("^## .*", flags=re.MULTILINE)
    assert headings.findall(written) == headings.findall(now)
    advice = "run `python docs/commands.py`"
    parts = zip(headings.findall(now), headings.split(written)[1:], headings.split(now)[1:], strict=True)
    for heading, before, after in parts:
        assert set(OPTION.findall(before)) == set(OPTION.findall(after)), f"{heading}: {advice}"
