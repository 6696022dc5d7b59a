"""Extractors outside of training: out of a run folder, or out of a folder that was passed on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_model, save_model

from extractors.base import Extractor, FittedExtractor
from extractors.runs import closed_form as fitted
from extractors.runs import trained
from extractors.runs.settings import Settings, extractor_class
from m2fnet.config import resolve_config_arguments
from m2fnet.errors import M2FNetError, RunError, UsageError
from m2fnet.files import read_json, replaced

WEIGHTS = "model.safetensors"
_TOLD_BY = ("class_path", "weights_sha256")


@dataclass(frozen=True)
class SavedExtractor:
    """An extractor ready to embed.

    Attributes:
        extractor: in evaluation mode.
        settings: ``{"class_path", "init_args"}`` in plain values, without what holds on one machine only.
        started_from: name of the pretrained encoder that was trained on, with the folder left out; None without one.
        weights_sha256: as in every store that it made.
    """

    extractor: Extractor
    settings: dict[str, Any]
    started_from: str | None
    weights_sha256: str


def of_run(run: Path) -> SavedExtractor:
    """The extractor in the run folder ``run``, fitted in closed form or trained.

    Raises:
        RunError: if the folder holds no finished extractor, or a damaged one.
        UsageError: if its configuration names a class that is not trusted.
    """
    found = trained.load(run) if trained.is_trained(run) else fitted.load(run)
    extractor, init_args = found.extractor.eval(), found.provenance["init_args"]
    local = _local_settings(type(extractor))
    portable = {name: value for name, value in init_args.items() if name not in local}
    settings = {"class_path": found.provenance["class_path"], "init_args": portable}
    return SavedExtractor(extractor, settings, _origin(extractor, init_args), found.provenance["weights_sha256"])


def is_run_of(run: Path, made_with: Mapping[str, Any]) -> bool:
    """Whether the folder ``run`` holds the extractor that a store was ``made_with``, told by class and weights."""
    try:
        if trained.is_trained(run):
            return trained.is_run_of(run, made_with)
        noted = read_json(run / fitted.REPORT, RunError, "").get("extractor")
    except M2FNetError:
        return False  # whatever it is, it is not that
    return isinstance(noted, dict) and all(noted.get(key) == made_with.get(key) for key in _TOLD_BY)


def save(extractor: Extractor, folder: Path) -> None:
    """Write all that ``extractor`` is, but its settings, into ``folder``; no pickle."""
    if isinstance(extractor, FittedExtractor):
        extractor.save(folder)
        return
    extractor.save_assets(folder)
    with replaced(folder / WEIGHTS) as temporary:
        save_model(extractor, str(temporary))


def load(settings: Mapping[str, Any], folder: Path, where: str) -> Extractor:
    """The extractor of ``settings`` out of the ``folder`` that `save` wrote, in evaluation mode, without a hub.

    Raises:
        RunError: if a file is damaged or of another extractor.
        UsageError: if the class is not trusted or no extractor, or refuses the settings; errors name ``where`` they
            are from.
    """
    resolve_config_arguments([])  # tells the parser of the settings which packages are trusted
    cls = extractor_class(settings["class_path"])
    local = _local_settings(cls) & settings["init_args"].keys()
    if local:
        raise UsageError(
            f"{where} sets {', '.join(sorted(local))} of {cls.__name__}, which names files of one machine; a model "
            "that is passed on goes without."
        )
    extractor = Settings(
        {"class_path": settings["class_path"], "init_args": {**settings["init_args"], **cls.asset_settings(folder)}},
        manifest=folder,
        run=folder,
    ).build()
    if isinstance(extractor, FittedExtractor):
        extractor.load(folder)
        return extractor.eval()
    try:
        load_model(extractor, folder / WEIGHTS)
    except (OSError, RuntimeError, SafetensorError) as problem:
        raise RunError(
            f"{folder / WEIGHTS} does not fit the extractor: {' '.join(str(problem).split())[:300]}."
        ) from problem
    return extractor.eval()


def _local_settings(cls: type[Extractor]) -> set[str]:
    """Settings that name files and folders of one machine, or that `Extractor.asset_settings` gives."""
    return {*cls.local_settings, *cls.asset_settings(Path())}


def _origin(extractor: Extractor, init_args: Mapping[str, Any]) -> str | None:
    """What its weights came from: the name or file in a setting that `asset_settings` replaces."""
    first = [init_args[name] for name in extractor.asset_settings(Path()) if isinstance(init_args.get(name), str)]
    if not first or init_args.get("pretrained") is False:
        return None
    is_place = Path(first[0]).is_absolute() or Path(first[0]).exists()
    return Path(first[0]).name if is_place else str(first[0])
