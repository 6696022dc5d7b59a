"""A stack of runs against each of them trained on its own, by the network and the optimizer of everybody else."""

import pytest
import torch
from sklearn.metrics import f1_score
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from dialog.models.attention_fusion import AttentionFusion
from dialog.stacked.fusion import FusionSettings, FusionStack, StackedRun, principal_components, train_stacked
from m2fnet.problems import make_problem
from m2fnet.records import LabelSet

WIDTHS = {"text": 12, "audio": 8, "visual": 10}
PROBLEM = make_problem(LabelSet("three", ("neutral", "joy", "anger")), WIDTHS)
ROWS = torch.arange(91)


def corpus(signal=1.0, seed=0):
    """Embeddings of 91 utterances whose first numbers tell the emotion, more or less."""
    draw = torch.Generator().manual_seed(seed)
    label = torch.randint(3, (len(ROWS),), generator=draw)
    shown = torch.nn.functional.one_hot(label, 3)
    inputs = {name: torch.randn(len(ROWS), width, generator=draw) for name, width in WIDTHS.items()}
    for values in inputs.values():
        values[:, :3] += signal * shown
    return inputs, label


def runs(folds=3, seeds=(0, 1)):
    return [
        StackedRun(ROWS[ROWS % folds != fold], ROWS[ROWS % folds == fold], seed)
        for fold in range(folds)
        for seed in seeds
    ]


def restored(trained, **settings):
    net = AttentionFusion(PROBLEM, hidden=6, dropout=0.0, input_norm="none", **settings)
    net.load_state_dict(trained.weights)
    return net.eval()


def scores(net, inputs, rows, present=None):
    here = {name: torch.ones(1, len(rows), dtype=torch.bool) if present is None else present[name][rows][None]
            for name in inputs}  # fmt: skip
    return net({"inputs": {name: values[rows][None] for name, values in inputs.items()}, "present": here}).scores[0]


@pytest.mark.parametrize("weights", ["plain", "softmax", "masked_softmax"])
def test_a_run_learns_what_it_would_learn_by_the_network_and_the_optimizer(weights):
    inputs, label = corpus()
    draw = torch.Generator().manual_seed(1)
    present = {name: torch.rand(len(ROWS), generator=draw) > 0.2 for name in WIDTHS}
    settings = FusionSettings(hidden=6, dropout=0.0, weights=weights, batch_size=16, epochs=4, lr=0.01)
    several = runs()
    trained = train_stacked(PROBLEM, inputs, label, several, settings, present)
    for run, found in zip(several, trained, strict=True):
        torch.manual_seed(run.seed)
        net = AttentionFusion(PROBLEM, hidden=6, dropout=0.0, weights=weights, input_norm="none")
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=1e-5)
        draw, curve, kept = torch.Generator().manual_seed(run.seed), [], []
        for _ in range(4):
            order = torch.randperm(len(run.train), generator=draw)
            most = max(len(other.train) for other in several)
            order = torch.cat([order, order[: most - len(order)]])
            for rows in run.train[order].split(16):
                optimizer.zero_grad()
                cross_entropy(scores(net, inputs, rows, present), label[rows]).backward()
                optimizer.step()
            predicted = scores(net, inputs, run.dev, present).argmax(1)
            curve.append(f1_score(label[run.dev], predicted, average="weighted", zero_division=0))
            kept.append({name: weight.detach().clone() for name, weight in net.named_parameters()})
        assert found.curve == pytest.approx(curve, abs=1e-6)
        assert found.dev_weighted_f1 == max(found.curve) == found.curve[found.epoch]
        for name, weight in kept[found.epoch].items():
            assert_close(found.weights[name], weight, atol=2e-5, rtol=1e-4)


def test_a_run_does_not_depend_on_the_others_of_its_stack():
    inputs, label = corpus()
    settings = FusionSettings(hidden=6, dropout=0.5, modality_dropout=0.3, batch_size=16, epochs=3, lr=0.01)
    three = [run for run in runs(seeds=(0, 1)) if len(run.train) == 61][:3]
    together = train_stacked(PROBLEM, inputs, label, three, settings)
    for run, found in zip(three, together, strict=True):
        (own,) = train_stacked(PROBLEM, inputs, label, [run], settings)
        assert own.curve == pytest.approx(found.curve, abs=1e-6)
        for name, weight in own.weights.items():
            assert_close(found.weights[name], weight, atol=2e-5, rtol=1e-4)


def test_folds_are_learnt_and_the_kept_weights_have_the_score_they_claim():
    inputs, label = corpus(signal=4.0)
    settings = FusionSettings(hidden=6, dropout=0.3, modality_dropout=0.2, batch_size=16, epochs=20, lr=0.01)
    for run, found in zip(several := runs(), train_stacked(PROBLEM, inputs, label, several, settings), strict=True):
        predicted = scores(restored(found), inputs, run.dev).argmax(1)
        assert found.dev_weighted_f1 == pytest.approx(f1_score(label[run.dev], predicted, average="weighted"))
        assert found.dev_weighted_f1 > 0.8


def test_dropout_removes_its_share_and_keeps_the_mean():
    inputs, _ = corpus()
    stack = FusionStack(PROBLEM, inputs, [0, 1], FusionSettings(hidden=6, dropout=0.25))
    dropped = stack._dropped(torch.ones(2, 300, 101))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert not torch.equal(dropped[0], dropped[1])


def test_dev_rows_never_teach():
    inputs, label = corpus()
    run = runs()[0]
    other = label.clone()
    other[run.dev] = (other[run.dev] + 1) % 3
    settings = FusionSettings(hidden=6, batch_size=16, epochs=1)
    first, second = (train_stacked(PROBLEM, inputs, given, [run], settings)[0] for given in (label, other))
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)


def test_components_are_those_of_the_given_rows():
    draw = torch.Generator().manual_seed(0)
    embeddings = torch.randn(60, 20, generator=draw)
    changed = embeddings.clone()
    changed[40:] += 5
    first, second = (principal_components(given, torch.arange(40), 4) for given in (embeddings, changed))
    assert_close(first[:40], second[:40])
    centred = embeddings[:40] - embeddings[:40].mean(0)
    assert first[:40].square().sum() <= torch.linalg.svdvals(centred)[:4].square().sum() * 1.0001
    assert first[:40].square().sum() >= torch.linalg.svdvals(centred)[:4].square().sum() * 0.95
    assert principal_components(embeddings, torch.arange(40), 20) is embeddings


@pytest.mark.parametrize(
    ("several", "words"),
    [
        ([], "at least one run"),
        ([StackedRun(ROWS[:50], ROWS[49:], 0)], "run 0 has 1 rows in both train and dev"),
        ([StackedRun(ROWS[:50], ROWS[:0], 0)], "run 0 has no dev row"),
        ([StackedRun(ROWS[:50], ROWS[60:], 0), StackedRun(ROWS[:40], ROWS[60:], 0)], r"got \[40, 50\]"),
    ],
)
def test_runs_that_make_no_sense_are_refused(several, words):
    inputs, label = corpus()
    with pytest.raises(ValueError, match=words):
        train_stacked(PROBLEM, inputs, label, several, FusionSettings(hidden=6))


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="dropout from 0 to below 1, but got 128, 32, 100 and 1"):
        FusionSettings(dropout=1.0)


def test_soft_targets_and_weights_are_those_of_cross_entropy():
    """Class numbers, one-hot probabilities and rows of weight 0 that are not there give the same step."""
    inputs, label = corpus()
    rows = ROWS[:20].expand(2, 20)
    several = [FusionStack(PROBLEM, inputs, [0, 1], FusionSettings(hidden=6, dropout=0.0)) for _ in range(3)]
    several[0].step(rows, label[rows])
    several[1].step(rows, torch.nn.functional.one_hot(label[rows], 3).float(), torch.ones(2, 20))
    more = ROWS[:40].expand(2, 40)
    several[2].step(more, label[more], 2.0 * (more < 20))
    for other in several[1:]:
        for name, weight in several[0].weights.items():
            assert_close(other.weights[name], weight, atol=1e-6, rtol=1e-5)


def test_a_network_may_be_shown_some_of_its_streams_only():
    inputs, _ = corpus()
    stack = FusionStack(PROBLEM, inputs, [0, 1], FusionSettings(hidden=6))
    rows = ROWS.expand(2, len(ROWS))
    text = stack.scores(rows, torch.tensor([True, False, False]))
    inputs["audio"].zero_()
    inputs["visual"].zero_()
    assert_close(stack.scores(rows, torch.tensor([True, False, False])), text)
    assert not torch.equal(stack.scores(rows), text)
