"""A dialogue network that trains in a moment, for what is tested of runs."""

import shutil
from pathlib import Path

import pytest
import yaml
from made_runs import made_manifest, made_run
from tiny_corpus import tiny_manifest, write_stores
from trained_runs import train_everything

from m2fnet.cli import WRONG_USE, run
from m2fnet.commands import sweep as sweep_command
from m2fnet.manifest import Manifest
from m2fnet.sweeps.processes import LOG, Outcome


@pytest.fixture(scope="module")
def tiny_data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_stores(folder, tiny_manifest().save(folder / "manifest"))
    return folder


@pytest.fixture
def content(tiny_data):
    """The configuration of a network that trains in a moment."""
    quiet = {"enable_progress_bar": False, "enable_model_summary": False}
    return {
        "seed_everything": 3,
        "trainer": {"accelerator": "cpu", "max_epochs": 1, "limit_train_batches": 1, **quiet},
        "data": {"manifest": str(tiny_data / "manifest"), "stores": {"text": str(tiny_data / "text")}},
        "model": {
            "net": {"class_path": "dialog.models.m2fnet.M2FNet", "init_args": {"width": 4, "heads": 2, "hidden": 4}},
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}},
        },
    }


@pytest.fixture
def dialog(content, tmp_path, monkeypatch):
    """``dialog("fit", "--key", "value")`` runs the command with ``content``, in an empty folder, into ``run``."""
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    monkeypatch.chdir(tmp_path)

    def call(command, *options, into="run"):
        Path("tiny.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        folder = [] if into is None else ["--run", into]
        return run(["dialog", command, "--config", "tiny.yaml", *folder, *options])

    return call


@pytest.fixture
def many(content, tmp_path, monkeypatch):
    """``many("sweep", "--seeds", "0")`` runs a command that makes many runs, with ``content``, in an empty folder."""
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    monkeypatch.chdir(tmp_path)

    def call(command, *options):
        Path("tiny.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        return run([command, "--config", "tiny.yaml", *options])

    return call


@pytest.fixture
def trained(monkeypatch):
    """The commands that all sweeps of a test ran; they run in this process."""
    commands = []

    def in_this_process(runs, jobs, gpus, preload):
        for one in runs:
            one.folder.mkdir(parents=True, exist_ok=True)
            (one.folder / LOG).write_text("what the child said\n", encoding="utf-8")
            commands.extend(one.commands)
            yield Outcome(one, max((run(command) for command in one.commands), default=0), 1.0)

    monkeypatch.setattr(sweep_command, "run_all", in_this_process)
    return commands


@pytest.fixture
def refusal(dialog, capsys):
    """``refusal("fit", ...)`` is the one line with which the command is refused as wrong use."""

    def call(*arguments, code=WRONG_USE):
        assert dialog(*arguments) == code
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("m2fnet dialog: ")]
        return line

    return call


@pytest.fixture
def tiny_corpus_copy(tiny_data, tmp_path):
    """A copy of the tiny manifest and stores that a test may damage."""
    return Path(shutil.copytree(tiny_data, tmp_path / "copy"))


@pytest.fixture(scope="session")
def trained_root(tmp_path_factory):
    """Folder with ``manifest``, ``embeddings/``, and ``runs/`` of both extractors and of a tested dialogue network."""
    root = tmp_path_factory.mktemp("trained")
    train_everything(root)
    return root


@pytest.fixture(scope="session")
def run_folder(trained_root):
    """The dialogue run."""
    return trained_root / "runs" / "talk" / "seed-2"


@pytest.fixture
def corpus(tmp_path):
    """The folder of a small manifest."""
    made_manifest(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def tested(tmp_path, corpus, monkeypatch):
    """``tested("a/seed-0", seed=0, right=0.5, width=8)`` makes a tested run folder."""
    # a picture takes longer than the rest
    monkeypatch.setattr("m2fnet.reports.run_report.draw_confusion", lambda *_: None)
    manifest = Manifest.load(corpus)
    return lambda name, **settings: made_run(tmp_path / name, manifest, corpus, **settings)
