"""What a configuration file of an extractor says, checked before anything it names is imported."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from extractors.base import Extractor
from m2fnet.config import named_class, one_sentence, resolve_config_arguments
from m2fnet.errors import UsageError

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
        parser = _parser(extractor_class(self.extractor["class_path"]), "")
        try:
            config = parser.parse_object({"extractor": self.extractor, "manifest": str(self.manifest)})
            extractor: Extractor = parser.instantiate(config).extractor.init_args
        except (ArgumentError, ValueError) as problem:
            raise UsageError(f"{_INIT_ARGS}: {one_sentence(str(problem))}") from problem
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
    arguments = resolve_config_arguments(argv)
    config_file, class_path = _class_path(arguments)
    parser = _parser(extractor_class(class_path), prog)
    try:
        config = yaml.safe_load(parser.dump(parser.parse_args(arguments), skip_unset=False))
    except (ArgumentError, ValueError) as problem:
        raise UsageError(one_sentence(str(problem))) from problem
    run = config["run"] or f"runs/{config_file.stem}"
    return Settings(config["extractor"], Path(config["manifest"]), Path(run), config["seed"])


def extractor_class(class_path: str) -> type[Extractor]:
    """The class of that name.

    Raises:
        UsageError: if it is not trusted, cannot be imported or is no extractor.
    """
    # abstract, which `type[Extractor]` may not be for mypy
    return named_class(class_path, Extractor, _CLASS)  # type: ignore[type-abstract]


def _class_path(argv: Sequence[str]) -> tuple[Path, str]:
    """The configuration file and the class it asks for, without importing that class."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--config", type=Path)
    early.add_argument(f"--{_CLASS}", dest="class_path")
    given, _ = early.parse_known_args(argv)
    if given.config is None:
        raise UsageError("Expected --config FILE, for example --config conf/extractors/text_lsa.yaml.")
    content = yaml.safe_load(given.config.read_text(encoding="utf-8"))
    if "model" in content:
        raise UsageError(
            f"{given.config} is of a network, which has to be trained: run `m2fnet extractor fit --config "
            f"{given.config}`, then name its run folder with --ckpt."
        )
    section = content.get("extractor")
    class_path = given.class_path or (section.get("class_path") if isinstance(section, dict) else None)
    if not isinstance(class_path, str) or "." not in class_path:
        raise UsageError(
            f"{given.config} names no extractor; expected a name such as extractors.text.lsa.LSA at {_CLASS}."
        )
    return given.config, class_path


def _parser(cls: type[Extractor], prog: str) -> ArgumentParser:
    parser = ArgumentParser(prog=prog, exit_on_error=False, description="Fit or judge an extractor of utterances.")
    parser.add_argument("--config", action="config", help="YAML file; keys after it overrule what it says")
    parser.add_argument(f"--{_CLASS}", type=str, help="the extractor")
    parser.add_class_arguments(cls, _INIT_ARGS)
    parser.add_argument("--manifest", type=Path, required=True, help="folder that `m2fnet prepare` wrote")
    parser.add_argument("--run", type=Path, help="folder for the result (default: runs/<name of the config file>)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random in the fit")
    return parser
