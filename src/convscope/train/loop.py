"""How does a network learn?

One step after another; everything else (checkpoints, validation, progress,
stopping) is a hook.  Hooks run between steps, at the moment when `step`
updates have been made: before the first, after the last, and at every moment
in between.  A checkpoint is therefore the state *before* the hooks of its
moment, and a run continued from it meets exactly the moments the
uninterrupted run meets.

    n  images of the batch      K  classes
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.compute import fences
from convscope.core import catalog
from convscope.core.config import Recipe
from convscope.core.streams import Streams
from convscope.data import Batches

from . import schedule
from .finite import stop_unless_finite
from .optim import set_rate


@dataclass
class Tally:
    """Sums over the training steps since the last validation; part of the checkpoint."""

    images: int = 0
    correct: int = 0
    loss: float = 0.0
    """Sum over the images."""

    def add(self, logits: Tensor, labels: Tensor, loss: float) -> None:
        """Count one batch."""
        self.images += len(labels)
        self.correct += int((logits.argmax(1) == labels).sum())
        self.loss += loss * len(labels)


@dataclass
class Session:
    """A run in progress: everything a step reads or changes."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Batches
    recipe: Recipe
    streams: Streams
    total: int
    """Steps of the whole run."""
    lowered: Callable[[nn.Module], AbstractContextManager[None]]
    """Entered around each forward pass: lower precision where it was found right and faster."""
    step: int = 0
    """Updates made."""
    tally: Tally = field(default_factory=Tally)
    best: dict[str, Any] | None = None
    """The best validation record so far."""
    seconds: float = 0.0
    """Spent in this run so far, over all its launches."""

    @property
    def epoch(self) -> float:
        """Epochs completed, as a fraction."""
        return self.step / self.batches.per_epoch

    @property
    def small_until(self) -> int:
        """The first step whose images have their full size."""
        return round(self.recipe.progressive * self.total)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """What the network learns from at a step: input (n, C, H, W) and labels (n,)."""
        images, labels = self.batches.at(step)
        return (shrunk(images) if step < self.small_until else images), labels

    def work(self, first: int, last: int) -> float:
        """The cost of the steps from `first` up to `last`, in steps at full size; a small one costs 9/16."""
        small = max(0, min(last, self.small_until) - first)
        return last - first - small * (1 - 9 / 16)

    def rate(self) -> float:
        """The learning rate of the coming step."""
        return schedule.rate(self.recipe, self.step, self.total, self.batches.per_epoch)


Hook = Callable[[Session], None]


def train_steps(session: Session, hooks: Sequence[Hook]) -> None:
    """Take all remaining steps, with the hooks at every moment."""
    while True:
        for hook in hooks:
            hook(session)
        if session.step >= session.total:
            return
        take_step(session)


def take_step(session: Session) -> None:
    """One update.

    Raises:
        Diverged: the loss or a gradient is not finite; the weights are as they were before the step.
    """
    model, optimizer = session.model, session.optimizer
    images, labels = session.batch(session.step)
    set_rate(optimizer, session.rate())
    fences.reseed(session.streams.torch_seed("dropout", session.step))
    model.train()
    with session.lowered(model):
        logits = model(images).float()
    loss = loss_of(session.recipe)(logits, labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    value = float(loss.detach())
    stop_unless_finite(session, value, images)
    optimizer.step()
    session.tally.add(logits.detach(), labels, value)
    session.step += 1


def shrunk(images: Tensor) -> Tensor:
    """Images at 3/4 of their height and width, at 9/16 of the cost: (n, C, H, W) -> (n, C, 3H/4, 3W/4).

    A network that averages over the map learns from them what it needs at full size too, but for the
    finest detail, so a run may begin with them (progressive resizing).
    """
    size = tuple(3 * side // 4 for side in images.shape[-2:])
    return F.interpolate(images, size, mode="bilinear", antialias=True)


def loss_of(recipe: Recipe) -> Callable[[Tensor, Tensor], Tensor]:
    """The recipe's loss as a function of logits (n, K) and labels (n,)."""
    loss = catalog.find("losses", recipe.loss.name).load()
    return lambda logits, labels: loss(logits, labels, **recipe.loss.options)
