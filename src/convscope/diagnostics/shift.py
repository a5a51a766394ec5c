"""How much does an update of the layers before change what a layer has to learn?

In: a network and one batch.  Out: for some layers, the gradient of their
weights before and after all layers in front of them were updated, and how far
the mean and variance of their input moved by that.

    n  images of the batch      L  layers looked at
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.compute.fences import seeded
from convscope.core.errors import ConfigError
from convscope.evaluate.subject import Result, Subject

from .moments import ChannelSums
from .recording import AtLeastOne, Count, layers, refuse_unlabelled, watching, weighted

Rate = Annotated[float, Field(ge=0)]
OUTSIDE = 0.1
"""Learning rate where no run gives one: that of Santurkar et al., figure 2."""


@dataclass(frozen=True)
class Shift(Result):
    """Internal covariate shift, layer by layer."""

    subject: str
    images: int
    """n."""
    lr: float
    """Step along the gradient that updates the layers."""
    layers: tuple[str, ...]
    """In the order of the calls, (L,)."""
    gradient: tuple[float, ...]
    """Length of the gradient G of the layer's own parameters, (L,)."""
    difference: tuple[float, ...]
    """|G - G'|, with G' the gradient once all layers before were updated, (L,)."""
    cosine: tuple[float, ...]
    """Between G and G'; 1: nothing turned; nan if one is zero, (L,)."""
    mean_shift: tuple[float, ...]
    """Root mean square over the channels of the input's (new mean - mean) / deviation, (L,)."""
    variance_ratio: tuple[float, ...]
    """New over old variance of the input, each the mean over the channels, (L,)."""
    mean_cosine: float
    """Mean over the layers where it is defined."""
    mean_difference: float
    """Mean over the layers of |G - G'| / |G|, where |G| > 0."""

    @property
    def sentence(self) -> str:
        """What was found."""
        return (
            f"{self.subject}: a gradient step of {self.lr:g} of the layers before changes a layer's gradient by "
            f"{self.mean_difference:.3g} times its length and turns it to a cosine of {self.mean_cosine:.3f} "
            f"(mean of {len(self.layers)} layers, {self.images} images of train, batch statistics)."
        )


def covariate_shift(
    *, subject: Subject, lr: Rate = 0.0, images: AtLeastOne = 128, layers: Count = 6
) -> Shift:
    """Internal covariate shift as the change of each layer's gradient by the update of the layers before it.

        G_i  = dL/dW_i (W_1 ... W_k; batch)        G'_i = dL/dW_i (W_1' ... W_{i-1}', W_i ... W_k; batch)
        ICS_i = |G_i - G'_i|,  and the cosine between them;   W' = W - lr dL/dW

    The network is in training mode, so batch norms use the batch; dropout draws the same numbers each time.
    Layers count in the order of their calls: norms and shortcuts in front are updated too.  In a run, the batch
    is that of the coming step.

    Args:
        lr: of the step; 0: that of the run at this moment, or 0.1 where there is none.
        images: of the training split, evenly spread and not augmented, where no run gives a batch.
        layers: how many convolutions and linear layers to look at, evenly spread over the depth without the
            first, which has none before it; 0: all.  Each costs one more pass, there and back.

    Raises:
        ConfigError: fewer than two convolutions or linear layers, or images without labels.

    Reference:
        Santurkar, Tsipras, Ilyas, Madry (2018), How Does Batch Normalization Help Optimization?, definition 2.1;
        S3.84.  https://arxiv.org/abs/1805.11604
        The input's moments beside it: Ioffe, Szegedy (2015), section 2.
        Differs: W' is a plain gradient step whatever the optimizer; the paper also measures with the gradient of
        the whole training set for linear networks.
    """
    inputs, labels = _batch(subject, images)
    rate = lr or (subject.moment.lr if subject.moment else OUTSIDE)
    look = _Look(subject, inputs, labels)
    if len(look.heavy) < 2:
        raise ConfigError("The shift needs two or more convolutions or linear layers, one before the other.")
    chosen = _spread(list(look.heavy)[1:], layers)
    whole = look.gradients(look.model.parameters())
    after = {p: (p - rate * g).detach() for p, g in whole.items()}
    rows = [_row(look, name, whole, after) for name in chosen]
    lengths, differences, cosines, shifts, ratios = zip(*rows, strict=True)
    relative = [d / g for d, g in zip(differences, lengths, strict=True) if g > 0]
    defined = [c for c in cosines if not np.isnan(c)]
    return Shift(
        subject=subject.name,
        images=len(inputs),
        lr=rate,
        layers=tuple(chosen),
        gradient=lengths,
        difference=differences,
        cosine=cosines,
        mean_shift=shifts,
        variance_ratio=ratios,
        mean_cosine=float(np.mean(defined)) if defined else float("nan"),
        mean_difference=float(np.mean(relative)) if relative else float("nan"),
    )


def _batch(subject: Subject, images: int) -> tuple[Tensor, Tensor]:
    if subject.moment:
        return subject.moment.batch(subject.moment.step)
    chosen = subject.images("train", images)
    refuse_unlabelled(chosen, "the gradient of the loss")
    inputs = subject.inputs(chosen)
    return inputs, chosen.labels.to(inputs.device)


def _spread(names: list[str], count: int) -> list[str]:
    if count == 0 or count >= len(names):
        return names
    return [names[i] for i in np.linspace(0, len(names) - 1, count).round().astype(int)]


class _Look:
    """One batch through the network in training mode, with the same dropout each time."""

    def __init__(self, subject: Subject, inputs: Tensor, labels: Tensor) -> None:
        self.model, self.inputs, self.labels = subject.model, inputs, labels
        self.seed = subject.streams.torch_seed("inspect")
        self.order = layers(self.model, inputs[:1])
        self.heavy = weighted(self.order)
        self.model.train()

    def gradients(self, parameters: Iterable[nn.Parameter]) -> dict[nn.Parameter, Tensor]:
        """Of the batch's mean loss; zero where a parameter does not matter."""
        listed = list(parameters)
        with seeded(self.seed), torch.enable_grad():
            loss = F.cross_entropy(self.model(self.inputs), self.labels)
            found = torch.autograd.grad(loss, listed, allow_unused=True)
        return {p: torch.zeros_like(p) if g is None else g for p, g in zip(listed, found, strict=True)}

    def before(self, name: str) -> list[nn.Parameter]:
        """Parameters of all layers that are called before this one."""
        own = set(self.order[name].parameters())
        names = list(self.order)
        return [
            p
            for earlier in names[: names.index(name)]
            for p in self.order[earlier].parameters()
            if p not in own
        ]


def _row(
    look: _Look, name: str, whole: Mapping[nn.Parameter, Tensor], after: Mapping[nn.Parameter, Tensor]
) -> tuple[float, float, float, float, float]:
    own, front = list(look.order[name].parameters()), look.before(name)
    _, mean, variance = _seen(look, name, own)
    kept = [p.detach().clone() for p in front]
    with torch.no_grad():
        for p in front:
            p.copy_(after[p])
    turned, new_mean, new_variance = _seen(look, name, own)
    with torch.no_grad():
        for p, value in zip(front, kept, strict=True):
            p.copy_(value)
    g = torch.cat([whole[p].flatten() for p in own]).double()
    length, other = float(g.norm()), float(turned.norm())
    cosine = float(g @ turned) / (length * other) if length * other > 0 else float("nan")
    moved = (new_mean - mean) / np.sqrt(np.maximum(variance, 1e-30))
    ratio = float(new_variance.mean() / variance.mean()) if variance.mean() > 0 else float("nan")
    return length, float((g - turned).norm()), cosine, float(np.sqrt(np.mean(moved**2))), ratio


def _seen(look: _Look, name: str, own: list[nn.Parameter]) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """The layer's gradient, and mean and variance per channel of what enters it."""
    sums = ChannelSums()
    with watching({name: look.order[name]}, lambda _, entered, output: sums.add(entered)):
        found = look.gradients(own)
    return torch.cat([found[p].flatten() for p in own]).double(), *sums.moments()
