"""Every policy selects by its formula, and no pseudo-label is scored."""

import numpy as np
import pytest

from dialog.self_training.policies import (
    Agreement,
    ClassThresholds,
    FixedThreshold,
    FlexMatch,
    FreeMatch,
    Meta,
    SoftWeights,
    TopPerClass,
)

META = Meta(("joy", "anger", "fear"), ("text", "audio"))
POLICIES = [
    SoftWeights(),
    SoftWeights(3.0),
    FixedThreshold(0.6),
    ClassThresholds({"fear": 0.2}, otherwise=0.7),
    TopPerClass(0.3),
    FlexMatch(0.7),
    FreeMatch(),
    Agreement(0.5),
]


@pytest.fixture
def pool():
    draw = np.random.default_rng(0)
    probs = draw.dirichlet([3.0, 1.0, 0.5], 200)
    return probs, np.eye(3, dtype=int)[draw.integers(3, size=(2, 200))].sum(0)


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_every_policy_has_one_signature(policy, pool):
    mask, label, weight = policy.select(*pool, META)
    assert (mask.dtype, mask.shape, label.shape, weight.shape) == (bool, (200,), (200,), (200,))
    assert (label == pool[0].argmax(1)).all()
    assert ((weight > 0) == mask).all()
    assert weight.max() <= 1
    assert mask.any()


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_a_selection_does_not_depend_on_the_order_of_the_pool(policy, pool):
    order = np.random.default_rng(1).permutation(200)
    for whole, shuffled in zip(
        policy.select(*pool, META), policy.select(pool[0][order], pool[1][order], META), strict=True
    ):
        assert (whole[order] == shuffled).all()


def test_a_higher_gamma_and_threshold_leave_less(pool):
    weights = [SoftWeights(gamma).select(*pool, META).weight for gamma in (0.0, 1.0, 2.0)]
    assert (weights[0] == 1).all()
    assert (weights[1] >= weights[2]).all()
    counts = [FixedThreshold(threshold).select(*pool, META).mask.sum() for threshold in (0.0, 0.6, 0.9, 1.0)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 200


def test_flex_match_is_the_authors_formula(pool):
    """torchssl: `beta = counts / max(counts, unused)`, `mask = p >= threshold * beta / (2 - beta)`."""
    probs = pool[0]
    label, confidence = probs.argmax(1), probs.max(1)
    counts = np.array([((label == c) & (confidence >= 0.7)).sum() for c in range(3)])
    beta = counts / max(counts.max(), (confidence < 0.7).sum())
    expected = [confidence[n] >= 0.7 * beta[label[n]] / (2 - beta[label[n]]) for n in range(200)]
    assert FlexMatch(0.7).select(*pool, META).mask.tolist() == expected


def test_free_match_is_the_formula_of_the_paper(pool):
    probs = pool[0]
    time, local = probs.max(1).mean(), probs.mean(0)
    expected = [row.max() >= local[row.argmax()] / local.max() * time for row in probs]
    assert FreeMatch().select(*pool, META).mask.tolist() == expected


def test_the_top_of_each_class_is_taken(pool):
    mask, label, _ = TopPerClass(0.3).select(*pool, META)
    confidence = pool[0].max(1)
    for number in np.unique(label):
        inside, outside = confidence[mask & (label == number)], confidence[~mask & (label == number)]
        assert len(inside) == max(1, round(0.3 * (label == number).sum()))
        assert not len(outside) or inside.min() >= outside.max()


def test_agreement_counts_the_voters(pool):
    probs, votes = pool
    agree = votes[np.arange(200), probs.argmax(1)]
    assert (Agreement(1.0).select(*pool, META).mask == (agree == 2)).all()
    assert (Agreement(0.5).select(*pool, META).mask == (agree >= 1)).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SoftWeights(-1.0), "a gamma of at least 0, but got -1.0"),
        (lambda: SoftWeights(float("nan")), "a gamma"),
        (lambda: FixedThreshold(1.5), "a threshold from 0 to 1, but got 1.5"),
        (lambda: FlexMatch(-0.1), "a threshold from 0 to 1"),
        (lambda: ClassThresholds({"joy": 2.0}), "a threshold from 0 to 1"),
        (lambda: TopPerClass(0.0), "a share above 0"),
        (lambda: Agreement(1.1), "a share above 0"),
    ],
)
def test_settings_out_of_range_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_threshold_of_an_unknown_emotion_is_refused(pool):
    with pytest.raises(ValueError, match="thresholds of joy, anger, fear, but got 'bliss'"):
        ClassThresholds({"bliss": 0.5}).select(*pool, META)
