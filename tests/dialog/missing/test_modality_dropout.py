"""Leaving modalities out, while training and while testing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_up_batches import LABELS, WIDTHS, batch_of, without
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from dialog.missing.modality_dropout import (
    ModalityDropout,
    only,
    pattern_probabilities,
    remove_at_random,
    with_present,
)
from dialog.models.m2fnet import M2FNet
from dialog.models.per_utterance import PerUtterance
from m2fnet.errors import UsageError
from m2fnet.problems import make_problem


def random_presence(seed, utterances=400):
    draw = torch.Generator().manual_seed(seed)
    there = torch.rand(2, utterances, 3, generator=draw) > 0.2
    return dict(zip(WIDTHS, there.unbind(-1), strict=True)), torch.rand(2, utterances, 3, generator=draw)


def count(present):
    return torch.stack(list(present.values())).sum(0)


@given(st.integers(0, 50), st.floats(0, 1))
def test_never_all_of_an_utterance_is_left_out_and_nothing_is_added(seed, probability):
    present, draws = random_presence(seed)
    left = remove_at_random(present, probability, draws)
    assert all(bool((left[name] <= present[name]).all()) for name in WIDTHS)
    assert torch.equal(count(left) > 0, count(present) > 0)


@given(st.integers(0, 50), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_probability_leaves_out_the_same_and_more(seed, first, second):
    present, draws = random_presence(seed)
    less, more = (remove_at_random(present, p, draws) for p in sorted((first, second)))
    assert all(bool((more[name] <= less[name]).all()) for name in WIDTHS)


def test_the_ends_are_all_and_one_of_each_utterance():
    present, draws = random_presence(0)
    assert all(torch.equal(left, present[name]) for name, left in remove_at_random(present, 0.0, draws).items())
    assert torch.equal(count(remove_at_random(present, 1.0, draws)), count(present).clamp(max=1))


@pytest.mark.parametrize("probability", [0.2, 0.5])
def test_the_share_left_out_is_the_probability_but_for_the_utterances_that_keep_one(probability):
    present = {name: torch.ones(1, 20_000, dtype=torch.bool) for name in WIDTHS}
    left = remove_at_random(present, probability, torch.rand(1, 20_000, 3, generator=torch.Generator().manual_seed(0)))
    expected = probability - probability**3 / 3  # all three would be gone with p^3; then one of them stays
    for mask in left.values():
        assert 1 - mask.float().mean().item() == pytest.approx(expected, abs=0.01)


def test_a_batch_without_a_modality_holds_no_trace_of_it():
    batch = with_present(batch_of([3, 2]), only(batch_of([3, 2])["present"], ["text"]))
    assert batch["present"]["text"].tolist() == batch["valid"].tolist()
    for name in ("audio", "visual"):
        assert not batch["present"][name].any()
        assert not batch["inputs"][name].any()


def test_dropout_takes_a_modality_from_a_whole_dialogue_and_never_all_of_an_utterance():
    batch, dropout = batch_of([6] * 300), ModalityDropout(0.5)
    batch["present"]["text"][:, 2] = False  # what the store lacks
    torch.manual_seed(0)
    left = dropout(batch, 0)["present"]
    assert torch.equal(count(left) > 0, count(batch["present"]) > 0)
    gone = torch.stack([~left[name][:, 0] for name in WIDTHS])
    assert gone.float().mean().item() == pytest.approx(0.5 - 0.5**3 / 3, abs=0.05)
    for name in WIDTHS:
        same = left[name][:, [0, 1, 3, 4, 5]]
        assert bool((same == same[:, :1]).all())


def test_dropout_warms_up_and_leaves_out_nothing_before():
    batch, dropout = batch_of([3] * 200), ModalityDropout(0.9, warmup_epochs=3)
    assert all(torch.equal(here, batch["valid"]) for here in dropout(batch, 0)["present"].values())
    torch.manual_seed(0)
    left = [int(count(dropout(batch, epoch)["present"]).sum()) for epoch in (1, 2, 3, 9)]
    assert left[0] > left[1] > left[2]
    assert dropout.probability_in(3) == dropout.probability_in(9) == 0.9


@pytest.mark.parametrize(
    "settings", [{"probability": 1.0}, {"probability": -0.1}, {"probability": 0.1, "warmup_epochs": -1}]
)
def test_other_numbers_are_refused(settings):
    with pytest.raises(UsageError, match=r"model\.modality_dropout is .*expected a probability from 0 to below 1"):
        ModalityDropout(**settings).check()


SCHEMES = ["restore_one", "redraw", "keep_all", "even"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("streams", [1, 2, 3, 4])
def test_patterns_are_all_but_none_and_their_probabilities_sum_to_one(streams, scheme):
    for p in (0.0, 0.3, 0.9):
        patterns, chances = pattern_probabilities(streams, p, scheme)
        assert len(set(map(tuple, patterns.tolist()))) == 2**streams - 1
        assert patterns.any(1).all()
        assert chances.sum().item() == pytest.approx(1)
        assert (chances >= 0).all()
        assert (chances[patterns.all(1)] == 1).all() == (p == 0 or streams == 1)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_drawn_has_the_probabilities_of_its_scheme(scheme):
    torch.manual_seed(0)
    left = ModalityDropout(0.4, scheme=scheme)(batch_of([1] * 20_000), 0)["present"]
    drawn = torch.stack([left[name][:, 0] for name in WIDTHS], 1)
    for pattern, chance in zip(*pattern_probabilities(3, 0.4, scheme), strict=True):
        assert (drawn == pattern).all(1).float().mean().item() == pytest.approx(chance.item(), abs=0.012)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_two_streams_of_a_modality_go_together_and_what_the_store_lacks_stays_absent(scheme):
    batch = batch_of([4] * 200)
    batch["present"]["audio"][:, 1] = False
    batch["present"]["text"][:, 2] = batch["present"]["visual"][:, 2] = False
    torch.manual_seed(0)
    modalities = {"text": "text", "audio": "visual", "visual": "visual"}
    left = ModalityDropout(0.5, by="modality", scheme=scheme)(batch, 0, modalities)["present"]
    assert torch.equal(left["audio"][:, 0], left["visual"][:, 0])
    assert not left["audio"][:, 1].any()
    assert torch.equal(left["visual"][:, 1], left["visual"][:, 0])
    assert left["audio"][:, 2].all()  # all that the utterance has
    assert (~left["text"][:, 0]).any()
    assert torch.equal(count(left) > 0, count(batch["present"]) > 0)


def labelled(seed, strengths=(8.0, 1.5, 1.5)):
    """Dialogues in which each modality is enough to tell the emotion, text most clearly."""
    batch = batch_of([8] * 40, seed=seed)
    labels = torch.randint(3, batch["valid"].shape, generator=torch.Generator().manual_seed(seed))
    for strength, (name, width) in zip(strengths, WIDTHS.items(), strict=True):
        batch["inputs"][name] += strength * torch.eye(3, width)[labels]
    return {**batch, "label": labels}


def trained(dropout):
    torch.manual_seed(0)
    net = PerUtterance(make_problem(LABELS, WIDTHS), dropout=0.0, input_norm=False)
    optimizer, batch = torch.optim.SGD(net.parameters(), lr=0.1), labelled(seed=3)
    for epoch in range(100):
        loss = cross_entropy(net(dropout(batch, epoch)).scores.flatten(0, 1), batch["label"].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def accuracy(net, *gone):
    batch = labelled(seed=4)
    return (net(without(batch, *gone)).scores.argmax(-1) == batch["label"]).float().mean().item()


def test_training_with_dropout_does_without_text_much_better():
    plain, dropped = trained(ModalityDropout(0.0)), trained(ModalityDropout(0.5, warmup_epochs=5))
    assert accuracy(dropped, "text") > accuracy(plain, "text") + 0.2
    assert accuracy(dropped) > accuracy(plain) - 0.01


def test_what_is_missing_by_hand_equals_what_is_missing_by_mask():
    torch.manual_seed(0)
    net = M2FNet(make_problem(LABELS, WIDTHS), width=8, heads=2, hidden=6).eval()
    batch = batch_of([4, 2])
    masked = net(with_present(batch, only(batch["present"], ["text", "visual"]))).scores
    assert_close(masked[batch["valid"]], net(without(batch_of([4, 2]), "audio")).scores[batch["valid"]])
