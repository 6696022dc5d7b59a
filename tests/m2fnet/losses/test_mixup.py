"""Mixup: the distribution of its draws, the mixture at its ends, and its gradient."""

import pytest
import torch

from m2fnet.losses.mixup import draw_mixture, mixed


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_shares_have_the_mean_and_the_variance_of_the_beta_distribution(alpha):
    torch.manual_seed(0)
    shares = torch.tensor([draw_mixture(1, alpha)[0] for _ in range(4000)])
    assert 0 <= shares.min() < shares.max() <= 1
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(shares.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_every_row_is_the_partner_of_one_and_all_partners_are_drawn():
    torch.manual_seed(0)
    drawn = [draw_mixture(3, 0.2)[1] for _ in range(200)]
    assert all(sorted(partners.tolist()) == [0, 1, 2] for partners in drawn)
    assert len({tuple(partners.tolist()) for partners in drawn}) == 6


def test_a_seed_decides():
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        share, partners = draw_mixture(20, 0.4)
        draws.append((share, partners.tolist()))
    assert draws[0] == draws[1]
    assert draws[0][0] != draws[2][0]
    assert draws[0][1] != draws[2][1]


def test_the_ends_are_exact_and_the_middle_is_the_mean():
    rows, partners = torch.randn(5, 3), torch.tensor([1, 2, 3, 4, 0])
    assert torch.equal(mixed(rows, 1.0, partners), rows)
    assert torch.equal(mixed(rows, 0.0, partners), rows[partners])
    torch.testing.assert_close(mixed(rows, 0.5, partners), (rows + rows[partners]) / 2)


def test_both_parts_have_a_gradient():
    rows = torch.randn(4, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: mixed(x, 0.3, torch.tensor([1, 0, 3, 2])), rows)
    (gradient,) = torch.autograd.grad(mixed(rows, 0.3, torch.tensor([1, 0, 3, 2]))[0].sum(), rows)
    torch.testing.assert_close(gradient[:, 0], torch.tensor([0.3, 0.7, 0.0, 0.0], dtype=torch.double))
