"""What every schedule of the catalog promises.  A new one is tested here without a new test."""

import inspect
import math
from typing import Any

import pytest

from convscope.core import catalog
from convscope.core.config import Choice, Recipe
from convscope.train import schedule

# Options at the edges of what is allowed, beside the defaults.
EDGES: dict[str, list[dict[str, Any]]] = {
    "step": [{"every": 1e-3, "factor": 1e-6}, {"every": 1e6}, {"factor": 1}],
    "milestones": [{"at": (1e-3,)}, {"at": tuple(range(1, 40)), "factor": 1e-30}],
    "exponential": [{"gamma": 1}, {"gamma": 1e-300}],
    "cosine": [{"end": 1}],
    "warm-restarts": [{"first": 1e-9}, {"first": 0.3, "multiplier": 1}, {"multiplier": 1e9, "end": 1}],
    "linear": [{"end": 1}],
    "one-cycle": [{"rise": 1e-6}, {"rise": 1 - 1e-6}, {"start": 0, "end": 0}, {"start": 1, "end": 1}],
}
CASES = [(name, options) for name in catalog.names("schedules") for options in ({}, *EDGES.get(name, []))]
RUNS = [(1, 1), (1, 9), (2, 9), (3, 1), (9, 9), (90, 9), (100, 33)]
RISING = {"one-cycle", "warm-restarts"}


def shares(name: str, options: dict[str, Any], total: int, per_epoch: int) -> list[float]:
    function = catalog.find("schedules", name).load()
    resolved = catalog.resolve("schedules", name, options)
    return [function(step, total, per_epoch, **resolved) for step in range(total)]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
@pytest.mark.parametrize(("total", "per_epoch"), RUNS)
def test_a_share_is_a_number_from_zero_to_one(
    name: str, options: dict[str, Any], total: int, per_epoch: int
) -> None:
    found = shares(name, options, total, per_epoch)
    assert all(type(share) is float and math.isfinite(share) for share in found)
    assert all(0 <= share <= 1 + 1e-12 for share in found)


@pytest.mark.parametrize("name", catalog.names("schedules"))
@pytest.mark.parametrize("total", [1, 2, 3, 9])
def test_by_default_no_step_is_wasted(name: str, total: int) -> None:
    """Also in runs of one step, where phases have no length, and with a warm-up of any length."""
    for warmup in (0.0, 0.3, 5.0):
        recipe = Recipe(lr=0.2, warmup=warmup, schedule=Choice(name=name).resolved("schedules"))
        rates = [schedule.rate(recipe, step, total, 9) for step in range(total)]
        assert all(0 < rate <= 0.2 * (1 + 1e-12) for rate in rates), warmup


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_a_share_depends_on_nothing_but_the_step(name: str, options: dict[str, Any]) -> None:
    """Asked in any order, in any process, after any resume."""
    function = catalog.find("schedules", name).load()
    resolved = catalog.resolve("schedules", name, options)
    backward = [function(step, 90, 9, **resolved) for step in reversed(range(90))]
    assert shares(name, options, 90, 9) == backward[::-1]


@pytest.mark.parametrize("name", [name for name in catalog.names("schedules") if name not in RISING])
def test_a_run_starts_at_the_peak_and_never_rises_again(name: str) -> None:
    found = shares(name, {}, 90, 9)
    assert found[0] == 1
    assert all(later <= earlier for earlier, later in zip(found, found[1:], strict=False))


# C/sqrt(step) is a matter of steps.
@pytest.mark.parametrize("name", [name for name in catalog.names("schedules") if name != "inverse-sqrt"])
def test_finer_steps_are_the_same_curve(name: str) -> None:
    """What happens is a matter of epochs: ten times as many steps in an epoch do not change its shape."""
    coarse, fine = shares(name, {}, 400, 10), shares(name, {}, 4000, 100)
    # Where one-cycle begins and ends, steps count: it reaches its values at the first and last step itself.
    slack = 0.02 if name == "one-cycle" else 1e-9
    assert coarse == pytest.approx(fine[::10], abs=slack)


def test_every_function_of_the_step_is_in_the_catalog() -> None:
    written = {
        f"{function.__module__}:{name}"
        for name, function in inspect.getmembers(schedule, inspect.isfunction)
        if list(inspect.signature(function).parameters)[:3] == ["step", "total", "per_epoch"]
    }
    assert written == {item.target for item in catalog.items("schedules")}


@pytest.mark.parametrize("name", catalog.names("schedules"))
def test_the_docstring_names_its_source(name: str) -> None:
    assert "Reference:" in (catalog.find("schedules", name).load().__doc__ or "")
