"""Norms and sparsity by hand, kurtosis against scipy."""

import numpy as np
import pytest
import torch
from scipy import stats
from small import drawn, linear, noise, subject_on
from torch import nn

from convscope.core.errors import ConfigError
from convscope.diagnostics.weights import Weights, weights


def looked(net: nn.Module, **options: float) -> Weights:
    return weights(subject=subject_on(net, noise(2)), **options)  # type: ignore[arg-type]


def test_norms_and_sparsity_by_hand() -> None:
    # |w| = 3, 4, 0, 0: L1 7, L2 5, root mean square 2.5; below 1.3 * 2.5 = 3.25 are three of four.
    net = nn.Sequential(linear([[3, -4], [0, 0]]), nn.BatchNorm1d(2), linear([[2, 0]]))
    found = looked(net, threshold=1.3)
    assert found.layers == ("0", "2")
    assert (found.sizes, found.l1, found.l2) == ((4, 2), (7, 2), (5, 2))
    assert found.mean == (-0.25, 1)
    assert found.zero == (0.5, 0.5)
    assert found.small == (0.75, 0.5)  # 2 is not below 1.3 * sqrt(2)
    assert (found.total, found.total_l1, found.total_zero) == (6, 9, 0.5)
    assert found.total_l2 == pytest.approx(29**0.5)
    assert found.total_small == pytest.approx(4 / 6)


def test_the_histogram_is_symmetric_and_holds_every_weight() -> None:
    found = looked(nn.Sequential(linear([[3, -4], [0, 0]])), bins=4)
    assert found.edges.tolist() == [[-4, -2, 0, 2, 4]]
    assert found.counts.tolist() == [[1, 0, 2, 1]]


def test_kurtosis_is_that_of_scipy() -> None:
    net = drawn(nn.Sequential(nn.Conv2d(2, 5, 3), nn.Flatten(), nn.Linear(20, 3)))
    with torch.no_grad():
        net[0].weight.pow_(3)
    found = looked(net)
    for module, value, spread in zip((net[0], net[2]), found.kurtosis, found.std, strict=True):
        flat = module.weight.detach().double().numpy().ravel()
        assert value == pytest.approx(stats.kurtosis(flat))
        assert spread == pytest.approx(flat.std())


def test_a_layer_of_zeros_has_no_kurtosis() -> None:
    found = looked(nn.Sequential(linear([[0, 0]])))
    assert np.isnan(found.kurtosis[0])
    assert (found.zero, found.small) == ((1,), (1,))


def test_what_the_sentence_says_and_what_a_normal_distribution_has() -> None:
    net = nn.Linear(300, 300, bias=False)
    drawn(net)
    found = looked(net, threshold=0.1)
    assert found.total_small == pytest.approx(2 * stats.norm.cdf(0.1) - 1, abs=0.005)
    assert found.sentence == (
        f"toy on toys: 90,000 weights in 1 layers, L1 norm {found.total_l1:.4g}, L2 norm {found.total_l2:.4g}; 0.0% are "
        f"zero and {found.total_small:.1%} below 0.1 of their layer's root mean square (a normal distribution has "
        f"8.0%); the most peaked layer is weight with an excess kurtosis of {found.kurtosis[0]:.2f}."
    )


def test_a_network_without_weights_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        looked(nn.BatchNorm2d(1))
    assert str(caught.value) == "BatchNorm2d has no convolution or linear layer with weights."
