"""What are the residual networks for small images?

The family of He et al., section 4.2: a 3x3 convolution, three stages of n
blocks of two 3x3 convolutions, a global average, one linear layer; depth
6n + 2.  Stages two and three halve the map and double the channels.

Everything stays channels-last in both directions, without a hidden copy, and
the sum of block and shortcut is written over the block's own result.

    N  images      K  classes      C  channels      H, W  pixels      n  blocks per stage
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field as Bounds
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.core import spelling
from convscope.core.errors import ConfigError

from .blocks import Parts, make_activation, make_conv, make_conv_dropout, make_dropout, make_norm
from .init import initialise

Shortcut = Literal["A", "B", "none"]


@dataclass(frozen=True)
class Form:
    """What the members of the family let the user choose besides their parts."""

    width: Annotated[int, Bounds(ge=1)] = field(
        default=16, metadata={"text": "channels of the first stage; the others have 2 and 4 times as many"}
    )
    shortcut: Shortcut = field(
        default="A",
        metadata={
            "text": "where shapes differ, A: every second pixel, and zeros for the new channels; "
            "B: a 1x1 convolution; none: no shortcuts at all, a plain network"
        },
    )
    version: Literal[1, 2] = field(
        default=1,
        metadata={
            "text": "1: as in 2015; 2: norm and activation before each convolution, none after the sum"
        },
    )


_PARTS = Parts(init="kaiming")
_FORM = Form()
_SMALLEST = 8


class SubsampledShortcut(nn.Module):
    """Option A: every second pixel of every second row, and channels of zeros; no parameters."""

    def __init__(self, stride: int, more_channels: int) -> None:
        super().__init__()
        self.stride = stride
        self.more_channels = more_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C + more_channels, ceil(H / stride), ceil(W / stride))."""
        # The average over 1x1 windows is x[:, :, ::stride, ::stride] to the bit, but its gradient stays
        # channels-last, while the slice's comes back contiguous and meets a channels-last one in a sum:
        # 12.9 instead of 13.8 ms for a block's step (batch 64, one thread, best of 60).
        return F.pad(F.avg_pool2d(x, 1, self.stride), (0, 0, 0, 0, 0, self.more_channels))


class BasicBlock(nn.Module):
    """Version 1: convolution-norm-activation-convolution-norm, plus the shortcut, activation.

    Convolution dropout comes between the two convolutions, after the activation.
    """

    def __init__(self, into: int, out: int, stride: int, shortcut: Shortcut, parts: Parts) -> None:
        super().__init__()
        self.conv1 = make_conv(parts, into, out, 3, stride=stride, padding=1)
        self.bn1 = make_norm(parts, out)
        self.act1 = make_activation(parts)
        self.conv_drop = make_conv_dropout(parts)
        self.conv2 = make_conv(parts, out, out, 3, padding=1)
        self.bn2 = make_norm(parts, out)
        self.downsample = _shortcut(into, out, stride, shortcut, parts, normed=True)
        self.act2 = make_activation(parts)

    def forward(self, x: Tensor) -> Tensor:
        """(N, into, H, W) -> (N, out, H / stride, W / stride), rounded up."""
        out: Tensor = self.bn2(self.conv2(self.conv_drop(self.act1(self.bn1(self.conv1(x))))))
        if self.downsample is not None:
            out += self.downsample(x)
        result: Tensor = self.act2(out)
        return result


class PreActivationBlock(nn.Module):
    """Version 2: norm-activation-convolution twice, plus the shortcut; nothing after the sum.

    Where the shape changes, the shortcut starts behind the first activation.  The network's very first
    block has no norm and activation of its own, since those of the stem come before the fork.  Convolution
    dropout comes between the two convolutions, after the activation.
    """

    def __init__(
        self, into: int, out: int, stride: int, shortcut: Shortcut, parts: Parts, *, activated: bool
    ) -> None:
        super().__init__()
        self.forks_late = into != out or stride > 1
        # Without a norm between them, the activation would overwrite the x that the shortcut still needs.
        may_overwrite = self.forks_late or parts.norm != "none"
        self.bn1 = nn.Identity() if activated else make_norm(parts, into)
        self.act1 = nn.Identity() if activated else make_activation(parts, may_overwrite=may_overwrite)
        self.conv1 = make_conv(parts, into, out, 3, stride=stride, padding=1)
        self.bn2 = make_norm(parts, out)
        self.act2 = make_activation(parts)
        self.conv_drop = make_conv_dropout(parts)
        # The norm that follows conv2 is the first of the next block, or the network's last.
        self.conv2 = make_conv(parts, out, out, 3, padding=1)
        self.downsample = _shortcut(into, out, stride, shortcut, parts, normed=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, into, H, W) -> (N, out, H / stride, W / stride), rounded up."""
        ready = self.act1(self.bn1(x))
        out: Tensor = self.conv2(self.conv_drop(self.act2(self.bn2(self.conv1(ready)))))
        if self.downsample is not None:
            out += self.downsample(ready if self.forks_late else x)
        return out


def _shortcut(
    into: int, out: int, stride: int, shortcut: Shortcut, parts: Parts, *, normed: bool
) -> nn.Module | None:
    if shortcut not in ("A", "B", "none"):
        raise ConfigError(f"The shortcut of a resnet must be 'A', 'B' or 'none', not {shortcut!r}.")
    if shortcut == "none":
        return None
    if into == out and stride == 1:
        return nn.Identity()
    if shortcut == "A":
        return SubsampledShortcut(stride, out - into)
    projection = make_conv(parts, into, out, 1, stride=stride)
    return nn.Sequential(projection, make_norm(parts, out) if normed else nn.Identity())


def _stages(n: int, parts: Parts, form: Form) -> list[nn.Sequential]:
    stages: list[nn.Sequential] = []
    into = form.width
    for stage in range(3):
        out = form.width * 2**stage
        blocks: list[nn.Module] = []
        for i in range(n):
            stride = 2 if stage > 0 and i == 0 else 1
            if form.version == 1:
                blocks.append(BasicBlock(into, out, stride, form.shortcut, parts))
            else:
                activated = stage == i == 0
                blocks.append(
                    PreActivationBlock(into, out, stride, form.shortcut, parts, activated=activated)
                )
            into = out
        stages.append(nn.Sequential(*blocks))
    return stages


class CifarResNet(nn.Module):
    """See `resnet20`."""

    def __init__(self, depth: int, classes: int, channels: int, parts: Parts, form: Form) -> None:
        super().__init__()
        if form.version not in (1, 2):
            raise ConfigError(f"The version of a resnet must be 1 or 2, not {form.version!r}.")
        first = form.version == 1
        widest = 4 * form.width
        self.conv1 = make_conv(parts, channels, form.width, 3, padding=1)
        self.bn1 = make_norm(parts, form.width)
        self.act1 = make_activation(parts)
        self.layer1, self.layer2, self.layer3 = _stages((depth - 2) // 6, parts, form)
        self.bn2 = nn.Identity() if first else make_norm(parts, widest)
        self.act2 = nn.Identity() if first else make_activation(parts)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = make_dropout(parts)
        self.fc = nn.Linear(widest, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = self.pool(self.act2(self.bn2(x))).flatten(1)
        logits: Tensor = self.fc(self.drop(x))
        return logits


def _build(depth: int, shape: tuple[int, int, int], parts: Parts, form: Form) -> nn.Module:
    classes, channels, size = shape
    if size < _SMALLEST:
        raise ConfigError(
            f"resnet{depth} cannot take {size}x{size} images: it halves the map twice, and its 3x3 "
            f"convolutions would then see mostly padding. The smallest images that work are "
            f"{_SMALLEST}x{_SMALLEST}."
        )
    network = initialise(CifarResNet(depth, classes, channels, parts, form), parts.init)
    name, _ = spelling.read(parts.init)
    if name == "kaiming":
        # No ReLU follows the classifier: 2/n_in would start at a loss of 3.2 instead of ln 10 = 2.3 (S1.25).
        network.fc.reset_parameters()
    return network


def resnet20(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Form = _FORM
) -> nn.Module:
    """Residual network of 20 layers: 269,722 parameters for 3x32x32 and ten classes.

    Args:
        classes: number of logits K.
        channels: of the images.
        size: height and width in pixels, at least 8; the network itself takes any.
        parts: batch norm, Kaiming by default, which leaves the one linear layer, weights and bias, as torch
            drew it: no ReLU follows.  Dropout acts on the input of that layer; convolution dropout in each
            block between its two convolutions, never on a shortcut, as in wide residual networks.
        form: width, shortcut and version.

    Returns:
        A network (N, C, H, W) -> (N, K).

    Raises:
        ConfigError: images smaller than 8x8.

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, section 4.2.
        https://arxiv.org/abs/1512.03385
        He, Zhang, Ren, Sun (2016), Identity Mappings in Deep Residual Networks (version 2).
        https://arxiv.org/abs/1603.05027
        Zagoruyko, Komodakis (2016), Wide Residual Networks, section 2.4 (dropout).
        https://arxiv.org/abs/1605.07146
        Differs: where shapes change, version 2 has one 1x1 convolution with shortcut B as in the paper,
        but with shortcut A it subsamples what that convolution would have got.
    """
    return _build(20, (classes, channels, size), parts, form)


def resnet32(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Form = _FORM
) -> nn.Module:
    """Residual network of 32 layers: 464,154 parameters for 3x32x32 and ten classes.

    Arguments as for `resnet20`.

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, section 4.2.
    """
    return _build(32, (classes, channels, size), parts, form)


def resnet44(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Form = _FORM
) -> nn.Module:
    """Residual network of 44 layers: 658,586 parameters for 3x32x32 and ten classes.

    Arguments as for `resnet20`.

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, section 4.2.
    """
    return _build(44, (classes, channels, size), parts, form)


def resnet56(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Form = _FORM
) -> nn.Module:
    """Residual network of 56 layers: 853,018 parameters for 3x32x32 and ten classes.

    Arguments as for `resnet20`.

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, section 4.2.
    """
    return _build(56, (classes, channels, size), parts, form)


def resnet110(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Form = _FORM
) -> nn.Module:
    """Residual network of 110 layers: 1,727,962 parameters for 3x32x32 and ten classes.

    Arguments as for `resnet20`.

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, section 4.2.
        Differs: the paper starts this one at a learning rate of 0.01 until the error is below 80 %.
    """
    return _build(110, (classes, channels, size), parts, form)
