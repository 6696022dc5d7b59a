"""What the parts of ``gpu.py`` share: the machine, a result, a clock that waits for the device, made-up input."""

import runpy
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor

from extractors.audio.augment import Augment, RandomValue
from extractors.audio.mel_resnet import MelResNet
from extractors.visual.augmentation import Augmentation
from extractors.visual.face_scene import FaceScene

RATE, SECONDS = 16_000, 3.2  # MELD's mean clip
CLASSES = ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear")
WORDS = 5000
SPECIAL = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
CONVERSATION = {"unk_token": "<unk>", "pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>"}

# Dense bfloat16 FLOP/s as the makers publish them; the first name that occurs in the device's counts.
PEAKS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
}


@dataclass(frozen=True)
class Figure:
    """One measured figure."""

    name: str
    unit: str
    value: float


@dataclass(frozen=True)
class Check:
    """One comparison with the CPU: the largest difference found, and the largest that is accepted."""

    name: str
    difference: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the difference is small enough; one that is not a number is not."""
        return self.difference <= self.tolerance


@dataclass(frozen=True)
class Setup:
    """Where and how long a part measures.

    Attributes:
        device: ``cuda`` or ``cpu``.
        small: sizes for a test instead of real ones.
        seconds: that a part may spend on measuring, model building excluded.
        folder: an empty one for its files.
    """

    device: str
    small: bool
    seconds: float
    folder: Path

    @property
    def accelerator(self) -> str:
        """Lightning's word for the device."""
        return "gpu" if self.device == "cuda" else "cpu"

    def now(self) -> float:
        """Seconds on the wall, once the device has done all it was asked for."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def seconds_per_step(self, step: Callable[[], object], share: float = 1.0, unmeasured: int = 3) -> float:
        """Mean seconds of ``step`` after some that are not counted, repeated for a ``share`` of the time there is."""
        for _ in range(1 if self.small else unmeasured):
            step()
        start, count = self.now(), 0
        while count == 0 or (not self.small and self.now() - start < share * self.seconds):
            for _ in range(1 if self.small else 5):  # so that the device is not waited for after every step
                step()
                count += 1
        return (self.now() - start) / count

    def peak_memory(self, name: str = "peak memory") -> "list[Figure]":
        """What the process had at most in use on the GPU, in MiB; nothing for a CPU."""
        return [Figure(name, "MiB", torch.cuda.max_memory_allocated() / 2**20)] if self.device == "cuda" else []


Found = list[Figure | Check]


def as_json(found: Found) -> dict[str, Any]:
    """Figures and checks as plain data."""
    return {
        "figures": [asdict(one) for one in found if isinstance(one, Figure)],
        "checks": [asdict(one) | {"holds": one.holds} for one in found if isinstance(one, Check)],
    }


def script(name: str) -> dict[str, Any]:
    """What another script of this folder defines; some have the name of a package and cannot be imported."""
    folder, before = Path(__file__).resolve().parent, sys.path[:]
    sys.path.insert(0, str(folder))  # as when it is run; some move this place to the end
    try:
        return runpy.run_path(str(folder / f"{name}.py"))
    finally:
        sys.path[:] = before


def meld_of(bench: dict[str, Any], *, small: bool) -> Any:  # noqa: ANN401  # the class comes from a script
    """MELD's size and settings from ``dialog.py``, or some short dialogues and a narrow network."""
    corpus = bench["meld"]()
    if not small:
        return corpus
    net = corpus.net | {"width": 16, "hidden": 16, "fusion_layers": 2}
    return replace(corpus, train=corpus.train[:120:5], dev=corpus.dev[:24:2], batch_size=4, net=net)


def published_peak(device: str) -> float | None:
    """Dense bfloat16 FLOP/s of a device by its name; None for one that is not in the table."""
    return next((peak for name, peak in PEAKS.items() if name in device), None)


def moved(batch: Mapping[str, Any], device: str) -> dict[str, Any]:
    """The batch with its tensors on ``device``, those in dicts too."""
    return {
        name: moved(value, device) if isinstance(value, dict) else value.to(device) if hasattr(value, "to") else value
        for name, value in batch.items()
    }


def largest_difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference of two tensors, relative to the largest value of the second."""
    ours, theirs = ours.detach().double().cpu(), theirs.detach().double().cpu()
    return float((ours - theirs).abs().max() / theirs.abs().max())


def write_roberta(folder: Path, *, small: bool) -> str:
    """Architecture of RoBERTa-large, or a tiny one of the kind, and a tokenizer of made-up words; no weights."""
    vocabulary = SPECIAL | {str(n): n + len(SPECIAL) for n in range(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **CONVERSATION).save_pretrained(folder)
    size = (64, 2, 4, 128) if small else (1024, 24, 16, 4096)
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    transformers.RobertaConfig(
        vocab_size=len(vocabulary) if small else 50_265, max_position_embeddings=514, pad_token_id=1, bos_token_id=0,
        eos_token_id=2, type_vocab_size=1, **dict(zip(names, size, strict=True)),
    ).save_pretrained(folder)  # fmt: skip
    return str(folder)


def audio_network(*, small: bool) -> MelResNet:
    """The audio network as in ``conf/extractors/audio_mel.yaml``, trained on a moment of each clip if ``small``."""
    stretch, gain, noise = RandomValue(0.5, 0.8, 1.25), RandomValue(0.5, -6.0, 6.0), RandomValue(0.5, 5.0, 40.0)
    return MelResNet(
        crop_seconds=0.2 if small else 4.0, augment=Augment(stretch=stretch, shift=None, gain=gain, noise=noise)
    )


def visual_network(*, small: bool) -> FaceScene:
    """The face and scene network as in ``conf/extractors/visual_face.yaml``, of smaller pictures if ``small``."""
    augmentation = Augmentation(mirror=0.5, shift=0.08, zoom=0.1, turn=10.0, light=0.1, contrast=0.2)
    return FaceScene(side=40 if small else 112, augmentation=augmentation)


def sounds(net: MelResNet, clips: int, seconds: float = SECONDS) -> dict[str, Any]:
    """A batch of noise."""
    draw = torch.Generator().manual_seed(0)
    return net.collate([{"samples": torch.randn(round(RATE * seconds), generator=draw) / 10} for _ in range(clips)])


def pictures(net: FaceScene, clips: int, frames: int = 15) -> dict[str, Any]:
    """A batch of random clips, each with one face in every frame."""
    draw = torch.Generator().manual_seed(0)

    def random_pictures() -> Tensor:
        return torch.randint(0, 256, (frames, 3, net.side, net.side), generator=draw, dtype=torch.uint8)

    return net.collate(
        [
            {"scenes": random_pictures(), "faces": random_pictures(), "weight": torch.ones(frames),
             "frame": torch.arange(frames), "cut_faces": 0}
            for _ in range(clips)
        ]
    )  # fmt: skip
