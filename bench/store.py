"""The embedding store against plain files: write, open, read all in order and shuffled, from disk and from memory.

Baselines: the same bytes in one file (numpy), one .npy file per utterance, and one dict saved by torch. Reading
"from disk" first asks the system to forget its cached pages of the files.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from _table import Row, finish, parser

from m2fnet.manifest import Manifest
from m2fnet.records import LabelSet, Utterance
from m2fnet.store import Store, StoreWriter

WIDTH = 1024
REPEATS = 3


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--folder", type=Path, help="where the files go (default: the system's temporary folder)")
    args = arguments.parse_args()
    count = 10_000 if args.quick else 100_000
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        finish(measure(Path(name), count), args)


def measure(folder: Path, count: int) -> list[Row]:
    """All rows for ``count`` vectors; speeds in MiB/s of embeddings."""
    vectors = torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(0))
    utterances = tuple(Utterance(f"u{n}", "bench", "train", f"d{n // 10}", n % 10, label="a") for n in range(count))
    manifest = Manifest("bench", LabelSet("bench", ("a", "b")), utterances).save(folder / "manifest")
    ids = [u.id for u in utterances]
    shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(1)).tolist()
    shuffled_ids = [ids[n] for n in shuffled]
    size = vectors.nbytes / 2**20
    raw, singles, saved, store = folder / "raw.bin", folder / "singles", folder / "dict.pt", folder / "store"

    written = size / timed(lambda: write_store(store, manifest, vectors))
    raw_written = size / timed(lambda: write_raw(raw, vectors))
    singles_written = size / timed(lambda: write_singles(singles, ids, vectors))
    dict_written = size / timed(lambda: write_dict(saved, ids, vectors))

    opened = best(lambda: Store(store))
    # what our store is compared with: a dictionary that this script has just saved itself
    dict_opened = best(lambda: torch.load(saved, weights_only=True))
    opened_store = Store(store)

    def raw_read() -> None:
        np.fromfile(raw, np.float32).reshape(count, WIDTH)

    def raw_shuffled() -> None:
        np.memmap(raw, np.float32, "r", shape=(count, WIDTH))[shuffled]

    def singles_shuffled() -> None:
        np.stack([np.load(singles / f"{name}.npy") for name in shuffled_ids])

    from_disk = size / best(lambda: opened_store.matrix(ids), forget=store)
    raw_from_disk = size / best(raw_read, forget=raw)
    in_order = size / best(lambda: opened_store.matrix(ids))
    raw_in_order = size / best(raw_read)
    mixed = size / best(lambda: opened_store.matrix(shuffled_ids))
    raw_mixed = size / best(raw_shuffled)
    singles_mixed = size / best(singles_shuffled)
    on_disk = sum(path.stat().st_size for path in store.iterdir()) / 2**20
    checked = size / best(opened_store.verify)
    sample = shuffled_ids[:5000]
    one = best(lambda: [opened_store[name] for name in sample]) / len(sample) * 1e6
    one_single = best(lambda: [np.load(singles / f"{name}.npy") for name in sample]) / len(sample) * 1e6

    return [
        Row(f"write {count:,} x {WIDTH}, vs one raw file", "MiB/s", written, raw_written),
        Row("write, vs one .npy per utterance", "MiB/s", written, singles_written),
        Row("write, vs a dict saved by torch", "MiB/s", written, dict_written),
        Row("open, vs loading a dict saved by torch", "s", opened, dict_opened, larger_is_better=False),
        Row("read all from disk, vs one raw file", "MiB/s", from_disk, raw_from_disk),
        Row("read all from memory, vs one raw file", "MiB/s", in_order, raw_in_order),
        Row("read all shuffled, vs one raw file mapped", "MiB/s", mixed, raw_mixed),
        Row("read all shuffled, vs one .npy per utterance", "MiB/s", mixed, singles_mixed),
        Row("read one vector, vs its own .npy", "us", one, one_single, larger_is_better=False),
        Row("size on disk, vs the bare numbers", "MiB", on_disk, size, larger_is_better=False),
        Row("verify every hash", "MiB/s", checked),
    ]


def write_store(folder: Path, manifest: Manifest, vectors: torch.Tensor) -> None:
    with StoreWriter(folder, manifest, modality="text", width=WIDTH, extractor={"class": "bench"}) as writer:
        for utterance, vector in zip(manifest.utterances, vectors, strict=True):
            writer.add(utterance.id, vector)


def write_raw(path: Path, vectors: torch.Tensor) -> None:
    with path.open("wb") as file:
        vectors.numpy().tofile(file)
        os.fsync(file.fileno())


def write_singles(folder: Path, ids: list[str], vectors: torch.Tensor) -> None:
    folder.mkdir()
    for name, vector in zip(ids, vectors.numpy(), strict=True):
        np.save(folder / f"{name}.npy", vector)
    os.sync()


def write_dict(path: Path, ids: list[str], vectors: torch.Tensor) -> None:
    with path.open("wb") as file:
        torch.save({name: vector.clone() for name, vector in zip(ids, vectors, strict=True)}, file)
        file.flush()
        os.fsync(file.fileno())


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def best(work: Callable[[], object], forget: Path | None = None) -> float:
    """Seconds of the fastest of a few runs, each from disk if the files to ``forget`` are given."""
    seconds = []
    for _ in range(REPEATS):
        if forget is not None:
            forget_pages(forget)
        seconds.append(timed(work))
    return min(seconds)


def forget_pages(path: Path) -> None:
    for file in path.iterdir() if path.is_dir() else [path]:
        handle = os.open(file, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


if __name__ == "__main__":
    main()
