"""What are wide residual networks?

Few layers and many channels: version 2 of the residual networks for small
images, with k times as many channels in each stage.

    N  images      K  classes      C  channels      H, W  pixels
"""

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field as Bounds
from torch import nn

from .blocks import Parts
from .residual import ResNet, Stage, Style, begun
from .resnet import BLOCKS, Blocks


@dataclass(frozen=True)
class Form:
    """What the family lets the user choose besides its parts."""

    width: Annotated[int, Bounds(ge=1)] = field(
        default=10, metadata={"text": "the factor k: stages have 16 k, 32 k and 64 k channels"}
    )
    blocks: Blocks = field(default=0, metadata={"text": BLOCKS})


_PARTS = Parts(init="kaiming")
_FORM = Form()


def wideresnet28(
    *, classes: int, channels: int, size: int, parts: Parts = _PARTS, form: Form = _FORM
) -> nn.Module:
    """WideResNet-28-10: 36,479,194 parameters for 3x32x32 and ten classes.

    Args:
        classes: number of logits K.
        channels: of the images.
        size: height and width in pixels.
        parts: as for `resnet20`; the paper's dropout is conv_dropout=0.3.
        form: the factor k, and the number of blocks: 4 are the published depth of 28.

    Returns:
        A network (N, C, H, W) -> (N, K).

    Reference:
        Zagoruyko, Komodakis (2016), Wide Residual Networks, table 1.  https://arxiv.org/abs/1605.07146
    """
    stages = [
        Stage(form.blocks or 4, 16 * form.width * 2**i, 16 * form.width * 2**i, 1 if i == 0 else 2)
        for i in range(3)
    ]
    return begun(ResNet(classes, channels, "3x3", 16, stages, Style(parts, "B", "2")), parts)
