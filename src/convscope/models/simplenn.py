"""What is the small network of the ECE 661 assignment?

Two unpadded convolutions, each followed by a max pool, and three linear
layers.  Batch normalisation, which the assignment adds later, goes between a
convolution and its activation.

    N  images      K  classes      S  pixels that pool2 leaves per side
"""

from torch import Tensor, nn

from .blocks import Parts, make_activation, make_conv, make_conv_dropout, make_dropout, make_norm
from .init import initialise

_PARTS = Parts(norm="none")


class SimpleNN(nn.Module):
    """See `simplenn`."""

    def __init__(self, classes: int, channels: int, size: int, parts: Parts) -> None:
        super().__init__()
        side = _side_left(size)
        # The biases stay under a norm too, where the shift makes them superfluous: the assignment's
        # network with norms has 82,078 parameters.
        self.conv1 = nn.Conv2d(channels, 8, 5)
        self.norm1 = make_norm(parts, 8)
        self.act1 = make_activation(parts)
        self.conv_drop1 = make_conv_dropout(parts)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = make_conv(parts, 8, 16, 3, biased=True)
        self.norm2 = make_norm(parts, 16)
        self.act2 = make_activation(parts)
        self.conv_drop2 = make_conv_dropout(parts)
        self.pool2 = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(16 * side * side, 120)
        self.act3 = make_activation(parts)
        self.drop1 = make_dropout(parts)
        self.fc2 = nn.Linear(120, 84)
        self.act4 = make_activation(parts)
        self.drop2 = make_dropout(parts)
        self.fc3 = nn.Linear(84, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        x = self.pool1(self.conv_drop1(self.act1(self.norm1(self.conv1(x)))))  # (N, 8, 14, 14) for 32x32
        x = self.pool2(self.conv_drop2(self.act2(self.norm2(self.conv2(x)))))  # (N, 16, S, S), S = 6
        x = self.drop1(self.act3(self.fc1(x.flatten(1))))
        x = self.drop2(self.act4(self.fc2(x)))
        logits: Tensor = self.fc3(x)
        return logits


def simplenn(*, classes: int, channels: int, size: int, parts: Parts = _PARTS) -> nn.Module:
    """Two convolutions and three linear layers: 82,030 parameters for 3x32x32 and ten classes.

    Args:
        classes: number of logits K.
        channels: of the images.
        size: height and width in pixels, at least 12.
        parts: no norm by default.  Dropout acts after the activations of fc1 and fc2, that is, on the
            inputs of fc2 and fc3; convolution dropout after those of conv1 and conv2, before the pools.

    Returns:
        A network (N, C, H, W) -> (N, K).

    Reference:
        Duke University, ECE 661 (2023), homework 2, table 1.
    """
    return initialise(SimpleNN(classes, channels, size, parts), parts.init)


def _side_left(size: int) -> int:
    """S; 1 for images that are too small, which `build` refuses with the layer."""
    pool1 = (size - 4) // 2
    return max(1, (pool1 - 2) // 2)
