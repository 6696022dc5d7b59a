"""MERBench's attention fusion against the numbers of its code, and modality dropout against exact expectations."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_batches import LABELS, WIDTHS, batch_of, without
from torch.testing import assert_close

from dialog.missing.modality_dropout import pattern_probabilities
from dialog.models.attention_fusion import AttentionFusion
from dialog.models.low_rank_fusion import LowRankFusion
from m2fnet.losses.ratings import rating_loss
from m2fnet.problems import Stream, make_problem
from m2fnet.records import LabelSet

NUMBERS = os.environ.get("M2FNET_REFERENCE_NUMBERS")  # a folder; its numbers are not part of the project
FOLDER = Path(NUMBERS, "mer") if NUMBERS else None
STREAMS = {"audio": "audio", "text": "text", "video": "visual"}  # in the order of the numbers
SCHEMES = {
    "six_patterns": "even",
    "independent_redrawn": "redraw",
    "independent_none_means_all": "keep_all",
    "independent_one_restored": "restore_one",
}


def numbers(name):
    if FOLDER is None or not FOLDER.exists():
        pytest.skip("M2FNET_REFERENCE_NUMBERS names no folder with reference numbers")
    arrays = np.load(FOLDER / f"{name}.npz").items()
    return {key: torch.from_numpy(value) for key, value in arrays if value.dtype.kind in "fiub"}


def our_names(given, prefix="weights."):
    """Weights by the names of the numbers -> by the names of our ``state_dict``."""
    heads = {"attention_out": "weigh", "emotion_head": "classify", "valence_head": "rate"}
    found = {}
    for name, value in given.items():
        if name.startswith(prefix):
            part, layer, *kind = name.removeprefix(prefix).split(".")
            if part in heads:
                found[f"{heads[part]}.{layer}"] = value
            else:
                place = f"{2 * (int(layer.removeprefix('layer')) - 1)}.{kind[0]}"
                found[f"attention.{place}" if part == "attention" else f"encoders.{part}.{place}"] = value
    return found


def released(given, streams=STREAMS, weights="plain"):
    """The network of the numbers, and its batch of dialogues of one utterance."""
    inputs = {name: given[f"input.{name}"][:, None] for name in streams}
    labels = LabelSet("reference", tuple(f"emotion {n}" for n in range(len(given["weights.emotion_head.bias"]))))
    shapes = {name: Stream(modality, inputs[name].shape[-1]) for name, modality in streams.items()}
    hidden = len(given["weights.attention.layer1.bias"])
    problem = make_problem(labels, shapes, ["valence"])
    net = AttentionFusion(problem, hidden=hidden, dropout=0.0, weights=weights, input_norm="none").double()
    net.load_state_dict(our_names(given))
    here = torch.ones(len(next(iter(inputs.values()))), 1, dtype=torch.bool)
    return net, {"inputs": inputs, "present": dict.fromkeys(streams, here)}


def losses(net, batch, given):
    output = net(batch)
    cross_entropy = torch.nn.functional.cross_entropy(output.scores[:, 0], given["target.emotion"].long())
    return cross_entropy, rating_loss(output.ratings, given["target.valence"].view(-1, 1, 1))


def same(ours, theirs):
    assert_close(ours.detach(), theirs, atol=1e-9, rtol=0)


def test_forward_losses_and_gradients_are_those_of_the_released_code():
    given = numbers("attention_fusion")
    net, batch = released(given)
    for values in batch["inputs"].values():
        values.requires_grad_()
    hidden, present = net.hidden(batch), torch.stack(list(batch["present"].values()), -1)
    weights, output = net.stream_weights(hidden, present), net(batch)
    for m, name in enumerate(STREAMS):
        same(hidden[:, 0, m], given[f"output.hidden.{name}"])
    same(weights[:, 0], given["output.attention"].flatten(1))
    same((weights[..., None] * hidden).sum(-2)[:, 0], given["output.fused"])
    same(output.scores[:, 0], given["output.emotion_logits"])
    same(output.ratings[:, 0], given["output.valence"].view(-1, 1))
    cross_entropy, mse = losses(net, batch, given)
    same(cross_entropy, given["output.loss.cross_entropy"].view(()))
    same(mse, given["output.loss.mse"].view(()))
    (cross_entropy + mse).backward()
    theirs = our_names(given, "gradient.weights.")
    assert len(theirs) > 2
    for name, gradient in theirs.items():
        same(net.get_parameter(name).grad, gradient)
    for name in STREAMS:
        if f"gradient.input.{name}" in given:
            same(batch["inputs"][name].grad[:, 0], given[f"gradient.input.{name}"])


def test_ten_steps_are_those_of_the_released_code():
    given, steps = numbers("attention_fusion"), numbers("attention_fusion_ten_steps")
    net, batch = released(given)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-5)
    for expected in steps["losses"]:
        loss = sum(losses(net, batch, given))
        same(loss, expected)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    theirs = our_names(steps, "after.weights.")
    assert len(theirs) == 2
    for name, weight in theirs.items():
        same(net.get_parameter(name), weight)
    same(net(batch).scores[:, 0], steps["after.emotion_logits"])


def test_any_number_of_streams_is_fused_as_in_the_released_code():
    given = numbers("attention_fusion_many")
    renamed = {key.replace("input.", "input.f").replace("weights.", "weights.f"): value for key, value in given.items()}
    heads = ("attention", "attention_out", "emotion_head", "valence_head")
    for part in heads:
        renamed = {key.replace(f"weights.f{part}", f"weights.{part}"): value for key, value in renamed.items()}
    net, batch = released(renamed, {f"f{n}": "visual" for n in range(4)})
    output = net(batch)
    same(output.scores[:, 0], given["output.emotion_logits"])
    same(output.ratings[:, 0], given["output.valence"].view(-1, 1))


@pytest.mark.parametrize("weights", ["plain", "softmax", "masked_softmax"])
def test_every_pattern_of_present_streams_and_its_expectation_is_that_of_the_released_code(weights):
    given, dropped = numbers("attention_fusion"), numbers("modality_dropout")
    net, batch = released(given, weights=weights)
    scores = {}
    for row, stays in enumerate(dropped["keep"].bool()):
        batch["present"] = {name: here.expand(5, 1) for name, here in zip(STREAMS, stays, strict=True)}
        present = torch.stack(list(batch["present"].values()), -1)
        same(net.stream_weights(net.hidden(batch), present)[:, 0], dropped[f"{weights}.attention"][row])
        scores[tuple(stays.tolist())] = net(batch).scores[:, 0]
        same(scores[tuple(stays.tolist())], dropped[f"{weights}.emotion_logits"][row])
    for theirs, scheme in SCHEMES.items():
        for p in (0.15, 0.3, 0.5):
            patterns, chances = pattern_probabilities(3, p, scheme)
            order = [patterns.tolist().index(stays) for stays in dropped["keep"].bool().tolist()]
            same(chances[order], dropped[f"probability.{theirs}.{p}"])
            mean = sum(chance * scores[tuple(stays)] for stays, chance in zip(patterns.tolist(), chances, strict=True))
            same(mean, dropped[f"expected.{weights}.{theirs}.{p}"])


@pytest.mark.parametrize("weights", ["plain", "softmax", "masked_softmax"])
def test_scores_follow_the_formula(weights):
    torch.manual_seed(0)
    net = AttentionFusion(make_problem(LABELS, WIDTHS), hidden=5, weights=weights, input_norm="none").eval()
    batch = without(batch_of([3]), "audio", at=(0, 1))

    def mlp(layers, x):
        for layer in layers[::2]:
            x = (x @ layer.weight.T + layer.bias).relu()
        return x

    for u in range(3):
        there = [bool(batch["present"][name][0, u]) for name in WIDTHS]
        hidden = [mlp(net.encoders[name], batch["inputs"][name][0, u]) * here
                  for name, here in zip(WIDTHS, there, strict=True)]  # fmt: skip
        a = net.weigh(mlp(net.attention, torch.cat(hidden)))
        if weights == "masked_softmax":
            a = torch.stack([one if here else torch.tensor(-torch.inf) for one, here in zip(a, there, strict=True)])
        a = a if weights == "plain" else a.softmax(0)
        fused = sum(weight * h for weight, h in zip(a, hidden, strict=True))
        assert_close(net(batch).scores[0, u], net.classify(fused))


def test_two_streams_may_have_the_same_modality():
    streams = {"text": 12, "clip": Stream("visual", 8), "prompted": Stream("visual", 10)}
    net = AttentionFusion(make_problem(LABELS, streams), hidden=4).eval()
    batch = batch_of([2])
    for key in ("inputs", "present"):
        batch[key] = dict(zip(streams, batch[key].values(), strict=True))
    assert net(batch).scores.shape == (1, 2, 3)


@pytest.mark.parametrize("kind", [AttentionFusion, LowRankFusion])
def test_ratings_are_answered_only_where_the_problem_has_some(kind):
    batch = batch_of([3, 2])
    assert kind(make_problem(LABELS, WIDTHS)).eval()(batch).ratings is None
    net = kind(make_problem(LABELS, WIDTHS, ["valence", "arousal"]))
    output = net(batch)
    assert output.ratings.shape == (2, 3, 2)
    output.ratings[batch["valid"]].square().sum().backward()
    learns = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    assert learns == {name for name, _ in net.named_parameters()} - {"classify.weight", "classify.bias"}


def test_low_rank_fusion_is_the_product_with_its_tensor():
    torch.manual_seed(0)
    net = LowRankFusion(make_problem(LABELS, {"text": 12, "audio": 8}), hidden=3, rank=2, input_norm="none").eval()
    batch = batch_of([2], ("text", "audio"))
    tensor = torch.einsum("r,rio,rjo->ijo", net.mix, net.factors[0], net.factors[1])  # (H + 1, H + 1, C)
    z = [torch.cat([net.encoders[name](batch["inputs"][name]), torch.ones(1, 2, 1)], -1) for name in ("text", "audio")]
    assert_close(net(batch).scores, torch.einsum("bui,buj,ijo->buo", *z, tensor) + net.bias)
