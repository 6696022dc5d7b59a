"""Runs of extractors that were trained by `ExtractorTask`: load them again, ready to embed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from extractors.base import Extractor
from extractors.runs.settings import Settings, extractor_class
from m2fnet.config import resolve_config_arguments
from m2fnet.errors import RunError
from m2fnet.files import read_json, sha256_of
from m2fnet.runs.folder import CONFIG, FIT

NET = "net"  # what the network kept to be built again
_ADVICE = "Train it again with `m2fnet extractor fit`."


@dataclass(frozen=True)
class TrainedRun:
    """A trained extractor with all that says where it comes from.

    Attributes:
        extractor: ready to embed.
        provenance: class, settings, seed, manifest and hash of the weights; goes into every store it makes.
    """

    extractor: Extractor
    provenance: dict[str, Any]


def is_trained(run: Path) -> bool:
    """Whether folder ``run`` holds a finished training."""
    return (run / FIT).is_file()


def load(run: Path) -> TrainedRun:
    """The trained extractor in folder ``run``, with the weights that were selected, and without a hub.

    Raises:
        RunError: if the folder holds no finished training or its weights do not fit its settings.
        UsageError: if its configuration names a class that is not trusted.
    """
    settings, weights = _read(run)
    net = settings.extractor
    kept = extractor_class(net["class_path"]).asset_settings(run / NET)
    extractor = replace(settings, extractor={**net, "init_args": {**net["init_args"], **kept}}).build()
    trained_on = _load_weights(extractor, weights)
    provenance = {**net, "seed": settings.seed, "trained_on": trained_on, "weights_sha256": sha256_of(weights)}
    return TrainedRun(extractor, provenance)


def is_run_of(run: Path, made_with: Mapping[str, Any]) -> bool:
    """Whether the run folder holds the extractor that a store was ``made_with``, told by its class and weights.

    Raises:
        RunError: if the folder holds no finished training.
        UsageError: if its configuration names a class that is not trusted.
    """
    settings, weights = _read(run)
    is_same_class = settings.extractor["class_path"] == made_with.get("class_path")
    return is_same_class and weights.is_file() and sha256_of(weights) == made_with.get("weights_sha256")


def _read(run: Path) -> tuple[Settings, Path]:
    """Settings of the run and the file with the weights that were selected."""
    fitted = read_json(run / FIT, RunError, _ADVICE)
    resolve_config_arguments(["--config", str(run / CONFIG)])  # refuses foreign classes before anything is imported
    config = yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))
    try:
        net = {"class_path": config["model"]["net"]["class_path"], "init_args": config["model"]["net"]["init_args"]}
        settings = Settings(net, Path(config["data"]["manifest"]), run, config["seed_everything"])
        return settings, run / "checkpoints" / {"dev": "best.ckpt", "last": "last.ckpt"}[fitted["select"]]
    except (KeyError, TypeError) as problem:
        raise RunError(f"{run} is damaged ({problem!r}). {_ADVICE}") from problem


def _load_weights(extractor: Extractor, path: Path) -> str:
    """Take over the weights in the checkpoint ``path``; return the SHA-256 of the manifest they were trained on."""
    try:
        checkpoint = torch.load(path, weights_only=True, map_location="cpu")
        own = {name.removeprefix("net."): v for name, v in checkpoint["state_dict"].items() if name.startswith("net.")}
        extractor.load_state_dict(own)
        return str(checkpoint["manifest_sha256"])
    except Exception as problem:  # a damaged file raises whatever it likes
        told = " ".join(f"{type(problem).__name__}: {problem}".split())
        raise RunError(f"Cannot load {path} ({told[:300]}). {_ADVICE}") from problem
