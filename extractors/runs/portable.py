"""Extractors outside of training: from a run folder, or from an exported folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from extractors.base import Extractor
from extractors.runs.folder import is_run_of
from extractors.runs.folder import load as load_run
from extractors.runs.settings import NetSettings, build, extractor_class
from m2fnet.config import resolve_config_arguments
from m2fnet.errors import UsageError

__all__ = ["SavedExtractor", "is_run_of", "load", "of_run", "save"]


@dataclass(frozen=True)
class SavedExtractor:
    """An extractor ready to embed.

    Attributes:
        extractor: in evaluation mode.
        settings: class and arguments in plain values, without those that hold on one machine only.
        started_from: name of the pretrained encoder that was trained on, without its folder; None if there is none.
        weights_sha256: as in every store that it made.
    """

    extractor: Extractor
    settings: NetSettings
    started_from: str | None
    weights_sha256: str


def of_run(run: Path, output: str | None = None) -> SavedExtractor:
    """The extractor in the run folder ``run``, fitted in closed form or trained.

    Args:
        run: the folder.
        output: which embedding it shall give, see `extractors.runs.folder.load`.

    Raises:
        RunError: if the folder holds no finished extractor, or a damaged one.
        UsageError: if its configuration names a class that is not trusted.
    """
    found = load_run(run, output)
    extractor, init_args = found.extractor.eval(), cast(dict[str, object], found.provenance["init_args"])
    local = _local_settings(type(extractor))
    settings: NetSettings = {
        "class_path": str(found.provenance["class_path"]),
        "init_args": {name: value for name, value in init_args.items() if name not in local},
    }
    return SavedExtractor(extractor, settings, _origin(extractor, init_args), str(found.provenance["weights_sha256"]))


def save(extractor: Extractor, folder: Path) -> None:
    """Write everything of ``extractor`` except its settings into ``folder``; no pickle."""
    extractor.save(folder)


def load(settings: Mapping[str, object], folder: Path, where: str) -> Extractor:
    """The extractor of ``settings`` from the ``folder`` that `save` wrote, in evaluation mode, without a hub.

    Raises:
        RunError: if a file is damaged or of another extractor.
        UsageError: if the class is not trusted or no extractor, or refuses the settings; errors name ``where`` they
            are from.
    """
    resolve_config_arguments([])  # tells the parser of settings which packages are trusted
    class_path, init_args = str(settings["class_path"]), cast(dict[str, object], settings["init_args"])
    cls = extractor_class(class_path, where)
    local = _local_settings(cls) & init_args.keys()
    if local:
        raise UsageError(
            f"{where} sets {', '.join(sorted(local))} of {cls.__name__}, which names files of one machine; an "
            "exported model must not."
        )
    extractor = build(class_path, {**init_args, **cls.asset_settings(folder)}, where)
    extractor.load(folder)
    return extractor.eval()


def _local_settings(cls: type[Extractor]) -> set[str]:
    """Settings that name files and folders of one machine, or that `Extractor.asset_settings` gives."""
    return {*cls.local_settings, *cls.asset_settings(Path())}


def _origin(extractor: Extractor, init_args: Mapping[str, object]) -> str | None:
    """What its weights came from: the name or file in a setting that `asset_settings` replaces."""
    first = [value for name in extractor.asset_settings(Path()) if isinstance(value := init_args.get(name), str)]
    if not first or init_args.get("pretrained") is False:
        return None
    is_place = Path(first[0]).is_absolute() or Path(first[0]).exists()
    return Path(first[0]).name if is_place else first[0]
