"""Turn, length and input by layer."""

import numpy as np
import pytest
from drawings import heights, ticks

from convscope import plots
from convscope.diagnostics.shift import covariate_shift
from convscope.evaluate.subject import Subject


def test_shift_by_layer(subject: Subject) -> None:
    result = covariate_shift(subject=subject)
    cosine, relative, moved = plots.draw("covariate-shift", result).axes
    assert ticks(cosine) == ["conv2", "fc"]
    assert heights(cosine) == pytest.approx(result.cosine)
    assert heights(relative) == pytest.approx(np.divide(result.difference, result.gradient).tolist())
    assert heights(moved) == pytest.approx(result.mean_shift)
