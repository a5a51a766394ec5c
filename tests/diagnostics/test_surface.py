"""Directions are as long as the filters, and second differences say where a grid curves downwards."""

import math

import numpy as np
import pytest
import torch
from noise import normed

from convscope.diagnostics.surface import filter_normalised, non_convex


def test_every_filter_moves_as_far_as_it_is_long_and_vectors_not_at_all() -> None:
    model = normed()
    found = filter_normalised(model, np.random.default_rng(0))
    assert list(found) == ["0.weight", "4.weight"]
    for name, direction in found.items():
        own = dict(model.named_parameters())[name].detach()
        np.testing.assert_allclose(direction.flatten(1).norm(dim=1), own.flatten(1).norm(dim=1), rtol=1e-5)
    # And the directions within a filter are those drawn.
    raw = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 2, 3, 3), np.float32)).flatten(1)
    np.testing.assert_allclose(
        torch.cosine_similarity(found["0.weight"].flatten(1), raw), np.ones(4), rtol=1e-5
    )
    moved = filter_normalised(model, np.random.default_rng(0), biases=True)
    assert list(moved) == [name for name, _ in model.named_parameters()]
    assert float(moved["4.bias"].norm()) == pytest.approx(float(model[4].bias.detach().norm()))


def test_share_of_points_that_curve_downwards() -> None:
    x, y = np.meshgrid(np.linspace(-1, 1, 7), np.linspace(-1, 1, 7))
    assert non_convex((x**2 + y**2)[None]) == 0.0
    assert non_convex((x**2 - y**2)[None]) == 1.0
    # x y has the eigenvalues +1 and -1, though both second differences along the axes vanish.
    assert non_convex((x * y)[None]) == 1.0
    assert non_convex((x**2 + y**2 + 1.9 * x * y)[None]) == 0.0
    # x^3 curves downwards left of the middle: 3 of 7 points, 2 of 5 inner ones.
    assert non_convex((np.linspace(-1, 1, 7) ** 3)[None, None]) == pytest.approx(2 / 5)
    assert non_convex(np.array([[[1.0, math.inf, 1.0, 0.0, 1.0]]])) == 0.0
