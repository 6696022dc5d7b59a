"""`m2fnet sweep`: many seeds and settings; in one test with real processes, else in this one."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from sklearn.metrics import f1_score

from m2fnet import cli
from m2fnet.cli import DONE, FAILED, WRONG_USE
from m2fnet.manifest import Manifest
from m2fnet.sweeps.processes import LOG


@pytest.fixture
def sweep(many, trained):
    """``sweep("--seeds", "0-1")`` sweeps over the tiny configuration, in this process, in an empty folder."""
    return lambda *options: many("sweep", *options)


def test_a_sweep_trains_tests_and_reports_every_seed_of_every_setting(sweep, trained, capsys):
    grid = ("--grid", "model.net.hidden=4,6", "--grid", "model.net.init_args.heads=2")
    assert sweep("--seeds", "0-1", *grid) == DONE
    printed = capsys.readouterr().out
    folders = {path.parts[1] for path in Path("runs").glob("*/seed-*/report.json")}
    assert "tiny" in folders
    (other,) = folders - {"tiny"}
    assert re.search(r"hidden=4, heads=2 +runs/tiny +2 +0\n", printed)
    assert re.search(rf"hidden=6, heads=2 +runs/{re.escape(other)} +2 +0\n", printed)
    assert "[4/4] hidden=6, heads=2, seed 1: weighted F1 dev " in printed
    assert "m2fnet report runs/tiny/seed-0 runs/tiny/seed-1" in printed
    (summary,) = Path("runs").glob("tiny-*-sweep/summary.md")
    rows = json.loads(summary.with_name("sweep.json").read_text(encoding="utf-8"))["runs"]
    assert rows[3] == {
        "settings": {"model.net.hidden": "6", "model.net.init_args.heads": "2"},
        "seed": 1,
        "run": f"runs/{other}/seed-1",
    }
    assert yaml.safe_load(Path(rows[3]["run"], "config.yaml").read_text())["model"]["net"]["init_args"]["hidden"] == 6


@pytest.mark.slow  # trains and tests four runs
def test_settings_are_compared_on_folds_of_the_training_dialogues_and_test_is_not_read(sweep, content):
    manifest = Manifest.load(content["data"]["manifest"])
    assert sweep("--seeds", "0", "--folds", "2", "--grid", "model.optimizer.lr=0.0,0.03") == DONE
    (page,) = Path("runs").glob("*/folds.md")
    table = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    assert table["utterances"] == sum(u.split == "train" and u.label is not None for u in manifest.utterances)
    assert table["dialogues"] == len(manifest.dialogues("train"))
    first, second = table["settings"]
    assert first["score"]["value"] >= second["score"]["value"]
    assert (first["difference"], second["difference"]["value"] <= 0) == (None, True)
    rows = [
        json.loads(line)
        for folder in first["runs"]
        for line in Path(folder, "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert {row["id"].split("-")[0] for row in rows} == {"train"}
    labels, predicted = zip(*((row["label"], row["predicted"]) for row in rows), strict=True)
    assert first["score"]["value"] == pytest.approx(f1_score(labels, predicted, average="weighted"))
    assert "held out from training," in Path(first["runs"][0], "report.md").read_text(encoding="utf-8")


def test_folds_are_scored_on_what_was_held_out(sweep, capsys):
    assert sweep("--seeds", "0", "--folds", "1") == WRONG_USE
    assert sweep("--seeds", "0", "--folds", "3", "--no-test") == WRONG_USE
    assert "--folds expects at least 2 folds" in capsys.readouterr().err


def test_what_is_done_is_not_done_again(sweep, trained, capsys):
    assert sweep("--seeds", "0", "--no-test") == DONE
    assert [command[1] for command in trained] == ["fit"]
    assert sweep("--seeds", "0-1") == DONE
    assert [command[1] for command in trained] == ["fit", "test", "fit", "test"]
    capsys.readouterr()
    assert sweep("--seeds", "0-1") == DONE
    assert len(trained) == 4
    assert re.search(r"as configured +runs/tiny +2 +2\n", capsys.readouterr().out)


def test_every_choice_of_settings_has_a_summary_of_its_own_and_more_seeds_renew_it(sweep, monkeypatch):
    monkeypatch.setattr("m2fnet.commands.sweep.run_all", lambda *_: (_ for _ in ()))
    for seeds, widths in (("0", "4,6"), ("0", "6,8"), ("0-1", "4,6"), ("0", "4")):
        assert sweep("--seeds", seeds, "--grid", f"model.net.hidden={widths}", "--no-report") == DONE
    found = [json.loads(path.read_text(encoding="utf-8"))["runs"] for path in Path("runs").glob("*-sweep/sweep.json")]
    assert sorted(sorted({run["settings"]["model.net.hidden"] for run in runs}) for runs in found) == [
        ["4"],
        ["4", "6"],
        ["6", "8"],
    ]
    assert max(map(len, found)) == 4
    assert Path("runs/tiny-sweep/sweep.json").is_file()  # of one setting: as its runs are called


def test_settings_of_all_runs_are_passed_on(sweep):
    assert sweep("--seeds", "0", "--no-test", "--data.batch_size", "3", "--model.net.hidden=6") == DONE
    (config,) = Path("runs").glob("tiny+*/seed-0/config.yaml")
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    assert (settings["data"]["batch_size"], settings["model"]["net"]["init_args"]["hidden"]) == (3, 6)


def test_shards_train_every_run_once_and_the_command_without_reports(sweep, trained, capsys):
    for number in ("1/2", "2/2"):
        assert sweep("--seeds", "0-2", "--shard", number) == DONE
    assert "test utterances" not in capsys.readouterr().out
    fits = [command for command in trained if command[1] == "fit"]
    assert len(fits) == 3
    assert sweep("--seeds", "0-2") == DONE
    assert len([command for command in trained if command[1] == "fit"]) == 3
    assert "test utterances" in capsys.readouterr().out
    assert sweep("--seeds", "0-2", "--shard", "3/2") == WRONG_USE


def test_a_run_that_fails_is_named_at_the_end_and_the_others_are_done(sweep, capsys):
    assert sweep("--seeds", "0", "--grid", "model.optimizer.lr=0.01,1e30,0.02") == FAILED
    printed = capsys.readouterr()
    assert "lr=1e30, seed 0: FAILED, what the child said" in printed.out
    failed = r"1 of 3 runs failed.*\n  runs/tiny\+optimizer\.lr-1e\+30/seed-0: what the child said"
    assert re.search(failed, printed.err)
    assert len(list(Path("runs").glob("*/seed-0/report.json"))) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "0", "--grid", "model.net.hedas=1,2"], "model.net.*hedas"),
        (["--seeds", "0", "--grid", "model.net.fusion=concat,sum"], "expected attention, concat, but got 'sum'"),
        (["--seeds", "0", "--grid", "model.net.hidden=6,6"], "Two combinations of the grid are the same settings"),
        (["--seeds", "0", "--grid", "model.net.hidden=6,7", "--name", "mine"], "--name gives every combination"),
        (["--seeds", "0", "--jobs", "0"], "--jobs is 0, expected at least 1"),
        (["--seeds", "0", "--run", "x"], "--run cannot be given to a sweep"),
        (["--seeds", "0", "--seed_everything=1"], "--seed_everything cannot be given to a sweep"),
        (["--seeds", "x"], "--seeds is 'x'"),
        ([], "--seeds"),
    ],
)
def test_a_wrong_sweep_is_refused_before_anything_is_trained(sweep, trained, capsys, options, message):
    assert sweep(*options) == WRONG_USE
    assert re.search(message, capsys.readouterr().err)
    assert trained == []
    assert not Path("runs").exists()


def test_results_of_another_configuration_are_not_taken_for_these(sweep, content, trained, capsys):
    assert sweep("--seeds", "0", "--no-test") == DONE
    content["model"]["net"]["init_args"]["hidden"] = 6
    assert sweep("--seeds", "1,0", "--no-test") == WRONG_USE
    assert "runs/tiny/seed-0 was trained with model.net.init_args.hidden = 4" in capsys.readouterr().err


def test_the_configuration_of_one_run_is_no_sweep(sweep, capsys):
    assert sweep("--seeds", "0", "--no-test") == DONE
    assert cli.run(["sweep", "--config", "runs/tiny/seed-0/config.yaml", "--seeds", "3"]) == WRONG_USE
    assert "runs/tiny/seed-0" in capsys.readouterr().err


@pytest.mark.slow
def test_real_processes_train_like_one_command(sweep, content, tmp_path):
    assert sweep("--seeds", "1", "--no-test") == DONE
    command = [sys.executable, "-m", "m2fnet.cli", "sweep", "--config", "tiny.yaml", "--seeds", "1-2", "--jobs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == DONE, done.stdout + done.stderr
    assert "[2/2]" in done.stdout
    assert (tmp_path / "runs/tiny/seed-2/report.json").is_file()
    assert "Report:" in (tmp_path / "runs/tiny/seed-2" / LOG).read_text(encoding="utf-8")
