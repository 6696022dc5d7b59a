"""The hidden states of an encoder of `transformers`: which layers there are, and what they give in one pass."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Layers = int | list[int] | str  # one, several, a range such as "4-8", "all", or "auto": a probe chooses one
AUTO = "auto"


def blocks_of(encoder: nn.Module) -> nn.ModuleList:
    """The blocks of an encoder, first to last, whatever its family calls them: the largest list of equal length.

    Raises:
        ValueError: if it has no list of as many modules as its configuration has layers.
    """
    config: Any = encoder.config
    depth = config.num_hidden_layers
    lists = [part for part in encoder.modules() if isinstance(part, nn.ModuleList) and len(part) == depth]
    if not lists:
        raise ValueError(f"Expected an encoder with a list of its {depth} layers, but got {type(encoder).__name__}.")
    return max(lists, key=lambda part: sum(parameter.numel() for parameter in part.parameters()))


def layer_numbers(layers: Layers, depth: int) -> list[int]:
    """Numbers of the layers that a setting names, in its order, for an encoder of ``depth`` blocks.

    0 is what enters the first block, ``depth`` is the encoder's output; negative numbers count from there.

    Example:
        >>> layer_numbers(-1, 12), layer_numbers([3, -2], 12), layer_numbers("4-6", 12), layer_numbers("all", 2)
        ([12], [3, 11], [4, 5, 6], [0, 1, 2])

    Raises:
        ValueError: if it names no layer, one twice, or one that the encoder does not have.
    """
    given: list[int]
    if layers in ("all", AUTO):
        given = list(range(depth + 1))
    elif isinstance(layers, str):
        ends = [int(end) for end in layers.split("-") if end.isascii() and end.isdigit()]
        given = list(range(ends[0], ends[-1] + 1)) if len(ends) == 2 == len(layers.split("-")) else []
    else:
        given = [layers] if isinstance(layers, int) else list(layers)
    numbers = [number + depth + 1 if number < 0 else number for number in given]
    if not numbers or len({*numbers}) < len(numbers) or not all(0 <= number <= depth for number in numbers):
        raise ValueError(
            f"Expected layers to be a number from {-depth - 1} to {depth}, a list of different ones, a range such as "
            f"'1-{depth}', all or auto, but got {layers!r}."
        )
    return numbers


def hidden_states(
    blocks: nn.ModuleList, wanted: Iterable[int], depth: int, run: Callable[[], Tensor]
) -> Mapping[int, Tensor]:
    """The hidden states (B, T, D) of the ``wanted`` layers, by number, from one pass.

    As in `transformers`, layer 0 is what enters the first block and layer n is what leaves block n; the last one is the
    encoder's output, with a final norm where the family has one.

    Args:
        blocks: of the encoder, perhaps without those above the highest wanted layer.
        wanted: numbers of layers.
        depth: number of blocks that the whole encoder has.
        run: lets the encoder read, and returns its output (B, T, D).
    """
    found: dict[int, Tensor] = {}
    handles = []

    def note_input(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        found[0] = given[0] if given else named["hidden_states"]

    def note_output(number: int) -> Callable[[nn.Module, Any, Any], None]:
        def note(_: nn.Module, __: object, output: Any) -> None:  # noqa: ANN401
            found[number] = output if isinstance(output, Tensor) else output[0]

        return note

    for number in wanted:
        if number == 0:
            handles.append(blocks[0].register_forward_pre_hook(note_input, with_kwargs=True))
        elif number < depth:
            handles.append(blocks[number - 1].register_forward_hook(note_output(number)))
    try:
        last = run()
    finally:
        for handle in handles:
            handle.remove()
    return {number: last if number == depth else found[number] for number in wanted}


def layer_of_weights(
    encoder: nn.Module, blocks: nn.ModuleList, run: Callable[[], Tensor]
) -> Mapping[nn.Parameter, int]:
    """Number of the layer that each weight of an encoder helps to compute, as `layer_numbers` counts them.

    Weights of block n have n. Others that learn have 0 if the input of the first block depends on them. Neither names
    nor places tell which do: wav2vec 2.0 has a norm of the same name in front of its blocks or, in its large models,
    behind them. The rest has the number of the last block: a final norm, and positions that every block reads.

    Args:
        encoder: in evaluation mode.
        blocks: of the encoder.
        run: lets the encoder read something, and returns its output.
    """
    with torch.enable_grad():
        entering = hidden_states(blocks, [0], len(blocks), run)[0]
    learning = [weight for weight in encoder.parameters() if weight.requires_grad]
    below: set[nn.Parameter] = set()
    if entering.requires_grad:
        gradients = torch.autograd.grad(entering.sum(), learning, allow_unused=True)
        below = {weight for weight, gradient in zip(learning, gradients, strict=True) if gradient is not None}
    of_blocks = {weight: number for number, block in enumerate(blocks, 1) for weight in block.parameters()}
    outside = {weight: 0 if weight in below else len(blocks) for weight in encoder.parameters()}
    return {**outside, **of_blocks}
