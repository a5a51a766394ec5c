"""A line is the formula, and its spread that of the ends."""

import math

import pytest
from noise import linear, quadratic, subject_with

from convscope.core.streams import Streams
from convscope.diagnostics.landscape_line import landscape_line
from convscope.diagnostics.surface import filter_normalised


def test_lines_of_a_linear_model_and_their_spread() -> None:
    subject = subject_with(linear())
    found = landscape_line(subject=subject, images=0, size=3, repeats=2, loss="mse")
    weight = dict(subject.model.named_parameters())["1.weight"].detach()
    for line in (0, 1):
        way = filter_normalised(subject.model, Streams(3).generator("inspect", line))["1.weight"]
        expected = [quadratic(subject, weight + x * way)[0] for x in (-1, 0, 1)]
        assert found.loss[line].tolist() == pytest.approx(expected, rel=1e-5)
    ends = [(line[0] + line[2]) / 2 for line in found.loss]
    assert found.border_loss == pytest.approx((ends[0] + ends[1]) / 2)
    assert found.border_spread == pytest.approx(abs(ends[0] - ends[1]) / math.sqrt(2))
