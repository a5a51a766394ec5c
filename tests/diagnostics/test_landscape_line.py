"""A line is the formula, and its spread that of the ends."""

import math
from typing import Any

import numpy as np
import pytest
from noise import linear, subject_with
from torch import Tensor

from convscope.core.streams import Streams
from convscope.diagnostics.landscape_line import landscape_line
from convscope.diagnostics.surface import filter_normalised
from convscope.evaluate.subject import Subject


def quadratic(subject: Subject, weight: Tensor) -> tuple[float, float]:
    """Loss and accuracy of the linear model with squared error, without any of the code under test."""
    images = subject.data.train
    inputs = (images.pixels.numpy() / 255.0 - 0.5) / 0.25
    outputs = inputs.reshape(len(images), -1) @ weight.double().numpy().T
    model: Any = subject.model
    outputs = outputs + model[1].bias.detach().double().numpy()
    labels = images.labels.numpy()
    return float(np.mean((outputs - np.eye(3)[labels]) ** 2)), float(np.mean(outputs.argmax(1) == labels))


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
