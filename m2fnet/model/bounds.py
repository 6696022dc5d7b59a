"""Limits on the parts of a model: settings cannot make them larger than their weights."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tag, Tensor, broadcast_shapes
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from m2fnet.errors import ModelError

# Allowance on top of the weights: the networks that find faces, bands of spectrograms, counters.
_VALUES, _VALUES_EACH = 2**23, 4
_STEPS, _STEPS_EACH = 2_000, 40
_LARGEST = 1_000_000  # of settings that only matter when the part is used, such as a number of frames


class WithinWeights(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """In its block this thread makes a part with at most about as many values and tensors as its weights have.

    Torch asks before each step, so a width of 10**9 is refused before there is memory for it, and a million layers
    after the first few that are too many.

    Args:
        weights: safetensors files, of which only the headers are read.
        where: the part, for errors.

    Raises:
        ModelError: if a file cannot be read; in the block, if a setting asks for more than the weights hold.
    """

    def __init__(self, weights: Sequence[Path], where: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        sizes = [size for path in weights for size in _sizes(path)]
        self._where, self._held = where, f"its weights hold {sum(sizes):,} in {len(sizes):,} tensors"
        self._values = _VALUES + _VALUES_EACH * sum(sizes)
        self._steps = _STEPS + _STEPS_EACH * len(sizes)

    def __torch_dispatch__(
        self, func: OpOverload, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:  # noqa: ANN401
        """The result of ``func``, if that is not too much."""
        values = _made(func, args)
        self._values -= values
        self._steps -= 1
        if self._values < 0:
            raise ModelError(f"{self._where} asks for {values:,} values together or too often, but {self._held}.")
        if self._steps < 0:
            raise ModelError(f"{self._where} asks for more layers than it has weights for: {self._held}.")
        return func(*args, **(kwargs or {}))


def refuse_absurd(settings: object, where: str) -> None:
    """Refuse settings with a whole number that is not a size of anything; a ``seed`` may be any.

    Raises:
        ModelError: quoting the number.
    """
    absurd = next((number for number in _numbers(settings) if abs(number) > _LARGEST), None)
    if absurd is not None:
        raise ModelError(f"{where} has a setting of {str(absurd)[:20]}, expected none beyond {_LARGEST:,}.")


def _numbers(settings: object) -> Iterator[int]:
    if isinstance(settings, dict):
        settings = [value for name, value in settings.items() if name != "seed"]
    if isinstance(settings, list):
        yield from (number for value in settings for number in _numbers(value))
    elif type(settings) is int:
        yield settings


def _sizes(path: Path) -> Iterator[int]:
    """Number of values of each tensor in a file."""
    try:
        with safe_open(path, framework="pt") as file:
            yield from (math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    except (OSError, SafetensorError) as problem:
        raise ModelError(f"Cannot read {path}: {problem}.") from problem


def _made(func: OpOverload, args: Sequence[Any]) -> int:
    """Number of values of the tensor that a step of torch makes; 0 if it changes one in place or makes a view."""
    if func.is_view or func._schema.is_mutable:
        return 0
    tensors = [value for value in args if isinstance(value, Tensor)]
    if Tag.pointwise in func.tags:
        return math.prod(broadcast_shapes(*(tensor.shape for tensor in tensors)))  # type: ignore[no-untyped-call]
    shapes = [value for value in args if isinstance(value, list | tuple) and all(type(n) is int for n in value)]
    lengths = [value for value in args if type(value) is int] if not (tensors or shapes) else []
    return max((*map(math.prod, shapes), *lengths, *(tensor.numel() for tensor in tensors)), default=0)
