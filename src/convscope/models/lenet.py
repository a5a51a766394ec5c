"""What is LeNet-5, as it is built today and as it was published?

Layers carry the paper's names: C convolution, S subsampling, F full
connection.  C5 is a convolution over the whole of S4's maps, hence a linear
layer.  Images smaller than 32x32 are padded with zeros on all sides: MNIST's
28x28 by 2, which is the paper's 32x32.

    N  images      K  classes      S  side of the maps after S4, 5 for 32x32
"""

from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.core.errors import ConfigError
from convscope.core.streams import Streams

from .blocks import Parts, make_activation, make_conv, make_conv_dropout, make_dropout, make_norm
from .init import initialise

_PARTS = Parts(activation="auto", norm="none")

# Table I of the paper: which maps of S2 feed each of the 16 maps of C3.
CONNECTIONS: Final = (
    # every three that are neighbours, going round
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    # every four that are neighbours
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    # some fours with a gap
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    # all
    (0, 1, 2, 3, 4, 5),
)


class LeNet5(nn.Module):
    """The modern form; see `lenet5`."""

    def __init__(self, classes: int, channels: int, size: int, parts: Parts) -> None:
        super().__init__()
        padding, side = _padding(size), _side_left(size)
        self.c1 = make_conv(parts, channels, 6, 5, padding=padding)
        self.norm1 = make_norm(parts, 6)
        self.act1 = make_activation(parts)
        self.conv_drop1 = make_conv_dropout(parts)
        self.s2 = nn.MaxPool2d(2)
        self.c3 = make_conv(parts, 6, 16, 5)
        self.norm3 = make_norm(parts, 16)
        self.act3 = make_activation(parts)
        self.conv_drop3 = make_conv_dropout(parts)
        self.s4 = nn.MaxPool2d(2)
        self.c5 = nn.Linear(16 * side * side, 120)
        self.act5 = make_activation(parts)
        self.drop5 = make_dropout(parts)
        self.f6 = nn.Linear(120, 84)
        self.act6 = make_activation(parts)
        self.drop6 = make_dropout(parts)
        self.output = nn.Linear(84, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        x = self.s2(self.conv_drop1(self.act1(self.norm1(self.c1(x)))))  # (N, 6, 14, 14) for 32x32
        x = self.s4(self.conv_drop3(self.act3(self.norm3(self.c3(x)))))  # (N, 16, S, S)
        x = self.drop5(self.act5(self.c5(x.flatten(1))))
        x = self.drop6(self.act6(self.f6(x)))
        logits: Tensor = self.output(x)
        return logits


class OriginalLeNet5(nn.Module):
    """The form of 1998; see `lenet5`."""

    def __init__(self, classes: int, channels: int, size: int, parts: Parts) -> None:
        super().__init__()
        padding, side = _padding(size), _side_left(size)
        self.c1 = nn.Conv2d(channels, 6, 5, padding=padding)
        self.act1 = make_activation(parts, own="scaled-tanh")
        self.conv_drop1 = make_conv_dropout(parts)
        self.s2 = Subsampling(6)
        self.act2 = make_activation(parts, own="scaled-tanh")
        self.c3 = PartialConv2d(CONNECTIONS, 5)
        self.act3 = make_activation(parts, own="scaled-tanh")
        self.conv_drop3 = make_conv_dropout(parts)
        self.s4 = Subsampling(16)
        self.act4 = make_activation(parts, own="scaled-tanh")
        self.c5 = nn.Linear(16 * side * side, 120)
        self.act5 = make_activation(parts, own="scaled-tanh")
        self.drop5 = make_dropout(parts)
        self.f6 = nn.Linear(120, 84)
        self.act6 = make_activation(parts, own="scaled-tanh")
        self.drop6 = make_dropout(parts)
        self.output = RadialBasis(84, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K), none above zero."""
        x = self.act2(self.s2(self.conv_drop1(self.act1(self.c1(x)))))
        x = self.act4(self.s4(self.conv_drop3(self.act3(self.c3(x)))))
        x = self.drop5(self.act5(self.c5(x.flatten(1))))
        x = self.drop6(self.act6(self.f6(x)))
        logits: Tensor = self.output(x)
        return logits


class Subsampling(nn.Module):
    """The mean of each 2x2 window, times a coefficient, plus a bias; one of each per map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H // 2, W // 2)."""
        return F.avg_pool2d(x, 2) * self.weight[:, None, None] + self.bias[:, None, None]


class PartialConv2d(nn.Module):
    """A convolution in which each output map sees only some input maps.

    Only the kernels that exist are parameters: one row of `weight` per connection, in the order of the
    table, output map by output map.
    """

    source: Tensor
    target: Tensor

    def __init__(self, connections: tuple[tuple[int, ...], ...], kernel: int) -> None:
        super().__init__()
        pairs = [(to, source) for to, sources in enumerate(connections) for source in sources]
        self.maps = (len(connections), 1 + max(source for _, source in pairs))
        self.register_buffer("target", torch.tensor([to for to, _ in pairs]), persistent=False)
        self.register_buffer("source", torch.tensor([source for _, source in pairs]), persistent=False)
        self.weight = nn.Parameter(torch.empty(len(pairs), kernel, kernel))
        self.bias = nn.Parameter(torch.empty(len(connections)))
        with torch.no_grad():
            # As torch starts a full convolution: uniform, bound 1/sqrt(n_in), each map with its own n_in.
            n_in, _ = self.fans()
            self.weight.uniform_(-1, 1).div_(n_in.sqrt())
            per_map = torch.bincount(self.target) * kernel * kernel
            self.bias.uniform_(-1, 1).div_(per_map.sqrt())

    def fans(self) -> tuple[Tensor, Tensor]:
        """(n_in, n_out) of each kernel, shape (connections, 1, 1)."""
        area = self.weight[0].numel()
        n_in = torch.bincount(self.target)[self.target] * area
        n_out = torch.bincount(self.source)[self.source] * area
        return n_in[:, None, None], n_out[:, None, None]

    def macs(self, output: torch.Size) -> int:
        """Multiply-accumulates for one output (C, H, W)."""
        return self.weight.numel() * output[-2] * output[-1]

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H - kernel + 1, W - kernel + 1)."""
        full = self.weight.new_zeros(*self.maps, *self.weight.shape[1:])
        # Absent connections are kernels of zeros: 40 of 96 products are wasted, but one dense convolution
        # is faster than sixteen small ones.
        full = full.index_put((self.target, self.source), self.weight)
        return F.conv2d(x, full, self.bias)


class RadialBasis(nn.Module):
    """Minus the squared distance to each class's code, a fixed vector of +1 and -1."""

    codes: Tensor

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        # The same codes in every network, whatever its seed; row k does not depend on the number of classes.
        drawn = Streams(1998).generator("init").integers(2, size=(classes, features))
        self.register_buffer("codes", torch.from_numpy(drawn).to(torch.float32) * 2 - 1)

    def macs(self, output: torch.Size) -> int:
        """Multiply-accumulates for one image: one square per class and feature."""
        return self.codes.numel()

    def forward(self, x: Tensor) -> Tensor:
        """(N, features) -> (N, K)."""
        return -(x[:, None, :] - self.codes).square().sum(2)


def lenet5(
    *,
    classes: int,
    channels: int,
    size: int,
    parts: Parts = _PARTS,
    version: Literal["modern", "original"] = "modern",
) -> nn.Module:
    """LeNet-5: two convolutions and three linear layers that read handwritten digits.

    modern: ReLU, max pooling, every map of S2 feeds every map of C3, linear output; 61,706 parameters
    for ten classes of 1x32x32 (or 1x28x28), 62,006 for 3x32x32.  original: scaled tanh after every layer
    up to F6, trainable subsampling, the paper's connection table, and an output that measures the
    distance to a fixed code per class; exactly the paper's 60,000 parameters for 1x32x32.

    Args:
        classes: number of logits K.
        channels: of the images.
        size: height and width in pixels; below 32 the images are padded to 32.
        parts: no norm by default, and the activation of the version.  Dropout acts after the activations
            of C5 and F6, that is, on the inputs of F6 and of the output; convolution dropout after those of
            C1 and C3, before the subsampling.
        version: which of the two.

    Returns:
        A network (N, C, H, W) -> (N, K).

    Raises:
        ConfigError: batch normalisation in the original.

    Reference:
        LeCun, Bottou, Bengio, Haffner (1998), Gradient-Based Learning Applied to Document Recognition,
        section II.B.
        Differs: the original's codes are drawn at random with equal chance from a fixed seed, which the
        paper allows (section II.B.4), instead of being drawn as 7x12 bitmaps; its logits are minus the
        distances, for any loss; subsampling takes the mean where the paper takes the sum, which only
        rescales the coefficient; weights start as `init` says, not uniform within 2.4/n_in.
    """
    match version:
        case "modern":
            return initialise(LeNet5(classes, channels, size, parts), parts.init)
        case "original":
            if parts.norm != "none":
                raise ConfigError(
                    f"lenet5 as published in 1998 has no normalisation, so norm cannot be {parts.norm!r}. "
                    "Leave norm out, or choose version 'modern'."
                )
            return initialise(OriginalLeNet5(classes, channels, size, parts), parts.init)
    raise ConfigError(f"The version of lenet5 must be 'modern' or 'original', not {version!r}.")


def _padding(size: int) -> int:
    """Zeros on each side that bring a small image to 32, an odd one to 33, which pools to the same maps."""
    return max(0, (33 - size) // 2)


def _side_left(size: int) -> int:
    s2 = (size + 2 * _padding(size) - 4) // 2
    return (s2 - 4) // 2
