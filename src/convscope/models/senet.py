"""What are the squeeze-and-excitation networks?

Residual networks in which each block weighs its maps before the sum.
SENet-154, which won ImageNet's last competition, changes some more.

    N  images      K  classes      C  channels      H, W  pixels
"""

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field as Bounds
from torch import nn

from .blocks import Parts
from .residual import ResNet, Stage, Style, begun
from .resnet import BLOCKS, BOTTLENECK, Blocks, Large, large, small
from .resnet import Form as SmallForm

REDUCTION = 16
"""Hu, Shen, Sun (2018), section 6.1: smaller layers lose accuracy, larger ones gain little."""


@dataclass(frozen=True)
class Form:
    """What `senet154` lets the user choose besides its parts."""

    cardinality: Annotated[int, Bounds(ge=1)] = field(
        default=64, metadata={"text": "groups of the 3x3 convolutions"}
    )
    width: Annotated[int, Bounds(ge=2, multiple_of=2)] = field(
        default=4,
        metadata={
            "text": "channels of a group in the first stage, an even number; later ones have 2, 4 and 8 times as many"
        },
    )
    out: Annotated[int, Bounds(ge=2)] = field(
        default=256,
        metadata={"text": "channels that a block of the first stage puts out; later ones likewise"},
    )
    blocks: Blocks = field(default=0, metadata={"text": BLOCKS})


_PARTS = Parts(init="kaiming")
_PARTS_154 = Parts(init="kaiming", dropout=0.2)
_LARGE = Large()
_SMALL = SmallForm()
_FORM = Form()


def se_resnet18(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Large = _LARGE
) -> nn.Module:
    """ResNet-18 with squeeze and excitation: 11,778,592 parameters for 3x224x224 and 1000 classes.

    Args:
        classes: number of logits K.
        channels: of the images.
        size: height and width in pixels.
        parts: as for `resnet18`; the two layers that weigh the maps have biases and no norm.
        form: as for `resnet18`.

    Returns:
        A network (N, C, H, W) -> (N, K).

    Reference:
        Hu, Shen, Sun (2018), Squeeze-and-Excitation Networks, figure 3 and table 1; S3.52.
        https://arxiv.org/abs/1709.01507
        Weighing comes before the sum, which is their "standard" place (section 6.4).
    """
    return large(18, (classes, channels), parts, form, reduction=REDUCTION)


def se_resnet50(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Large = _LARGE
) -> nn.Module:
    """ResNet-50 with squeeze and excitation: 28,088,024 parameters for 3x224x224 and 1000 classes.

    Arguments as for `se_resnet18`.

    Reference:
        Hu, Shen, Sun (2018), Squeeze-and-Excitation Networks, table 1; S3.52.
    """
    return large(50, (classes, channels), parts, form, reduction=REDUCTION)


def se_resnet101(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Large = _LARGE
) -> nn.Module:
    """ResNet-101 with squeeze and excitation: 49,326,872 parameters for 3x224x224 and 1000 classes.

    Arguments as for `se_resnet18`.

    Reference:
        Hu, Shen, Sun (2018), Squeeze-and-Excitation Networks, table 1; S3.52.
    """
    return large(101, (classes, channels), parts, form, reduction=REDUCTION)


def se_resnet152(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Large = _LARGE
) -> nn.Module:
    """ResNet-152 with squeeze and excitation: 66,821,848 parameters for 3x224x224 and 1000 classes.

    Arguments as for `se_resnet18`.

    Reference:
        Hu, Shen, Sun (2018), Squeeze-and-Excitation Networks, table 1; S3.52.
    """
    return large(152, (classes, channels), parts, form, reduction=REDUCTION)


def se_resnet20(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: SmallForm = _SMALL
) -> nn.Module:
    """ResNet-20 with squeeze and excitation for small images: 272,095 parameters for 3x32x32 and ten classes.

    Arguments as for `resnet20`.

    Reference:
        Hu, Shen, Sun (2018), Squeeze-and-Excitation Networks, table 4; S3.52.
        Differs: shortcut A by default, as in the network it is compared with.
    """
    return small(20, (classes, channels, size), parts, form, REDUCTION)


def se_resnet110(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: SmallForm = _SMALL
) -> nn.Module:
    """ResNet-110 with squeeze and excitation for small images: 1,742,200 parameters for 3x32x32 and ten classes.

    Arguments as for `resnet20`.

    Reference:
        Hu, Shen, Sun (2018), Squeeze-and-Excitation Networks, table 4; S3.52.
        Differs: shortcut A by default, as in the network it is compared with.
    """
    return small(110, (classes, channels, size), parts, form, REDUCTION)


def senet154(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS_154, form: Form = _FORM
) -> nn.Module:
    """SENet-154: 115,088,984 parameters for 3x224x224 and 1000 classes.

    ResNeXt-152 64x4d with squeeze and excitation, and: half as many channels in the first 1x1 convolution of
    a block, three 3x3 convolutions instead of the 7x7, 3x3 instead of 1x1 convolutions where shortcuts halve the
    map, dropout 0.2 before the classifier.

    Args:
        classes: number of logits K.
        channels: of the images.
        size: height and width in pixels.
        parts: as for `resnet18`; dropout 0.2 by default.
        form: number and width of the groups, and number of blocks.

    Returns:
        A network (N, C, H, W) -> (N, K).

    Reference:
        Hu, Shen, Sun (2018), Squeeze-and-Excitation Networks, appendix; S3.52.
        https://arxiv.org/abs/1709.01507
        Differs: label smoothing and the freezing of norms belong to the recipe.
    """
    stages = [
        Stage(
            form.blocks or n,
            inner=form.cardinality * form.width * 2**i,
            out=form.out * 2**i,
            stride=1 if i == 0 else 2,
            reduced=form.cardinality * form.width * 2**i // 2,
        )
        for i, n in enumerate(BOTTLENECK[152])
    ]
    style = Style(
        parts,
        "B",
        "1.5",
        bottleneck=True,
        groups=form.cardinality,
        reduction=REDUCTION,
        shortcut_kernel=3,
    )
    return begun(ResNet(classes, channels, "three 3x3", form.out // 2, stages, style), parts)
