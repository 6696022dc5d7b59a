"""Every miner against a plain loop, by properties that hold for all of its triplets."""

import pytest
import torch

from m2fnet.losses.mining import MINERS, all_triplets, hardest, random_negative, semi_hard


def batch(seed, n=24, classes=4):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (n,), generator=generator)
    return torch.cdist(points, points), labels


def rows(triplets):
    return {tuple(row) for row in triplets.tolist()}


def pairs(labels):
    n = len(labels)
    return [(a, p) for a in range(n) for p in range(n) if a != p and labels[a] == labels[p]]


def negatives(labels, a):
    return [n for n in range(len(labels)) if labels[n] != labels[a]]


def by_a_loop(distances, labels, mining):
    found = set()
    for a, p in pairs(labels):
        candidates = negatives(labels, a)
        if mining == "all":
            found |= {(a, p, n) for n in candidates}
            continue
        if mining == "semi-hard":
            candidates = [n for n in candidates if distances[a, n] > distances[a, p]]
        if candidates:
            found.add((a, p, min(candidates, key=lambda n: distances[a, n])))
    return found


@pytest.mark.parametrize("mining", ["semi-hard", "hard", "all"])
@pytest.mark.parametrize(("n", "classes"), [(1, 1), (2, 2), (9, 2), (24, 4), (40, 12)])
def test_a_miner_finds_what_a_loop_finds(mining, n, classes):
    for seed in range(3):
        distances, labels = batch(seed, n, classes)
        found = MINERS[mining](distances, labels)
        assert found.shape == (len(rows(found)), 3)  # none comes twice
        assert rows(found) == by_a_loop(distances, labels, mining)


def test_a_negative_as_far_as_the_positive_is_not_semi_hard():
    distances = torch.tensor([[0.0, 1.0, 1.0, 2.0], [1.0, 0.0, 0.5, 0.7], [1.0, 0.5, 0.0, 1.0], [2.0, 0.7, 1.0, 0.0]])
    found = rows(semi_hard(distances, torch.tensor([0, 0, 1, 2])))
    assert found == {(0, 1, 3)}  # 2 is as far as 1; seen from 1, all negatives are nearer than 0


def test_random_negatives_are_one_per_pair_all_possible_and_drawn_from_the_generator():
    distances, labels = batch(5, 10, 3)
    seen = set()
    for seed in range(150):
        generator = torch.Generator().manual_seed(seed)
        found = random_negative(distances, labels, generator)
        assert [tuple(row[:2]) for row in found.tolist()] == pairs(labels)
        seen |= rows(found)
        assert torch.equal(found, random_negative(distances, labels, torch.Generator().manual_seed(seed)))
    assert seen == rows(all_triplets(distances, labels))


@pytest.mark.parametrize("miner", [semi_hard, hardest, random_negative, all_triplets])
def test_triplets_have_two_rows_of_one_class_and_one_of_another(miner):
    distances, labels = batch(7, 30, 5)
    a, p, n = miner(distances, labels).T
    assert len(a) > 0
    assert (labels[a] == labels[p]).all()
    assert (labels[a] != labels[n]).all()
    assert (a != p).all()
