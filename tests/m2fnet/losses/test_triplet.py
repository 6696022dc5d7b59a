import math

import pytest
import torch

from m2fnet.losses.triplet import TripletLoss, adaptive_margin, adaptive_margin_triplet, distances


def t(*values, grad=False):
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def test_the_margin_by_hand():
    # eq 11: 1 + 2 / e^(4 * 0.5) + 1 + 2 / e^(-4 * 1.25 + 4) = 2 + 2 e^-2 + 2 e
    torch.testing.assert_close(adaptive_margin(t(0.5), t(1.25)), t(2 + 2 * math.exp(-2) + 2 * math.exp(1)))
    assert 2 + 2 * math.exp(-2) + 2 * math.exp(1) == pytest.approx(7.707234, abs=1e-6)


@pytest.mark.parametrize("as_printed", [False, True])
def test_the_loss_by_hand(as_printed):
    # eq 10: 0.5 - (1.25 + 0.75) / 2 + 7.707234
    loss = adaptive_margin_triplet(t(0.5), t(1.25), t(0.75), as_printed=as_printed)
    assert loss.item() == pytest.approx(7.207234, abs=1e-6)


@pytest.mark.parametrize(("as_printed", "sign"), [(False, -1), (True, 1)])
def test_only_the_detached_margin_pushes_a_negative_at_distance_1_away(as_printed, sign):
    d_an = t(1.0, grad=True)
    adaptive_margin_triplet(t(0.8), d_an, t(1.0), as_printed=as_printed).sum().backward()
    assert d_an.grad.item() * sign > 0


@pytest.mark.parametrize(
    ("d_ap", "d_an", "gradient_ap", "gradient_an"),
    [
        (0.0, 0.0, -7.0, -0.5 + 8 * math.exp(-4)),
        (math.log(8) / 4, 1 - math.log(16) / 4, 0.0, 0.0),  # where the literal form is at rest
        (1.5, 1.5, 1 - 8 * math.exp(-6), -0.5 + 8 * math.exp(2)),
    ],
)
def test_gradients_of_the_literal_form(d_ap, d_an, gradient_ap, gradient_an):
    ap, an = t(d_ap, grad=True), t(d_an, grad=True)
    adaptive_margin_triplet(ap, an, t(1.0), as_printed=True).sum().backward()
    torch.testing.assert_close(torch.cat([ap.grad, an.grad]), t(gradient_ap, gradient_an))


def test_gradients_of_the_detached_form_are_those_of_the_distances_only():
    ap, an, pn = t(0.3, 1.2, grad=True), t(0.9, 0.2, grad=True), t(0.5, 1.0, grad=True)
    adaptive_margin_triplet(ap, an, pn).sum().backward()
    torch.testing.assert_close(torch.stack([ap.grad, an.grad, pn.grad]), t(1, -0.5, -0.5)[:, None].expand(3, 2))


def test_gradcheck_of_the_literal_form():
    generator = torch.Generator().manual_seed(0)
    sides = [(0.1 + 1.8 * torch.rand(6, generator=generator, dtype=torch.float64)).requires_grad_() for _ in range(3)]
    assert torch.autograd.gradcheck(lambda *d: adaptive_margin_triplet(*d, as_printed=True), sides)


def test_distances_are_those_on_the_sphere():
    z = t([3.0, 0.0], [0.0, 0.1], [-7.0, 0.0])
    expected = t([0.0, 2**0.5, 2.0], [2**0.5, 0.0, 2**0.5], [2.0, 2**0.5, 0.0])
    torch.testing.assert_close(distances(z), expected)


def test_gradcheck_of_distances_and_no_nan_between_equal_points():
    z = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    off = ~torch.eye(5, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda z: distances(z)[off], z)
    same = torch.ones(4, 3, requires_grad=True)
    loss, _ = TripletLoss("hard")(same, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert torch.isfinite(same.grad).all()


@pytest.mark.parametrize("mining", ["semi-hard", "hard", "random", "all"])
@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [0]])
def test_a_batch_without_a_triplet_has_no_loss_but_a_gradient(mining, labels):
    z = torch.randn(len(labels), 4, requires_grad=True)
    loss, found = TripletLoss(mining)(z, torch.tensor(labels))
    loss.backward()
    assert (loss.item(), found) == (0.0, 0)
    assert torch.equal(z.grad, torch.zeros_like(z))


def test_the_loss_is_the_mean_over_all_triplets_of_a_plain_loop():
    z = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = torch.tensor([0, 1, 0, 1, 2, 0, 2])
    unit = z / z.norm(dim=1, keepdim=True)
    d = (unit[:, None] - unit[None]).norm(dim=2)
    losses = [
        d[a, p] - (d[a, n] + d[p, n]) / 2 + 2 + 2 * math.exp(-4 * d[a, p]) + 2 * math.exp(4 * d[a, n] - 4)
        for a in range(7)
        for p in range(7)
        for n in range(7)
        if a != p and y[a] == y[p] and y[a] != y[n]
    ]
    loss, found = TripletLoss("all")(z, y)
    assert found == len(losses)
    torch.testing.assert_close(loss, torch.stack(losses).mean())


def nearest_neighbour_accuracy(*, as_printed, seed):
    """Of four classes of free points on a sphere that only the loss has moved."""
    torch.manual_seed(seed)
    z, y = torch.randn(48, 8, requires_grad=True), torch.arange(48) % 4
    loss, step = TripletLoss("semi-hard", as_printed=as_printed), torch.optim.SGD([z], lr=3.0)
    for _ in range(120):
        step.zero_grad()
        loss(z, y)[0].backward()
        step.step()
        z.data = torch.nn.functional.normalize(z.data)
    nearest = distances(z.detach()).fill_diagonal_(9).argmin(1)
    return (y[nearest] == y).float().mean().item()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_detached_form_separates_classes_and_the_literal_form_mixes_them(seed):
    assert nearest_neighbour_accuracy(as_printed=False, seed=seed) >= 0.95
    assert nearest_neighbour_accuracy(as_printed=True, seed=seed) < 0.3
