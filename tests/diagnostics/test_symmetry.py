"""Bowker's statistic by hand, and the drawn p against the exact binomial test."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from convscope.diagnostics.symmetry import bowker, p_drawn, reverse_correlation


def test_bowker_by_hand() -> None:
    # (3 - 1)^2 / 4 + (2 - 4)^2 / 6 on two pairs; without images 0 and 2 are no pair. P(chi2_2 > x) = exp(-x / 2).
    statistic, df, p = bowker(np.array([[5, 3, 0], [1, 4, 2], [0, 4, 6]]))
    assert statistic == pytest.approx(1 + 2 / 3)
    assert df == 2
    assert p == pytest.approx(math.exp(-statistic / 2))


def test_drawn_p_is_the_exact_one_for_two_classes() -> None:
    for here, back in ((9, 2), (5, 5), (1, 0)):
        counts = np.array([[3, here], [back, 3]])
        exact = binomtest(here, here + back).pvalue
        assert p_drawn(counts, np.random.default_rng(1)) == pytest.approx(
            exact, abs=4 * math.sqrt(0.25 / 2000)
        )


def test_reverse_correlation() -> None:
    symmetric = np.array([[0, 3, 1], [3, 0, 7], [1, 7, 0]])
    assert reverse_correlation(symmetric) == pytest.approx(1)
    assert reverse_correlation(np.array([[0, 5, 0], [0, 0, 5], [5, 0, 0]])) == pytest.approx(-1)
    assert math.isnan(reverse_correlation(np.array([[0, 5], [1, 0]])))
    assert math.isnan(reverse_correlation(np.diag([2, 2, 2])))
