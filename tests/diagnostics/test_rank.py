"""Ranks of matrices whose singular values are known."""

import numpy as np
import pytest
from small import linear, noise, subject_on
from torch import nn

from convscope.core.errors import ConfigError
from convscope.diagnostics.rank import effective_rank, rank, stable_rank


def test_ranks_by_hand() -> None:
    assert effective_rank(np.ones(5)) == pytest.approx(5)
    assert stable_rank(np.ones(5)) == 5
    assert effective_rank(np.array([2.0, 0, 0])) == 1
    # Shares 3/4 and 1/4: exp(-(0.75 ln 0.75 + 0.25 ln 0.25)) = 4 / 3^0.75.
    assert effective_rank(np.array([3.0, 1])) == pytest.approx(4 / 3**0.75)
    assert stable_rank(np.array([3.0, 1])) == pytest.approx(10 / 9)
    assert np.isnan([effective_rank(np.zeros(2)), stable_rank(np.zeros(2))]).all()


def test_weights_and_centred_features() -> None:
    # The features are 10 + (2, 0), 10 - (2, 0), 10 + (0, 1), 10 - (0, 1): singular values sqrt 8 and sqrt 2.
    pixels = [[[[12, 10]]], [[[8, 10]]], [[[10, 11]]], [[[10, 9]]]]
    net = nn.Sequential(nn.Flatten(), linear([[3, 0], [0, 1], [0, 0]]))
    found = rank(subject=subject_on(net, pixels))
    assert (found.layers, found.full) == (("1",), (2,))
    assert found.effective == pytest.approx((4 / 3**0.75,))
    assert found.stable == pytest.approx((10 / 9,))
    np.testing.assert_allclose(found.feature_values, [8**0.5, 2**0.5])
    assert found.feature_stable == pytest.approx(10 / 8)
    assert found.feature_effective == pytest.approx(3 / 2 ** (2 / 3))  # shares 2/3 and 1/3
    assert (found.feature_full, found.feature_layer) == (2, "1")
    assert found.used == pytest.approx(2 / 3**0.75)
    assert found.sentence == (
        "toy on toys: the effective rank of a weight matrix is 88% of what it could be (mean of 1); of the 2 possible "
        "directions of the features before 1, 1.9 are used (stable rank 1.2; 4 images of val)."
    )


def test_a_convolution_is_a_matrix_with_a_row_per_output() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 2, bias=False), nn.Flatten(), linear([[1] * 100] * 3))
    nn.init.orthogonal_(net[0].weight)  # type: ignore[arg-type]
    found = rank(subject=subject_on(net, noise(5)))
    assert (found.full, found.layers) == ((4, 3), ("0", "2"))
    assert found.effective == pytest.approx((4, 1))


def test_a_network_without_weights_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        rank(subject=subject_on(nn.BatchNorm2d(1), noise(5)))
    assert str(caught.value) == "BatchNorm2d has no convolution or linear layer whose input could be taken."
