"""How large is the learning rate at step s, as a share of its peak?

Pure functions of the step: nothing is stored, nothing is stepped, nothing can
be one epoch late after a resume.  Steps count from 0; the run takes steps
0 ... total - 1; `per_epoch` steps are one epoch.
"""

import math
from typing import Annotated

from pydantic import Field

from convscope.core import catalog
from convscope.core.config import Recipe

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


def rate(recipe: Recipe, step: int, total: int, per_epoch: int) -> float:
    """The learning rate of one step: a straight warm-up from zero, then the schedule on what is left."""
    warmup = min(round(recipe.warmup * per_epoch), total)
    if step < warmup:
        return recipe.lr * (step + 1) / warmup
    shape = catalog.find("schedules", recipe.schedule.name).load()
    share: float = shape(step - warmup, total - warmup, per_epoch, **recipe.schedule.options)
    return recipe.lr * share


def constant(step: int, total: int, per_epoch: int) -> float:
    """The peak throughout.  Reference: S1.28."""
    return 1.0


def step_decay(
    step: int, total: int, per_epoch: int, every: Positive = 10.0, factor: Annotated[float, Field(gt=0)] = 0.1
) -> float:
    """Multiplied by `factor` every `every` epochs.  Reference: S1.27, with DECAY_EPOCHS and DECAY."""
    return factor ** math.floor(step / (every * per_epoch))


def cosine(step: int, total: int, per_epoch: int, end: Share = 0.0) -> float:
    """Half a cosine from the peak to `end`.

    Reference:
        S3.65; Loshchilov, Hutter (2017), SGDR, equation 5, without restarts.
    """
    return end + (1 - end) * (1 + math.cos(math.pi * step / total)) / 2


def linear(step: int, total: int, per_epoch: int, end: Share = 0.0) -> float:
    """A straight line from the peak to `end`, reached after the last step.

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
