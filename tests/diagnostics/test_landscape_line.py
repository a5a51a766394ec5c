"""A line is the formula, and its spread that of the ends."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope.core.streams import Streams
from convscope.data import Data, ImageSet, Normaliser
from convscope.data.images import Sealed
from convscope.diagnostics.landscape_line import landscape_line
from convscope.diagnostics.surface import filter_normalised
from convscope.evaluate.subject import Subject, subject_of

CLASSES = ("a", "b", "c")


def some_data(count: int = 24, channels: int = 2) -> Data:
    draw = np.random.default_rng(5)
    pixels = torch.from_numpy(draw.integers(0, 256, (count, channels, 4, 4), dtype=np.uint8))
    labels = torch.from_numpy(draw.integers(0, 3, count))
    train = ImageSet(pixels, torch.arange(count), labels, CLASSES)
    sealed = Sealed(0, lambda: train)
    return Data(
        "noise",
        CLASSES,
        train,
        train.subset(torch.arange(6)),
        sealed,
        (0.5,) * channels,
        (0.25,) * channels,
        "",
    )


def subject_with(model: nn.Module, count: int = 24, **more: Any) -> Subject:
    data = some_data(count)
    return subject_of(
        model, data, Normaliser(data.mean, data.std), "a net on noise", streams=Streams(3), **more
    )


def drawn(make: Callable[[], nn.Module], seed: int = 1) -> nn.Module:
    """With weights from a generator of its own."""
    model, draw = make(), np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.from_numpy(draw.standard_normal(tuple(parameter.shape))))
    return model


def linear() -> Any:
    return drawn(lambda: nn.Sequential(nn.Flatten(), nn.Linear(32, 3)))


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
