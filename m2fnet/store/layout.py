"""Names and records shared by the writer and the reader of a store.

A store is a folder::

    shard-00000.safetensors   "vectors" (rows, D); written once, its ids in the file's own metadata
    index.jsonl               {"id", "shard", "row", "rows"} per utterance that has an embedding
    meta.json                 the extractor and the manifest, every missing utterance with the reason, how much was
                              cut from the others, and the SHA-256 of the files above

A store that is rewritten gets files of other names, ``shard-1-00000.safetensors`` and ``index-1.jsonl`` the first
time: the old one stays valid until its ``meta.json`` is replaced.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Literal, TypeGuard, cast, get_args

import torch
from torch import Tensor

from m2fnet.errors import StoreError
from m2fnet.manifest import Manifest
from m2fnet.records import MODALITIES, Modality

META = "meta.json"
VECTORS = "vectors"
FORMAT = 1
ADVICE = "Make it with `m2fnet extract`, or `m2fnet import` from a feature pickle; --overwrite replaces existing files."

DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
Resolution = Literal["utterance", "frame"]
_PACKAGES = ("m2fnet", "torch", "safetensors", "numpy")
_INDEX = re.compile(r"index(?:-([1-9]\d*))?\.jsonl", re.ASCII)


@dataclass(frozen=True)
class Missing:
    """Why an utterance has no embedding: the stage that failed and the reason in words."""

    stage: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What became of an utterance.

    Attributes:
        id: of the utterance.
        result: its embedding, (D,) or for frame resolution (T, D), or why it has none.
        cut: how much the extractor had to cut from it, such as ``{"cut_tokens": 3}``.
    """

    id: str
    result: Tensor | Missing
    cut: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class StoreMeta:
    """The facts in ``meta.json``.

    Attributes:
        modality: ``"text"``, ``"audio"`` or ``"visual"``.
        width: length D of every vector.
        resolution: ``"utterance"``: one vector (D,) per id; ``"frame"``: a sequence (T, D) per id.
        dtype: name of the stored number type, a key of `DTYPES`.
        manifest_sha256: of the manifest whose utterances are embedded.
        corpus: name of that manifest's corpus.
        extractor: class, settings and weights hash of what made the embeddings, or ``{"imported": file}``.
        versions: package versions when it was written.
    """

    modality: Modality
    width: int
    resolution: Resolution
    dtype: str
    manifest_sha256: str
    corpus: str
    extractor: dict[str, object]
    versions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        *,
        modality: str,
        width: int,
        extractor: dict[str, object],
        resolution: Resolution = "utterance",
        dtype: str = "float32",
    ) -> "StoreMeta":
        """The facts for a store of the saved ``manifest`` with these settings.

        Raises:
            StoreError: if a setting is not one of those above.
        """
        for value, known in ((dtype, DTYPES), (modality, MODALITIES), (resolution, get_args(Resolution))):
            if value not in known:
                raise StoreError(f"Expected one of {', '.join(known)} for a store, but got {value!r}.")
        if width < 1:
            raise StoreError(f"Expected vectors of width 1 or more for a store, but got {width}.")
        if not manifest.sha256:
            raise StoreError("The manifest has not been saved; save it first so that the store can name its hash.")
        versions = {name: version(name) for name in _PACKAGES}
        return cls(
            cast(Modality, modality), width, resolution, dtype, manifest.sha256, manifest.corpus, extractor, versions
        )

    @property
    def is_of_extractor(self) -> bool:
        """Whether an extractor made the embeddings, which can make others; if not, they were imported."""
        return names_extractor(self.extractor)

    def rows(self, utterance_id: str, embedding: Tensor) -> Tensor:
        """``embedding``, (D,) or for frame resolution (T >= 1, D), as a copy (T, D) of the stored type on the CPU.

        Raises:
            StoreError: for a wrong shape, NaN or infinity (also after rounding to the stored type).
        """
        rows = embedding if self.resolution == "frame" else embedding[None]
        expected = "(T >= 1, D)" if self.resolution == "frame" else "(D,)"
        if rows.ndim != 2 or len(rows) == 0 or rows.shape[1] != self.width:
            raise StoreError(
                f"The embedding of {utterance_id!r} has shape {tuple(embedding.shape)}; "
                f"expected {expected} with D = {self.width}."
            )
        rows = rows.detach().to("cpu", DTYPES[self.dtype], copy=True)  # the caller may fill its buffer again
        if not torch.isfinite(rows).all():
            is_too_large = bool(torch.isfinite(embedding).all())
            advice = "store float32 or bfloat16" if is_too_large else "find out why, or record the utterance as missing"
            raise StoreError(f"The embedding of {utterance_id!r} holds NaN or infinity as {self.dtype}; {advice}.")
        return rows


def names_extractor(made_with: object) -> TypeGuard[dict[str, Any]]:
    """Whether what a store says about its origin names an extractor with its weights."""
    return isinstance(made_with, dict) and {"class_path", "weights_sha256"} <= made_with.keys()


def index_name(generation: int) -> str:
    """Name of the index of a store that was rewritten ``generation`` times."""
    return f"index-{generation}.jsonl" if generation else "index.jsonl"


def shard_name(number: int, generation: int) -> str:
    """Name of shard ``number`` of such a store."""
    return f"shard-{generation}-{number:05d}.safetensors" if generation else f"shard-{number:05d}.safetensors"


def generation_of(names: Iterable[str]) -> int:
    """How often the store with these files was rewritten.

    Raises:
        ValueError: if they are not those of one store.
    """
    found = [match for name in names if (match := _INDEX.fullmatch(name))]
    if len(found) != 1:
        raise ValueError(f"expected one index among the files of a store, but there are {len(found)}")
    return int(found[0][1] or 0)
