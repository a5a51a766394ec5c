"""A net on noise: small subjects for whatever moves weights."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.core.streams import Streams
from convscope.data import Data, ImageSet, Normaliser
from convscope.data.images import Sealed
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


def normed() -> Any:
    return drawn(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3),
            nn.BatchNorm2d(4, eps=1e-12),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(16, 3),
        )
    )


def quadratic(subject: Subject, weight: Tensor) -> tuple[float, float]:
    """Loss and accuracy of the linear model with squared error, without any of the code under test."""
    images = subject.data.train
    inputs = (images.pixels.numpy() / 255.0 - 0.5) / 0.25
    outputs = inputs.reshape(len(images), -1) @ weight.double().numpy().T
    model: Any = subject.model
    outputs = outputs + model[1].bias.detach().double().numpy()
    labels = images.labels.numpy()
    return float(np.mean((outputs - np.eye(3)[labels]) ** 2)), float(np.mean(outputs.argmax(1) == labels))
