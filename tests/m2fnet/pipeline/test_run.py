"""A training from Python is the one of the command line."""

import json
from pathlib import Path

import pytest
import yaml

from m2fnet.cli import DONE
from m2fnet.errors import UsageError
from m2fnet.pipeline import Run


@pytest.fixture
def config(content, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["pytest", "--not-for-lightning"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return "tiny.yaml"


def test_it_trains_tests_and_shows_what_the_command_does(config, dialog, tmp_path):
    run = Run.fit(config, seed=4, trainer={"max_epochs": 2}, model={"net": {"width": 6}})
    assert run.folder.as_posix() == "runs/tiny+width-6+max_epochs-2/seed-4"
    assert "dev.weighted_f1" in run._repr_html_()
    assert not (run.folder / "report.json").exists()  # looking at a run does not read the test split
    report = run.test()
    assert report["seed"] == 4
    typed = ["--seed_everything", "4", "--trainer.max_epochs", "2", "--model.net.width", "6"]
    assert dialog("fit", *typed, into="b") == DONE
    assert dialog("test", *typed, into="b") == DONE
    assert json.loads((tmp_path / "b" / "report.json").read_text())["test"] == report["test"]
    table = Run(str(run.folder)).predictions()
    assert (table["predicted"] == table["label"]).mean() == pytest.approx(report["test"]["accuracy"])
    assert table.filter(like="p_").sum(axis=1).tolist() == pytest.approx([1] * len(table), abs=1e-4)
    assert "weighted_f1" in run._repr_html_()
    assert Run.fit(config, seed=4, trainer={"max_epochs": 2}, model={"net": {"width": 6}}) == run  # found done


def test_a_folder_may_be_named_and_wrong_settings_are_refused(config):
    place = yaml.safe_load(Path(config).read_text(encoding="utf-8"))["data"]["manifest"]
    assert Run.fit(config, folder="mine", data={"manifest": place}).folder.as_posix() == "mine"
    with pytest.raises(UsageError, match="widht"):
        Run.fit(config, model={"net": {"widht": 6}})
    with pytest.raises(UsageError, match="expected dev or test"):
        Run.fit(config, folder="mine").predictions("train")
