"""Networks and images small enough to work out on paper."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from convscope.core.streams import Streams
from convscope.data import Data, ImageSet, Normaliser
from convscope.data.images import Sealed
from convscope.evaluate.subject import Moment, Subject, subject_of

CLASSES = ("ape", "bee", "cow")


def subject_on(
    model: nn.Module,
    pixels: Tensor | Sequence[object],
    labels: Sequence[int] | None = None,
    *,
    classes: tuple[str, ...] = CLASSES,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    moment: Moment | None = None,
    seed: int = 0,
) -> Subject:
    """A subject whose network sees the pixel values themselves, 0 to 255, unless mean and std say otherwise."""
    stored = torch.as_tensor(np.asarray(pixels), dtype=torch.uint8)
    count, channels = stored.shape[:2]
    known = torch.tensor(labels if labels is not None else [i % len(classes) for i in range(count)])
    images = ImageSet(stored, torch.arange(count), known, classes)
    normalise = Normaliser(mean or (0.0,) * channels, std or (1 / 255,) * channels)
    data = Data("toys", classes, images, images, Sealed(0, lambda: images), normalise.mean, normalise.std, "")
    return subject_of(model, data, normalise, "toy on toys", streams=Streams(seed), moment=moment)


def noise(count: int, channels: int = 1, size: int = 6, seed: int = 0) -> Tensor:
    """Images of random pixels, uint8, (count, channels, size, size)."""
    drawn = np.random.default_rng(seed).integers(0, 256, (count, channels, size, size), dtype=np.uint8)
    return torch.from_numpy(drawn)


def conv1x1(*weights: float) -> nn.Conv2d:
    """One input channel times each of these numbers."""
    made = nn.Conv2d(1, len(weights), 1, bias=False)
    with torch.no_grad():
        made.weight.copy_(torch.tensor(weights).view(-1, 1, 1, 1))
    return made


def linear(rows: Sequence[Sequence[float]]) -> nn.Linear:
    """A linear layer without a bias: one row per output."""
    weight = torch.tensor(rows, dtype=torch.float32)
    made = nn.Linear(weight.shape[1], len(weight), bias=False)
    with torch.no_grad():
        made.weight.copy_(weight)
    return made


def drawn(model: nn.Module, seed: int = 0, scale: float = 1.0) -> nn.Module:
    """The network with all parameters drawn from a normal distribution, divided by the root of the fan in."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for p in model.parameters():
            fan = p[0].numel() if p.dim() > 1 else 1
            p.copy_(torch.from_numpy(scale * rng.standard_normal(tuple(p.shape)) / fan**0.5))
    return model


class Residual(nn.Module):
    """Batch norms, ReLUs, a shortcut, a pool: in place or not; the same numbers either way."""

    def __init__(self, *, in_place: bool, channels: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1, self.act1 = nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(in_place)
        self.conv2, self.bn2, self.act2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(in_place)
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(4, 3)
        self.in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(x))
        if self.in_place:
            out += x
        else:
            out = out + x
        logits: Tensor = self.fc(self.pool(self.act2(out)).flatten(1))
        return logits
