import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight

from m2fnet.losses.class_weights import class_weights, weighted_cross_entropy

CLASSES = ("neutral", "joy", "fear")
LABELS = ["neutral"] * 12 + [None] * 3 + ["fear"] + ["joy"] * 3


def test_by_hand():
    roots = torch.tensor([12.0, 3.0, 1.0]) ** -0.5
    mean = (12 * roots[0] + 3 * roots[1] + roots[2]) / 16
    torch.testing.assert_close(class_weights(LABELS, CLASSES, 0.5), roots / mean)


def test_power_0_weighs_all_alike_and_power_1_is_the_balance_of_scikit_learn():
    labels = [label for label in LABELS if label]
    balanced = compute_class_weight("balanced", classes=np.array(CLASSES), y=labels)
    assert class_weights(LABELS, CLASSES, 0.0).tolist() == [1, 1, 1]
    torch.testing.assert_close(class_weights(LABELS, CLASSES, 1.0), torch.tensor(balanced).float())


@pytest.mark.parametrize("power", [0.0, 0.3, 1.0])
def test_over_the_training_utterances_the_mean_weight_is_1(power):
    weights = class_weights(LABELS, CLASSES, power)
    assert (weights * torch.tensor([12, 3, 1])).sum().item() == pytest.approx(16)


def test_a_class_that_never_occurs_has_a_finite_weight():
    weights = class_weights(["neutral", "neutral"], CLASSES, 1.0)
    assert weights.isfinite().all()
    assert weights[0] == 1


def test_each_utterance_counts_by_the_weight_of_its_class_and_the_ignored_do_not():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, generator=generator, dtype=torch.float64).requires_grad_()
    labels, weights = torch.tensor([0, 2, -100, 0]), torch.tensor([0.5, 1.0, 4.0])
    each = F.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(
        weighted_cross_entropy(logits, labels, weights), 0.5 * each[0] + 4 * each[1] + 0.5 * each[3]
    )
    torch.testing.assert_close(weighted_cross_entropy(logits, labels, None), each.sum())
    assert torch.autograd.gradcheck(lambda x: weighted_cross_entropy(x, labels, weights), logits)


def test_a_batch_of_one_class_keeps_its_weight():
    logits, labels, weights = torch.zeros(2, 3), torch.tensor([2, 2]), torch.tensor([0.5, 1.0, 4.0])
    assert weighted_cross_entropy(logits, labels, weights).item() == pytest.approx(
        4 * weighted_cross_entropy(logits, labels, None).item()
    )


def test_smoothing_spreads_a_share_of_the_target_over_all_classes():
    logits, labels = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 2, -100, 0])
    shares = logits.log_softmax(-1)[[0, 1, 3]]
    plain, even = -shares[[0, 1, 2], [0, 2, 0]].sum(), -shares.mean(-1).sum()
    smooth = weighted_cross_entropy(logits, labels, None, smoothing=0.3)
    torch.testing.assert_close(smooth, 0.7 * plain + 0.3 * even)
