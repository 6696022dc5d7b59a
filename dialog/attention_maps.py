"""Which turns the fusion layers look at: recorded while a network answers."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dialog.data import Dialogues
from dialog.models.m2fnet import FusionLayer

FILE = "attention.json"
SHOWN = 3  # dialogues of a run
_FEWEST, _MOST = 5, 24  # their turns: shorter ones show little, longer ones fill a page each


@dataclass(frozen=True)
class Attention:
    """One attention of a fusion layer, heads averaged.

    Attributes:
        layer: counted from 1.
        keys: the modality whose stream decides where to look.
        weights: (B, U, U), how much each turn reads of each other.
    """

    layer: int
    keys: str
    weights: Tensor


@contextmanager
def recorded_attention(network: nn.Module) -> Iterator[list[Attention]]:
    """A list that fills while ``network`` answers inside; it stays empty for a network without fusion layers."""
    found: list[Attention] = []
    layers = [module for module in network.modules() if isinstance(module, FusionLayer)]
    with ExitStack() as hooks:
        for number, layer in enumerate(layers, start=1):
            for keys, attention in layer.attentions.items():
                hook = attention.register_forward_hook(partial(_record, found, number, keys))
                hooks.callback(hook.remove)
        yield found


def _record(found: list[Attention], layer: int, keys: str, attention: Any, inputs: Any, _: Tensor) -> None:  # noqa: ANN401
    found.append(Attention(layer, keys, attention.weights(*inputs).detach()))


def attention_in(network: nn.Module, dialogues: Dialogues) -> list[dict[str, Any]]:
    """The attention of ``network`` in a few of ``dialogues``, as plain data; empty if it has no fusion layers."""
    was_training = network.training
    network.eval()
    found = [_in_dialogue(network, dialogues, number) for number in choose(dialogues.lengths.tolist())]
    network.train(was_training)
    return [one for one in found if one["attention"]]


def choose(lengths: Sequence[int]) -> list[int]:
    """Numbers of `SHOWN` dialogues of 5 to 24 turns, spread over all; the shortest ones if none is of such a length.

    >>> choose([1, 5, 9, 30, 24, 7, 8, 6])
    [1, 4, 6]
    >>> choose([40, 60, 30, 50])
    [0, 2, 3]
    """
    fitting = [number for number, length in enumerate(lengths) if _FEWEST <= length <= _MOST]
    if not fitting:
        fitting = sorted(sorted(range(len(lengths)), key=lengths.__getitem__)[:SHOWN])
    return fitting[:: max(1, len(fitting) // SHOWN)][:SHOWN]


@torch.inference_mode()
def _in_dialogue(network: nn.Module, dialogues: Dialogues, number: int) -> dict[str, Any]:
    batch = dialogues[number]
    with recorded_attention(network) as recorded:
        network(batch)
    turns = [dialogues.utterances[row] for row in batch["row"][0].tolist()]
    return {
        "dialogue": turns[0].dialogue,
        "turns": [{"id": turn.id, "speaker": turn.speaker, "label": turn.label} for turn in turns],
        "attention": [
            {
                "layer": one.layer,
                "keys": one.keys,
                "weights": [[round(w, 4) for w in row] for row in one.weights[0].tolist()],
            }
            for one in recorded
        ],
    }
