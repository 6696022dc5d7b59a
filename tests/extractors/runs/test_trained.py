"""Runs of extractors can be repeated and swept over like those of dialogue networks."""

import json
import re
from pathlib import Path

import pytest
import yaml

from m2fnet.cli import DONE, FAILED, run
from m2fnet.runs.provenance import Provenance


@pytest.fixture
def network(corpus, tmp_path, monkeypatch):
    """Name of the configuration of a tiny network, in an empty folder."""
    monkeypatch.setenv("M2FNET_TRUST", "toy_network")
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    monkeypatch.chdir(tmp_path)
    content = {
        "seed_everything": 1,
        "trainer": {"accelerator": "cpu", "max_epochs": 1, "enable_progress_bar": False},
        "data": {"manifest": str(corpus.root / "manifest"), "batch_size": 6, "in_memory": True},
        "model": {
            "net": {"class_path": "toy_network.ToyNetwork", "init_args": {"width": 6}},
            "losses": {"cross_entropy": 1.0},
            "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.02}},
        },
    }
    Path("toy.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return "toy.yaml"


def test_a_trained_extractor_comes_out_the_same(network, corpus, capsys):
    assert run(["extractor", "fit", "--config", network, "--model.net.width", "4"]) == DONE, capsys.readouterr().err
    (folder,) = Path("runs").glob("toy+*/seed-1")
    found = Provenance.read(folder)
    assert (found.stage, found.manifest.sha256, found.stores) == ("extractor", corpus.sha256, {})
    assert run(["extractor", "test", "--config", str(folder / "config.yaml"), "--quiet"]) == DONE
    assert run(["reproduce", str(folder)]) == DONE, capsys.readouterr().err
    assert capsys.readouterr().out.count("equal  ") == 3


def test_a_sweep_sees_that_the_configuration_is_of_an_extractor(network, monkeypatch):
    wanted = []
    monkeypatch.setattr("m2fnet.commands.sweep.run_all", lambda runs, *_: wanted.extend(runs) or (_ for _ in ()))
    assert run(["sweep", "--config", network, "--seeds", "1-2", "--grid", "data.batch_size=6,4"]) == DONE
    assert [command[:2] for command in wanted[0].commands] == [("extractor", "fit"), ("extractor", "test")]
    assert [each.folder.name for each in wanted] == ["seed-1", "seed-2"] * 2
    assert wanted[0].folder == Path("runs/toy/seed-1")


def test_an_extractor_fitted_in_closed_form_comes_out_the_same(config, capsys):
    assert run(["extractor", "fit", "--config", "tiny.yaml"]) == DONE
    assert run(["extractor", "test", "--config", "runs/tiny/seed-0/config.yaml"]) == DONE
    assert run(["reproduce", "runs/tiny/seed-0"]) == DONE, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert re.search(r"weights +equal +SHA-256 of all fitted files: \w{12}…\n", printed)
    assert re.search(r"report +equal +.*test\.weighted_f1 ", printed)
    assert run(["extractor", "validate", "--config", "runs/tiny/reproduced-seed-0/config.yaml"]) == DONE  # a run too
    fit = Path("runs/tiny/seed-0/fit.json")
    content = json.loads(fit.read_text(encoding="utf-8"))
    fit.write_text(json.dumps({**content, "weights_sha256": "0" * 64}), encoding="utf-8")
    assert run(["reproduce", "runs/tiny/seed-0"]) == FAILED
    assert "weights   DIFFERENT" in capsys.readouterr().out


def test_a_closed_form_is_not_fitted_again_on_another_manifest(config, changed, capsys):
    assert changed(lambda u: u.split == "dev", text="this")
    assert run(["extractor", "fit", "--config", "tiny.yaml", "--manifest", "changed", "--run", "run"]) == DONE
    assert changed(lambda u: u.split == "dev", text="that")
    assert run(["reproduce", "run"]) == FAILED
    assert "its data are not what they were" in capsys.readouterr().err


def test_a_sweep_fits_and_tests_a_closed_form(config, capsys):
    command = ["sweep", "--config", "tiny.yaml", "--seeds", "0", "--grid", "model.net.width=4,8"]
    assert run(command) == DONE, capsys.readouterr().err
    assert {path.parent.name for path in Path("runs").glob("tiny*/seed-0/report.json")} == {"seed-0"}
    assert len(list(Path("runs").glob("tiny*/seed-0/report.json"))) == 2
