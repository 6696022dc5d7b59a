"""CARAT against its released formula, and what our mends promise."""

import copy
import runpy
from pathlib import Path

import pytest
import torch
from made_up_batches import batch_of, without
from torch.testing import assert_close

from dialog.models.carat import CARAT
from m2fnet.errors import UsageError
from m2fnet.problems import UNLABELLED, Stream, make_problem
from m2fnet.records import LabelSet
from m2fnet.training.bert_adam import BertAdam

PLAIN = runpy.run_path(str(Path(__file__).parents[3] / "bench" / "_plain_carat.py"))
SMALL = {"width": 8, "latent": 4, "layers": 1, "heads": 2, "feedforward": 6, "queue": 40, "dropout": 0.0}
LABELS = LabelSet("three", ("joy", "anger", "fear"), "multi")
WIDTHS = {"text": 12, "audio": 8, "visual": 10}
PROBLEM = make_problem(LABELS, {name: Stream(name, width, is_sequence=True) for name, width in WIDTHS.items()})


def made(problem=PROBLEM, seed=0, **settings):
    torch.manual_seed(seed)
    return CARAT(problem, **{**SMALL, **settings})


def sequences(lengths=(3, 2), most_frames=5, seed=0, sets=True):
    """Dialogues of utterances with 1 to ``most_frames`` frames; what is under the padding is garbage."""
    draw = torch.Generator().manual_seed(seed)
    batch = batch_of(lengths)
    shape = (*batch["valid"].shape, most_frames)
    for name, width in WIDTHS.items():
        count = torch.randint(1, most_frames + 1, shape[:2], generator=draw)
        batch["frames"][name] = (torch.arange(most_frames) < count[..., None]) & batch["valid"][..., None]
        frames = torch.randn(*shape, width, generator=draw)
        batch["inputs"][name] = torch.where(batch["frames"][name][..., None], frames, torch.nan)
    if sets:
        label = (torch.rand(*shape[:2], 3, generator=draw) < 0.4).long()
        batch["label"] = label.masked_fill(~batch["valid"][..., None], UNLABELLED)
    return batch


def loss_of(network, batch):
    output = network.train()(batch)
    loss = network.problem.loss(output.scores.flatten(0, 1), batch["label"].flatten(0, 1))
    return loss / max(batch["labelled"], 1) + sum(output.terms.values())


def test_released_is_the_plain_formula():
    network = made(released=True, mask_padding=True, queue=150).double()
    network.prototypes.vectors.normal_()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    batch = sequences((1, 1, 1, 1))
    batch["inputs"] = {name: x.nan_to_num(0).double() for name, x in batch["inputs"].items()}
    drawn = network.permutations(torch.zeros(4, 3, 3))
    network.permutations = lambda _: drawn
    weights = {
        name: value.clone().requires_grad_(value.is_floating_point()) for name, value in network.state_dict().items()
    }
    one = {name: {stream: x[:, 0] for stream, x in batch[name].items()} for name in ("inputs", "frames")}
    sizes = PLAIN["Sizes"](heads=2)
    plain, after = PLAIN["terms"](weights, one["inputs"], one["frames"], batch["label"][:, 0], drawn, sizes)
    output = network.train()(batch)
    ours = {name: term / network.weights[name] for name, term in output.terms.items()}
    ours["bce_beta"] = network._loss(output.scores[:, 0], batch["label"][:, 0])
    for name, term in ours.items():
        assert_close(term, plain[name], atol=1e-10, rtol=0)
    assert set(plain) - set(ours) == {"mse_beta"}
    sum(network.weights.get(name, 1.0) * term for name, term in ours.items()).backward()
    sum(network.weights.get(name, 1.0) * plain[name] for name in ours).backward()
    for name, parameter in network.named_parameters():
        assert_close(parameter.grad, weights[name].grad, atol=1e-10, rtol=0)
    for name, value in after.items():
        assert_close(network.state_dict()[name], value, atol=1e-10, rtol=0)


def test_padding_and_the_other_utterances_change_no_score():
    network, whole = made().eval(), sequences((3, 2))
    scores = network(whole).scores
    assert scores[whole["valid"]].isfinite().all()
    part = {key: {name: x[:1, 1:2] for name, x in whole[key].items()} for key in ("inputs", "frames", "present")}
    part["valid"] = whole["valid"][:1, 1:2]
    for name, mask in part["frames"].items():  # and no padding at all
        count = int(mask.sum())
        part["inputs"][name], part["frames"][name] = part["inputs"][name][:, :, :count], mask[:, :, :count]
    assert_close(network(part).scores[0, 0], scores[0, 1], atol=1e-6, rtol=0)


def test_what_is_missing_does_not_matter_and_is_imputed():
    network = made()
    for step in range(3):
        loss_of(network, sequences(seed=step))
    assert network.prototypes.vectors.abs().sum() > 0
    gone = without(sequences(), "audio", at=(0, 1))
    scores = network.eval()(gone).scores
    gone["inputs"]["audio"][0, 1] = 7.0
    assert_close(network(gone).scores, scores)
    assert not torch.allclose(scores[0, 1], network(sequences()).scores[0, 1])
    found = network.features(gone, torch.arange(6))
    assert found.has[1].tolist() == [True, False, True]
    assert_close(found.recon[1, 1], found.imputed[1, 1])
    assert_close(found.share[1, 1], found.share[1, [0, 2]].mean(0))
    single = without(sequences(), "audio", "visual", at=(0, 1))
    single = network.features(single, torch.arange(6))
    assert_close(single.aug[1, 0], network.fusion["text"](single.recon[1].transpose(0, 1).flatten(1)))


@pytest.mark.parametrize("streams", [("text",), ("audio", "visual")])
@pytest.mark.parametrize("kind", ["multi", "single"])
def test_any_streams_of_sequences_or_vectors_and_both_kinds_of_labels_learn(streams, kind):
    labels = LabelSet("three", LABELS.classes, kind)
    network = made(make_problem(labels, {name: Stream(name, WIDTHS[name], name != "visual") for name in streams}))
    batch = sequences(sets=kind == "multi")
    batch["inputs"]["visual"] = batch["inputs"]["visual"][:, :, 0]
    del batch["frames"]["visual"]
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = loss_of(network, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    output = network.eval()(batch)
    assert not output.terms
    probabilities = network.problem.probabilities(output.scores[batch["valid"]])
    assert ((probabilities > 0) & (probabilities < 1)).all()


@pytest.mark.parametrize("kind", ["multi", "single"])
def test_the_score_is_the_mean_of_both_heads(kind):
    network = made(make_problem(LabelSet("three", LABELS.classes, kind), PROBLEM.streams)).eval()
    batch = sequences((1, 1))
    found = network.features(batch, torch.arange(2))
    chance = network.problem.probabilities
    expected = (
        chance(network.aggregate(found.beta.flatten(2))).mean(1) + chance(network.classify(found.beta, found.has))
    ) / 2
    assert_close(chance(network(batch).scores[:, 0]), expected)


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_every_weight_that_is_there_learns(levels):
    network = made(levels=levels, context=1, weights={"mse_beta": 1.0})
    loss_of(network, sequences((4, 2))).backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize(
    "term", ["bce_U", "bce_aug", "bce_aggregation", "bce_shuffled", "contrastive", "mse_recon", "mse_aug"]
)
def test_a_term_of_weight_zero_is_not_computed(term):
    assert term in made().train()(sequences()).terms
    assert term not in made(weights={term: 0.0}).train()(sequences()).terms


@pytest.mark.parametrize("mend", ["mask_padding", "impute_missing", "queue_anchors", "dilute", "whole_shuffles"])
def test_every_mend_is_a_setting_of_its_own(mend):
    ours, released = made(), made(released=True)
    assert getattr(ours, mend) is not getattr(released, mend)
    assert getattr(made(released=True, **{mend: getattr(ours, mend)}), mend) is getattr(ours, mend)


def test_the_first_step_is_not_diluted_and_the_queue_holds_no_graph():
    network, batch = made(), sequences((2,))
    with_queue = network.train()(batch).terms["contrastive"]
    assert_close(with_queue, made(queue=0).train()(batch).terms["contrastive"])
    assert len(network.queue.content()[0]) == 40  # of 54 rows
    assert not network.queue.rows.requires_grad
    copy.deepcopy(network)


def test_the_context_reads_the_other_utterances_and_a_causal_one_no_later_ones():
    for causal in (False, True):
        network, batch = made(context=1, causal=causal).eval(), sequences((3,))
        before = network(batch).scores
        batch["inputs"]["text"][0, 2] *= torch.linspace(-1, 2, WIDTHS["text"])
        after = network(batch).scores
        assert torch.allclose(after[0, :2], before[0, :2], atol=1e-6) is causal
        assert not torch.allclose(after[0, 2], before[0, 2])


def test_in_bfloat16_it_trains_to_the_same_loss():
    whole, half = made(), made()
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(half, sequences())
    loss.backward()
    assert loss.item() == pytest.approx(loss_of(whole, sequences()).item(), rel=0.05)
    assert all(weight.grad.isfinite().all() for weight in half.parameters() if weight.grad is not None)


def no_frame(batch):
    batch["frames"]["text"][0, 1] = False


def nothing_at_all(batch):
    for name in WIDTHS:
        batch["present"][name][0, 1] = False


def unlabelled(batch):
    batch["label"][:] = UNLABELLED
    batch["labelled"] = 0


def every_label(batch):
    batch["label"][batch["valid"]] = 1


def no_label(batch):
    batch["label"][batch["valid"]] = 0


@pytest.mark.parametrize("change", [no_frame, nothing_at_all, unlabelled, every_label, no_label])
@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("lengths", [(2,), (2, 1)])
def test_odd_batches_give_finite_losses_and_scores(change, released, lengths):
    network, batch = made(queue=3, released=released, mask_padding=True), sequences(lengths)
    change(batch)
    loss = loss_of(network, batch)
    loss.backward()
    assert loss.isfinite()
    assert all(weight.grad.isfinite().all() for weight in network.parameters() if weight.grad is not None)
    assert network.eval()(batch).scores.isfinite().all()


def test_a_batch_of_one_utterance_works():
    assert loss_of(made(), sequences((1,))).isfinite()


@pytest.mark.parametrize("released", [False, True])
def test_one_emotion_works(released):
    labels = LabelSet("one", ("joy",), "multi")
    network = made(make_problem(labels, PROBLEM.streams), released=released, mask_padding=True)
    batch = sequences((2, 1))
    batch["label"] = batch["label"][..., :1]
    loss_of(network, batch).backward()
    assert all(weight.grad.isfinite().all() for weight in network.parameters() if weight.grad is not None)
    assert network.eval()(batch).scores.shape == (2, 2, 1)


def test_frames_beyond_the_last_position_have_its_position():
    network = made(positions=2).eval()
    assert network(sequences()).scores.isfinite().all()


def test_frames_of_another_length_than_the_mask_are_refused():
    batch = sequences()
    batch["frames"]["audio"] = batch["frames"]["audio"][..., :-1]
    with pytest.raises(UsageError, match=r"stream audio has frames of shape .2, 3, 5, 8., but its mask has .2, 3, 4."):
        made()(batch)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heads": 3}, "`heads` to divide `width`"),
        ({"levels": 3}, "`levels` of 0 to 2"),
        ({"latent": 0}, "`latent` to be at least 1"),
        ({"queue": -1}, "`queue` to be 0 or more, but got -1"),
        ({"layers": -1}, "`layers` to be 0 or more, but got -1"),
        ({"layers": {"text": 1}}, "audio is in only one of both"),
        ({"weights": {"bce": 1.0}}, "`weights` of bce_U"),
        ({"temperature": 0.0}, "`temperature` to be above 0"),
        ({"momentum": 2.0}, "`momentum` from 0 to 1"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        made(**settings)


def test_soft_alignment_brings_other_streams_to_one_length():
    network = made(align_to=3).eval()
    seen = {}
    network.attention["audio"].register_forward_hook(lambda _, given, __: seen.update(shape=given[0].shape))
    assert network(sequences()).scores.isfinite().all()
    assert seen["shape"] == (5, 3, 8)


def test_in_parts_the_encoders_learn_the_same():
    gradients = []
    for part in (None, 1, 2):
        network = made(part=part, weights={"bce_shuffled": 0.0})
        loss_of(network, sequences()).backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in network.encoders.parameters()]))
    assert_close(gradients[1], gradients[0])
    assert_close(gradients[2], gradients[0])


def test_what_is_computed_again_draws_the_same_numbers():
    drawn = []
    network = made(part=1, dropout=0.5)
    encoder = network.encoders["text"]
    encoder.dropout.register_forward_hook(lambda _, __, h: drawn.append((h == 0).detach()))
    encoder.layers[0].dropout.register_forward_hook(lambda _, __, h: drawn.append((h == 0).detach()))
    torch.manual_seed(3)
    loss = loss_of(network, sequences((2,)))
    after = torch.get_rng_state()
    before = len(drawn)
    loss.backward()
    assert torch.equal(torch.get_rng_state(), after)
    assert (before, len(drawn)) == (6, 9)  # the first of two utterances twice
    assert all(torch.equal(again, first) for again, first in zip(drawn[6:], drawn[:3], strict=True))


def test_the_optimiser_refuses_numbers_out_of_range():
    with pytest.raises(ValueError, match="`warmup` from 0 to below 1"):
        BertAdam([torch.nn.Parameter(torch.ones(1))], warmup=1.0)
