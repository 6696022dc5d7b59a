"""Losses of ratings against independent formulas."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from m2fnet.losses.ratings import concordance, rating_loss

DRAW = torch.Generator().manual_seed(0)
FOUND, TRUE = torch.randn(2, 5, 3, generator=DRAW, dtype=torch.float64).unbind(0)


@pytest.mark.parametrize("shape", [(5, 3), (1, 5, 3), (5, 1, 3)])
def test_mse_is_the_mean_over_what_is_known_summed_over_the_scales(shape):
    true = TRUE.clone()
    true[1, 0] = true[2:4, 2] = math.nan
    expected = sum(np.nanmean((FOUND[:, r].numpy() - true[:, r].numpy()) ** 2) for r in range(3))
    assert rating_loss(FOUND.view(shape), true.view(shape)).item() == pytest.approx(expected)


def test_ccc_is_that_of_the_covariance_matrix():
    x, y = FOUND[:, 0].numpy(), TRUE[:, 0].numpy()
    table = np.cov(x, y, bias=True)
    expected = 2 * table[0, 1] / (table[0, 0] + table[1, 1] + (x.mean() - y.mean()) ** 2)
    assert concordance(FOUND[:, 0], TRUE[:, 0]).item() == pytest.approx(expected)
    three = sum(1 - concordance(a, b) for a, b in zip(FOUND.T, TRUE.T, strict=True))
    assert_close(rating_loss(FOUND, TRUE, "ccc"), three)


@pytest.mark.parametrize("kind", ["mse", "ccc"])
def test_gradients_are_exact_and_unknown_targets_have_none(kind):
    true = TRUE.clone()
    true[0] = math.nan
    found = FOUND.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: rating_loss(z, true, kind), found)
    rating_loss(found, true, kind).backward()
    assert not found.grad[0].any()
    assert found.grad[1:].any()


@pytest.mark.parametrize("kind", ["mse", "ccc"])
def test_nothing_known_costs_nothing_and_constants_are_finite(kind):
    found = torch.ones(3, 1, requires_grad=True)
    assert rating_loss(found, torch.full((3, 1), math.nan), kind) == 0
    rating_loss(found, torch.ones(3, 1), kind).backward()
    assert found.grad.isfinite().all()


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"one shape, got \(2, 1\) and \(2,\)"):
        rating_loss(torch.zeros(2, 1), torch.zeros(2))
