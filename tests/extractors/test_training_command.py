"""`m2fnet extractor` for networks: fit, resume, test, extract, and what is refused."""

import json

import pytest
import torch
import yaml

from m2fnet.cli import DONE, run
from m2fnet.store import Store

TOY = {
    "seed_everything": 1,
    "trainer": {"accelerator": "cpu", "max_epochs": 3, "enable_progress_bar": False, "enable_model_summary": False},
    "data": {"batch_size": 6, "in_memory": True},
    "model": {
        "net": {"class_path": "toy_network.ToyNetwork", "init_args": {"width": 6}},
        "losses": {"cross_entropy": 1.0},
        "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.02}},
    },
}


@pytest.fixture
def extractor(corpus, tmp_path, monkeypatch):
    """``extractor("fit", "--data.per_class", "2")`` runs the command for the toy network in the run folder ``run``."""
    monkeypatch.setenv("M2FNET_TRUST", "toy_network")
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(TOY), encoding="utf-8")

    def call(command, *options, into="run", manifest=corpus.root / "manifest"):
        where = ["--run", str(tmp_path / into), "--data.manifest", str(manifest)]
        return run(["extractor", command, "--config", str(tmp_path / "toy.yaml"), *where, *options])

    return call


def weights(run_folder, name="best"):
    return torch.load(run_folder / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_fit_test_and_extract(extractor, corpus, tmp_path, capsys):
    assert extractor("fit") == DONE, capsys.readouterr().err
    assert extractor("test") == DONE, capsys.readouterr().err
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    print(capsys.readouterr().out)
    assert set(report["embeddings"]["test"]) == {"head", "nearest", "probe"}
    assert report["test.weighted_f1"] == pytest.approx(report["embeddings"]["test"]["head"])
    command = ["extract", "--ckpt", str(tmp_path / "run"), "--manifest", str(corpus.root / "manifest")]
    assert run([*command, "--out", str(tmp_path / "store")]) == DONE, capsys.readouterr().err
    assert Store(tmp_path / "store").meta.width == 6
