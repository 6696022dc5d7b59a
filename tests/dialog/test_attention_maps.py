"""What the fusion layers attend to: recorded, written by `dialog test`, drawn by `report --plots`."""

import json

import pytest
import torch
from made_up_batches import LABELS, WIDTHS, batch_of, without
from torch.testing import assert_close

from dialog.attention_maps import SHOWN, recorded_attention
from dialog.fusion.attention import CrossAttention, allowed_pairs
from dialog.models.late_fusion import LateFusion
from dialog.models.m2fnet import M2FNet
from m2fnet.cli import DONE, run
from m2fnet.problems import make_problem
from m2fnet.runs.attention import DialogueAttention


def test_the_weights_are_those_that_the_answer_is_made_with():
    torch.manual_seed(0)
    attention = CrossAttention(8, 8, 8, heads=1, dropout=0.5).eval()
    query, key, value = torch.randn(3, 2, 5, 8)
    present = torch.tensor([[True] * 5, [True, False, True, False, False]])
    allowed = allowed_pairs(present, causal=False)
    weights = attention.weights(query, key, value, allowed)
    inside = attention.attention
    values = value @ inside.in_proj_weight[16:].T + inside.in_proj_bias[16:]
    assert_close(attention(query, key, value, allowed), inside.out_proj(weights @ values))
    assert_close(weights.sum(-1), torch.ones(2, 5))
    assert not weights[1][:, ~present[1]].any()


def test_an_utterance_that_may_read_nothing_reads_nothing():
    attention = CrossAttention(8, 8, 8, heads=2, dropout=0.0).eval()
    nobody = torch.zeros(1, 3, 3, dtype=torch.bool)
    assert not attention.weights(*torch.randn(3, 1, 3, 8), nobody).any()


def network(**settings):
    torch.manual_seed(0)
    return M2FNet(make_problem(LABELS, WIDTHS), width=8, heads=2, hidden=6, fusion_layers=2, **settings).eval()


def test_every_fusion_layer_is_recorded_while_it_is_asked_for_and_the_answer_stays_the_same():
    net, batch = network(causal=True), without(batch_of([4, 3]), "visual", at=(0, 2))
    plain = net(batch).scores
    with recorded_attention(net) as found:
        assert torch.equal(net(batch).scores, plain)
    assert [(one.layer, one.keys) for one in found] == [(n, name) for n in (1, 2) for name in ("audio", "visual")]
    net(batch)
    assert len(found) == 4
    for one in found:
        sums = one.weights.sum(-1)
        assert bool(((sums - 1).abs() < 1e-5).logical_or(sums == 0).all())
        assert not one.weights.triu(1).any()  # causal
        assert not one.weights[1, :, 3].any()  # padding
    assert not found[1].weights[0, :, 2].any()  # no picture there


@pytest.mark.parametrize("net", [network(fusion="concat"), LateFusion(make_problem(LABELS, WIDTHS), width=8, heads=2)])
def test_without_fusion_layers_there_is_nothing_to_record(net):
    with recorded_attention(net) as found:
        net(batch_of([3]))
    assert found == []


def test_a_tested_run_holds_the_attention_in_a_few_dialogues(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["m2fnet"])
    settings = ["--config", str(tiny_config), "--run", str(tmp_path / "run"), "--quiet"]
    assert run(["dialog", "fit", *settings]) == run(["dialog", "test", *settings]) == DONE
    predictions = (tmp_path / "run" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    labels = {row["id"]: row["label"] for row in map(json.loads, predictions)}
    content = json.loads((tmp_path / "run" / "attention.json").read_text(encoding="utf-8"))
    assert 0 < len(content["dialogues"]) <= SHOWN
    utterances = [utterance for dialogue in content["dialogues"] for utterance in dialogue["utterances"]]
    assert all(labels.get(utterance["id"]) == utterance["label"] for utterance in utterances)
    for one in DialogueAttention.read(tmp_path / "run"):
        assert set(one.maps) == {(layer, keys) for layer in (1, 2) for keys in ("audio", "visual")}
        assert one.maps[1, "audio"].sum(-1) == pytest.approx(1, abs=0.01)
