"""Networks of a model for other runtimes: ONNX files, each checked against the network it came from."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from extractors.audio.waveform import WaveformExtractor
from m2fnet.errors import ModelError, UsageError
from m2fnet.files import replaced
from m2fnet.model.record import Model

NETWORK, AUDIO = "network.onnx", "audio.onnx"
TOLERANCE = 1e-4
_DIALOGUES, _TURNS, _SAMPLES = 2, 5, 16_000  # of the example that the exporter follows


def export_onnx(model: Model, folder: Path) -> list[Path]:
    """Write ``network.onnx``, and ``audio.onnx`` if the model has a network that hears samples; their paths come back.

    ``network.onnx``: for each modality ``<modality>`` (B, U, D) in float32, zero where absent, and
    ``<modality>_present`` (B, U) as bool, False for what is missing and for padding -> ``logits`` (B, U, C), where a
    turn with nothing present counts as padding. Softmax of ``logits`` divided by the ``temperature`` in ``model.json``
    gives the probabilities.

    ``audio.onnx``: ``samples`` (1, N) in float32 at 16 kHz, one utterance -> ``embeddings`` (1, D).

    Raises:
        UsageError: if a package that this needs is not installed.
        ModelError: if a network cannot be exported, or answers otherwise than by more than `TOLERANCE`.
    """
    _require_packages()
    paths = [_export_network(model, folder / NETWORK)]
    audio = model.extractors.get("audio")
    if isinstance(audio, WaveformExtractor):
        paths.append(_export_audio(audio, folder / AUDIO))
    return paths


class _ByName(nn.Module):
    """A dialogue network that takes tensors by position: all embeddings, then all presences."""

    def __init__(self, network: nn.Module, modalities: Sequence[str]) -> None:
        super().__init__()
        self.network, self.modalities = network, tuple(modalities)

    def forward(self, *tensors: Tensor) -> Tensor:
        """Logits (B, U, C)."""
        count = len(self.modalities)
        present = dict(zip(self.modalities, tensors[count:], strict=True))
        batch = {
            "inputs": dict(zip(self.modalities, tensors[:count], strict=True)),
            "present": present,
            "valid": torch.stack(tensors[count:]).any(0),
        }
        scores: Tensor = self.network(batch).scores
        return scores


class _Hearing(nn.Module):
    """An audio network from samples to embeddings, for one utterance."""

    def __init__(self, extractor: WaveformExtractor) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, *tensors: Tensor) -> Tensor:
        """Embeddings (1, D) of samples (1, N)."""
        (samples,) = tensors
        lengths = torch.full((1,), samples.shape[1], dtype=torch.long)
        signal, sizes = self.extractor.represent(samples, lengths)
        embeddings: Tensor = self.extractor.projector(self.extractor.encode(signal, sizes))
        return embeddings


def _export_network(model: Model, path: Path) -> Path:
    widths = model.config["network"]["widths"]
    generator = torch.Generator().manual_seed(0)
    present = torch.rand(len(widths), _DIALOGUES, _TURNS, generator=generator) < 0.8
    embeddings = [
        torch.randn(_DIALOGUES, _TURNS, width, generator=generator) * here[..., None]
        for width, here in zip(widths.values(), present, strict=True)
    ]
    names = [*widths, *(f"{name}_present" for name in widths)]
    _export(_ByName(model.network, list(widths)), (*embeddings, *present), path, names, "logits", (0, 1))
    return path


def _export_audio(extractor: WaveformExtractor, path: Path) -> Path:
    samples = torch.randn(1, _SAMPLES, generator=torch.Generator().manual_seed(0)) / 10
    _export(_Hearing(extractor), (samples,), path, ["samples"], "embeddings", (1,))
    return path


def _export(
    network: nn.Module, example: tuple[Tensor, ...], path: Path, names: list[str], output: str, free: tuple[int, ...]
) -> None:
    """Write ``network``, whose inputs may have any size in the dimensions ``free``, and compare it on the example."""
    sizes = tuple(dict.fromkeys(free, torch.export.Dim.DYNAMIC) for _ in example)
    with replaced(path) as temporary, _quiet():
        try:
            torch.onnx.export(
                network.eval(),
                example,
                str(temporary),
                input_names=names,
                output_names=[output],
                dynamic_shapes=(sizes,),  # of the one argument *tensors
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except Exception as problem:  # of the tracer, the translator, the optimiser: many kinds, one meaning
            raise ModelError(
                f"{path.stem} cannot be written as ONNX: {_cause(problem)}. Leave out --onnx."
            ) from problem
        _compare(network, example, temporary, names, path.stem)


def _compare(network: nn.Module, example: tuple[Tensor, ...], path: Path, names: list[str], name: str) -> None:
    import onnxruntime

    with torch.inference_mode():
        expected = network(*example)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {key: tensor.numpy() for key, tensor in zip(names, example, strict=True)})[0]
    difference = float((torch.from_numpy(found) - expected).abs().max())
    if not difference <= TOLERANCE:
        raise ModelError(f"{name} answers otherwise as ONNX, by up to {difference:.2g}. Leave out --onnx.")


def _cause(problem: BaseException) -> str:
    """What it all began with, behind the exporter's own advice."""
    while problem.__cause__ is not None:
        problem = problem.__cause__
    return f"{type(problem).__name__}: {' '.join(str(problem).split())[:200].rstrip('.')}"


def _require_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise UsageError(f"--onnx needs {', '.join(missing)}; install them with `pip install 'm2fnet[onnx]'`.")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings, and without torch's fused attention, which ONNX does not have."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    logger = logging.getLogger("onnxscript")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        torch.backends.mha.set_fastpath_enabled(fused)
