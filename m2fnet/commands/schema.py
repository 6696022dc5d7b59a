"""``m2fnet schema WHAT``: what a configuration file may hold, for editors that check and complete YAML."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2fnet.commands.arguments import make_parser
from m2fnet.files import write_text

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from m2fnet.training.cli import RunCLI

# folder of `conf/` -> what its files are
KINDS = {
    "dialog": "a dialogue network with its training",
    "extractors": "an extractor with its training",
    "joint": "an extractor and a dialogue network, trained together",
    "data": "manifest and stores, which a file of `dialog` may include",
    "trainer": "Lightning's trainer, which a file of `dialog` may include",
    "self_training": "what `m2fnet self-train` reads",
}


def main(argv: list[str]) -> None:
    """Print or write the schema of one kind of configuration files."""
    parser = make_parser(
        "schema",
        "Write the JSON schema of a kind of configuration files, named like the folders of conf/. It comes from the "
        "parser that reads these files: every class and setting with its description, type and default, and no other "
        "setting is valid. Editors with the YAML language server (VS Code's YAML extension, Neovim, Emacs, Helix) use "
        "it for a file that begins with the line "
        "`# yaml-language-server: $schema=dialog.schema.json`, a path from the folder of that file.",
        examples=["m2fnet schema dialog --out dialog.schema.json", "m2fnet schema extractors > extractors.schema.json"],
    )
    listed = "; ".join(f"{name}: {what}" for name, what in KINDS.items())
    parser.add_argument("kind", choices=KINDS, help=listed)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it to this file instead of printing it")
    given = parser.parse_args(argv)
    text = json.dumps(schema_of(given.kind), indent=1) + "\n"
    if given.out is None:
        print(text, end="")
        return
    write_text(given.out, text)
    print(f"Wrote {given.out}. Begin a configuration with: # yaml-language-server: $schema={given.out}")


def schema_of(kind: str) -> dict[str, Any]:
    """The JSON schema of the configuration files in ``conf/KIND``.

    Raises:
        KeyError: if there is no such kind.
    """
    import dialog  # these take seconds
    import extractors
    from dialog.cli import DialogueCLI
    from extractors.commands.extractor import ExtractorCLI
    from m2fnet.commands import self_train
    from m2fnet.config import import_all
    from m2fnet.joint.cli import JointCLI
    from m2fnet.training.config_schema import config_schema, part_of

    match kind:
        case "dialog" | "data" | "trainer":
            import_all(dialog)
            whole = config_schema(_parser_of_fit(DialogueCLI))
            return whole if kind == "dialog" else part_of(whole, kind)
        case "extractors":
            import_all(extractors)
            return config_schema(_parser_of_fit(ExtractorCLI))
        case "joint":
            import_all(dialog)
            import_all(extractors)
            return config_schema(_parser_of_fit(JointCLI))
        case "self_training":
            return config_schema(self_train.make_parser())
        case _:
            raise KeyError(kind)


class _ParserMade(Exception):  # noqa: N818 - what was wanted
    def __init__(self, parser: "ArgumentParser") -> None:
        super().__init__()
        self.parser = parser


def _parser_of_fit(command: "type[RunCLI]") -> "ArgumentParser":
    """The parser of a training command, which Lightning makes and uses in one step."""

    class ParserOnly(command):  # type: ignore[valid-type, misc]
        def parse_arguments(self, parser: "ArgumentParser", args: object) -> None:
            raise _ParserMade(self._parser("fit"))

    try:
        ParserOnly([])
    except _ParserMade as made:
        return made.parser
    raise AssertionError(f"{command} has parsed nothing")
