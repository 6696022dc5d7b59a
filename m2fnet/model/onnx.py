"""Networks of a model for other runtimes: ONNX files, each checked against the network it came from."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from extractors.audio.waveform import WaveformExtractor
from m2fnet.errors import ModelError, UsageError
from m2fnet.files import replaced
from m2fnet.model.record import Model

NETWORK = "network.onnx"
TOLERANCE = 1e-4
_DIALOGUES, _UTTERANCES, _FRAMES, _SAMPLES = 2, 5, 6, 16_000  # of the example that the exporter follows


def export_onnx(model: Model, folder: Path) -> list[Path]:
    """Write ``network.onnx``, and a file for each extractor that is a network over sound; their paths come back.

    ``network.onnx``: for each stream ``<stream>`` (B, U, D) in float32, zero where absent, and ``<stream>_present``
    (B, U) as bool, False for missing embeddings and for padding -> ``logits`` (B, U, C), where an utterance with
    nothing present counts as padding. A network that reads who speaks has another input ``speaker`` (B, U) in int64:
    any number for each speaker of a dialogue, the same in all utterances of that speaker, -1 where unknown and for
    padding. One that reads pauses has ``gap_s`` (B, U) in float32, see `dialog.batch.DialogueBatch`. Softmax of
    ``logits`` divided by the ``temperature`` in ``model.json`` gives the probabilities; for sets of emotions sigmoid
    does, and an emotion is in the answer from its threshold in ``model.json``. A stream of sequences is (B, U, T, D),
    and ``<stream>_frames`` (B, U, T) as bool says which frames are real. A model that rates has a second output,
    ``ratings`` (B, U, R), one number per scale of `Model.ratings`.

    ``<stream>.onnx``, such as ``audio.onnx``: ``samples`` (1, N) in float32 at 16 kHz, one utterance -> ``embeddings``
    (1, D).

    Raises:
        UsageError: if a package that this needs is not installed.
        ModelError: if a network cannot be exported or its scores differ by more than `TOLERANCE`.
    """
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise UsageError(f"--onnx needs {', '.join(missing)}; install them with `pip install 'm2fnet[onnx]'`.")
    paths = [_export_network(model, folder / NETWORK)]
    for name, extractor in model.extractors.items():
        if isinstance(extractor, WaveformExtractor):
            samples = torch.randn(1, _SAMPLES, generator=torch.Generator().manual_seed(0)) / 10
            paths.append(folder / f"{name}.onnx")
            _export(_SamplesToEmbeddings(extractor), (samples,), paths[-1], ["samples"], ["embeddings"], [(1,)])
    return paths


class _ByName(nn.Module):
    """A dialogue network that takes tensors by position, and gives its ratings too if it ``rates``.

    They are all embeddings, all presences, the masks of the frames of ``sequences``, then ``facts`` of the batch.
    """

    def __init__(
        self,
        network: nn.Module,
        streams: Sequence[str],
        sequences: Sequence[str] = (),
        facts: Sequence[str] = (),
        *,
        rates: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.streams, self.sequences = network, tuple(streams), tuple(sequences)
        self.facts, self.rates = tuple(facts), rates

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Scores (B, U, C), and ratings (B, U, R)."""
        count = len(self.streams)
        presences = tensors[count : 2 * count]
        rest = tensors[2 * count :]
        present = dict(zip(self.streams, presences, strict=True))
        batch = {
            "inputs": dict(zip(self.streams, tensors[:count], strict=True)),
            "frames": dict(zip(self.sequences, rest[: len(self.sequences)], strict=True)),
            "present": present,
            "valid": torch.stack(presences).any(0),
            **dict(zip(self.facts, rest[len(self.sequences) :], strict=True)),
        }
        output = self.network(batch)
        return (output.scores, output.ratings) if self.rates else (output.scores,)


class _SamplesToEmbeddings(nn.Module):
    """An audio network from samples to embeddings, for one utterance."""

    def __init__(self, extractor: WaveformExtractor) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, *tensors: Tensor) -> tuple[Tensor]:
        """Embeddings (1, D) of samples (1, N)."""
        (samples,) = tensors
        lengths = torch.full((1,), samples.shape[1], dtype=torch.long)
        signal, sizes = self.extractor.represent(samples, lengths)
        embeddings: Tensor = self.extractor.projector(self.extractor.encode(signal, sizes))
        return (embeddings,)


def _export_network(model: Model, path: Path) -> Path:
    sequences = [name for name, extractor in model.extractors.items() if extractor.resolution == "frame"]
    widths = model.config["network"]["widths"]
    generator = torch.Generator().manual_seed(0)
    present = torch.rand(len(widths), _DIALOGUES, _UTTERANCES, generator=generator) < 0.8
    frames = {
        name: (torch.rand(_DIALOGUES, _UTTERANCES, _FRAMES + n, generator=generator) < 0.8) & present[n, ..., None]
        for n, name in enumerate(widths)
        if name in sequences
    }
    embeddings = [
        torch.randn(*real.shape, width, generator=generator) * real[..., None]
        for (name, width), here in zip(widths.items(), present, strict=True)
        for real in [frames.get(name, here)]
    ]
    facts = {
        "speaker": torch.randint(-1, 3, (_DIALOGUES, _UTTERANCES), generator=generator),
        "gap_s": torch.randn(_DIALOGUES, _UTTERANCES, generator=generator),
    }
    whole = _ByName(model.network, list(widths), sequences, list(facts))
    used = _facts_read_by(whole, (*embeddings, *present, *frames.values(), *facts.values()))
    masks = [f"{name}_frames" for name in frames]
    names = [*widths, *(f"{name}_present" for name in widths), *masks, *used]
    example = (*embeddings, *present, *frames.values(), *(facts[name] for name in used))
    free = [(0, 1, 2) if name in sequences or name in masks else (0, 1) for name in names]
    network = _ByName(model.network, list(widths), sequences, used, rates=bool(model.ratings))
    _export(network, example, path, names, ["logits", "ratings"] if model.ratings else ["logits"], free)
    return path


def _facts_read_by(network: _ByName, example: tuple[Tensor, ...]) -> list[str]:
    """Those of the network's ``facts`` that it takes out of its batch for ``example``."""
    read: set[object] = set()

    class Batch(dict[str, object]):
        def __getitem__(self, key: str) -> object:
            read.add(key)
            return super().__getitem__(key)

    def recorded(_: nn.Module, arguments: tuple[dict[str, object]]) -> tuple[Batch]:
        return (Batch(arguments[0]),)

    hook = network.network.register_forward_pre_hook(recorded)
    try:
        with torch.inference_mode():
            network(*example)
    finally:
        hook.remove()
    return [name for name in network.facts if name in read]


def _export(
    network: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    names: list[str],
    outputs: list[str],
    free: Sequence[tuple[int, ...]],
) -> None:
    """Write ``network``, whose inputs may have any size in their ``free`` dimensions, and compare it on the example."""
    sizes = tuple(dict.fromkeys(dimensions, torch.export.Dim.DYNAMIC) for dimensions in free)
    with replaced(path) as temporary, _quiet():
        try:
            torch.onnx.export(
                network.eval(),
                example,
                str(temporary),
                input_names=names,
                output_names=outputs,
                dynamic_shapes=(sizes,),  # of the one argument *tensors
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except Exception as problem:  # of the tracer, the translator, the optimiser: many kinds, one meaning
            raise ModelError(f"{path.stem} cannot be written as ONNX: {_cause(problem)}. Drop --onnx.") from problem
        _compare(network, example, temporary, names, path.stem)


def _compare(network: nn.Module, example: tuple[Tensor, ...], path: Path, names: list[str], name: str) -> None:
    import onnxruntime

    with torch.inference_mode():
        expected = network(*example)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {key: tensor.numpy() for key, tensor in zip(names, example, strict=True)})
    difference = max(
        float((torch.from_numpy(mine) - torchs).abs().max()) for mine, torchs in zip(found, expected, strict=True)
    )
    if not difference <= TOLERANCE:
        raise ModelError(f"{name} gives other results as ONNX, by up to {difference:.2g}. Drop --onnx.")


def _cause(problem: BaseException) -> str:
    """The first cause, without the exporter's advice."""
    while problem.__cause__ is not None:
        problem = problem.__cause__
    return f"{type(problem).__name__}: {' '.join(str(problem).split())[:200].rstrip('.')}"


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
