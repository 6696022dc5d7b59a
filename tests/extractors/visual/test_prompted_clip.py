"""Prompted CLIP as an extractor, on a tiny random CLIP: what it embeds, what it saves, and from clips to two stores."""

import json
from dataclasses import replace

import pytest
import torch
import yaml
from tiny_clip_model import save_tiny_clip
from tiny_clips import WORDS, tiny_utterances
from torch.testing import assert_close
from transformers import BertConfig, BertModel, CLIPImageProcessor

from extractors.base import PlacedUtterance
from extractors.extraction.embedding import place_utterances
from extractors.layers.class_prompts import ClassPrompts, Context, Prototypes
from extractors.layers.video_prompts import Prompts
from extractors.runs import portable
from extractors.visual.prompted_clip import PromptedCLIP, square
from m2fnet.cli import DONE, WRONG_USE, run
from m2fnet.errors import MediaError, RunError
from m2fnet.manifest import Manifest
from m2fnet.model.bounds import WithinWeights
from m2fnet.problems import make_problem
from m2fnet.records import LabelSet
from m2fnet.runs.checkpoints import read_checkpoint
from m2fnet.store import Store

PROBLEM = make_problem(LabelSet("tiny", tuple(WORDS)), {})
SMALL = {"frames": 3, "prompts": Prompts(global_tokens=2), "context": Context(tokens=2)}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return save_tiny_clip(tmp_path_factory.mktemp("hub") / "tiny")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    return Manifest("tiny", LabelSet("tiny", tuple(WORDS)), tiny_utterances(root), root).save(root / "manifest")


def trained(clip, **settings):
    torch.manual_seed(0)
    net = PromptedCLIP(clip, **SMALL | settings)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return net.eval()


def samples(*counts):
    draw = torch.Generator().manual_seed(0)
    return [{"frames": torch.randint(256, (n, 3, 12, 12), generator=draw, dtype=torch.uint8)} for n in counts]


def test_a_clip_has_the_same_embedding_single_and_in_a_batch(clip):
    for output in ("prompted", "plain"):
        net = trained(clip, output=output)
        several = samples(3, 1, 2, 3, 70, 2)
        with torch.no_grad():
            together = net(net.collate(several))
            single = torch.cat([net(net.collate([one])) for one in several])
            net.train()
            assert_close(net(net.collate(several)), together, atol=1e-6, rtol=0)
        assert together.shape == (6, net.width) == (6, 5)
        assert_close(together, single, atol=1e-6, rtol=0)


def test_pictures_are_those_that_clip_was_trained_on(clip, manifest):
    placed = place_utterances(manifest, "dev")[0]
    net = PromptedCLIP(clip, **SMALL)
    sample = net.preprocess(placed)
    assert sample["frames"].dtype == torch.uint8
    assert 1 <= net.length(sample) <= 3
    assert sample["frames"].shape[1:] == (3, 12, 12)
    raw = torch.randint(256, (3, 40, 30), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    theirs = CLIPImageProcessor.from_pretrained(clip)(raw, return_tensors="pt")["pixel_values"]
    ours = (square(raw[None], 12).float() - net.mean) / net.deviation
    assert (ours - theirs).abs().mean() < 0.02
    assert (ours - theirs).abs().max() < 0.2


def test_before_training_both_outputs_are_the_same_and_afterwards_not(clip):
    batch = PromptedCLIP(clip, **SMALL).collate(samples(3, 2))
    prompted, plain = (PromptedCLIP(clip, **SMALL, output=o).eval()(batch) for o in ("prompted", "plain"))
    assert_close(prompted, plain, atol=1e-6, rtol=0)
    prompted, plain_again = (trained(clip, output=o)(batch) for o in ("prompted", "plain"))
    assert torch.equal(plain, plain_again)
    assert (prompted - plain).abs().max() > 1e-3


def test_the_head_is_the_one_that_is_asked_for(clip):
    described = {"joy": "a smiling mouth"}
    head = PromptedCLIP(clip, **SMALL, descriptions=described).head(PROBLEM)
    assert isinstance(head, ClassPrompts)
    assert head.texts.classes == ((4, 5, 6), (2,), (3,))
    assert isinstance(PromptedCLIP(clip, **SMALL, head="prototypes").head(PROBLEM), Prototypes)
    linear = PromptedCLIP(clip, **SMALL, head="linear").head(PROBLEM)
    assert isinstance(linear, torch.nn.Linear)
    with pytest.raises(ValueError, match="descriptions of joy, anger, neutral, but 'fear' is not one of them"):
        PromptedCLIP(clip, **SMALL, descriptions={"fear": "wide eyes"}).head(PROBLEM)
    with pytest.raises(ValueError, match="output to be prompted for training, but got plain"):
        PromptedCLIP(clip, **SMALL, output="plain").head(PROBLEM)


def test_it_is_built_again_from_what_it_kept_and_from_nothing_else(clip, tmp_path):
    net = trained(clip)
    net.save_assets(tmp_path / "run")
    again = PromptedCLIP(**SMALL, **PromptedCLIP.asset_settings(tmp_path / "run")).eval()
    again.load_state_dict(net.state_dict())
    batch = net.collate(samples(3, 2))
    with torch.no_grad():
        assert torch.equal(net(batch), again(batch))
    assert isinstance(again.head(PROBLEM), ClassPrompts)
    other = PromptedCLIP(save_tiny_clip(tmp_path / "other", seed=1), **SMALL)
    with pytest.raises(RunError, match="trained on a frozen CLIPModel"):
        other.load_state_dict(net.state_dict())


def test_another_encoder_is_refused(tmp_path):
    small = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=20)
    BertModel(small).save_pretrained(tmp_path)
    CLIPImageProcessor().save_pretrained(tmp_path)
    with pytest.raises(RunError, match="holds a bert; expected a CLIP"):
        PromptedCLIP(str(tmp_path))


def test_a_damaged_description_of_the_pictures_is_refused(tmp_path):
    name = save_tiny_clip(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [1]}))
    with pytest.raises(RunError, match=r"preprocessor_config.json has image_mean \[1\]; expected three numbers"):
        PromptedCLIP(name)


def test_an_utterance_without_pictures_says_so(clip, manifest):
    placed = place_utterances(manifest, "dev")[0]
    said = [replace(u, video=None) for u in placed.dialogue.utterances]
    silent = PlacedUtterance(manifest, replace(placed.dialogue, utterances=tuple(said)), 0)
    with pytest.raises(MediaError, match="names no picture"):
        PromptedCLIP(clip, **SMALL).preprocess(silent)


def test_from_clips_to_two_streams(clip, manifest, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    net = {"model": clip, "frames": 3, "prompts": {"global_tokens": 2}, "context": {"tokens": 2}}
    config = {
        "trainer": {"max_epochs": 3, "accelerator": "cpu", "devices": 1, "enable_progress_bar": False},
        "data": {"manifest": str(manifest.root / "manifest"), "batch_size": 9, "in_memory": True, "workers": 0},
        "model": {
            "net": {"class_path": "extractors.visual.prompted_clip.PromptedCLIP", "init_args": net},
            "losses": {"cross_entropy": 1.0, "triplet": 0.0, "covariance": 0.0, "variance": 0.0},
            "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.02}},
        },
    }
    (tmp_path / "clip.yaml").write_text(yaml.safe_dump(config))
    assert run(["extractor", "fit", "--config", "clip.yaml", "--run", "runs/clip"]) == DONE, capsys.readouterr().err
    state = read_checkpoint(tmp_path / "runs/clip/checkpoints/best.ckpt")["state_dict"]
    assert "head.context" in state
    assert not any("vision_model" in name or "text_model" in name for name in state)
    assert sum(value.numel() for value in state.values()) < 1_000
    assert run(["extractor", "test", "--config", "runs/clip/config.yaml"]) == DONE, capsys.readouterr().err
    extract = ["extract", "--ckpt", "runs/clip", "--manifest", str(manifest.root / "manifest"), "--workers", "0"]
    assert run([*extract, "--out", "prompted"]) == DONE, capsys.readouterr().err
    assert run([*extract, "--out", "plain", "--output", "plain"]) == DONE, capsys.readouterr().err
    prompted, plain = Store(tmp_path / "prompted"), Store(tmp_path / "plain")
    assert len(prompted) == len(plain) == len(manifest.utterances)
    assert prompted.meta.extractor["init_args"]["output"] == "prompted"
    assert plain.meta.extractor["init_args"]["output"] == "plain"
    name = manifest.utterances[0].id
    assert (prompted[name] - plain[name]).abs().max() > 1e-4
    saved = portable.of_run(tmp_path / "runs/clip", "plain")
    portable.save(saved.extractor, tmp_path / "exported")
    with WithinWeights(sorted((tmp_path / "exported").rglob("*.safetensors")), "exported"):
        again = portable.load(saved.settings, tmp_path / "exported", "exported")
    batch = again.collate(samples(3, 2))
    with torch.no_grad():
        assert torch.equal(again(batch), saved.extractor(batch))
    assert run([*extract, "--out", "third", "--output", "frames"]) == WRONG_USE
    assert "has no output 'frames'; expected one of prompted, plain" in capsys.readouterr().err
