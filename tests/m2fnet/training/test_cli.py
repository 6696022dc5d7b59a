"""What every training command shares, seen through `m2fnet dialog`; its own results are tested in tests/dialog."""

import functools
import pickle
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from pytorch_lightning.loggers import CSVLogger

from m2fnet.cli import DONE, FAILED, WRONG_USE, run
from m2fnet.errors import RunError
from m2fnet.files import locked
from m2fnet.training.callbacks import EpochTimer


def test_the_default_run_folder_is_named_after_configuration_and_seed(dialog):
    assert dialog("fit", "--seed_everything", "7", into=None) == DONE
    folder = Path("runs/tiny/seed-7")
    expected = {"config.yaml", "provenance.json", "fit.json", "checkpoints", "logs"}
    assert {path.name for path in folder.iterdir()} == expected
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert (folder / "logs" / "version_0" / "metrics.csv").is_file()


def made_runs():
    return sorted(str(path.parent) for path in Path("runs").glob("*/*/fit.json"))


def test_other_settings_have_a_folder_of_their_own_and_the_same_the_same(dialog, capsys):
    assert dialog("fit", into=None) == dialog("fit", "--model.net.hidden", "6", into=None) == DONE
    other, plain = made_runs()
    assert plain == "runs/tiny/seed-3"
    assert other == "runs/tiny+hidden-6/seed-3"
    capsys.readouterr()
    assert dialog("fit", "--model.net.init_args.hidden=6", "--model.net.heads", "2", into=None) == DONE
    assert f"{other} is trained already" in capsys.readouterr().out
    assert dialog("fit", "--model.net.hidden", "6", "--seed_everything", "4", into=None) == DONE
    assert made_runs() == [other, other.replace("seed-3", "seed-4"), plain]


@pytest.mark.parametrize(
    "options",
    [
        ["--trainer.enable_progress_bar", "true"],
        ["--trainer.logger", "false"],
        ["--trainer.accelerator", "auto"],
        ["--quiet"],
    ],
)
def test_how_a_command_is_run_makes_no_other_run(dialog, capsys, options):
    assert dialog("fit", into=None) == DONE
    capsys.readouterr()
    assert dialog("fit", *options, into=None) == DONE
    assert "runs/tiny/seed-3 is trained already" in capsys.readouterr().out


def test_the_split_to_predict_makes_no_other_run(dialog):
    assert dialog("fit", into=None) == dialog("predict", "--data.predict_split", "dev", into=None) == DONE
    assert Path("runs/tiny/seed-3/labels_dev.jsonl").is_file()


def test_an_edited_configuration_is_refused_in_the_folder_of_the_old_one(content, dialog, refusal):
    assert dialog("fit") == DONE
    content["model"]["net"]["init_args"]["hidden"] = 6
    assert "run was trained with model.net.init_args.hidden = 4, but now it is 6" in refusal("fit")


def test_a_plan_names_the_folder_checks_the_settings_and_makes_nothing(dialog, refusal, capsys):
    assert dialog("fit", "--dry-run", into=None) == DONE
    assert capsys.readouterr().out == "runs/tiny/seed-3\n"
    assert not Path("runs").exists()
    assert dialog("fit", "--dry-run", "--quiet", into=None) == DONE
    assert capsys.readouterr().out == "runs/tiny/seed-3\n"
    assert "hedas" in refusal("fit", "--dry-run", "--model.net.init_args.hedas", "1")
    assert dialog("fit", into=None) == DONE
    assert dialog("fit", "--dry-run", into=None) == DONE
    assert capsys.readouterr().out.endswith("runs/tiny/seed-3, trained already\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.manifest", "nosuch"], "Cannot read nosuch/manifest"),
        (["--data.stores", "{text: nosuch}", "--data.streams", "[text]"], "nosuch"),
        (["--model.net.heads", "3"], "model.net: "),
        (["--model.net", "dialog.models.carat.CARAT", "--model.net.levels", "5"], "model.net: "),
        (["--model.optimizer.lr", "-1"], "Invalid learning rate: -1.0"),
    ],
)
def test_a_plan_is_refused_as_the_training_would_be(refusal, options, message):
    code = FAILED if "nosuch" in message else WRONG_USE
    planned = refusal("fit", "--dry-run", *options, code=code)
    assert message in planned
    assert not Path("run").exists()
    assert planned == refusal("fit", *options, code=code)


def test_a_plan_makes_no_logger(dialog, monkeypatch):
    @functools.wraps(CSVLogger.__init__)
    def made(*_, **__):
        raise AssertionError

    monkeypatch.setattr(CSVLogger, "__init__", made)
    logger = "{class_path: pytorch_lightning.loggers.CSVLogger, init_args: {save_dir: logs}}"
    assert dialog("fit", "--dry-run", "--trainer.logger", logger) == DONE


def test_the_configuration_of_a_run_that_was_killed_at_once_means_that_run(dialog, capsys):
    assert dialog("fit", into=None) == DONE
    shutil.rmtree("runs/tiny/seed-3/checkpoints")
    Path("runs/tiny/seed-3/fit.json").unlink()
    assert run(["dialog", "fit", "--config", "runs/tiny/seed-3/config.yaml"]) == DONE
    assert made_runs() == ["runs/tiny/seed-3"]


def test_training_again_forgets_the_report_of_the_weights_before(dialog):
    assert dialog("fit") == dialog("test") == DONE
    assert dialog("fit", "--overwrite") == DONE
    assert not Path("run/report.json").exists()


def test_two_trainings_of_one_run_do_not_meet(dialog, capsys):
    with locked(Path("run"), RunError):
        assert dialog("fit") == FAILED
    assert "run is locked by process " in capsys.readouterr().err
    assert not list(Path("run").iterdir())
    assert dialog("fit") == DONE


def test_overwriting_trains_a_finished_run_again_with_other_settings(dialog):
    assert dialog("fit") == DONE
    assert dialog("fit", "--model.net.hidden", "6", "--overwrite") == DONE
    settings = yaml.safe_load(Path("run/config.yaml").read_text(encoding="utf-8"))
    assert settings["model"]["net"]["init_args"]["hidden"] == 6
    assert "overwrite" not in settings


@pytest.mark.parametrize("select", ["dev", "last"])
def test_a_run_killed_after_its_last_epoch_is_finished_without_training(dialog, select):
    assert dialog("fit", "--select", select) == DONE
    before = Path("run/fit.json").read_text(encoding="utf-8")
    Path("run/fit.json").unlink()
    assert dialog("fit", "--select", select) == DONE
    again, before = (yaml.safe_load(text) for text in (Path("run/fit.json").read_text(encoding="utf-8"), before))
    same = ("epoch", "epochs", "dev.weighted_f1", "parameters", "select")
    assert {key: again[key] for key in same} == {key: before[key] for key in same}
    assert again["epoch_seconds"] is None


class Opener:
    """A pickle of this writes a file when it is loaded."""

    def __reduce__(self):
        return Path.write_text, (Path("opened"), "by a pickle")


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(pickle.dumps(Opener())),
        lambda path: torch.save({"state_dict": {}, "more": Opener()}, path),
        lambda path: torch.save([1], path),
        lambda path: torch.save({"weights": torch.ones(2)}, path),
    ],
    ids=["cut", "empty", "pickle", "pickle inside", "list", "other"],
)
def test_a_file_that_is_no_checkpoint_is_refused_and_not_run(dialog, refusal, damage):
    assert dialog("fit") == DONE
    damage(Path("run/checkpoints/best.ckpt"))
    assert "best.ckpt is damaged or not a checkpoint" in refusal("test", code=FAILED)
    assert not Path("opened").exists()


@pytest.mark.parametrize("text", ["[1", "- 1\n", ""])
def test_a_run_whose_settings_cannot_be_read_is_refused(dialog, refusal, text):
    Path("run").mkdir()
    Path("run/config.yaml").write_text(text, encoding="utf-8")
    line = refusal("fit", code=FAILED)
    assert "run/config.yaml" in line
    assert line.endswith("Delete this folder, or name another one with --run.")


def test_a_file_cannot_be_a_run_folder(refusal):
    Path("run").write_text("", encoding="utf-8")
    assert "run is a file, expected the folder of a run" in refusal("fit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed_everything", "-1"], "seed_everything is -1, expected a number from 0 to 4294967295"),
        (["--model.optimizer.lr", "-1"], r"model\.optimizer .*Invalid learning rate: -1\.0"),
        (["--model.net.hidden", "0"], r"model\.net: Expected `hidden` to be at least 1, but got 0"),
        (["--model.net.encoders", "-1"], r"model\.net: Expected `encoders` to be at least 0, but got -1"),
        (["--trainer.max_epochs", "0"], r"no weights were kept; trainer\.max_epochs"),
        (["--trainer.limit_val_batches", "0", "--select", "last"], r"No epoch was finished and scored on dev"),
        (["--model.net", "dialog.data.Dialogues"], r"model\.net: .*Dialogues"),
        (["--model.net", "dialog.models.m2fnet.M3FNet"], r"model\.net: there is no 'M3FNet' in dialog\.models\.m2fnet"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_in_one_line(refusal, options, message):
    assert re.search(message, refusal("fit", *options))


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("net", {"class_path": "m2fnet.files.tempfile.TemporaryDirectory"}, "tempfile.TemporaryDirectory"),
        ("net", {"class_path": "m2fnet.files.os.getpid"}, "getpid"),
        ("optimizer", {"class_path": "m2fnet.files.os.getpid"}, "getpid"),
        ("net", "subprocess.getoutput", "subprocess.getoutput"),
    ],
)
def test_a_foreign_class_behind_a_trusted_name_is_refused(content, refusal, key, value, named):
    content["model"][key] = value
    line = refusal("fit")
    assert f"model.{key}" in line
    assert f"{named}' is outside the trusted packages" in line.replace("', which is", "' is")


def test_a_callback_cannot_be_made_of_foreign_functions(content, refusal):
    hook = {"class_path": "pytorch_lightning.callbacks.LambdaCallback", "init_args": {"on_fit_start": "os.getpid"}}
    content["trainer"]["callbacks"] = [hook]
    assert "'os.getpid' is outside the trusted packages" in refusal("fit")


def test_foreign_classes_on_the_command_line_and_in_included_files_are_refused(content, refusal, tmp_path):
    assert "'os.getpid' is outside" in refusal("fit", "--model.net", "os.getpid")
    (tmp_path / "net.yaml").write_text("class_path: os.getpid\n", encoding="utf-8")
    content["model"]["net"] = "net.yaml"
    assert "net.yaml asks at class_path for 'os.getpid'" in refusal("fit")


def test_a_trusted_callback_takes_part(content, dialog):
    stop = {"monitor": "dev/weighted_f1", "mode": "max", "stopping_threshold": -1.0}
    content["trainer"]["callbacks"] = [{"class_path": "pytorch_lightning.callbacks.EarlyStopping", "init_args": stop}]
    content["trainer"]["max_epochs"] = 5
    assert dialog("fit") == DONE
    assert yaml.safe_load(Path("run/fit.json").read_text(encoding="utf-8"))["epochs"] == 1


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"]])
def test_help_names_the_command(monkeypatch, capsys, arguments):
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    assert run(["dialog", *arguments]) == DONE
    assert capsys.readouterr().out.startswith("usage: m2fnet dialog")


@pytest.mark.parametrize("arguments", [[], ["train"], ["fit"], ["fit", "--config"]])
def test_incomplete_commands_are_wrong_use(monkeypatch, capsys, arguments):
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    assert run(["dialog", *arguments]) == WRONG_USE
    assert capsys.readouterr().err.startswith("m2fnet dialog: ")


def test_a_clock_without_an_epoch_has_no_median():
    summary = EpochTimer().summary()
    assert summary["epoch_seconds"] is None
    assert summary["peak_memory_mib"] > 0


def test_peak_memory_is_known_where_the_system_does_not_list_it(tmp_path, monkeypatch):
    (tmp_path / "status").write_text("Name:\tpython\nVmRSS:\t7 kB\n", encoding="utf-8")
    monkeypatch.setattr("m2fnet.training.callbacks.Path", lambda _: tmp_path / "status")
    assert EpochTimer().summary()["peak_memory_mib"] > 10


def test_scores_of_other_weights_do_not_replace_the_report_of_the_run(dialog):
    assert dialog("fit") == dialog("test") == DONE
    before = Path("run/report.json").read_bytes()
    assert dialog("test", "--checkpoint", "last") == DONE
    assert Path("run/report.json").read_bytes() == before
    assert Path("run/checkpoint-last/report.json").is_file()


def test_weights_to_score_are_refused_in_a_training(refusal):
    assert "--checkpoint names weights to score" in refusal("fit", "--checkpoint", "nonsense")


def test_settings_before_the_configuration_count_too(content, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    assert run(["dialog", "fit", "--model.net.hidden", "6", "--config", "tiny.yaml", "--run", "run"]) == DONE
    settings = yaml.safe_load(Path("run/config.yaml").read_text(encoding="utf-8"))
    assert settings["model"]["net"]["init_args"]["hidden"] == 6


def test_training_again_deletes_every_result_of_the_weights_before(dialog):
    assert dialog("fit") == dialog("test") == dialog("predict") == DONE
    assert dialog("fit", "--overwrite") == DONE
    left = {path.name for path in Path("run").iterdir() if path.is_file()}
    assert left == {"config.yaml", "provenance.json", "fit.json"}
