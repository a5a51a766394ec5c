"""What do the layers put out, and how much of it is never used?

In: a network and labelled images.  Out: mean and deviation of every layer's
output and of the gradient that comes back to it, by depth, and the units that
no image wakes.

    N  images      L  layers      C  channels or features: the units of a layer
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.evaluate.subject import Result, Subject
from convscope.models.blocks import Mish, Swish

from .recording import Count, Norms, Split, layers, parts, refuse_unlabelled, use_norms, watching, weighted

RECTIFIERS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Hardswish, Swish, Mish,
)  # fmt: skip
"""Activations that give zero, or little, below zero, and keep the sign."""


@dataclass(frozen=True)
class Activations(Result):
    """Every layer's output over the images."""

    subject: str
    split: str
    images: int
    norms: str
    """What batch norms used: their running statistics, or those of the images."""
    layers: tuple[str, ...]
    """In the order of the calls, (L,)."""
    kinds: tuple[str, ...]
    """Their classes, (L,)."""
    weighted: tuple[bool, ...]
    """Whether it is a convolution or linear layer, (L,)."""
    mean: tuple[float, ...]
    """Over images, places and units, (L,)."""
    variance: tuple[float, ...]
    """(L,)."""
    zeros: tuple[float, ...]
    """Share of exact zeros, (L,)."""
    gradient_variance: tuple[float, ...]
    """Of d (loss of one image) / d output, (L,); nan where no gradient arrives."""
    units: tuple[int, ...]
    """C, (L,)."""
    silent: tuple[int, ...]
    """Units that are not above zero for any image at any place, (L,)."""
    rectifying: tuple[bool, ...]
    """Whether it is a ReLU or one of its relatives, where silent means dead, (L,)."""
    dead: int
    """Silent units of the rectifying layers."""
    dead_share: float
    """Among all units of the rectifying layers; nan if there are none."""
    forward_factor: float
    """By how much the variance of the output grows from a convolution or linear layer to the next, geometric mean."""
    backward_factor: float
    """By how much the gradient's variance grows on the way back from one of these layers to the one before."""

    @property
    def sentence(self) -> str:
        """What was found."""
        count = sum(units for units, on in zip(self.units, self.rectifying, strict=True) if on)
        dead = (
            f"{self.dead} of {count} units ({self.dead_share:.1%}) of the rectifying layers are dead"
            if count
            else "no layer is a rectifying module, so that no unit can be called dead"
        )
        return (
            f"{self.subject}: {dead}; from one layer with weights to the next the variance grows "
            f"{self.forward_factor:.3g} times forward, that of the gradient {self.backward_factor:.3g} times backward "
            f"({self.images} images of {self.split}, {_SPELT[self.norms]})."
        )


_SPELT = {"running": "running statistics in batch norms", "batch": "batch statistics in batch norms"}


def activations(
    *, subject: Subject, split: Split = "val", images: Count = 250, norms: Norms = "running"
) -> Activations:
    """Outputs and gradients of every layer: moments, zeros and dead units.

    A unit is a channel of a map or a feature.  It is dead if the output of its ReLU, leaky ReLU, ELU, GELU or
    alike is above zero for no image at no place; since these keep the sign, so was what entered.  What a network
    calls as a function (`F.relu`) is no layer: there look at `silent` of the layer before.

    Args:
        split: val or train.
        images: evenly spread over the split; 0: all.
        norms: batch norms use their running statistics, as when the network is used, or those of up to 250
            images at a time, as in training: the way to look at a network that has not learned yet.

    Raises:
        ConfigError: images without labels.

    Reference:
        Glorot, Bengio (2010), Understanding the difficulty of training deep feedforward neural networks,
        section 4 (variance forward and back); S3.72.
        Dead units: Lu, Shin, Su, Karniadakis (2020), Dying ReLU and Initialization; S1.7.
    """
    chosen = subject.images(split, images)
    refuse_unlabelled(chosen, "the gradient of the loss")
    model = subject.model
    found = layers(model, subject.inputs(chosen.subset(torch.arange(1))))
    use_norms(model, norms)
    sums = {name: _Sums() for name in found}

    def see(name: str, entered: Tensor, output: Tensor) -> None:
        sums[name].add(output)

    with torch.enable_grad(), watching(found, see):
        for inputs, labels in parts(subject, chosen):
            loss = F.cross_entropy(model(inputs), labels, reduction="sum")
            torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return _result(subject, split, len(chosen), norms, found, sums)


class _Sums:
    """Running sums of one layer's output and of its gradient."""

    def __init__(self) -> None:
        self.forward = torch.zeros(4, dtype=torch.float64)
        """Count, sum, sum of squares, zeros."""
        self.backward = torch.zeros(3, dtype=torch.float64)
        """Count, sum, sum of squares."""
        self.awake = torch.zeros(1, dtype=torch.bool)
        """Whether each unit was above zero, (C,)."""

    def add(self, output: Tensor) -> None:
        value = output.detach()
        zeros = value.numel() - int(value.count_nonzero())
        self.forward += torch.tensor([*_sums(value), zeros], dtype=torch.float64)
        # The sum over a map is several times as fast as its maximum, channels-last.
        self.awake = self.awake | (value.clamp(min=0).sum(_all_but(value, 1)) > 0).cpu()
        if output.requires_grad:
            output.register_hook(self._back)  # type: ignore[no-untyped-call]

    def _back(self, gradient: Tensor) -> None:
        self.backward += torch.tensor(_sums(gradient), dtype=torch.float64)


def _sums(value: Tensor) -> tuple[float, float, float]:
    """Count, sum, sum of squares: of an image in float32, of the images in float64, ten times as fast."""
    places = _all_but(value, 0)
    total, squares = (each.sum(places).double().sum() for each in (value, value.square()))
    return float(value.numel()), float(total), float(squares)


def _all_but(value: Tensor, kept: int) -> tuple[int, ...]:
    return tuple(axis for axis in range(value.dim()) if axis != kept)


def _moments(sums: Tensor) -> tuple[float, float]:
    """Mean and variance; nan of nothing."""
    count, total, squares = sums[:3].tolist()
    if not count:
        return float("nan"), float("nan")
    return total / count, max(0.0, squares / count - (total / count) ** 2)


def _result(
    subject: Subject,
    split: str,
    images: int,
    norms: str,
    found: Mapping[str, nn.Module],
    sums: Mapping[str, _Sums],
) -> Activations:
    forward = [_moments(each.forward) for each in sums.values()]
    back = [_moments(each.backward)[1] for each in sums.values()]
    heavy = weighted(found)
    marks = [name in heavy for name in found]
    rectifying = [isinstance(module, RECTIFIERS) for module in found.values()]
    silent = [int((~each.awake).sum()) for each in sums.values()]
    units = [len(each.awake) for each in sums.values()]
    dead = sum(n for n, on in zip(silent, rectifying, strict=True) if on)
    among = sum(n for n, on in zip(units, rectifying, strict=True) if on)
    return Activations(
        subject=subject.name,
        split=split,
        images=images,
        norms=norms,
        layers=tuple(found),
        kinds=tuple(type(module).__name__ for module in found.values()),
        weighted=tuple(marks),
        mean=tuple(mean for mean, _ in forward),
        variance=tuple(variance for _, variance in forward),
        zeros=tuple(float(each.forward[3] / each.forward[0]) for each in sums.values()),
        gradient_variance=tuple(back),
        units=tuple(units),
        silent=tuple(silent),
        rectifying=tuple(rectifying),
        dead=dead,
        dead_share=dead / among if among else float("nan"),
        forward_factor=_growth([v for (_, v), on in zip(forward, marks, strict=True) if on]),
        backward_factor=_growth([v for v, on in zip(back, marks, strict=True) if on][::-1]),
    )


def _growth(variances: list[float]) -> float:
    """The factor per layer that leads from the first to the last; nan if there is no way to say."""
    if len(variances) < 2 or not variances[0] > 0:
        return float("nan")
    return float((variances[-1] / variances[0]) ** (1 / (len(variances) - 1)))
