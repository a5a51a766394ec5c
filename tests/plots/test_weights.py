"""Histograms and norms by layer, alone or beside another network's."""

import numpy as np
import pytest
from drawings import heights
from small import Residual, conv1x1, drawn, linear, noise, subject_on
from torch import nn

from convscope import plots
from convscope.core.errors import ConfigError
from convscope.diagnostics.weights import weights
from convscope.evaluate.subject import Subject
from convscope.plots.weights import side_by_side


def test_a_histogram_per_layer_and_both_norms(subject: Subject) -> None:
    result = weights(subject=subject, bins=5)
    figure = plots.draw("weights", result)
    values = figure.axes[1].patches[0].get_data().values  # type: ignore[attr-defined]
    np.testing.assert_allclose(values, result.counts[1] / result.sizes[1])
    assert figure.axes[1].get_title().startswith("conv2\nL1 ")
    assert heights(figure.axes[3]) == pytest.approx(result.l1)
    assert heights(figure.axes[4]) == pytest.approx(result.l2)


def test_layers_of_two_networks_share_their_range(subject: Subject) -> None:
    wide = weights(subject=subject)
    narrow = weights(
        subject=subject_on(drawn(Residual(in_place=True, channels=3), scale=0.1), noise(4, channels=3))
    )
    figure = side_by_side([narrow, wide], ["L1 penalty", "L2 penalty"])
    assert len(figure.axes) == 2 * len(wide.layers)
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim() == (-wide.edges[0, -1], wide.edges[0, -1])
    assert figure.axes[1].get_title().startswith("L2 penalty\nconv1")
    with pytest.raises(ConfigError) as unnamed:
        side_by_side([narrow, wide], ["L1"])
    assert str(unnamed.value) == "Every result needs a name: 2 results, 1 names."
    other = weights(
        subject=subject_on(nn.Sequential(conv1x1(1.0), nn.Flatten(), linear([[1] * 36] * 3)), noise(4))
    )
    with pytest.raises(ConfigError) as different:
        side_by_side([wide, other], ["a", "b"])
    assert str(different.value) == ("toy on toys has other layers than toy on toys: they cannot be compared.")
