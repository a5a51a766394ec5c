"""The check of the schedules fails where one is an epoch late; rates worked by hand."""

import math

import pytest

from convscope.core import catalog
from convscope.train import schedule
from convscope.verify import schedules


def test_every_schedule_of_the_catalog_is_checked() -> None:
    assert list(schedules.CASES) == catalog.names("schedules")


@pytest.mark.parametrize("name", [name for name in schedules.CASES if name != "constant"])
def test_a_schedule_that_is_a_step_late_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = schedule.rate
    assert schedules._as_printed(name).holds
    monkeypatch.setattr(schedule, "rate", lambda recipe, step, *rest: right(recipe, max(step - 1, 0), *rest))
    assert not schedules._as_printed(name).holds


def test_a_constant_that_is_not_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "constant", lambda step, total, per_epoch: 1 - 1e-9 * step)
    assert not schedules._as_printed("constant").holds


def test_formulas_by_hand() -> None:
    shares = {name: case.formula for name, case in schedules.CASES.items()}
    assert [shares["step"](step) for step in (34, 35, 70)] == pytest.approx([1, 0.2, 0.04])
    assert [shares["milestones"](step) for step in (41, 42, 63)] == pytest.approx([1, 0.1, 0.01])
    assert [shares["inverse"](step) for step in (6, 7, 14)] == pytest.approx([1, 1 / 2, 1 / 3])
    assert shares["cosine"](42) == pytest.approx(0.55)
    # Half of the first period of 2 epochs, its end, half of the second, of 4 epochs.
    assert [shares["warm-restarts"](step) for step in (7, 14, 28, 42)] == pytest.approx([0.5, 1, 0.5, 1])
    assert [shares["one-cycle"](0), shares["one-cycle"](83)] == pytest.approx([0.04, 4e-6])


def test_stepping_by_epoch_and_by_batch() -> None:
    halve = schedules._lambda(lambda count: 0.5**count)
    assert schedules.torchs(halve, per_epoch=True, steps=8, rate=1.0) == [1.0] * 7 + [0.5]
    assert schedules.torchs(halve, per_epoch=False, steps=4, rate=1.0) == [1.0, 0.5, 0.25, 0.125]


def test_the_recursion_by_hand() -> None:
    # T_max = 10: after five steps half-way between 1 and the end, after ten at the end.
    assert schedules.recursive(5, 0.2)[5] == pytest.approx(0.6)
    assert schedules.recursive(10, 0.0)[10] == pytest.approx(0.0, abs=1e-15)
    with pytest.raises(ZeroDivisionError):
        schedules.recursive(11, 0.2)


def test_a_recursion_that_gets_through_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(steps: int, end: float) -> list[float]:
        return [end + (1 - end) * (1 + math.cos(math.pi * t / 10)) / 2 for t in range(steps + 1)]

    monkeypatch.setattr(schedules, "recursive", closed)
    (found,) = schedules._recursion()
    assert not found.holds


def test_a_scheduler_that_waits_for_the_epoch_would_clear_the_lecture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then what is printed holds, which is not as expected."""
    right = schedules.torchs
    monkeypatch.setattr(
        schedules, "torchs", lambda make, per_epoch, steps, rate: right(make, True, steps=8, rate=rate)
    )
    found = schedules._inside_the_batch_loop()
    assert found.holds and not found.as_expected
