"""What a study will cost and can show, where every time is set by hand."""

from collections.abc import Sized
from pathlib import Path
from types import SimpleNamespace

import pytest
from made import line, outcome, study

from convscope.compute import environment
from convscope.compute.device import pick
from convscope.core import catalog
from convscope.core.errors import UsageError
from convscope.evaluate.subject import Subject
from convscope.studies import plan as planning
from convscope.studies import stats
from convscope.studies.design import Arm, arm, equal, factorial, greater
from convscope.studies.journal import Journal
from convscope.studies.plan import ArmPlan, Plan, cost_key, plan, spread, time_of_a_run
from convscope.studies.task import key_of
from convscope.train import prepare
from convscope.train.loop import Session
from convscope.train.prepare import Place


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every run takes its number of epochs in seconds; the list tells what was timed."""
    asked: list[float] = []

    def seconds(config: object, place: Place, names: object) -> float:
        asked.append(config.recipe.epochs)  # type: ignore[attr-defined]
        return asked[-1]

    monkeypatch.setattr(planning, "time_of_a_run", seconds)
    return asked


def test_runs_and_time_by_hand(timed: list[float], tmp_path: Path) -> None:
    """Two arms of 1 s and 4 s, three seeds, one of the second in the journal with 10 s: 3 x 1 + 2 x 10 on two workers."""
    design = study(arm("short"), arm("long", epochs=4))
    known = key_of(design.config(design.arms[1], 1))
    Journal(tmp_path).append(line(known, 0.5, environment={}))
    found = plan(design, tmp_path, Place(tmp_path), workers=2)
    assert found.arms == (ArmPlan("short", 3, 1.0, timed=True), ArmPlan("long", 2, 10.0, timed=False))
    assert (found.runs, found.seconds) == (5, 11.5)
    assert timed == [1.0]
    assert list(tmp_path.iterdir()) == [tmp_path / "journal.jsonl"]


def test_the_last_run_is_waited_for(timed: list[float], tmp_path: Path) -> None:
    design = study(arm("short"), arm("long", epochs=40), seeds=1)
    assert plan(design, tmp_path, Place(tmp_path), workers=8).seconds == 40.0


def test_arms_that_cost_the_same_are_timed_once(timed: list[float], tmp_path: Path) -> None:
    design = study(arm("a"), arm("b", lr=0.3), arm("c", {"model.norm": "batch"}), arm("d", schedule="step"))
    plan(design, tmp_path, Place(tmp_path))
    assert len(timed) == 2
    keys = [cost_key(design.config(one, 0)) for one in design.arms]
    assert keys[0] == cost_key(design.config(design.arms[0], 7)) == keys[1] == keys[3] != keys[2]


def test_tries_are_runs_too(timed: list[float], tmp_path: Path) -> None:
    """Three rates on two trial seeds, then three seeds: nine runs, and no arm without a run in the journal is free."""
    design = study(
        arm("a", tries={"lr": [0.1, 0.2, 0.3]}),
        arm("b", optimizer="adam", tries={"lr": [0.1, 0.2, 0.3]}),
        trial_seeds=2,
    )
    assert [one.runs for one in plan(design, tmp_path, Place(tmp_path)).arms] == [9, 9]


def test_what_failed_is_counted_and_what_diverged_is_not(timed: list[float], tmp_path: Path) -> None:
    design = study(arm("a"), arm("b", lr=0.3))
    for seed, status in enumerate(("failed", "diverged")):
        key = key_of(design.config(design.arms[1], seed))
        Journal(tmp_path).append(line(key, status=status, numbers={}, provenance={}, environment={}))
    assert plan(design, tmp_path, Place(tmp_path)).arms[1].runs == 2


def test_power_is_that_of_the_paired_test(timed: list[float], tmp_path: Path) -> None:
    found = plan(study(arm("a"), arm("b", lr=0.3), seeds=5, sd=0.01), tmp_path, Place(tmp_path))
    assert found.sd_from == "assumed by the study"
    assert found.detectable is not None
    assert stats.power(5, found.detectable, 0.01) == pytest.approx(0.8, abs=1e-6)
    assert plan(study(arm("a"), arm("b", lr=0.3), seeds=1), tmp_path, Place(tmp_path)).detectable is None


def test_power_is_at_the_level_that_is_left_for_each_question(timed: list[float], tmp_path: Path) -> None:
    """Three comparisons: 0.05 / 3. A 2 x 3 factorial without claims asks 1 + 2 + 2 = 5 effects: 0.05 / 5."""
    three = study(arm("a"), *(arm(str(at), lr=at / 10) for at in (1, 2, 3)), seeds=5, sd=0.01)
    cells = {"x": {"0": {}, "1": {"lr": 0.3}}, "y": {"0": {}, "1": {"epochs": 2}, "2": {"epochs": 3}}}
    for design, family in ((three, 3), (study(*factorial(cells), seeds=5, sd=0.01), 5)):
        found = plan(design, tmp_path, Place(tmp_path)).detectable
        assert found == pytest.approx(stats.detectable(5, 0.01, alpha=0.05 / family))


def test_the_spread_of_runs_that_are_there_is_pooled() -> None:
    """Differences 0.1, 0.2, 0.3 (variance 0.01) and 0, 0, 0.3 (variance 0.03): pooled sd sqrt 0.02."""
    design = study(
        arm("a"), arm("b", lr=0.3), arm("c", lr=0.4), greater("b", "a", "S1.1"), greater("c", "a", "S1.1")
    )
    found = outcome(design, {"a": [0.5, 0.5, 0.5], "b": [0.6, 0.7, 0.8], "c": [0.5, 0.5, 0.8]})
    sd, said = spread(found)
    assert sd == pytest.approx(0.02**0.5)
    assert said == "pooled over the 2 comparisons that have at least 3 seeds"


def test_the_spread_is_that_of_the_measure_that_is_compared() -> None:
    """The gap, over which the same arms are compared too, has 0, 0, 9; one seed short of three, an arm tells nothing."""
    design = study(
        arm("a"), arm("b", lr=0.3), arm("c", lr=0.4),
        greater("b", "a", "S1.1"), greater("b", "a", "S1.2", measure="gap"), greater("c", "a", "S1.3"),
    )  # fmt: skip
    gaps = [
        line("x", numbers={"final_accuracy": 0.5 + x, "gap": gap})
        for x, gap in ((0.1, 0), (0.2, 0), (0.3, 9))
    ]
    base = [line("x", numbers={"final_accuracy": 0.5, "gap": 0.0})] * 3
    sd, said = spread(outcome(design, {"a": base, "b": gaps, "c": [0.1, 0.9, None]}))
    assert sd == pytest.approx(0.1)
    assert said == "that of the comparison that has at least 3 seeds"


def test_the_spread_of_a_factorial_is_that_of_its_effects() -> None:
    """Of three seeds, `x` moves both levels of `y` by 0.1, 0.2, 0.3 (variance 0.01); `y` and the rest move nothing."""
    design = study(*factorial({"x": {"0": {}, "1": {"lr": 0.3}}, "y": {"0": {}, "1": {"epochs": 2}}}))
    low, high = [0.5, 0.5, 0.5], [0.6, 0.7, 0.8]
    sd, said = spread(
        outcome(design, {one.name: high if one.levels["x"] == "1" else low for one in design.arms})
    )
    assert sd == pytest.approx((0.01 / 3) ** 0.5)
    assert said == "pooled over the 3 effects that have at least 3 seeds"


def test_an_equality_has_its_own_chance(timed: list[float], tmp_path: Path) -> None:
    """At the level that Holm leaves, once for each margin; those of other measures have another spread, and no line."""
    design = study(
        arm("a"), arm("b", lr=0.3), arm("c", lr=0.4),
        equal("b", "a", "S1.1", within=0.01), equal("c", "a", "S1.1", within=0.01),
        equal("c", "b", "S1.1", within=0.02, measure="best_accuracy"), seeds=5, sd=0.005,
    )  # fmt: skip
    found = plan(design, tmp_path, Place(tmp_path)).equalities
    assert found == ((0.01, stats.power_of_equivalence(5, 0.01, 0.005, 0.05 / 3)),)


def test_a_real_run_is_timed_without_leaving_anything(tmp_path: Path) -> None:
    """Twice the epochs cost about twice the steps; the clock of a shared machine decides no more than that."""
    design = study(arm("a", epochs=10), arm("b", epochs=1000))
    place = Place(tmp_path / "runs", cache_dir=tmp_path / "cache")
    short, long = (time_of_a_run(design.config(one, 0), place) for one in design.arms)
    assert 0 < short < long
    assert not (tmp_path / "runs").exists()


def test_steps_are_timed_in_the_precision_they_will_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where bfloat16 is twice as fast, a plan in float32 would say twice the hours."""
    table, seen = object(), []
    monkeypatch.setattr(prepare.precisions, "resolve", lambda *given: table)

    def timed(session: Session, *given: object) -> SimpleNamespace:
        seen.append(session.lowered.keywords["table"])  # type: ignore[attr-defined]
        return SimpleNamespace(remaining_s=0.0)

    monkeypatch.setattr(planning, "preflight", timed)
    time_of_a_run(study(arm("a"), arm("b", lr=0.3)).config(Arm("a"), 0), Place(tmp_path))
    assert seen == [table]


def test_validations_take_time_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """3 s each, by a clock that goes on only then: after each of 20 epochs, and in the end of both kinds of images."""
    clock, seen = [0.0], []

    def scored(model: object, shown: Sized, *given: object) -> None:
        seen.append(len(shown))
        clock[0] += 3

    monkeypatch.setattr(planning, "logits", scored)
    monkeypatch.setattr(planning.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(planning, "lower", lambda *given: None)
    monkeypatch.setattr(planning, "preflight", lambda *given: SimpleNamespace(remaining_s=1000.0))
    design = study(arm("a", epochs=20), arm("b"))
    assert time_of_a_run(design.config(Arm("a", {"epochs": 20}), 0), Place(tmp_path)) == 1066
    monkeypatch.setattr(planning, "TIMED_IMAGES", seen[0] // 2)
    twice = time_of_a_run(design.config(Arm("a", {"epochs": 20}), 0), Place(tmp_path))
    assert twice == pytest.approx(1000 + 66 * seen[0] / seen[1]) and seen[1] == seen[0] // 2


def test_looks_of_diagnostics_take_time_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on only while a diagnostic looks: 10 s each, at step 0 and 20 epochs, and once at the end."""
    clock, load = [0.0], catalog.Item.load

    def look(*, subject: Subject, every: float = 0.9) -> object:
        clock[0] += 10
        return None

    item = catalog.Item("diagnostics", "slow", f"{__name__}:slow", "looks for 10 s")
    monkeypatch.setattr(catalog.Item, "load", lambda self: look if self is item else load(self))
    monkeypatch.setitem(catalog._CATALOG, "diagnostics", {"slow": item, **catalog._CATALOG["diagnostics"]})
    monkeypatch.setattr(planning.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(planning, "lower", lambda *given: None)
    monkeypatch.setattr(planning, "preflight", lambda *given: SimpleNamespace(remaining_s=0.0))
    design = study(arm("a", epochs=20), arm("b"), inspect=("slow",))
    place = Place(tmp_path / "runs", cache_dir=tmp_path / "cache")
    assert time_of_a_run(design.config(design.arms[0], 0), place) == 210
    monkeypatch.setattr(
        planning.measures, "looked", lambda names, at_the_end=False: ("slow:every=0.5",) if at_the_end else ()
    )
    assert time_of_a_run(design.config(design.arms[0], 0), place, ["slow/x"]) == 220


def test_what_would_not_be_pooled_is_not_planned(timed: list[float], tmp_path: Path) -> None:
    design = study(arm("a"), arm("b", lr=0.3))
    other = {**environment.surroundings(1, pick("auto")), "data": "d", "dtypes": {}}
    Journal(tmp_path).append(line(key_of(design.config(Arm("a"), 0)), 0.5, environment=other))
    with pytest.raises(UsageError) as error:
        plan(design, tmp_path, Place(tmp_path))
    assert str(error.value).startswith(
        f"Runs of study tiny in {tmp_path / 'journal.jsonl'} were made under other conditions. The data differ: d then, "
    )
    assert plan(design, tmp_path, Place(tmp_path, allow_different=True)).runs == 5


def test_a_plan_counts_nothing_that_is_done() -> None:
    arms = (ArmPlan("a", 0, 100.0, timed=False), ArmPlan("b", 1, 10.0, timed=True))
    assert Plan(arms, 2, 3, 0.01, "", None).seconds == 10.0
