"""What a configuration file of an extractor says, checked before anything it names is imported."""

import argparse
import importlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from extractors.base import Extractor
from m2fnet.errors import UsageError

_PACKAGES = ("extractors.", "m2fnet.")
_CLASS = "extractor.class_path"
_INIT_ARGS = "extractor.init_args"


@dataclass(frozen=True)
class Settings:
    """One run of stage 1.

    Attributes:
        extractor: ``{"class_path", "init_args"}`` in plain values, every default written out.
        manifest: folder of the manifest it is fitted on.
        run: folder that keeps the result.
        seed: of everything random in the fit.
    """

    extractor: dict[str, Any]
    manifest: Path
    run: Path
    seed: int = 0

    def build(self) -> Extractor:
        """The extractor, untrained.

        Raises:
            UsageError: if its class refuses the settings.
        """
        parser = _parser(_import(self.extractor["class_path"]), "")
        try:
            config = parser.parse_object({"extractor": self.extractor, "manifest": str(self.manifest)})
            extractor: Extractor = parser.instantiate(config).extractor.init_args
        except (ArgumentError, ValueError) as problem:
            raise UsageError(f"{_INIT_ARGS}: {_condensed(problem)}") from problem
        return extractor

    def as_dict(self) -> dict[str, Any]:
        """The plain form, as it stands in a configuration file."""
        return {
            "extractor": self.extractor,
            "manifest": str(self.manifest),
            "run": str(self.run),
            "seed": self.seed,
        }


def read_settings(argv: Sequence[str], prog: str) -> Settings:
    """Settings from ``--config FILE`` and the keys after it that overrule the file, such as ``--seed 1``.

    Raises:
        UsageError: for an unknown key, a wrong value, or a class that is no extractor of this project.
    """
    config_file, class_path = _class_path(argv)
    parser = _parser(_import(class_path), prog)
    try:
        config = yaml.safe_load(parser.dump(parser.parse_args(list(argv)), skip_none=False))
    except (ArgumentError, ValueError) as problem:
        raise UsageError(_condensed(problem)) from problem
    run = config["run"] or f"runs/{config_file.stem}"
    return Settings(config["extractor"], Path(config["manifest"]), Path(run), config["seed"])


def _class_path(argv: Sequence[str]) -> tuple[Path, str]:
    """The configuration file and the class it asks for, without importing that class."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config", type=Path)
    early.add_argument(f"--{_CLASS}", dest="class_path")
    given, _ = early.parse_known_args(argv)
    if given.config is None:
        raise UsageError("Expected --config FILE, for example --config conf/extractors/text_lsa.yaml.")
    content = _read_yaml(given.config)
    for found in _class_paths(content):
        _refuse_foreign(found)
    section = content.get("extractor")
    class_path = given.class_path or (section.get("class_path") if isinstance(section, dict) else None)
    if class_path is None:
        raise UsageError(f"{given.config} names no extractor; expected the key {_CLASS}.")
    return given.config, class_path


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as problem:
        raise UsageError(f"Cannot read the configuration file {path}: {_condensed(problem)}.") from problem
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds a {type(content).__name__}, expected keys with values (YAML).")
    return content


def _class_paths(content: object) -> Iterator[object]:
    if isinstance(content, dict):
        if "class_path" in content:
            yield content["class_path"]
        content = list(content.values())
    if isinstance(content, list):
        for item in content:
            yield from _class_paths(item)


def _refuse_foreign(class_path: object) -> None:
    if not isinstance(class_path, str) or not re.fullmatch(r"\w+(\.\w+)+", class_path):
        raise UsageError(f"class_path is {class_path!r}; expected a dotted name such as extractors.text.lsa.LSA.")
    if not class_path.startswith(_PACKAGES):
        raise UsageError(
            f"class_path is {class_path!r}; expected a class of {' or '.join(f'{p}*' for p in _PACKAGES)}. "
            "A configuration file must not import anything else, for it may come from elsewhere."
        )


def _import(class_path: str) -> type[Extractor]:
    _refuse_foreign(class_path)
    module, _, name = class_path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as problem:
        raise UsageError(f"{_CLASS} is {class_path!r}, which cannot be imported: {problem}.") from problem
    if not (isinstance(found, type) and issubclass(found, Extractor)):
        raise UsageError(f"{_CLASS} is {class_path!r}, which is no extractor; expected a subclass of Extractor.")
    return found


def _parser(cls: type[Extractor], prog: str) -> ArgumentParser:
    parser = ArgumentParser(prog=prog, exit_on_error=False, description="Fit or judge an extractor of utterances.")
    parser.add_argument("--config", action="config", help="YAML file; keys after it overrule what it says")
    parser.add_argument(f"--{_CLASS}", type=str, help="the extractor")
    parser.add_class_arguments(cls, _INIT_ARGS)
    parser.add_argument("--manifest", type=Path, required=True, help="folder that `m2fnet prepare` wrote")
    parser.add_argument("--run", type=Path, help="folder for the result (default: runs/<name of the config file>)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random in the fit")
    return parser


def _condensed(problem: Exception) -> str:
    """One line out of a parser's message; of a union only the types and the value are kept."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    facts = dict(line.split(": ", 1) for line in lines if ": " in line)
    if "Subtypes" in facts:
        return f"{lines[0]} expected one of {facts['Subtypes']}, but got {facts.get('Given value')}."
    return " ".join(lines)
