"""A model -> a folder, and back."""

from collections.abc import Mapping
from importlib.metadata import version
from math import inf
from pathlib import Path
from typing import Any

from dialog import saved as networks
from extractors.base import Extractor
from extractors.runs import portable
from m2fnet.config import refuse_untrusted
from m2fnet.errors import ModelError
from m2fnet.files import replaced_folder, write_json, write_text
from m2fnet.model.bounds import WithinWeights, refuse_absurd
from m2fnet.model.layout import (
    ADVICE,
    CARD,
    CONFIG,
    FORMAT,
    NETWORK,
    SEAL,
    list_files,
    read_folder,
    refuse_unsealed,
    refuse_used,
    sealed,
)
from m2fnet.model.onnx import export_onnx
from m2fnet.model.record import Model
from m2fnet.problems import Stream, make_problem
from m2fnet.records import MODALITIES, LabelSet

# A model comes from elsewhere and names its classes, so it may name fewer packages than a configuration.
PACKAGES = ("dialog", "extractors")
_VERSIONS = ("m2fnet", "torch", "transformers", "safetensors", "scikit-learn", "facenet-pytorch")


def save_model(model: Model, folder: str | Path, card: str, *, overwrite: bool = False, onnx: bool = False) -> Path:
    """Write ``model`` with its ``card`` as a folder, whole or not at all, and return that folder.

    Args:
        model: of `load_model` or `assemble`.
        folder: a new or empty one.
        card: text of ``README.md``.
        overwrite: replace a model that ``folder`` holds.
        onnx: also write the files of `m2fnet.model.onnx.export_onnx`.

    Raises:
        UsageError: if ``folder`` holds something else, or a model and ``overwrite`` is not given; with ``onnx`` also if
            its packages are not installed.
        ModelError: with ``onnx``, if a network cannot be written so.
    """
    folder = Path(folder)
    refuse_used(folder, overwrite=overwrite)
    with replaced_folder(folder) as new:
        networks.save(model.network, new / NETWORK)
        for name, extractor in model.extractors.items():
            portable.save(extractor, new / name)
        if onnx:
            export_onnx(model, new)
        write_text(new / CARD, card)
        versions = {name: version(name) for name in _VERSIONS}
        described = {
            key: value for key, value in model.config.items() if key not in ("format", "versions", "files", SEAL)
        }
        content = {"format": FORMAT, "versions": versions, **described, "files": list_files(new)}
        write_json(new / CONFIG, sealed(content))
    return folder


def read_model(folder: Path, root: Path | None = None) -> Model:
    """The model in ``folder``, every file of it checked before it is used.

    Args:
        folder: that `save_model` wrote.
        root: folder that all its files are in once links are followed; the model's folder by default.

    Raises:
        ModelError: if a part is missing, surplus, changed, or does not fit the others, or a class is not trusted.
    """
    config = read_folder(folder, root or folder)
    where = str(folder / CONFIG)
    label_set, widths = _checked(config, where)
    extractors: dict[str, Extractor] = {}
    try:
        refuse_untrusted({"network": config["network"], **config["extractors"]}, where, PACKAGES)
        refuse_absurd([config["network"], *config["extractors"].values()], where)
        for name, settings in config["extractors"].items():
            with WithinWeights(sorted((folder / name).rglob("*.safetensors")), f"{where}: {name}"):
                extractors[name] = portable.load(settings, folder / name, f"{where}: {name}")
        streams = {
            name: Stream(extractor.modality, widths[name], extractor.resolution == "frame")
            for name, extractor in extractors.items()
        }
        with WithinWeights([folder / NETWORK], f"{where}: network"):
            problem = make_problem(label_set, streams, config["network"].get("ratings", ()))
            network = networks.load(config["network"], problem, folder / NETWORK, f"{where}: network")
    except Exception as refusal:  # settings from elsewhere can make a class raise anything
        raise ModelError(f"{folder} cannot be loaded: {refusal} {ADVICE}") from refusal
    for name, extractor in extractors.items():
        modality = name if name in MODALITIES else extractor.modality
        if (extractor.modality, extractor.width) != (modality, widths[name]):
            raise ModelError(
                f"{where}: the extractor of {name} embeds {extractor.modality} with width {extractor.width}, but the "
                f"network takes {modality} of width {widths[name]}. {ADVICE}"
            )
    refuse_unsealed(folder, config)  # last, because the messages above are more exact
    return Model(label_set, extractors, network, config)


def _checked(config: Mapping[str, Any], where: str) -> tuple[LabelSet, dict[str, int]]:
    """Emotions, and width of each stream, of a ``model.json`` in which every value has the expected type."""
    try:
        names, widths, extractors = config["label_set"], config["network"]["widths"], config["extractors"]
        parts = (config["network"], *extractors.values())
        is_good = (
            all(isinstance(text, str) and text.isprintable() for text in (names["name"], *names["classes"]))
            and names["kind"] in ("single", "multi")
            and list(widths) == list(extractors)
            and bool(widths)
            and all(type(width) is int and width > 0 for width in widths.values())
            and all(isinstance(part["class_path"], str) and isinstance(part["init_args"], dict) for part in parts)
            and all(isinstance(text, str) and text.isprintable() for text in config["network"].get("ratings", []))
            and type(config["temperature"]) in (int, float)
            and 0 < float(config["temperature"]) < inf
        )
        if not is_good:
            raise ValueError("a value is not of the expected type")
        label_set = LabelSet(names["name"], tuple(names["classes"]), names["kind"])
        thresholds = config["thresholds"] if label_set.kind == "multi" else dict.fromkeys(label_set.classes, 0.5)
        if list(thresholds) != list(label_set.classes) or not all(
            type(value) in (int, float) and 0 <= value <= 1 for value in thresholds.values()
        ):
            raise ValueError("thresholds are not numbers from 0 to 1 for each emotion")
        make_problem(label_set, {name: Stream("text", width) for name, width in widths.items()})  # checks the names
        return label_set, dict(widths)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as damage:
        raise ModelError(f"{where} is damaged ({damage!r}). {ADVICE}") from damage
