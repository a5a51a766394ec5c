"""The rate at every step, by hand, against torch, and at the ends."""

import math
from typing import Any

import pytest
import torch

from convscope.core import catalog
from convscope.core.config import Choice, Recipe
from convscope.train import schedule

TOTAL, PER_EPOCH = 90, 9


def rates(name: str, warmup: float = 0.0, total: int = TOTAL, **options: Any) -> list[float]:
    recipe = Recipe(lr=0.2, warmup=warmup, schedule=Choice(name=name, options=options).resolved("schedules"))
    return [schedule.rate(recipe, step, total, PER_EPOCH) for step in range(total)]


FORMULAS: dict[str, Any] = {
    "constant": lambda s: 0.2,
    "linear": lambda s: 0.2 * (1 - s / 90),
    "cosine": lambda s: 0.1 * (1 + math.cos(math.pi * s / 90)),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_the_formulas(name: str) -> None:
    assert rates(name) == pytest.approx([FORMULAS[name](step) for step in range(TOTAL)], rel=1e-12)


def test_steps_by_hand() -> None:
    """A tenth every three epochs: 27 steps each."""
    found = rates("step", every=3)
    expected = [0.2] * 27 + [0.02] * 27 + [0.002] * 27 + [0.0002] * 9
    assert found == pytest.approx(expected, rel=1e-12)
    assert rates("step", every=0.5, factor=0.5)[:10] == pytest.approx(
        [0.2] * 5 + [0.1] * 4 + [0.05], rel=1e-12
    )


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_an_end_that_is_not_zero(name: str) -> None:
    found = rates(name, end=0.25)
    assert found[0] == pytest.approx(0.2)
    plain = rates(name)
    assert found == pytest.approx([0.05 + 0.75 * value for value in plain], rel=1e-12)


@pytest.mark.parametrize(("rise", "start", "end"), [(0.3, 0.04, 4e-6), (0.5, 0.1, 0.01), (0.1, 0.04, 1e-3)])
@pytest.mark.parametrize("total", [11, 90, 101])
def test_one_cycle_is_torchs(total: int, rise: float, start: float, end: float) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.2, momentum=0.9)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.2, total_steps=total, pct_start=rise, div_factor=1 / start,
        final_div_factor=start / end, cycle_momentum=False,
    )  # fmt: skip
    found = rates("one-cycle", total=total, rise=rise, start=start, end=end)
    for step in range(total):
        assert found[step] == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9), step
        optimizer.step()
        if step + 1 < total:
            theirs.step()


@pytest.mark.parametrize("name", catalog.names("schedules"))
@pytest.mark.parametrize("total", [1, 2, 3, 9])
def test_every_schedule_is_between_zero_and_the_peak(name: str, total: int) -> None:
    """Also for runs of one step, where phases have no length."""
    for warmup in (0.0, 0.3, 5.0):
        assert all(0 < rate <= 0.2 * (1 + 1e-12) for rate in rates(name, warmup, total)), (warmup, total)


def test_warm_up_is_a_straight_line_and_the_schedule_starts_after_it() -> None:
    found = rates("linear", warmup=2)
    assert found[:18] == pytest.approx([0.2 * (step + 1) / 18 for step in range(18)], rel=1e-12)
    assert found[18:] == pytest.approx([0.2 * (1 - step / 72) for step in range(72)], rel=1e-12)
    assert found[17] == found[18] == pytest.approx(0.2)


def test_warm_up_longer_than_the_run_is_all_there_is() -> None:
    assert rates("cosine", warmup=99) == pytest.approx(
        [0.2 * (step + 1) / 90 for step in range(90)], rel=1e-12
    )


@pytest.mark.parametrize("name", catalog.names("schedules"))
def test_a_rate_depends_on_nothing_but_the_step(name: str) -> None:
    recipe = Recipe(lr=0.2, schedule=Choice(name=name).resolved("schedules"))
    forward = [schedule.rate(recipe, step, TOTAL, PER_EPOCH) for step in range(TOTAL)]
    backward = [schedule.rate(recipe, step, TOTAL, PER_EPOCH) for step in reversed(range(TOTAL))]
    assert forward == backward[::-1]
