"""The form of a network that only embeds, and the number type that its device is fastest in."""

import copy
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import Literal

import torch
from torch.fx.experimental.optimization import fuse

from extractors.base import Extractor, FittedExtractor

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
NUMBERS = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def fastest_precision(extractor: Extractor, device: str) -> Precision:
    """``bf16-mixed`` for a network on a kind of device that multiplies bfloat16 faster than float32, or ``32-true``.

    Of processors these are the ones with AMX. The bfloat16 of AVX-512 is slower than float32: a ResNet18 took 8.2 ms a
    picture with it and 6.3 ms in float32, on the same Intel processor that takes 1.7 ms with AMX.
    """
    if isinstance(extractor, FittedExtractor):
        return "32-true"  # closed forms cost next to nothing
    if device == "cpu":
        is_faster = torch.cpu.get_capabilities().get("amx_bf16", False)
    else:
        is_faster = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if is_faster else "32-true"


def arithmetic(precision: Precision, device: str) -> AbstractContextManager[object]:
    """Where products are computed in ``precision``, and what needs more range in float32."""
    return torch.autocast(device, NUMBERS[precision]) if precision in NUMBERS else nullcontext()


def inference_form(extractor: Extractor, precision: Precision = "32-true") -> Extractor:
    """The extractor as it only embeds: the same embeddings but for rounding, in less time.

    In its ``convolutional`` parts batch normalisation, which in evaluation is a scale and a shift of each channel,
    becomes part of the convolution before it, and weights are rounded to ``precision`` once instead of in each batch.
    The given extractor stays as it is; all other weights are shared with it.

    Example:
        >>> from extractors.audio.mel_resnet import MelResNet
        >>> form = inference_form(MelResNet())
        >>> [name for name, module in form.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
        ['norm']
    """
    extractor.eval()
    if not extractor.convolutional:
        return extractor
    parts = {name: extractor.get_submodule(name) for name in extractor.convolutional}
    folded = {id(part): fuse(part).to(dtype=NUMBERS.get(precision)) for part in parts.values()}
    shared = {id(weight): weight for weight in chain(extractor.parameters(), extractor.buffers())}
    return copy.deepcopy(extractor, {**shared, **folded})
