import itertools

import pytest
import torch
from made_up_batches import LABELS, WIDTHS, batch_of, without
from torch.testing import assert_close

from dialog.models.m2fnet import FusionLayer, M2FNet
from m2fnet.problems import make_problem

SMALL = {"width": 8, "heads": 2, "hidden": 6, "encoders": 2, "fusion_layers": 3}


def network(modalities=("text", "audio", "visual"), **settings):
    torch.manual_seed(0)
    return M2FNet(make_problem(LABELS, {name: WIDTHS[name] for name in modalities}), **{**SMALL, **settings}).eval()


@pytest.mark.parametrize("settings", [{}, {"norm": "pre"}, {"position": "sinusoidal"}, {"causal": True}])
def test_padding_changes_no_logit(settings):
    net = network(**settings)
    padded = net(batch_of([3, 5, 1], padded_to=9)).scores
    for b, length in enumerate([3, 5, 1]):
        single = batch_of([3, 5, 1], padded_to=9)
        cut = {
            key: {name: value[b : b + 1, :length] for name, value in single[key].items()}
            for key in ("inputs", "present")
        }
        assert_close(net({**single, **cut}).scores[0], padded[b, :length], atol=1e-6, rtol=0)


def test_order_in_the_batch_changes_no_logit():
    net, batch = network(), batch_of([3, 5, 1])
    order = torch.tensor([2, 0, 1])
    shuffled = {key: {name: value[order] for name, value in batch[key].items()} for key in ("inputs", "present")}
    assert_close(net({**batch, **shuffled}).scores, net(batch).scores[order], atol=1e-6, rtol=0)


SUBSETS = [s for n in (1, 2) for s in itertools.combinations(("text", "audio", "visual"), n)]


@pytest.mark.parametrize("kept", SUBSETS, ids="+".join)
@pytest.mark.parametrize("values", ["leader", "other"])
def test_a_modality_that_is_missing_everywhere_was_never_there(kept, values):
    """Logits equal those of the network that has the same weights but no columns for the missing modalities."""
    whole = network(values=values)
    part = network(kept, values=values)
    part.load_state_dict(_columns_of(whole, part, kept))
    batch = batch_of([4, 2])
    gone = [name for name in WIDTHS if name not in kept]
    small = {key: {name: batch[key][name].clone() for name in kept} for key in ("inputs", "present")}
    valid = batch["valid"]
    expected = part({**batch, **small}).scores[valid]
    assert_close(whole(without(batch, *gone)).scores[valid], expected, atol=1e-6, rtol=0)


def _columns_of(whole, part, kept):
    """The weights of ``whole`` cut down to the shapes of ``part``."""
    width = SMALL["width"]
    streams = ("text", "audio", "visual")
    state = {name: value for name, value in whole.state_dict().items() if name in part.state_dict()}
    blocks = [slice(streams.index(name) * width, (streams.index(name) + 1) * width) for name in kept]
    for name in state:
        if name == "classify.0.weight" or name.endswith("mix.weight"):
            state[name] = torch.cat([state[name][:, block] for block in blocks], dim=1)
    return state


def test_a_utterance_without_text_is_filled_from_context():
    net = network()
    batch = without(batch_of([4]), "text", at=(0, 2))
    logits = net(batch).scores
    assert logits.isfinite().all()
    changed = batch_of([4])
    changed["inputs"]["text"][0, 2] = 7.0
    assert_close(net(without(changed, "text", at=(0, 2))).scores, logits)


@pytest.mark.parametrize("values", ["leader", "other"])
def test_causal_logits_do_not_change_when_a_later_utterance_does(values):
    net = network(causal=True, values=values)
    for utterance in range(5):
        later = batch_of([5])
        for name in WIDTHS:
            later["inputs"][name][0, utterance] *= torch.linspace(-1, 2, WIDTHS[name])
        assert_close(net(later).scores[0, :utterance], net(batch_of([5])).scores[0, :utterance], atol=1e-6, rtol=0)
        gone = without(batch_of([5]), "audio", "visual", at=(0, slice(utterance, None)))
        assert_close(net(gone).scores[0, :utterance], net(batch_of([5])).scores[0, :utterance], atol=1e-6, rtol=0)


def test_without_causal_a_later_utterance_is_seen():
    net, later = network(), batch_of([5])
    later["inputs"]["text"][0, 4] *= torch.linspace(-1, 2, WIDTHS["text"])
    assert not torch.allclose(net(later).scores[0, 0], net(batch_of([5])).scores[0, 0])


def test_fusion_layer_is_equation_6():
    torch.manual_seed(0)
    layer = FusionLayer({"text": 8, "audio": 4, "visual": 6}, "text", heads=2, dropout=0.0, values="leader").eval()
    text, audio, visual = (torch.randn(2, 3, width) for width in (8, 4, 6))
    seen = torch.ones(2, 3, 3, dtype=torch.bool)
    by_audio, _ = layer.attentions["audio"].attention(text, audio, text)
    by_video, _ = layer.attentions["visual"].attention(text, visual, text)
    expected = torch.cat([text, by_audio, by_video], -1) @ layer.mix.weight.T + layer.mix.bias
    result = layer(text, {"text": text, "audio": audio, "visual": visual}, {"audio": seen, "visual": seen})
    assert_close(result, expected)


def test_encoder_has_the_outer_skip_of_equation_5():
    net, batch = network(("text",), encoders=1), batch_of([4], ("text",))
    h = net.project["text"](batch["inputs"]["text"])
    encoder = net.encoders["text"]
    assert_close(encoder(h, batch["present"]["text"], causal=False), h + encoder.layers[0](h))


@pytest.mark.parametrize(("fusion", "layers"), [("attention", 3), ("concat", 0)])
def test_concat_is_the_network_without_fusion_layers(fusion, layers):
    assert len(network(fusion=fusion).fusion) == layers


@pytest.mark.parametrize("modalities", [*SUBSETS, ("text", "audio", "visual")], ids="+".join)
@pytest.mark.parametrize("width", [8, None])
def test_every_weight_gets_a_gradient(modalities, width):
    net = network(modalities, width=width).train()
    net(batch_of([3, 6], modalities)).scores.square().sum().backward()
    unused = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert unused == []


def test_a_wholly_missing_modality_gives_no_nan_in_the_gradient():
    net = network(causal=True).train()
    batch = without(batch_of([3, 6]), "audio", "visual")
    net(without(batch, "text", at=(0, 0))).scores.square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_heads_that_do_not_divide_a_width_are_named():
    with pytest.raises(ValueError, match=r"5 heads do not divide 12 \(text\); set `width`"):
        network(width=None, heads=5)
