import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import yaml
from sklearn.metrics import f1_score
from tiny_corpus import WIDTHS, tiny_manifest, with_other_test_labels, write_stores

from dialog.task import DialogueTask
from m2fnet.cli import DONE, FAILED, WRONG_USE, run
from m2fnet.formatting import one_command
from m2fnet.records import LEAK, Defect
from m2fnet.runs.checkpoints import read_checkpoint


@pytest.fixture
def dialog(tiny_config, tmp_path, monkeypatch):
    """``dialog("fit", "--data.batch_size", "2")`` runs the command on the tiny corpus in the run folder ``run``."""
    monkeypatch.setattr("sys.argv", ["m2fnet"])

    def call(command, *options, config=tiny_config, into="run"):
        return run(["dialog", command, "--config", str(config), "--run", str(tmp_path / into), *options])

    return call


def weights(run_folder, name="best"):
    return read_checkpoint(run_folder / "checkpoints" / f"{name}.ckpt")["state_dict"]


def equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_fit_then_test_writes_a_report_that_scikit_learn_agrees_with(dialog, tmp_path, capsys):
    assert dialog("fit") == DONE
    assert dialog("test") == DONE
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    rows = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert set(rows[0]) == {"id", "dialogue", "label", "predicted", "probabilities"}
    labels, predicted = [row["label"] for row in rows], [row["predicted"] for row in rows]
    assert report["test"]["weighted_f1"] == pytest.approx(f1_score(labels, predicted, average="weighted"), abs=1e-6)
    assert report["test"]["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"), abs=1e-6)
    assert report["test"]["n"] == len(rows)
    assert not [key for key in report if "." in key]  # every score is in the report once
    assert all(sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5) for row in rows)
    assert all(max(row["probabilities"], key=row["probabilities"].get) == row["predicted"] for row in rows)
    assert report["seed"] == 3
    assert report["modalities"] == ["text", "audio", "visual"]
    assert set(report["per_dialogue"]) == {row["dialogue"] for row in rows}
    assert report["test"]["weighted_f1"] > report["test"]["majority_weighted_f1"]
    fitted = json.loads((tmp_path / "run" / "fit.json").read_text())
    assert report["dev"]["weighted_f1"] == pytest.approx(fitted["dev.weighted_f1"], abs=1e-6)  # torchmetrics = sklearn
    assert (tmp_path / "run" / "confusion.png").stat().st_size > 1000
    assert "majority class" in capsys.readouterr().out


def test_utterances_in_two_splits_are_named_when_they_are_loaded(dialog, tiny, capsys):
    leak = Defect("leak: same recording", tuple(f"test-{n}-0" for n in range(4)), "kept; scores are flattered", LEAK)
    shutil.rmtree(tiny / "manifest")
    replace(tiny_manifest(), defects=(leak, Defect("clip missing", ("dev-0-0",), "text kept"))).save(tiny / "manifest")
    expected = "leak: same recording: 4 utterances (test-0-0, test-1-0, test-2-0, …); kept; scores are flattered\n"
    for command in ("fit", "test"):
        assert dialog(command) == DONE
        printed = capsys.readouterr().out
        assert expected in printed
        assert "clip missing" not in printed
    with one_command():  # such as `m2fnet demo`, which runs others
        assert dialog("fit", "--overwrite") == dialog("test") == DONE
    assert capsys.readouterr().out.count(expected) == 1


def test_predict_is_suggested_only_if_every_store_has_an_extractor(dialog, tiny, tmp_path, capsys):
    assert dialog("fit", "--trainer.max_epochs", "1") == DONE
    assert dialog("test", "--trainer.max_epochs", "1") == DONE
    printed = capsys.readouterr().out
    assert printed.endswith(f"Next: m2fnet report {tmp_path / 'run'}\n")
    assert "m2fnet predict" not in printed
    made_with = {"class_path": "extractors.text.lsa.LSA", "init_args": {}, "weights_sha256": "0" * 64}
    for name in WIDTHS:
        meta = json.loads((tiny / name / "meta.json").read_text())
        (tiny / name / "meta.json").write_text(json.dumps({**meta, "extractor": made_with}))
    assert dialog("fit", "--trainer.max_epochs", "1", "--overwrite") == DONE
    assert dialog("test", "--trainer.max_epochs", "1") == DONE
    assert f"m2fnet predict CLIP --model {tmp_path / 'run'}\n" in capsys.readouterr().out


def test_a_single_callback_needs_no_list(dialog, tmp_path):
    one = "pytorch_lightning.callbacks.LearningRateMonitor"
    assert dialog("fit", "--trainer.callbacks", one, "--trainer.max_epochs", "1") == DONE
    assert "lr-" in next((tmp_path / "run" / "logs").rglob("metrics.csv")).read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trainer.devices", "[0,1]"], "trainer.devices is [0, 1], a choice of GPUs, but torch finds none"),
        (["--trainer.precision", "16-mixed"], "trainer.precision is 16-mixed, which needs a GPU"),
        (["--trainer.accelerator", "gpu"], "trainer: No supported gpu backend found!"),
    ],
)
def test_what_only_a_gpu_has_is_refused_by_a_sentence(dialog, options, message, tmp_path, capsys):
    assert dialog("fit", *options) == WRONG_USE
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_is_never_logged_is_refused_before_anything_is_trained(dialog, tmp_path, capsys):
    stop = ("--trainer.callbacks", "pytorch_lightning.callbacks.EarlyStopping")
    assert dialog("fit", *stop, "--trainer.callbacks.monitor", "val_loss") == WRONG_USE
    expected = "EarlyStopping monitors 'val_loss', which is never logged; expected one of dev/accuracy, dev/loss, dev/m"
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "run" / "config.yaml").exists()
    plateau = ("--model.scheduler", "pytorch_lightning.cli.ReduceLROnPlateau", "--model.scheduler.monitor")
    assert dialog("fit", *plateau, "dev/lost") == WRONG_USE
    assert "model.scheduler monitors 'dev/lost', which is never logged" in capsys.readouterr().err
    assert dialog("fit", *plateau, "dev/weighted_f1") == WRONG_USE
    assert "with mode 'min', so it would lower the learning rate while that score improves" in capsys.readouterr().err
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(dialog, tmp_path):
    assert dialog("fit", into="a") == dialog("fit", into="b") == DONE
    assert dialog("fit", "--seed_everything", "4", into="c") == DONE
    assert equal(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not equal(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_random_test_labels_do_not_change_the_selected_checkpoint(dialog, tmp_path, tiny, tiny_config):
    other = with_other_test_labels(tiny_manifest(), seed=9).save(tmp_path / "other" / "manifest")
    write_stores(tmp_path / "other", tiny_manifest().save(tmp_path / "same"))
    for name in ("text", "audio", "visual"):  # the same vectors, for the manifest with other labels
        meta = tmp_path / "other" / name / "meta.json"
        content = json.loads(meta.read_text())
        meta.write_text(json.dumps({**content, "manifest_sha256": other.sha256}))
    config = tmp_path / "other.yaml"
    config.write_text(tiny_config.read_text().replace(str(tiny), str(tmp_path / "other")))
    assert dialog("fit", into="a") == dialog("fit", into="b", config=config) == DONE
    assert equal(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_a_finished_run_is_not_trained_again(dialog, tmp_path, capsys):
    assert dialog("fit") == DONE
    before = (tmp_path / "run" / "checkpoints" / "best.ckpt").stat().st_mtime_ns
    assert dialog("fit") == DONE
    assert "is trained already" in capsys.readouterr().out
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").stat().st_mtime_ns == before


def test_an_interrupted_run_resumes_and_ends_like_an_uninterrupted_one(dialog, tmp_path, capsys):
    assert dialog("fit", into="whole") == DONE
    assert dialog("fit", "--trainer.max_epochs", "1", into="cut") == DONE
    (tmp_path / "cut" / "fit.json").unlink()  # as if it had been killed after its first epoch
    config = tmp_path / "cut" / "config.yaml"
    config.write_text(config.read_text().replace("max_epochs: 1", "max_epochs: 3"))
    assert dialog("fit", into="cut") == DONE
    assert "Resuming" in capsys.readouterr().out
    assert equal(weights(tmp_path / "cut", "last"), weights(tmp_path / "whole", "last"))


def test_other_settings_in_the_same_folder_are_refused(dialog, capsys):
    assert dialog("fit") == DONE
    assert dialog("fit", "--model.net.hidden", "6") == WRONG_USE
    error = capsys.readouterr().err
    assert "was trained with model.net.init_args.hidden = 8, but now it is 6" in error
    assert "--run" in error
    assert dialog("test", "--model.net.hidden", "6") == WRONG_USE


def test_a_run_that_is_older_than_a_setting_was_trained_with_its_default(dialog, tmp_path, capsys):
    assert dialog("fit") == DONE
    config = tmp_path / "run" / "config.yaml"
    older = "".join(line for line in config.read_text().splitlines(keepends=True) if "class_weight" not in line)
    assert older != config.read_text()
    config.write_text(older)
    assert run(["dialog", "test", "--config", str(config)]) == DONE
    assert dialog("fit") == DONE
    assert dialog("test", "--model.class_weight", "0.5") == WRONG_USE
    assert "was trained with model.class_weight = 0.0, but now it is 0.5" in capsys.readouterr().err


def test_the_configuration_in_a_run_means_that_run(dialog, tmp_path):
    assert dialog("fit") == DONE
    assert run(["dialog", "test", "--config", str(tmp_path / "run" / "config.yaml"), "--checkpoint", "best"]) == DONE
    assert (tmp_path / "run" / "report.json").exists()


def test_predict_labels_context_utterances_too(dialog, tmp_path):
    assert dialog("fit") == DONE
    assert dialog("predict", "--data.predict_split", "dev") == DONE
    rows = [json.loads(line) for line in (tmp_path / "run" / "labels_dev.jsonl").read_text().splitlines()]
    dev = [u for u in tiny_manifest().utterances if u.split == "dev"]
    assert [row["id"] for row in rows] == [u.id for u in dev]
    assert any(row["label"] is None for row in rows)


def test_validate_scores_dev_and_writes_no_report(dialog, tmp_path):
    assert dialog("fit") == dialog("validate") == DONE
    assert not (tmp_path / "run" / "report.json").exists()


def test_testing_before_training_says_what_to_do(dialog, capsys):
    assert dialog("test") == WRONG_USE
    assert re.search(r"no weights at .*best\.ckpt; train first with `fit`", capsys.readouterr().err)


def test_rare_emotions_weigh_more_only_if_asked_to(dialog, tmp_path):
    assert dialog("fit") == DONE
    assert dialog("fit", "--model.class_weight", "0", into="alike") == DONE
    assert dialog("fit", "--model.class_weight", "1", into="even") == DONE
    assert equal(weights(tmp_path / "run"), weights(tmp_path / "alike"))
    assert not equal(weights(tmp_path / "run"), weights(tmp_path / "even"))
    assert dialog("test", "--model.class_weight", "1", into="even") == DONE


def test_the_last_epoch_can_be_selected(dialog, tmp_path):
    assert dialog("fit", "--select", "last") == dialog("test", "--select", "last") == DONE
    assert json.loads((tmp_path / "run" / "report.json").read_text())["fit"]["epoch"] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.net.init_args.hedas", "3"], "model.net: there is no setting 'hedas'"),
        (["--model.net.fusion", "sum"], "model.net.fusion: expected attention, concat, but got 'sum'"),
        (["--model.optimizer.init_args.lr", "abc"], "model.optimizer.lr: expected float, but got 'abc'"),
        (["--data.batch_size", "many"], "data.batch_size: expected int, but got 'many'"),
        (["--data.batchsize", "3"], "unrecognized arguments: --data.batchsize"),
        (["--trainer.max_epochs", "soon"], "trainer.max_epochs: expected int, but got 'soon'"),
        (["--trainer.accelerator", "abacus"], "trainer: .*accelerator"),
        (["--model.net.width", "7"], "2 heads do not divide 7"),
        (["--data.streams", "[smell]"], "data.streams is .*smell"),
        (["--model.class_weight", "1.5"], "model.class_weight is 1.5, expected 0 to 1"),
        (["--select", "test"], "select: expected dev, last, but got 'test'"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line_that_names_the_key(dialog, capsys, options, message):
    assert dialog("fit", *options) == WRONG_USE
    error = [line for line in capsys.readouterr().err.splitlines() if "Seed set" not in line]
    assert len(error) == 1
    assert re.search(message, error[0])


def test_the_configuration_of_an_extractor_is_refused_as_such(tmp_path, capsys):
    config = tmp_path / "lsa.yaml"
    config.write_text("model:\n  net:\n    class_path: extractors.text.lsa.LSA\n    init_args: {width: 3}\n")
    assert run(["dialog", "fit", "--config", str(config)]) == WRONG_USE
    assert "extractors.text.lsa.LSA is an extractor; train it by `m2fnet extractor fit`." in capsys.readouterr().err


def test_a_wrong_setting_is_named_though_the_first_of_two_configurations_has_no_network(tiny_config, tmp_path, capsys):
    part = tmp_path / "part.yaml"
    part.write_text("trainer:\n  max_epochs: 2\n")
    assert (
        run(["dialog", "fit", "--config", str(part), "--config", str(tiny_config), "--model.net.hedas=3"]) == WRONG_USE
    )
    assert "there is no setting 'hedas'" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--model.net.width", "3"]])
def test_without_a_configuration_one_is_named(capsys, options):
    assert run(["dialog", "fit", *options]) == WRONG_USE
    assert (
        "no --config was given that names it; expected a configuration, such as conf/dialog/" in capsys.readouterr().err
    )


def test_a_configuration_cannot_name_foreign_classes(dialog, tmp_path, tiny_config, capsys):
    config = tmp_path / "hostile.yaml"
    content = yaml.safe_load(tiny_config.read_text())
    content["model"]["net"] = "subprocess.getoutput"
    config.write_text(yaml.safe_dump(content))
    assert dialog("fit", config=config) == WRONG_USE
    assert "asks at model.net for 'subprocess.getoutput', which is outside the trusted packages" in (
        capsys.readouterr().err
    )


def test_a_missing_manifest_fails_with_what_to_do(dialog, tmp_path, capsys):
    assert dialog("fit", "--data.manifest", str(tmp_path / "nowhere")) == FAILED
    assert "m2fnet prepare" in capsys.readouterr().err


def test_a_checkpoint_loads_without_data_and_without_pickle(dialog, tmp_path):
    assert dialog("fit") == DONE
    path = tmp_path / "run" / "checkpoints" / "best.ckpt"
    task = DialogueTask.load_from_checkpoint(path, weights_only=True, map_location="cpu")
    assert task.problem.widths == {"text": 12, "audio": 8, "visual": 10}
    assert equal(task.state_dict(), weights(tmp_path / "run"))


@pytest.mark.slow
def test_two_processes_score_like_one(dialog, tiny_config, tmp_path):
    """Under distributed evaluation every utterance is scored once, and the scores are those of one process."""
    assert dialog("fit") == dialog("test") == DONE
    whole = (tmp_path / "run" / "predictions.jsonl").read_text()
    command = [sys.executable, "-m", "m2fnet.cli", "dialog", "test", "--config", str(tmp_path / "run" / "config.yaml")]
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--data.batch_size", "1"]
    subprocess.run([*command, *two], check=True, timeout=300, capture_output=True)
    rows = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    expected = [json.loads(line) for line in whole.splitlines()]
    assert [row["id"] for row in rows] == [row["id"] for row in expected]
    for row, same in zip(rows, expected, strict=True):
        assert row["probabilities"] == pytest.approx(same["probabilities"], abs=1e-6)


def test_a_training_that_diverges_is_stopped_and_keeps_no_weights(dialog, tmp_path, capsys):
    assert dialog("fit", "--model.optimizer.init_args.lr", "1e30") == FAILED
    assert "The training diverged" in capsys.readouterr().err
    assert not (tmp_path / "run" / "fit.json").exists()
    assert not (tmp_path / "run" / "checkpoints" / "best.ckpt").exists()


def test_a_split_without_labels_cannot_be_scored_and_leaves_the_folder_free(dialog, tmp_path, capsys):
    manifest = tiny_manifest()
    bare = replace(
        manifest,
        utterances=tuple(replace(u, label=None, labels=None) if u.split == "dev" else u for u in manifest.utterances),
    ).save(tmp_path / "bare")
    write_stores(tmp_path / "bare", bare)
    stores = json.dumps({"text": str(tmp_path / "bare" / "text")})
    assert dialog("fit", "--data.manifest", str(tmp_path / "bare"), "--data.stores", stores) == WRONG_USE
    assert "The split 'dev' of 'tiny' has no labelled utterance; label some" in capsys.readouterr().err
    assert dialog("fit") == DONE


def test_a_run_folder_that_cannot_be_made_is_one_sentence(dialog, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert dialog("fit", into="file/run") == FAILED
    error = capsys.readouterr().err
    assert "m2fnet dialog: " in error
    assert "Traceback" not in error
