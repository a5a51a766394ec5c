"""What is SqueezeNet?

Convolutions of 1x1 squeeze the channels before those of 3x3 see them, and the
map is made small late, so maps stay large for long (S1.9).

    N  images      K  classes      C  channels      H, W  pixels
"""

import torch
from torch import Tensor, nn

from .blocks import (
    GlobalAvgPool2d,
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

_PARTS = Parts(norm="none", dropout=0.5, init="kaiming:fan=in")
_WIDTH = Width()

_FIRES = (
    *((16, 64), (16, 64), None),
    *((32, 128), (32, 128), None),
    *((48, 192), (48, 192), (64, 256), (64, 256)),
)
"""Channels that squeeze, and of each of the two convolutions that expand; None is a pool."""


class Fire(nn.Module):
    """A 1x1 convolution that squeezes, then a 1x1 and a 3x3 convolution side by side."""

    def __init__(self, into: int, squeezed: int, expanded: int, parts: Parts) -> None:
        super().__init__()
        self.squeeze = make_conv(parts, into, squeezed, 1)
        self.squeeze_norm = make_norm(parts, squeezed)
        self.squeeze_activation = make_activation(parts)
        self.expand1x1 = make_conv(parts, squeezed, expanded, 1)
        self.expand1x1_norm = make_norm(parts, expanded)
        self.expand1x1_activation = make_activation(parts)
        self.expand3x3 = make_conv(parts, squeezed, expanded, 3, padding=1)
        self.expand3x3_norm = make_norm(parts, expanded)
        self.expand3x3_activation = make_activation(parts)
        self.drop = make_conv_dropout(parts)

    def forward(self, x: Tensor) -> Tensor:
        """(N, into, H, W) -> (N, 2 expanded, H, W)."""
        x = self.squeeze_activation(self.squeeze_norm(self.squeeze(x)))
        # One activation for both would do, but then each convolution gets a slice as its gradient and copies it.
        one = self.expand1x1_activation(self.expand1x1_norm(self.expand1x1(x)))
        three = self.expand3x3_activation(self.expand3x3_norm(self.expand3x3(x)))
        out: Tensor = self.drop(torch.cat([one, three], 1))
        return out


class SqueezeNet(nn.Module):
    """See `squeezenet`."""

    def __init__(self, classes: int, channels: int, parts: Parts, width: float) -> None:
        super().__init__()
        into = scaled(64, width)
        layers = Numbered()
        layers.add(make_conv(parts, channels, into, 3, stride=2))
        layers.beside("norm", make_norm(parts, into))
        layers.add(make_activation(parts))
        layers.beside("drop", make_conv_dropout(parts))
        layers.add(nn.MaxPool2d(3, 2, ceil_mode=True))
        for fire in _FIRES:
            if fire is None:
                layers.add(nn.MaxPool2d(3, 2, ceil_mode=True))
            else:
                squeezed, expanded = (scaled(each, width) for each in fire)
                layers.add(Fire(into, squeezed, expanded, parts))
                into = 2 * expanded
        self.features = layers.done()
        head = Numbered()
        head.add(make_dropout(parts), nn.Conv2d(into, classes, 1), make_activation(parts))
        head.add(GlobalAvgPool2d())
        self.classifier = head.done()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        logits: Tensor = self.classifier(self.features(x)).flatten(1)
        return logits


def squeezenet(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Width = _WIDTH
) -> nn.Module:
    """SqueezeNet 1.1: 1,235,496 parameters for 3x224x224 and 1000 classes.

    Args:
        classes: number of logits K.
        channels: of the images.
        size: height and width in pixels.
        parts: no norm by default; dropout 0.5 on the input of the last convolution.  Convolution dropout
            acts on what the first convolution and each fire module put out.
        form: width.

    Returns:
        A network (N, C, H, W) -> (N, K), with torchvision's names of weights.  The activation follows the
        last convolution too, so with ReLU no logit is negative, as published.

    Reference:
        S1.9; Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer (2016), SqueezeNet: AlexNet-Level Accuracy with
        50x Fewer Parameters and <0.5MB Model Size.  https://arxiv.org/abs/1602.07360
        Differs: version 1.1 is the authors' own later one, with 2.4 times fewer multiply-adds than the
        paper's.
    """
    return initialise(SqueezeNet(classes, channels, parts, form.width), parts.init)
