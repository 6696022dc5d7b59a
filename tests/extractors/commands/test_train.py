"""`m2fnet extractor` for networks: fit, resume, test, extract, and what is refused."""

import dataclasses
import json
import pickle
import re

import pytest
import torch
import yaml

from m2fnet.cli import DONE, FAILED, WRONG_USE, run
from m2fnet.runs.checkpoints import checkpoint_file, read_checkpoint
from m2fnet.store import Store

TOY = {
    "seed_everything": 1,
    "trainer": {"accelerator": "cpu", "max_epochs": 3, "enable_progress_bar": False, "enable_model_summary": False},
    "data": {"batch_size": 6, "in_memory": True},
    "model": {
        "net": {"class_path": "toy_network.ToyNetwork", "init_args": {"width": 6, "alphabet": "alphabet.txt"}},
        "losses": {"cross_entropy": 1.0},
        "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.02}},
    },
}


@pytest.fixture
def extractor(corpus, tmp_path, monkeypatch):
    """``extractor("fit", "--data.per_class", "2")`` runs the command for the toy network in the run folder ``run``."""
    monkeypatch.setenv("M2FNET_TRUST", "toy_network")
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alphabet.txt").write_text("aeioutrg!,", encoding="utf-8")
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(TOY), encoding="utf-8")

    def call(command, *options, into="run", manifest=corpus.root / "manifest"):
        where = ["--run", str(tmp_path / into), "--data.manifest", str(manifest)]
        return run(["extractor", command, "--config", "toy.yaml", *where, *options])

    return call


def checkpoint(run_folder, name="best"):
    return read_checkpoint(checkpoint_file(run_folder, name))


def equal(left, right):
    left, right = left["state_dict"], right["state_dict"]
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def report_of(folder):
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def test_fit_test_and_extract_without_what_the_network_was_made_from(extractor, corpus, tmp_path, capsys):
    assert extractor("fit") == DONE, capsys.readouterr().err
    (tmp_path / "alphabet.txt").unlink()
    assert extractor("test") == DONE, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "1-NN" in printed
    assert "extract --ckpt" in printed
    report = report_of(tmp_path / "run")
    assert set(report["embeddings"]["test"]) == {"head", "nearest", "probe"}
    assert report["test"]["weighted_f1"] == pytest.approx(report["embeddings"]["test"]["head"])
    assert report["modalities"] == ["text"]
    command = ["extract", "--ckpt", "run", "--manifest", str(corpus.root / "manifest"), "--out", "store"]
    assert run(command) == DONE, capsys.readouterr().err
    meta = Store(tmp_path / "store").meta
    assert (meta.width, len(Store(tmp_path / "store"))) == (6, len(corpus.utterances))
    assert meta.extractor["init_args"]["alphabet"] == "alphabet.txt"
    assert (meta.extractor["seed"], meta.extractor["trained_on"]) == (1, corpus.sha256)
    assert run(command) == DONE
    assert "nothing to do" in capsys.readouterr().out


def test_a_loaded_extractor_embeds_like_the_one_that_was_judged(extractor, corpus, tmp_path):
    assert extractor("fit") == DONE
    assert run(["extract", "--ckpt", "run", "--manifest", str(corpus.root / "manifest"), "--out", "store"]) == DONE
    store = Store(tmp_path / "store")
    utterances = [u for u in corpus.utterances if u.split == "dev"]
    head = {name: checkpoint(tmp_path / "run")["state_dict"][f"head.{name}"] for name in ("weight", "bias")}
    expected = [int(torch.nn.functional.linear(store[u.id], **head).argmax()) for u in utterances]
    assert extractor("test") == DONE
    rows = [json.loads(line) for line in (tmp_path / "run" / "predictions_dev.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [u.id for u in utterances]
    assert [row["predicted"] for row in rows] == [corpus.label_set.classes[number] for number in expected]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(extractor, tmp_path):
    noisy = ("--model.net.dropout", "0.5", "--data.per_class", "2", "--model.mining", "random", "--model.mixup", "0.4")
    assert extractor("fit", *noisy, into="a") == extractor("fit", *noisy, into="b") == DONE
    assert extractor("fit", *noisy, "--seed_everything", "2", into="c") == DONE
    assert equal(checkpoint(tmp_path / "a", "last"), checkpoint(tmp_path / "b", "last"))
    assert not equal(checkpoint(tmp_path / "a", "last"), checkpoint(tmp_path / "c", "last"))


def test_an_interrupted_run_resumes_and_ends_like_an_uninterrupted_one(extractor, tmp_path, capsys):
    # a schedule over three epochs is another one than over one
    steady = ("--model.warmup", "0", "--model.net.dropout", "0.5", "--model.mixup", "0.4")
    assert extractor("fit", *steady, into="whole") == DONE
    assert extractor("fit", *steady, "--trainer.max_epochs", "1", into="cut") == DONE
    (tmp_path / "cut" / "fit.json").unlink()  # as if it had been killed after its first epoch
    config = tmp_path / "cut" / "config.yaml"
    config.write_text(config.read_text().replace("max_epochs: 1", "max_epochs: 3"))
    (tmp_path / "alphabet.txt").unlink()  # what the network was made from is not asked for again
    assert extractor("fit", *steady, into="cut") == DONE
    assert "Resuming" in capsys.readouterr().out
    assert equal(checkpoint(tmp_path / "cut", "last"), checkpoint(tmp_path / "whole", "last"))


def test_fit_never_looks_at_test(extractor, changed, tmp_path):
    other = changed(lambda u: u.split == "test", text=None, label=None)
    assert other.sha256
    assert extractor("fit", into="a") == extractor("fit", into="b", manifest=tmp_path / "changed") == DONE
    assert equal(checkpoint(tmp_path / "a"), checkpoint(tmp_path / "b"))


@pytest.mark.parametrize("in_memory", ["true", "false"])
def test_what_cannot_be_read_is_left_out_counted_and_named_once(extractor, changed, tmp_path, capsys, in_memory):
    mute = {"train0_0", "train3_1", "dev1_2"}
    assert changed(lambda u: u.id in mute, text=None)
    assert extractor("fit", "--data.in_memory", in_memory, manifest=tmp_path / "changed") == DONE
    assert set(json.loads((tmp_path / "run" / "unreadable.json").read_text())) == mute
    printed = capsys.readouterr().out
    assert printed.count("3 utterances could not be read") == printed.count("there is no transcript") == 1
    assert extractor("test", "--data.in_memory", in_memory, manifest=tmp_path / "changed") == DONE
    report = report_of(tmp_path / "run")
    assert (report["dev"]["n"], report["test"]["n"], report["missing"]) == (5, 6, 3)
    assert extractor("fit", "--data.in_memory", in_memory, "--overwrite") == DONE
    assert not (tmp_path / "run" / "unreadable.json").exists()


@pytest.mark.parametrize("in_memory", ["true", "false"])
def test_what_is_cut_is_counted(extractor, corpus, tmp_path, capsys, in_memory):
    marks = sum(u.text.count("!") for u in corpus.utterances if u.label is not None)
    assert marks > 0
    assert extractor("fit", "--data.in_memory", in_memory) == extractor("test", "--data.in_memory", in_memory) == DONE
    assert f": {marks} cut marks." in capsys.readouterr().out
    assert report_of(tmp_path / "run")["cut"] == {"cut_marks": marks}


@pytest.mark.parametrize("in_memory", ["true", "false"])
@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_split_without_anything_readable_fails_in_one_message(extractor, changed, tmp_path, capsys, in_memory, split):
    assert changed(lambda u: u.split == split, text=None)
    code = extractor("fit", "--data.in_memory", in_memory, manifest=tmp_path / "changed")
    error = capsys.readouterr().err
    assert code == FAILED
    assert split in error
    assert "Traceback" not in error


@pytest.mark.parametrize("scorer", ["head", "nearest", "probe"])
def test_the_score_that_is_asked_for_selects_the_epoch(extractor, tmp_path, scorer):
    assert extractor("fit", "--model.scorer", scorer) == extractor("test", "--model.scorer", scorer) == DONE
    with (tmp_path / "run/logs/version_0/metrics.csv").open() as file:
        names, *rows = [line.strip().split(",") for line in file]
    epochs = [dict(zip(names, row, strict=True)) for row in rows]
    chosen = [float(row[f"dev/{scorer}_f1"]) for row in epochs if row[f"dev/{scorer}_f1"]]
    fitted = json.loads((tmp_path / "run/fit.json").read_text())
    assert fitted["dev.weighted_f1"] == pytest.approx(max(chosen), abs=1e-6)
    assert fitted["epoch"] == 1 + chosen.index(max(chosen))


def test_scoring_by_the_head_only_embeds_no_training_utterance(extractor, tmp_path):
    assert extractor("fit", "--data.references", "0") == extractor("test", "--data.references", "0") == DONE
    assert set(report_of(tmp_path / "run")["embeddings"]["test"]) == {"head"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.net.widht", "3"], "model.net: there is no setting 'widht'|--model.net.widht"),
        (["--model.net.init_args.width", "0"], "model.net: Expected a width of at least 1, but got 0"),
        (["--model.losses.triplet", "-1"], "model.losses of at least 0"),
        (["--model.losses.contrastive", "1"], "contrastive"),
        (["--model.mining", "easy"], "model.mining: expected semi-hard, hard, random, all, but got 'easy'"),
        (["--model.scorer", "test"], "model.scorer: expected head, nearest, probe, but got 'test'"),
        (["--model.scorer", "probe", "--data.references", "0"], "data.references above 0"),
        (["--model.balance", "0"], r"a model\.balance above 0, but got None, 0.0"),
        (["--model.mixup", "-1"], r"a model\.mixup of at least 0, but got -1\.0"),
        (
            ["--model.mixup", "0.2", "--model.losses.cross_entropy", "0"],
            "taken of, but model.losses.cross_entropy is 0",
        ),
        (["--model.warmup", "1.5"], r"model.warmup .* \[0, 1\)"),
        (["--data.batch_size", "0"], "data.batch_size is 0, expected at least 1"),
        (["--data.per_class", "4"], "data.per_class: Expected batches of at least two classes"),
        (["--trainer.max_epochs", "-1", "--model.decay", "linear"], "set trainer.max_epochs or max_steps"),
        (["--model.net", "extractors.text.lsa.LSA"], "LSA"),
        (["--model.net", "subprocess.Popen"], "subprocess"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line_that_names_it(extractor, capsys, options, message):
    assert extractor("fit", *options) == WRONG_USE
    error = [line for line in capsys.readouterr().err.splitlines() if "Seed set" not in line]
    assert len(error) == 1
    assert re.search(message, error[0])


def test_a_configuration_cannot_name_foreign_classes(extractor, tmp_path, capsys):
    content = {**TOY, "model": {**TOY["model"], "net": "subprocess.getoutput"}}
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    assert extractor("fit") == WRONG_USE
    assert "outside the trusted packages" in capsys.readouterr().err


def test_a_manifest_with_several_emotions_per_utterance_is_refused(extractor, corpus, tmp_path, capsys):
    label_set = dataclasses.replace(corpus.label_set, kind="multi")
    dataclasses.replace(corpus, label_set=label_set).save(tmp_path / "multi")
    assert extractor("fit", manifest=tmp_path / "multi") == WRONG_USE
    assert "one emotion per utterance" in capsys.readouterr().err


class Bomb:
    def __reduce__(self):
        return (print, ("exploded",))


@pytest.mark.parametrize("damage", ["pickle", "cut", "empty", "absent", "other network"])
def test_damaged_weights_fail_in_one_message_and_execute_nothing(extractor, corpus, tmp_path, capsys, damage):
    assert extractor("fit") == DONE
    weights = tmp_path / "run" / "checkpoints" / "best.ckpt"
    if damage == "pickle":
        weights.write_bytes(pickle.dumps({"state_dict": Bomb()}))
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:500])
    elif damage == "empty":
        weights.write_bytes(b"")
    elif damage == "absent":
        weights.unlink()
    else:
        torch.save({"state_dict": {"net.other": torch.zeros(1)}, "manifest_sha256": ""}, weights)
    capsys.readouterr()
    command = ["extract", "--ckpt", "run", "--manifest", str(corpus.root / "manifest"), "--out", "store"]
    assert run(command) == FAILED
    printed = capsys.readouterr()
    assert "best.ckpt" in printed.err
    assert "exploded" not in printed.out + printed.err


def test_a_run_whose_configuration_was_turned_hostile_is_not_loaded(extractor, corpus, tmp_path, capsys):
    assert extractor("fit") == DONE
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("toy_network.ToyNetwork", "os.getpid"))  # outside the trusted packages
    assert run(["extract", "--ckpt", "run", "--manifest", str(corpus.root / "manifest"), "--out", "s"]) == WRONG_USE
    assert "os.getpid" in capsys.readouterr().err


def test_extracting_with_the_configuration_of_a_network_says_to_train_it(extractor, corpus, capsys):
    manifest = str(corpus.root / "manifest")
    assert run(["extract", "--config", "toy.yaml", "--manifest", manifest, "--out", "s"]) == WRONG_USE
    assert "m2fnet extractor fit" in capsys.readouterr().err


def test_a_run_with_a_renamed_setting_goes_on_under_its_name_of_today(extractor, corpus, tmp_path, capsys):
    assert extractor("fit", "--model.as_printed", "[covariance]") == DONE
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("as_printed:", "literal:"), encoding="utf-8")
    assert "literal:" in config.read_text()
    assert extractor("fit", "--model.as_printed", "[covariance]") == DONE
    assert "is trained already" in capsys.readouterr().out
    assert run(["extractor", "test", "--config", "run/config.yaml"]) == DONE, capsys.readouterr().err
    assert run(["extract", "--ckpt", "run", "--manifest", str(corpus.root / "manifest"), "--out", "store"]) == DONE
