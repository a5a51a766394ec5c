"""What are the VGG networks?

Stages of 3x3 convolutions that keep the map, each stage ended by a pool that
halves it; then linear layers.  Large images get the published head with its
4096 hidden units twice, small ones a smaller head.

    N  images      K  classes      C  channels      H, W  pixels
"""

from collections.abc import Sequence
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

STAGES = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""Convolutions in each of the five stages, by the number of layers: configurations A, B, D and E."""
CHANNELS = (64, 128, 256, 512, 512)
_HEAD_SIDE = 7
"""Pixels per side that reach the linear layers, by averaging where an image is not 224x224."""


@dataclass(frozen=True)
class Form(Width):
    """What the VGG networks let the user choose besides their parts."""

    kernel: Literal[3, 5, 11] = field(
        default=3,
        metadata={
            "text": "largest kernel: with 5 or 11, the 3x3 convolutions of a stage become fewer that see as much"
        },
    )


_PARTS = Parts(norm="none", dropout=0.5, init="kaiming")
_SMALL_PARTS = Parts(norm="none", init="kaiming")
_FORM = Form()


def _features(
    stages: Sequence[int], channels: int, parts: Parts, form: Form, *, biased: bool | None
) -> tuple[nn.Sequential, int]:
    """The convolutions, and the channels they end with.

    A norm counts in the numbers of the layers: torchvision has networks without it and networks with it.
    """
    if form.kernel not in (3, 5, 11):
        raise ConfigError(f"The kernel of a vgg must be 3, 5 or 11, not {form.kernel!r}.")
    layers, into = Numbered(), channels
    for stage, published in zip(stages, CHANNELS, strict=False):
        out = scaled(published, form.width)
        for kernel in _kernels(stage, form.kernel):
            layers.add(make_conv(parts, into, out, kernel, padding=kernel // 2, biased=biased))
            if parts.norm != "none":
                layers.add(make_norm(parts, out))
            layers.add(make_activation(parts))
            layers.beside("drop", make_conv_dropout(parts))
            into = out
        layers.add(nn.MaxPool2d(2))
    return layers.done(), into


def _kernels(convolutions: int, largest: int) -> list[int]:
    """The kernels of a stage: as many 3x3 as published, or fewer and larger ones that see as much (S3.38).

    k convolutions of 3x3 see 2k + 1 pixels per side: two of them see 5, five of them 11.  What is left of a
    stage gets a kernel of its own size, so with 11 three convolutions become one of 7x7.
    """
    replaced = (largest - 1) // 2
    whole, rest = divmod(convolutions, replaced)
    return [largest] * whole + [2 * rest + 1] * (rest > 0)


def _classifier(numbers: int, hidden: int, classes: int, parts: Parts) -> nn.Sequential:
    head = Numbered()
    head.add(nn.Linear(numbers, hidden), make_activation(parts), make_dropout(parts))
    head.add(nn.Linear(hidden, hidden), make_activation(parts), make_dropout(parts))
    head.add(nn.Linear(hidden, classes))
    return head.done()


class Vgg(nn.Module):
    """See `vgg16`."""

    def __init__(self, depth: int, classes: int, channels: int, parts: Parts, form: Form) -> None:
        super().__init__()
        # Biases stay under a norm, where its shift makes them superfluous: torchvision's networks have them.
        self.features, out = _features(STAGES[depth], channels, parts, form, biased=True)
        self.avgpool = nn.AdaptiveAvgPool2d(_HEAD_SIDE)
        self.classifier = _classifier(out * _HEAD_SIDE**2, scaled(4096, form.width), classes, parts)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        logits: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return logits


class SmallVgg(nn.Module):
    """See `vgg16_cifar` and `vgg13_cifar`."""

    def __init__(
        self, stages: Sequence[int], hidden: int, shape: tuple[int, int, int], parts: Parts, form: Form
    ) -> None:
        super().__init__()
        classes, channels, size = shape
        self.features, out = _features(stages, channels, parts, form, biased=None)
        side = max(1, size // 2 ** len(stages))
        self.classifier = _classifier(out * side**2, scaled(hidden, form.width), classes, parts)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits


def _published(depth: int, shape: tuple[int, int, int], parts: Parts, form: Form) -> nn.Module:
    classes, channels, _ = shape
    return initialise(Vgg(depth, classes, channels, parts, form), parts.init)


def vgg11(*, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Form = _FORM) -> nn.Module:
    """VGG with 11 layers, configuration A: 132,863,336 parameters for 3x224x224 and 1000 classes.

    Arguments as for `vgg16`.

    Reference:
        Simonyan, Zisserman (2015), Very Deep Convolutional Networks, table 1, A.
    """
    return _published(11, (classes, channels, size), parts, form)


def vgg13(*, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Form = _FORM) -> nn.Module:
    """VGG with 13 layers, configuration B: 133,047,848 parameters for 3x224x224 and 1000 classes.

    Arguments as for `vgg16`.

    Reference:
        Simonyan, Zisserman (2015), Very Deep Convolutional Networks, table 1, B.
    """
    return _published(13, (classes, channels, size), parts, form)


def vgg16(*, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Form = _FORM) -> nn.Module:
    """VGG with 16 layers, configuration D: 138,357,544 parameters for 3x224x224 and 1000 classes.

    Args:
        classes: number of logits K.
        channels: of the images.
        size: height and width in pixels.
        parts: no norm by default, dropout 0.5 on the inputs of the last two linear layers.  With a norm the
            network is torchvision's with batch norm, biases of the convolutions included.  Convolution dropout
            acts after each activation.
        form: width, and larger kernels instead of stacked ones.

    Returns:
        A network (N, C, H, W) -> (N, K), with torchvision's names of weights.

    Raises:
        ConfigError: a kernel that is not 3, 5 or 11.

    Reference:
        Simonyan, Zisserman (2015), Very Deep Convolutional Networks for Large-Scale Image Recognition, table 1.
        https://arxiv.org/abs/1409.1556
        Differs: where images are not 224x224, averages bring the map to 7x7, as in torchvision.  Weights start
        as in He et al. (2015), where the paper began the deeper networks with a trained one of 11 layers
        (S3.38).  As torch draws them, VGG-A without a norm has learned nothing after 15 steps of Adam that take
        it to a loss of 0.01 otherwise.
    """
    return _published(16, (classes, channels, size), parts, form)


def vgg19(*, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Form = _FORM) -> nn.Module:
    """VGG with 19 layers, configuration E: 143,667,240 parameters for 3x224x224 and 1000 classes.

    Of these 20,024,384 belong to convolutions (S3.36).  Arguments as for `vgg16`.

    Reference:
        Simonyan, Zisserman (2015), Very Deep Convolutional Networks, table 1, E.
    """
    return _published(19, (classes, channels, size), parts, form)


def _small(
    stages: Sequence[int], hidden: int, shape: tuple[int, int, int], parts: Parts, form: Form
) -> nn.Module:
    return initialise(SmallVgg(stages, hidden, shape, parts, form), parts.init)


def vgg11_cifar(
    *, classes: int, channels: int, size: int, parts: Parts = _SMALL_PARTS, form: Form = _FORM
) -> nn.Module:
    """VGG-A with a small head: 9,750,922 parameters for 3x32x32 and ten classes.

    Arguments as for `vgg16_cifar`.

    Reference:
        S2.25; Simonyan, Zisserman (2015), table 1, A; Santurkar, Tsipras, Ilyas, Madry (2018), How Does Batch
        Normalization Help Optimization?, which compares it with and without batch norm.
    """
    return _small(STAGES[11], 512, (classes, channels, size), parts, form)


def vgg13_cifar(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Form = _FORM
) -> nn.Module:
    """The lecture's VGG of 13 layers: 32,850,250 parameters for 3x32x32 and ten classes.

    Ten convolutions in four stages, and the published head: 2048 numbers reach 4096 hidden units, twice.
    Arguments as for `vgg16_cifar`; dropout 0.5 by default.

    Reference:
        S3.37, X3.3: the lecture's, after Simonyan, Zisserman (2015).
    """
    return _small((2, 2, 3, 3), 4096, (classes, channels, size), parts, form)


def vgg16_cifar(
    *, classes: int, channels: int, size: int, parts: Parts = _SMALL_PARTS, form: Form = _FORM
) -> nn.Module:
    """VGG-16 with a small head: 15,245,130 parameters for 3x32x32 and ten classes.

    Args:
        classes: number of logits K.
        channels: of the images.
        size: height and width in pixels; the head has an input for each channel of each pixel that is left.
        parts: no norm and no dropout by default; dropout acts on the inputs of the last two linear layers.  With
            a norm, convolutions have no bias.
        form: width, and larger kernels instead of stacked ones.

    Returns:
        A network (N, C, H, W) -> (N, K).

    Raises:
        ConfigError: a kernel that is not 3, 5 or 11.

    Reference:
        Simonyan, Zisserman (2015), table 1, D, with two hidden layers of 512 units instead of 4096.
    """
    return _small(STAGES[16], 512, (classes, channels, size), parts, form)
