"""Parts of unfinished stores: what is kept, what is refused, who may write."""

import errno
import os
import subprocess
import sys

import pytest
import torch

from m2fnet.errors import StoreError
from m2fnet.files import locked
from m2fnet.manifest import Manifest
from m2fnet.records import LabelSet, Utterance
from m2fnet.store import Missing, Store, StoreWriter
from m2fnet.store.layout import Outcome, StoreMeta
from m2fnet.store.parts import Parts, PartWriter, drop_parts, open_parts, tidy

NAMES = tuple(f"u{n}" for n in range(6))


@pytest.fixture
def manifest(tmp_path):
    utterances = tuple(Utterance(name, "toy", "train", "d", n) for n, name in enumerate(NAMES))
    return Manifest("toy", LabelSet("toy", ("joy", "anger")), utterances).save(tmp_path / "manifest")


@pytest.fixture
def meta(manifest):
    return described(manifest)


def described(manifest, **changes):
    return StoreMeta.of(manifest, **{"modality": "text", "width": 2, "extractor": {"class": "toy"}, **changes})


def vector(n):
    return torch.tensor([float(n), 0.5])


def write_store(folder, manifest, **options):
    with StoreWriter(folder, manifest, modality="text", width=2, extractor={"class": "toy"}, **options) as writer:
        for n, name in enumerate(NAMES):
            writer.add(name, vector(n))


@pytest.mark.parametrize("resolution", ["utterance", "frame"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_flushed_is_there_for_the_next_run(tmp_path, manifest, resolution, dtype):
    meta = described(manifest, resolution=resolution, dtype=dtype)
    open_parts(tmp_path, meta)
    writer = PartWriter(tmp_path, meta)
    one, two = (vector(n).to(getattr(torch, dtype)) for n in (1, 2))
    if resolution == "frame":
        one, two = torch.stack([one, two, one]), two[None]
    writer.add([Outcome("u1", one, {"cut_samples": 3}), Outcome("u2", Missing("decode", "no picture"))])
    writer.add([Outcome("u3", two)])
    assert len(Parts([tmp_path], meta)) == 0
    writer.flush()
    parts = open_parts(tmp_path, meta)
    assert len(parts) == 3
    assert torch.equal(parts["u1"].result, one)
    assert torch.equal(parts["u3"].result, two)
    assert parts["u1"].cut == {"cut_samples": 3}
    assert parts["u2"].result == Missing("decode", "no picture")
    assert "u4" not in parts


@pytest.mark.parametrize("limit", [{"utterances": 2}, {"seconds": 0.0}, {"size": 16}])
def test_a_part_is_written_when_a_limit_is_reached(tmp_path, meta, limit):
    open_parts(tmp_path, meta)
    writer = PartWriter(tmp_path, meta, **limit)
    writer.add([Outcome("u0", vector(0)), Outcome("u1", vector(1))])
    assert len(Parts([tmp_path], meta)) == 2


def test_an_embedding_that_no_store_takes_is_refused_at_once(tmp_path, meta):
    open_parts(tmp_path, meta)
    with pytest.raises(StoreError, match=r"'u0' holds NaN or infinity"):
        PartWriter(tmp_path, meta).add([Outcome("u0", torch.tensor([0.0, float("nan")]))])


def test_a_full_disk_loses_only_what_was_not_written(tmp_path, meta, monkeypatch):
    open_parts(tmp_path, meta)
    writer = PartWriter(tmp_path, meta, seconds=0.0)
    writer.add([Outcome("u0", vector(0))])

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("m2fnet.store.parts.save_file", full)
        with pytest.raises(OSError, match="No space left"):
            writer.add([Outcome("u1", vector(1))])
    assert set(NAMES) & {name for name in NAMES if name in Parts([tmp_path], meta)} == {"u0"}
    writer.flush()  # there is room again
    assert torch.equal(Parts([tmp_path], meta)["u1"].result, vector(1))
    assert not list((tmp_path / ".parts").glob(".tmp-*"))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"dtype": "float16"}, "dtype"),
        ({"extractor": {"class": "other"}}, "extractor.class"),
        ({"width": 3}, "width"),
    ],
)
def test_parts_of_another_job_are_refused_or_discarded(tmp_path, manifest, meta, changes, key):
    open_parts(tmp_path, meta)
    writer = PartWriter(tmp_path, meta)
    writer.add([Outcome("u0", vector(0))])
    writer.flush()
    other = described(manifest, **changes)
    with pytest.raises(StoreError, match=rf"interrupted run with {key} = .*--out.*--overwrite"):
        open_parts(tmp_path, other)
    assert "u0" in open_parts(tmp_path, meta)
    assert "u0" not in open_parts(tmp_path, other, discard_others=True)


def test_damaged_parts_and_those_of_a_process_that_outlived_its_job_count_as_not_done(tmp_path, manifest, meta):
    open_parts(tmp_path, meta)
    writers = [PartWriter(tmp_path, meta) for _ in range(3)]
    for n, writer in enumerate(writers[:2]):
        writer.add([Outcome(f"u{n}", vector(n))])
        writer.flush()
    victim = next(path for path in (tmp_path / ".parts").glob("*.safetensors"))
    victim.write_bytes(victim.read_bytes()[:-4])
    (tmp_path / ".parts" / ".tmp-x.safetensors").write_text("half")
    assert len(open_parts(tmp_path, meta)) == 1
    assert len(list((tmp_path / ".parts").iterdir())) == 2  # the job and the whole part
    other = described(manifest, dtype="float16")
    open_parts(tmp_path, other, discard_others=True)
    writers[2].add([Outcome("u2", vector(2))])
    writers[2].flush()
    assert len(open_parts(tmp_path, other)) == 0


def test_parts_of_a_store_that_is_finished_are_of_no_use_any_more(tmp_path, manifest, meta):
    open_parts(tmp_path, meta)
    writer = PartWriter(tmp_path, meta)
    writer.add([Outcome("u0", vector(0))])
    writer.flush()
    write_store(tmp_path, manifest)
    tidy(tmp_path)
    assert {path.name for path in tmp_path.iterdir() if path.name != "manifest"} == {
        "meta.json",
        "index.jsonl",
        "shard-00000.safetensors",
    }


def test_parts_that_will_replace_a_store_are_not_tidied_away(tmp_path, manifest, meta):
    write_store(tmp_path, manifest)
    open_parts(tmp_path, meta)
    writer = PartWriter(tmp_path, meta)
    writer.add([Outcome("u0", vector(0))])
    writer.flush()
    tidy(tmp_path)
    assert "u0" in open_parts(tmp_path, meta)
    drop_parts(tmp_path)
    assert not (tmp_path / ".parts").exists()


def test_a_store_stays_valid_until_the_one_that_replaces_it_is_whole(tmp_path, manifest):
    store = tmp_path / "s"
    write_store(store, manifest)

    def replace_half():
        with StoreWriter(
            store, manifest, modality="text", width=2, extractor={"class": "new"}, replaces=True, shard_bytes=1
        ) as writer:
            writer.add("u0", vector(7))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_half()
    old = Store(store)
    old.verify()
    assert torch.equal(old["u0"], vector(0))
    for expected in ("index-1.jsonl", "index-2.jsonl"):
        write_store(store, manifest, replaces=True, shard_bytes=16)
        Store(store).verify()
        generation = expected[6]
        assert {path.name for path in store.iterdir()} == {
            "meta.json",
            expected,
            *(f"shard-{generation}-0000{n}.safetensors" for n in range(3)),
        }
    assert torch.equal(old["u0"], vector(0))  # an open store can still be read


HOLD = """
import sys, time
from pathlib import Path
from m2fnet.errors import StoreError
from m2fnet.files import locked
with locked(Path(sys.argv[1]), StoreError):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_by_name_until_the_first_is_dead(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "locked\n"
        with (
            pytest.raises(StoreError, match=rf"is locked by process {holder.pid} on "),
            locked(tmp_path, StoreError),
        ):
            pass
        holder.kill()
    with locked(tmp_path, StoreError):
        assert (tmp_path / ".lock").read_text().startswith(f"{os.getpid()} on ")
    assert not list(tmp_path.iterdir())
