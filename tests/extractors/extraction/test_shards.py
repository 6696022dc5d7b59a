"""Extractions that the jobs of an array share: the merged store is the one of a single process."""

import json
import shutil

import pytest
from watched import MADE, Watched, ctrl_c, files, quickly

from extractors.extraction.embedding import Loading
from extractors.extraction.extract import extract
from m2fnet.cli import DONE, FAILED, WRONG_USE, run
from m2fnet.errors import StoreError, UsageError
from m2fnet.manifest import Manifest
from m2fnet.store import Store
from m2fnet.store.shards import Shard, merge_shards

OF = 3


def sharded(extractor, corpus, out, number, of=OF):
    return extract(
        extractor, MADE, corpus, out, loading=Loading(batch_size=4, workers=0), save_every=0, shard=Shard(number, of)
    )


@pytest.fixture
def whole(corpus, tmp_path):
    return quickly(Watched(broken={"dev0_1"}), corpus, tmp_path / "whole")


@pytest.fixture
def shards(corpus, tmp_path):
    """The folder of a store whose shards are done, the last one first."""
    for number in range(OF, 0, -1):
        sharded(Watched(broken={"dev0_1"}), corpus, tmp_path / "store", number)
    return tmp_path / "store"


def test_merged_shards_are_the_store_of_one_process(corpus, whole, shards):
    assert len(merge_shards(shards, corpus)) == len(whole)
    assert files(shards) == files(whole.folder)
    with pytest.raises(StoreError, match="has no shards"):
        merge_shards(shards, corpus)


def test_every_utterance_is_embedded_once_by_all_shards_together(corpus, tmp_path):
    extractors = [Watched() for _ in range(OF)]
    for number, extractor in enumerate(extractors, start=1):
        assert sharded(extractor, corpus, tmp_path / "store", number).embedded == sum(extractor.seen.values())
    seen = sum((extractor.seen for extractor in extractors), start=type(extractors[0].seen)())
    assert set(seen.values()) == {1}
    assert len(seen) == len(corpus.utterances)
    assert min(len(extractor.seen) for extractor in extractors) > 0


def test_an_interrupted_shard_goes_on_where_it_was(corpus, whole, tmp_path):
    out = tmp_path / "store"
    sharded(first := Watched(broken={"dev0_1"}), corpus, tmp_path / "other", 1)
    names = list(first.seen)
    with pytest.raises(KeyboardInterrupt):
        sharded(Watched(broken={"dev0_1"}, at=names[-1], stop=ctrl_c), corpus, out, 1)
    with pytest.raises(StoreError, match=r"2 of 3 shards of .* are absent"):
        merge_shards(out, corpus)
    for number in range(2, OF + 1):
        sharded(Watched(broken={"dev0_1"}), corpus, out, number)
    with pytest.raises(StoreError, match=r"utterances are in no shard of .*, such as"):
        merge_shards(out, corpus)
    again = sharded(resumed := Watched(broken={"dev0_1"}), corpus, out, 1)
    assert again.resumed == len(names) - len(resumed.seen) > 0
    merge_shards(out, corpus)
    assert files(out) == files(whole.folder)


def test_shards_that_do_not_belong_together_are_refused(corpus, shards):
    job = shards / ".shards" / "2-of-3" / ".parts" / "job.json"
    content = json.loads(job.read_text(encoding="utf-8"))
    job.write_text(json.dumps({**content, "dtype": "float16"}), encoding="utf-8")
    with pytest.raises(StoreError, match=r"Shard 2/3 .* has another dtype than shard 1"):
        merge_shards(shards, corpus)
    shutil.copytree(shards / ".shards" / "1-of-3", shards / ".shards" / "1-of-2")
    with pytest.raises(StoreError, match="has shards of 2, 3; expected one number"):
        merge_shards(shards, corpus)


def test_a_merge_that_was_killed_before_it_tidied_up_is_done(corpus, shards, whole):
    shutil.copytree(shards / ".shards", shards.parent / "kept")
    merge_shards(shards, corpus)
    shutil.copytree(shards.parent / "kept", shards / ".shards")
    merge_shards(shards, corpus)
    assert files(shards) == files(whole.folder)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", "1/1000000000"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(UsageError, match="expected one of 1/N to N/N"):
        Shard.parse(text)


def test_the_commands_make_the_same_store(config, corpus, capsys):
    manifest = str(corpus.root / "manifest")
    command = ["extract", "--config", "tiny.yaml", "--manifest", manifest, "--out"]
    assert run([*command, "whole"]) == DONE
    for number in ("2/2", "1/2"):
        assert run([*command, "store", "--shard", number, "--batch-size", "8"]) == DONE
    assert f"m2fnet store merge store --manifest {manifest}" in capsys.readouterr().out
    assert run(["store", "merge", "store", "--manifest", manifest]) == DONE
    assert len(Store("store")) == len(Manifest.load(manifest).utterances)
    assert run([*command, "store", "--shard", "1/2"]) == DONE
    assert "nothing to do" in capsys.readouterr().out
    assert run(["store", "merge", "nowhere", "--manifest", manifest]) == FAILED
    assert run([*command, "store", "--shard", "1/2", "--overwrite"]) == WRONG_USE
