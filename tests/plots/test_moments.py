"""Moments by depth, and over training."""

import numpy as np
import pytest
from drawings import ticks
from small import Residual, drawn, linear, noise, subject_on
from torch import nn

from convscope import plots
from convscope.core.errors import ConfigError
from convscope.diagnostics.moments import moments
from convscope.plots.moments import over_training


def test_moments_of_norms_and_of_networks_without() -> None:
    net = drawn(Residual(in_place=True))
    result = moments(subject=subject_on(net, noise(9), std=(0.3,)))
    mean, variance = plots.draw("moments", result).axes
    assert ticks(mean) == ["bn1", "bn2"]
    norms = [i for i, norm in enumerate(result.batch_norm) if norm]
    np.testing.assert_allclose(variance.lines[0].get_ydata(), [result.input_variance[i] for i in norms])
    np.testing.assert_allclose(variance.lines[1].get_ydata(), [result.output_variance[i] for i in norms])
    plain = moments(subject=subject_on(nn.Sequential(nn.Flatten(), linear([[1] * 36] * 3)), noise(9)))
    assert len(plots.draw("moments", plain).axes[1].lines) == 1


def test_moments_over_training() -> None:
    records = [
        {"diagnostic": "moments", "step": 0, "bn.input_mean": 1.0, "bn.input_variance": 2.0, "bn.output_mean": 0.0,
         "bn.output_variance": 1.0, "fc.input_mean": 3.0, "fc.input_variance": 4.0},
        {"diagnostic": "rank", "step": 0},
        {"diagnostic": "moments", "step": 50, "bn.input_mean": 5.0, "bn.input_variance": 6.0, "bn.output_mean": 0.5,
         "bn.output_variance": 1.5, "fc.input_mean": 7.0, "fc.input_variance": 8.0},
    ]  # fmt: skip
    mean, variance = over_training(records).axes
    assert [line.get_label() for line in mean.lines] == ["bn, input", "bn, output", "fc, input"]
    assert mean.lines[0].get_xdata().tolist() == [0, 50]
    assert [line.get_ydata().tolist() for line in variance.lines] == [[2, 6], [1, 1.5], [4, 8]]
    assert [line.get_label() for line in over_training(records, ["fc"]).axes[0].lines] == ["fc, input"]
    with pytest.raises(ConfigError) as caught:
        over_training(records, ["bn2"])
    assert str(caught.value) == "No moments of a layer 'bn2' were recorded. Recorded: bn, fc."
    with pytest.raises(ConfigError) as nothing:
        over_training(records[1:2])
    assert str(nothing.value) == (
        "No moments were recorded over training: attach them with --inspect moments."
    )
