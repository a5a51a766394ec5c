"""Turns of curves drawn by hand, and slopes of scipy."""

import math

import numpy as np
import pytest
from scipy.stats import linregress, t

from convscope.diagnostics.descents import descent_marks, running_median, slope, turns

VAL = [1.0, 0.5, 0.6, 0.8, 0.7, 0.4, 0.42]
TRAIN = [1.2, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]


def test_turns_of_a_curve_by_hand() -> None:
    assert turns(np.array(VAL), 0.1) == [("low", 1), ("peak", 3)]
    assert turns(np.array(VAL), 0.04) == [("low", 1), ("peak", 3), ("low", 5)]
    assert turns(np.array(VAL), 0.7) == []
    assert turns(np.array([3.0, 2, 1, 1, 1]), 0.05) == []
    assert turns(np.array([1.0, 2, 4]), 0.05) == [("low", 0)]


def test_marks_say_where_validation_rises_while_training_falls() -> None:
    epochs = np.arange(1.0, 8)
    marks, stretches = descent_marks(epochs, np.array(VAL), np.array(TRAIN), 0.04)
    assert [(mark.kind, mark.epoch, mark.loss, mark.train_loss) for mark in marks] == [
        ("low", 2, 0.5, 0.6), ("peak", 4, 0.8, 0.4), ("low", 6, 0.4, 0.2),
    ]  # fmt: skip
    assert [(one.start, one.end) for one in stretches] == [(2, 4), (6, 7)]
    assert [one.rise for one in stretches] == pytest.approx([0.3, 0.02])
    assert [one.train_change for one in stretches] == pytest.approx([-0.2, -0.1])


def test_a_single_bad_validation_is_no_turn() -> None:
    values = np.array([5.0, 4, 3, 9, 2, 1, 0.9, 0.8])
    assert turns(values, 0.05) != []
    assert turns(running_median(values, 5), 0.05) == []
    assert running_median(values, 3).tolist() == pytest.approx([4, 4, 4, 3, 2, 1, 0.9, 0.9])
    assert (
        np.isnan(running_median(np.array([1.0, math.nan, 1, 1, 1]), 3)).tolist() == [True] * 3 + [False] * 2
    )


def test_slope_is_that_of_scipy() -> None:
    x, y = np.array([1.0, 2, 4, 5, 7]), np.array([0.9, 0.7, 0.8, 0.5, 0.45])
    theirs = linregress(x, y)
    reach = t.ppf(0.975, 3) * theirs.stderr
    assert slope(x, y) == pytest.approx((theirs.slope, theirs.slope - reach, theirs.slope + reach))
    assert slope(x[:2], y[:2]) == pytest.approx((-0.2, math.nan, math.nan), nan_ok=True)
    assert slope(x[:1], y[:1]) == pytest.approx((math.nan, math.nan, math.nan), nan_ok=True)
