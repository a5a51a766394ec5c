"""Is every schedule what its formula says, and torch's scheduler?

A run of 12 epochs of 7 steps, its learning rate at each step from the
package, from torch's scheduler stepped as it is meant to be, and from the
formula; then what the lecture's snippets do instead.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler as theirs

from convscope.core.config import Choice, Recipe
from convscope.train import schedule

from . import Finding

EPOCHS, PER_EPOCH = 12, 7
TOTAL = EPOCHS * PER_EPOCH
PEAK = 0.3
SAME = 1e-12
"""Largest difference of rates of at most 0.3 that is rounding."""

Scheduler = torch.optim.lr_scheduler.LRScheduler
Make = Callable[[torch.optim.Optimizer], Scheduler]


@dataclass(frozen=True)
class Case:
    """One schedule three times."""

    words: str
    source: str
    formula: Callable[[int], float]
    """Step -> share of the peak."""
    torch: Make
    per_epoch: bool = False
    """Whether torch's is stepped once an epoch."""
    options: dict[str, Any] = field(default_factory=dict)


def _cosine(part: float, end: float = 0.0) -> float:
    return end + (1 - end) * (1 + math.cos(math.pi * part)) / 2


def _restarted(step: int) -> float:
    """Periods of 2, 4 and 8 epochs."""
    epochs = step / PER_EPOCH
    first, length = (0, 2) if epochs < 2 else (2, 4) if epochs < 6 else (6, 8)
    return _cosine((epochs - first) / length)


def _up_and_down(step: int) -> float:
    """0.04 to 1 over the first 0.3 of the run, then to 4e-6."""
    top, last = 0.3 * TOTAL - 1, TOTAL - 1
    if step <= top:
        return 0.04 + 0.96 * (1 - _cosine(step / top))
    return _cosine((step - top) / (last - top), 4e-6)


def _lambda(share: Callable[[int], float]) -> Make:
    return lambda optimizer: theirs.LambdaLR(optimizer, share)


CASES: dict[str, Case] = {
    "constant": Case(
        "the same rate throughout", "S1.28", lambda s: 1.0, lambda o: theirs.ConstantLR(o, factor=1.0)
    ),
    "step": Case(
        "eta DECAY^floor(epoch / DECAY_EPOCHS)",
        "S1.27",
        lambda s: 0.2 ** (s // PER_EPOCH // 5),
        lambda o: theirs.StepLR(o, step_size=5, gamma=0.2),
        per_epoch=True,
        options={"every": 5.0, "factor": 0.2},
    ),
    "milestones": Case(
        "eta times the factor at each of the epochs named",
        "S2.21",
        lambda s: 0.1 ** ((s >= 6 * PER_EPOCH) + (s >= 9 * PER_EPOCH)),
        lambda o: theirs.MultiStepLR(o, milestones=[6, 9], gamma=0.1),
        per_epoch=True,
        options={"at": (6.0, 9.0), "factor": 0.1},
    ),
    "exponential": Case(
        "eta 0.9^epoch",
        "S3.63",
        lambda s: 0.9 ** (s // PER_EPOCH),
        lambda o: theirs.ExponentialLR(o, gamma=0.9),
        per_epoch=True,
    ),
    "inverse": Case(
        "C/epoch, with epochs counted from 1",
        "S3.64, E3.7",
        lambda s: 1 / (1 + s // PER_EPOCH),
        _lambda(lambda epoch: 1 / (1 + epoch)),
        per_epoch=True,
    ),
    "inverse-sqrt": Case(
        "C/sqrt(iteration), with iterations counted from 1",
        "S3.64",
        lambda s: (1 + s) ** -0.5,
        _lambda(lambda step: 1 / math.sqrt(1 + step)),
    ),
    "cosine": Case(
        "eta_min + (eta_max - eta_min) (1 + cos(pi T_cur / T_max)) / 2",
        "S3.65",
        lambda s: _cosine(s / TOTAL, 0.1),
        lambda o: theirs.CosineAnnealingLR(o, T_max=TOTAL, eta_min=0.1 * PEAK),
        options={"end": 0.1},
    ),
    "warm-restarts": Case(
        "one half cosine after another, each twice as long here",
        "S3.65; Loshchilov, Hutter (2017)",
        _restarted,
        lambda o: theirs.CosineAnnealingWarmRestarts(o, T_0=2 * PER_EPOCH, T_mult=2),
        options={"first": 2.0, "multiplier": 2.0},
    ),
    "linear": Case(
        "eta (1 - step / steps)",
        "Li, Yumer, Ramanan (2020)",
        lambda s: 1 - s / TOTAL,
        lambda o: theirs.LinearLR(o, start_factor=1.0, end_factor=0.0, total_iters=TOTAL),
    ),
    "one-cycle": Case(
        "half a cosine up to eta over 0.3 of the run, and one down",
        "Smith, Topin (2018)",
        _up_and_down,
        lambda o: theirs.OneCycleLR(o, max_lr=PEAK, total_steps=TOTAL),
    ),
}
"""By the catalog's name."""


def schedules() -> Iterator[Finding]:
    """Every schedule of the catalog, then E3.7 and E3.13."""
    for name in CASES:
        yield _as_printed(name)
    yield _inside_the_batch_loop()
    yield _division_by_zero()
    yield _lambda_is_the_rate()
    yield from _recursion()
    yield _never_zero()
    yield _no_restarts()


def _optimizer(rate: float = PEAK) -> torch.optim.Optimizer:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=rate)


def ours(name: str, options: dict[str, Any]) -> list[float]:
    """The package's rate at each step."""
    recipe = Recipe(lr=PEAK, schedule=Choice(name=name, options=options), warmup=0)
    return [schedule.rate(recipe, step, TOTAL, PER_EPOCH) for step in range(TOTAL)]


def torchs(make: Make, per_epoch: bool, steps: int = TOTAL, rate: float = PEAK) -> list[float]:
    """The rate torch's scheduler sets for each step, stepped after each batch or after each epoch."""
    optimizer = _optimizer(rate)
    scheduler, found = make(optimizer), []
    for step in range(1, steps + 1):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if not per_epoch or step % PER_EPOCH == 0:
            scheduler.step()
    return found


def _gap(some: list[float], other: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(some, other, strict=True))


def _as_printed(name: str) -> Finding:
    case = CASES[name]
    found = ours(name, case.options)
    printed = _gap(found, [PEAK * case.formula(step) for step in range(TOTAL)])
    made = _gap(found, torchs(case.torch, case.per_epoch))
    return Finding(
        f"The schedule `{name}` is {case.words}, and torch's.",
        case.source,
        f"At {TOTAL} steps of {EPOCHS} epochs rates up to {PEAK:g} differ by at most {printed:.1e} from the formula's, "
        f"and by {made:.1e} from those of torch's scheduler.",
        max(printed, made) < SAME,
    )


# What the lecture's snippets do ------------------------------------------------------------------------------------


def _inside_the_batch_loop() -> Finding:
    """The loop as printed, for an epoch of 352 batches: 45,000 images in batches of 128."""
    batches = 352
    after = torchs(
        lambda o: theirs.ExponentialLR(o, gamma=0.9), per_epoch=False, steps=batches + 1, rate=0.1
    )[-1]
    return Finding(
        "ExponentialLR(gamma=0.9) with `scheduler.step()` in the batch loop multiplies the rate by 0.9 once an epoch.",
        "S3.63 as printed, E3.7",
        f"After one epoch of {batches} batches the rate 0.1 has become {after:.1e} instead of 0.09: it is multiplied at "
        "each batch.",
        abs(after - 0.09) < 1e-9,
        true=False,
    )


def _division_by_zero() -> Finding:
    try:
        theirs.LambdaLR(_optimizer(), lr_lambda=lambda epoch: 1e-2 / epoch)
    except ZeroDivisionError as error:
        said, works = f"LambdaLR calls it with 0 when it is built: {error}.", False
    else:
        said, works = "LambdaLR could be built with it.", True
    return Finding(
        "`lr_lambda = lambda ep: 1e-2/ep` can be given to LambdaLR.",
        "S3.64 as printed, E3.7",
        said,
        works,
        true=False,
    )


def _lambda_is_the_rate() -> Finding:
    found = torchs(_lambda(lambda epoch: 1e-2 / (epoch + 1)), per_epoch=True, rate=0.1)
    return Finding(
        "LambdaLR's function is the rate, so 1e-2/epoch gives `lr=0.01/epoch`.",
        "S3.64 as printed, E3.7",
        f"With a base rate of 0.1 and 1e-2/(ep + 1) the first epoch runs at {found[0]:g} instead of 0.01: the function "
        "multiplies the base rate.",
        abs(found[0] - 1e-2) < SAME,
        true=False,
    )


def recursive(steps: int, end: float) -> list[float]:
    """The cosine by its recursion alone, without the second case: T_max = 10, eta_max = 1.

    Raises:
        ZeroDivisionError: beyond T_max.
    """
    found = [1.0]
    for t in range(steps):
        factor = (1 + math.cos(math.pi * (t + 1) / 10)) / (1 + math.cos(math.pi * t / 10))
        found.append(end + (found[-1] - end) * factor)
    return found


def _recursion() -> Iterator[Finding]:
    closed = [_cosine(t / 10, 0.2) for t in range(11)]
    gap = _gap(recursive(10, 0.2), closed)
    try:
        recursive(11, 0.2)
    except ZeroDivisionError:
        said, stuck = "the next step divides by 1 + cos(pi), which is 0 in floating point too.", True
    else:
        said, stuck = "it goes on beyond.", False
    yield Finding(
        "The recursive cosine is the closed form up to T_max, and needs a second case there because it would divide by "
        "zero.",
        "S3.65, E3.13",
        f"With T_max = 10 and eta_min = 0.2 they differ by at most {gap:.1e}; {said}",
        stuck and gap < SAME,
    )


def _never_zero() -> Finding:
    found = torchs(lambda o: theirs.CosineAnnealingLR(o, T_max=10), per_epoch=False, steps=22)
    return Finding(
        "The second case of the cosine prevents the learning rate from becoming 0.",
        "S3.65 as printed, E3.13",
        f"With eta_min = 0 torch's rate is {found[10]:.1e} at T_max, where the second case is about to be used, and "
        f"{found[11]:.4f} one step later: the case lets the cosine come back up.",
        abs(found[10]) > 1e-9,
        true=False,
    )


def _no_restarts() -> Finding:
    plain = torchs(lambda o: theirs.CosineAnnealingLR(o, T_max=10), per_epoch=False, steps=12)
    restarted = torchs(lambda o: theirs.CosineAnnealingWarmRestarts(o, T_0=10), per_epoch=False, steps=12)
    return Finding(
        "torch's CosineAnnealingLR has the annealing of SGDR, but not its restarts.",
        "S3.65",
        f"One step after T_max its rate is {plain[11]:.4f}, that of CosineAnnealingWarmRestarts {restarted[11]:.4f}, of "
        f"a peak of {PEAK:g}.",
        plain[11] < 0.1 * PEAK < 0.9 * PEAK < restarted[11],
    )
