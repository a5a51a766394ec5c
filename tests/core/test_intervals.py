"""Intervals by hand, against scipy, and by what they promise: coverage."""

import math
import random

import numpy as np
import pytest
from scipy import stats

from convscope.core.intervals import student, wilson


def test_wilson_by_hand() -> None:
    """9 of 10 at z = 1.959964: centre (0.9 + z^2/20) / (1 + z^2/10), Wilson's own formula."""
    low, high = wilson(9, 10)
    assert low == pytest.approx(0.59585, abs=5e-6)
    assert high == pytest.approx(0.98212, abs=5e-6)


@pytest.mark.parametrize("confidence", [0.68, 0.95, 0.99])
@pytest.mark.parametrize(("right", "count"), [(0, 1), (1, 1), (0, 20), (7, 20), (350, 359), (9_187, 10_000)])
def test_wilson_is_scipys(right: int, count: int, confidence: float) -> None:
    known = stats.binomtest(right, count).proportion_ci(confidence, method="wilson")
    assert wilson(right, count, confidence) == pytest.approx((known.low, known.high), abs=1e-12)


def test_wilson_stays_inside_and_holds_the_share() -> None:
    for count in (1, 2, 5, 100):
        for right in range(count + 1):
            low, high = wilson(right, count)
            assert 0 <= low <= right / count <= high <= 1


def test_wilson_covers() -> None:
    """Exactly, by summing the binomial distribution: at least 93 % at every p from 5 % on, for n = 50."""
    for p in np.linspace(0.05, 0.95, 19):
        inside = [right for right in range(51) if wilson(right, 50)[0] <= p <= wilson(right, 50)[1]]
        assert 0.92 < stats.binom.pmf(inside, 50, p).sum() < 0.98


def test_student_by_hand() -> None:
    """1, 2, 3: mean 2, deviation 1, t(0.975, 2) = 4.302653; reach 4.302653 / sqrt(3)."""
    low, high = student([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)), abs=1e-6)


@pytest.mark.parametrize("count", [2, 3, 9, 50])
def test_student_is_scipys(count: int) -> None:
    dice = random.Random(count)
    values = [dice.gauss(0.9, 0.01) for _ in range(count)]
    known = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert student(values, 0.9) == pytest.approx((known.low, known.high), rel=1e-12)


def test_equal_values_leave_no_doubt() -> None:
    assert student([0.5, 0.5, 0.5]) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda: wilson(3, 2), "3 successes in 2 trials cannot be"),
        (lambda: wilson(-1, 2), "-1 successes in 2 trials cannot be"),
        (lambda: wilson(0, 0), "0 successes in 0 trials cannot be"),
        (lambda: student([1.0]), "an interval of a mean needs at least 2 values, got 1"),
    ],
)
def test_what_cannot_be_is_refused(act: object, sentence: str) -> None:
    with pytest.raises(ValueError) as error:
        act()  # type: ignore[operator]
    assert str(error.value) == sentence
