"""Write a store: shards as they fill, index and meta at the end."""

import dataclasses
import json
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

import torch
from safetensors.torch import save_file
from torch import Tensor

from m2fnet.errors import StoreError
from m2fnet.files import replaced, sha256_of, write_json, write_jsonl
from m2fnet.manifest import Manifest
from m2fnet.records import MODALITIES
from m2fnet.store.layout import (
    DTYPES,
    FORMAT,
    INDEX,
    META,
    VECTORS,
    Missing,
    Resolution,
    StoreMeta,
    shard_path,
)

_PACKAGES = ("m2fnet", "torch", "safetensors", "numpy")


class StoreWriter:
    """Embeddings in, a store out; use it as a context manager.

    Every utterance of ``manifest`` must be given once, to `add` or to `add_missing`, before the block ends.
    An error inside the block leaves the shards written so far and no ``meta.json``: such a folder is no store.

    Args:
        folder: where the store goes; must not hold a store already.
        manifest: the saved manifest whose utterances are embedded.
        modality: ``"text"``, ``"audio"`` or ``"visual"``.
        width: length D of every vector.
        extractor: what makes the embeddings: class, settings, weights hash.
        resolution: one vector per utterance, or a sequence of vectors.
        dtype: stored number type: ``float32``, ``float16`` or ``bfloat16``.
        shard_bytes: a shard is closed when it holds at least this much.

    Raises:
        StoreError: if ``folder`` already holds a store, or a setting is not one of the above.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        *,
        modality: str,
        width: int,
        extractor: dict[str, Any],
        resolution: Resolution = "utterance",
        dtype: str = "float32",
        shard_bytes: int = 256 * 2**20,
    ) -> None:
        for value, known in ((dtype, DTYPES), (modality, MODALITIES), (resolution, get_args(Resolution))):
            if value not in known:
                raise StoreError(f"Expected one of {', '.join(known)} for a store, but got {value!r}.")
        if width < 1:
            raise StoreError(f"Expected vectors of width 1 or more for a store, but got {width}.")
        if not manifest.sha256:
            raise StoreError("The manifest has not been saved; save it first so that the store can name its hash.")
        if (folder / META).exists():
            raise StoreError(f"{folder} already holds a store; choose another folder, or remove this one first.")
        self.folder = folder
        self.meta = StoreMeta(
            modality=modality,
            width=width,
            resolution=resolution,
            dtype=dtype,
            manifest_sha256=manifest.sha256,
            corpus=manifest.corpus,
            extractor=extractor,
            versions={name: version(name) for name in _PACKAGES},
        )
        self._expected = {u.id for u in manifest.utterances}
        self._hashes: dict[str, str] = {}
        self._missing: dict[str, Missing] = {}
        self._index: list[dict[str, Any]] = []
        self._pending: list[tuple[str, Tensor]] = []
        self._pending_bytes = 0
        self._seen: set[str] = set()
        self._shard = 0
        self._shard_bytes = shard_bytes
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in [*folder.glob("shard-*.safetensors"), *folder.glob(".tmp-*"), folder / INDEX]:
            leftover.unlink(missing_ok=True)  # of an interrupted run: without meta.json nobody could read them

    def add(self, utterance_id: str, embedding: Tensor) -> None:
        """Store ``embedding``, (D,) or for frame resolution (T >= 1, D).

        Raises:
            StoreError: for an unknown or repeated id, a wrong shape, NaN or infinity (also after rounding to dtype).
        """
        self._take(utterance_id)
        rows = embedding if self.meta.resolution == "frame" else embedding[None]
        expected = "(T >= 1, D)" if self.meta.resolution == "frame" else "(D,)"
        if rows.ndim != 2 or len(rows) == 0 or rows.shape[1] != self.meta.width:
            raise StoreError(
                f"The embedding of {utterance_id!r} has shape {tuple(embedding.shape)}; "
                f"expected {expected} with D = {self.meta.width}."
            )
        rows = rows.detach().to("cpu", DTYPES[self.meta.dtype], copy=True)  # the caller may fill its buffer again
        if not torch.isfinite(rows).all():
            raise StoreError(
                f"The embedding of {utterance_id!r} holds NaN or infinity as {self.meta.dtype}; find out why, "
                "or record the utterance as missing."
            )
        self._pending.append((utterance_id, rows))
        self._pending_bytes += rows.nbytes
        if self._pending_bytes >= self._shard_bytes:
            self._write_shard()

    def add_missing(self, utterance_id: str, missing: Missing) -> None:
        """Record that an utterance has no embedding, and why."""
        self._take(utterance_id)
        self._missing[utterance_id] = missing

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._close()

    def _take(self, utterance_id: str) -> None:
        if utterance_id not in self._expected:
            raise StoreError(f"Utterance {utterance_id!r} is not in the manifest this store is written for.")
        if utterance_id in self._seen:
            raise StoreError(f"Utterance {utterance_id!r} was already added to {self.folder}.")
        self._seen.add(utterance_id)

    def _write_shard(self) -> None:
        ids = [name for name, _ in self._pending]
        row = 0
        for name, rows in self._pending:
            self._index.append({"id": name, "shard": self._shard, "row": row, "rows": len(rows)})
            row += len(rows)
        vectors = torch.cat([rows for _, rows in self._pending])
        path = shard_path(self.folder, self._shard)
        with replaced(path) as temporary:
            save_file({VECTORS: vectors}, temporary, metadata={"ids": json.dumps(ids)})
        self._hashes[path.name] = sha256_of(path)
        self._pending, self._pending_bytes = [], 0
        self._shard += 1

    def _close(self) -> None:
        forgotten = sorted(self._expected - self._seen)
        if forgotten:
            raise StoreError(
                f"{len(forgotten)} utterances of the manifest were neither embedded nor recorded as missing, "
                f"the first is {forgotten[0]!r}."
            )
        if self._pending:
            self._write_shard()
        write_jsonl(self.folder / INDEX, self._index)
        self._hashes[INDEX] = sha256_of(self.folder / INDEX)
        write_json(
            self.folder / META,
            {
                "format": FORMAT,
                **dataclasses.asdict(self.meta),
                "shards": self._shard,
                "count": len(self._index),
                "sha256": self._hashes,
                "missing": [{"id": name, **dataclasses.asdict(m)} for name, m in sorted(self._missing.items())],
            },
        )
