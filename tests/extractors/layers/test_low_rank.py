"""A change of low rank: nothing at first, small, and where it was asked for."""

import pytest
import torch
from tiny_encoders import PICTURES, SOUND, TEXT

from extractors.layers.hidden_states import blocks_of
from extractors.layers.low_rank import LowRank, add_low_rank


@pytest.mark.parametrize("family", ["mpnet", "gpt2", "wavlm", "vit"])
def test_nothing_is_changed_at_first_and_only_the_change_learns(family):
    encoder = (TEXT | SOUND | PICTURES)[family]().eval()
    inputs = (
        torch.randint(5, 15, (1, 6))
        if family in TEXT
        else torch.randn((1, 2_000) if family in SOUND else (1, 3, 32, 32))
    )
    before = encoder(inputs).last_hidden_state
    encoder.requires_grad_(False)
    add_low_rank(blocks_of(encoder), LowRank(rank=2))
    after = encoder(inputs).last_hidden_state
    torch.testing.assert_close(after, before, atol=1e-6, rtol=0)
    after.square().sum().backward()
    learning = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    assert learning
    assert all(name.endswith((".up", ".down")) for name in learning)
    ups = [encoder.get_parameter(name) for name in learning if name.endswith(".up")]
    assert all(up.grad is not None and up.grad.abs().sum() > 0 for up in ups)


def test_the_change_is_the_product_scaled():
    blocks = torch.nn.ModuleDict({"query": torch.nn.Linear(4, 3)})
    before = blocks["query"].weight.clone()
    add_low_rank(blocks, LowRank(rank=2, alpha=6.0, targets=["query"]))
    change = blocks["query"].parametrizations.weight[0]
    torch.nn.init.normal_(change.up)
    torch.testing.assert_close(blocks["query"].weight, before + 3 * change.up @ change.down)


def test_unknown_targets_are_answered_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"None of low_rank\.targets \['wq'\] is in the encoder; it has query"):
        add_low_rank(torch.nn.ModuleDict({"query": torch.nn.Linear(4, 3)}), LowRank(targets=["wq"]))
    with pytest.raises(ValueError, match="rank >= 1"):
        add_low_rank(torch.nn.ModuleDict({"query": torch.nn.Linear(4, 3)}), LowRank(rank=0))
