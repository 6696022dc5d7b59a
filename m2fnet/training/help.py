"""The help of a training command on a few screens: what it does, and the settings that people change."""

import argparse
import difflib
import inspect
import re
import textwrap
from argparse import ArgumentError
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from docstring_parser import DocstringStyle, parse
from torch import nn

from m2fnet.config import conf_folder, named_class, one_sentence, resolve_config_arguments
from m2fnet.errors import UsageError
from m2fnet.formatting import similar_choice, unknown_option

ALL = "--help-all"
_HELP = {"-h", "--help"}
_LINE = 78
_CLASS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_KEYS = 26  # width of the first column
_OF_TRAINER = {
    "max_epochs": "epochs to train",
    "max_time": "stop after DD:HH:MM:SS",
    "accelerator": "cpu, gpu or auto",
    "devices": "how many of them, or a list of their numbers",
    "strategy": "how several share the work: auto, ddp, fsdp",
    "precision": "32-true, bf16-mixed or 16-mixed",
    "gradient_clip_val": "largest norm of the gradient",
    "accumulate_grad_batches": "batches per optimizer step",
    "limit_train_batches": "share or number of batches per epoch, to try things",
    "callbacks": "a list of {class_path, init_args}",
    "logger": "true for CSV and TensorBoard, or {class_path, init_args}",
    "enable_progress_bar": "true or false; by default in a terminal",
}
_NETWORKS = {"net": "The network", "dialogue": "The dialogue network"}
_OF_OPTIMIZER = {"optimizer.lr": "learning rate", "optimizer.weight_decay": "weight decay"}


def asks_for_help(argv: Sequence[str]) -> bool:
    """Whether the short help of a command is asked for.

    Example:
        >>> asks_for_help(["fit", "--help"]), asks_for_help(["fit", "--help-all"]), asks_for_help(["--help"])
        (True, False, False)
    """
    return bool(argv) and not argv[0].startswith("-") and not _HELP.isdisjoint(argv[1:])


@dataclass(frozen=True)
class SettingsHelp:
    """What a training command says about its settings.

    Attributes:
        prog: ``m2fnet dialog`` or the like.
        task: class whose arguments are the settings ``model``.
        data: class whose arguments are the settings ``data``.
        example: a shipped configuration; its network is explained if the command line names no configuration.
        add_options: adds the options of the run to a parser.
    """

    prog: str
    task: type
    data: type
    example: str
    add_options: Callable[[Any], None]

    def page(self, argv: Sequence[str], text: str) -> str:
        """What ``m2fnet dialog fit --help`` prints.

        Args:
            argv: what was typed after ``prog``.
            text: what the command does.

        Raises:
            UsageError: if the configuration in ``argv`` is missing or names a class that cannot be used.
        """
        command = f"{self.prog} {argv[0]}"
        lines = [f"usage: {command} --config FILE [--KEY VALUE ...]", "", *textwrap.wrap(text, _LINE), ""]
        lines += [f"  {command} --config conf/{self.example}", "", "In brackets: what a setting is by default.", ""]
        for title, _, settings in self._parts(argv):
            lines += [f"{title}:", *(line for key, said in settings.items() for line in _lines(key, said)), ""]
        return "\n".join([*lines, "All settings, and every class that one may name:", f"  {command} {ALL}"])

    def options(self, argv: Sequence[str]) -> list[str]:
        """Every option and setting on the page, as it is typed."""
        return [f"{prefix}{key}" for _, prefix, settings in self._parts(argv) for key in settings]

    def near(self, argv: Sequence[str], wrong: str) -> str:
        """A question whether a setting like ``wrong`` is meant, with a blank before it; empty if none is like it."""
        last = wrong.rsplit(".", 1)[-1].lstrip("-")
        try:
            options = self.options(argv)
        except UsageError:  # the first of several configurations names no network
            return ""
        by_name = {key.rsplit(".", 1)[-1].lstrip("-"): key for key in reversed(options)}
        found = difflib.get_close_matches(last, by_name, n=1, cutoff=0.7)
        return f" Did you mean {by_name[found[0]]}?" if found else ""

    def refused(self, error: ArgumentError, argv: Sequence[str]) -> UsageError:
        """The ``error`` of a parser in one sentence, with a question whether a setting like the wrong one is meant."""
        wrong = unknown_option(str(error))
        near = self.near(argv, wrong) if wrong else similar_choice(str(error))
        if "model.net" in str(error) and _config_in(argv) is None:
            # the parser finds fault with what it was given, but most often the file is what lacks
            sentence = "model.net is required, and no --config was given that names it; expected a configuration"
            return UsageError(f"{sentence}, such as conf/{self.example}.")
        sentence = one_sentence(str(error)).rstrip(".") + "."
        if wrong and not near and sentence.startswith(("--", "unrecognized", *(f"model.{key}:" for key in _NETWORKS))):
            near = f" `{self.prog} {argv[0]} --config FILE --help` lists the settings."
        return UsageError(sentence.replace("; see the class's own arguments.", ".") + near if near else sentence)

    def networks(self, argv: Sequence[str]) -> dict[str, str]:
        """Key below ``model`` -> class, of every network in the configuration."""
        config = _config_in(argv) or conf_folder() / self.example
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
        try:
            named = content["model"]
            found = {key: str(named[key]["class_path"]) for key in ("net", *(named.keys() & {"dialogue"}))}
        except (KeyError, TypeError) as problem:
            raise UsageError(f"{config} names no network; expected it at model.net.class_path.") from problem
        return {key: _given(argv, key) or name for key, name in found.items()}

    def _parts(self, argv: Sequence[str]) -> Iterator[tuple[str, str, Mapping[str, str]]]:
        """Title, what comes before each key, and key -> text, for every part of the settings."""
        options = argparse.ArgumentParser(add_help=False)
        self.add_options(_WithoutTypes(options))
        said = {action.option_strings[0]: str(action.help) for action in options._actions}
        yield "Options of the run", "", {**said, "--seed_everything": "Seed of all random numbers."}
        networks = self.networks(argv)
        for key, name in networks.items():
            network = named_class(name, nn.Module, f"model.{key}.class_path")
            title = f"{_NETWORKS[key]}, --model.{key}.KEY VALUE ({name})"
            yield title, f"--model.{key}.", dict(_settings(network, skip=("problem",)))
        task = dict(_settings(self.task, skip=(*networks, "optimizer")))
        yield "Training, --model.KEY VALUE", "--model.", {**task, **_OF_OPTIMIZER}
        yield "Data, --data.KEY VALUE", "--data.", dict(_settings(self.data))
        yield "Lightning's trainer, --trainer.KEY VALUE, what is used most", "--trainer.", _OF_TRAINER


class _WithoutTypes:
    """Takes options as a parser of jsonargparse does, and leaves out their types, which argparse does not know."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parser = parser

    def add_argument(self, *names: str, type: object = None, **settings: Any) -> None:  # noqa: ANN401
        self._parser.add_argument(*names, **settings)


def _given(argv: Sequence[str], key: str) -> str | None:
    """The class of the network ``model.<key>`` that the command line names in place of the configuration's."""
    words = " ".join(argv).replace("=", " ").split()
    names = (f"--model.{key}", f"--model.{key}.class_path")
    given = [word for option, word in pairwise(words) if option in names and _CLASS.fullmatch(word)]
    return given[-1] if given else None


def _config_in(argv: Sequence[str]) -> Path | None:
    found = resolve_config_arguments([one for one in argv if one not in _HELP])
    for name, value in zip(found, [*found, ""][1:], strict=True):
        if name in ("--config", "-c") and value:
            return Path(value)
        if name.startswith("--config="):
            return Path(name.partition("=")[2])
    return None


def _settings(of: type, skip: Sequence[str] = (), prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every argument of the constructor of ``of`` with what its docstring says and its default."""
    said = {one.arg_name: " ".join((one.description or "").split()) for one in _documented(of)}
    types = get_type_hints(of if is_dataclass(of) else of.__init__)  # type: ignore[misc]
    for name, parameter in inspect.signature(of).parameters.items():
        if name in skip or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        kind = types.get(name)
        if isinstance(kind, type) and is_dataclass(kind):
            yield from _settings(kind, prefix=f"{prefix}{name}.")
            continue
        default = parameter.default
        is_plain = default is None or isinstance(default, bool | int | float | str)
        shown = "" if default is parameter.empty or not is_plain else f" [{_plain(default)}]"
        yield f"{prefix}{name}", said.get(name, "").rstrip(".").replace("``", "").replace("`", "") + shown


def _documented(of: type) -> list[Any]:
    """Arguments or attributes in the docstring of a class."""
    found: list[Any] = parse(inspect.cleandoc(of.__doc__ or ""), DocstringStyle.GOOGLE).params
    return found


def _plain(value: object) -> str:
    """As it is written in YAML."""
    return str(yaml.safe_dump(value)).removesuffix("...\n").strip()


def _lines(key: str, text: str) -> list[str]:
    wrapped = textwrap.wrap(text, _LINE - _KEYS) or [""]
    first = f"  {key}".ljust(_KEYS)
    if len(first) > _KEYS or first[-1] != " ":
        return [first, *(" " * _KEYS + line for line in wrapped)]
    return [first + wrapped[0], *(" " * _KEYS + line for line in wrapped[1:])]
