"""Where the curves of a training go; no logger of another package has to be installed for it."""

import copy
from pathlib import Path

import pytest
from pytorch_lightning.loggers import CSVLogger

from m2fnet.cli import DONE
from m2fnet.training import loggers

FAKE = """
from pathlib import Path

from pytorch_lightning.loggers import Logger


class Notebook(Logger):
    def __init__(self, file):
        super().__init__()
        self.file = Path(file)

    name = version = "notebook"

    def log_hyperparams(self, params):
        pass

    def log_metrics(self, metrics, step=None):
        with self.file.open("a") as file:
            file.write(" ".join(metrics) + "\\n")
"""


class FakeTensorBoard:
    def __init__(self, run, name):
        self.folder = Path(run) / name


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """A logger class of somebody else's package, trusted."""
    (tmp_path / "my_lab.py").write_text(FAKE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("M2FNET_TRUST", "my_lab")
    return {"class_path": "my_lab.Notebook", "init_args": {"file": "notes.txt"}}


@pytest.mark.parametrize("is_a_list", [False, True])
def test_a_configured_logger_gets_the_curves_and_the_csv_stays(content, dialog, notebook, is_a_list):
    content["trainer"]["logger"] = [notebook, copy.deepcopy(notebook)] if is_a_list else notebook
    assert dialog("fit") == DONE
    assert "dev/weighted_f1" in Path("notes.txt").read_text(encoding="utf-8")
    assert "dev/weighted_f1" in Path("run/logs/version_0/metrics.csv").read_text(encoding="utf-8")


def test_no_logger_at_all_when_so_configured(content, dialog):
    content["trainer"]["logger"] = False
    assert dialog("fit") == DONE
    assert not Path("run/logs").exists()


def test_a_logger_of_a_package_that_is_not_installed_is_refused_in_one_line(content, refusal, monkeypatch):
    monkeypatch.setattr("pytorch_lightning.loggers.wandb._WANDB_AVAILABLE", _Absent())
    content["trainer"]["logger"] = {"class_path": "pytorch_lightning.loggers.WandbLogger"}
    assert "names a class that cannot be made here: wandb is absent" in refusal("fit")
    assert not Path("run").exists()


class _Absent:
    def __bool__(self):
        return False

    def __str__(self):
        return "wandb is absent"


@pytest.mark.parametrize("is_installed", [True, False])
def test_tensorboard_is_written_where_it_is_installed(tmp_path, monkeypatch, is_installed):
    monkeypatch.setattr(loggers, "find_spec", lambda name: name if is_installed and name == "tensorboard" else None)
    monkeypatch.setattr(loggers, "TensorBoardLogger", FakeTensorBoard)
    first, *others = loggers.run_loggers(tmp_path, None, is_fit=True)
    assert isinstance(first, CSVLogger)
    assert [logger.folder for logger in others] == ([tmp_path / "tensorboard"] if is_installed else [])


def test_a_configured_logger_takes_the_place_of_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda name: name)
    other = CSVLogger(tmp_path, name="other")
    assert loggers.run_loggers(tmp_path, [other], is_fit=True)[1:] == [other]
