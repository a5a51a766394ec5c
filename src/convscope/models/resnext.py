"""What is ResNeXt?

Residual networks whose bottlenecks split into many narrow paths.  The paths
are a grouped convolution, or, to see what that means, written out one by one.

    N  images      K  classes      C  channels      H, W  pixels
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field as Bounds
from torch import nn

from .blocks import Parts
from .residual import ResNet, Stage, Style, begun
from .resnet import BLOCKS, BOTTLENECK, Blocks


@dataclass(frozen=True)
class Form:
    """What the family lets the user choose besides its parts."""

    cardinality: Annotated[int, Bounds(ge=1)] = field(
        default=32, metadata={"text": "number of paths in a block"}
    )
    width: Annotated[int, Bounds(ge=1)] = field(
        default=4,
        metadata={"text": "channels of a path in the first stage; the others have 2, 4 and 8 times as many"},
    )
    out: Annotated[int, Bounds(ge=1)] = field(
        default=256,
        metadata={"text": "channels that a block of the first stage puts out; later ones likewise"},
    )
    paths: Literal["grouped", "explicit"] = field(
        default="grouped",
        metadata={
            "text": "grouped: one grouped convolution for all paths; explicit: one after the other, slow"
        },
    )
    blocks: Blocks = field(default=0, metadata={"text": BLOCKS})


_PARTS = Parts(init="kaiming")
_FORM_50 = Form()
_FORM_101 = Form(width=8)
_FORM_29 = Form(cardinality=8, width=64)


def _build(
    stem: Literal["3x3", "7x7"], published: tuple[int, ...], shape: tuple[int, int], parts: Parts, form: Form
) -> nn.Module:
    stages = [
        Stage(form.blocks or n, form.cardinality * form.width * 2**i, form.out * 2**i, 1 if i == 0 else 2)
        for i, n in enumerate(published)
    ]
    style = Style(
        parts, "B", "1.5", bottleneck=True, groups=form.cardinality, explicit=form.paths == "explicit"
    )
    return begun(ResNet(*shape, stem, max(1, form.out // 4), stages, style), parts)


def resnext50(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Form = _FORM_50
) -> nn.Module:
    """ResNeXt-50 32x4d: 25,028,904 parameters for 3x224x224 and 1000 classes.

    Args:
        classes: number of logits K.
        channels: of the images.
        size: height and width in pixels.
        parts: as for `resnet18`.
        form: number and width of the paths, and how they are computed; number of blocks.

    Returns:
        A network (N, C, H, W) -> (N, K), with torchvision's names of weights where the paths are grouped.

    Reference:
        Xie, Girshick, Dollar, Tu, He (2017), Aggregated Residual Transformations for Deep Neural Networks,
        table 1; S3.51.  https://arxiv.org/abs/1611.05431
        Explicit paths are figure 3 (a), grouped ones figure 3 (c), which is (b) with one convolution for all.
        Without a norm, (a) has a bias in each path's last convolution where (c) has one in all.
    """
    return _build("7x7", BOTTLENECK[50], (classes, channels), parts, form)


def resnext101(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Form = _FORM_101
) -> nn.Module:
    """ResNeXt-101 32x8d: 88,791,336 parameters for 3x224x224 and 1000 classes.

    Arguments as for `resnext50`.

    Reference:
        Xie, Girshick, Dollar, Tu, He (2017), Aggregated Residual Transformations for Deep Neural Networks.
        Mahajan et al. (2018), Exploring the Limits of Weakly Supervised Pretraining (32x8d).
        https://arxiv.org/abs/1805.00932
    """
    return _build("7x7", BOTTLENECK[101], (classes, channels), parts, form)


def resnext29(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Form = _FORM_29
) -> nn.Module:
    """ResNeXt-29 8x64d for small images: 34,426,698 parameters for 3x32x32 and ten classes.

    Arguments as for `resnext50`; three stages of three blocks.

    Reference:
        Xie, Girshick, Dollar, Tu, He (2017), Aggregated Residual Transformations for Deep Neural Networks,
        section 5.3 and table 7.
    """
    return _build("3x3", (3, 3, 3), (classes, channels), parts, form)
