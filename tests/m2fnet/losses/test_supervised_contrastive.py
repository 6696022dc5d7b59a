"""The contrastive loss against its formula written out with the whole matrix."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from m2fnet.losses.supervised_contrastive import NO_CLASS, ContrastiveQueue, supervised_contrastive


def plain(rows, classes, queue=None, *, temperature=0.07, queue_anchors=False, mean_over_all=False):
    """The formula, anchor by anchor."""
    everything, places = rows, classes.tolist()
    if queue is not None:
        everything, places = torch.cat([rows, queue[0]]), places + queue[1].tolist()
    terms = []
    for i in range(len(everything) if queue_anchors else len(rows)):
        others = [j for j in range(len(everything)) if j != i]
        positives = [j for j in others if places[j] == places[i] != NO_CLASS]
        if positives:
            similarity = everything @ everything[i] / temperature
            bottom = similarity[others].exp().sum().log()
            terms.append(-sum(similarity[j] - bottom for j in positives) / len(positives))
        elif mean_over_all:
            terms.append(rows.sum() * 0)
    return torch.stack(terms).mean() if terms else rows.sum() * 0


def rows_of(count, width=5, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, width, generator=draw, dtype=torch.float64), dim=-1)


def queue_of(count):
    classes = torch.arange(count) % 4
    classes[::3] = NO_CLASS
    return rows_of(count, seed=1), classes


@pytest.mark.parametrize("chunk", [1, 4, 100])
@pytest.mark.parametrize("mean_over_all", [False, True])
@pytest.mark.parametrize(("queue", "queue_anchors"), [(None, False), (queue_of(9), False), (queue_of(9), True)])
def test_value_and_gradient_are_those_of_the_formula(queue, queue_anchors, mean_over_all, chunk):
    rows = rows_of(11).requires_grad_()
    classes = torch.tensor([0, 1, 2, 0, 1, 0, 7, 3, 3, 0, 1])  # 7 occurs once
    settings = {"queue_anchors": queue_anchors, "mean_over_all": mean_over_all}
    ours = supervised_contrastive(rows, classes, queue, chunk=chunk, **settings)
    expected = plain(rows, classes, queue, **settings)
    assert_close(ours, expected, atol=1e-10, rtol=0)
    gradients = [torch.autograd.grad(3 * loss, rows)[0] for loss in (ours, expected)]
    assert_close(*gradients, atol=1e-10, rtol=0)


def test_the_gradient_is_that_of_small_differences():
    rows = rows_of(6).requires_grad_()
    classes = torch.tensor([0, 0, 1, 1, 1, 2])
    assert torch.autograd.gradcheck(lambda r: supervised_contrastive(r, classes, temperature=0.5), rows)


@pytest.mark.parametrize("classes", [[], [0], [0, 1, 2]])
def test_without_any_positive_the_loss_is_zero(classes):
    rows = rows_of(len(classes)).requires_grad_()
    loss = supervised_contrastive(rows, torch.tensor(classes, dtype=torch.long))
    (gradient,) = torch.autograd.grad(loss, rows)
    assert loss.item() == 0
    assert gradient.abs().sum() == 0


def test_rows_in_half_precision_are_computed_in_single():
    rows, classes = rows_of(8).float(), torch.arange(8) % 2
    expected = supervised_contrastive(rows.bfloat16().float(), classes)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(supervised_contrastive(rows.bfloat16(), classes), expected)


@pytest.mark.parametrize(
    ("rows", "classes", "temperature"),
    [(torch.zeros(3), torch.zeros(3), 0.1), (torch.zeros(3, 2), torch.zeros(2), 0.1), (rows_of(2), torch.ones(2), 0)],
)
def test_what_does_not_fit_is_refused(rows, classes, temperature):
    with pytest.raises(ValueError, match=r"Expected rows \(N, D\), classes \(N,\) and a temperature above 0"):
        supervised_contrastive(rows, classes.long(), temperature=temperature)


def test_the_queue_wraps_and_keeps_the_latest_of_a_batch_that_is_larger_than_it():
    queue = ContrastiveQueue(4, 1)
    assert len(queue.content()[0]) == 0
    numbers = torch.arange(3.0)[:, None].requires_grad_()
    queue.push(numbers, torch.arange(3))
    assert queue.content()[1].tolist() == [0, 1, 2]
    assert not queue.rows.requires_grad
    queue.push(torch.arange(3.0, 6)[:, None], torch.arange(3, 6))
    assert queue.content()[1].tolist() == [4, 5, 2, 3]
    queue.push(torch.arange(6.0, 16)[:, None], torch.arange(6, 16))
    assert sorted(queue.content()[1].tolist()) == [12, 13, 14, 15]
    assert queue.content()[0].flatten().tolist() == queue.content()[1].tolist()


def test_a_noisy_start_is_full_of_rows_that_match_nothing():
    queue = ContrastiveQueue(6, 2, noisy_start=True)
    rows, classes = queue.content()
    assert_close(rows.norm(dim=0), torch.ones(2))
    assert classes.tolist() == [NO_CLASS] * 6


def test_no_queue_and_a_negative_one():
    queue = ContrastiveQueue(0, 2)
    queue.push(torch.ones(3, 2), torch.arange(3))
    assert len(queue.content()[0]) == 0
    with pytest.raises(ValueError, match="0 or more rows"):
        ContrastiveQueue(-1, 2)
