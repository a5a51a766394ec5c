"""How large is the learning rate at step s, as a share of its peak?

Pure functions of the step: nothing is stored, nothing is stepped, nothing can
be one epoch late after a resume.  Steps count from 0; the run takes steps
0 ... total - 1; `per_epoch` steps are one epoch.

What changes by epoch changes at the first step of an epoch, never per batch
by accident: a scheduler that is stepped inside the batch loop, as both
snippets of the lecture do (E3.7), multiplies by gamma per_epoch times an epoch.
"""

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from convscope.core import catalog
from convscope.core.config import Recipe

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Factor = Annotated[float, Field(gt=0, le=1)]


def _numbers(given: Any) -> Any:
    """Text as a flag holds it, `10,15`, and a single number as a list; a list as it is."""
    if isinstance(given, str):
        return given.replace(",", " ").split()
    return [given] if isinstance(given, int | float) else given


def _rising(epochs: tuple[float, ...]) -> tuple[float, ...]:
    if not epochs or any(later <= earlier for earlier, later in zip(epochs, epochs[1:], strict=False)):
        raise PydanticCustomError("rising", "Give epochs that rise, such as 10,15")
    return epochs


Epochs = Annotated[tuple[Positive, ...], BeforeValidator(_numbers), AfterValidator(_rising)]


def rate(recipe: Recipe, step: int, total: int, per_epoch: int) -> float:
    """The learning rate of one step: a straight warm-up from zero, then the schedule on what is left."""
    warmup = min(round(recipe.warmup * per_epoch), total)
    if step < warmup:
        return recipe.lr * (step + 1) / warmup
    shape = catalog.find("schedules", recipe.schedule.name).load()
    share: float = shape(step - warmup, total - warmup, per_epoch, **recipe.schedule.options)
    return recipe.lr * share


def _completed(step: int, epochs: float, per_epoch: int) -> int:
    """How many periods of so many epochs lie before this step."""
    # 1.1 epochs of 50 steps are 55.00000000000001 steps, and step 55 is not to wait for step 56.
    return math.floor(step / (epochs * per_epoch) + 1e-9)


def constant(step: int, total: int, per_epoch: int) -> float:
    """The peak throughout.  Reference: S1.28."""
    return 1.0


def step_decay(step: int, total: int, per_epoch: int, every: Positive = 10.0, factor: Factor = 0.1) -> float:
    """Multiplied by `factor` every `every` epochs.

    Args:
        step: from 0.
        total: steps of the run.
        per_epoch: steps of an epoch.
        every: epochs between two changes, DECAY_EPOCHS of the source.
        factor: in (0, 1], its DECAY.

    Reference:
        S1.27.
    """
    return factor ** _completed(step, every, per_epoch)


def milestones(
    step: int, total: int, per_epoch: int, at: Epochs = (10.0, 15.0), factor: Factor = 0.1
) -> float:
    """Multiplied by `factor` at each of the epochs `at`.

    Args:
        step: from 0.
        total: steps of the run.
        per_epoch: steps of an epoch.
        at: epochs, rising, counted from the end of the warm-up: `--schedule.at 10,15`, or a list as in TOML,
            `--schedule "milestones:at=[10,15]"`.
        factor: of the rate at each of them, in (0, 1].

    Reference:
        He, Zhang, Ren, Sun (2016), section 4.2: a tenth after half and again after three quarters of the
        run; S2.21: one at epoch 100.
    """
    return factor ** sum(_completed(step, epoch, per_epoch) >= 1 for epoch in at)


def exponential(step: int, total: int, per_epoch: int, gamma: Factor = 0.9) -> float:
    """Multiplied by `gamma` once per epoch.

    Args:
        step: from 0.
        total: steps of the run.
        per_epoch: steps of an epoch.
        gamma: in (0, 1].

    Reference:
        S3.63, corrected by E3.7: the lecture's loop multiplies at every batch, which after an epoch of 352
        batches leaves 8e-17 of the rate instead of 0.9.
    """
    return step_decay(step, total, per_epoch, 1.0, gamma)


def inverse(step: int, total: int, per_epoch: int) -> float:
    """C/t in epoch t = 1, 2, ...: the peak, its half, its third.

    Reference:
        S3.64, corrected by E3.7: the lecture's function divides by zero at epoch 0, and multiplies the base
        rate instead of being the rate.  Here C is the peak.
    """
    return 1 / (1 + _completed(step, 1.0, per_epoch))


def inverse_sqrt(step: int, total: int, per_epoch: int) -> float:
    """C/sqrt(t) at step t = 1, 2, ...; a tenth of the peak after a hundred steps.

    Reference:
        S3.64.  C is the peak; t counts from the end of the warm-up.
    """
    return 1 / math.sqrt(1 + step)


def cosine(step: int, total: int, per_epoch: int, end: Share = 0.0) -> float:
    """Half a cosine from the peak to `end`.

    Args:
        step: from 0.
        total: steps of the run.
        per_epoch: steps of an epoch.
        end: share of the peak, approached by the last step.

    Reference:
        S3.65; Loshchilov, Hutter (2017), SGDR, equation 5, without restarts.
    """
    return end + (1 - end) * (1 + math.cos(math.pi * step / total)) / 2


def warm_restarts(
    step: int,
    total: int,
    per_epoch: int,
    first: Positive = 10.0,
    multiplier: Annotated[float, Field(ge=1)] = 1.0,
    end: Share = 0.0,
) -> float:
    """Half a cosine from the peak to `end`, again and again.

    A run should end where a period ends, where the rate is lowest: after `first` epochs, and with a
    multiplier m after first x (1 + m), first x (1 + m + m^2) and so on.

    Args:
        step: from 0.
        total: steps of the run.
        per_epoch: steps of an epoch.
        first: epochs of the first period; less than a step counts as one step.
        multiplier: each period is so many times as long as the one before.
        end: share of the peak which a period approaches.

    Reference:
        S3.65; Loshchilov, Hutter (2017), SGDR, equation 5, with T_0 = first, T_mult = multiplier, and T_cur
        updated at every step.
    """
    period = max(first * per_epoch, 1.0)
    position = float(step)
    while position >= period - 1e-6:
        position -= period
        period *= multiplier
    return end + (1 - end) * (1 + math.cos(math.pi * max(position, 0.0) / period)) / 2


def linear(step: int, total: int, per_epoch: int, end: Share = 0.0) -> float:
    """A straight line from the peak to `end`, reached after the last step.

    Args:
        step: from 0.
        total: steps of the run.
        per_epoch: steps of an epoch.
        end: share of the peak.

    Reference:
        Li, Yumer, Ramanan (2020), Budgeted Training, section 3: the best simple choice for short budgets.
    """
    return 1 - (1 - end) * step / total


def one_cycle(
    step: int,
    total: int,
    per_epoch: int,
    rise: Annotated[float, Field(gt=0, lt=1)] = 0.3,
    start: Share = 0.04,
    end: Share = 4e-6,
) -> float:
    """Half a cosine up from `start` to the peak over the share `rise` of the run, then one down to `end`.

    Args:
        step: from 0.
        total: steps of the run.
        per_epoch: steps of an epoch.
        rise: share of the run until the peak.
        start: share of the peak at the first step.
        end: share of the peak at the last step.

    Reference:
        Smith, Topin (2018), Super-Convergence.  The same curve as torch's OneCycleLR.
    """
    peak = rise * total - 1
    last = total - 1
    if step <= peak:
        return _half_cosine(start, 1.0, step / peak if peak > 0 else 1.0)
    return _half_cosine(1.0, end, (step - peak) / (last - peak))


def _half_cosine(first: float, last: float, part: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * part)) / 2
