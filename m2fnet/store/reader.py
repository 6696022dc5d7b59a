"""Read a store: memory-mapped, checked against the manifest it is used with."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from m2fnet.errors import StoreError
from m2fnet.files import read_json, read_jsonl, sha256_of
from m2fnet.manifest import Manifest
from m2fnet.records import MODALITIES
from m2fnet.store.layout import (
    ADVICE,
    DTYPES,
    FORMAT,
    META,
    VECTORS,
    Missing,
    Resolution,
    StoreMeta,
    generation_of,
    index_name,
    shard_name,
)

_BLOCK = 256  # rows that are gathered at a time, few enough to stay in the processor's cache


class Store:
    """The embeddings in ``folder``, by utterance id.

    Opening reads the index alone; vectors are mapped from disk when they are asked for.

    Attributes:
        meta: what the store says about itself.
        missing: utterance id -> why it has no embedding.
        cut: what the extractor left out of the utterances, summed by kind; empty where it cuts nothing.

    Raises:
        StoreError: if the folder is no store, is damaged, or was written by a newer format.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        content = read_json(self.folder / META, StoreError, ADVICE)
        if content.get("format") != FORMAT:
            raise StoreError(f"{self.folder} has store format {content.get('format')!r}, expected {FORMAT}. {ADVICE}")
        try:
            self.meta = self._meta(content)
            self.missing = {m["id"]: Missing(m["stage"], m["reason"]) for m in content["missing"]}
            self._hashes = dict[str, str](content["sha256"])
            self.cut = {str(kind): int(total) for kind, total in content.get("cut", {}).items()}
            generation = generation_of(self._hashes)
            index = self.folder / index_name(generation)
            self._verify(index.name)
            entries = read_jsonl(index, StoreError, ADVICE)
            self._places = {e["id"]: (int(e["shard"]), int(e["row"]), int(e["rows"])) for e in entries}
            shards, count = int(content["shards"]), int(content["count"])
        except StoreError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as problem:
            raise StoreError(f"{self.folder} is damaged ({problem!r}). {ADVICE}") from problem
        if len(self._places) != count:
            raise StoreError(f"{self.folder} lists {len(self._places)} embeddings, expected {count}. {ADVICE}")
        self._files = [shard_name(number, generation) for number in range(shards)]
        self._shards = [self._map(self.folder / name) for name in self._files]
        for name, (shard, row, rows) in self._places.items():
            if not (0 <= shard < shards and row >= 0 and rows > 0 and row + rows <= len(self._shards[shard])):
                raise StoreError(f"{index} sends {name!r} outside shard {shard}. {ADVICE}")

    def __len__(self) -> int:
        """Number of utterances that have an embedding."""
        return len(self._places)

    def __contains__(self, utterance_id: str) -> bool:
        return utterance_id in self._places

    def __getitem__(self, utterance_id: str) -> Tensor:
        """Embedding (D,), or (T, D) for frame resolution, in the stored dtype.

        Raises:
            StoreError: if the utterance has none, with the reason.
        """
        if utterance_id not in self._places:
            why = self.missing.get(utterance_id)
            reason = f"missing at {why.stage}: {why.reason}" if why else "not known to this store"
            raise StoreError(f"{self.folder} has no embedding for {utterance_id!r}: {reason}.")
        shard, row, rows = self._places[utterance_id]
        vectors = self._shards[shard][row : row + rows]
        return vectors if self.meta.resolution == "frame" else vectors[0]

    def matrix(self, utterance_ids: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Embeddings (N, D) as float32 in the given order, zero where missing, and presence (N,) as bool.

        Raises:
            StoreError: if the store holds sequences, or knows nothing of an id.
        """
        if self.meta.resolution != "utterance":
            raise StoreError(f"{self.folder} holds sequences of vectors; expected one vector per utterance.")
        self._refuse_unknown(utterance_ids)
        present = torch.tensor([name in self._places for name in utterance_ids], dtype=torch.bool)
        wanted: dict[int, tuple[list[int], list[int]]] = {}
        for place, name in enumerate(utterance_ids):
            if name in self._places:
                shard, row, _ = self._places[name]
                rows, places = wanted.setdefault(shard, ([], []))
                rows.append(row)
                places.append(place)
        # numpy's large arrays sit on huge pages, torch's do not: filling them costs a fifth of the time
        out = np.zeros((len(utterance_ids), self.meta.width), np.float32)
        for shard, (rows, places) in wanted.items():
            for start in range(0, len(rows), _BLOCK):
                block = torch.tensor(rows[start : start + _BLOCK])
                out[places[start : start + _BLOCK]] = self._shards[shard].index_select(0, block).float().numpy()
        return torch.from_numpy(out), present

    def require(self, manifest: Manifest) -> None:
        """Check that the store was made for ``manifest`` and accounts for each of its utterances.

        Raises:
            StoreError: if not, with what to do.
        """
        if self.meta.manifest_sha256 != manifest.sha256:
            raise StoreError(
                f"The store {self.folder} was made for the manifest {self.meta.manifest_sha256[:12]}… "
                f"({self.meta.corpus}), but it is used with {manifest.sha256[:12]}… ({manifest.corpus}). "
                "Extract again with `m2fnet extract --manifest` naming the manifest you use."
            )
        self._refuse_unknown([u.id for u in manifest.utterances])

    def verify(self) -> None:
        """Read every shard once and compare it with the hash taken when it was written.

        Opening does not do this: it would read all embeddings.

        Raises:
            StoreError: naming the file that changed.
        """
        for name in self._files:
            self._verify(name)

    def _verify(self, name: str) -> None:
        path = self.folder / name
        try:
            found = sha256_of(path)
        except OSError as problem:
            raise StoreError(f"Cannot read {path}: {problem}. {ADVICE}") from problem
        if found != self._hashes.get(name):
            raise StoreError(f"{path} is not as it was written: its SHA-256 differs from {META}. {ADVICE}")

    def _meta(self, content: dict[str, Any]) -> StoreMeta:
        meta = StoreMeta(**{f.name: content[f.name] for f in dataclasses.fields(StoreMeta)})
        known = (MODALITIES, get_args(Resolution), tuple(DTYPES))
        for value, expected in zip((meta.modality, meta.resolution, meta.dtype), known, strict=True):
            if value not in expected:
                raise StoreError(
                    f"{self.folder / META} says {value!r}, expected one of {', '.join(expected)}. {ADVICE}"
                )
        if not isinstance(meta.manifest_sha256, str) or not isinstance(meta.corpus, str):
            raise StoreError(f"{self.folder / META} does not name its manifest and corpus. {ADVICE}")
        return meta

    def _refuse_unknown(self, utterance_ids: Sequence[str]) -> None:
        unknown = [name for name in utterance_ids if name not in self._places and name not in self.missing]
        if unknown:
            raise StoreError(
                f"The store {self.folder} knows nothing of {len(unknown)} utterances, the first is {unknown[0]!r}. "
                f"{ADVICE}"
            )

    def _map(self, path: Path) -> Tensor:
        try:
            with safe_open(path, framework="pt") as file:
                vectors: Tensor = file.get_tensor(VECTORS)
        except (OSError, SafetensorError) as problem:
            raise StoreError(f"Cannot read {path}: {problem}. {ADVICE}") from problem
        if vectors.ndim != 2 or vectors.shape[1] != self.meta.width or vectors.dtype != DTYPES[self.meta.dtype]:
            raise StoreError(
                f"{path} holds {vectors.dtype} of shape {tuple(vectors.shape)}, expected {self.meta.dtype} "
                f"of width {self.meta.width}. {ADVICE}"
            )
        return vectors
