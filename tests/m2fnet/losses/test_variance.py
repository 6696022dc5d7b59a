import pytest
import torch
import torch.nn.functional as F

from m2fnet.losses.variance import variance_penalty


def embeddings(n, d, scale=1.0, seed=0):
    return scale * torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_by_hand():
    z = torch.tensor([[0.0, 0.0], [3.0, 0.2]], dtype=torch.float64)  # deviations 3 / sqrt 2 and 0.2 / sqrt 2
    first, second = 1 - (4.5 + 1e-4) ** 0.5, 1 - (0.02 + 1e-4) ** 0.5
    assert variance_penalty(z).item() == pytest.approx((0 + second) / 2)
    assert variance_penalty(z, as_printed=True).item() == pytest.approx((first + second) / 2)  # eq 12


@pytest.mark.parametrize(("n", "d"), [(2, 2), (8, 3), (5, 16)])
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_variance_matches_the_formula_of_vicreg(n, d, scale):
    z = embeddings(n, d, scale).requires_grad_()
    std = torch.stack([torch.var(column, correction=1) + 0.0001 for column in z.T]).sqrt()
    torch.testing.assert_close(variance_penalty(z), torch.mean(F.relu(1 - std)))
    assert torch.autograd.gradcheck(variance_penalty, z)
    assert torch.autograd.gradcheck(lambda z: variance_penalty(z, as_printed=True), z)


def test_the_hinge_rests_where_the_printed_form_goes_on_growing():
    z = embeddings(50, 4, 10.0).requires_grad_()
    variance_penalty(z).backward()
    assert torch.equal(z.grad, torch.zeros_like(z))
    assert variance_penalty(z, as_printed=True) < -5
    assert variance_penalty(10 * z, as_printed=True) < -50


def test_a_collapsed_batch_costs_almost_1_and_has_a_finite_gradient():
    z = torch.ones(4, 3, requires_grad=True)
    penalty = variance_penalty(z)
    penalty.backward()
    assert penalty.item() == pytest.approx(0.99)
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("shape", [(1, 3), (0, 3), (4,), (2, 3, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"variance needs z of shape \(N >= 2, D\)"):
        variance_penalty(torch.zeros(shape))
