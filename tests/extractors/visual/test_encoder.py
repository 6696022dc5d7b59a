"""The encoder of pictures, and weights from files of every kind."""

import os
import pickle

import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from safetensors.torch import save_file
from torchvision.models import resnet18

from extractors.visual.encoder import ImageEncoder, load_backbone
from m2fnet.errors import RunError

SIDES = {"resnet18": 33, "inception_resnet_v1": 107}


def pictures(count, side):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) * 255


@pytest.fixture(scope="module")
def published():
    torch.manual_seed(1)
    return resnet18(weights=None).state_dict()


@pytest.mark.parametrize("backbone", SIDES)
def test_the_smallest_side_can_be_trained_with_a_single_picture(backbone):
    encoder = ImageEncoder(backbone, 5, SIDES[backbone])
    vectors = encoder(pictures(1, SIDES[backbone]))
    assert vectors.shape == (1, 5)
    vectors.sum().backward()
    assert torch.isfinite(encoder.projector.weight.grad).all()


@pytest.mark.parametrize("backbone", SIDES)
def test_a_smaller_side_is_refused(backbone):
    with pytest.raises(
        ValueError, match=f"at least {SIDES[backbone]} pixels for {backbone}, got {SIDES[backbone] - 1}"
    ):
        ImageEncoder(backbone, 5, SIDES[backbone] - 1)


def test_vectors_are_not_normalised():
    torch.manual_seed(0)
    lengths = ImageEncoder("inception_resnet_v1", 5, 107).eval()(pictures(3, 107)).norm(dim=1)
    assert (lengths - 1).abs().min() > 1e-3


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_published_weights_are_taken_without_their_head(tmp_path, published, suffix):
    path = tmp_path / f"resnet18{suffix}"
    torch.save(published, path) if suffix == ".pth" else save_file(published, path)
    backbone = ImageEncoder("resnet18", 5, 64, weights=path).backbone
    assert set(backbone.state_dict()) == {name for name in published if not name.startswith("fc.")}
    assert all(torch.equal(tensor, published[name]) for name, tensor in backbone.state_dict().items())


def test_published_face_weights_are_taken(tmp_path):
    network = InceptionResnetV1(pretrained=None, classify=True, num_classes=7)
    torch.save(network.state_dict(), tmp_path / "vggface2.pt")
    backbone = ImageEncoder("inception_resnet_v1", 5, 107, weights=tmp_path / "vggface2.pt").backbone
    assert torch.equal(backbone.conv2d_1a.conv.weight, network.conv2d_1a.conv.weight)


def test_the_checkpoint_of_a_run_is_taken(tmp_path, published):
    inside = {f"net.encoder.backbone.{name}": tensor for name, tensor in published.items()}
    torch.save({"state_dict": inside | {"head.weight": torch.zeros(7, 5)}, "epoch": 3}, tmp_path / "best.ckpt")
    backbone = ImageEncoder("resnet18", 5, 64, weights=tmp_path / "best.ckpt").backbone
    assert torch.equal(backbone.conv1.weight, published["conv1.weight"])


def test_old_weights_without_counters_are_taken(tmp_path, published):
    torch.save({n: t for n, t in published.items() if not n.endswith("num_batches_tracked")}, tmp_path / "old.pth")
    load_backbone(resnet18(weights=None), tmp_path / "old.pth")


def test_weights_of_another_network_are_refused(tmp_path, published):
    torch.save(published, tmp_path / "resnet18.pth")
    with pytest.raises(RunError, match=r"does not hold the weights of this InceptionResnetV1: \d+ of \d+ are absent"):
        ImageEncoder("inception_resnet_v1", 5, 107, weights=tmp_path / "resnet18.pth")
    wrong_shape = published | {"conv1.weight": torch.zeros(64, 1, 7, 7)}
    torch.save(wrong_shape, tmp_path / "grey.pth")
    with pytest.raises(RunError, match=r"1 of 120 are absent or of another shape, for example 'conv1.weight'"):
        ImageEncoder("resnet18", 5, 64, weights=tmp_path / "grey.pth")


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


@pytest.mark.parametrize("name", ["absent.pth", "absent.safetensors", "empty.pth", "text.safetensors", "harmful.pth"])
def test_unreadable_weights_are_one_sentence_and_never_run(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.pth").touch()
    (tmp_path / "text.safetensors").write_text("no weights")
    (tmp_path / "harmful.pth").write_bytes(pickle.dumps({"state_dict": Harmful()}, protocol=2))
    with pytest.raises(RunError, match=r"Cannot read weights from .*Expected a \.safetensors file"):
        ImageEncoder("resnet18", 5, 64, weights=tmp_path / name)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {"state_dict": 3}, {1: torch.zeros(2)}])
def test_files_that_hold_something_else_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(RunError, match="does not hold the weights of this ResNet"):
        ImageEncoder("resnet18", 5, 64, weights=tmp_path / "odd.pth")
