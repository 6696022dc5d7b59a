"""Extractors that are passed on: the same embeddings from a folder, and no setting that holds on one machine only."""

import pytest
import torch
import yaml
from tiny_clips import MEL, embeddings

from extractors.runs import folder
from extractors.runs import portable as saved
from extractors.visual.face_scene import FaceScene
from m2fnet.cli import DONE, run
from m2fnet.errors import RunError, UsageError

SCENE = {"class_path": "extractors.visual.face_scene.FaceScene", "init_args": {"branch_width": 4, "side": 40}}


@pytest.fixture
def network_run(corpus, tmp_path, monkeypatch):
    """The run of a trained network that keeps a file with its weights."""
    monkeypatch.setenv("M2FNET_TRUST", "toy_network")
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    (tmp_path / "letters.txt").write_text("abcdeghijlntvwy!,", encoding="utf-8")
    content = {
        "trainer": {"accelerator": "cpu", "max_epochs": 1, "enable_progress_bar": False},
        "data": {"manifest": str(corpus.root / "manifest"), "batch_size": 6, "in_memory": True},
        "model": {
            "net": {
                "class_path": "toy_network.ToyNetwork",
                "init_args": {"width": 6, "alphabet": str(tmp_path / "letters.txt")},
            },
            "losses": {"cross_entropy": 1.0},
        },
    }
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    fit = ["extractor", "fit", "--config", str(tmp_path / "toy.yaml"), "--run", str(tmp_path / "run")]
    assert run(fit) == DONE
    (tmp_path / "letters.txt").unlink()
    return tmp_path / "run"


def test_a_trained_network_is_the_same_in_another_place(network_run, corpus, tmp_path):
    found = saved.of_run(network_run)
    assert found.settings["init_args"] == {"width": 6, "dropout": 0.0}  # the alphabet is in the folder
    saved.save(found.extractor, tmp_path / "model")
    again = saved.load(found.settings, (tmp_path / "model").rename(tmp_path / "moved"), "here")
    assert not again.training
    pairs = zip(embeddings(found.extractor, corpus), embeddings(again, corpus), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


@pytest.fixture
def fitted_run(corpus, tmp_path, monkeypatch):
    """The run of an extractor that is fitted in one pass."""
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    net = {"class_path": MEL, "init_args": {"width": 6, "mels": 20}}
    content = {"data": {"manifest": str(corpus.root / "manifest"), "workers": 0}, "model": {"net": net}}
    (tmp_path / "mel.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    assert run(["extractor", "fit", "--config", str(tmp_path / "mel.yaml"), "--run", str(tmp_path / "run")]) == DONE
    return tmp_path / "run"


def test_a_fitted_extractor_is_the_same_in_another_place(fitted_run, corpus, tmp_path):
    found = saved.of_run(fitted_run)
    saved.save(found.extractor, tmp_path / "model")
    again = saved.load(found.settings, tmp_path / "model", "here")
    pairs = zip(embeddings(found.extractor, corpus), embeddings(again, corpus), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_a_run_is_recognised_by_the_hash_of_its_weights(network_run, corpus, tmp_path):
    made_with = {"class_path": "toy_network.ToyNetwork", "weights_sha256": saved.of_run(network_run).weights_sha256}
    assert saved.is_run_of(network_run, made_with)
    assert not saved.is_run_of(network_run, {**made_with, "weights_sha256": "0" * 64})
    assert not saved.is_run_of(network_run, {**made_with, "class_path": "toy_network.Other"})
    assert not saved.is_run_of(corpus.root, made_with)


def test_a_fit_is_recognised_by_its_class_and_the_hash_of_its_weights(fitted_run):
    made_with = folder.load(fitted_run).provenance
    assert saved.is_run_of(fitted_run, made_with)
    assert not saved.is_run_of(fitted_run, {**made_with, "weights_sha256": "0" * 64})
    assert not saved.is_run_of(fitted_run, {**made_with, "class_path": SCENE["class_path"]})


@pytest.mark.parametrize("name", ["weights", "detections"])
def test_a_place_of_this_machine_is_not_passed_on(name, tmp_path):
    settings = {**SCENE, "init_args": {**SCENE["init_args"], name: str(tmp_path / "faces")}}
    with pytest.raises(UsageError, match=rf"here sets {name} of FaceScene, which names files of one machine"):
        saved.load(settings, tmp_path, "here")
    assert list(tmp_path.iterdir()) == []


def test_a_network_with_its_memory_in_another_order_is_saved(tmp_path):
    torch.manual_seed(0)
    scene = FaceScene(**SCENE["init_args"]).eval()
    saved.save(scene, tmp_path)
    again = saved.load(SCENE, tmp_path, "here")
    assert all(torch.equal(v, again.state_dict()[name]) for name, v in scene.state_dict().items())


def test_weights_of_another_network_are_refused(tmp_path):
    saved.save(FaceScene(**SCENE["init_args"]), tmp_path)
    other = {**SCENE, "init_args": {**SCENE["init_args"], "branch_width": 5}}
    with pytest.raises(RunError, match=r"model.safetensors does not fit the extractor"):
        saved.load(other, tmp_path, "here")
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(RunError, match=r"model.safetensors does not fit the extractor"):
        saved.load(SCENE, tmp_path, "here")
