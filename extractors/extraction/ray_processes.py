"""What runs in the processes of Ray: a task that reads a batch, and an actor that holds the extractor and embeds it.

Nothing here imports Lightning, which would take longer than small batches do.
"""

import copy
import os
import socket
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from extractors.base import Extractor
from extractors.extraction.embedding import Batches, EmbeddingBatch, on_cpu
from extractors.extraction.inference import Precision, arithmetic, inference_form
from m2fnet.training.ray_cluster import enter_shared

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from ray import ObjectRef

Bytes = tuple["NDArray[np.uint8]", list[int], torch.dtype]


class EmbeddedBatch(TypedDict):
    """What was found for utterances that were embedded together; see `EmbeddingBatch`."""

    embeddings: list[Tensor]
    places: list[int]
    missing: list[tuple[str, str] | None]
    cut: list[dict[str, int]]


@dataclass(frozen=True)
class ReadBatch:
    """A batch as a reader hands it to an actor. Ray Data leaves an object of our own as it is.

    Attributes:
        number: of the batch in the plan.
        batch: see `EmbeddingBatch`.
        absent: media files that the machine of the reader cannot read.
        machine: its name.
    """

    number: int
    batch: EmbeddingBatch
    absent: tuple[Path, ...]
    machine: str


@dataclass(frozen=True)
class FoundBatch:
    """A batch as an actor hands it back, with what its reader could not read."""

    number: int
    batch: EmbeddedBatch
    absent: tuple[Path, ...]
    machine: str


@dataclass(frozen=True)
class SharedWork:
    """What all processes of an extraction need.

    Attributes:
        extractor: refers to it.
        plan: refers to the utterances and the batches of them, as places.
        folder: the current folder of the command, from which relative paths start.
    """

    extractor: "ObjectRef[Any]"
    plan: "ObjectRef[Any]"
    folder: Path


def read_batch(work: SharedWork, row: dict[str, int]) -> dict[str, ReadBatch]:
    """The batch whose number is in the row, in a Ray task."""
    batches = _batches(work)
    batch = batches[row["item"]]
    return {"read": ReadBatch(row["item"], batch, tuple(_absent(batches, batch)), socket.gethostname())}


class EmbedBatch:
    """Holds the extractor and embeds batches, as an actor.

    Args:
        work: has the extractor.
        device: where it computes.
        precision: of its arithmetic.
        threads: of its arithmetic; sums then come in the order of a local extraction.
    """

    def __init__(self, work: SharedWork, device: str, precision: Precision, threads: int) -> None:
        import ray

        enter_shared(work.folder)
        torch.set_num_threads(threads)
        shared: Extractor = ray.get(work.extractor)
        own = copy.deepcopy(shared).to(device)  # the memory of the shared one cannot be written
        self._extractor, self._device, self._precision = inference_form(own, precision), device, precision

    @torch.inference_mode()
    def __call__(self, row: dict[str, ReadBatch]) -> dict[str, FoundBatch]:
        """The embeddings of what was read."""
        read = row["read"]
        inputs, embeddings = read.batch["inputs"], list[Tensor]()
        if inputs is not None:
            on_device = apply_to_collection(inputs, Tensor, lambda tensor: tensor.to(self._device))
            with arithmetic(self._precision, self._device):
                embeddings = on_cpu(self._extractor(on_device))
        found: EmbeddedBatch = {
            "embeddings": [one.clone() for one in embeddings],  # a view would take all others of its batch with it
            "places": read.batch["places"],
            "missing": read.batch["missing"],
            "cut": read.batch["cut"],
        }
        return {"found": FoundBatch(read.number, found, read.absent, read.machine)}


def put(thing: object) -> "ObjectRef[Any]":
    """``thing`` in the memory that all processes of a machine share; where they get it, its tensors are read-only."""
    import ray

    ray.util.register_serializer(torch.Tensor, serializer=_as_bytes, deserializer=_as_tensor)
    try:
        return ray.put(thing)
    finally:
        ray.util.deregister_serializer(torch.Tensor)


@lru_cache(maxsize=1)
def _batches(work: SharedWork) -> Batches:
    """Reads batches in this process, which Ray uses for many tasks."""
    import ray

    enter_shared(work.folder)
    torch.set_num_threads(1)  # as in the workers of a loader
    wanted, plan = ray.get(work.plan)
    return Batches(ray.get(work.extractor), wanted, plan)


def _absent(batches: Batches, batch: EmbeddingBatch) -> Iterator[Path]:
    """The media of utterances that could not be read which this machine does not have."""
    for place, why in zip(batch["places"], batch["missing"], strict=True):
        placed = batches.outcomes.wanted[place]
        names = {placed.utterance.audio, placed.utterance.video} - {None}
        if why is not None and (root := placed.manifest.root) is not None:
            yield from (path for name in names if not os.access(path := root / str(name), os.R_OK))


def _as_bytes(tensor: Tensor) -> Bytes:
    """The bytes of a tensor, which Ray maps from shared memory, its shape and type."""
    plain = tensor.detach().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy(), list(plain.shape), plain.dtype


def _as_tensor(content: Bytes) -> Tensor:
    """The tensor, without a copy."""
    found, shape, dtype = content
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nor does a reader write
        return torch.from_numpy(found).view(dtype).reshape(shape)
