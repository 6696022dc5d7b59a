"""`model.layer_decay`: lower rates for lower layers of pretrained encoders, in a task and through the command."""

import re

import pytest
import pytorch_lightning as pl
import torch
import yaml
from tiny_encoders import DEPTH
from toy_network import ToyNetwork

from extractors.audio.speech_encoder import SpeechEncoder
from extractors.data import ExtractorData
from extractors.task import ExtractorTask, LossWeights
from extractors.text.roberta import TextEncoder
from extractors.visual.picture_encoder import PictureEncoder
from m2fnet.cli import DONE, WRONG_USE, run
from m2fnet.errors import UsageError
from m2fnet.problems import make_problem
from m2fnet.records import LabelSet
from m2fnet.runs.checkpoints import checkpoint_file, read_checkpoint

CLASSES = ("joy", "anger", "neutral")
DECAY = 0.5
ONE_STEP = {"limit_train_batches": 1, "limit_val_batches": 0}
HEAD_ONLY = LossWeights(1.0, 0.0, 0.0, 0.0)
SPEECH = {"width": 6, "chunk_seconds": 2.0, "overlap_seconds": 0.2}
NETWORKS = {
    "bert": (TextEncoder, {"budget": 64}),
    "wav2vec2": (SpeechEncoder, SPEECH),
    "hubert": (SpeechEncoder, SPEECH),
    "whisper": (SpeechEncoder, SPEECH),
    "clip": (PictureEncoder, {}),
}
# what is in front of the blocks, by its name in each family; the last norm of wav2vec 2.0 and HuBERT has one name
IN_FRONT = {
    "bert": r"embeddings\.",
    "wav2vec2": r"feature_projection\.|encoder\.(pos_conv_embed|layer_norm)\.",
    "hubert": r"feature_projection\.|encoder\.pos_conv_embed\.",
    "whisper": r"conv[12]\.|embed_positions\.",
    "clip": r"embeddings\.|pre_layrnorm\.",
}


@pytest.fixture
def built(folders):
    """``built("bert", layer_decay=0.5)`` is a task with a tiny network of that family, ``net`` its settings."""

    def build(family, net=(), **settings):
        kind, usual = NETWORKS[family]
        task = ExtractorTask(lambda: kind(folders(family), **{**usual, **dict(net)}), losses=HEAD_ONLY, **settings)
        torch.manual_seed(0)
        task.build(make_problem(LabelSet("tiny", CLASSES), {}))
        return task

    return build


class Rates(pl.Callback):
    """The rate of every weight before each step, by name."""

    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, module, *_):
        names = {parameter: name for name, parameter in module.named_parameters()}
        groups = trainer.optimizers[0].param_groups
        self.seen.append({names[p]: group["lr"] for group in groups for p in group["params"]})
        assert sum(len(group["params"]) for group in groups) == len(names)


@pytest.fixture
def fit(corpus, tmp_path):
    """Trains a task on the tiny corpus and returns the trainer."""

    def train(task, **settings):
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        quiet |= {"accelerator": "cpu", "enable_checkpointing": False, "num_sanity_val_steps": 0}
        trainer = pl.Trainer(**{"max_epochs": 1, "default_root_dir": tmp_path, **quiet, **settings})
        torch.manual_seed(1)
        trainer.fit(task, ExtractorData(str(corpus.root / "manifest"), batch_size=6, in_memory=True))
        return trainer

    return train


def layer_by_name(family, name):
    """The layer that a name says; of head and projector, and of a final norm, the last one."""
    block = re.search(r"\.(?:layer|layers|blocks|h)\.(\d+)\.", name)
    if block and name.startswith("net.encoder."):
        return int(block[1]) + 1
    return 0 if re.match(rf"net\.encoder\.(?:{IN_FRONT[family]})", name) else DEPTH


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=0.02, weight_decay=0.1)


@pytest.mark.parametrize("rate", [None, 0.01])
@pytest.mark.parametrize("family", NETWORKS)
def test_each_layer_has_the_rate_of_the_one_above_times_the_decay(family, rate, built, fit):
    task, rates = built(family, layer_decay=DECAY, backbone_lr=rate, optimizer=adamw), Rates()
    trainer = fit(task, callbacks=[rates], **ONE_STEP)
    learning = {name for name, parameter in task.named_parameters() if parameter.requires_grad}
    layers = {name: layer_by_name(family, name) for name in learning if name.startswith("net.encoder.")}
    assert {*layers.values()} == {*range(DEPTH + 1)} - ({0} if family == "whisper" else set())  # its front is frozen
    for name in learning:
        expected = (rate or 0.02) * DECAY ** (DEPTH - layers[name]) if name in layers else 0.02
        assert rates.seen[0][name] == pytest.approx(expected), name
    groups = trainer.optimizers[0].param_groups
    assert all(group["fused"] and group["weight_decay"] == 0.1 for group in groups)


def test_a_step_changes_each_layer_by_its_share_of_what_it_would_without(built, fit):
    moved = {}
    for decay in (1.0, DECAY):
        task = built("bert", layer_decay=decay, optimizer=adamw)
        start = {name: value.detach().clone() for name, value in task.named_parameters()}
        fit(task, **ONE_STEP)
        moved[decay] = {name: value.detach() - start[name] for name, value in task.named_parameters()}
    for name, whole in moved[1.0].items():
        share = DECAY ** (DEPTH - layer_by_name("bert", name))
        assert whole.abs().max() > 1e-5
        torch.testing.assert_close(moved[DECAY][name], share * whole, rtol=0, atol=1e-6)


def test_without_a_decay_the_encoder_is_one_group(built, fit):
    trainer = fit(built("bert", optimizer=adamw), **ONE_STEP)
    assert [group["lr"] for group in trainer.optimizers[0].param_groups] == [0.02, 0.02]


def test_all_layers_follow_the_schedule(built, fit):
    task, rates = built("bert", layer_decay=DECAY, optimizer=adamw, warmup=0.5, decay="linear"), Rates()
    fit(task, callbacks=[rates], max_epochs=2, limit_val_batches=0)
    shares = [1 / 3, 2 / 3, 1, 1, 2 / 3, 1 / 3]
    assert len(rates.seen) == len(shares)
    for share, seen in zip(shares, rates.seen, strict=True):
        for name, rate in seen.items():
            assert rate == pytest.approx(0.02 * share * DECAY ** (DEPTH - layer_by_name("bert", name)))


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        ({"trained": 2}, {2: 0.01, 3: 0.02}),  # by their distance from the last block, however many learn
        ({"layers": 2}, {0: 0.005, 1: 0.01, 2: 0.02}),  # the last block that is read is the last there is
    ],
)
def test_rates_are_counted_from_the_last_block_that_is_read(net, expected, built, fit):
    task, rates = built("bert", net, layer_decay=DECAY, optimizer=adamw), Rates()
    fit(task, callbacks=[rates], **ONE_STEP)
    learning = {name for name, p in task.named_parameters() if p.requires_grad and name.startswith("net.encoder.")}
    found = {layer_by_name("bert", name): rates.seen[0][name] for name in learning}
    assert found == pytest.approx(expected)


def test_frozen_epochs_keep_the_rates_of_the_layers(built, fit):
    task = built("bert", layer_decay=DECAY, optimizer=adamw, freeze_epochs=1)
    start = {name: value.detach().clone() for name, value in task.net.encoder.named_parameters()}
    fit(task, limit_val_batches=0)
    assert all(torch.equal(value, start[name]) for name, value in task.net.encoder.named_parameters())
    rates = Rates()
    fit(task, callbacks=[rates], max_epochs=2, limit_val_batches=0)
    assert rates.seen[-1] == pytest.approx(
        {name: 0.02 * DECAY ** (DEPTH - layer_by_name("bert", name)) for name in rates.seen[-1]}
    )
    assert not any(torch.equal(value, start[name]) for name, value in task.net.encoder.named_parameters())


def test_looking_at_the_layers_draws_no_random_numbers(built):
    states = []
    for decay in (1.0, DECAY):
        net = built("bert", layer_decay=decay).net
        assert net.training
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


@pytest.mark.parametrize("decay", [0.0, -0.5, 1.1, float("nan")])
def test_a_decay_that_is_no_share_is_refused(decay):
    with pytest.raises(UsageError, match=r"Expected a model\.layer_decay above 0 and at most 1, but got"):
        ExtractorTask(ToyNetwork, layer_decay=decay)


@pytest.mark.parametrize("net", [{"trained": "low_rank"}, {"trained": "none", "pooling": "attention"}])
def test_an_encoder_that_does_not_learn_is_refused(net, built):
    with pytest.raises(
        UsageError, match=r"model\.layer_decay are for pretrained parts that learn; model\.net has none"
    ):
        built("bert", net, layer_decay=DECAY)


def test_a_pretrained_part_without_numbered_layers_is_refused():
    task = ExtractorTask(ToyNetwork, layer_decay=DECAY)
    with pytest.raises(UsageError, match=r"layer_decay is 0\.5, but the pretrained part of ToyNetwork has no numbered"):
        task.build(make_problem(LabelSet("tiny", CLASSES), {}))


@pytest.fixture
def command(corpus, folders, tmp_path, monkeypatch):
    """``command("--model.layer_decay", "0.5", into="run")`` trains a tiny BERT for two epochs."""
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    monkeypatch.chdir(tmp_path)
    net = {"class_path": "extractors.text.roberta.TextEncoder", "init_args": {"model": folders("bert"), "budget": 64}}
    content = {
        "seed_everything": 1,
        "trainer": {"accelerator": "cpu", "max_epochs": 2, "enable_progress_bar": False},
        "data": {"manifest": str(corpus.root / "manifest"), "batch_size": 6, "in_memory": True},
        "model": {"net": net, "losses": {"cross_entropy": 1.0}, "backbone_lr": 0.01},
    }
    (tmp_path / "bert.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")

    def call(*options, into="run"):
        return run(["extractor", "fit", "--config", "bert.yaml", "--run", into, *options])

    return call


def test_an_interrupted_training_resumes_with_the_rates_of_its_layers(command, tmp_path, capsys):
    setting = ("--model.layer_decay", "0.5", "--model.warmup", "0")
    assert command(*setting, into="whole") == DONE, capsys.readouterr().err
    assert command(*setting, "--trainer.max_epochs", "1", into="cut") == DONE
    (tmp_path / "cut" / "fit.json").unlink()  # as if it had been killed after its first epoch
    config = tmp_path / "cut" / "config.yaml"
    config.write_text(config.read_text().replace("max_epochs: 1", "max_epochs: 2"))
    assert command(*setting, into="cut") == DONE
    assert "Resuming" in capsys.readouterr().out
    assert command(into="plain") == DONE
    whole, cut, plain = (
        read_checkpoint(checkpoint_file(tmp_path / name, "last"))["state_dict"] for name in ("whole", "cut", "plain")
    )
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert not torch.equal(
        whole["net.encoder.encoder.layer.0.output.dense.weight"],
        plain["net.encoder.encoder.layer.0.output.dense.weight"],
    )
    header = (tmp_path / "whole" / "logs" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    assert header.count("/encoder.encoder.layer.") == DEPTH  # the norms of the gradients


def test_the_command_refuses_a_wrong_decay_in_one_line(command, capsys):
    assert command("--model.layer_decay", "2") == WRONG_USE
    error = [line for line in capsys.readouterr().err.splitlines() if "Seed set" not in line]
    assert len(error) == 1
    assert "model.layer_decay above 0 and at most 1, but got 2.0" in error[0]
