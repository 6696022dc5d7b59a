"""What has to hold for every baseline of the dialogue level."""

import pytest
import torch
from made_up_batches import LABELS, WIDTHS, batch_of, without
from torch.testing import assert_close

from dialog.models.late_fusion import LateFusion
from dialog.models.per_utterance import PerUtterance
from dialog.models.recurrent import Recurrent
from m2fnet.problems import make_problem

BASELINES = {
    "linear": lambda problem: PerUtterance(problem),
    "mlp": lambda problem: PerUtterance(problem, hidden=6),
    "lstm": lambda problem: Recurrent(problem, width=5),
    "gru": lambda problem: Recurrent(problem, cell="gru", width=5, layers=2),
    "late": lambda problem: LateFusion(problem, width=8, heads=2, layers=2),
    "late pre-norm": lambda problem: LateFusion(problem, width=8, heads=2, norm="pre", position="none"),
}
CONTEXT = ["lstm", "gru", "late", "late pre-norm"]


def network(name, modalities=tuple(WIDTHS)):
    torch.manual_seed(0)
    return BASELINES[name](make_problem(LABELS, {modality: WIDTHS[modality] for modality in modalities})).eval()


@pytest.mark.parametrize("name", BASELINES)
def test_padding_and_the_other_dialogues_change_no_logit(name):
    net, together = network(name), batch_of([3, 5, 1], padded_to=9)
    for b, length in enumerate([3, 5, 1]):
        single = {
            key: {modality: value[b : b + 1, :length] for modality, value in together[key].items()}
            for key in ("inputs", "present")
        }
        single["valid"] = together["valid"][b : b + 1, :length]
        assert_close(net(single).scores[0], net(together).scores[b, :length], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", BASELINES)
def test_the_values_of_what_is_missing_do_not_matter(name):
    net = network(name)
    gone = without(batch_of([4]), "audio", at=(0, 2))
    logits = net(gone).scores
    gone["inputs"]["audio"][0, 2] = 7.0
    assert_close(net(gone).scores, logits)
    assert not torch.allclose(net(batch_of([4])).scores[0, 2], logits[0, 2])


@pytest.mark.parametrize("name", BASELINES)
def test_only_networks_of_the_dialogue_see_other_utterances(name):
    net, changed = network(name), batch_of([5])
    before = net(batch_of([5])).scores
    changed["inputs"]["text"][0, 4] *= torch.linspace(-1, 2, WIDTHS["text"])
    after = net(changed).scores
    assert not torch.allclose(after[0, 4], before[0, 4])
    assert torch.allclose(after[0, :4], before[0, :4], atol=1e-6) is (name not in CONTEXT)


@pytest.mark.parametrize("make", [Recurrent, LateFusion])
def test_a_causal_network_sees_no_later_utterance(make):
    torch.manual_seed(0)
    net, changed = make(make_problem(LABELS, WIDTHS), width=8, causal=True).eval(), batch_of([5])
    changed["inputs"]["text"][0, 3] *= torch.linspace(-1, 2, WIDTHS["text"])
    before, after = net(batch_of([5])).scores, net(changed).scores
    assert_close(after[0, :3], before[0, :3], atol=1e-6, rtol=0)
    assert not torch.allclose(after[0, 4], before[0, 4])


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("modalities", [("text",), ("audio", "visual"), ("text", "audio", "visual")])
def test_every_weight_gets_a_finite_gradient(name, modalities):
    net = network(name, modalities).train()
    batch = without(batch_of([4, 2], modalities), modalities[-1], at=0)
    net(batch).scores[batch["valid"]].square().sum().backward()
    for weight, parameter in net.named_parameters():
        assert parameter.grad is not None, weight
        assert parameter.grad.isfinite().all(), weight


def test_late_fusion_is_the_mean_over_what_is_present():
    net = network("late")
    whole = net(batch_of([3])).scores
    single = [net(without(batch_of([3]), *(other for other in WIDTHS if other != name))).scores for name in WIDTHS]
    assert_close(torch.stack(single).mean(0), whole)


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (PerUtterance, {"hidden": 0}, "`hidden` to be at least 1"),
        (Recurrent, {"width": 0}, "`width` and `layers` to be at least 1"),
        (LateFusion, {"width": 9, "heads": 2}, "`heads` to divide `width`"),
    ],
)
def test_sizes_that_make_no_sense_are_named(make, settings, message):
    with pytest.raises(ValueError, match=message):
        make(make_problem(LABELS, WIDTHS), **settings)
