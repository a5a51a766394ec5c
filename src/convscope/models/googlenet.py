"""What is GoogLeNet?

Nine modules in which the same input goes through kernels of 1x1, 3x3 and 5x5
and a pool side by side; 1x1 convolutions make it thin first.  Three forms of
the network are about: the paper's, the same with batch norm, and torchvision's.

    N  images      K  classes      C  channels      H, W  pixels
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from convscope.core.errors import ConfigError

from .blocks import (
    AUTO,
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
from .response import ResponseNorm

_AUXILIARY_DROPOUT = 0.7
_TORCHVISION_EPS = 1e-3


class Widths(NamedTuple):
    """Channels of a module: 1x1; 1x1 and 3x3; 1x1 and 5x5; 1x1 after the pool."""

    one: int
    three_reduced: int
    three: int
    five_reduced: int
    five: int
    pooled: int

    @property
    def out(self) -> int:
        """Of the whole module."""
        return self.one + self.three + self.five + self.pooled

    def times(self, width: float) -> "Widths":
        """The module in another width."""
        return Widths(*(scaled(channels, width) for channels in self))


MODULES = {
    "3a": Widths(64, 96, 128, 16, 32, 32),
    "3b": Widths(128, 128, 192, 32, 96, 64),
    "4a": Widths(192, 96, 208, 16, 48, 64),
    "4b": Widths(160, 112, 224, 24, 64, 64),
    "4c": Widths(128, 128, 256, 24, 64, 64),
    "4d": Widths(112, 144, 288, 32, 64, 64),
    "4e": Widths(256, 160, 320, 32, 128, 128),
    "5a": Widths(256, 160, 320, 32, 128, 128),
    "5b": Widths(384, 192, 384, 48, 128, 128),
}
"""Szegedy et al., table 1; X3.6."""
SLIDES_3B = Widths(128, 128, 256, 24, 64, 64)
"""As the lecture draws it for CIFAR-10: 512 channels, labelled 480 (E3.16)."""


@dataclass(frozen=True)
class VariantParts(Parts):
    """`Parts` in which the variant decides whether there is a norm."""

    # mypy: a wider type than in Parts; `googlenet` replaces auto before anything is built.
    norm: Literal["auto", "batch", "none"] = field(  # type: ignore[assignment]
        default="auto", metadata={"text": "auto: as the variant has it, and nothing else is possible"}
    )


@dataclass(frozen=True)
class Form(Width):
    """What `googlenet` lets the user choose besides its parts."""

    variant: Literal["paper", "bn", "torchvision"] = field(
        default="torchvision",
        metadata={
            "text": "paper: local response normalisation; bn: batch norm instead; torchvision: batch norm, and 3x3 "
            "kernels in the place of the 5x5, so that its weights fit"
        },
    )
    auxiliary: bool = field(
        default=False,
        metadata={
            "text": "two more classifiers, behind modules 4a and 4d, whose losses count 0.3 each in training"
        },
    )


@dataclass(frozen=True)
class SmallForm(Width):
    """What `googlenet_cifar` lets the user choose besides its parts."""

    module_3b: Literal["paper", "slide"] = field(
        default="paper",
        metadata={"text": "the second module: the paper's with 480 channels, or the slide's with 512"},
    )


_PARTS = VariantParts(dropout=0.4, init="kaiming:fan=in")
_SMALL_PARTS = Parts(norm="none", init="kaiming:fan=in")
_FORM = Form()
_SMALL_FORM = SmallForm()


class ConvLayer(nn.Module):
    """A convolution, its norm, its activation."""

    def __init__(
        self, into: int, out: int, kernel: int, parts: Parts, *, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        self.conv = make_conv(parts, into, out, kernel, stride=stride, padding=padding)
        self.bn = make_norm(parts, out)
        self.act = make_activation(parts)

    def forward(self, x: Tensor) -> Tensor:
        """(N, into, H, W) -> (N, out, H', W')."""
        out: Tensor = self.act(self.bn(self.conv(x)))
        return out


class Inception(nn.Module):
    """Four branches side by side, one after the other in the channels: 1x1, 3x3, `large`, pool (X3.7)."""

    def __init__(self, into: int, widths: Widths, parts: Parts, *, large: int = 5) -> None:
        super().__init__()
        w = widths
        self.branch1 = ConvLayer(into, w.one, 1, parts)
        self.branch2 = nn.Sequential(
            ConvLayer(into, w.three_reduced, 1, parts),
            ConvLayer(w.three_reduced, w.three, 3, parts, padding=1),
        )
        self.branch3 = nn.Sequential(
            ConvLayer(into, w.five_reduced, 1, parts),
            ConvLayer(w.five_reduced, w.five, large, parts, padding=large // 2),
        )
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), ConvLayer(into, w.pooled, 1, parts))
        self.drop = make_conv_dropout(parts)

    def forward(self, x: Tensor) -> Tensor:
        """(N, into, H, W) -> (N, out, H, W)."""
        branches = [self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)]
        out: Tensor = self.drop(torch.cat(branches, 1))
        return out


def _modules(
    widths: Sequence[Widths], into: int, parts: Parts, *, large: int = 5
) -> tuple[list[Inception], int]:
    """Modules one after the other, and the channels the last one puts out."""
    found = []
    for each in widths:
        found.append(Inception(into, each, parts, large=large))
        into = each.out
    return found, into


class AuxiliaryHead(nn.Module):
    """A classifier in the middle of the network, used in training only: average, 1x1, two linear layers."""

    def __init__(self, into: int, classes: int, parts: Parts, width: float) -> None:
        super().__init__()
        squeezed, hidden = scaled(128, width), scaled(1024, width)
        self.average = nn.AdaptiveAvgPool2d(4)
        self.conv = ConvLayer(into, squeezed, 1, parts)
        self.fc1 = nn.Linear(squeezed * 4 * 4, hidden)
        self.act = make_activation(parts)
        self.drop = nn.Dropout(_AUXILIARY_DROPOUT) if parts.dropout else nn.Identity()
        self.fc2 = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, into, H, W) -> logits (N, K)."""
        x = self.conv(self.average(x)).flatten(1)
        logits: Tensor = self.fc2(self.drop(self.act(self.fc1(x))))
        return logits


class GoogLeNet(nn.Module):
    """See `googlenet`."""

    def __init__(self, classes: int, channels: int, parts: Parts, form: Form) -> None:
        super().__init__()
        paper, torchvision = form.variant == "paper", form.variant == "torchvision"
        first, second = scaled(64, form.width), scaled(192, form.width)
        w = {name: widths.times(form.width) for name, widths in MODULES.items()}
        large = 3 if torchvision else 5
        self.conv1 = ConvLayer(channels, first, 7, parts, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.response1 = ResponseNorm() if paper else nn.Identity()
        self.conv2 = ConvLayer(first, first, 1, parts)
        self.conv3 = ConvLayer(first, second, 3, parts, padding=1)
        self.response2 = ResponseNorm() if paper else nn.Identity()
        self.maxpool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        third, into = _modules([w["3a"], w["3b"]], second, parts, large=large)
        self.inception3a, self.inception3b = third
        self.maxpool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        fourth, into = _modules([w[f"4{each}"] for each in "abcde"], into, parts, large=large)
        self.inception4a, self.inception4b, self.inception4c, self.inception4d, self.inception4e = fourth
        self.maxpool4 = nn.MaxPool2d(2 if torchvision else 3, 2, ceil_mode=True)
        fifth, into = _modules([w["5a"], w["5b"]], into, parts, large=large)
        self.inception5a, self.inception5b = fifth
        head = (classes, parts, form.width)
        self.aux1 = AuxiliaryHead(w["4a"].out, *head) if form.auxiliary else None
        self.aux2 = AuxiliaryHead(w["4d"].out, *head) if form.auxiliary else None
        self.avgpool = GlobalAvgPool2d()
        self.drop = make_dropout(parts)
        self.fc = nn.Linear(into, classes)
        if torchvision:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eps = _TORCHVISION_EPS

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """(N, C, H, W) -> logits (N, K); in training with auxiliary heads also theirs, of 4a and of 4d."""
        x = self.response1(self.maxpool1(self.conv1(x)))
        x = self.maxpool2(self.response2(self.conv3(self.conv2(x))))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        behind_4a = self.inception4a(x)
        behind_4d = self.inception4d(self.inception4c(self.inception4b(behind_4a)))
        x = self.maxpool4(self.inception4e(behind_4d))
        x = self.inception5b(self.inception5a(x))
        logits: Tensor = self.fc(self.drop(self.avgpool(x).flatten(1)))
        if self.training and self.aux1 is not None and self.aux2 is not None:
            return logits, self.aux1(behind_4a), self.aux2(behind_4d)
        return logits


class SmallGoogLeNet(nn.Module):
    """See `googlenet_cifar`."""

    def __init__(self, classes: int, channels: int, parts: Parts, form: SmallForm) -> None:
        super().__init__()
        if form.module_3b not in ("paper", "slide"):
            raise ConfigError(
                f"The module_3b of googlenet-cifar must be 'paper' or 'slide', not {form.module_3b!r}."
            )
        first, second = scaled(64, form.width), scaled(192, form.width)
        self.stem = nn.Sequential(
            ConvLayer(channels, first, 7, parts, padding=3),
            ConvLayer(first, first, 1, parts),
            ConvLayer(first, second, 5, parts),
        )
        published = MODULES if form.module_3b == "paper" else MODULES | {"3b": SLIDES_3B}
        w = [each.times(form.width) for each in published.values()]
        third, into = _modules(w[:2], second, parts)
        fourth, into = _modules(w[2:7], into, parts)
        fifth, into = _modules(w[7:], into, parts)
        self.stage3, self.stage4, self.stage5 = (nn.Sequential(*each) for each in (third, fourth, fifth))
        self.pool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.pool4 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.average = GlobalAvgPool2d()
        self.drop = make_dropout(parts)
        self.fc = nn.Linear(into, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        x = self.pool3(self.stage3(self.stem(x)))  # (N, 480, 14, 14) for 32x32
        x = self.stage5(self.pool4(self.stage4(x)))  # (N, 1024, 7, 7)
        logits: Tensor = self.fc(self.drop(self.average(x).flatten(1)))
        return logits


def googlenet(
    *, classes: int, channels: int, size: int, parts: VariantParts = _PARTS, form: Form = _FORM
) -> nn.Module:
    """GoogLeNet: 6,624,904 parameters for 3x224x224 and 1000 classes, with auxiliary heads 13,004,888.

    Those are torchvision's, with its names of weights.  The paper's variant has 6,998,552 (and 13,378,280),
    the one with batch norm 7,005,832 (and 13,385,816).

    Args:
        classes: number of logits K.
        channels: of the images.
        size: height and width in pixels.
        parts: dropout 0.4 on the input of the one linear layer; auxiliary heads have 0.7 unless it is 0.
            Convolution dropout acts on what a module puts out.  The variant decides about the norm.
        form: variant, auxiliary heads, width.

    Returns:
        A network (N, C, H, W) -> (N, K).  With auxiliary heads it returns in training mode a tuple of three
        such logits: its own, and those of the heads behind modules 4a and 4d; the losses of these count 0.3 in
        training (train/objective.py).

    Raises:
        ConfigError: a variant that does not exist, or a norm that it does not have.

    Reference:
        S3.43, X3.6; Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich (2015), Going
        Deeper with Convolutions, table 1 and section 5.  https://arxiv.org/abs/1409.4842
        Differs: the auxiliary heads average to 4x4 whatever the size, as in torchvision; the response
        normalisation has AlexNet's constants, since the paper gives none.  torchvision's variant has 3x3
        kernels where the paper has 5x5, a last pool of 2x2, and dropout of 0.2.
    """
    return initialise(GoogLeNet(classes, channels, _decided(parts, form), form), parts.init)


def _decided(parts: VariantParts, form: Form) -> Parts:
    """The parts with the norm of the variant."""
    norms: dict[str, Literal["batch", "none"]] = {"paper": "none", "bn": "batch", "torchvision": "batch"}
    if form.variant not in norms:
        raise ConfigError(
            f"The variant of googlenet must be 'paper', 'bn' or 'torchvision', not {form.variant!r}."
        )
    norm = norms[form.variant]
    if parts.norm not in (AUTO, norm):
        others = " or ".join(repr(name) for name, has in norms.items() if has != norm)
        raise ConfigError(
            f"googlenet's variant {form.variant!r} has norm {norm!r}, so norm cannot be {parts.norm!r}. "
            f"Leave norm out, or choose the variant {others}."
        )
    return replace(parts, norm=norm)


def googlenet_cifar(
    *, classes: int, channels: int, size: int, parts: Parts = _SMALL_PARTS, form: SmallForm = _SMALL_FORM
) -> nn.Module:
    """GoogLeNet for CIFAR-10: 6,180,410 parameters for 3x32x32 and ten classes.

    Args:
        classes: number of logits K.
        channels: of the images.
        size: height and width in pixels.
        parts: no norm and no dropout by default; dropout acts on the input of the one linear layer, convolution
            dropout on what a module puts out.
        form: width, and which channels the second module has.

    Returns:
        A network (N, C, H, W) -> (N, K).

    Raises:
        ConfigError: a second module that is neither the paper's nor the slide's.

    Reference:
        S3.44, X3.5: the lecture's; the modules are those of Szegedy et al. (2015), Going Deeper with
        Convolutions.
        Differs: the lecture draws the second module with other channels than the paper's, which make 512
        together, but labels them 480 (E3.16).  Here it is the paper's by default.
    """
    return initialise(SmallGoogLeNet(classes, channels, parts, form), parts.init)
