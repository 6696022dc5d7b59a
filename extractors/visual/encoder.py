"""One picture, a face or a whole scene -> one vector: the network that both branches of the visual extractor share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from facenet_pytorch import InceptionResnetV1
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import resnet18

from m2fnet.errors import RunError

Backbone = Literal["resnet18", "inception_resnet_v1"]

# What published weights were trained on: ImageNet's mean and deviation, and facenet-pytorch's (x - 127.5) / 128.
_MEAN = {"resnet18": (123.675, 116.28, 103.53), "inception_resnet_v1": (127.5, 127.5, 127.5)}
_DEVIATION = {"resnet18": (58.395, 57.12, 57.375), "inception_resnet_v1": (128.0, 128.0, 128.0)}
_SMALLEST = {"resnet18": 33, "inception_resnet_v1": 107}  # below, the last map is one cell: no norm of one picture


class ImageEncoder(nn.Module):
    """Vectors (N, D) of pictures (N, 3, S, S): a backbone's pooled features and a linear projector.

    Args:
        backbone: ``resnet18`` of torchvision or ``inception_resnet_v1`` of facenet-pytorch, without their heads.
        width: D.
        side: S, checked against what the backbone can see.
        weights: file with the backbone's weights, see `load_backbone`; random ones when None. Nothing is downloaded.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, backbone: Backbone, width: int, side: int, weights: Path | None = None) -> None:
        super().__init__()
        if side < _SMALLEST[backbone]:
            raise ValueError(f"Expected pictures of at least {_SMALLEST[backbone]} pixels for {backbone}, got {side}.")
        self.backbone, features = _BUILDERS[backbone]()
        self.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster
        if weights is not None:
            load_backbone(self.backbone, weights)
        self.projector = nn.Linear(features, width)
        self.register_buffer("mean", torch.tensor(_MEAN[backbone])[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION[backbone])[:, None, None], persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Un-normalised vectors (N, D) of pictures (N, 3, S, S) with values in 0..255."""
        pictures = ((pictures - self.mean) / self.deviation).contiguous(memory_format=torch.channels_last)
        vectors: Tensor = self.projector(self.backbone(pictures))
        return vectors


def load_backbone(backbone: nn.Module, path: Path) -> None:
    """Give ``backbone`` the weights in ``path``.

    The file is ``.safetensors`` or what ``torch.save`` wrote: torchvision's or facenet-pytorch's published weights, or
    the checkpoint of a run of this extractor, for example of one on a corpus of face images.

    Raises:
        RunError: if the file cannot be read, or does not hold this backbone.
    """
    state = {name.rpartition("backbone.")[2]: tensor for name, tensor in _read(path).items()}
    wanted = backbone.state_dict()
    fitting = {name: state[name] for name in wanted if _shape(state.get(name)) == wanted[name].shape}
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}  # absent in old files
    if absent := set(wanted) - set(fitting) - counters:
        raise RunError(
            f"{path} does not hold the weights of this {type(backbone).__name__}: {len(absent)} of {len(wanted)} are "
            f"absent or of another shape, for example {min(absent)!r}. Expected a file for the same backbone."
        )
    backbone.load_state_dict(fitting, strict=False)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # weights of strangers, which are no checkpoint of a run; `weights_only` runs no code in them
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:  # a damaged file raises whatever it likes
        raise RunError(
            f"Cannot read weights from {path}: {type(problem).__name__}. "
            "Expected a .safetensors file, or a .pt, .pth or .ckpt file that holds tensors and plain values only."
        ) from problem
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    return {name: value for name, value in state.items() if isinstance(name, str)} if isinstance(state, dict) else {}


def _shape(value: object) -> torch.Size | None:
    return value.shape if isinstance(value, Tensor) else None


def _resnet18() -> tuple[nn.Module, int]:
    network = resnet18(weights=None)
    features = network.fc.in_features
    network.fc = nn.Identity()
    return network, features


def _inception_resnet_v1() -> tuple[nn.Module, int]:
    network = InceptionResnetV1(pretrained=None, classify=True, num_classes=1)  # `classify` skips an L2 normalisation
    features = network.last_linear.in_features
    network.last_linear = network.last_bn = network.logits = nn.Identity()
    return network, features


_BUILDERS = {"resnet18": _resnet18, "inception_resnet_v1": _inception_resnet_v1}
