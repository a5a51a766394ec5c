"""A budget of learning rates: which is taken, what becomes of tries that are lost; with runs that cost nothing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made import line, study

from convscope.core.errors import ConvscopeError, UsageError
from convscope.studies.conduct import Outcome, conduct, recorded
from convscope.studies.design import FIRST_TRIAL_SEED, Study, arm, different
from convscope.studies.executors import Progress
from convscope.studies.journal import Journal
from convscope.studies.notes import notes
from convscope.studies.plan import plan
from convscope.studies.report import report
from convscope.studies.task import Ended, Task, key_of
from convscope.train.prepare import Place

# Rate -> accuracy: 0.2 is the best of the first arm and 0.01 of the second; "lost" and "broken" runs give none.
REACHED: dict[float, Any] = {0.1: 0.6, 0.2: 0.7, 0.4: 0.5, 0.01: 0.8, 0.02: 0.75, 0.04: "diverged"}


def tried(**options: Any) -> Study:
    return study(
        arm("a", tries={"lr": [0.1, 0.2, 0.4]}),
        arm("b", optimizer="adam", tries={"lr": [0.01, 0.02, 0.04]}),
        different("b", "a"),
        **options,
    )


class Maker:
    """An executor whose runs reach what their rate says."""

    def __init__(self, reached: dict[float, Any], *, anywhere: bool = False) -> None:
        self.reached = reached
        self.environment = {} if anywhere else {"data": "d", "dtypes": {}, "code": "c"}
        self.asked: list[tuple[str, float, int]] = []

    def __call__(self, tasks: Sequence[Task], progress: Progress) -> Ended:
        for task in tasks:
            rate = task.config.recipe.lr
            self.asked.append((task.arm, rate, task.seed))
            value = self.reached[rate]
            if isinstance(value, str):
                yield task, line(task.key, None, status=value, message="why", numbers={}, environment={})
            else:
                yield task, line(task.key, value + 0.001 * task.seed, environment=self.environment)


def made(folder: Path, maker: Maker, asked: Study | None = None, **options: Any) -> Outcome:
    return conduct(asked or tried(), folder, Place(folder / "runs"), executor=maker, **options)


def test_the_best_on_seeds_of_its_own_is_compared_on_the_studys(tmp_path: Path) -> None:
    maker = Maker(REACHED)
    outcome = made(tmp_path, maker)
    tries = (("a", 0.1), ("a", 0.2), ("a", 0.4), ("b", 0.01), ("b", 0.02), ("b", 0.04))
    assert maker.asked[:6] == [(f"{name}, lr {rate}", rate, FIRST_TRIAL_SEED) for name, rate in tries]
    assert maker.asked[6:] == [
        (name, rate, seed) for seed in range(3) for name, rate in (("a", 0.2), ("b", 0.01))
    ]
    assert outcome.values("b", "final_accuracy") == {0: 0.8, 1: pytest.approx(0.801), 2: pytest.approx(0.802)}
    assert [trial.chosen for trial in outcome.trials] == [False, True, False, True, False, False]
    said = notes(report(outcome))
    assert "a: lr 0.2 was the best of 3 tries on validation, with seeds of their own." in said
    assert "b: lr 0.01 was the best of 3 tries on validation (1 diverged), with seeds of their own." in said


def test_what_diverges_on_one_of_several_trial_seeds_is_not_chosen(tmp_path: Path) -> None:
    class Uneven(Maker):
        def __call__(self, tasks: Sequence[Task], progress: Progress) -> Ended:
            for task in tasks:
                lost = {0.2: "diverged"} if task.seed == FIRST_TRIAL_SEED + 1 else {}
                self.reached = {**REACHED, **lost}
                yield from super().__call__([task], progress)

    maker = Uneven(REACHED)
    outcome = made(tmp_path, maker, tried(trial_seeds=2))
    assert [trial.changes["lr"] for trial in outcome.trials if trial.chosen] == [0.1, 0.01]
    assert [seed - FIRST_TRIAL_SEED for _, _, seed in maker.asked[:12]] == [0, 1] * 6


def test_where_less_is_better_the_least_is_taken(tmp_path: Path) -> None:
    class Losses(Maker):
        def __call__(self, tasks: Sequence[Task], progress: Progress) -> Ended:
            for task, own in super().__call__(tasks, progress):
                yield task, replace(own, numbers={"final_loss": own.numbers.get("final_accuracy")})

    outcome = made(tmp_path, Losses(REACHED), tried(measure="final_loss"))
    assert [trial.changes["lr"] for trial in outcome.trials if trial.chosen] == [0.4, 0.02]


def test_an_arm_of_which_every_try_diverged_is_shown_to(tmp_path: Path) -> None:
    outcome = made(tmp_path, Maker({**REACHED, 0.01: "diverged", 0.02: "diverged"}))
    assert [line.status for line in outcome.lines("b")] == ["diverged"] * 3
    told = report(outcome)
    assert "b: every one of 3 tries diverged; lr 0.01 is the first." in notes(told)
    assert told.comparisons[0].judgement.verdict == "diverged"


def test_nothing_is_compared_before_every_try_has_ended(tmp_path: Path) -> None:
    maker = Maker({**REACHED, 0.2: "failed"}, anywhere=True)
    with pytest.raises(ConvscopeError) as caught:
        made(tmp_path, maker)
    assert str(caught.value) == (
        f"study tiny: of the runs that choose among the tries of a some failed, as {tmp_path / 'journal.jsonl'} says. The "
        f"same command tries them again; nothing is compared before."
    )
    assert len(maker.asked) == 6
    shown = recorded(tried(), tmp_path)
    assert shown.lines("a") == [] and [trial.chosen for trial in shown.trials[:3]] == [False] * 3
    again = Maker(REACHED)
    assert made(tmp_path, again).values("a", "final_accuracy")[0] == 0.7
    assert again.asked[0] == ("a, lr 0.2", 0.2, FIRST_TRIAL_SEED)
    assert len(again.asked) == 7


def test_a_study_that_is_done_asks_for_nothing_whatever_has_changed_since(tmp_path: Path) -> None:
    """Its runs agree with each other; that the code has changed meanwhile is said, and no more."""
    made(tmp_path, Maker(REACHED))
    idle = Maker({})
    assert made(tmp_path, idle).values("a", "final_accuracy")[0] == 0.7
    assert idle.asked == []
    assert plan(tried(), tmp_path, Place(tmp_path)).runs == 0


def test_arms_on_the_same_data_must_have_seen_the_same_data(tmp_path: Path) -> None:
    """Each arm agrees with itself; the two do not: one was made before a file was exchanged."""
    pair = study(arm("a"), arm("b", lr=0.3))
    made_line: Callable[..., Any] = lambda number, seed, data: line(  # noqa: E731
        key_of(pair.config(pair.arms[number], seed)), 0.5, environment={"data": data, "dtypes": {}}
    )
    journal = Journal(tmp_path)
    for seed in range(3):
        journal.append(made_line(0, seed, "before"))
        journal.append(made_line(1, seed, "after"))
    with pytest.raises(UsageError, match=r"The data differ: before then, after now\."):
        recorded(pair, tmp_path)
    assert recorded(pair, tmp_path, allow_mixed=True).mixed == ("The data differ: before then, after now.",)


def test_arms_on_other_data_may_have_other_data(tmp_path: Path) -> None:
    pair = study(arm("a"), arm("b", data="mnist"))
    journal = Journal(tmp_path)
    for number, data in enumerate("xy"):
        key = key_of(pair.config(pair.arms[number], 0))
        journal.append(line(key, 0.5, environment={"data": data, "dtypes": {}}))
    assert recorded(pair, tmp_path).mixed == ()


def test_how_a_run_is_looked_at_is_part_of_what_its_numbers_mean() -> None:
    plain = study(arm("a"), arm("b", lr=0.3))
    often = study(arm("a"), arm("b", lr=0.3), also=("activations/dead@max",), inspect_every="5 steps")
    seldom = study(arm("a"), arm("b", lr=0.3), also=("activations/dead@max",))
    keys = {key_of(made.config(made.arms[0], 0)) for made in (plain, often, seldom)}
    assert len(keys) == 3
