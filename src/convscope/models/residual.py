"""What are residual networks made of?

A network here is a stem, stages of blocks, a global average, and one linear
layer.  `Stage` says what the published tables say of a stage, `Style` what
all blocks of one network share; the families are tables of these two.

Everything stays channels-last in both directions, without a hidden copy, and
the sum of block and shortcut is written over the block's own result.

    N  images      K  classes      C  channels      H, W  pixels
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.core import spelling
from convscope.core.errors import ConfigError

from .blocks import (
    GlobalAvgPool2d,
    Parts,
    make_activation,
    make_conv,
    make_conv_dropout,
    make_dropout,
    make_norm,
)
from .init import initialise

Shortcut = Literal["A", "B", "none"]
SHORTCUTS = (
    "where shapes differ, A: every second pixel, and zeros for the new channels; "
    "B: a 1x1 convolution; none: no shortcuts at all, a plain network"
)
Stem = Literal["3x3", "7x7", "three 3x3"]


def _version_text(given: Any) -> Any:
    return str(given).removeprefix("v") if isinstance(given, str | int | float) else given


# TOML writes 1.5 as a number and the command line as text: both mean the same.
Version = Annotated[Literal["1", "1.5", "2"], BeforeValidator(_version_text)]


@dataclass(frozen=True)
class Stage:
    """Blocks in a row with maps of the same size."""

    blocks: int
    inner: int
    """Channels of the 3x3 convolutions."""
    out: int
    """Channels that each block puts out; a basic block has as many inside."""
    stride: int
    """Of the first block."""
    reduced: int = 0
    """Channels of a bottleneck's first 1x1 convolution where they are not `inner`."""


@dataclass(frozen=True)
class Style:
    """What the blocks of one network have in common."""

    parts: Parts
    shortcut: Shortcut
    version: str = "1"
    """1: stride in a bottleneck's first 1x1 convolution; 1.5: in its 3x3 (S3.49); 2: norms and activations first."""
    bottleneck: bool = False
    groups: int = 1
    """Of the 3x3 convolution: the cardinality of ResNeXt."""
    explicit: bool = False
    """Each group is a path of its own."""
    reduction: int = 0
    """Squeeze-and-excitation's hidden layer is so many times narrower than the block's output; 0: there is none."""
    shortcut_kernel: Literal[1, 3] = 1
    """Of the convolution in shortcut B that halves the map."""

    def __post_init__(self) -> None:
        if self.shortcut not in get_args(Shortcut):
            raise ConfigError(f"The shortcut of a resnet must be 'A', 'B' or 'none', not {self.shortcut!r}.")
        if self.version not in ("1", "1.5", "2"):
            raise ConfigError(f"The version of a resnet must be 1, 1.5 or 2, not {self.version}.")


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


class SqueezeExcitation(nn.Module):
    """Each map times a number between 0 and 1, which two small layers compute from the means of all maps (S3.52).

    Reference:
        Hu, Shen, Sun (2018), Squeeze-and-Excitation Networks, section 3.  https://arxiv.org/abs/1709.01507
    """

    def __init__(self, channels: int, reduction: int, parts: Parts) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = GlobalAvgPool2d()
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.act = make_activation(parts)
        self.fc2 = nn.Conv2d(hidden, channels, 1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        shares: Tensor = self.gate(self.fc2(self.act(self.fc1(self.squeeze(x)))))
        return x * shares


class BasicBlock(nn.Module):
    """Versions 1 and 1.5: convolution-norm-activation-convolution-norm, plus the shortcut, activation.

    Convolution dropout comes between the two convolutions, after the activation.
    """

    def __init__(self, into: int, stage: Stage, stride: int, style: Style) -> None:
        super().__init__()
        parts, out = style.parts, stage.out
        self.conv1 = make_conv(parts, into, out, 3, stride=stride, padding=1)
        self.bn1 = make_norm(parts, out)
        self.act1 = make_activation(parts)
        self.conv_drop = make_conv_dropout(parts)
        self.conv2 = make_conv(parts, out, out, 3, padding=1)
        self.bn2 = make_norm(parts, out)
        self.se = _excitation(out, style)
        self.downsample = _shortcut(into, out, stride, style)
        self.act2 = make_activation(parts)

    def forward(self, x: Tensor) -> Tensor:
        """(N, into, H, W) -> (N, out, H / stride, W / stride), rounded up."""
        out: Tensor = self.conv_drop(self.act1(self.bn1(self.conv1(x))))
        out = self.se(self.bn2(self.conv2(out)))
        if self.downsample is not None:
            out += self.downsample(x)
        result: Tensor = self.act2(out)
        return result


class Bottleneck(nn.Module):
    """Versions 1 and 1.5: a 1x1 convolution to fewer channels, a 3x3, a 1x1 back to many (S3.47).

    Convolution dropout comes before the last convolution, after the activation.
    """

    def __init__(self, into: int, stage: Stage, stride: int, style: Style) -> None:
        super().__init__()
        parts, inner, out = style.parts, stage.inner, stage.out
        reduced = stage.reduced or inner
        first, second = (stride, 1) if style.version == "1" else (1, stride)
        self.conv1 = make_conv(parts, into, reduced, 1, stride=first)
        self.bn1 = make_norm(parts, reduced)
        self.act1 = make_activation(parts)
        self.conv2 = make_conv(parts, reduced, inner, 3, stride=second, padding=1, groups=style.groups)
        self.bn2 = make_norm(parts, inner)
        self.act2 = make_activation(parts)
        self.conv_drop = make_conv_dropout(parts)
        self.conv3 = make_conv(parts, inner, out, 1)
        self.bn3 = make_norm(parts, out)
        self.se = _excitation(out, style)
        self.downsample = _shortcut(into, out, stride, style)
        self.act3 = make_activation(parts)

    def forward(self, x: Tensor) -> Tensor:
        """(N, into, H, W) -> (N, out, H / stride, W / stride), rounded up."""
        out: Tensor = self.act1(self.bn1(self.conv1(x)))
        out = self.conv_drop(self.act2(self.bn2(self.conv2(out))))
        out = self.se(self.bn3(self.conv3(out)))
        if self.downsample is not None:
            out += self.downsample(x)
        result: Tensor = self.act3(out)
        return result


class SplitBottleneck(nn.Module):
    """A bottleneck whose groups are paths of their own, added up at the end: ResNeXt's block (a) (S3.51).

    With the weights cut up accordingly it computes what the grouped block (b) does, only slower.
    """

    def __init__(self, into: int, stage: Stage, stride: int, style: Style) -> None:
        super().__init__()
        parts, out = style.parts, stage.out
        share = stage.inner // style.groups
        first, second = (stride, 1) if style.version == "1" else (1, stride)
        self.paths = nn.ModuleList(
            nn.Sequential(
                make_conv(parts, into, share, 1, stride=first),
                make_norm(parts, share),
                make_activation(parts),
                make_conv(parts, share, share, 3, stride=second, padding=1),
                make_norm(parts, share),
                make_activation(parts),
                make_conv_dropout(parts),
                make_conv(parts, share, out, 1),
            )
            for _ in range(style.groups)
        )
        self.bn3 = make_norm(parts, out)
        self.se = _excitation(out, style)
        self.downsample = _shortcut(into, out, stride, style)
        self.act3 = make_activation(parts)

    def forward(self, x: Tensor) -> Tensor:
        """(N, into, H, W) -> (N, out, H / stride, W / stride), rounded up."""
        first, *others = self.paths
        total = first(x)
        for path in others:
            total += path(x)
        out: Tensor = self.se(self.bn3(total))
        if self.downsample is not None:
            out += self.downsample(x)
        result: Tensor = self.act3(out)
        return result


class PreActivationBlock(nn.Module):
    """Version 2: norm-activation-convolution twice, plus the shortcut; nothing after the sum (S3.50).

    Where the shape changes, the shortcut starts behind the first activation.  The network's very first
    block has no norm and activation of its own, since those of the stem come before the fork.  Convolution
    dropout comes between the two convolutions, after the activation.
    """

    def __init__(self, into: int, stage: Stage, stride: int, style: Style, *, activated: bool) -> None:
        super().__init__()
        parts, out = style.parts, stage.out
        self.forks_late = into != out or stride > 1
        self.bn1, self.act1 = _opening(into, parts, activated=activated, forks_late=self.forks_late)
        self.conv1 = make_conv(parts, into, out, 3, stride=stride, padding=1)
        self.bn2 = make_norm(parts, out)
        self.act2 = make_activation(parts)
        self.conv_drop = make_conv_dropout(parts)
        # The norm that follows conv2 is the first of the next block, or the network's last.
        self.conv2 = make_conv(parts, out, out, 3, padding=1)
        self.se = _excitation(out, style)
        self.downsample = _shortcut(into, out, stride, style)

    def forward(self, x: Tensor) -> Tensor:
        """(N, into, H, W) -> (N, out, H / stride, W / stride), rounded up."""
        ready = self.act1(self.bn1(x))
        out: Tensor = self.conv_drop(self.act2(self.bn2(self.conv1(ready))))
        out = self.se(self.conv2(out))
        if self.downsample is not None:
            out += self.downsample(ready if self.forks_late else x)
        return out


class PreActivationBottleneck(nn.Module):
    """Version 2 of the bottleneck: norm-activation-convolution three times; else as `PreActivationBlock`.

    The stride is in the 3x3 convolution, as in version 1.5.
    """

    def __init__(self, into: int, stage: Stage, stride: int, style: Style, *, activated: bool) -> None:
        super().__init__()
        parts, inner, out = style.parts, stage.inner, stage.out
        self.forks_late = into != out or stride > 1
        self.bn1, self.act1 = _opening(into, parts, activated=activated, forks_late=self.forks_late)
        self.conv1 = make_conv(parts, into, inner, 1)
        self.bn2 = make_norm(parts, inner)
        self.act2 = make_activation(parts)
        self.conv2 = make_conv(parts, inner, inner, 3, stride=stride, padding=1, groups=style.groups)
        self.bn3 = make_norm(parts, inner)
        self.act3 = make_activation(parts)
        self.conv_drop = make_conv_dropout(parts)
        self.conv3 = make_conv(parts, inner, out, 1)
        self.se = _excitation(out, style)
        self.downsample = _shortcut(into, out, stride, style)

    def forward(self, x: Tensor) -> Tensor:
        """(N, into, H, W) -> (N, out, H / stride, W / stride), rounded up."""
        ready = self.act1(self.bn1(x))
        out: Tensor = self.act2(self.bn2(self.conv1(ready)))
        out = self.conv_drop(self.act3(self.bn3(self.conv2(out))))
        out = self.se(self.conv3(out))
        if self.downsample is not None:
            out += self.downsample(ready if self.forks_late else x)
        return out


def _opening(into: int, parts: Parts, *, activated: bool, forks_late: bool) -> tuple[nn.Module, nn.Module]:
    if activated:
        return nn.Identity(), nn.Identity()
    # Without a norm between them, the activation would overwrite the x that the shortcut still needs.
    may_overwrite = forks_late or parts.norm != "none"
    return make_norm(parts, into), make_activation(parts, may_overwrite=may_overwrite)


def _excitation(channels: int, style: Style) -> nn.Module:
    return SqueezeExcitation(channels, style.reduction, style.parts) if style.reduction else nn.Identity()


def _shortcut(into: int, out: int, stride: int, style: Style) -> nn.Module | None:
    if style.shortcut == "none":
        return None
    if into == out and stride == 1:
        return nn.Identity()
    if style.shortcut == "A":
        return SubsampledShortcut(stride, out - into)
    kernel = style.shortcut_kernel if stride > 1 else 1
    projection = make_conv(style.parts, into, out, kernel, stride=stride, padding=kernel // 2)
    # Version 2 has no norm here: that of the next block follows the sum.
    return nn.Sequential(projection, nn.Identity() if style.version == "2" else make_norm(style.parts, out))


def _block(into: int, stage: Stage, stride: int, style: Style, *, first: bool) -> nn.Module:
    if style.version == "2":
        preactivated = PreActivationBottleneck if style.bottleneck else PreActivationBlock
        return preactivated(into, stage, stride, style, activated=first)
    if style.explicit:
        return SplitBottleneck(into, stage, stride, style)
    return (Bottleneck if style.bottleneck else BasicBlock)(into, stage, stride, style)


class ResNet(nn.Module):
    """A residual network as tables describe it; names of weights as in torchvision.

    Args:
        classes: number of logits K.
        channels: of the images.
        stem: 3x3 keeps the map; 7x7 and its pool halve it twice; three 3x3 and their pool too.
        width: channels of the stem.
        stages: one after the other.
        style: of the blocks.
    """

    def __init__(
        self, classes: int, channels: int, stem: Stem, width: int, stages: Sequence[Stage], style: Style
    ) -> None:
        super().__init__()
        parts, late = style.parts, style.version == "2"
        self.conv1 = _stem(channels, width, stem, parts)
        self.bn1 = make_norm(parts, width)
        self.act1 = make_activation(parts)
        self.maxpool = nn.Identity() if stem == "3x3" else nn.MaxPool2d(3, 2, padding=1)
        into = width
        self.stages: list[str] = []
        for stage in stages:
            blocks = []
            for i in range(stage.blocks):
                first = not self.stages and i == 0
                blocks.append(_block(into, stage, stage.stride if i == 0 else 1, style, first=first))
                into = stage.out
            self.stages.append(f"layer{len(self.stages) + 1}")
            self.add_module(self.stages[-1], nn.Sequential(*blocks))
        self.bn2 = make_norm(parts, into) if late else nn.Identity()
        self.act2 = make_activation(parts) if late else nn.Identity()
        self.pool = GlobalAvgPool2d()
        self.drop = make_dropout(parts)
        self.fc = nn.Linear(into, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        x = self.maxpool(self.act1(self.bn1(self.conv1(x))))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        x = self.pool(self.act2(self.bn2(x))).flatten(1)
        logits: Tensor = self.fc(self.drop(x))
        return logits


def _stem(channels: int, width: int, stem: Stem, parts: Parts) -> nn.Module:
    if stem == "3x3":
        return make_conv(parts, channels, width, 3, padding=1)
    if stem == "7x7":
        return make_conv(parts, channels, width, 7, stride=2, padding=3)
    half = max(1, width // 2)
    return nn.Sequential(
        make_conv(parts, channels, half, 3, stride=2, padding=1),
        make_norm(parts, half),
        make_activation(parts),
        make_conv(parts, half, half, 3, padding=1),
        make_norm(parts, half),
        make_activation(parts),
        make_conv(parts, half, width, 3, padding=1),
    )


def begun(network: ResNet, parts: Parts) -> ResNet:
    """The network with the weights it starts with."""
    initialise(network, parts.init)
    name, _ = spelling.read(parts.init)
    if name == "kaiming":
        # No ReLU follows the classifier: 2/n_in would start at a loss of 3.2 instead of ln 10 = 2.3 (S1.25).
        network.fc.reset_parameters()
    return network
