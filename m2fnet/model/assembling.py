"""A dialogue run and the extractors that made its embeddings -> a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dialog.saved import of_run as network_of_run
from extractors.runs import portable
from extractors.runs.portable import SavedExtractor
from m2fnet.errors import ManifestError, ModelError, RunError, StoreError, UsageError
from m2fnet.files import read_json
from m2fnet.manifest import ADVICE
from m2fnet.manifest import META as MANIFEST
from m2fnet.model.record import Model
from m2fnet.problems import MultiLabel
from m2fnet.runs.folder import FIT
from m2fnet.runs.provenance import Provenance, store_sha256
from m2fnet.store.layout import META as STORE
from m2fnet.store.layout import names_extractor

_DEPTHS = ("*", "*/*")  # runs/text_lsa, runs/text_roberta/seed-0


def assemble(run: Path, extractors: Mapping[str, Path] | None = None) -> Model:
    """The network of the dialogue run ``run`` together with the extractors that made its embeddings.

    A store notes the class of its extractor and the hash of its weights, but not its folder. So an extractor that is
    not given in ``extractors`` is searched among the neighbours of ``run`` (the folders two levels above it, as in
    ``runs/``); the hash identifies it.

    Args:
        run: folder of a finished dialogue run.
        extractors: stream -> folder of the run of its extractor.

    Raises:
        RunError: if a run is not finished or damaged.
        ModelError: if an extractor is not the one that made the embeddings, cannot be found, or does not exist because
            the embeddings were imported.
        UsageError: if ``extractors`` names a stream that the run does not have.
    """
    provenance = Provenance.read(run)
    trained = network_of_run(run)
    given = dict(extractors or {})
    if unknown := [name for name in given if name not in trained.problem.widths]:
        raise UsageError(
            f"{run} has the streams {', '.join(trained.problem.widths)}, not {unknown[0]}; drop that --extractor."
        )
    found: dict[str, SavedExtractor] = {}
    for stream in trained.problem.streams:
        store = _store(run, stream, provenance)
        found[stream] = _extractor(run, stream, _made_with(run, stream, store), given.get(stream))
    label_set = trained.problem.label_set
    config = {
        "label_set": {"name": label_set.name, "classes": list(label_set.classes), "kind": label_set.kind},
        "network": {
            **trained.settings,
            "widths": trained.problem.widths,
            **({"ratings": list(trained.problem.ratings)} if trained.problem.ratings else {}),
        },
        "extractors": {
            name: {**saved.settings, "started_from": saved.started_from, "weights_sha256": saved.weights_sha256}
            for name, saved in found.items()
        },
        "temperature": 1.0 if label_set.kind == "multi" else _temperature(run, label_set.classes),
        "trained": {"corpus": store.get("corpus"), **_trained(run, provenance)},
    }
    if isinstance(trained.problem, MultiLabel):
        config["thresholds"] = dict(zip(label_set.classes, trained.problem.used_thresholds, strict=True))
    return Model(label_set, {name: saved.extractor for name, saved in found.items()}, trained.network, config)


def _store(run: Path, stream: str, provenance: Provenance) -> dict[str, Any]:
    """The content of ``meta.json`` of the stream's store, if it still holds what the run was trained on."""
    noted = provenance.stores.get(stream)
    if noted is None:
        raise ModelError(f"{run} names no store of {stream} embeddings; expected the folder of a dialogue run.")
    folder = _found(noted.folder, provenance)
    if store_sha256(folder) != noted.sha256:
        raise ModelError(
            f"The store {folder} was made again since {run} was trained on it, so it no longer names the extractor of "
            "those embeddings. Train the run again."
        )
    return read_json(folder / STORE, StoreError, "Make it again with `m2fnet extract`.")


def _made_with(run: Path, stream: str, store: Mapping[str, Any]) -> dict[str, Any]:
    """Class, settings and weights hash of the extractor that filled the store."""
    made_with = store.get("extractor")
    if not names_extractor(made_with):
        raise ModelError(
            f"The {stream} embeddings of {run} were imported, so there is no extractor that could embed anything "
            "new: the run can be used only on embeddings, with `m2fnet dialog predict`, and a model without its "
            f"{stream} would be another one."
        )
    return made_with


def _extractor(run: Path, stream: str, made_with: Mapping[str, Any], given: Path | None) -> SavedExtractor:
    """The extractor with the class and weights of ``made_with``, out of ``given`` or of a neighbour of ``run``."""
    if given is None:
        root = run.resolve().parent.parent
        neighbours = sorted(path for depth in _DEPTHS for path in root.glob(depth) if path.is_dir())
        given = next((path for path in neighbours if portable.is_run_of(path, made_with)), None)
    if given is None:
        raise ModelError(
            f"The extractor of the {stream} embeddings of {run} ({made_with['class_path']}, weights "
            f"{made_with['weights_sha256'][:12]}…) is in no run folder below {root}. "
            f"Name its run folder: --extractor {stream}=RUN."
        )
    settings = made_with.get("init_args")
    output = settings.get("output") if isinstance(settings, dict) else None
    extractor = portable.of_run(given, output)
    if extractor.weights_sha256 != made_with["weights_sha256"]:
        raise ModelError(
            f"The weights in {given} have SHA-256 {extractor.weights_sha256[:12]}…, but the {stream} embeddings of "
            f"{run} were made with {made_with['weights_sha256'][:12]}…. Name the extractor that made them, or extract "
            "and train again."
        )
    return extractor


def _temperature(run: Path, classes: tuple[str, ...]) -> float:
    """The temperature that `m2fnet dialog test` fitted on dev; 1 if the run was not tested."""
    if not (run / "report.json").is_file():
        return 1.0
    fitted = read_json(run / "report.json", RunError, "Test the run again.").get("temperature")
    if isinstance(fitted, float):
        return fitted
    # an older version wrote the report
    from m2fnet.metrics.calibration import temperature_of
    from m2fnet.runs.tested import read_predictions

    return temperature_of(read_predictions(run, "dev", classes), classes)


def _trained(run: Path, provenance: Provenance) -> dict[str, object]:
    """The data the network was trained on, and how its weights were chosen; ``protocol`` needs the manifest."""
    fitted = read_json(run / FIT, RunError, "Train the run again.")
    folder = _found(provenance.manifest.folder, provenance)
    meta = read_json(folder / MANIFEST, ManifestError, ADVICE) if (folder / MANIFEST).is_file() else {}
    if meta.get("sha256") != provenance.manifest.sha256:
        meta = {}
    counts = {
        split: {key: n for key, n in of.items() if key != "labels"} for split, of in meta.get("counts", {}).items()
    }
    return {
        "manifest_sha256": provenance.manifest.sha256,
        "protocol": meta.get("provenance"),
        "counts": counts or None,
        "seed": provenance.seed,
        **{key: fitted.get(key) for key in ("select", "epoch")},
        **{key: value for key, value in fitted.items() if key.startswith("dev.")},
    }


def _found(folder: str, provenance: Provenance) -> Path:
    """A folder that the run names, relative to the current directory or else to that of the run."""
    return Path(folder) if Path(folder).is_dir() else Path(provenance.directory) / folder
