"""Write a store: shards as they fill, index and meta at the end."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TextIO

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from m2fnet.errors import StoreError
from m2fnet.files import json_line, read_json, replaced, sha256_of, write_json
from m2fnet.manifest import Manifest
from m2fnet.manifest.lookup import ABSENT, Lookup
from m2fnet.store.layout import (
    FORMAT,
    META,
    VECTORS,
    Missing,
    Outcome,
    Resolution,
    StoreMeta,
    generation_of,
    index_name,
    shard_name,
)

_FILES = ("shard-*.safetensors", "index*.jsonl", ".tmp-*")


class StoreWriter:
    """Embeddings in, a store out; use it as a context manager.

    Every utterance of ``manifest`` must be given once, to `add` or to `add_missing`, before the block ends.
    An error inside the block leaves the shards written so far and no ``meta.json``: such a folder is not a store. A
    store that is replaced stays valid until the block ends.

    Args:
        folder: where the store goes.
        manifest: the saved manifest whose utterances are embedded.
        modality: ``"text"``, ``"audio"`` or ``"visual"``.
        width: length D of every vector.
        extractor: class, settings and weights hash of the network that makes the embeddings.
        resolution: one vector per utterance, or a sequence of vectors.
        dtype: stored number type: ``float32``, ``float16`` or ``bfloat16``.
        shard_bytes: a shard is closed when it holds at least this much.
        replaces: whether ``folder`` may hold a store already.
        cut: how much the extractor has cut from utterances so far, summed by kind; `put` adds to it.
        media_sha256: hash of the media files that the embeddings are made from, to detect that one was replaced.

    Raises:
        StoreError: if ``folder`` already holds a store, or a setting is not one of the above.

    Example:
        >>> import tempfile
        >>> from m2fnet.records import LabelSet, Utterance
        >>> folder = Path(tempfile.mkdtemp())
        >>> said = tuple(Utterance(f"a_{n}", "own", "train", "a", n, text="Oh.") for n in range(2))
        >>> manifest = Manifest("own", LabelSet("own", ("joy", "anger")), said).save(folder / "data")
        >>> with StoreWriter(folder / "text", manifest, modality="text", width=2, extractor={}) as writer:
        ...     writer.add("a_0", torch.tensor([1.0, 2.0]))
        ...     writer.add_missing("a_1", Missing("text", "there is no transcript"))
        >>> sorted(path.name for path in (folder / "text").iterdir())
        ['index.jsonl', 'meta.json', 'shard-00000.safetensors']
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        *,
        modality: str,
        width: int,
        extractor: dict[str, object],
        resolution: Resolution = "utterance",
        dtype: str = "float32",
        shard_bytes: int = 256 * 2**20,
        replaces: bool = False,
        cut: Mapping[str, int] | None = None,
        media_sha256: str | None = None,
    ) -> None:
        self.meta = StoreMeta.of(
            manifest, modality=modality, width=width, extractor=extractor, resolution=resolution, dtype=dtype
        )
        if (folder / META).exists() and not replaces:
            raise StoreError(f"{folder} already holds a store; choose another folder, or remove this one first.")
        self.folder = folder
        self.media_sha256 = media_sha256
        self.cut = Counter(cut or {})
        self._manifest = manifest
        self._expected = Lookup.of(u.id for u in manifest.utterances)
        self._seen = np.zeros(len(self._expected), bool)
        self._hashes: dict[str, str] = {}
        self._missing: dict[str, Missing] = {}
        self._index: TextIO | None = None  # between `__enter__` and `__exit__`
        self._count = 0
        self._pending: list[tuple[str, Tensor]] = []
        self._pending_bytes = 0
        self._shard = 0
        self._shard_bytes = shard_bytes
        folder.mkdir(parents=True, exist_ok=True)
        present = sweep(folder)
        self._generation = generation_of(present) + 1 if present else 0
        self._open_index = ExitStack()

    def add(self, utterance_id: str, embedding: Tensor) -> None:
        """Store ``embedding``, (D,) or for frame resolution (T >= 1, D).

        Raises:
            StoreError: for an unknown or repeated id, a wrong shape, NaN or infinity (also after rounding to dtype).
        """
        self._take(utterance_id)
        rows = self.meta.rows(utterance_id, embedding)
        self._pending.append((utterance_id, rows))
        self._pending_bytes += rows.nbytes
        if self._pending_bytes >= self._shard_bytes:
            self._write_shard()

    def add_missing(self, utterance_id: str, missing: Missing) -> None:
        """Record that an utterance has no embedding, and why."""
        self._take(utterance_id)
        self._missing[utterance_id] = missing

    def put(self, outcome: Outcome) -> None:
        """Store an utterance's embedding or record why it is missing, and count how much was cut from it."""
        if isinstance(outcome.result, Missing):
            self.add_missing(outcome.id, outcome.result)
        else:
            self.add(outcome.id, outcome.result)
        self.cut.update(outcome.cut)

    def __enter__(self) -> "StoreWriter":
        temporary = self._open_index.enter_context(replaced(self.folder / index_name(self._generation)))
        self._index = self._open_index.enter_context(temporary.open("w", encoding="utf-8", newline="\n"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._open_index.__exit__(kind, error, trace)
            return
        with self._open_index:
            self._write_rest()
        self._finish()

    def _take(self, utterance_id: str) -> None:
        place = self._expected.place(utterance_id)
        if place == ABSENT:
            raise StoreError(f"Utterance {utterance_id!r} is not in the manifest this store is written for.")
        if self._seen[place]:
            raise StoreError(f"Utterance {utterance_id!r} was already added to {self.folder}.")
        self._seen[place] = True

    def _write_shard(self) -> None:
        assert self._index is not None, "the writer is used as a context manager"
        ids = [name for name, _ in self._pending]
        row = 0
        for name, rows in self._pending:
            self._index.write(json_line({"id": name, "shard": self._shard, "row": row, "rows": len(rows)}))
            row += len(rows)
        self._count += len(ids)
        vectors = torch.cat([rows for _, rows in self._pending])
        path = self.folder / shard_name(self._shard, self._generation)
        with replaced(path) as temporary:
            save_file({VECTORS: vectors}, temporary, metadata={"ids": json.dumps(ids)})
        self._hashes[path.name] = sha256_of(path)
        self._pending, self._pending_bytes = [], 0
        self._shard += 1

    def _write_rest(self) -> None:
        forgotten = np.flatnonzero(~self._seen)
        if len(forgotten):
            raise StoreError(
                f"{len(forgotten)} utterances of the manifest were neither embedded nor recorded as missing, "
                f"the first is {self._manifest.utterances[forgotten[0]].id!r}."
            )
        if self._pending:
            self._write_shard()

    def _finish(self) -> None:
        index = self.folder / index_name(self._generation)
        self._hashes[index.name] = sha256_of(index)
        write_json(
            self.folder / META,
            {
                "format": FORMAT,
                **dataclasses.asdict(self.meta),
                **({"media_sha256": self.media_sha256} if self.media_sha256 else {}),
                "shards": self._shard,
                "count": self._count,
                "cut": dict(sorted(self.cut.items())),
                "sha256": self._hashes,
                "missing": [{"id": name, **dataclasses.asdict(m)} for name, m in sorted(self._missing.items())],
            },
        )
        sweep(self.folder)


def sweep(folder: Path) -> list[str]:
    """Remove the leftovers of a killed writer or a replaced store from ``folder``.

    Returns:
        The files of the store that is there, none if there is none that can be read.
    """
    try:
        present = list(read_json(folder / META, StoreError, "")["sha256"])
        generation_of(present)
    except (StoreError, KeyError, TypeError, ValueError):
        present = []
    for pattern in _FILES:
        for leftover in folder.glob(pattern):
            if leftover.name not in present:
                leftover.unlink(missing_ok=True)  # nobody can read it: no meta.json names it
    return present
