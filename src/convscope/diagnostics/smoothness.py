"""How far can the gradient be trusted?

At a moment of training, with its batch, the weights w are moved along the
gradient g = grad f(w) by several steps eta g, and three things are looked at
(Santurkar et al. 2018, section 3.1, figure 4):

    range of the loss            smallest and largest f(w - eta g)
    gradient predictiveness      smallest and largest |grad f(w - eta g) - g|
    effective beta               largest |grad f(w - eta g) - g| / |eta g|

A small beta means that the gradient still holds a step further on.  What is
called by these names elsewhere measures something else, and is here under
its own: the band over learning rates, the change of the last layer's gradient
from one step to the next, and the second difference of the loss.

    P  parameters      E  steps eta      B  batches
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from convscope.compute import fences
from convscope.core.errors import ConfigError
from convscope.evaluate.subject import Result, Subject

from .weightspace import Batch, ImageLoss, borrowed, flat, image_loss, unflat

LossAndGradient = Callable[[Tensor], tuple[float, Tensor]]
"""Weights (P,) -> the loss and its gradient (P,)."""


@dataclass(frozen=True)
class Walk:
    """What happens along the gradient."""

    start: float
    """The loss before the first step."""
    gradient: float
    """Length of the gradient there."""
    losses: np.ndarray
    """(E,): the loss after each step, all of them from the start."""
    changes: np.ndarray
    """(E,): distance of the gradient from that at the start."""
    distances: np.ndarray
    """(E,): how far the weights moved."""

    @property
    def beta(self) -> float:
        """The largest change per distance; not a number where nothing moved."""
        moved = self.distances > 0
        return float((self.changes[moved] / self.distances[moved]).max()) if moved.any() else math.nan


def walk(function: LossAndGradient, start: Tensor, steps: Sequence[float]) -> Walk:
    """Move against the gradient at the start, as training does, by each of the steps.

    Args:
        function: the loss and its gradient at given weights; the same function each time.
        start: (P,).
        steps: multiples of the gradient.
    """
    loss, gradient = function(start)
    gradient = gradient.clone()
    length = float(gradient.double().norm())
    losses, changes = [], []
    for step in steps:
        there, changed = function(start - step * gradient)
        losses.append(there)
        changes.append(float((changed - gradient).double().norm()))
    return Walk(loss, length, np.array(losses), np.array(changes), np.abs(steps) * length)


@dataclass(frozen=True)
class Smoothness(Result):
    """The three measures along the gradient, and two proxies."""

    name: str
    """The network and its data, and the step while it is trained."""
    batches: int
    """B."""
    batch: int
    """Images of the largest batch."""
    loss_name: str
    lr: float
    """The learning rate that the steps are multiples of."""
    steps: np.ndarray
    """(E,): the eta, so that the weights move by eta times the gradient."""
    losses: np.ndarray
    """(B, E): the loss after each step."""
    changes: np.ndarray
    """(B, E): distance of the gradient from that at the start."""
    distances: np.ndarray
    """(B, E): how far the weights moved."""
    start_loss: float
    """Before moving; mean over the batches, as are all that follow."""
    gradient: float
    """Length of the gradient before moving."""
    loss_low: float
    """The smallest loss along the gradient."""
    loss_high: float
    """The largest."""
    change_low: float
    """Gradient predictiveness: the smallest distance of the gradient from that at the start."""
    change_high: float
    """The largest."""
    beta: float
    """Effective beta; not a number where the learning rate or the gradient is zero."""
    last_layer: str
    """Name of the last linear layer's weights; without such a layer of the last convolution's."""
    last_layer_change: float
    """Proxy of S2.31: distance of the last layer's gradients of two steps, the second on the next batch after one
    plain update with the learning rate."""
    second_difference: float
    """Proxy of S2.33: |2 f1 - f0 - f2| of the losses of three batches, with a plain update between them."""

    @property
    def sentence(self) -> str:
        """The three measures."""
        start = f"{self.name}: after {self.steps[0]:.3g} to {self.steps[-1]:.3g} times the gradient"
        if math.isnan(self.beta):
            return f"{start}, nothing moves: the learning rate or the gradient is zero."
        over = f" (mean over {self.batches} batches)" if self.batches > 1 else ""
        return (
            f"{start}, the loss lies between {self.loss_low:.4g} and {self.loss_high:.4g}, from {self.start_loss:.4g}; "
            f"the gradient, of length {self.gradient:.3g}, changes by {self.change_low:.3g} to "
            f"{self.change_high:.3g}, and the effective beta is {self.beta:.3g}{over}."
        )


def smoothness(
    *,
    subject: Subject,
    lr: Annotated[float, Field(ge=0)] = 0.0,
    low: Annotated[float, Field(gt=0)] = 0.5,
    high: Annotated[float, Field(gt=0)] = 4.0,
    points: Annotated[int, Field(ge=2)] = 8,
    batches: Annotated[int, Field(ge=0)] = 0,
    batch: Annotated[int, Field(ge=2)] = 128,
    loss: str = "auto",
) -> Smoothness:
    """Loss and gradient along the gradient, at this moment of training.

    While a network is trained, it looks at the batch of the coming step, augmented as training has it.
    Otherwise it looks at batches of the training split, drawn without augmentation.  Norms use the statistics of
    the batch, dropout drops the same at every point, and only the loss of the images counts: no decay, no penalty.
    The steps are those of plain gradient descent, whatever the optimizer.  Costs points + 3 gradients a batch.

    Args:
        subject: the network.
        lr: learning rate; 0: that of the coming step, or the recipe's of a run that is not being trained.
        low: the first step in learning rates.
        high: the last.
        points: steps from low to high, at equal distances.
        batches: 0: one while a network is trained, else 8.
        batch: images of each, where the network is not being trained.
        loss: auto: what the run was trained with, else cross-entropy; or a name of `convscope list losses`.

    Raises:
        ConfigError: no learning rate is known, or low is not below high.

    Reference:
        Santurkar, Tsipras, Ilyas, Madry (2018), How Does Batch Normalization Help Optimization?, section 3.1
        and figure 4.  https://arxiv.org/abs/1805.11604
        S2.26-36.  From half a learning rate to four: where the rate is 0.1 the walk ends at 0.4 times the
        gradient, as in that figure.
    """
    if low >= high:
        raise ConfigError(f"The steps go from low to high: low must be below high, not {low:g} and {high:g}.")
    rate = _rate(subject, lr)
    shown = _batches(subject, batches or (1 if subject.moment else 8), batch)
    cost, steps = image_loss(subject, loss), np.linspace(low, high, points) * rate
    with borrowed(subject.model, "batch") as weights:
        subject.model.train()
        start = flat(list(weights.values()))
        functions = [_function(subject, each, cost) for each in shown]
        walks = [walk(function, start, steps.tolist()) for function in functions[:-2]]
        name, layer = _last_layer(subject.model)
        proxies = [_proxies(functions[i : i + 3], start, rate, layer) for i in range(len(walks))]
    losses, changes, distances = (
        np.stack([getattr(each, what) for each in walks]) for what in ("losses", "changes", "distances")
    )
    return Smoothness(
        name=subject.name,
        batches=len(walks),
        batch=max(len(labels) for _, labels in shown[:-2]),
        loss_name=cost.text,
        lr=rate,
        steps=steps,
        losses=losses,
        changes=changes,
        distances=distances,
        start_loss=_mean(each.start for each in walks),
        gradient=_mean(each.gradient for each in walks),
        loss_low=float(losses.min(1).mean()),
        loss_high=float(losses.max(1).mean()),
        change_low=float(changes.min(1).mean()),
        change_high=float(changes.max(1).mean()),
        beta=_mean(each.beta for each in walks),
        last_layer=name,
        last_layer_change=_mean(change for change, _ in proxies),
        second_difference=_mean(difference for _, difference in proxies),
    )


def band(curves: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest loss at each step over runs with different learning rates: a proxy (S2.28).

    Not what Santurkar et al. draw: these runs are at different weights at the same step, and the band shows
    how much the learning rate matters, not how the loss varies around one place.

    Args:
        curves: one loss a step, of each run; all with as many steps.

    Returns:
        Two arrays (steps,).

    Raises:
        ConfigError: no curve, or curves of different lengths.
    """
    lengths = sorted({len(curve) for curve in curves})
    if len(lengths) != 1:
        raise ConfigError(
            "A band needs one loss a step of each run, and as many of each; there are "
            f"{len(curves)} curves with {' and '.join(map(str, lengths)) or 'no'} steps."
        )
    stacked = np.array(curves, dtype=np.float64)
    return stacked.min(0), stacked.max(0)


def second_differences(losses: Sequence[float]) -> np.ndarray:
    """|2 f(s) - f(s-1) - f(s+1)| of the losses of successive steps: a proxy of beta-smoothness (S2.33).

    Args:
        losses: f at steps 0..S-1; successive batches differ, so this contains their noise.

    Returns:
        (S-2,): of the steps 1..S-2.
    """
    return np.abs(np.diff(np.asarray(losses, dtype=np.float64), n=2))


def _rate(subject: Subject, lr: float) -> float:
    if lr:
        return lr
    if subject.moment is not None:
        return subject.moment.lr
    if subject.recipe is not None:
        return subject.recipe.lr
    raise ConfigError("Smoothness moves by multiples of a learning rate, and a module has none: give lr=...")


def _batches(subject: Subject, count: int, size: int) -> list[Batch]:
    """So many to walk on, and two more for what comes after the last."""
    if subject.moment is not None:
        return [subject.moment.batch(subject.moment.step + i) for i in range(count + 2)]
    images = subject.images("train")
    device = next(subject.model.parameters()).device
    draw = subject.streams.generator("inspect")
    found = []
    for _ in range(count + 2):
        which = torch.from_numpy(draw.choice(len(images), min(size, len(images)), replace=False))
        found.append((subject.normalise(images.batch(which).to(device)), images.labels[which].to(device)))
    return found


def _function(subject: Subject, batch: Batch, cost: ImageLoss) -> LossAndGradient:
    model, (images, labels) = subject.model, batch
    step = subject.moment.step if subject.moment else 0
    parameters = list(model.parameters())

    def loss_and_gradient(weights: Tensor) -> tuple[float, Tensor]:
        with torch.no_grad():
            for parameter, part in zip(parameters, unflat(weights, parameters), strict=True):
                parameter.copy_(part)
        # Dropout draws from the global generator: the same each time, else f would change between the points.
        with fences.seeded(subject.streams.torch_seed("inspect", step)), torch.enable_grad():
            loss = cost(model(images).float(), labels).mean()
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        found = [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, parameters, strict=True)]
        return float(loss.detach()), flat(found)

    return loss_and_gradient


def _last_layer(model: nn.Module) -> tuple[str, slice]:
    """The weights of the last linear layer, or else the last that are no vector, and where in (P,) they are."""
    linear = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    first = 0
    found: dict[str, slice] = {}
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 or not found:
            found[name] = slice(first, first + parameter.numel())
        first += parameter.numel()
    chosen = [name for name in found if name in linear] or list(found)
    return chosen[-1], found[chosen[-1]]


def _proxies(
    functions: Sequence[LossAndGradient], start: Tensor, rate: float, layer: slice
) -> tuple[float, float]:
    """Three steps of plain gradient descent: change of the layer's gradient, second difference of the loss."""
    losses, gradients, weights = [], [], start
    for function in functions:
        loss, gradient = function(weights)
        losses.append(loss)
        gradients.append(gradient[layer].double())
        weights = weights - rate * gradient
    return float((gradients[1] - gradients[0]).norm()), float(second_differences(losses)[0])


def _mean(values: object) -> float:
    return float(np.mean(list(values)))  # type: ignore[call-overload]
