"""Which utterances the fusion layers attend to, recorded during a forward pass."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypedDict, cast

import torch
from torch import Tensor, nn

from dialog.data import Dialogues
from dialog.fusion.attention import CrossAttention
from dialog.models.m2fnet import FusionLayer

SHOWN = 3  # dialogues of a run
_FEWEST, _MOST = 5, 24  # utterances of these: shorter dialogues show little, longer ones fill a page each


@dataclass(frozen=True)
class Attention:
    """One attention of a fusion layer, heads averaged.

    Attributes:
        layer: counted from 1.
        keys: the stream that the keys come from.
        weights: (B, U, U), how much each utterance reads of each other.
    """

    layer: int
    keys: str
    weights: Tensor


class UtteranceFacts(TypedDict):
    """An utterance in ``attention.json``."""

    id: str
    speaker: str | None
    label: str | None


class LayerFacts(TypedDict):
    """An attention in ``attention.json``; ``weights`` is (U, U)."""

    layer: int
    keys: str
    weights: list[list[float]]


class DialogueFacts(TypedDict):
    """A dialogue in ``attention.json``."""

    dialogue: str
    utterances: list[UtteranceFacts]
    attention: list[LayerFacts]


@contextmanager
def recorded_attention(network: nn.Module) -> Iterator[list[Attention]]:
    """A list that every forward pass of ``network`` inside the block adds to; empty if it has no fusion layers."""
    found: list[Attention] = []
    layers = [module for module in network.modules() if isinstance(module, FusionLayer)]
    with ExitStack() as hooks:
        for number, layer in enumerate(layers, start=1):
            for keys, attention in layer.attentions.items():
                hook = attention.register_forward_hook(partial(_record, found, number, keys))
                hooks.callback(hook.remove)
        yield found


def _record(
    found: list[Attention], layer: int, keys: str, attention: nn.Module, inputs: tuple[Tensor, ...], _: Tensor
) -> None:
    found.append(Attention(layer, keys, cast(CrossAttention, attention).weights(*inputs).detach()))


def attention_in(network: nn.Module, dialogues: Dialogues) -> list[DialogueFacts]:
    """The attention of ``network`` in a few of ``dialogues``, as plain data; empty if it has no fusion layers."""
    was_training = network.training
    network.eval()
    found = [_in_dialogue(network, dialogues, number) for number in choose(dialogues.lengths.tolist())]
    network.train(was_training)
    return [one for one in found if one["attention"]]


def choose(lengths: Sequence[int]) -> list[int]:
    """Numbers of `SHOWN` dialogues of 5 to 24 utterances, spread over all; the shortest ones if none has such a length.

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
def _in_dialogue(network: nn.Module, dialogues: Dialogues, number: int) -> DialogueFacts:
    batch = dialogues[number]
    with recorded_attention(network) as recorded:
        network(batch)
    utterances = [dialogues.utterances[row] for row in batch["row"][0].tolist()]
    return {
        "dialogue": utterances[0].dialogue,
        "utterances": [{"id": one.id, "speaker": one.speaker, "label": one.label} for one in utterances],
        "attention": [
            {
                "layer": one.layer,
                "keys": one.keys,
                "weights": [[round(weight, 4) for weight in row] for row in one.weights[0].tolist()],
            }
            for one in recorded
        ],
    }
