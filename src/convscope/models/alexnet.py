"""What is AlexNet, for large images and for small ones?

Five or six convolutions, three or two pools whose windows overlap, and three
linear layers, which hold most of the weights.  On ImageNet the first kernel is
11x11 with stride 4 and the first pool follows at once; on CIFAR-10 the first
kernels are small and nearly keep the map.

    N  images      K  classes      C  channels      H, W  pixels
"""

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from convscope.core.errors import ConfigError

from .blocks import (
    Numbered,
    Parts,
    Width,
    make_activation,
    make_conv,
    make_conv_dropout,
    make_dropout,
    make_norm,
    scaled,
)
from .init import initialise
from .response import ResponseNorm

_HEAD_SIDE = 6
"""Pixels per side that reach the linear layers, by averaging where an image is not 224x224."""
_HIDDEN = 4096


@dataclass(frozen=True)
class Form(Width):
    """What `alexnet` lets the user choose besides its parts."""

    towers: Literal[1, 2] = field(
        default=1,
        metadata={
            "text": "1: torchvision's; 2: as published, in two groups, with local response normalisation"
        },
    )


_PARTS = Parts(norm="none", dropout=0.5, init="kaiming")
_FORM = Form()
_WIDTH = Width()


class AlexNet(nn.Module):
    """See `alexnet`."""

    def __init__(self, classes: int, channels: int, parts: Parts, form: Form) -> None:
        super().__init__()
        if form.towers not in (1, 2):
            raise ConfigError(f"The towers of alexnet must be 1 or 2, not {form.towers!r}.")
        published = (96, 256, 384, 384, 256) if form.towers == 2 else (64, 192, 384, 256, 256)
        w1, w2, w3, w4, w5 = (scaled(each, form.width, form.towers) for each in published)
        towers, two = form.towers, form.towers == 2
        layers = Numbered()
        _layer(layers, parts, channels, w1, 11, stride=4, padding=2, responding=two)
        layers.add(nn.MaxPool2d(3, 2))
        _layer(layers, parts, w1, w2, 5, padding=2, groups=towers, responding=two)
        layers.add(nn.MaxPool2d(3, 2))
        _layer(layers, parts, w2, w3, 3, padding=1)
        _layer(layers, parts, w3, w4, 3, padding=1, groups=towers)
        _layer(layers, parts, w4, w5, 3, padding=1, groups=towers)
        layers.add(nn.MaxPool2d(3, 2))
        self.features = layers.done()
        self.avgpool = nn.AdaptiveAvgPool2d(_HEAD_SIDE)
        self.classifier = _classifier(w5 * _HEAD_SIDE**2, classes, parts, form.width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        logits: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return logits


class SmallAlexNet(nn.Module):
    """See `alexnet_cifar`."""

    def __init__(self, classes: int, channels: int, size: int, parts: Parts, width: float) -> None:
        super().__init__()
        w1, w3, w4 = (scaled(each, width) for each in (96, 256, 384))
        layers = Numbered()
        _layer(layers, parts, channels, w1, 4)
        _layer(layers, parts, w1, w1, 3)
        _layer(layers, parts, w1, w3, 5, padding=2)
        layers.add(nn.MaxPool2d(3, 2))
        _layer(layers, parts, w3, w4, 3, padding=1)
        _layer(layers, parts, w4, w4, 3, padding=1)
        _layer(layers, parts, w4, w3, 3, padding=1)
        layers.add(nn.MaxPool2d(3, 2))
        self.features = layers.done()
        # The first two kernels take 3 and 2 pixels away, and a pool leaves (side - 1) // 2: 27, 13, 6 for 32.
        side = max(1, ((size - 6) // 2 - 1) // 2)
        self.classifier = _classifier(w3 * side**2, classes, parts, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits


def _layer(
    layers: Numbered,
    parts: Parts,
    into: int,
    out: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    responding: bool = False,
) -> None:
    """A convolution, its norm where one is wanted, its activation, response normalisation if `responding`."""
    layers.add(make_conv(parts, into, out, kernel, stride=stride, padding=padding, groups=groups))
    layers.beside("norm", make_norm(parts, out))
    layers.add(make_activation(parts))
    if responding:
        layers.beside("response", ResponseNorm())
    layers.beside("drop", make_conv_dropout(parts))


def _classifier(numbers: int, classes: int, parts: Parts, width: float) -> nn.Sequential:
    hidden = scaled(_HIDDEN, width)
    head = Numbered()
    head.add(make_dropout(parts), nn.Linear(numbers, hidden), make_activation(parts))
    head.add(make_dropout(parts), nn.Linear(hidden, hidden), make_activation(parts))
    head.add(nn.Linear(hidden, classes))
    return head.done()


def alexnet(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Form = _FORM
) -> nn.Module:
    """AlexNet: 61,100,840 parameters for 3x224x224 and 1000 classes; in two towers 60,965,224.

    One tower is torchvision's network, with its names of weights; of its parameters 2,469,696 belong to
    convolutions.  The two towers of the paper, which lay on two devices, are grouped convolutions: a group
    never sees the other's maps, but layer three sees both.

    Args:
        classes: number of logits K.
        channels: of the images.
        size: height and width in pixels.
        parts: no norm by default, dropout 0.5 on the inputs of the first two linear layers.  With a norm,
            convolutions have no bias.  Convolution dropout acts after each activation.
        form: width, and one tower or two.

    Returns:
        A network (N, C, H, W) -> (N, K).

    Raises:
        ConfigError: a number of towers that is neither 1 nor 2.

    Reference:
        S3.32, S3.34; Krizhevsky, Sutskever, Hinton (2012), ImageNet Classification with Deep Convolutional
        Neural Networks, section 3.
        Krizhevsky (2014), One Weird Trick for Parallelizing Convolutional Neural Networks (one tower).
        https://arxiv.org/abs/1404.5997
        Differs: where images are not 224x224, averages bring the map to 6x6, as in torchvision.  With two
        towers the response normalisation looks across the border between them.  Weights start
        as in He et al. (2015), not with a deviation of 0.01.
    """
    return initialise(AlexNet(classes, channels, parts, form), parts.init)


def alexnet_cifar(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Width = _WIDTH
) -> nn.Module:
    """AlexNet for CIFAR-10: 58,375,114 parameters for 3x32x32 and ten classes.

    Six convolutions (3,800,000 parameters), the first two without padding, and the published head: 9,216
    numbers reach 4096 hidden units, twice.  One tower, no response normalisation.

    Args:
        classes: number of logits K.
        channels: of the images.
        size: height and width in pixels.  The head sees every pixel that is left: 6x6 of 32x32, but 14x14 of
            64x64, which makes it five times as large.
        parts: as for `alexnet`.
        form: width.

    Returns:
        A network (N, C, H, W) -> (N, K).

    Reference:
        S3.33, X3.2: the lecture's, after Krizhevsky, Sutskever, Hinton (2012).
    """
    return initialise(SmallAlexNet(classes, channels, size, parts, form.width), parts.init)
