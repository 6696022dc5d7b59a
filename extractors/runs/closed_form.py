"""Runs of extractors that are fitted in closed form: fit, keep, load again, judge."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from extractors.base import FIT_AGAIN, FittedExtractor, PlacedUtterance, Sample
from extractors.extraction.embedding import Loading, embed, embed_samples, names_dead_workers, place_utterances, read
from extractors.runs.settings import Settings, extractor_class, read_settings
from m2fnet.errors import RunError, UsageError
from m2fnet.files import read_json, replaced, sha256_of, write_json, write_text
from m2fnet.manifest import Manifest
from m2fnet.records import Split
from m2fnet.runs.folder import REPRODUCTION
from m2fnet.store import Missing

CONFIG = "config.yaml"
REPORT = "report.json"
TRAINING = "train_embeddings.safetensors"  # what a probe learns from, so that judging never reads train again
_NOT_FITTED = (CONFIG, REPORT, TRAINING, REPRODUCTION)


@dataclass(frozen=True)
class FittedRun:
    """A fitted extractor with all that says where it comes from.

    Attributes:
        extractor: ready to embed.
        provenance: class, settings, seed, manifest and hash of what was fitted; goes into every store it makes.
    """

    extractor: FittedExtractor
    provenance: dict[str, Any]


@names_dead_workers
def fit(settings: Settings, manifest: Manifest, loading: Loading) -> FittedRun:
    """Fit on the training split and keep the result in ``settings.run``, in place of what lay there.

    Raises:
        UsageError: if the extractor is not one that is fitted in closed form.
        RunError: if the training split offers nothing to fit on.
    """
    extractor = _fitted_extractor(settings)
    outcomes = read(extractor, place_utterances(manifest, "train"), loading)
    samples = {place: outcome for place, outcome in enumerate(outcomes) if not isinstance(outcome, Missing)}
    _require_samples(extractor, samples, outcomes)
    extractor.fit(list(samples.values()), seed=settings.seed)
    embeddings = embed_samples(extractor, list(samples.values()), loading)
    (settings.run / REPORT).unlink(missing_ok=True)  # written last: a folder without it holds no whole fit
    extractor.save(settings.run)
    _save_training_embeddings(settings.run, list(samples), torch.stack(embeddings))
    write_text(settings.run / CONFIG, yaml.safe_dump(settings.as_dict(), sort_keys=False))
    provenance = {
        **settings.extractor,
        "seed": settings.seed,
        "fitted_on": manifest.sha256,
        "weights_sha256": _weights_sha256(settings.run),
    }
    write_json(settings.run / REPORT, {"extractor": provenance})
    return FittedRun(extractor, provenance)


def load(run: Path) -> FittedRun:
    """The fitted extractor in folder ``run``.

    Raises:
        RunError: if the folder holds no whole fit, or its files were changed after the fit.
    """
    if not (run / REPORT).is_file():
        raise RunError(
            f"{run} holds no finished extractor; run `m2fnet extractor fit` with its configuration first, which also "
            "goes on with a training that was stopped."
        )
    provenance = read_json(run / REPORT, RunError, FIT_AGAIN).get("extractor")
    settings = read_settings(["--config", str(run / CONFIG)], "")
    if not isinstance(provenance, dict) or provenance.get("weights_sha256") != _weights_sha256(run):
        raise RunError(f"The files in {run} are not the ones {REPORT} was written for. {FIT_AGAIN}")
    extractor = _fitted_extractor(settings)
    extractor.load(run)
    return FittedRun(extractor, provenance)


def fit_once(settings: Settings, manifest: Manifest, loading: Loading, *, overwrite: bool = False) -> FittedRun:
    """The fit of these settings on this manifest: the one in ``settings.run``, or else a new one.

    Raises:
        UsageError: if the folder holds another fit, unless that may be overwritten.
    """
    if is_fit_of(settings.run, settings, manifest):
        return load(settings.run)
    if (settings.run / REPORT).is_file() and not overwrite:
        raise UsageError(
            f"{settings.run} holds a fit of other settings or another manifest; name another folder with --run, or "
            "remove it."
        )
    return fit(settings, manifest, loading)


def is_fit_of(run: Path, settings: Settings, manifest: Manifest) -> bool:
    """Whether folder ``run`` already holds the fit of these settings on this manifest."""
    if not (run / REPORT).is_file():
        return False
    found = read_json(run / REPORT, RunError, FIT_AGAIN).get("extractor")
    if not isinstance(found, dict) or found.get("class_path") != settings.extractor["class_path"]:
        return False
    defaults = signature(extractor_class(found["class_path"])).parameters
    younger = {name: defaults[name].default for name in settings.extractor["init_args"]}  # than the fit
    found = {**found, "init_args": {**younger, **found.get("init_args", {})}}
    wanted = {**settings.extractor, "seed": settings.seed, "fitted_on": manifest.sha256}
    return {name: found.get(name) for name in wanted} == wanted


@names_dead_workers
def judge(run: Path, fitted: FittedRun, manifest: Manifest, split: Split, loading: Loading) -> dict[str, float | int]:
    """Scores of a linear probe on ``split``, also written into the report of ``run``.

    Raises:
        RunError: if utterances have several emotions, there are no labelled embeddings to learn from or to judge, or
            those of training cannot be read.
    """
    if manifest.label_set.kind != "single":
        raise RunError(
            f"The linear probe judges one emotion per utterance, but {manifest.label_set.name!r} has several; embed "
            "without judging by `m2fnet extract`."
        )
    from extractors.evaluation.linear_probe import linear_probe  # scikit-learn, which embedding does not need

    wanted = place_utterances(manifest, split)
    found = [(placed, v) for placed, v in embed(fitted.extractor, wanted, loading) if isinstance(v, Tensor)]
    scores = linear_probe(
        *_labelled(*_training_embeddings(run, manifest)),
        *_labelled([placed for placed, _ in found], [v for _, v in found]),
    )
    write_json(run / REPORT, {**read_json(run / REPORT, RunError, FIT_AGAIN), split: scores})
    return scores


def _require_samples(
    extractor: FittedExtractor, samples: dict[int, Sample], outcomes: Sequence[Sample | Missing]
) -> None:
    if samples:
        return
    why = next((f" The first: {o.stage}: {o.reason}." for o in outcomes if isinstance(o, Missing)), "")
    raise RunError(
        f"None of the {len(outcomes)} utterances of the training split can be read as {extractor.modality}.{why} "
        "Check the manifest, or use an extractor of another modality."
    )


def _save_training_embeddings(run: Path, places: Sequence[int], embeddings: Tensor) -> None:
    with replaced(run / TRAINING) as temporary:
        save_file({"places": torch.tensor(places), "embeddings": embeddings}, temporary)


def _training_embeddings(run: Path, manifest: Manifest) -> tuple[list[PlacedUtterance], list[Tensor]]:
    """The training turns that have an embedding, with it."""
    wanted = place_utterances(manifest, "train")
    try:
        content = load_file(run / TRAINING)
        return [wanted[place] for place in content["places"].tolist()], list(content["embeddings"])
    except (OSError, SafetensorError, KeyError, IndexError) as problem:
        raise RunError(f"Cannot read {run / TRAINING}: {problem}. {FIT_AGAIN}") from problem


def _labelled(wanted: Sequence[PlacedUtterance], embeddings: Sequence[Tensor]) -> tuple[Tensor, list[str]]:
    """Embeddings (N, D) and labels of the turns that are labelled."""
    pairs = [
        (v, placed.utterance.label)
        for placed, v in zip(wanted, embeddings, strict=True)
        if placed.utterance.label is not None
    ]
    return torch.stack([v for v, _ in pairs]) if pairs else torch.empty(0, 1), [label for _, label in pairs]


def _fitted_extractor(settings: Settings) -> FittedExtractor:
    extractor = settings.build()
    if not isinstance(extractor, FittedExtractor):
        raise UsageError(f"{settings.extractor['class_path']} cannot be fitted in closed form; it has to be trained.")
    return extractor


def _weights_sha256(run: Path) -> str:
    """One hash over all fitted files."""
    files = sorted(path for path in run.glob("*") if path.name not in _NOT_FITTED and path.is_file())
    listing = "\n".join(f"{path.name} {sha256_of(path)}" for path in files)
    return hashlib.sha256(listing.encode()).hexdigest()
