"""The finished parts of an unfinished store, put together when all are there.

Until then a store's folder also has::

    .lock                      the process that writes
    .parts/job.json            the facts of the store to be, and which store it will replace
    .parts/*.safetensors       "vectors" (rows, D), and in the file's metadata the outcome of each utterance and the
                               SHA-256 of the job

A part is whole or not there, so a rerun resumes after the last part, however the run before it ended.
"""

import dataclasses
import json
import shutil
import time
import uuid
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from m2fnet.errors import StoreError
from m2fnet.files import LOCK, locked, read_json, replaced, sha256_of, write_json
from m2fnet.manifest import Manifest
from m2fnet.manifest.lookup import ABSENT, Lookup, hash_of
from m2fnet.store.layout import DTYPES, META, VECTORS, Missing, Outcome, StoreMeta
from m2fnet.store.media import media_sha256
from m2fnet.store.reader import Store
from m2fnet.store.writer import StoreWriter, sweep

FOLDER = ".parts"
JOB = "job.json"
_JOB, _OUTCOMES = "job", "outcomes"


def open_parts(store: Path, meta: StoreMeta, *, discard_others: bool = False) -> "Parts":
    """The parts of an interrupted run that belong to the store that ``meta`` describes; only under `locked`.

    Args:
        store: folder of the store.
        meta: the facts of its ``meta.json``.
        discard_others: remove parts of another extractor, manifest or number type instead of refusing them.

    Raises:
        StoreError: naming what is different.
    """
    folder = store / FOLDER
    job = json.loads(json.dumps({**dataclasses.asdict(meta), "replaces": _sha256_of_meta(store)}))
    found = _read_job(folder)
    if found is None or found.get("replaces") != job["replaces"]:
        drop_parts(store)  # no whole job, or one that was finished
    elif found != job:
        if not discard_others:
            raise _other_job(store, found, job)
        drop_parts(store)
    for leftover in folder.glob(".tmp-*"):
        leftover.unlink(missing_ok=True)
    write_json(folder / JOB, job)
    return Parts([store], meta)


def extractor_of_parts(store: Path) -> Mapping[str, object]:
    """What makes the embeddings of an interrupted run whose parts ``store`` has; empty where there is none."""
    found = (_read_job(store / FOLDER) or {}).get("extractor")
    return found if isinstance(found, dict) else {}


def write_store(
    store: Path,
    manifest: Manifest,
    meta: StoreMeta,
    finished: Callable[[str], Outcome],
    *,
    old: Store | None = None,
) -> None:
    """Write the store that ``meta`` describes, its utterances dialogue by dialogue; only under `locked`.

    Args:
        store: its folder.
        manifest: the utterances.
        meta: the facts of its ``meta.json``.
        finished: utterance id -> its outcome.
        old: the store that is replaced, whose embeddings are taken over instead.
    """

    def is_embedded(name: str) -> bool:
        return (old is not None and name in old) or not isinstance(finished(name).result, Missing)

    with StoreWriter(
        store,
        manifest,
        modality=meta.modality,
        width=meta.width,
        extractor=meta.extractor,
        resolution=meta.resolution,
        dtype=meta.dtype,
        replaces=True,
        cut=old.cut if old is not None else None,
        media_sha256=media_sha256(manifest, meta.modality, is_embedded),
    ) as writer:
        for name in (utterance.id for dialogue in manifest.dialogues() for utterance in dialogue):
            writer.put(Outcome(name, old[name]) if old is not None and name in old else finished(name))


def drop_parts(store: Path) -> None:
    """Remove all parts; they have become a store, or are of no use."""
    (store / FOLDER / JOB).unlink(missing_ok=True)  # first: without it the others are ignored
    shutil.rmtree(store / FOLDER, ignore_errors=True)


def tidy(store: Path) -> None:
    """Remove the leftovers of a run that was killed after its store was finished; parts for another store stay.

    Raises:
        StoreError: if another process is writing into the folder.
    """
    if not any((store / name).exists() for name in (FOLDER, LOCK)):
        return
    with locked(store, StoreError):
        sweep(store)
        job = _read_job(store / FOLDER)
        if job is None or job.get("replaces") != _sha256_of_meta(store):
            drop_parts(store)


class _Entry(TypedDict):
    """The outcome of an utterance in the metadata of a part: rows, or stage and reason."""

    id: str
    rows: NotRequired[int]
    stage: NotRequired[str]
    reason: NotRequired[str]
    cut: NotRequired[dict[str, int]]


class PartWriter:
    """Writes the outcomes of one process into parts.

    A part is written when something is added and the limits below are reached, so a kill costs at most that much work.

    Args:
        store: folder of the store, for which `open_parts` has been called in one of the processes.
        meta: the facts of the store's ``meta.json``.
        utterances: most utterances that wait to be written.
        seconds: longest time that one waits, if others follow.
        size: most bytes that wait to be written.
    """

    def __init__(
        self, store: Path, meta: StoreMeta, *, utterances: int = 1024, seconds: float = 30.0, size: int = 256 * 2**20
    ) -> None:
        self.folder, self.meta = store / FOLDER, meta
        self.utterances, self.seconds, self.size = utterances, seconds, size
        self._job = sha256_of(self.folder / JOB)
        self._start_part()

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Take outcomes that were finished together; they go into the same part.

        Raises:
            StoreError: for an embedding that the store would refuse.
        """
        checked = [
            o if isinstance(o.result, Missing) else dataclasses.replace(o, result=self.meta.rows(o.id, o.result))
            for o in outcomes
        ]
        self._pending += checked
        waiting = sum(o.result.nbytes for o in self._pending if isinstance(o.result, Tensor))
        is_late = time.monotonic() - self._since >= self.seconds
        if len(self._pending) >= self.utterances or waiting >= self.size or is_late:
            self.flush()

    def flush(self) -> None:
        """Write the waiting outcomes."""
        if self._pending:
            vectors = [o.result for o in self._pending if isinstance(o.result, Tensor)]
            empty = torch.empty(0, self.meta.width, dtype=DTYPES[self.meta.dtype])
            about = {_JOB: self._job, _OUTCOMES: json.dumps([_as_json(o) for o in self._pending])}
            with replaced(self._path) as temporary:
                save_file({VECTORS: torch.cat([empty, *vectors])}, temporary, metadata=about)
        self._start_part()

    def _start_part(self) -> None:
        self._pending: list[Outcome] = []  # with rows (T, D) as results
        self._since = time.monotonic()
        # not numbered: a process that outlived its run must not write over the parts of the next one
        self._path = self.folder / f"{uuid.uuid4().hex}.safetensors"


class Parts:
    """The outcomes of the utterances that are in parts, by utterance id; about 40 bytes of memory for each.

    A part that cannot be read, as after a power cut, or that belongs to another job, is removed; its utterances count
    as not done.

    Args:
        stores: folders of the store, or of its shards.
        meta: the facts of the store's ``meta.json``.
    """

    def __init__(self, stores: Iterable[Path], meta: StoreMeta) -> None:
        self._meta = meta
        self._files: list[Path] = []
        self._notes: dict[int, _Entry] = {}  # of what is missing or cut
        self._vectors = lru_cache(maxsize=256)(_vectors)  # parts are mapped, not read: opening one again costs little
        hashes, places = array("q"), array("q")
        for store in stores:
            job = sha256_of(store / FOLDER / JOB)
            for path in sorted((store / FOLDER).glob("*.safetensors")):
                try:
                    entries = _read_part(path, meta, job)
                except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError):
                    path.unlink()
                    continue
                row = 0
                for entry in entries:
                    if entry.keys() > {"id", "rows"} or "rows" not in entry:
                        self._notes[len(hashes)] = entry
                    rows = entry.get("rows", 0)
                    hashes.append(hash_of(entry["id"]))
                    places.extend((len(self._files), row, rows))
                    row += rows
                self._files.append(path)
        self._lookup = Lookup(np.frombuffer(hashes, np.int64))
        self._places = np.frombuffer(places, np.int64).reshape(-1, 3)

    def __len__(self) -> int:
        return len(self._lookup) - len(self._lookup.repeated())

    def __contains__(self, utterance_id: str) -> bool:
        return utterance_id in self._lookup

    def __getitem__(self, utterance_id: str) -> Outcome:
        place = self._lookup.place(utterance_id)
        if place == ABSENT:
            raise KeyError(utterance_id)
        entry: Mapping[str, Any] = self._notes.get(place, {})
        cut = entry.get("cut", {})
        if "stage" in entry:
            return Outcome(utterance_id, Missing(entry["stage"], entry["reason"]), cut)
        file, row, rows = self._places[place].tolist()
        vectors = self._vectors(self._files[file])[row : row + rows]
        return Outcome(utterance_id, vectors if self._meta.resolution == "frame" else vectors[0], cut)


def _as_json(outcome: Outcome) -> dict[str, object]:
    cut = {"cut": dict(outcome.cut)} if any(outcome.cut.values()) else {}
    if isinstance(outcome.result, Missing):
        return {"id": outcome.id, **dataclasses.asdict(outcome.result), **cut}
    return {"id": outcome.id, "rows": len(outcome.result), **cut}


def _read_part(path: Path, meta: StoreMeta, job: str) -> list[_Entry]:
    """The outcomes in the part at ``path``, in the order of their rows."""
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
        entries: list[_Entry] = json.loads(about[_OUTCOMES])
        shape = file.get_slice(VECTORS).get_shape()
    rows = sum(entry.get("rows", 0) for entry in entries)
    if about[_JOB] != job or list(shape) != [rows, meta.width] or not all(isinstance(e["id"], str) for e in entries):
        raise ValueError(f"{path} is of another job, or not as it was written")
    return entries


def _vectors(path: Path) -> Tensor:
    """Vectors of a part, mapped from disk."""
    with safe_open(path, framework="pt") as file:
        vectors: Tensor = file.get_tensor(VECTORS)
    return vectors


def _sha256_of_meta(store: Path) -> str | None:
    return sha256_of(store / META) if (store / META).is_file() else None


def _read_job(folder: Path) -> dict[str, object] | None:
    try:
        return read_json(folder / JOB, StoreError, "")
    except StoreError:
        return None


def _other_job(store: Path, found: dict[str, object], job: dict[str, object]) -> StoreError:
    before, now = _flat(found), _flat(job)
    key = next(key for key in {**now, **before} if before.get(key) != now.get(key))
    return StoreError(
        f"{store} holds the parts of an interrupted run with {key} = {before.get(key)!r}, but now it is "
        f"{now.get(key)!r}. Repeat that run's command to finish it, name another folder with --out, or start again "
        "with --overwrite."
    )


def _flat(job: dict[str, object]) -> dict[str, object]:
    """The job with the settings of its extractor as ``extractor.<setting>``."""
    settings = job.get("extractor")
    nested = settings.items() if isinstance(settings, dict) else ()
    return {key: value for key, value in job.items() if key != "extractor"} | {f"extractor.{k}": v for k, v in nested}
