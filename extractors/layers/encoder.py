"""What the extractors of text, sound and pictures share whose vectors come from an encoder of `transformers`.

An encoder is read frozen, without any training, or trained: all of it, its last blocks, or a change of low rank.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from extractors.base import Extractor, Sample
from extractors.layers.hidden_states import blocks_of, layer_of_weights
from extractors.layers.low_rank import LowRank, add_low_rank
from extractors.layers.readout import Readout
from m2fnet.errors import RunError
from m2fnet.files import read_json, write_json

KEPT = "encoder"
_LAYER = "layer.json"  # in that folder; it may say otherwise than the settings: `layers: auto`
Trained = Literal["all", "none", "low_rank"] | int


@dataclass(frozen=True)
class States:
    """Hidden states of B utterances, one utterance after another.

    Attributes:
        layers: (N, D) of each layer, by its number.
        lengths: (B,) how many of the N frames are each utterance's; they add up to N.
    """

    layers: Mapping[int, Tensor]
    lengths: Tensor


class EncoderExtractor(Extractor):
    """An extractor that reads layers of a pretrained encoder; `read_encoder` gives it its parts.

    Its settings have the same names in every modality: ``model`` and ``pretrained`` (which encoder), ``layers``,
    ``combine`` and ``pooling`` (how it is read, see `Readout`), ``trained`` and ``low_rank`` (what of it learns):

    ``trained: none``
        nothing; with nothing else to learn, `m2fnet extract --config` reads it without a training.
    ``trained: 2``
        the last 2 of the blocks that are read.
    ``trained: low_rank``
        a change of low rank, see `LowRank`.
    ``trained: all``
        everything that the layers depend on.
    """

    encoder: Any
    readout: Readout
    depth: int
    trained: Trained

    def read_encoder(
        self,
        encoder: Any,  # noqa: ANN401
        readout: Readout,
        trained: Trained,
        low_rank: LowRank | None,
    ) -> None:
        """Take over an encoder, how it is read and what of it learns; blocks above the highest layer are dropped.

        Raises:
            ValueError: for settings that make no sense, or exclude each other.
        """
        self.encoder, self.readout, self.trained = encoder, readout, trained
        self._blocks = [blocks_of(encoder)]  # in a list, so that their weights are not saved under a second name
        self.depth = len(self.blocks)
        if readout.pooling == "frames":
            self.resolution = "frame"
        if readout.is_open and trained != "none":
            raise ValueError(
                f"layers: auto is chosen by a probe of the encoder as it comes; expected trained: none, got {trained}. "
                "Let it be chosen first, then train with that number."
            )
        if isinstance(trained, int) and not 1 <= trained <= max(readout.numbers):
            raise ValueError(
                f"Expected trained to be all, none, low_rank or a number of blocks from 1 to "
                f"{max(readout.numbers)}, those that are read, but got {trained}."
            )
        if low_rank is not None and trained != "low_rank":
            raise ValueError(f"low_rank is set, which has no effect with trained: {trained}.")
        self._drop_unread()
        if trained != "all":
            encoder.requires_grad_(False)
        if trained == "low_rank":
            add_low_rank(self.blocks, low_rank or LowRank())
        elif isinstance(trained, int):
            self.blocks[-trained:].requires_grad_(True)

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks of the encoder that are read."""
        return self._blocks[0]

    @classmethod
    def is_trained(cls, settings: Mapping[str, object]) -> bool:
        """Whether anything learns: the encoder, weights of layers, a query, or a projector."""
        learns = {"trained": "none", "combine": "learned", "pooling": "attention"}
        return (
            settings.get("trained", "all") != learns["trained"]
            or any(settings.get(name) == learns[name] for name in ("combine", "pooling"))
            or settings.get("width") is not None
        )

    @abstractmethod
    def states(self, batch: Sample) -> States:
        """Hidden states of ``self.readout.numbers`` for a batch."""

    @abstractmethod
    def example(self) -> Sample:
        """Any small sample, for a look at which weights the layers depend on."""

    def by_layer(self, batch: Sample) -> Tensor:
        """Pooled vectors (B, L, F) of each of ``self.readout.numbers``."""
        states = self.states(batch)
        return self.readout.by_layer(states.layers, states.lengths)

    def choose(self, number: int) -> None:
        """Read only this layer from now on, which a probe has chosen."""
        self.readout.choose(number)
        self._drop_unread()

    def train(self, mode: bool = True) -> "EncoderExtractor":
        """As usual, but what is frozen stays in evaluation mode: without dropout."""
        super().train(mode)
        if self.trained == "none" or isinstance(self.trained, int):
            self.encoder.eval()
        if isinstance(self.trained, int):
            self.blocks[-self.trained :].train(mode)
        return self

    def backbones(self) -> Sequence[nn.Module]:
        """The pretrained parts that learn; a change of low rank is no such part."""
        if isinstance(self.trained, int):
            return list(self.blocks[-self.trained :])
        return (self.encoder,) if self.trained == "all" else ()

    def layer_of_weights(self) -> Mapping[nn.Parameter, int]:
        """The number of its layer for each weight of the encoder, see `extractors.layers.hidden_states`."""
        was_training = self.training
        self.eval()  # draws no random numbers, so that a training's are the same
        batch, read = self.collate([self.example()]), self.readout.numbers[0]
        numbers = layer_of_weights(self.encoder, self.blocks, lambda: self.states(batch).layers[read])
        self.train(was_training)
        return numbers

    def save_assets(self, folder: Path) -> None:
        """Write into ``folder`` which layer is read, if it is one; the modalities add what they read with."""
        if len(self.readout.numbers) == 1:
            write_json(folder / KEPT / _LAYER, {"layer": self.readout.numbers[0]})

    @classmethod
    def asset_settings(cls, folder: Path) -> dict[str, object]:
        """Settings for the same network without pretrained weights from what `save_assets` wrote."""
        settings: dict[str, object] = {"model": str(folder / KEPT), "pretrained": False}
        if (folder / KEPT / _LAYER).is_file():
            settings["layers"] = read_json(folder / KEPT / _LAYER, RunError, "Take another copy.")["layer"]
        return settings

    def freeze_unreached(self) -> None:
        """Freeze the weights that the layers do not depend on, such as a norm behind blocks that were dropped.

        Weights without a gradient stop distributed training.
        """
        was_training = self.training
        self.eval()  # draws no random numbers, so that a training's are the same
        with torch.enable_grad():
            states = self.states(self.collate([self.example()]))
            torch.stack([values.float().sum() for values in states.layers.values()]).sum().backward()  # type: ignore[no-untyped-call]
        for parameter in self.encoder.parameters():
            parameter.requires_grad_(parameter.requires_grad and parameter.grad is not None)
            parameter.grad = None
        self.train(was_training)

    def _drop_unread(self) -> None:
        if not self.readout.is_open:
            del self.blocks[max(1, *self.readout.numbers) :]
