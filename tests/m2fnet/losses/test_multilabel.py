import pytest
import torch
from torch.nn import functional as F

from m2fnet.losses.multilabel import binary_cross_entropy, positive_weights

TARGETS = torch.tensor([[1, 0, 1], [-100, -100, -100], [0, 0, 0], [0, 1, 1]])


@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 3.0, 0.5])])
def test_it_is_torchs_over_the_labelled_rows(weight):
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    rows = [0, 2, 3]
    expected = F.binary_cross_entropy_with_logits(
        logits[rows], TARGETS[rows].double(), pos_weight=None if weight is None else weight.double()
    )
    torch.testing.assert_close(binary_cross_entropy(logits, TARGETS, weight) / 3, expected)
    assert torch.autograd.gradcheck(lambda z: binary_cross_entropy(z, TARGETS, weight), logits)


def test_unlabelled_rows_have_no_gradient_and_no_loss():
    logits = torch.randn(4, 3, requires_grad=True)
    binary_cross_entropy(logits, TARGETS).backward()
    assert logits.grad[1].tolist() == [0, 0, 0]
    assert (logits.grad[[0, 2, 3]] != 0).all()
    assert binary_cross_entropy(logits[1:2], TARGETS[1:2]) == 0


def test_other_shapes_are_refused():
    with pytest.raises(
        ValueError, match=r"Expected logits and targets of one shape \(N, C\), but got \(4, 3\) and \(4,\)"
    ):
        binary_cross_entropy(torch.zeros(4, 3), torch.zeros(4))


def test_weights_of_having_a_label():
    targets = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]])
    assert positive_weights(targets, 0.0).tolist() == [1, 1, 1]
    assert positive_weights(targets, 1.0).tolist() == [3, 0.25, 4]
    torch.testing.assert_close(positive_weights(targets, 0.5), positive_weights(targets, 1.0).sqrt())


def test_smoothing_moves_targets_towards_one_half():
    logits = torch.randn(4, 3, dtype=torch.float64)
    rows = [0, 2, 3]
    expected = F.binary_cross_entropy_with_logits(logits[rows], 0.8 * TARGETS[rows].double() + 0.1)
    torch.testing.assert_close(binary_cross_entropy(logits, TARGETS, smoothing=0.2) / 3, expected)
