"""Writes docs/commands.md, what every command says about itself, and the words that a shell completes.

Run it after a change: ``python docs/commands.py``.
"""

import contextlib
import io
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m2fnet import cli
from m2fnet.config import conf_folder

WORDS = Path(cli.__file__).parent / "commands" / "completion.json"
PAGE = Path(__file__).with_suffix(".md")
BEGIN = """# Commands

What `m2fnet COMMAND --help` prints, in the order of the work. `m2fnet dialog fit`, `extractor fit` and `joint fit` list
the settings that people change; `--help-all` adds the rest. Settings are written as in a configuration file:
`--part.name value`.
"""
OF_MANY = {"dialog": ["fit"], "extractor": ["fit"], "joint": ["fit"], "prepare": ["", "meld", "iemocap", "table"]}


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


OPTION = re.compile(r"^  (?:-\w, )?(--[a-z](?:[\w.-]*\w)?)(?: ([A-Z{\[<]\S*))?", flags=re.MULTILINE)
SUBCOMMAND = re.compile(r"^    ([a-z]\w*)\b", flags=re.MULTILINE)  # of a list with a line for each
CHOICE = re.compile(r"^  \{([\w,-]+)\}", flags=re.MULTILINE)


def completions() -> dict[str, Any]:
    """The table of `m2fnet.commands.completion`.

    ``commands`` has, for each command, its subcommands (options of all under an empty name) with their options;
    ``settings`` the settings of the class that each shipped configuration is of, ``examples`` the configuration whose
    settings are offered if the command line names none.
    """
    from dialog.cli import DialogueCLI
    from extractors.commands.extractor import ExtractorCLI
    from m2fnet.joint.cli import JointCLI

    trained = {"dialog": DialogueCLI, "extractor": ExtractorCLI, "joint": JointCLI}
    folders = {"dialog": DialogueCLI, "extractors": ExtractorCLI, "joint": JointCLI}
    found: dict[str, dict[str, Mapping[str, list[str] | None]]] = {}
    settings: dict[str, list[str]] = {}
    for name in cli.COMMANDS:
        text = help_of([name])
        options = options_in(text)
        parts = [*SUBCOMMAND.findall(text.partition("positional arguments:")[2].partition("\n\n")[0])]
        parts += [part for choice in CHOICE.findall(text) for part in choice.split(",")]
        if name in trained:
            parts = list(trained[name].subcommands())
            shared = trained[name].help().options(["fit"])
            options |= {one: [] if one in cli.FLAGS else None for one in shared if not one.startswith("--model.net.")}
            options |= {"--config": None, "--trainer": None, "--data": None, "--help-all": []}
        of_parts = {part: options_in(help_of([name, part])) if name == "prepare" else {} for part in parts}
        found[name] = {"": options, **of_parts}
    for path in sorted(conf_folder().glob("*/*.yaml")):
        shipped = f"conf/{path.parent.name}/{path.name}"
        of = folders.get(path.parent.name)
        known = of.help().options(["fit", "--config", shipped]) if of else []
        settings[shipped] = [one for one in known if one.startswith("--model.net.")]
    examples = {name: f"conf/{of.example}" for name, of in trained.items()}
    return {"commands": found, "settings": settings, "examples": examples}


def options_in(text: str) -> dict[str, list[str] | None]:
    """Option -> its choices, of a help; an empty list for a flag, None for a value of any kind."""
    found: dict[str, list[str] | None] = {}
    for option, value in OPTION.findall(text):
        found[option] = value.strip("{}").split(",") if value.startswith("{") else None if value else []
    return found


if __name__ == "__main__":
    WORDS.write_text(json.dumps(completions(), indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
