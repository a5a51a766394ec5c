"""Zero is grey, and the largest weight of a filter is black or white."""

import numpy as np
from drawings import pictures

from convscope import plots
from convscope.diagnostics.filters import filters
from convscope.evaluate.subject import Subject


def test_filters_are_grey_at_zero_and_reach_black_or_white(subject: Subject) -> None:
    result = filters(subject=subject)
    shown = pictures(plots.draw("filters", result))
    assert len(shown) == 4
    for picture, weight in zip(shown, result.weights, strict=True):
        np.testing.assert_allclose(
            picture, 0.5 + weight.transpose(1, 2, 0) / (2 * np.abs(weight).max()), rtol=1e-6
        )
