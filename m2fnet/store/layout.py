"""Names and records shared by the writer and the reader of a store.

A store is a folder::

    shard-00000.safetensors   "vectors" (rows, D); written once, its ids in the file's own metadata
    index.jsonl               {"id", "shard", "row", "rows"} per utterance that has an embedding
    meta.json                 what made it, for which manifest, every utterance that is missing, with the reason, and
                              the SHA-256 of the files above
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

INDEX = "index.jsonl"
META = "meta.json"
VECTORS = "vectors"
FORMAT = 1

DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
Resolution = Literal["utterance", "frame"]


@dataclass(frozen=True)
class Missing:
    """Why an utterance has no embedding: the stage that failed and the reason in words."""

    stage: str
    reason: str


@dataclass(frozen=True)
class StoreMeta:
    """What ``meta.json`` says.

    Attributes:
        modality: ``"text"``, ``"audio"`` or ``"visual"``.
        width: length D of every vector.
        resolution: ``"utterance"``: one vector (D,) per id; ``"frame"``: a sequence (T, D) per id.
        dtype: name of the stored number type, a key of `DTYPES`.
        manifest_sha256: of the manifest whose utterances are embedded.
        corpus: name of that manifest's corpus.
        extractor: class, settings and weights hash of what made the embeddings, or ``{"imported": file}``.
        versions: package versions at the time of writing.
    """

    modality: str
    width: int
    resolution: Resolution
    dtype: str
    manifest_sha256: str
    corpus: str
    extractor: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)


def shard_path(folder: Path, number: int) -> Path:
    """Path of shard ``number``."""
    return folder / f"shard-{number:05d}.safetensors"
