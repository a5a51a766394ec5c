"""Variances by depth; zeros and dead units of the rectifying layers."""

import numpy as np
import pytest
from drawings import heights, ticks

from convscope import plots
from convscope.diagnostics.activations import activations
from convscope.evaluate.subject import Subject


def test_variances_by_depth_and_dead_units(subject: Subject) -> None:
    result = activations(subject=subject)
    figure = plots.draw("activations", result)
    forward, backward, zeros, dead = figure.axes
    heavy = [i for i, on in enumerate(result.weighted) if on]
    assert ticks(forward) == ["conv1", "conv2", "fc"]
    np.testing.assert_allclose(forward.lines[0].get_ydata(), [result.variance[i] for i in heavy])
    np.testing.assert_allclose(backward.lines[0].get_ydata(), [result.gradient_variance[i] for i in heavy])
    assert ticks(zeros) == ticks(dead) == ["act1", "act2"]
    on = [i for i, rectifies in enumerate(result.rectifying) if rectifies]
    assert heights(zeros) == pytest.approx([result.zeros[i] for i in on])
    assert heights(dead) == pytest.approx([result.silent[i] / result.units[i] for i in on])
