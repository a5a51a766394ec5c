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
from convscope.core.config import Recipe
from convscope.core.streams import Streams
from convscope.data import Batches

from . import memory, schedule
from .ema import Ema
from .finite import stop_unless_finite
from .freeze import learn
from .objective import Objective, logits_of
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
        # Of a mixed image the class with the larger share counts.
        true = labels if labels.ndim == 1 else labels.argmax(1)
        self.images += len(labels)
        self.correct += int((logits.argmax(1) == true).sum())
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
    objective: Objective
    ema: Ema | None = None
    parts: int = 1
    """In which a batch is processed one after another; raised when the device's memory runs out."""
    step: int = 0
    """Updates made."""
    tally: Tally = field(default_factory=Tally)
    best: dict[str, Any] | None = None
    """The best validation record so far."""
    seconds: float = 0.0
    """Spent in this run so far, over all its launches."""
    stopped: bool = False
    """Whether a hook ended the run before its last step."""
    body: tuple[str, ...] = ()
    """Names of the parameters that wait until the step `frozen_until`."""
    notes: tuple[str, ...] = ()
    """What building it had to say."""

    @property
    def shown(self) -> nn.Module:
        """The network that is scored and kept: the average over the steps where there is one."""
        return self.ema.model if self.ema else self.model

    @property
    def epoch(self) -> float:
        """Epochs completed, as a fraction."""
        return self.step / self.batches.per_epoch

    @property
    def small_until(self) -> int:
        """The first step whose images have their full size."""
        return round(self.recipe.progressive * self.total)

    @property
    def frozen_until(self) -> int:
        """The first step in which the body learns."""
        return round(self.recipe.freeze_epochs * self.batches.per_epoch)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """What the network learns from at a step: input (n, C, H, W) and labels (n,)."""
        images, labels = self.batches.at(step)
        return (shrunk(images) if step < self.small_until else images), labels

    def work(self, first: int, last: int) -> float:
        """The cost of the steps from `first` up to `last`, in steps at full size with everything learning.

        Small images cost 9/16; with a frozen body a step is hardly more than its forward pass, a third.
        """
        return self._work_until(last) - self._work_until(first)

    def _work_until(self, step: int) -> float:
        small, frozen = min(step, self.small_until), min(step, self.frozen_until)
        saved_by_both = min(small, frozen) * (1 - 9 / 16) * (2 / 3)
        return step - small * (1 - 9 / 16) - frozen * (2 / 3) + saved_by_both

    def rate(self) -> float:
        """The learning rate of the coming step."""
        return schedule.rate(self.recipe, self.step, self.total, self.batches.per_epoch)


Hook = Callable[[Session], None]


def train_steps(session: Session, hooks: Sequence[Hook]) -> None:
    """Take all remaining steps, with the hooks at every moment."""
    while True:
        for hook in hooks:
            hook(session)
        if session.step >= session.total or session.stopped:
            return
        take_step(session)


def take_step(session: Session) -> None:
    """One update.

    Raises:
        Diverged: the loss or a gradient is not finite; the weights are as they were before the step.
        NoMemory: the device has no room for the batch, or for what the optimizer remembers.
    """
    with memory.told(session):
        images, labels = session.batch(session.step)
        set_rate(session.optimizer, session.rate())
        loss, logits = memory.sparing(session, lambda: gradients(session, images, labels))
        stop_unless_finite(session, loss, images)
        session.optimizer.step()
        if session.ema:
            session.ema.update(session.model, session.step)
        session.tally.add(logits, labels, loss)
    session.step += 1


def gradients(session: Session, images: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    """Leave the gradient of the objective over a batch in the parameters.

    Args:
        session: its model gets the gradients; nothing else of it changes.
        images: (n, C, H, W).
        labels: (n,) or shares (n, K).

    Returns:
        The mean loss without penalties, and the logits (n, K) without their history.
    """
    model, weights = session.model, session.objective.weights(labels)
    learn(model, session.body, frozen=session.step < session.frozen_until)
    model.zero_grad(set_to_none=True)
    fences.reseed(session.streams.torch_seed("dropout", session.step))
    total, outputs = 0.0, []
    sizes = memory.part_sizes(session, len(images))
    for some, true, weight in zip(*(torch.split(t, sizes) for t in (images, labels, weights)), strict=True):
        with session.lowered(model):
            output = model(some)
        loss = session.objective(output, true, weight)
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
        outputs.append(logits_of(output).detach())
    session.objective.add_penalty(model)
    return total, torch.cat(outputs)


def shrunk(images: Tensor) -> Tensor:
    """Images at 3/4 of their height and width, at 9/16 of the cost: (n, C, H, W) -> (n, C, 3H/4, 3W/4).

    A network that averages over the map learns from them what it needs at full size too, but for the
    finest detail, so a run may begin with them (progressive resizing).
    """
    size = tuple(3 * side // 4 for side in images.shape[-2:])
    return F.interpolate(images, size, mode="bilinear", antialias=True)
