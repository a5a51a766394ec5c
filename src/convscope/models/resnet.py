"""What are the residual networks?

Two families of He et al.  For ImageNet (table 1): a 7x7 convolution, a pool,
four stages of blocks of two 3x3 convolutions or of bottlenecks; with a 3x3
stem they serve small images.  For CIFAR-10 (section 4.2): a 3x3 convolution
and three stages of n blocks, depth 6n + 2.  Each stage but the first halves
the map and doubles the channels.

    N  images      K  classes      C  channels      H, W  pixels      n  blocks per stage
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from pydantic import Field as Bounds
from torch import Tensor, nn

from convscope.core.catalog import Off
from convscope.core.errors import ConfigError

from .blocks import Parts
from .residual import SHORTCUTS, ResNet, Shortcut, Stage, Stem, Style, Version, begun

Blocks = Annotated[int, Bounds(ge=0), Off(0)]
BLOCKS = "blocks in each stage; 0: as published"


@dataclass(frozen=True)
class Form:
    """What the networks of depth 6n + 2 let the user choose besides their parts."""

    width: Annotated[int, Bounds(ge=1)] = field(
        default=16, metadata={"text": "channels of the first stage; the others have 2 and 4 times as many"}
    )
    shortcut: Shortcut = field(default="A", metadata={"text": SHORTCUTS})
    version: Literal[1, 2] = field(
        default=1,
        metadata={
            "text": "1: as in 2015; 2: norm and activation before each convolution, none after the sum"
        },
    )
    blocks: Blocks = field(default=0, metadata={"text": BLOCKS})


@dataclass(frozen=True)
class Large:
    """What the networks of four stages let the user choose besides their parts."""

    width: Annotated[int, Bounds(ge=1)] = field(
        default=64,
        metadata={
            "text": "channels inside the blocks of the first stage; the others have 2, 4 and 8 times as many"
        },
    )
    shortcut: Shortcut = field(default="B", metadata={"text": SHORTCUTS})
    version: Version = field(
        default="1.5",
        metadata={
            "text": "1: as in 2015; 1.5: bottlenecks halve the map in their 3x3 convolution; 2: norm and activation "
            "before each convolution, none after the sum"
        },
    )
    blocks: Blocks = field(default=0, metadata={"text": BLOCKS})


@dataclass(frozen=True)
class LargeCifar(Large):
    """The same for small images."""

    stem: Literal["3x3", "7x7"] = field(
        default="3x3", metadata={"text": "first convolution; 7x7 with the pool behind it, as for ImageNet"}
    )


@dataclass(frozen=True)
class Pooling:
    """What `resnet18_pooling` lets the user choose besides its parts."""

    width: Annotated[int, Bounds(ge=1)] = field(
        default=64,
        metadata={"text": "channels of the first stage; the others have 2, 4 and 8 times as many"},
    )
    blocks: Blocks = field(default=0, metadata={"text": BLOCKS})


_PARTS = Parts(init="kaiming")
_FORM = Form()
_LARGE = Large()
_CIFAR = LargeCifar()
_PREACTIVATED = LargeCifar(version="2")
_POOLING = Pooling()
_SMALLEST = 8

BASIC = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
BOTTLENECK = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Blocks per stage, by the number of layers; S2.3-6 (E2.1: stage two of ResNet-50 has four)."""


def small_stages(depth: int, form: Form) -> list[Stage]:
    """The three stages of a network of depth 6n + 2."""
    n = form.blocks or (depth - 2) // 6
    return [Stage(n, form.width * 2**i, form.width * 2**i, 1 if i == 0 else 2) for i in range(3)]


def large_stages(depth: int, width: int, blocks: int) -> list[Stage]:
    """The four stages of table 1."""
    published, expansion = (BASIC[depth], 1) if depth in BASIC else (BOTTLENECK[depth], 4)
    return [
        Stage(blocks or n, width * 2**i, width * 2**i * expansion, 1 if i == 0 else 2)
        for i, n in enumerate(published)
    ]


def small(depth: int, shape: tuple[int, int, int], parts: Parts, form: Form, reduction: int = 0) -> nn.Module:
    """A network of depth 6n + 2 for `shape` = (classes, channels, size)."""
    classes, channels, size = shape
    if size < _SMALLEST:
        raise ConfigError(
            f"resnet{depth} cannot take {size}x{size} images: it halves the map twice, and its 3x3 "
            f"convolutions would then see mostly padding. The smallest images that work are "
            f"{_SMALLEST}x{_SMALLEST}."
        )
    style = Style(parts, form.shortcut, str(form.version), reduction=reduction)
    return begun(ResNet(classes, channels, "3x3", form.width, small_stages(depth, form), style), parts)


def large(
    depth: int, shape: tuple[int, int], parts: Parts, form: Large, *, stem: Stem = "7x7", reduction: int = 0
) -> nn.Module:
    """A network of four stages for `shape` = (classes, channels)."""
    style = Style(parts, form.shortcut, form.version, bottleneck=depth in BOTTLENECK, reduction=reduction)
    stages = large_stages(depth, form.width, form.blocks)
    return begun(ResNet(*shape, stem, form.width, stages, style), parts)


class PoolingResNet(ResNet):
    """See `resnet18_pooling`."""

    def __init__(self, classes: int, channels: int, width: int, stages: list[Stage], style: Style) -> None:
        super().__init__(classes, channels, "3x3", width, stages, style)
        self.fc = nn.Linear(sum(stage.blocks * stage.out for stage in stages), classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        x = self.act1(self.bn1(self.conv1(x)))
        means = []
        for stage in self.stages:
            for block in self.get_submodule(stage).children():
                x = block(x)
                means.append(self.pool(x).flatten(1))
        logits: Tensor = self.fc(self.drop(torch.cat(means, 1)))
        return logits


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
    return small(20, (classes, channels, size), parts, form)


def resnet32(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Form = _FORM
) -> nn.Module:
    """Residual network of 32 layers: 464,154 parameters for 3x32x32 and ten classes.

    Arguments as for `resnet20`.

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, section 4.2.
    """
    return small(32, (classes, channels, size), parts, form)


def resnet44(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Form = _FORM
) -> nn.Module:
    """Residual network of 44 layers: 658,586 parameters for 3x32x32 and ten classes.

    Arguments as for `resnet20`.

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, section 4.2.
    """
    return small(44, (classes, channels, size), parts, form)


def resnet56(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Form = _FORM
) -> nn.Module:
    """Residual network of 56 layers: 853,018 parameters for 3x32x32 and ten classes.

    Arguments as for `resnet20`.

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, section 4.2.
    """
    return small(56, (classes, channels, size), parts, form)


def resnet110(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Form = _FORM
) -> nn.Module:
    """Residual network of 110 layers: 1,727,962 parameters for 3x32x32 and ten classes.

    Arguments as for `resnet20`.

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, section 4.2.
        Differs: the paper starts this one at a learning rate of 0.01 until the error is below 80 %.
    """
    return small(110, (classes, channels, size), parts, form)


def resnet18(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Large = _LARGE
) -> nn.Module:
    """Residual network of 18 layers in basic blocks: 11,689,512 parameters for 3x224x224 and 1000 classes.

    Args:
        classes: number of logits K.
        channels: of the images.
        size: height and width in pixels; any that the stem leaves something of.
        parts: batch norm, Kaiming by default, which leaves the one linear layer, weights and bias, as torch
            drew it.  Dropout acts on the input of that layer; convolution dropout in each block before its
            last convolution, never on a shortcut.
        form: width, shortcut, version and number of blocks.  Basic blocks are the same in versions 1 and 1.5.

    Returns:
        A network (N, C, H, W) -> (N, K), with torchvision's names of weights in versions 1 and 1.5.

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, table 1; S2.2-6.
        https://arxiv.org/abs/1512.03385
        He, Zhang, Ren, Sun (2016), Identity Mappings in Deep Residual Networks (version 2).
        https://arxiv.org/abs/1603.05027
        Version 1.5, the default here and in torchvision, is of Gross, Wilber (2016), Training and
        Investigating Residual Nets; S3.49.
        Differs: where shapes change, version 2 halves the map in the 3x3 convolution of a bottleneck.
    """
    return large(18, (classes, channels), parts, form)


def resnet34(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Large = _LARGE
) -> nn.Module:
    """Residual network of 34 layers in basic blocks: 21,797,672 parameters for 3x224x224 and 1000 classes.

    Arguments as for `resnet18`.

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, table 1; S2.2-6.
    """
    return large(34, (classes, channels), parts, form)


def resnet50(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Large = _LARGE
) -> nn.Module:
    """Residual network of 50 layers in bottlenecks: 25,557,032 parameters for 3x224x224 and 1000 classes.

    Arguments as for `resnet18`.

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, table 1; S2.2-6.
    """
    return large(50, (classes, channels), parts, form)


def resnet101(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Large = _LARGE
) -> nn.Module:
    """Residual network of 101 layers in bottlenecks: 44,549,160 parameters for 3x224x224 and 1000 classes.

    Arguments as for `resnet18`.

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, table 1; S2.2-6.
    """
    return large(101, (classes, channels), parts, form)


def resnet152(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Large = _LARGE
) -> nn.Module:
    """Residual network of 152 layers in bottlenecks: 60,192,808 parameters for 3x224x224 and 1000 classes.

    Arguments as for `resnet18`.

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, table 1; S2.2-6.
    """
    return large(152, (classes, channels), parts, form)


def resnet18_cifar(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: LargeCifar = _CIFAR
) -> nn.Module:
    """ResNet-18 for small images: 11,173,962 parameters for 3x32x32 and ten classes.

    Args:
        classes: number of logits K.
        channels: of the images.
        size: height and width in pixels.
        parts: as for `resnet18`.
        form: as for `resnet18`, and the stem.

    Returns:
        A network (N, C, H, W) -> (N, K).

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, table 1; S2.8, S2.9, S3.48.
        Differs from the published network: a 3x3 convolution with stride 1 instead of the 7x7 with stride 2,
        and no pool behind it, as S2 and the lecture have it.
    """
    return large(18, (classes, channels), parts, form, stem=form.stem)


def resnet34_cifar(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: LargeCifar = _CIFAR
) -> nn.Module:
    """ResNet-34 for small images: 21,282,122 parameters for 3x32x32 and ten classes.

    Arguments as for `resnet18_cifar`.

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, table 1; S3.48.
    """
    return large(34, (classes, channels), parts, form, stem=form.stem)


def resnet50_cifar(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: LargeCifar = _CIFAR
) -> nn.Module:
    """ResNet-50 for small images: 23,520,842 parameters for 3x32x32 and ten classes.

    Arguments as for `resnet18_cifar`.

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, table 1; S3.48.
    """
    return large(50, (classes, channels), parts, form, stem=form.stem)


def resnet101_cifar(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: LargeCifar = _CIFAR
) -> nn.Module:
    """ResNet-101 for small images: 42,512,970 parameters for 3x32x32 and ten classes.

    Arguments as for `resnet18_cifar`.

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, table 1; S3.48.
    """
    return large(101, (classes, channels), parts, form, stem=form.stem)


def resnet152_cifar(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: LargeCifar = _CIFAR
) -> nn.Module:
    """ResNet-152 for small images: 58,156,618 parameters for 3x32x32 and ten classes.

    Arguments as for `resnet18_cifar`.

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, table 1; S3.48.
    """
    return large(152, (classes, channels), parts, form, stem=form.stem)


def preactresnet18(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: LargeCifar = _PREACTIVATED
) -> nn.Module:
    """Pre-activation ResNet-18 for small images: 11,172,170 parameters for 3x32x32 and ten classes.

    `resnet18_cifar` in version 2.  Arguments as there.

    Reference:
        He, Zhang, Ren, Sun (2016), Identity Mappings in Deep Residual Networks; S3.50.
        https://arxiv.org/abs/1603.05027
        Differs: some public versions leave out the last norm, and have 11,171,146.
    """
    return large(18, (classes, channels), parts, form, stem=form.stem)


def resnet18_pooling(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Pooling = _POOLING
) -> nn.Module:
    """ResNet-18 whose classifier sees every block: 11,188,042 parameters for 3x32x32 and ten classes.

    What each of the eight blocks puts out is averaged over its map, and the 1920 means together reach the
    linear layer: 64 + 64 + 128 + 128 + 256 + 256 + 512 + 512.

    Args:
        classes: number of logits K.
        channels: of the images.
        size: height and width in pixels.
        parts: as for `resnet18`.
        form: width and number of blocks.

    Returns:
        A network (N, C, H, W) -> (N, K).

    Reference:
        S2.14, which says "the same size" and not which; here it is 1x1.
    """
    style = Style(parts, "B", "1.5")
    stages = large_stages(18, form.width, form.blocks)
    return begun(PoolingResNet(classes, channels, form.width, stages, style), parts)
