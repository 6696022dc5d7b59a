"""Prompted CLIP against the authors' numbers, against a plain computation, and what its prompts promise."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_clip_model import tiny_clip
from torch.testing import assert_close

from extractors.layers.frozen import Frozen
from extractors.layers.video_prompts import PromptedVision, Prompts, resampled

NUMBERS = os.environ.get("M2FNET_REFERENCE_NUMBERS")  # a folder; its numbers are not part of the project
FILE = Path(NUMBERS, "mer", "video_prompts.npz") if NUMBERS else None
RELEASED = {"projection": "trained", "gate": False}
PARTS = {
    "none": Prompts(global_tokens=0, local_tokens=False, **RELEASED),
    "global": Prompts(global_tokens=2, local_tokens=False, **RELEASED),
    "local": Prompts(global_tokens=0, **RELEASED),
    "summary": Prompts(global_tokens=0, local_tokens=False, summary_token=True, **RELEASED),
    "global_local": Prompts(global_tokens=2, **RELEASED),
    "all": Prompts(global_tokens=2, summary_token=True, **RELEASED),
}


def clips(count=2, frames=4, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, frames, 3, 12, 12, generator=generator, dtype=torch.float64)


def network(prompts, frames=4, trained=True):
    """A tiny one in double precision; ``trained`` draws all that trains at random."""
    net = PromptedVision(Frozen(tiny_clip()), frames, prompts).double()
    if trained:
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return net


@pytest.fixture(scope="module")
def numbers():
    if FILE is None or not FILE.exists():
        pytest.skip("M2FNET_REFERENCE_NUMBERS names no folder with reference numbers")
    return {name: torch.from_numpy(value) for name, value in np.load(FILE).items()}


def under(numbers, prefix):
    return {name.removeprefix(prefix): value for name, value in numbers.items() if name.startswith(prefix)}


def released(numbers, prompts):
    """The network with the weights of the numbers, and our name of each of theirs."""
    clip = tiny_clip().double()
    clip.load_state_dict(under(numbers, "clip."))
    net = PromptedVision(Frozen(clip), 4, prompts).double()
    parts = {"local": "local_tokens", "frame_projection.": "projection.", "summary.norm.": "summary_norm."}
    given = {"time": numbers["prompt.time"]}
    for i, tokens in enumerate(numbers["prompt.global"]):
        theirs = under(numbers, f"prompt.layer{i}.")
        for name, value in theirs.items():
            for old, new in parts.items():
                if name.startswith(old):
                    given[f"layers.{i}.{name.replace(old, new)}"] = value
        for kind in ("weight", "bias"):
            joined = torch.cat([theirs[f"summary.{part}.{kind}"] for part in ("query", "key", "value")])
            given[f"layers.{i}.summary.in_proj_{kind}"] = joined
            given[f"layers.{i}.summary.out_proj.{kind}"] = theirs[f"summary.out.{kind}"]
        given[f"layers.{i}.global_tokens"] = tokens
    own = dict(net.named_parameters())
    net.load_state_dict({name: given[name] for name in own}, strict=False)
    return net


def same(ours, theirs):
    assert_close(ours.detach(), theirs, atol=1e-9, rtol=0)


@pytest.mark.parametrize("time", [True, False])
@pytest.mark.parametrize("parts", PARTS)
def test_features_are_those_of_the_released_code(numbers, parts, time):
    net = released(numbers, PARTS[parts])
    if not time:
        net.time = None
    kind = f"{parts}.{'time' if time else 'no_time'}"
    same(net(numbers["frames"]), numbers[f"output.{kind}"])
    same(net(numbers["frames"].flip(1)), numbers[f"output.reversed.{kind}"])
    same(net.plain(numbers["frames"]), numbers["output.plain_clip_mean"])


def test_states_and_gradients_are_those_of_the_released_code(numbers):
    net, states = released(numbers, PARTS["all"]), []
    vision = net.clip.network.vision_model
    for layer in vision.encoder.layers[1:]:  # the last input of its first norm, which reads the prompts before
        layer.layer_norm1.register_forward_pre_hook(lambda _, x: states.append(x[0]) if x[0].shape[2] == 10 else None)
    vision.post_layernorm.register_forward_pre_hook(lambda _, x: states.append(x[0]))
    net(numbers["frames"]).square().sum().backward()
    for state, theirs in zip(states, numbers["state.all.time"], strict=True):
        same(state.flatten(0, 1), theirs if state.ndim == 4 else theirs[:, 0])
    theirs = under(numbers, "gradient.")
    assert len(theirs) >= 10
    same(net.time.grad, theirs["time"])
    for i, layer in enumerate(net.layers):
        same(layer.global_tokens.grad, theirs["global"][i])
        same(layer.local_tokens.grad, theirs[f"layer{i}.local"])
        for kind in ("weight", "bias"):
            same(getattr(layer.projection, kind).grad, theirs[f"layer{i}.frame_projection.{kind}"])


def plainly(net, frames):
    """The features by the formula, one clip, frame and head at a time; transformers only makes the first tokens."""
    vision, features = net.clip.network.vision_model, []
    attention_of = [layer.self_attn for layer in vision.encoder.layers]
    for clip in frames:
        x = vision.embeddings(clip) + (0 if net.time is None else net.time[:, None])
        x = list(vision.pre_layrnorm(x))
        for layer, attention, own in zip(vision.encoder.layers, attention_of, net.layers, strict=True):
            classes = torch.stack([tokens[0] for tokens in x])
            projected = own.projection(classes)
            after = []
            for t, tokens in enumerate(x):
                more = []
                if own.local_tokens is not None:
                    more.append(own.local_tokens + projected)
                if own.global_tokens is not None:
                    more.append(own.global_tokens)
                if own.summary is not None:
                    c = own.summary_norm(projected)[None]
                    more.append((projected + own.summary(c, c, c)[0][0])[t][None])
                seen = layer.layer_norm1(torch.cat([tokens, *more]))
                given = []
                for keys in (seen, seen[: len(tokens)]):
                    heads = []
                    for q, k, v in zip(
                        attention.q_proj(seen[: len(tokens)]).chunk(2, -1),
                        attention.k_proj(keys).chunk(2, -1),
                        attention.v_proj(keys).chunk(2, -1),
                        strict=True,
                    ):
                        heads.append((q @ k.T / q.shape[1] ** 0.5).softmax(-1) @ v)
                    given.append(torch.cat(heads, -1))
                gate = 1 if own.gate is None else own.gate
                tokens = tokens + attention.out_proj(gate * given[0] + (1 - gate) * given[1])
                after.append(tokens + layer.mlp(layer.layer_norm2(tokens)))
            x = after
        each = [net.clip.network.visual_projection(vision.post_layernorm(tokens[0])) for tokens in x]
        features.append(torch.stack(each).mean(0))
    return torch.stack(features)


@pytest.mark.parametrize(
    "prompts",
    [
        Prompts(),
        Prompts(global_tokens=3, local_tokens=False, time=False),
        Prompts(global_tokens=1, summary_token=True, projection="trained"),
        Prompts(global_tokens=0, summary_token=True, projection="frozen", gate=False),
    ],
    ids=["default", "global", "all", "released"],
)
def test_features_follow_the_formula(prompts):
    net = network(prompts)
    assert_close(net(clips()), plainly(net, clips()), atol=1e-12, rtol=0)


@pytest.mark.parametrize("frames", [1, 4, 7])
@pytest.mark.parametrize("projection", ["identity", "frozen", "trained"])
def test_the_untrained_network_is_the_mean_of_the_frames_of_clip(frames, projection):
    net = network(Prompts(summary_token=True, projection=projection), trained=False)
    single = [net.clip.network.get_image_features(clips(frames=frames)[:, t]).pooler_output for t in range(frames)]
    assert_close(net(clips(frames=frames)), torch.stack(single).mean(0), atol=1e-14, rtol=0)
    assert_close(net.plain(clips(frames=frames)), torch.stack(single).mean(0), atol=1e-14, rtol=0)


def test_without_a_gate_untrained_prompts_disturb_it():
    net = network(Prompts(gate=False), trained=False)
    assert (net(clips()) - net.plain(clips())).abs().max() > 1e-4


@pytest.mark.parametrize("prompts", [Prompts(), Prompts(summary_token=True, projection="trained", gate=False)])
def test_only_time_lets_the_order_of_the_frames_be_seen(prompts):
    net = network(prompts)
    apart = (net(clips()) - net(clips().flip(1))).abs().max()
    net.time = None
    for layer in net.layers:  # these have a row per frame too
        layer.local_tokens = torch.nn.Parameter(layer.local_tokens[:1].expand(4, -1))
    assert apart > 1e-3
    assert_close(net(clips()), net(clips().flip(1)), atol=1e-13, rtol=0)


def test_a_frame_sees_the_other_frames_of_its_clip_and_of_no_other_clip():
    net, changed = network(Prompts(time=False)), clips()
    changed[0, 2] = 0.0
    vision = net.clip.network.vision_model
    seen = []
    vision.post_layernorm.register_forward_hook(lambda _, x, __: seen.append(x[0]))
    net(clips()), net(changed)
    apart = (seen[0] - seen[1]).abs().amax(-1)
    assert (apart[0] > 1e-6).all()
    assert (apart[1] == 0).all()


@pytest.mark.parametrize("frames", [1, 2, 3, 9])
def test_another_number_of_frames_is_interpolated_and_never_folded(frames):
    net = network(Prompts(summary_token=True))
    both = net(clips(frames=frames))
    assert both.shape == (2, 5)
    assert_close(both, torch.cat([net(clips(frames=frames)[row : row + 1]) for row in range(2)]), atol=1e-13, rtol=0)
    longer = network(Prompts(summary_token=True), frames=frames, trained=False)
    with torch.no_grad():
        for name, value in longer.named_parameters():
            own = dict(net.named_parameters())[name]
            value.copy_(resampled(own, frames) if name == "time" or "local" in name else own)
    assert_close(both, longer(clips(frames=frames)), atol=1e-13, rtol=0)


def test_tables_are_resampled_by_the_middle_of_each_part():
    table = torch.arange(6.0)[:, None].expand(-1, 2)
    assert resampled(table, 6) is table
    assert resampled(table, 3)[:, 0].tolist() == [0.5, 2.5, 4.5]
    assert resampled(table, 12)[:, 1].tolist()[:3] == [0.0, 0.25, 0.75]


@pytest.mark.parametrize("projection", ["identity", "frozen", "trained"])
def test_gradients_reach_the_prompts_and_not_clip(projection):
    net = network(Prompts(summary_token=True, projection=projection))
    net(clips()).square().sum().backward()
    fixed = {name for name, p in net.named_parameters() if p.grad is None}
    assert fixed == ({f"layers.{i}.projection.{k}" for i in range(3) for k in ("weight", "bias")}
                     if projection == "frozen" else set())  # fmt: skip
    assert all(p.grad.abs().sum() > 0 for p in net.parameters() if p.grad is not None)
    assert all(p.grad is None for p in net.clip.network.parameters())


def test_gradients_are_exact():
    net = network(Prompts(global_tokens=1))
    layer = net.layers[1]
    assert torch.autograd.gradcheck(
        lambda tokens, gate: torch.func.functional_call(
            net, {"layers.1.global_tokens": tokens, "layers.1.gate": gate}, clips(1, 2)
        ),
        (layer.global_tokens, layer.gate),
    )


@pytest.mark.parametrize(("settings", "frames"), [({"global_tokens": -1}, 4), ({}, 0)])
def test_counts_that_make_no_sense_are_refused(settings, frames):
    with pytest.raises(ValueError, match=r"Expected (prompts\.global_tokens|frames) to be at least"):
        PromptedVision(Frozen(tiny_clip()), frames, Prompts(**settings))
