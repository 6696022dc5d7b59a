"""Networks that only embed: the embeddings of the form that was trained but for rounding, in a precision that stays."""

import pytest
import torch
from torch import nn
from toy_network import ToyNetwork
from watched import MADE, Watched, ctrl_c, files

from extractors.audio.mel_resnet import MelResNet
from extractors.evaluation.linear_probe import linear_probe
from extractors.extraction import extract as extracting
from extractors.extraction.embedding import Loading
from extractors.extraction.extract import extract
from extractors.extraction.inference import arithmetic, fastest_precision, inference_form
from extractors.text.lsa import LSA
from extractors.visual.face_scene import FaceScene
from m2fnet.errors import StoreError
from m2fnet.store.parts import extractor_of_parts
from m2fnet.store.shards import Shard, agreed, merge_shards

FOLDED, ROUNDED = 1e-5, 0.02  # of the embeddings' length; docs/scale.md states the latter
PROBED = 0.02  # weighted F1 of a linear probe, there too


@pytest.fixture
def settled():
    """Makes a network whose batch normalisation has seen something."""

    def make(network, **settings):
        torch.manual_seed(0)
        made = network(**settings)
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.2)
                module.running_var.uniform_(0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.2)
        return made.eval()

    return make


def sounds(seconds=(1.0, 0.6, 0.3)):
    lengths = torch.tensor([round(16_000 * length) for length in seconds])
    samples = 0.1 * torch.randn(len(seconds), int(lengths.max()), generator=torch.Generator().manual_seed(0))
    return {"samples": samples * (torch.arange(samples.shape[1]) < lengths[:, None]), "lengths": lengths}


def pictures():
    shown = torch.randint(0, 256, (6, 3, 112, 112), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return {
        "pictures": shown,
        "clip_of_scene": torch.tensor([0, 0, 1]),
        "frame_of_face": torch.tensor([0, 0, 1]),
        "clip_of_frame": torch.tensor([0, 1]),
        "weight": torch.tensor([0.5, 0.5, 1.0]),
        "has_face": torch.tensor([True, True]),
        "cut_faces": torch.zeros(2),
    }


@pytest.mark.parametrize(
    ("network", "settings", "batch"),
    [
        (MelResNet, {}, sounds()),
        (MelResNet, {}, sounds((0.3, 0.2, 0.1))),  # so short that bfloat16 was wrong with AMX
        (MelResNet, {}, sounds((0.05,))),
        (FaceScene, {}, pictures()),
        (FaceScene, {"backbone": "inception_resnet_v1"}, pictures()),
    ],
)
def test_the_form_of_inference_gives_the_same_embeddings_and_leaves_the_network_as_it_is(
    settled, network, settings, batch
):
    trained = settled(network, **settings)
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    with torch.inference_mode():
        expected = trained(batch)
        exact = inference_form(trained)(batch)
        form = inference_form(trained, "bf16-mixed")
        with arithmetic("bf16-mixed", "cpu"):
            rounded = form(batch).float()
    assert (exact - expected).norm() < FOLDED * expected.norm()
    assert 0 < (rounded - expected).norm() < ROUNDED * expected.norm()
    after = trained.state_dict()
    assert list(after) == list(before)
    assert all(after[name].dtype == before[name].dtype and after[name].equal(before[name]) for name in before)
    assert all(parameter.requires_grad for parameter in trained.parameters())
    assert any(isinstance(module, nn.BatchNorm2d) for module in trained.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for part in form.convolutional for module in
                   form.get_submodule(part).modules())  # fmt: skip


def test_a_linear_probe_finds_as_much_in_rounded_embeddings(settled):
    generator = torch.Generator().manual_seed(0)
    labels = [("joy", "anger", "fear")[number % 3] for number in range(90)]
    pitch = torch.tensor([{"joy": 300.0, "anger": 330.0, "fear": 365.0}[label] for label in labels])[:, None]
    pitch = pitch * (1 + 0.06 * torch.randn(90, 1, generator=generator))  # the emotions overlap
    tones = 0.1 * torch.sin(2 * torch.pi * pitch * torch.arange(4000) / 16_000)
    clips = tones + 0.02 * torch.randn(tones.shape, generator=generator)
    trained = settled(MelResNet, width=16)
    found = {}
    for precision in ("32-true", "bf16-mixed"):
        with torch.inference_mode(), arithmetic(precision, "cpu"):
            batch = {"samples": clips, "lengths": torch.full((90,), 4000)}
            embeddings = inference_form(trained, precision)(batch).float()
        found[precision] = linear_probe(embeddings[:60], labels[:60], embeddings[60:], labels[60:])["weighted_f1"]
    assert 0.5 < found["32-true"] < 0.98
    assert abs(found["bf16-mixed"] - found["32-true"]) < PROBED


def test_a_network_without_convolutions_is_its_own_form():
    network = ToyNetwork(width=4)
    assert inference_form(network, "bf16-mixed") is network
    assert not network.training


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, "bf16-mixed"),
        ({"amx_bf16": False, "avx512_bf16": True}, "32-true"),
        ({"neon": True}, "32-true"),
    ],
)
def test_only_a_processor_with_amx_computes_networks_in_bfloat16(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert fastest_precision(ToyNetwork(), "cpu") == expected
    assert fastest_precision(LSA(width=2), "cpu") == "32-true"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_device_that_only_emulates_bfloat16_stays_at_float32(monkeypatch, device):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    assert fastest_precision(ToyNetwork(), device) == "32-true"
    assert fastest_precision(ToyNetwork(), "mps") == "32-true"


@pytest.fixture
def machine(monkeypatch):
    """Moves the extraction to a machine whose networks are fastest in the given precision."""
    return lambda precision: monkeypatch.setattr(extracting, "fastest_precision", lambda *_: precision)


def automatic(extractor, corpus, out, **options):
    loading = Loading(batch_size=4, workers=0)
    return extract(extractor, MADE, corpus, out, loading=loading, save_every=0, precision="auto", **options)


@pytest.mark.parametrize("precisions", [("bf16-mixed", "32-true"), ("32-true", "bf16-mixed")])
def test_what_is_resumed_stays_in_its_precision_on_another_machine(corpus, tmp_path, machine, precisions):
    here, there = precisions
    whole = extract(
        Watched(), MADE, corpus, tmp_path / "whole", loading=Loading(batch_size=4, workers=0), precision=here
    ).store
    machine(here)
    with pytest.raises(KeyboardInterrupt):
        automatic(Watched(at="dev0_0", stop=ctrl_c), corpus, tmp_path / "store")
    made = extractor_of_parts(tmp_path / "store")
    assert made == whole.meta.extractor == (MADE if here == "32-true" else {**MADE, "precision": here})
    machine(there)
    done = automatic(again := Watched(), corpus, tmp_path / "store")
    assert 0 < len(again.seen) < len(corpus.utterances)
    assert files(done.store.folder) == files(whole.folder)
    assert automatic(Watched(), corpus, tmp_path / "store").embedded == 0


def test_a_store_that_is_replaced_or_of_another_extractor_does_not_decide(corpus, tmp_path, machine):
    machine("bf16-mixed")
    automatic(Watched(), corpus, tmp_path / "store")
    machine("32-true")
    assert automatic(Watched(), corpus, tmp_path / "store").store.meta.extractor["precision"] == "bf16-mixed"
    assert "precision" not in automatic(Watched(), corpus, tmp_path / "store", overwrite=True).store.meta.extractor


def test_what_failed_is_tried_again_in_the_precision_of_the_rest(corpus, tmp_path, machine):
    machine("bf16-mixed")
    automatic(Watched(broken={"dev0_1"}), corpus, tmp_path / "store")
    machine("32-true")
    done = automatic(Watched(), corpus, tmp_path / "store", retry_failed=True)
    assert (done.embedded, len(done.missing)) == (1, 0)
    assert done.store.meta.extractor["precision"] == "bf16-mixed"


def test_shards_on_different_machines_follow_the_first_one(corpus, tmp_path, machine):
    for number, precision in ((2, "bf16-mixed"), (1, "32-true")):
        machine(precision)
        automatic(Watched(), corpus, tmp_path / "store", shard=Shard(number, 2))
    assert merge_shards(tmp_path / "store", corpus).meta.extractor["precision"] == "bf16-mixed"


def test_a_shard_that_is_resumed_stays_in_its_precision(corpus, tmp_path, machine):
    shard, loading = Shard(1, 2), Loading(batch_size=4, workers=0)
    extract(Watched(), MADE, corpus, tmp_path / "store", loading=loading, shard=shard, precision="32-true")
    (tmp_path / "store" / ".shards" / "precision").unlink()  # as a version before left it
    machine("bf16-mixed")
    for number in (1, 2):
        automatic(Watched(), corpus, tmp_path / "store", shard=Shard(number, 2))
    assert "precision" not in merge_shards(tmp_path / "store", corpus).meta.extractor


def test_a_shard_of_another_precision_is_refused_before_it_embeds(corpus, tmp_path, machine):
    machine("bf16-mixed")
    automatic(Watched(), corpus, tmp_path / "store", shard=Shard(1, 2))
    other = Watched()
    with pytest.raises(StoreError, match="is made with --precision bf16-mixed, this one would be with 32-true"):
        extract(other, MADE, corpus, tmp_path / "store", shard=Shard(2, 2), precision="32-true")
    assert not other.seen


def test_shards_agree_where_there_are_no_links(tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.hardlink_to", lambda *_: (_ for _ in ()).throw(PermissionError("no links")))
    assert agreed(tmp_path, "precision", "32-true") == "32-true"
    assert agreed(tmp_path, "precision", "bf16-mixed") == "32-true"
