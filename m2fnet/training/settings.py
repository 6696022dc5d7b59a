"""The settings of a run as plain data, read with the parser of its command."""

from argparse import ArgumentError
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentParser, Namespace, get_loader, set_loader

from m2fnet.errors import UsageError
from m2fnet.runs.folder import (
    CONFIG,
    differences,
    is_run,
    refuse_other_settings,
    run_folder,
    settings_of_a_run,
    trained_settings,
)
from m2fnet.runs.provenance import refuse_other_data
from m2fnet.runs.renamed import with_current_names

PARSER_MODE = "settings"  # YAML in which renamed settings have their present names


def read_renamed_settings() -> None:
    """Let parsers of `PARSER_MODE` read the settings of older runs."""

    def load(text: str) -> object:
        content = get_loader("yaml")(text)
        return with_current_names(content) if isinstance(content, dict) else content

    set_loader(PARSER_MODE, load, (yaml.YAMLError,))


def parser_settings(prog: str, description: str | None, commands: Mapping[str, str | None]) -> dict[str, Any]:
    """How the parser of a training command is made, for ``LightningCLI(parser_kwargs=...)``.

    Args:
        prog: the command, such as ``m2fnet dialog``.
        description: what it does.
        commands: its subcommands and what each does; None for those that say it themselves.
    """
    texts = {name: {"description": text} for name, text in commands.items() if text is not None}
    parser = {"prog": prog, "description": description, "parser_mode": PARSER_MODE}
    return {**parser, "exit_on_error": False, "allow_abbrev": False, **texts}


def describe_commands(parser: ArgumentParser, commands: Mapping[str, str]) -> None:
    """List what the subcommands do in the help; Lightning's lines end in the middle of a sentence."""
    listed = parser._subcommands_action
    for line in listed._choices_actions if listed else ():
        line.help = commands.get(line.dest, line.help)


def add_run_options(parser: ArgumentParser) -> None:
    """Add the options that every training command has besides the settings of trainer, model and data."""
    parser.add_argument(
        "--run",
        type=str | None,
        default=None,
        help="Folder of this run; by default runs/<configuration>/seed-<seed>, or, with other settings than those of "
        "the configuration, runs/<configuration>+<what differs>/seed-<seed>.",
    )
    parser.add_argument(
        "--name",
        type=str | None,
        default=None,
        help="Name of this run and its other seeds, for the folder runs/<name>/seed-<seed>.",
    )
    parser.add_argument(
        "--select",
        type=Literal["dev", "last"],
        default="dev",
        help="Weights to select: those with the best score on dev, or those of the last epoch.",
    )
    parser.add_argument(
        "--checkpoint",
        type=str | None,
        default=None,
        help="Weights to score: best, last, or a file (default: the selected ones).",
    )
    parser.add_argument(
        "--label-map",
        type=str | None,
        default=None,
        help="For a test on another corpus: their label=ours,... for the names that differ (nothing after = for a "
        "label without a counterpart), or a file with them.",
    )
    parser.add_argument(
        "--threads",
        type=int | None,
        default=None,
        help="Threads of torch on the CPU (default: one for dialogue networks, whose steps are so small that threads "
        "wait for each other; all cores for extractors).",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="Check settings and data, name the run folder, stop; nothing is written."
    )
    parser.add_argument("--overwrite", action="store_true", help="Train a finished run again.")
    parser.add_argument("--quiet", action="store_true", help="Print no report, no line per epoch and no progress bar.")


def refuse_wrong_seed(seed: int) -> None:
    """Refuse a seed that numpy does not take.

    Raises:
        UsageError: naming the range.
    """
    if not 0 <= seed < 2**32:
        raise UsageError(f"seed_everything is {seed}, expected a number from 0 to {2**32 - 1}.")


class RunSettings:
    """What a command line says about the run it is given for.

    Attributes:
        values: every setting that belongs to the run, defaults included, in plain values.
        overrides: dotted key -> value of those that the configuration file does not have; all of them if that file is
            incomplete.
        folder: the folder of the run.

    Args:
        parser: of the command with all its subcommands.
        config: what it parsed.
    """

    def __init__(self, parser: ArgumentParser, config: Namespace) -> None:
        self._parser, self._subcommand = parser, config.subcommand
        self.values = self._plain(config)
        self._given = given = config[config.subcommand]
        file = Path(str(given.config[0])) if given.config else None
        configured = (self._of_file(file) if file is not None else None) or {}
        self.overrides = {key: value for key, (_, value) in differences(configured, self.values).items()}
        word = given.name
        if word is not None and (given.run or not word or Path(word).name != word or word.startswith(".")):
            raise UsageError(
                f"--name is {given.name!r}; expected one word for the folder runs/<name>/seed-<seed>, and no --run "
                "with it."
            )
        if given.run:
            self.folder = Path(given.run)
        elif file is not None and file.name == CONFIG and is_run(file.parent):
            self.folder = file.parent  # the configuration of a run means that run
        else:
            self.folder = run_folder(file, given.seed_everything, self.overrides, given.name)

    def refuse_misuse(self) -> None:
        """Refuse what the command cannot do in the run folder.

        Raises:
            UsageError: if the folder is a file or holds a run of other settings or data, or an option has no effect.
            RunError: if what is in the folder cannot be read.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"{self.folder} is a file, expected the folder of a run; name another with --run.")
        if self._subcommand != "fit":
            self.refuse_others(only="model")
        elif self._given.checkpoint is not None:
            raise UsageError("--checkpoint names weights to score; `fit` resumes from the last checkpoint of the run.")
        elif self._given.label_map is not None:
            raise UsageError("--label-map is for scoring a run on another corpus; `fit` learns the labels as they are.")
        elif not self._given.overwrite:
            self.refuse_others()
            refuse_other_data(self.folder)

    def refuse_others(self, only: str = "") -> None:
        """Compare with the settings in the run folder, if it has any, or just the part named ``only``.

        Raises:
            UsageError: naming the first setting that differs.
            RunError: if those in the folder cannot be read.
        """
        trained = trained_settings(self.folder)
        if trained is None:
            return
        if differences(trained, self.values):  # a setting newer than the run: it was trained with the default
            trained = self._of_file(self.folder / CONFIG) or trained
        refuse_other_settings(self.folder, trained, self.values, only)

    def _plain(self, config: Namespace) -> dict[str, Any]:
        content = yaml.safe_load(self._parser.dump(config, skip_unset=False))
        return settings_of_a_run(content[self._subcommand])

    def _of_file(self, file: Path) -> dict[str, Any] | None:
        """The settings of a configuration file, defaults included; None if it is incomplete."""
        try:
            return self._plain(self._parser.parse_args([self._subcommand, "--config", str(file)]))
        except ArgumentError:
            return None
