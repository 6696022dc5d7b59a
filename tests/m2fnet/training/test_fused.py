"""Fused steps of Adam: the same weights, and none where they would be wrong."""

import pytest
import torch
from torch import nn

from m2fnet.training.fused import with_fused_steps


def trained(network, optimizer, steps=20):
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        network(torch.randn(4, 3, 8, 8, generator=generator)).square().mean().backward()
        optimizer.step()
    return [parameter.detach() for parameter in network.parameters()]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(180, 2))


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_the_weights_are_those_of_the_usual_steps(kind):
    settings = {"lr": 1e-2, "weight_decay": 0.1, "betas": (0.8, 0.99)}
    usual, fused = network(), network()
    expected = trained(usual, kind(usual.parameters(), **settings, foreach=False))
    optimizer = with_fused_steps(kind(fused.parameters(), **settings))
    assert optimizer.param_groups[0]["fused"]
    for found, wanted in zip(trained(fused, optimizer), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_weights_in_another_order_of_memory_have_the_usual_steps():
    usual, other = network(), network().to(memory_format=torch.channels_last)
    optimizer = with_fused_steps(torch.optim.AdamW(other.parameters(), lr=1e-2))
    assert not optimizer.param_groups[0]["fused"]
    expected = trained(usual, torch.optim.AdamW(usual.parameters(), lr=1e-2))
    for found, wanted in zip(trained(other, optimizer), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_a_gradient_in_another_order_of_memory_than_its_weights_moves_the_right_ones():
    """Torch's fused kernel on a CPU would move others."""
    weights = nn.Parameter(torch.zeros(5, 3, 3, 3).contiguous(memory_format=torch.channels_last))
    weights.grad = torch.arange(135.0).view(5, 3, 3, 3) - 60.5
    with_fused_steps(torch.optim.AdamW([weights], lr=1.0)).step()
    torch.testing.assert_close(weights.detach().sign(), -weights.grad.sign())


def test_groups_are_looked_at_one_by_one_and_other_optimizers_are_left_as_they_are():
    one = network().to(memory_format=torch.channels_last)
    groups = [{"params": one[0].parameters()}, {"params": one[3].parameters()}]
    assert [group["fused"] for group in with_fused_steps(torch.optim.Adam(groups)).param_groups] == [None, True]
    assert "fused" not in with_fused_steps(torch.optim.RMSprop(one.parameters())).param_groups[0]


@pytest.mark.parametrize("setting", [{"fused": False}, {"foreach": True}, {"differentiable": True}])
def test_what_settings_say_is_kept(setting):
    optimizer = with_fused_steps(torch.optim.AdamW(network().parameters(), **setting))
    assert not optimizer.param_groups[0]["fused"]


def test_a_training_that_began_with_the_usual_steps_keeps_them():
    one = network()
    before = torch.optim.AdamW(one.parameters())
    trained(one, before, steps=2)
    resumed = with_fused_steps(torch.optim.AdamW(one.parameters()))
    resumed.load_state_dict(before.state_dict())
    assert not resumed.param_groups[0]["fused"]
    trained(one, resumed, steps=2)
