"""Manifest -> store, by function and by command: what is missing, what fails, what is done only once."""

import dataclasses
import os
import signal

import pytest
from tiny_clips import MEL, fitted
from toy_network import ToyNetwork

from extractors.base import PlacedUtterance
from extractors.extraction.embedding import Loading
from extractors.extraction.extract import extract
from extractors.extraction.lightning import trainer_for
from extractors.text.lsa import LSA
from m2fnet.cli import run
from m2fnet.errors import RunError, StoreError
from m2fnet.store import Missing, Store


def test_unreadable_utterances_are_missing_with_their_reason(corpus, changed, tmp_path):
    (corpus.root / "words.mp4").write_text("no film")
    extractor, made_with = fitted(MEL, corpus, tmp_path / "run"), {"class_path": MEL}
    other = changed(lambda u: u.id == "dev0_0", audio="words.mp4")
    other = dataclasses.replace(
        other, utterances=tuple(dataclasses.replace(u, audio=None) if u.id == "dev0_1" else u for u in other.utterances)
    ).save(tmp_path / "changed")
    done = extract(extractor, made_with, other, tmp_path / "store", loading=Loading(workers=2))
    store = done.store
    assert (done.embedded, done.resumed, done.kept) == (len(corpus.utterances), 0, 0)
    assert set(store.missing) == {"dev0_0", "dev0_1"}
    assert store.missing["dev0_0"].stage == "open"
    assert store.missing["dev0_1"] == Missing("audio", "the manifest names no sound")
    assert store.meta.extractor == made_with
    store.require(other)


class Broken(LSA):
    """Has a defect at one utterance."""

    def preprocess(self, placed: PlacedUtterance):
        if placed.utterance.id == "dev1_0":
            raise KeyError("our own defect")
        return super().preprocess(placed)


class Dying(LSA):
    """Its worker is killed at one utterance."""

    def preprocess(self, placed: PlacedUtterance):
        if placed.utterance.id == "dev1_0":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().preprocess(placed)


@pytest.mark.parametrize("workers", [0, 1])
def test_our_own_defects_are_not_swallowed(workers, corpus, tmp_path):
    extractor = Broken(width=4)
    extractor.fit([{"text": text} for text in ("one two three", "two three four")] * 3)
    with pytest.raises(KeyError) as caught:
        extract(extractor, {}, corpus, tmp_path / "store", loading=Loading(workers=workers))
    assert "dev1_0" in str(caught.value) + "".join(getattr(caught.value, "__notes__", []))
    with pytest.raises(StoreError):
        Store(tmp_path / "store")


@pytest.mark.slow  # torch looks after its workers only every few seconds
def test_a_killed_worker_ends_the_extraction(corpus, tmp_path):
    extractor = Dying(width=4)
    extractor.fit([{"text": text} for text in ("one two three", "two three four")] * 3)
    with pytest.raises(RunError, match="worker process died"):
        extract(extractor, {}, corpus, tmp_path / "store", loading=Loading(batch_size=2, workers=1))
    with pytest.raises(StoreError):
        Store(tmp_path / "store")


def test_extract_fits_once_and_writes_once(config, corpus, capsys):
    command = ["extract", "--config", "tiny.yaml", "--manifest", str(corpus.root / "manifest"), "--out", "store"]
    assert run(command) == 0
    assert "fitting" in capsys.readouterr().out
    assert len(Store("store")) == len(corpus.utterances)
    assert run(command) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run(["extract", "--ckpt", "runs/tiny/seed-0", *command[3:]]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run([*command, "--model.net.width", "4", "--run", "runs/tiny/seed-0"]) == 2
    assert "was trained with model.net.init_args.width = 8, but now it is 4" in capsys.readouterr().err
    assert run(command) == 0  # the fit that was there is still there
    assert "fitting" not in capsys.readouterr().out
    assert run([*command, "--model.net.width", "4"]) == 1  # in a run folder that other settings name
    said = capsys.readouterr()
    assert "already holds a store" in said.err
    assert "fitting" not in said.out  # refused before that
    assert run([*command, "--model.net.width", "4", "--overwrite"]) == 0
    assert "fitting" in capsys.readouterr().out
    assert Store("store").meta.width == 4


def test_overwriting_fits_again_what_was_fitted_on_other_data(config, changed, capsys):
    command = ["extract", "--config", "tiny.yaml", "--manifest", "changed", "--out", "store"]
    assert changed(lambda u: u.id == "train0_0", text="other words")
    assert run(command) == 0
    before = Store("store").meta.extractor
    assert changed(lambda u: u.id == "train0_0", text="quite other words")
    assert run(command) == 2
    assert "was trained on other data" in capsys.readouterr().err
    assert run([*command, "--overwrite"]) == 0
    assert "fitting" in capsys.readouterr().out
    assert Store("store").meta.extractor["fitted_on"] != before["fitted_on"]


def test_a_network_is_not_trained_by_an_extraction(config, corpus, capsys):
    command = ["extract", "--manifest", str(corpus.root / "manifest"), "--out", "store"]
    assert run([*command, "--config", "conf/extractors/audio_mel.yaml"]) == 2
    assert "has to be trained first: run `m2fnet extractor fit --config" in capsys.readouterr().err


def test_max_failures_decides_the_exit_code(config, changed, capsys):
    manifest = changed(lambda u: u.id == "dev0_0", text=None)
    assert manifest.sha256
    folder = str(config.parent / "changed")
    command = ["extract", "--config", "tiny.yaml", "--manifest", folder, "--overwrite"]
    assert run([*command, "--out", "a", "--max-failures", "1"]) == 0
    assert "1  text: there is no transcript" in capsys.readouterr().out
    assert run([*command, "--out", "b", "--max-failures", "0"]) == 1


def test_less_precision_is_nearly_the_same_and_written_down(corpus, tmp_path):
    net = ToyNetwork(width=4).eval()
    stores = {
        name: extract(net, {}, corpus, tmp_path / name, precision=name).store for name in ("32-true", "bf16-mixed")
    }
    ids = [u.id for u in corpus.utterances]
    (exact, _), (rounded, _) = (store.matrix(ids) for store in stores.values())
    assert not exact.equal(rounded)
    assert rounded.sub(exact).abs().max() < 0.05 * exact.abs().max()
    assert [store.meta.extractor for store in stores.values()] == [{}, {"precision": "bf16-mixed"}]


def test_a_store_of_other_precision_is_not_taken_for_it(config, corpus):
    command = ["extract", "--config", "tiny.yaml", "--manifest", str(corpus.root / "manifest"), "--out", "store"]
    assert run([*command, "--precision", "32-true"]) == 0
    assert run([*command, "--precision", "bf16-mixed"]) == 1
    assert run([*command, "--precision", "bf16-mixed", "--overwrite"]) == 0
    assert Store("store").meta.extractor["precision"] == "bf16-mixed"


@pytest.mark.parametrize("victim", ["index.jsonl", "shard-00000.safetensors", "meta.json"])
def test_a_damaged_store_is_refused_and_can_be_replaced(config, corpus, capsys, victim):
    command = ["extract", "--config", "tiny.yaml", "--manifest", str(corpus.root / "manifest"), "--out", "store"]
    assert run(command) == 0
    (config.parent / "store" / victim).write_text("{")
    assert run(command) == 1
    assert "--overwrite replaces existing files" in capsys.readouterr().err
    assert run([*command, "--overwrite"]) == 0
    assert len(Store("store")) == len(corpus.utterances)


def test_a_trainer_can_be_used_for_several_stores(corpus, tmp_path):
    trainer, net = trainer_for(), ToyNetwork(width=4)
    for name in ("one", "two"):
        extract(net, {}, corpus, tmp_path / name, loading=Loading(workers=0), trainer=trainer)
    assert trainer.callbacks == trainer_for().callbacks == []
    assert {path.name for path in (tmp_path / "one").iterdir()} == {path.name for path in (tmp_path / "two").iterdir()}


def test_a_store_whose_media_were_replaced_is_not_taken_for_done(corpus, changed, tmp_path):
    copy = tmp_path / "words.mp4"
    clip = next(u.audio for u in corpus.utterances if u.audio)
    copy.write_bytes((corpus.root / clip).read_bytes())
    moved = dataclasses.replace(
        corpus,
        root=tmp_path,
        utterances=tuple(dataclasses.replace(u, audio="words.mp4") for u in corpus.utterances[:4]),
    ).save(tmp_path / "manifest")
    extractor, made_with = fitted(MEL, corpus, tmp_path / "run"), {"class_path": MEL}
    assert extract(extractor, made_with, moved, tmp_path / "store").embedded == 4
    assert extract(extractor, made_with, moved, tmp_path / "store").embedded == 0
    copy.write_bytes(copy.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreError, match="media files have been replaced since they were made"):
        extract(extractor, made_with, moved, tmp_path / "store")
    assert extract(extractor, made_with, moved, tmp_path / "store", overwrite=True).embedded == 4
