"""Extractions that are interrupted, shared by processes, repeated for what failed, and watched."""

import dataclasses
import errno
import os
import re
import signal
import subprocess
import sys

import pytest
import torch
from watched import MADE, Watched, ctrl_c, files, quickly

from extractors.extraction import lightning as predicting
from extractors.extraction import progress
from extractors.extraction.embedding import Loading
from extractors.extraction.extract import extract
from extractors.extraction.lightning import trainer_for
from extractors.extraction.progress import Progress
from m2fnet.cli import DONE, FAILED, INTERRUPTED, WRONG_USE, run
from m2fnet.errors import StoreError
from m2fnet.store import Missing, Store


def sigterm():
    os.kill(os.getpid(), signal.SIGTERM)


def our_defect():
    raise KeyError("our own")


@pytest.fixture
def whole(corpus, tmp_path):
    """The store of an extraction that nobody interrupted."""
    return quickly(Watched(broken={"dev0_1"}), corpus, tmp_path / "whole")


@pytest.mark.parametrize(
    ("stop", "raised"), [(ctrl_c, KeyboardInterrupt), (sigterm, KeyboardInterrupt), (our_defect, KeyError)]
)
def test_an_interrupted_extraction_goes_on_and_ends_like_an_uninterrupted_one(corpus, whole, tmp_path, stop, raised):
    out = tmp_path / "store"
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    first = Watched(broken={"dev0_1"}, at="dev0_0", stop=stop)
    with pytest.raises(raised):
        quickly(first, corpus, out)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers
    with pytest.raises(StoreError):
        Store(out)
    second = Watched(broken={"dev0_1"})
    quickly(second, corpus, out)
    assert set(first.seen) | set(second.seen) == {u.id for u in corpus.utterances}
    assert set(first.seen) & set(second.seen) <= {"train5_1", "train5_2", "dev0_0", "dev0_1"}  # the batch it was in
    assert files(out) == files(whole.folder)


def test_what_waits_to_be_written_is_written_when_a_run_is_stopped(corpus, tmp_path):
    loading = Loading(batch_size=4, workers=0)
    with pytest.raises(KeyboardInterrupt):
        extract(Watched(at="dev0_0", stop=ctrl_c), MADE, corpus, tmp_path / "s", loading=loading, save_every=1000)
    again = Watched()
    done = extract(again, MADE, corpus, tmp_path / "s", loading=loading)
    assert len(again.seen) == done.embedded == len(corpus.utterances) - 16
    assert done.resumed == 16


def test_a_full_disk_ends_the_run_in_one_sentence_and_the_next_one_goes_on(config, corpus, capsys, monkeypatch):
    command = ["extract", "--config", "tiny.yaml", "--manifest", str(corpus.root / "manifest"), "--batch-size", "4"]
    command += ["--save-every", "0"]
    assert run([*command, "--out", "whole"]) == DONE
    from m2fnet.store import parts, writer

    for module in (parts, writer):  # while it works, and while the store is put together
        written = iter(range(3 if module is parts else 0))
        save_file = module.save_file

        def until_full(*arguments, written=written, save_file=save_file, **more):
            if next(written, None) is None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return save_file(*arguments, **more)

        with monkeypatch.context() as patch:
            patch.setattr(module, "save_file", until_full)
            capsys.readouterr()
            assert run([*command, "--out", "store"]) == FAILED
            said = capsys.readouterr().err.splitlines()[-1]
            assert said.startswith(f"m2fnet extract: No space left on device: store{os.sep}")
    assert run([*command, "--out", "store"]) == DONE
    assert f"{len(corpus.utterances)} utterances were finished" in capsys.readouterr().out
    assert files(config.parent / "store") == files(config.parent / "whole")


def test_ctrl_c_says_what_to_do(config, corpus, capsys, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    command = ["extract", "--config", "tiny.yaml", "--manifest", str(corpus.root / "manifest"), "--out", "store"]
    with monkeypatch.context() as patch:
        patch.setattr(predicting.EmbeddingTask, "predict_step", stopped)
        assert run(command) == INTERRUPTED
    assert "the same command resumes" in capsys.readouterr().err
    assert run(command) == DONE


def test_another_extractor_is_refused_while_there_are_parts_or_starts_anew(corpus, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        quickly(Watched(at="dev0_0", stop=ctrl_c), corpus, tmp_path / "s")
    other = {"class_path": "other"}
    with pytest.raises(StoreError, match=r"extractor.class_path = 'toy_network.ToyNetwork', but now it is 'other'"):
        extract(Watched(), other, corpus, tmp_path / "s")
    fresh = Watched()
    store = extract(fresh, other, corpus, tmp_path / "s", overwrite=True).store
    assert len(fresh.seen) == len(store) == len(corpus.utterances)


def test_only_what_failed_is_tried_again_and_the_old_store_is_valid_meanwhile(corpus, tmp_path):
    out = tmp_path / "s"
    bad = {"dev0_1", "dev0_2", "train3_0"}
    old = quickly(Watched(broken=bad), corpus, out)
    assert old.cut["cut_letters"] == len(corpus.utterances) - 3
    with pytest.raises(KeyboardInterrupt):
        quickly(Watched(at="dev0_1", stop=ctrl_c), corpus, out, retry_failed=True)
    assert set(Store(out).missing) == bad
    mended = Watched(broken={"dev0_2"})
    new = quickly(mended, corpus, out, retry_failed=True)
    assert set(mended.seen) == {"dev0_1", "dev0_2"}  # the other was done before
    assert new.missing == {"dev0_2": Missing("decode", "no picture")}
    assert new.cut["cut_letters"] == len(corpus.utterances) - 1
    assert "cut_none" not in new.cut
    new.verify()
    assert all((new[u.id] == old[u.id]).all() for u in corpus.utterances if u.id in old)
    assert "dev0_1" in new


def test_trying_again_needs_a_finished_store_of_the_same_extractor(corpus, whole, tmp_path):
    for out, made in ((tmp_path / "none", MADE), (whole.folder, {"class_path": "other"})):
        with pytest.raises(StoreError, match="remove --retry-failed"):
            extract(Watched(), made, corpus, out, retry_failed=True)
    whole.require(corpus)


def test_the_command_tries_again_and_tells_what_was_cut(config, changed, capsys):
    assert changed(lambda u: u.id in {"dev0_0", "dev1_0"}, text=None)
    command = ["extract", "--config", "tiny.yaml", "--manifest", "changed", "--out", "store"]
    assert run([*command, "--max-failures", "1"]) == FAILED
    assert run([*command, "--max-failures", "1"]) == FAILED  # although there is nothing to do
    assert "nothing to do" in capsys.readouterr().out
    assert run([*command, "--retry-failed"]) == DONE
    assert "2 missing" in capsys.readouterr().out
    assert (config.parent / "store" / "index-1.jsonl").exists()
    assert run([*command, "--retry-failed", "--overwrite"]) == WRONG_USE


@pytest.mark.parametrize("options", [["--devices", "none"], ["--accelerator", "abacus"], ["--devices", "0"]])
def test_what_lightning_does_not_know_is_wrong_use(config, corpus, capsys, options):
    command = ["extract", "--config", "tiny.yaml", "--manifest", str(corpus.root / "manifest"), "--out", "store"]
    assert run([*command, "--accelerator", "cpu", *options]) == WRONG_USE
    assert " ".join(options) in capsys.readouterr().err


def test_quiet_prints_what_was_made_and_no_progress(config, corpus, capsys, monkeypatch):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    command = ["extract", "--config", "tiny.yaml", "--manifest", str(corpus.root / "manifest"), "--accelerator", "cpu"]
    assert run([*command, "--out", "quiet", "--quiet"]) == DONE
    quiet = capsys.readouterr()
    assert "utterances/s" not in quiet.err
    assert "embedded in quiet" in quiet.out
    assert run([*command, "--out", "loud"]) == DONE
    assert "utterances/s" in capsys.readouterr().err


def test_threads_hold_while_it_embeds(config, corpus, monkeypatch):
    seen, before = [], torch.get_num_threads()
    monkeypatch.setattr("extractors.extraction.extract.tidy", lambda _: seen.append(torch.get_num_threads()))
    command = ["extract", "--config", "tiny.yaml", "--manifest", str(corpus.root / "manifest"), "--accelerator", "cpu"]
    for _ in range(2):  # a finished store is tidied up
        assert run([*command, "--out", "store", "--threads", str(before + 1)]) == DONE
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


@pytest.mark.slow  # two processes have to import torch
@pytest.mark.parametrize("launcher", [[], ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]])
def test_two_processes_write_the_same_store_as_one(config, changed, launcher, capfd):
    assert changed(lambda u: u.id == "dev0_0", text=None)
    command = ["extract", "--config", "tiny.yaml", "--manifest", "changed", "--accelerator", "cpu", "--batch-size", "4"]
    assert run([*command, "--out", "one"]) == DONE
    two = [sys.executable, *launcher, "-m", "m2fnet.cli", *command, "--out", "two", "--devices", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(two, capture_output=True, text=True, timeout=300, cwd=config.parent, env=environment)
    assert done.returncode == DONE, done.stderr
    assert done.stdout.count("1 missing") == 1
    assert files(config.parent / "two") == files(config.parent / "one")


def test_without_a_terminal_a_line_tells_how_far_it_is(corpus, tmp_path, capsys):
    utterances = tuple(dataclasses.replace(u, start_s=1.0, end_s=3.0) for u in corpus.utterances)
    timed = dataclasses.replace(corpus, utterances=utterances).save(tmp_path / "timed")
    trainer = trainer_for()
    trainer.callbacks.append(Progress(line_every=0))
    quickly(Watched(broken={"train0_0"}), timed, tmp_path / "s", trainer=trainer)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 8  # one per batch
    line = r"text: 28 of 30 utterances, .* utterances/s, 00:\d\d left, [\d.]+ x real time, 1 missing"
    assert re.fullmatch(line, lines[6])


def test_a_terminal_gets_a_bar(corpus, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    quickly(Watched(), corpus, tmp_path / "s", progress=True)
    bar = capsys.readouterr().err
    assert "30/30" in bar
    assert "0 missing" in bar
    assert "real time" not in bar  # the manifest does not know how long anything is
