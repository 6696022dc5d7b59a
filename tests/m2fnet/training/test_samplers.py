from collections import Counter

import pytest
import torch

from m2fnet.training.samplers import ClassBalancedBatchSampler, LengthGroupedBatchSampler

LABELS = torch.tensor([0] * 60 + [1] * 25 + [2] * 12 + [3] * 3)


def flat(batches):
    return [number for batch in batches for number in batch]


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize(("n", "size"), [(1, 4), (10, 4), (12, 4), (3, 1)])
def test_every_sample_comes_once(seed, n, size):
    batches = LengthGroupedBatchSampler(torch.arange(n) % 5, size, seed)
    assert sorted(flat(batches)) == list(range(n))
    assert len(list(batches)) == len(batches) == -(-n // size)
    assert max(map(len, batches)) <= size


def test_a_batch_holds_samples_of_like_length():
    lengths = torch.arange(100.0)[torch.randperm(100, generator=torch.Generator().manual_seed(0))]
    spread = [
        float(lengths[batch].max() - lengths[batch].min())
        for batch in LengthGroupedBatchSampler(lengths, 10, 1, blur=2.0)
    ]
    assert max(spread) <= 9 + 2 * 2


def test_alike_samples_are_shuffled_anew_in_every_epoch_and_the_same_by_seed():
    def order(seed, epoch):
        batches = LengthGroupedBatchSampler(torch.ones(40), 8, seed)
        batches.set_epoch(epoch)
        return flat(batches)

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4
    assert order(1, 0) != sorted(order(1, 0))


def test_evaluation_is_in_order_of_length():
    assert list(LengthGroupedBatchSampler(torch.tensor([3, 1, 2, 1]), 2, None)) == [[1, 3], [2, 0]]


def test_class_batches_hold_k_of_each_class():
    batches = ClassBalancedBatchSampler(LABELS, 12, 4, seed=0)
    for batch in batches:
        assert sorted(Counter(LABELS[batch].tolist()).values()) == [4, 4, 4]
    assert len(list(batches)) == len(batches) == -(-len(LABELS) // 12)


def test_class_batches_come_evenly_over_classes_and_over_the_samples_of_a_class():
    batches = ClassBalancedBatchSampler(LABELS, 8, 4, seed=0)
    numbers = []
    for epoch in range(20):
        batches.set_epoch(epoch)
        numbers += flat(batches)
    classes = Counter(LABELS[numbers].tolist())
    assert max(classes.values()) < 1.3 * min(classes.values())
    samples = Counter(number for number in numbers if LABELS[number] == 3)
    assert len(samples) == 3
    assert max(samples.values()) - min(samples.values()) <= 20  # a deck is dealt out before it is shuffled again
    assert set(numbers) == set(range(len(LABELS)))


def test_a_batch_never_repeats_a_sample_of_a_class_that_has_enough():
    batches = ClassBalancedBatchSampler(LABELS, 40, 10, seed=2)
    for epoch in range(10):
        batches.set_epoch(epoch)
        for batch in batches:
            enough = [number for number in batch if LABELS[number] < 3]
            assert len(set(enough)) == len(enough) == 30


def test_class_batches_are_the_same_by_seed_and_differ_by_epoch():
    def order(seed, epoch):
        batches = ClassBalancedBatchSampler(LABELS, 8, 4, seed)
        batches.set_epoch(epoch)
        return list(batches)

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_fewer_classes_than_fit_make_smaller_batches():
    assert {len(batch) for batch in ClassBalancedBatchSampler(torch.tensor([0, 0, 0, 1, 1, 1]), 32, 4, 0)} == {8}


@pytest.mark.parametrize(("size", "per_class"), [(8, 3), (8, 1), (8, 0), (8, -2), (8, 8), (4, 8)])
def test_batches_that_cannot_hold_triplets_are_refused(size, per_class):
    with pytest.raises(ValueError, match="at least two classes with at least two samples each"):
        ClassBalancedBatchSampler(LABELS, size, per_class, 0)


def test_a_single_class_is_refused():
    with pytest.raises(ValueError, match="out of 1 classes"):
        ClassBalancedBatchSampler(torch.zeros(9), 8, 4, 0)


@pytest.mark.parametrize("seed", [None, 3])
def test_processes_share_out_the_batches(seed, monkeypatch):
    whole = list(LengthGroupedBatchSampler(torch.arange(35.0), 4, seed))  # 9 batches
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    shares = []
    for rank in (0, 1):
        monkeypatch.setattr("torch.distributed.get_rank", lambda rank=rank: rank)
        batches = LengthGroupedBatchSampler(torch.arange(35.0), 4, seed)
        shares.append(list(batches))
        assert len(batches) == len(shares[-1])
    if seed is None:
        assert sorted(map(tuple, shares[0] + shares[1])) == sorted(map(tuple, whole))  # scored once each
    else:
        assert len(shares[0]) == len(shares[1]) == 5  # equally many steps
        assert {tuple(b) for b in shares[0] + shares[1]} == {tuple(b) for b in whole}
