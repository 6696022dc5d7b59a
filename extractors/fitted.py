"""Runs of extractors that are fitted in closed form: fit, keep, load again, judge."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from extractors.base import Extractor, FittedExtractor
from extractors.embedding import Loading, embed, read_samples, turns
from extractors.probe import linear_probe
from extractors.settings import Settings, read_settings
from m2fnet.errors import RunError, UsageError
from m2fnet.files import read_json, sha256_of, write_json, write_text
from m2fnet.manifest import Manifest
from m2fnet.records import Split

CONFIG = "config.yaml"
REPORT = "report.json"
_ADVICE = "Fit again with `m2fnet extractor fit`."


@dataclass(frozen=True)
class FittedRun:
    """A fitted extractor with all that says where it comes from.

    Attributes:
        extractor: ready to embed.
        provenance: class, settings, seed, manifest and hash of what was fitted; goes into every store it makes.
    """

    extractor: FittedExtractor
    provenance: dict[str, Any]


def fit(settings: Settings, manifest: Manifest, loading: Loading) -> FittedRun:
    """Fit on the training split and keep the result in ``settings.run``, in place of what lay there.

    Raises:
        UsageError: if the extractor is not one that is fitted in closed form.
        RunError: if the training split offers nothing to fit on.
    """
    extractor = _fitted_extractor(settings)
    extractor.fit(read_samples(extractor, turns(manifest, "train"), loading), seed=settings.seed)
    (settings.run / REPORT).unlink(missing_ok=True)  # written last: a folder without it holds no whole fit
    extractor.save(settings.run)
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
    provenance = read_json(run / REPORT, RunError, _ADVICE).get("extractor")
    settings = read_settings(["--config", str(run / CONFIG)], "")
    if not isinstance(provenance, dict) or provenance.get("weights_sha256") != _weights_sha256(run):
        raise RunError(f"The files in {run} are not the ones {REPORT} was written for. {_ADVICE}")
    extractor = _fitted_extractor(settings)
    extractor.load(run)
    return FittedRun(extractor, provenance)


def is_fit_of(run: Path, settings: Settings, manifest: Manifest) -> bool:
    """Whether folder ``run`` already holds the fit of these settings on this manifest."""
    if not (run / REPORT).is_file():
        return False
    found = read_json(run / REPORT, RunError, _ADVICE).get("extractor")
    wanted = {**settings.extractor, "seed": settings.seed, "fitted_on": manifest.sha256}
    return isinstance(found, dict) and {name: found.get(name) for name in wanted} == wanted


def judge(run: Path, extractor: Extractor, manifest: Manifest, split: Split, loading: Loading) -> dict[str, Any]:
    """Scores of a linear probe on ``split``, also written into the run's report.

    Raises:
        RunError: if there are no labelled embeddings to learn or to judge.
    """
    if manifest.label_set.kind != "single":
        raise RunError("The linear probe judges single labels, but this manifest has several per utterance.")
    train, train_labels = _labelled(extractor, manifest, "train", loading)
    judged, judged_labels = _labelled(extractor, manifest, split, loading)
    scores = linear_probe(train, train_labels, judged, judged_labels)
    report = read_json(run / REPORT, RunError, _ADVICE)
    write_json(run / REPORT, {**report, split: {**scores, "manifest_sha256": manifest.sha256}})
    return scores


def _labelled(extractor: Extractor, manifest: Manifest, split: Split, loading: Loading) -> tuple[Tensor, list[str]]:
    """Embeddings (N, D) and labels of all utterances of ``split`` that have both."""
    wanted = [turn for turn in turns(manifest, split) if turn.utterance.label is not None]
    found = [(v, turn.utterance.label) for turn, v in embed(extractor, wanted, loading) if isinstance(v, Tensor)]
    vectors = torch.stack([v for v, _ in found]) if found else torch.empty(0, extractor.width)
    return vectors, [label for _, label in found if label is not None]


def _fitted_extractor(settings: Settings) -> FittedExtractor:
    extractor = settings.build()
    if not isinstance(extractor, FittedExtractor):
        raise UsageError(f"{settings.extractor['class_path']} cannot be fitted in closed form; it has to be trained.")
    return extractor


def _weights_sha256(run: Path) -> str:
    """One hash over all fitted files."""
    files = sorted(path for path in run.glob("*") if path.name not in (CONFIG, REPORT) and path.is_file())
    listing = "\n".join(f"{path.name} {sha256_of(path)}" for path in files)
    return hashlib.sha256(listing.encode()).hexdigest()
