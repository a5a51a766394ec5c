"""What is Network in Network?

Three blocks of one wide convolution and two of 1x1, which are the same small
network at every place of the map (S3.40-41); no linear layer: the last block
has a map per class, and its mean is the logit.

    N  images      K  classes      C  channels      H, W  pixels
"""

from dataclasses import replace

from torch import Tensor, nn

from .blocks import (
    GlobalAvgPool2d,
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

_PARTS = Parts(norm="none", dropout=0.5, init="kaiming")
_WIDTH = Width()


class Layer(nn.Module):
    """A convolution that keeps the map, its norm, its activation."""

    def __init__(self, into: int, out: int, kernel: int, parts: Parts) -> None:
        super().__init__()
        self.conv = make_conv(parts, into, out, kernel, padding=kernel // 2)
        self.norm = make_norm(parts, out)
        self.act = make_activation(parts)
        self.drop = make_conv_dropout(parts)

    def forward(self, x: Tensor) -> Tensor:
        """(N, into, H, W) -> (N, out, H, W)."""
        out: Tensor = self.drop(self.act(self.norm(self.conv(x))))
        return out


class Nin(nn.Module):
    """See `nin`."""

    def __init__(self, classes: int, channels: int, parts: Parts, width: float) -> None:
        super().__init__()
        a, b, c, d = (scaled(each, width) for each in (192, 160, 96, 192))
        self.block1 = nn.Sequential(
            Layer(channels, a, 5, parts), Layer(a, b, 1, parts), Layer(b, c, 1, parts)
        )
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.drop1 = make_dropout(parts)
        self.block2 = nn.Sequential(Layer(c, d, 5, parts), Layer(d, d, 1, parts), Layer(d, d, 1, parts))
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.drop2 = make_dropout(parts)
        # A norm over the maps of the classes would take from each logit how often its class is meant.
        bare = replace(parts, norm="none", conv_dropout=0.0)
        self.block3 = nn.Sequential(Layer(d, d, 3, parts), Layer(d, d, 1, parts), Layer(d, classes, 1, bare))
        self.average = GlobalAvgPool2d()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        x = self.drop1(self.pool1(self.block1(x)))  # (N, 96, 16, 16) for 32x32: 15.5, rounded up
        x = self.drop2(self.pool2(self.block2(x)))  # (N, 192, 8, 8)
        logits: Tensor = self.average(self.block3(x)).flatten(1)
        return logits


def nin(*, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Width = _WIDTH) -> nn.Module:
    """Network in Network: 966,986 parameters for 3x32x32 and ten classes, all of them in convolutions.

    Args:
        classes: number of logits K.
        channels: of the images.
        size: height and width in pixels.
        parts: no norm by default; dropout 0.5 after each of the two pools.  Convolution dropout acts after
            each activation.  Neither a norm nor dropout touches the maps of the classes.
        form: width.

    Returns:
        A network (N, C, H, W) -> (N, K).  The activation follows the last layer too, so with ReLU no logit
        is negative, as in the authors' configuration.

    Reference:
        S3.39, X3.4: the lecture's for CIFAR-10, after Lin, Chen, Yan (2014), Network in Network.
        https://arxiv.org/abs/1312.4400
        Differs: its second pool takes the largest value, where the authors' takes the mean; weights start as
        in He et al. (2015), not with a deviation of 0.05.
    """
    return initialise(Nin(classes, channels, parts, form.width), parts.init)
