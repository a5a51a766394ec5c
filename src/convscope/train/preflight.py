"""Is it worth starting?  What will it take?

Before the first step, on a copy of the network: are the inputs scaled (S3.74),
is the first loss that of a network that knows nothing (S1.25), where does the
network lie (S1.23), how long does a step take?  Nothing of the run changes.
"""

import copy
import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import nn

from convscope.compute import fences
from convscope.compute.device import Memory, Placement, memory_report

from . import memory
from .loop import Session, gradients

TIMED_S = 0.4
"""Time spent on measuring a step; at least two steps are made."""


@dataclass(frozen=True)
class Preflight:
    """What was found before the first step."""

    first_loss: float
    """Mean loss of the first batch; before any step if the run is new."""
    chance_loss: float | None
    """ln K: the cross-entropy of a network that knows nothing; None for other losses."""
    input_mean: float
    input_std: float
    """Of the first batch as the network sees it."""
    step_s: float
    """Forward, backward and data of one step."""
    remaining_s: float
    """Of all steps that are left; validation and checkpoints not counted."""
    placement: str
    memory: Memory
    precision: str
    warnings: tuple[str, ...]


def preflight(session: Session, placement: Placement, precision: str, classes: int) -> Preflight:
    """Look at the first batch and time some steps, on a copy."""
    step = min(session.step, session.total - 1)
    trial = replace(session, model=copy.deepcopy(session.model), step=step, lowered=_float32)
    images, labels = trial.batch(step)
    first, _ = memory.sparing(trial, lambda: gradients(trial, images, labels))
    mean, std = float(images.mean()), float(images.std())
    session.parts = trial.parts
    chance = math.log(classes) if session.recipe.loss.name == "cross-entropy" else None
    step_s = _time_of_a_step(replace(trial, lowered=session.lowered))
    return Preflight(
        first_loss=first,
        chance_loss=chance,
        input_mean=mean,
        input_std=std,
        step_s=step_s,
        remaining_s=step_s * session.work(step, session.total) / session.work(step, step + 1),
        placement=str(placement),
        memory=memory_report(session.batches.device),
        precision=precision,
        warnings=warnings(first if session.step == 0 else None, chance, mean, std),
    )


def _float32(model: nn.Module) -> AbstractContextManager[None]:
    return nullcontext()


def _time_of_a_step(trial: Session) -> float:
    """Seconds; the median of the steps made in `TIMED_S`, without the first, which pays for set-up."""
    times: list[float] = []
    while len(times) < 3 or (sum(times) < TIMED_S and len(times) < 20):
        start = time.perf_counter()
        gradients(trial, *trial.batch(trial.step))
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[len(times[1:]) // 2]


def warnings(first_loss: float | None, chance_loss: float | None, mean: float, std: float) -> tuple[str, ...]:
    """What a careful person would remark; empty if all is well.

    Args:
        first_loss: before any step; None if the run continues.
        chance_loss: ln K; None where the loss is no cross-entropy.
        mean: of the input.
        std: of the input.
    """
    found = []
    if abs(mean) > 1 or not 0.2 <= std <= 5:
        found.append(
            f"The input has mean {mean:.2f} and deviation {std:.2f}; about 0 and 1 is what initialisations "
            f"assume (S3.74). Are the pixels what you think they are?"
        )
    # Kaiming's variance at the last layer alone lifts the first loss of ResNet-20 to about 2.6.
    if first_loss is not None and chance_loss is not None and first_loss > 2 * chance_loss + 0.5:
        found.append(
            f"The first loss is {first_loss:.3f}; a network that knows nothing has ln K = {chance_loss:.3f} "
            f"(S1.25). The initialisation is far too large, or the labels are not what they should be."
        )
    return tuple(found)


@dataclass(frozen=True)
class Overfit:
    """Whether the network can learn one batch by heart."""

    images: int
    steps: int
    first_loss: float
    last_loss: float

    @property
    def learned(self) -> bool:
        """Whether the loss fell below a tenth."""
        return self.last_loss < self.first_loss / 10

    def __str__(self) -> str:
        verdict = (
            "the network can learn these images"
            if self.learned
            else "it should have fallen below a tenth: look at the labels, the learning rate and the network"
        )
        return (
            f"One batch of {self.images} images by heart: loss {self.first_loss:.3f} -> {self.last_loss:.3f} "
            f"in {self.steps} steps; {verdict}."
        )


def overfit_one_batch(session: Session, steps: int = 200) -> Overfit:
    """Train a copy on one batch again and again, with Adam at 0.001, until its loss is a twentieth.

    A network that cannot do that has a fault no amount of data will mend.
    """
    model = copy.deepcopy(session.model).train()
    images, labels = session.batches.at(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses: list[float] = []
    while len(losses) < steps and (not losses or losses[-1] > losses[0] / 20):
        fences.reseed(len(losses))
        loss = session.objective(model(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    return Overfit(len(labels), len(losses), losses[0], losses[-1])
