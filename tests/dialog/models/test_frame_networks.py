"""What has to hold for every network that reads sequences, and for those that pool them."""

import pytest
import torch
from made_up_batches import WIDTHS, batch_of, without
from torch.testing import assert_close

from dialog.models.frame_late_fusion import FrameLateFusion
from dialog.models.frame_lstm import FrameLSTM
from dialog.models.frame_mult import FrameMulT
from dialog.models.late_fusion import LateFusion
from dialog.models.m2fnet import M2FNet
from dialog.models.per_utterance import PerUtterance
from dialog.models.recurrent import Recurrent
from m2fnet.problems import Stream, make_problem
from m2fnet.records import LabelSet

LABELS = LabelSet("three", ("joy", "anger", "fear"), "multi")
POOLED = {
    "linear": lambda problem, pooling: PerUtterance(problem, pooling=pooling),
    "lstm over utterances": lambda problem, pooling: Recurrent(problem, width=5, pooling=pooling),
    "late fusion over utterances": lambda problem, pooling: LateFusion(problem, width=8, heads=2, pooling=pooling),
    "m2fnet": lambda problem, pooling: M2FNet(
        problem, width=8, heads=2, hidden=8, fusion_layers=1, pooling=pooling
    ),
}  # fmt: skip
READING = {
    "lstm": lambda problem: FrameLSTM(problem, width=4, hidden=6),
    "late fusion": lambda problem: FrameLateFusion(problem, width=8, heads=2, feedforward=8, layers=1),
    "mult": lambda problem: FrameMulT(problem, width=6, heads=2, layers=1),
}


def pooling_by(make, pooling):
    return lambda problem: make(problem, pooling)


POOLING = {f"{name}, {of}": pooling_by(make, of) for name, make in POOLED.items() for of in ("mean", "attention")}
NETWORKS = {**READING, **POOLING}


def made(name, streams=tuple(WIDTHS)):
    torch.manual_seed(0)
    return NETWORKS[name](make_problem(LABELS, {of: Stream(of, WIDTHS[of], is_sequence=True) for of in streams})).eval()


def sequences(lengths=(3, 2), most_frames=4):
    draw = torch.Generator().manual_seed(0)
    batch = batch_of(lengths)
    shape = (*batch["valid"].shape, most_frames)
    for name, width in WIDTHS.items():
        count = torch.randint(1, most_frames + 1, shape[:2], generator=draw)
        batch["frames"][name] = (torch.arange(most_frames) < count[..., None]) & batch["valid"][..., None]
        batch["inputs"][name] = torch.randn(*shape, width, generator=draw)
    return batch


@pytest.mark.parametrize("name", NETWORKS)
def test_padding_of_frames_changes_no_score_and_frames_do(name):
    network, batch = made(name), sequences()
    scores = network(batch).scores[batch["valid"]]
    assert scores.isfinite().all()
    for stream, mask in batch["frames"].items():
        batch["inputs"][stream] = torch.where(mask[..., None], batch["inputs"][stream], 5.0)
    assert_close(network(batch).scores[batch["valid"]], scores, atol=1e-6, rtol=0)
    batch["inputs"]["text"][0, 0, 0] *= torch.linspace(-1, 2, WIDTHS["text"])
    assert not torch.allclose(network(batch).scores[0, 0], scores[0], atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_missing_does_not_matter(name):
    network, batch = made(name), without(sequences(), "audio", at=(0, 1))
    scores = network(batch).scores
    batch["inputs"]["audio"][0, 1] = 7.0
    assert_close(network(batch).scores, scores)
    for stream in WIDTHS:
        batch["present"][stream][0, 1] = False
        batch["frames"][stream][0, 1] = False
    assert network(batch).scores.isfinite().all()


@pytest.mark.parametrize("name", READING)
@pytest.mark.parametrize("streams", [("text",), ("text", "audio", "visual")])
def test_every_weight_gets_a_finite_gradient(name, streams):
    network, batch = made(name, streams).train(), without(sequences(), streams[-1], at=0)
    network(batch).scores.square().sum().backward()
    for weight, parameter in network.named_parameters():
        assert parameter.grad is not None, weight
        assert parameter.grad.isfinite().all(), weight


@pytest.mark.parametrize("name", READING)
def test_a_stream_of_vectors_is_a_sequence_of_one(name):
    torch.manual_seed(0)
    network = NETWORKS[name](make_problem(LABELS, {"text": Stream("text", WIDTHS["text"])})).eval()
    assert network(batch_of((2, 1))).scores.shape == (2, 2, 3)


def test_the_mean_is_over_the_real_frames():
    network, batch = made("linear, mean"), sequences((1,), most_frames=3)
    for name in WIDTHS:
        batch["frames"][name][:] = torch.tensor([True, True, False])
    vectors = {**batch, "frames": {}, "inputs": {name: x[:, :, :2].mean(2) for name, x in batch["inputs"].items()}}
    assert_close(network(batch).scores, network(vectors).scores)


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (FrameLSTM, {"width": 0}, "`width`, `layers` and `hidden` to be at least 1"),
        (FrameLateFusion, {"width": 9, "heads": 2}, "`heads` to divide `width`"),
        (FrameMulT, {"width": 9, "heads": 2}, "`heads` to divide `width`"),
    ],
)
def test_sizes_that_make_no_sense_are_named(make, settings, message):
    with pytest.raises(ValueError, match=message):
        make(make_problem(LABELS, WIDTHS), **settings)
