"""Distance and speakers in attention, on every network that has them as settings."""

import pytest
import torch
from made_up_batches import LABELS, WIDTHS, batch_of
from torch import nn
from torch.testing import assert_close

from dialog.fusion.attention import allowed_pairs
from dialog.fusion.encoder import RelativeEncoderLayer
from dialog.fusion.relations import MOST_SPEAKERS, AttentionBias, Relations, by_appearance
from dialog.models.late_fusion import LateFusion
from dialog.models.m2fnet import M2FNet
from dialog.models.per_utterance import PerUtterance
from dialog.models.recurrent import Recurrent
from m2fnet.problems import make_problem

SMALL = {"width": 8, "heads": 2}
ALL = Relations(distance="fixed", speaker="fixed")
NETWORKS = {
    "m2fnet": lambda problem: M2FNet(
        problem, **SMALL, hidden=6, fusion_layers=2, relations=ALL, speaker_embedding=True
    ),
    "m2fnet causal": lambda problem: M2FNet(problem, **SMALL, hidden=6, fusion_layers=1, relations=ALL, causal=True),
    "late fusion": lambda problem: LateFusion(problem, **SMALL, relations=ALL, speaker_embedding=True),
    "recurrent": lambda problem: Recurrent(problem, width=5, speaker_width=4),
    "per utterance": lambda problem: PerUtterance(problem, hidden=6, speaker_width=4),
}


def network(make):
    torch.manual_seed(0)
    return make(make_problem(LABELS, WIDTHS)).eval()


def spoken_by(*speakers):
    return {**batch_of([6]), "speaker": torch.tensor([speakers])}


@pytest.mark.parametrize("name", NETWORKS)
def test_relabelling_the_speakers_changes_no_logit(name):
    net = network(NETWORKS[name])
    scores = net(spoken_by(0, 1, 0, 2, -1, 1)).scores
    assert_close(net(spoken_by(5, 0, 5, 9, -1, 0)).scores, scores, atol=0, rtol=0)
    assert not torch.allclose(net(spoken_by(0, 0, 0, 2, -1, 1)).scores, scores)


@pytest.mark.parametrize("name", NETWORKS)
def test_padding_changes_no_logit_where_speakers_are_read(name):
    net = network(NETWORKS[name])
    short, padded = batch_of([4]), batch_of([4], padded_to=9)
    assert_close(net(padded).scores[:, :4], net(short).scores, atol=1e-6, rtol=0)


def test_bias_prefers_the_near_and_in_half_of_the_heads_the_same_speaker():
    bias = AttentionBias(Relations(distance="fixed"), heads=4)({"valid": torch.ones(1, 3)})
    assert_close(bias[0, :, 0, 2], -2 * torch.tensor([0.5, 0.5, 0.125, 0.125]))
    assert_close(bias, bias.transpose(-1, -2))
    same, other = AttentionBias(Relations(speaker="fixed"), heads=2)(spoken_by(0, 1, 0, 2, -1, 1))[0]
    assert same[0].tolist() == [1, 0, 1, 0, 0, 0]
    assert other[0].tolist() == [0, 1, 0, 1, 0, 1]
    assert same[4].tolist() == other[4].tolist() == [0] * 6  # nothing is known of an unknown speaker


def test_a_learned_bias_starts_at_the_fixed_one_and_gets_a_gradient():
    batch = spoken_by(0, 1, 0, 1, 0, 1)
    fixed = network(NETWORKS["m2fnet"])
    learned = network(
        lambda problem: M2FNet(
            problem,
            **SMALL,
            hidden=6,
            fusion_layers=2,
            relations=Relations("learned", "learned"),
            speaker_embedding=True,
        )
    )
    assert_close(learned(batch).scores, fixed(batch).scores)
    learned.train()(batch).scores.square().sum().backward()
    assert all(weight.grad.abs().min() > 0 for weight in learned.bias.parameters())
    assert not list(fixed.bias.parameters())
    assert "bias.speaker" not in fixed.state_dict()


@pytest.mark.parametrize("window", [0, 1, 3])
def test_a_window_hides_what_is_further_away(window):
    """One encoder and one fusion layer see twice the window."""
    relations = Relations(window=window)
    net = network(lambda problem: M2FNet(problem, **SMALL, hidden=6, fusion_layers=1, relations=relations))
    changed = batch_of([9])
    changed["inputs"]["text"][0, 0] *= torch.linspace(-1, 2, WIDTHS["text"])
    same = torch.isclose(net(changed).scores, net(batch_of([9])).scores, atol=1e-6, rtol=0).all(-1)[0]
    assert same.tolist() == [place > 2 * window for place in range(9)]


def test_without_a_window_all_present_utterances_are_allowed():
    present = torch.tensor([[True, True, False, True]])
    assert torch.equal(allowed_pairs(present, causal=False, window=3), allowed_pairs(present, causal=False))
    assert allowed_pairs(present, causal=True, window=1)[0, 3].tolist() == [False, False, False, True]


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("make", [NETWORKS["m2fnet"], NETWORKS["late fusion"]])
def test_scores_are_the_same_with_and_without_gradients(make, norm):
    """Without gradients torch computes its encoder layers by another path."""
    net, batch = network(make), batch_of([5, 3])
    for layer in (module for module in net.modules() if isinstance(module, nn.TransformerEncoderLayer)):
        layer.norm_first = norm == "pre"
    with torch.inference_mode():
        scores = net(batch).scores
    valid = batch["valid"]
    assert_close(scores[valid], net(batch).scores[valid].detach(), atol=1e-5, rtol=0)


def test_rotary_layer_is_the_plain_one_where_places_do_not_matter():
    torch.manual_seed(0)
    rotary = RelativeEncoderLayer(8, 2, 16, 0.0, batch_first=True, norm_first=True, rotary=True)
    plain = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, norm_first=True)
    plain.load_state_dict(rotary.state_dict())
    h, itself = torch.randn(1, 4, 8), ~torch.eye(4, dtype=torch.bool)
    assert_close(rotary(h, itself), plain(h, itself))
    assert not torch.allclose(rotary(h), plain(h), atol=1e-3)


def test_rotary_attention_depends_on_how_far_apart_utterances_are():
    torch.manual_seed(0)
    layer = RelativeEncoderLayer(8, 2, 16, 0.0, batch_first=True, rotary=True).eval()
    h, first = torch.randn(1, 6, 8), torch.arange(6) < 3
    blocked = first[:, None] != first[None, :]  # two halves that do not see each other
    twice = torch.cat([h[:, :3], h[:, :3]], dim=1)
    out = layer(twice, blocked)
    assert_close(out[:, :3], out[:, 3:])
    swapped = layer(twice[:, [1, 0, 2, 3, 4, 5]], blocked)
    assert not torch.allclose(swapped[:, [1, 0, 2]], out[:, :3], atol=1e-4)


@pytest.mark.parametrize("position", ["none", "sinusoidal", "rotary"])
@pytest.mark.parametrize("make", [M2FNet, LateFusion])
def test_every_position_is_causal_on_demand(make, position):
    net = network(lambda problem: make(problem, **SMALL, position=position, relations=ALL, causal=True))
    changed = batch_of([5])
    changed["inputs"]["text"][0, 3] *= torch.linspace(-1, 2, WIDTHS["text"])
    assert_close(net(changed).scores[0, :3], net(batch_of([5])).scores[0, :3], atol=1e-6, rtol=0)


def test_more_speakers_than_there_are_vectors_share_the_last():
    speakers = torch.arange(MOST_SPEAKERS + 2).flip(0)[None]
    assert by_appearance(speakers)[0].tolist() == list(range(MOST_SPEAKERS + 2))
    net = network(lambda problem: PerUtterance(problem, speaker_width=3))
    vectors = net.inputs.speakers(speakers)[0]
    assert_close(vectors[-3], vectors[-1])
    assert not torch.allclose(vectors[-4], vectors[-1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: Relations(window=-1), "`relations.window` to be at least 0"),
        (lambda problem: M2FNet(problem, width=6, heads=2, position="rotary"), "heads of even width"),
        (lambda problem: LateFusion(problem, width=6, heads=2, position="rotary"), "heads of even width"),
        (lambda problem: PerUtterance(problem, speaker_width=-1), "`speaker_width` to be at least 0"),
    ],
)
def test_settings_that_make_no_sense_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make(make_problem(LABELS, WIDTHS))
