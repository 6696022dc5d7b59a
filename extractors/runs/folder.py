"""The extractor in a run folder, fitted in closed form or trained, and how to load it.

Besides ``config.yaml``, ``provenance.json``, ``fit.json`` and ``report.json``, which every run has, the folder holds::

    net/             what building the extractor takes (a tokenizer, an architecture) and, for one that is fitted in
                     closed form, what was fitted
    checkpoints/     the weights of a trained one
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from extractors.base import FIT_AGAIN, Extractor
from extractors.runs.settings import NetSettings, build, extractor_class
from m2fnet.config import resolve_config_arguments
from m2fnet.errors import M2FNetError, RunError, UsageError
from m2fnet.files import like_it, read_json, sha256_of
from m2fnet.runs.checkpoints import kept_weights, read_checkpoint
from m2fnet.runs.folder import CONFIG, FIT, REPORT, REPRODUCTION, trained_settings
from m2fnet.runs.provenance import Provenance

NET = "net"
WEIGHTS_SHA256 = "weights_sha256"  # in `fit.json` if the extractor was fitted in closed form
LAYER_SCORES = "layer_scores"  # there too, if a probe chose the layer of an encoder
TRAINING = "train_embeddings.safetensors"
_ADVICE = "Train it again with `m2fnet extractor fit`."


@dataclass(frozen=True)
class ExtractorRun:
    """An extractor and its provenance.

    Attributes:
        extractor: ready to embed.
        provenance: class, settings, seed, manifest and hash of the weights; goes into every store it makes.
    """

    extractor: Extractor
    provenance: dict[str, object]


def load(run: Path, output: str | None = None) -> ExtractorRun:
    """The extractor in the run folder ``run``, with the weights that were selected, and without a hub.

    Args:
        run: the folder.
        output: which embedding it shall give, one of `Extractor.outputs`; by default what its configuration says.

    Raises:
        RunError: if the folder holds no finished extractor, or its weights were changed or do not fit its settings.
        UsageError: if its configuration names a class that is not trusted, or it has no such output.
    """
    if older := older_fit(run):
        _require_output(run, str(older["class_path"]), output)
        return _load_fitted(run, older)
    if not (run / FIT).is_file():
        raise RunError(
            f"{run} holds no finished extractor. Run `m2fnet extractor fit` with its configuration first, which also "
            f"resumes an interrupted training.{like_it(run)}"
        )
    net, seed = _settings(run)
    _require_output(run, net["class_path"], output)
    if output is not None:
        net["init_args"]["output"] = output
    fit = read_json(run / FIT, RunError, _ADVICE)
    if WEIGHTS_SHA256 in fit:
        manifest = Provenance.read(run).manifest
        made = {**net, "seed": seed, "fitted_on": manifest.sha256, WEIGHTS_SHA256: fit[WEIGHTS_SHA256]}
        made |= {LAYER_SCORES: fit[LAYER_SCORES]} if LAYER_SCORES in fit else {}
        return _load_fitted(run / NET, made)
    weights = kept_weights(run, fit)
    assets = extractor_class(net["class_path"]).asset_settings(run / NET)
    extractor = build(net["class_path"], {**net["init_args"], **assets})
    trained_on = _load_checkpoint(extractor, weights)
    made = {**net, "seed": seed, "trained_on": trained_on, WEIGHTS_SHA256: sha256_of(weights)}
    return ExtractorRun(extractor, {**made, **extractor.made_from()})


def is_run_of(run: Path, made_with: Mapping[str, object]) -> bool:
    """Whether the folder ``run`` holds the extractor that a store was ``made_with``, by class and weights."""
    try:
        made = older_fit(run)
        if made is None:
            fit = read_json(run / FIT, RunError, _ADVICE)
            weights = fit[WEIGHTS_SHA256] if WEIGHTS_SHA256 in fit else sha256_of(kept_weights(run, fit))
            made = {**_settings(run)[0], WEIGHTS_SHA256: weights}
    except (M2FNetError, OSError):
        return False  # whatever it is, it is not that
    return all(made.get(key) == made_with.get(key) for key in ("class_path", WEIGHTS_SHA256))


def older_fit(run: Path) -> dict[str, object] | None:
    """Provenance of a fit in closed form from before runs of both kinds had one layout; None if it is not one."""
    if (run / FIT).is_file() or not (run / REPORT).is_file():
        return None
    found = read_json(run / REPORT, RunError, FIT_AGAIN).get("extractor")
    return found if isinstance(found, dict) else None


def fitted_sha256(folder: Path) -> str:
    """One hash over all files that `Extractor.save` wrote into ``folder``."""
    others = (CONFIG, REPORT, TRAINING, REPRODUCTION)  # in a folder of `older_fit`
    files = sorted(path for path in folder.glob("*") if path.name not in others and path.is_file())
    listing = "\n".join(f"{path.name} {sha256_of(path)}" for path in files)
    return hashlib.sha256(listing.encode()).hexdigest()


def _require_output(run: Path, class_path: str, output: str | None) -> None:
    known = extractor_class(class_path).outputs
    if output is not None and output not in known:
        only = f"one of {', '.join(known)}" if known else "no --output: it gives one embedding"
        raise UsageError(f"{run} holds the extractor {class_path}, which has no output {output!r}; expected {only}.")


def _load_fitted(folder: Path, made: dict[str, object]) -> ExtractorRun:
    if fitted_sha256(folder) != made.get(WEIGHTS_SHA256):
        raise RunError(f"The files in {folder} were changed after they were fitted. {FIT_AGAIN}")
    resolve_config_arguments([])  # tells the parser of settings which packages are trusted
    class_path, init_args = str(made["class_path"]), cast(dict[str, object], made["init_args"])
    network = extractor_class(class_path)
    if network.is_trained(init_args):
        raise RunError(f"{folder} names {class_path}, which has to be trained with these settings. {FIT_AGAIN}")
    extractor = build(class_path, {**init_args, **network.asset_settings(folder)})
    extractor.load(folder)
    return ExtractorRun(extractor, {**made, **extractor.made_from()})


def _settings(run: Path) -> tuple[NetSettings, int]:
    """The network's settings and the seed of the run."""
    resolve_config_arguments(["--config", str(run / CONFIG)])  # refuses foreign classes before anything is imported
    config = trained_settings(run) or {}
    try:
        net = cast(dict[str, NetSettings], config["model"])["net"]
        return {"class_path": net["class_path"], "init_args": net["init_args"]}, int(config["seed_everything"])
    except (KeyError, TypeError) as problem:
        raise RunError(f"{run} is damaged ({problem!r}). {_ADVICE}") from problem


def _load_checkpoint(extractor: Extractor, path: Path) -> str:
    """Take over the weights in the checkpoint ``path``; return the SHA-256 of the manifest they were trained on."""
    checkpoint = read_checkpoint(path)
    try:
        own = {name.removeprefix("net."): v for name, v in checkpoint["state_dict"].items() if name.startswith("net.")}
        extractor.load_state_dict(own)
        return str(checkpoint["manifest_sha256"])
    except (KeyError, RuntimeError) as problem:
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())
        raise RunError(f"Cannot load {path} ({reason[:300]}). {_ADVICE}") from problem
