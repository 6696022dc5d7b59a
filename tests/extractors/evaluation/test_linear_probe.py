"""The yardstick itself: what it finds, what it does not find, and what it refuses."""

import pytest
import torch

from extractors.evaluation.linear_probe import linear_probe
from m2fnet.errors import RunError


def draw(count, separation, seed, noise=20):
    generator = torch.Generator().manual_seed(seed)
    labels = [("joy", "anger")[i % 2] for i in range(count)]
    embeddings = torch.randn(count, noise, generator=generator)
    embeddings[:, 0] += separation * torch.tensor([1.0 if label == "joy" else -1.0 for label in labels])
    return embeddings, labels


@pytest.mark.parametrize(("separation", "least", "most"), [(3.0, 0.95, 1.0), (0.0, 0.3, 0.7)])
def test_it_finds_what_is_there_and_nothing_else(separation, least, most):
    scores = linear_probe(*draw(200, separation, 0), *draw(100, separation, 1))
    assert least <= scores["weighted_f1"] <= most
    assert scores["majority_weighted_f1"] == pytest.approx(1 / 3)
    assert scores["n"] == 100


def test_the_unit_of_the_embeddings_does_not_matter():
    train, judged = draw(200, 0.5, 0), draw(100, 0.5, 1)
    large = linear_probe(1e4 * train[0] + 5, train[1], 1e4 * judged[0] + 5, judged[1])
    assert large["weighted_f1"] == pytest.approx(linear_probe(*train, *judged)["weighted_f1"], abs=0.02)


def test_weak_directions_stay_weak():
    train, judged = draw(60, 3.0, 0, noise=60), draw(100, 3.0, 1, noise=60)
    shrink = torch.cat([torch.ones(1), torch.full((59,), 0.01)])
    assert linear_probe(train[0] * shrink, train[1], judged[0] * shrink, judged[1])["weighted_f1"] > 0.97


def test_one_label_or_nothing_to_score_is_refused():
    embeddings, labels = draw(10, 1.0, 0)
    with pytest.raises(RunError, match="two labels in training"):
        linear_probe(embeddings, ["joy"] * 10, embeddings, labels)
    with pytest.raises(RunError, match="0 to score"):
        linear_probe(embeddings, labels, embeddings[:0], [])
