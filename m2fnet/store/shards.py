"""Shards of a store: each job of an array embeds one, on any machine, and a merge makes the store of them.

Until then the folder of the store has ``.shards/3-of-64/.parts/``, the parts of each shard, which are as those of an
interrupted run, and ``.shards/precision``, that of the first shard, which the others follow. A job that is killed
resumes when it is started again.
"""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from m2fnet.errors import StoreError, UsageError
from m2fnet.files import locked, read_json, temporary_folder
from m2fnet.manifest import Manifest
from m2fnet.store.layout import META, StoreMeta
from m2fnet.store.parts import FOLDER as PARTS
from m2fnet.store.parts import JOB, Parts, write_store
from m2fnet.store.reader import Store

FOLDER = ".shards"
_MOST = 100_000
_Work = TypeVar("_Work")


@dataclass(frozen=True)
class Shard:
    """One of several equal shares of the work.

    Attributes:
        number: from 1.
        of: how many there are.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The shard that is written as ``3/64``.

        Raises:
            UsageError: if it is not one of 1/N to N/N.

        Example:
            >>> Shard.parse("3/64")
            Shard(number=3, of=64)
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
        if found is None or not 1 <= int(found[1]) <= int(found[2]) <= _MOST:
            raise UsageError(f"The shard is {text!r}, expected one of 1/N to N/N, such as 3/64.")
        return cls(int(found[1]), int(found[2]))

    def folder(self, store: Path) -> Path:
        """Where its parts are kept until the merge."""
        return store / FOLDER / f"{self.number}-of-{self.of}"

    def share(self, work: list[_Work]) -> list[_Work]:
        """What of ``work``, a list that is the same on all machines, is done in this shard.

        Example:
            >>> [Shard(number, 2).share(["a", "b", "c"]) for number in (1, 2)]
            [['a', 'c'], ['b']]
        """
        return work[self.number - 1 :: self.of]


def agreed(store: Path, name: str, own: str) -> str:
    """``own``, or what another shard of ``store`` has said under this ``name`` before; so all say the same."""
    place = store / FOLDER / name
    place.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(place.parent) as folder:
        (folder / name).write_text(own, encoding="utf-8")
        try:
            place.hardlink_to(folder / name)  # of several at the same time one is the first
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            if not place.exists():
                (folder / name).replace(place)
    return place.read_text(encoding="utf-8")


def merge_shards(store: Path, manifest: Manifest) -> Store:
    """Make the store of its shards; it is byte-identical to one that a single process has made.

    Raises:
        StoreError: if a shard is absent or unfinished, or they are of different extractors, manifests or settings.
    """
    if (store / META).is_file():
        if not (store / FOLDER).exists():
            raise StoreError(f"{store} is a finished store and has no shards; there is nothing to merge.")
        merged = Store(store)
        merged.require(manifest)
        shutil.rmtree(store / FOLDER)  # an earlier merge was ended just before this
        return merged
    shards = _shards(store)
    meta = _meta(store, shards, manifest)
    with locked(store, StoreError):
        finished = Parts((shard.folder(store) for shard in shards), meta)
        left = [utterance.id for utterance in manifest.utterances if utterance.id not in finished]
        if left:
            raise StoreError(
                f"{len(left)} of {len(manifest.utterances)} utterances are in no shard of {store}, such as {left[0]}; "
                "expected all shards to be finished, with the same --batch-size. Start those again that were ended."
            )
        write_store(store, manifest, meta, finished.__getitem__)
        shutil.rmtree(store / FOLDER)
    return Store(store)


def _shards(store: Path) -> list[Shard]:
    """All shards of ``store``."""
    names = [path.name for path in (store / FOLDER).glob("*-of-*") if (path / PARTS / JOB).is_file()]
    found = sorted((Shard.parse(name.replace("-of-", "/")) for name in names), key=lambda shard: shard.number)
    if not found:
        raise StoreError(f"{store} has no shards; expected those of `m2fnet extract --shard 1/N --out {store}`.")
    if len({shard.of for shard in found}) > 1:
        counts = ", ".join(map(str, sorted({shard.of for shard in found})))
        raise StoreError(
            f"{store} has shards of {counts}; expected one number. Remove the others from {store / FOLDER}."
        )
    absent = sorted(set(range(1, found[0].of + 1)) - {shard.number for shard in found})
    if absent:
        named = ", ".join(f"{number}/{found[0].of}" for number in absent[:5])
        raise StoreError(f"{len(absent)} of {found[0].of} shards of {store} are absent ({named}); run them first.")
    return found


def _meta(store: Path, shards: list[Shard], manifest: Manifest) -> StoreMeta:
    """The facts that all shards have in common."""
    jobs = [read_json(shard.folder(store) / PARTS / JOB, StoreError, "Run that shard again.") for shard in shards]
    first = jobs[0]
    for shard, job in zip(shards, jobs, strict=True):
        different = [key for key in {**first, **job} if first.get(key) != job.get(key)]
        if different:
            raise StoreError(
                f"Shard {shard.number}/{shard.of} of {store} has another {different[0]} than shard 1; expected the "
                "same command and the same versions of the packages for all. Run it again."
            )
    first.pop("replaces", None)
    try:
        meta = StoreMeta(**json.loads(json.dumps(first)))
    except TypeError as problem:
        raise StoreError(f"The shards of {store} are damaged ({problem}). Run them again.") from problem
    if meta.manifest_sha256 != manifest.sha256:
        raise StoreError(
            f"The shards of {store} are of the manifest {meta.manifest_sha256[:12]}…, expected "
            f"{manifest.sha256[:12]}…; name the manifest that they were made of."
        )
    return meta
