"""The rate at every step: by formulas written here, beside torch's schedulers, with and without warm-up."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from convscope.core import catalog, config
from convscope.core.config import Choice, Recipe
from convscope.core.errors import ConfigError
from convscope.train import schedule

TOTAL, PER_EPOCH = 90, 9
PEAK = 0.2


def rates(
    name: str, warmup: float = 0.0, total: int = TOTAL, per_epoch: int = PER_EPOCH, **options: Any
) -> list[float]:
    recipe = Recipe(lr=PEAK, warmup=warmup, schedule=Choice(name=name, options=options).resolved("schedules"))
    return [schedule.rate(recipe, step, total, per_epoch) for step in range(total)]


# Formulas ------------------------------------------------------------------------------------------------------


def restarted(step: int) -> float:
    """Periods of 3, 6 and 12 epochs begin at steps 0, 27 and 81."""
    begin, length = next(pair for pair in ((81, 108), (27, 54), (0, 27)) if step >= pair[0])
    return 0.1 + 0.9 * (1 + math.cos(math.pi * (step - begin) / length)) / 2


def one_cycle(step: int) -> float:
    """Up until step 0.3 x 90 - 1 = 26, down until step 89."""
    if step <= 26:
        return 1 - 0.96 * (1 + math.cos(math.pi * step / 26)) / 2
    return 4e-6 + (1 - 4e-6) * (1 + math.cos(math.pi * (step - 26) / 63)) / 2


# The share of the peak at a step of ten epochs of nine steps.
Formula = Callable[[int], float]
FORMULAS: dict[str, tuple[str, dict[str, Any], Formula]] = {
    "constant": ("constant", {}, lambda s: 1.0),
    "step": ("step", {"every": 3}, lambda s: [1, 0.1, 0.01, 0.001][s // 27]),
    "step, half epochs": ("step", {"every": 0.5, "factor": 0.5}, lambda s: 0.5 ** math.floor(2 * s / 9)),
    "milestones": ("milestones", {"at": (3, 4.5, 99)}, lambda s: 1 if s < 27 else 0.1 if s < 41 else 0.01),
    "exponential": ("exponential", {}, lambda s: 0.9 ** (s // 9)),
    "inverse": ("inverse", {}, lambda s: 1 / (s // 9 + 1)),
    "inverse-sqrt": ("inverse-sqrt", {}, lambda s: (s + 1) ** -0.5),
    "cosine": ("cosine", {}, lambda s: (1 + math.cos(math.pi * s / 90)) / 2),
    "cosine, end": ("cosine", {"end": 0.25}, lambda s: 0.625 + 0.375 * math.cos(math.pi * s / 90)),
    "warm-restarts": ("warm-restarts", {"first": 3, "multiplier": 2, "end": 0.1}, restarted),
    "linear": ("linear", {}, lambda s: 1 - s / 90),
    "linear, end": ("linear", {"end": 0.25}, lambda s: 1 - 0.75 * s / 90),
    "one-cycle": ("one-cycle", {}, one_cycle),
}


def test_every_schedule_of_the_catalog_has_a_formula_here() -> None:
    assert {name for name, _, _ in FORMULAS.values()} == set(catalog.names("schedules"))


@pytest.mark.parametrize("case", FORMULAS)
def test_a_schedule_by_its_formula_at_every_step(case: str) -> None:
    name, options, share = FORMULAS[case]
    assert rates(name, **options) == pytest.approx([PEAK * share(s) for s in range(TOTAL)], rel=1e-12)


@pytest.mark.parametrize("case", FORMULAS)
def test_after_the_warm_up_the_schedule_is_that_of_a_run_without(case: str) -> None:
    """Two epochs in a straight line to the peak, then ten as above."""
    name, options, share = FORMULAS[case]
    found = rates(name, warmup=2, total=18 + TOTAL, **options)
    assert found[:18] == pytest.approx([PEAK * (step + 1) / 18 for step in range(18)], rel=1e-12)
    assert found[18:] == pytest.approx([PEAK * share(step) for step in range(TOTAL)], rel=1e-12)
    assert found[17] == PEAK


def test_warm_up_longer_than_the_run_is_all_there_is() -> None:
    assert rates("cosine", warmup=99) == pytest.approx(
        [PEAK * (step + 1) / 90 for step in range(90)], rel=1e-12
    )


def test_an_epoch_begins_at_its_first_step_whatever_rounding_does() -> None:
    """1.1 x 50 is 55.00000000000001: step 55 must not wait for step 56."""
    assert 1.1 * 50 > 55
    assert [schedule.step_decay(step, 200, 50, every=1.1) for step in (54, 55)] == [1, 0.1]
    assert [schedule.milestones(step, 200, 50, at=(1.1,)) for step in (54, 55)] == [1, 0.1]
    found = rates("warm-restarts", total=200, per_epoch=50, first=1.1)
    assert [step for step in range(200) if found[step] == PEAK] == [0, 55, 110, 165]


def test_a_period_shorter_than_a_step_is_one_step() -> None:
    assert rates("warm-restarts", first=0.01) == [PEAK] * TOTAL


# Beside torch --------------------------------------------------------------------------------------------------

Make = Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]


def theirs(make: Make, every: int, total: int = TOTAL) -> list[float]:
    """The rates at which torch takes `total` steps, its scheduler being stepped after each `every` of them."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=PEAK, momentum=0.9)
    scheduler, found = make(optimizer), []
    for step in range(1, total + 1):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if step % every == 0 and step < total:
            scheduler.step()
    return found


TORCH: dict[str, tuple[Make, int, dict[str, Any]]] = {
    "constant": (lambda o: lr_scheduler.ConstantLR(o, 1.0), 1, {}),
    "step": (lambda o: lr_scheduler.StepLR(o, 3, 0.2), PER_EPOCH, {"every": 3, "factor": 0.2}),
    "milestones": (
        lambda o: lr_scheduler.MultiStepLR(o, [2, 7], 0.3), PER_EPOCH, {"at": "2,7", "factor": 0.3}
    ),
    "exponential": (lambda o: lr_scheduler.ExponentialLR(o, 0.8), PER_EPOCH, {"gamma": 0.8}),
    "inverse": (lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 1 / (epoch + 1)), PER_EPOCH, {}),
    "inverse-sqrt": (lambda o: lr_scheduler.LambdaLR(o, lambda step: (step + 1) ** -0.5), 1, {}),
    "cosine": (lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL, PEAK / 50), 1, {"end": 0.02}),
    "warm-restarts": (
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 9, 3, PEAK / 50),
        1,
        {"first": 1, "multiplier": 3, "end": 0.02},
    ),
    "linear": (lambda o: lr_scheduler.LinearLR(o, 1.0, 0.1, TOTAL), 1, {"end": 0.1}),
}  # fmt: skip


@pytest.mark.parametrize("name", TORCH)
def test_a_schedule_beside_torchs_stepped_where_it_should_be(name: str) -> None:
    make, every, options = TORCH[name]
    assert rates(name, **options) == pytest.approx(theirs(make, every), rel=1e-9)


@pytest.mark.parametrize(("rise", "start", "end"), [(0.3, 0.04, 4e-6), (0.5, 0.1, 0.01), (0.1, 0.04, 1e-3)])
@pytest.mark.parametrize("total", [11, 90, 101])
def test_one_cycle_is_torchs(total: int, rise: float, start: float, end: float) -> None:
    found = rates("one-cycle", total=total, rise=rise, start=start, end=end)
    made = theirs(
        lambda o: lr_scheduler.OneCycleLR(
            o, max_lr=PEAK, total_steps=total, pct_start=rise, div_factor=1 / start,
            final_div_factor=start / end, cycle_momentum=False,
        ),
        1,
        total,
    )  # fmt: skip
    assert found == pytest.approx(made, rel=1e-9)


def test_the_snippets_of_the_lecture_are_corrected() -> None:
    """E3.7: stepped in the batch loop, gamma is applied at every batch; and C/epoch divides by zero at once."""
    as_printed = theirs(lambda o: lr_scheduler.ExponentialLR(o, 0.9), 1)
    assert as_printed[PER_EPOCH] == pytest.approx(PEAK * 0.9**9)
    assert rates("exponential")[: PER_EPOCH + 1] == pytest.approx([PEAK] * 9 + [PEAK * 0.9])
    with pytest.raises(ZeroDivisionError):
        theirs(lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 1e-2 / epoch), PER_EPOCH)
    assert rates("inverse")[:: 3 * PER_EPOCH] == pytest.approx([PEAK, PEAK / 4, PEAK / 7, PEAK / 10])


# Lists ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", ["10,15", "10, 15", "10 15", [10, 15], (10.0, 15.0), ["10", "15"]], ids=repr
)
def test_every_way_to_write_a_list_of_epochs(given: Any) -> None:
    found = catalog.resolve("schedules", "milestones", {"at": given})
    assert found == {"at": (10.0, 15.0), "factor": 0.1}
    # What is resolved can be resolved again: a run's file holds it that way.
    assert catalog.resolve("schedules", "milestones", found) == found


@pytest.mark.parametrize("given", [100, 100.0, "100", [100]], ids=repr)
def test_a_list_of_one(given: Any) -> None:
    assert catalog.resolve("schedules", "milestones", {"at": given})["at"] == (100.0,)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("15,10", "Give epochs that rise, such as 10,15"),
        ("10,10", "Give epochs that rise, such as 10,15"),
        ("", "Give epochs that rise, such as 10,15"),
        ("10,x", "Input should be a valid number, unable to parse string as a number"),
        ("0,10", "Input should be greater than 0"),
    ],
)
def test_a_list_that_cannot_be(given: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        catalog.resolve("schedules", "milestones", {"at": given})
    assert str(caught.value) == f"The option 'at' of the schedule 'milestones' cannot be {given!r}: {reason}."


def test_a_list_goes_through_a_file_and_names_a_run() -> None:
    tables = [
        {"recipe": {"schedule": {"name": "milestones", "at": at}}} for at in ([10, 15], "10,15", [10, 16])
    ]
    names = []
    for table in tables:
        asked = config.resolve(config.from_table(table, "test"), (), 0.1, 0.2)
        again = config.resolve(config.from_table(config.as_table(asked), "test"), (), 0.1, 0.2)
        assert config.differences(asked, again) == [] and asked.recipe == again.recipe
        names.append(config.identity(again, "0" * 64))
    assert names[0] == names[1] != names[2]
