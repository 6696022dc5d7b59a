"""Pretrained encoders by the name they have on the Hugging Face hub, or from a folder: data only, never code."""

from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from huggingface_hub import snapshot_download
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    BaseImageProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    WhisperForConditionalGeneration,
)
from transformers.utils import logging

from m2fnet.errors import RunError
from m2fnet.files import replaced, temporary_folder

# settings, vocabularies, chat templates, weights; no pickle, no code
_FILES = ["*.json", "*.txt", "*.jinja", "*.model", "model*.safetensors"]


class Saves(Protocol):
    """A configuration, a tokenizer or a feature extractor, which can write its files into a folder."""

    def save_pretrained(self, save_directory: str, /) -> object:
        """Write it."""


def fetch(model: str) -> Path:
    """Folder with the files of ``model``: the folder of that name, or else the hub's, downloaded once.

    Raises:
        RunError: if there is neither.
    """
    if model and Path(model).is_dir():
        return Path(model)
    try:
        return Path(snapshot_download(model, allow_patterns=_FILES))
    except Exception as problem:  # of the hub, of the network, of the disk: many kinds, one meaning
        raise RunError(
            f"There is no encoder {model!r}: no folder has that name, and neither the local cache nor the Hugging Face "
            f"hub gave it ({_first_line(problem)}). Name a folder with config.json, its tokenizer or "
            "preprocessor, and model.safetensors, or run once where the hub can be reached."
        ) from problem


def load_encoder(folder: Path, *, pretrained: bool) -> PreTrainedModel:
    """The encoder of the model in ``folder``, see `load_model`, without its last layer's pooler.

    Of a model that has an encoder and a decoder (Whisper) it is the encoder, of one for pictures and texts (CLIP,
    SigLIP) the encoder of pictures.
    """
    encoder = load_model(folder, pretrained=pretrained)
    if encoder.config.is_encoder_decoder:
        encoder = encoder.get_encoder()
    encoder = getattr(encoder, "vision_model", encoder)
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None  # nobody uses it, and weights without a gradient stop distributed training
    encoder.train()
    return encoder


def load_model(folder: Path, *, pretrained: bool) -> PreTrainedModel:
    """The model in ``folder`` in single precision, ready to be trained.

    Args:
        folder: holds ``config.json`` and, for a pretrained encoder, ``model.safetensors`` or its shards.
        pretrained: take the weights; otherwise the same architecture comes with random ones.

    Raises:
        RunError: if files are missing or damaged, or the weights are of another architecture.
    """
    if pretrained:
        model = _with_all_weights(AutoModel, folder, torch.float32)
    else:
        with _named(folder), _quiet():
            config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
            model = AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=False)  # type: ignore[no-untyped-call]
    if getattr(model.config, "use_cache", False):
        model.config.use_cache = False  # keys and values of a text that is read once
    model.train()  # it comes in evaluation mode, and Lightning trains every module in the mode it finds
    loaded: PreTrainedModel = model
    return loaded


def load_language_model(folder: Path) -> PreTrainedModel:
    """The model in ``folder`` that writes text, in evaluation mode and in the precision that it was saved in.

    Raises:
        RunError: if files are missing or damaged, or it is another kind of model.
    """
    model: PreTrainedModel = _with_all_weights(AutoModelForCausalLM, folder, "auto").eval()
    return model


def load_recogniser(folder: Path) -> WhisperForConditionalGeneration:
    """The Whisper in ``folder`` with the head that writes words, in evaluation mode and single precision.

    Raises:
        RunError: if files are missing or damaged, or the weights are of another architecture.
    """
    recogniser: WhisperForConditionalGeneration = _with_all_weights(
        WhisperForConditionalGeneration, folder, torch.float32
    ).eval()
    return recogniser


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in ``folder``, one that knows which text each token comes from.

    Raises:
        RunError: if files are missing or damaged.
    """
    with _named(folder), _quiet():
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(folder), use_fast=True, trust_remote_code=False, local_files_only=True
        )
        if not tokenizer.is_fast:
            raise RunError(f"The tokenizer in {folder} has no tokenizer.json; save it with a newer `transformers`.")
    return tokenizer


def load_image_processor(folder: Path) -> BaseImageProcessor:
    """What scales and normalises pictures for the encoder in ``folder``.

    Raises:
        RunError: if its file is missing or damaged.
    """
    with _named(folder), _quiet():
        processor: BaseImageProcessor = AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
            str(folder), trust_remote_code=False, local_files_only=True
        )
    return processor


def write_files(folder: Path, *parts: Saves) -> None:
    """Write ``parts`` into ``folder``, each file whole or not at all."""
    with temporary_folder(folder) as temporary, _quiet():
        for part in parts:
            part.save_pretrained(str(temporary))
        for path in sorted(temporary.iterdir()):
            with replaced(folder / path.name) as copy:
                copy.write_bytes(path.read_bytes())


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    """Raise a `RunError` that names the folder for whatever the libraries raise for a damaged one."""
    try:
        yield
    except RunError:
        raise
    except Exception as problem:  # JSON, tokenizer and tensor readers each have their own kinds
        raise RunError(
            f"{folder} cannot be loaded as an encoder ({_first_line(problem)}); expected what `save_pretrained` writes."
        ) from problem


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's progress bar and its table of weights that are for another head."""
    verbosity, shows_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(ERROR)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shows_bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _with_all_weights(kind: Any, folder: Path, dtype: torch.dtype | Literal["auto"]) -> Any:  # noqa: ANN401
    """The model of the class ``kind`` in ``folder``, from safetensors that have every weight of it."""
    _require_safetensors(folder)
    with _named(folder), _quiet():
        model, report = kind.from_pretrained(
            str(folder),
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
        _require_all_weights(folder, report["missing_keys"])
    return model


def _require_safetensors(folder: Path) -> None:
    if not list(folder.glob("model*.safetensors")):
        raise RunError(
            f"{folder} holds no model.safetensors. Weights in other formats are pickles, which can run code and are "
            "never opened; convert them once with `save_pretrained`."
        )


def _require_all_weights(folder: Path, missing: set[str]) -> None:
    needed = sorted(name for name in missing if not name.startswith("pooler."))
    if needed:
        raise RunError(
            f"The weights in {folder} lack {len(needed)} that its config.json asks for, the first is {needed[0]!r}; "
            "expected the weights of exactly this architecture."
        )


def _first_line(problem: Exception) -> str:
    return f"{type(problem).__name__}: {(str(problem).splitlines() or [''])[0].rstrip('.')}"
