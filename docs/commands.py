"""Writes docs/commands.md: what every command says about itself. Run it after a change: ``python docs/commands.py``."""

import contextlib
import io
import os
from pathlib import Path

from m2fnet import cli

PAGE = Path(__file__).with_suffix(".md")
BEGIN = """# Commands

What `m2fnet COMMAND --help` prints, in the order of the work. `m2fnet dialog fit` and `m2fnet extractor fit` list the
settings that people change; `--help-all` adds the rest. Settings of a configuration are written `--part.name value`.
"""
OF_MANY = {"dialog": ["fit"], "extractor": ["fit"], "prepare": ["", "meld", "iemocap", "table"]}


def page() -> str:
    """The page, of the commands as they are now."""
    os.environ["COLUMNS"] = "80"  # as argparse reads it
    lines = [BEGIN]
    for name, what in cli.COMMANDS.items():
        lines += [f"## m2fnet {name}", "", f"{what[0].upper()}{what[1:]}.", ""]
        for part in OF_MANY.get(name, [""]):
            lines += ["```text", help_of([name, part] if part else [name]), "```", ""]
    return "\n".join(lines)


def help_of(command: list[str]) -> str:
    """What ``m2fnet ... --help`` prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        cli.run([*command, "--help"])
    return "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
