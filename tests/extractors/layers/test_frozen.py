"""A frozen network moves and computes, but trains nothing and is in no checkpoint."""

import copy

import pytest
import torch
from torch import nn

from extractors.layers.frozen import Frozen, weights_sha256
from m2fnet.errors import RunError


def holder(seed=0):
    torch.manual_seed(seed)
    frozen = Frozen(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)))
    return nn.ModuleDict({"frozen": frozen, "own": nn.Linear(3, 2)})


def test_only_the_rest_is_trained_counted_and_saved():
    net = holder()
    assert {name for name, _ in net.named_parameters()} == {"own.weight", "own.bias"}
    assert set(net.state_dict()) == {"own.weight", "own.bias", "frozen._extra_state"}
    assert not any(p.requires_grad for p in net["frozen"].network.parameters())


def test_it_moves_with_the_rest_and_never_drops_out():
    net = holder().double().train()
    network = net["frozen"].network
    assert network[0].weight.dtype == torch.float64
    assert not network[1].training
    assert network(torch.ones(1, 3, dtype=torch.float64)).shape == (1, 3)


def test_a_copy_is_a_copy():
    net = holder()
    other = copy.deepcopy(net)
    nn.init.zeros_(other["frozen"].network[0].weight)
    assert net["frozen"].network[0].weight.any()


def test_a_checkpoint_of_other_weights_is_refused():
    net = holder()
    holder().load_state_dict(net.state_dict())
    with pytest.raises(RunError, match=r"trained on a frozen Sequential with weights \w{12}….*Give `model`"):
        holder(seed=1).load_state_dict(net.state_dict())


def test_the_hash_depends_on_names_values_and_shapes():
    hashes = {weights_sha256(nn.Linear(2, 3, bias=bias)) for bias in (True, False)}
    twice = [weights_sha256(copy.deepcopy(holder()["frozen"].network)) for _ in range(2)]
    assert len(hashes) == 2
    assert twice[0] == twice[1] == holder()["frozen"].sha256
