"""Projections on principal components: what they span, and that neither batch nor processor shows in them."""

import pytest
import torch

from extractors.layers.pca import Projection


def one_strong_direction(count, width=576):
    """Features that share one strong cause, like the colours of evenly grey pictures, and hardly differ otherwise."""
    generator = torch.Generator().manual_seed(0)
    cause = torch.rand(count, 1, generator=generator)
    return cause + 1e-3 * torch.randn(count, width, generator=generator)


@pytest.mark.parametrize("rows", [1, 2, 7, 24])
def test_a_weak_component_does_not_depend_on_the_rows_projected_together(rows):
    features = one_strong_direction(24)
    projection = Projection(4)
    projection.fit(features)
    found = torch.cat([projection(some) for some in features.split(rows)])
    assert found.dtype == torch.float32
    exact = torch.from_numpy(in_double_precision(projection, features))
    torch.testing.assert_close(found.double(), exact, atol=1e-6, rtol=1e-6)


def in_double_precision(projection, features):
    """The same by NumPy."""
    mean, deviation = (
        part.double().numpy() for part in (projection.standardise.mean, projection.standardise.deviation)
    )
    projected = (features.double().numpy() - mean) / deviation @ projection.components.double().numpy()
    return (projected - projection.scaler.mean.double().numpy()) / projection.scaler.deviation.double().numpy()


def test_components_are_orthonormal_and_ordered_by_variance():
    projection = Projection(4, "none")
    features = one_strong_direction(24)
    projection.fit(features)
    torch.testing.assert_close(projection.components.T @ projection.components, torch.eye(4), atol=1e-5, rtol=0)
    variance = projection(features).var(0)
    assert (variance.diff() <= 0).all()
    assert projection.width == 4


def test_fewer_samples_than_components_make_a_smaller_projection():
    projection = Projection(10)
    projection.fit(one_strong_direction(3))
    assert projection.width == 3


def test_a_width_below_one_is_refused():
    with pytest.raises(ValueError, match="width of at least 1, but got 0"):
        Projection(0)
