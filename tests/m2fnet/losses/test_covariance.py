import pytest
import torch

from m2fnet.losses.covariance import covariance_penalty


def test_by_hand():
    z = torch.tensor([[1.0, 2.0], [-1.0, -2.0]], dtype=torch.float64)  # covariance (1 * 2 + 1 * 2) / 1 = 4
    assert covariance_penalty(z).item() == pytest.approx((16 + 16) / 2)
    assert covariance_penalty(z, as_printed=True).item() == pytest.approx((4 + 4) / 2)  # eq 13
    assert covariance_penalty(z * torch.tensor([1, -1]), as_printed=True).item() == pytest.approx(-4)


@pytest.mark.parametrize(("n", "d"), [(2, 2), (8, 3), (5, 16)])
def test_covariance_matches_an_independent_formula(n, d):
    z = torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    off = ~torch.eye(d, dtype=torch.bool)
    torch.testing.assert_close(covariance_penalty(z), torch.cov(z.T)[off].square().sum() / d)
    torch.testing.assert_close(covariance_penalty(z, as_printed=True), torch.cov(z.T)[off].sum() / d)
    assert torch.autograd.gradcheck(covariance_penalty, z)
    assert torch.autograd.gradcheck(lambda z: covariance_penalty(z, as_printed=True), z)


def test_only_the_square_is_never_negative():
    z = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    opposed = torch.stack([z[:, 0], -z[:, 0]], 1)
    assert covariance_penalty(opposed) > 0 > covariance_penalty(opposed, as_printed=True)


def test_independent_dimensions_cost_nothing():
    z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert covariance_penalty(z + 7).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("shape", [(1, 3), (0, 3), (4,), (2, 3, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"covariance needs z of shape \(N >= 2, D\)"):
        covariance_penalty(torch.zeros(shape))
