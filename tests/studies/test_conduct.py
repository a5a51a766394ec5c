"""A study goes on after whatever stopped it, and pools nothing that must not be pooled: rows F1, F3-F6, C2, C4, D10."""

import json
import math
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import tiny_study

from convscope.core.errors import ConfigError, DataMissing, RunBusy, UsageError
from convscope.core.records import OPENINGS
from convscope.studies import conduct, measures, report
from convscope.studies.design import arm
from convscope.studies.executors import Progress, serial
from convscope.studies.journal import Journal, Line
from convscope.studies.task import Task
from convscope.train import loop

RUNS = 12
STEPS = 4
KILLS = 5
NEVER = 10**9
EVENTS = 1200
"""Fewer than there are steps and operations on files in the whole study."""
PAIR = (arm("plain"), arm("adam", optimizer="adam", lr=0.003))


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the study that nothing disturbed."""
    folder: Path = tmp_path_factory.mktemp("straight")
    tiny_study.make(folder)
    return folder


# F1: the driver is killed ------------------------------------------------------------------------------


def ended(driver: BaseProcess) -> int:
    """Its exit code, or minus the signal that killed it."""
    driver.join()
    assert driver.exitcode is not None
    return driver.exitcode


def under_way(folder: Path) -> int:
    """Runs with a checkpoint and without a result."""
    begun = {path.parents[1] for path in folder.glob("runs/*/seed-*/checkpoints/*.json")}
    return sum(not (root / "result.json").exists() for root in begun)


def check_killed(folder: Path, straight: Path, kill: Callable[[], int]) -> int:
    """Kill five times, go on to the end, and compare; how many kills hit a run in its middle."""
    hits = 0
    for _ in range(KILLS):
        assert kill() == -signal.SIGKILL
        hits += under_way(folder)
        # A line does not wait for the end of the study: all that have ended but the last have theirs.
        assert len(tiny_study.rows(folder)) >= len(list(folder.glob("runs/*/*/result.json"))) - 1
    assert ended(tiny_study.driver(folder, die_at=NEVER)) == 0, tiny_study.said(folder)
    assert tiny_study.rows(folder) == tiny_study.rows(straight)
    assert tiny_study.tables(folder) == tiny_study.tables(straight)
    done = Counter(tiny_study.events(folder))
    ends = {
        event: count for event, count in done.items() if event.startswith("replace") and "result" in event
    }
    # A run that has ended is never trained again; of one under way only the step that was not yet on the disk is.
    assert len(ends) == RUNS and set(ends.values()) == {1}
    assert RUNS * STEPS <= done["step"] <= RUNS * STEPS + KILLS
    return hits


def test_a_driver_killed_five_times_finds_the_same(straight: Path, tmp_path: Path) -> None:
    """Each time before a step or an operation on files drawn from its next ones."""
    dice = random.Random(3)

    def kill() -> int:
        return ended(tiny_study.driver(tmp_path, die_at=dice.randrange(EVENTS // (KILLS + 1))))

    assert check_killed(tmp_path, straight, kill) >= 3


@pytest.mark.slow
def test_fifty_kills(straight: Path, tmp_path: Path) -> None:
    """From outside, some time after a random event: also in the middle of a computation."""
    assert ended(tiny_study.driver(tmp_path / "warm", die_at=NEVER)) == 0
    assert len(tiny_study.events(tmp_path / "warm")) > EVENTS
    hits = 0
    for number in range(10):
        dice, folder = random.Random(number), tmp_path / f"{number}"

        def kill(folder: Path = folder, dice: random.Random = dice) -> int:
            enough = len(tiny_study.events(folder)) + dice.randrange(EVENTS // (KILLS + 1))
            driver = tiny_study.driver(folder, die_at=NEVER)
            while len(tiny_study.events(folder)) < enough:
                time.sleep(0.002)
            time.sleep(dice.uniform(0, 0.01))
            driver.kill()
            return ended(driver)

        hits += check_killed(folder, straight, kill)
    assert hits >= 10


# F3: the journal is torn -------------------------------------------------------------------------------


def test_a_study_goes_on_from_a_torn_journal(straight: Path, tmp_path: Path) -> None:
    whole = (straight / "journal.jsonl").read_bytes()
    last = whole[:-1].rfind(b"\n") + 1
    known = tiny_study.lines(straight)
    for length in (last, last + 1, (last + len(whole)) // 2, len(whole) - 1):
        torn = tmp_path / f"{length}"
        torn.mkdir()
        (torn / "journal.jsonl").write_bytes(whole[:length])
        replay = tiny_study.Replay(known)
        tiny_study.make(torn, executor=replay)
        assert replay.asked == list(known)[-1:]
        assert tiny_study.rows(torn) == tiny_study.rows(straight)


def test_the_order_of_lines_does_not_matter(straight: Path, tmp_path: Path) -> None:
    """Workers end in any order."""
    journal = Journal(tmp_path)
    for line in reversed(tiny_study.lines(straight).values()):
        journal.append(line)
    assert tiny_study.tables(tmp_path) == tiny_study.tables(straight)


# F4: several drivers -----------------------------------------------------------------------------------


def test_of_ten_drivers_one_runs(tmp_path: Path) -> None:
    ran: list[int] = []
    refused: list[str] = []
    together, nine = threading.Barrier(10), threading.Event()

    def executor(tasks: Any, progress: Progress) -> Iterator[tuple[Task, Line]]:
        ran.append(len(tasks))
        assert nine.wait(30)
        yield from ()

    def drive() -> None:
        together.wait()
        try:
            start()
        except RunBusy as error:
            refused.append(str(error))
            if len(refused) == 9:
                nine.set()

    def start() -> None:
        conduct.conduct(tiny_study.study(), tmp_path, tiny_study.place(tmp_path), executor=executor)

    threads = [threading.Thread(target=drive) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ran == [0, RUNS]  # no trials, and the runs
    said = f"{tmp_path} is being written by process {os.getpid()}. Wait for it, or stop it first."
    # Those that came before the first had written its number cannot name it.
    assert set(refused) <= {said, said.replace(str(os.getpid()), "(unknown)")}
    assert len(refused) == 9


# F5, C2, C4: runs that do not finish -------------------------------------------------------------------

WILD = arm("wild", lr=1e30)
BROKEN = arm(
    "broken", augment=[{"name": "crop", "padding": 2}], progressive=0.5
)  # LeNet-5 takes one size only


class Counting:
    """`serial`, with the arms it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, tasks: Any, progress: Progress) -> Iterator[tuple[Task, Line]]:
        self.asked += [f"{task.arm} {task.seed}" for task in tasks]
        return serial(tasks, progress)


def test_runs_that_diverge_or_fail_are_rows(tmp_path: Path) -> None:
    asked = tiny_study.study((arm("plain"), WILD, BROKEN), seeds=2)
    first, second = Counting(), Counting()
    outcome = tiny_study.make(tmp_path, asked, executor=first)
    assert first.asked == ["plain 0", "wild 0", "broken 0", "plain 1", "wild 1", "broken 1"]
    assert {name: [line.status for line in outcome.lines(name)] for name in ("plain", "wild", "broken")} == {
        "plain": ["finished"] * 2, "wild": ["diverged"] * 2, "broken": ["failed"] * 2,
    }  # fmt: skip
    for line in outcome.lines("wild"):
        assert line.message.startswith("Step 1 (epoch 0.50): the loss is nan; ") and line.numbers == {}
    for line in outcome.lines("broken"):
        assert line.message == (
            "With --progressive the run begins with images of 21x21 pixels, and lenet5 takes 28x28 only. Leave "
            "--progressive out, or choose a network that averages over the whole map, such as resnet20."
        )
    assert [outcome.values(name, "final_accuracy") == {} for name in ("plain", "wild", "broken")] == [
        False, True, True
    ]  # fmt: skip
    again = tiny_study.make(tmp_path, asked, executor=second)
    assert second.asked == ["broken 0", "broken 1"]
    assert again.cells == outcome.cells
    found = {row.arm.name: (row.runs, row.diverged, row.failed) for row in report.report(again).arms}
    assert found == {
        "plain": ("2", 0, 0),
        "wild": ("0 of 2: 2 diverged", 2, 0),
        "broken": ("0 of 2: 2 failed", 0, 2),
    }


def test_a_measure_that_is_not_finite_is_never_averaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_run, values = measures._of_run, iter([0.5, math.nan])
    monkeypatch.setattr(measures, "_of_run", lambda run: {**of_run(run), "final_accuracy": next(values)})
    task, other = tiny_study.tasks(tmp_path, tiny_study.study(PAIR, seeds=1))
    with tiny_study.cheap():
        lines = [line for _, line in serial([task, other], lambda *news: None)]
    assert [line.numbers["final_accuracy"] for line in lines] == [0.5, None]
    outcome = conduct.Outcome(
        tiny_study.study(PAIR, seeds=2),
        tuple(conduct.Cell("plain", seed, line) for seed, line in enumerate(lines)),
    )
    assert outcome.values("plain", "final_accuracy") == {0: 0.5}
    row = report.report(outcome).arms[0]
    assert row.summary is not None and (row.summary.n, row.summary.mean) == (1, 0.5)


def test_what_is_asked_of_a_study_reaches_every_run(tmp_path: Path) -> None:
    given: list[Task] = []
    news: list[tuple[str, Any]] = []

    def executor(tasks: Any, progress: Progress) -> Iterator[tuple[Task, Line]]:
        given.extend(tasks)
        yield from ()

    asked = tiny_study.study(PAIR, seeds=1)
    options: dict[str, Any] = {"threads": 3, "allow_mixed": True}
    tiny_study.make(
        tmp_path,
        asked,
        executor=executor,
        watch=lambda task, share: news.append((task.arm, share)),
        **options,
    )
    assert [(task.config.compute.threads, task.place.allow_different) for task in given] == [(3, True)] * 2
    assert news == [("plain", 0.0), ("adam", 0.0)]


# F6: other conditions ----------------------------------------------------------------------------------


def changed(line: Line, path: str, value: Any) -> Line:
    """The line as if it had been made under another condition."""
    environment = json.loads(json.dumps(line.environment))
    *outer, last = path.split(".")
    inner = environment
    for key in outer:
        inner = inner[key]
    inner[last] = value
    return replace(line, environment=environment)


@pytest.mark.parametrize(
    ("path", "value", "made", "sentence"),
    [
        (
            "beside",
            {"convscope.diagnostics": "old"},
            0,
            "The code of convscope.diagnostics differs between runs.",
        ),
        ("changes", ["Other threads."], 0, "A run was not continued as it was begun: Other threads."),
        ("code", "1" * 64, 0, f"The code that decides numbers differs: {'1' * 10} then, {'0' * 40} now."),
        ("versions.torch", "1.13.0", 0, "The torch version differs: 1.13.0 then, {versions[torch]} now."),
        ("data", "abc", 0, "The data differ: abc then, {data:.10} now."),
        (
            "dtypes.conv1",
            "float16",
            1,
            "The precision of 1 layer differs, first of conv1: float16 then, {first} now.",
        ),
    ],
)
def test_runs_made_under_other_conditions_are_not_pooled(
    straight: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    value: Any,
    made: int,
    sentence: str,
) -> None:
    beside = {"convscope.diagnostics": "new"}
    known = {key: changed(line, "beside", beside) for key, line in tiny_study.lines(straight).items()}
    old = next(iter(known.values()))
    said = sentence.format(**old.environment, first=old.environment["dtypes"].get("conv1", "not recorded"))
    monkeypatch.setattr(conduct, "code_beside", lambda task: beside)
    Journal(tmp_path).append(changed(old, path, value))
    replay = tiny_study.Replay(known)
    with pytest.raises(UsageError) as error:
        tiny_study.make(tmp_path, executor=replay)
    assert str(error.value) == (
        f"Runs of study tiny in {tmp_path / 'journal.jsonl'} were made under other conditions. {said} They are not "
        f"pooled. Begin anew with another --root (and --into, if you gave one), or pool them with --allow-mixed: the "
        f"table then says so."
    )
    assert error.value.exit_code == 2
    # Nothing was run in vain: the precision of a network is known when there is one, the rest before.
    assert len(replay.asked) == made * 4
    # Nor is the study spoilt by what must not be pooled: where the others were made, it can go on.
    assert len(tiny_study.rows(tmp_path)) == 1 + made * 3
    outcome = tiny_study.make(tmp_path, executor=tiny_study.Replay(known), allow_mixed=True)
    assert outcome.mixed == (said,)
    with pytest.raises(UsageError), tiny_study.checkpointed():
        conduct.recorded(tiny_study.study(), tmp_path)


def test_arms_that_were_measured_by_other_code_are_not_pooled(straight: Path, tmp_path: Path) -> None:
    """Also where each arm agrees with itself; what only some runs knew is compared among those."""
    journal = Journal(tmp_path)
    for number, line in enumerate(tiny_study.lines(straight).values()):
        beside = {
            "convscope.diagnostics": f"{number % 4 // 3}",
            **({"of_a_user": "1"} if number % 4 == 0 else {}),
        }
        journal.append(changed(line, "beside", beside))
    with tiny_study.checkpointed():
        outcome = conduct.recorded(tiny_study.study(), tmp_path, allow_mixed=True)
    assert outcome.mixed == ("The code of convscope.diagnostics differs between runs.",)


def test_runs_that_began_with_other_weights_are_not_pooled(straight: Path, tmp_path: Path) -> None:
    """The key holds the place of the file; what it held is compared."""
    lines = list(tiny_study.lines(straight).values())[:2]
    config = tiny_study.tasks(tmp_path, tiny_study.study())[0].config
    recipes = [config.recipe.model_copy(update={"weights": name}) for name in ("a", "b")]
    from_a, from_b = (config.model_copy(update={"recipe": recipe}) for recipe in recipes)
    one, other = (changed(lines[0], "weights", digest) for digest in ("1", "2"))
    assert conduct.differences([(from_a, one), (from_b, other), (from_a, one), (from_a, lines[0])]) == []
    assert conduct.differences([(from_a, one), (from_a, other)]) == ["The weights in a differ between runs."]


def test_a_study_in_float32_takes_no_run_in_bfloat16(straight: Path, tmp_path: Path) -> None:
    """Also where all runs of an arm are alike, and only auto would let them be."""
    line = changed(next(iter(tiny_study.lines(straight).values())), "dtypes.conv1", "bfloat16")
    config = tiny_study.tasks(tmp_path, tiny_study.study())[0].config
    assert config.compute.precision == "float32"
    auto = config.model_copy(update={"compute": config.compute.model_copy(update={"precision": "auto"})})
    assert conduct.differences([(auto, line)]) == []
    assert conduct.differences([(config, line)]) == [
        "A run computed in bfloat16, and the study asks for float32."
    ]


def test_a_changed_module_of_a_users_is_refused_though_nothing_is_left_to_run(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers of the network as it was would pass for those of the one that is there now."""
    for line in tiny_study.lines(straight).values():
        Journal(tmp_path).append(changed(line, "beside", {"of_a_user": "1"}))
    replay = tiny_study.Replay({})
    monkeypatch.setattr(conduct, "own_code", lambda items: {"of_a_user": "1"})
    assert tiny_study.make(tmp_path, executor=replay).mixed == ()
    monkeypatch.setattr(conduct, "own_code", lambda items: {"of_a_user": "2"})
    with pytest.raises(UsageError, match=r"The code of of_a_user differs between runs\."):
        tiny_study.make(tmp_path, executor=replay)
    assert replay.asked == []


def test_a_study_that_is_done_says_what_has_changed_since(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is pooled; but who runs it again after an update, or with other images, must not think these are new."""
    for line in tiny_study.lines(straight).values():
        Journal(tmp_path).append(changed(line, "data", "before"))
    replay, now = tiny_study.Replay({}), line.environment["data"]
    outcome = tiny_study.make(tmp_path, executor=replay)
    assert outcome.since == (f"The data differ: before then, {now:.10} now.",) and replay.asked == []
    assert repr(report.report(outcome)).endswith(
        f"\n\nNothing was run, and since the runs were made: The data differ: before then, {now:.10} now."
    )
    assert tiny_study.make(straight, executor=replay).since == ()

    def gone(*given: Any) -> None:
        raise DataMissing("There are no images any more.")

    monkeypatch.setattr(conduct, "located", gone)
    assert tiny_study.make(tmp_path, executor=replay).since == ()


def test_a_run_continued_elsewhere_is_said_to_be(straight: Path, tmp_path: Path) -> None:
    known = tiny_study.lines(straight)
    journal = Journal(tmp_path)
    for number, line in enumerate(known.values()):
        journal.append(
            line if number else changed(line, "changes", ["The torch versions differ: 1 then, 2 now."])
        )
    outcome = conduct.recorded(tiny_study.study(), tmp_path, allow_mixed=True)
    assert outcome.mixed == (
        "A run was not continued as it was begun: The torch versions differ: 1 then, 2 now.",
    )


# D10, and what is never made twice ---------------------------------------------------------------------


def test_a_study_never_opens_the_test_split(straight: Path) -> None:
    assert len(tiny_study.rows(straight)) == RUNS
    assert not list(straight.rglob(OPENINGS))
    with pytest.raises(ConfigError) as error:
        tiny_study.study(measure="test_accuracy")
    assert str(error.value) == (
        "study tiny: 'test_accuracy' cannot be a measure: a study chooses, and whoever chooses must not see test "
        "images. Take final_accuracy; the test split is opened once, at the end, by `convscope test RUN`."
    )


def no_step(session: loop.Session) -> None:
    raise AssertionError("A step is made.")


def test_studies_share_runs(straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another study with an arm of this one makes the other arm only, and another measure needs no training."""
    for file in ("journal.jsonl", "cache", "runs"):
        copy = shutil.copytree if (straight / file).is_dir() else shutil.copy
        copy(straight / file, tmp_path / file)
    counting = Counting()
    other = tiny_study.study((arm("as it was"), arm("fast", lr=0.05)), seeds=1)
    tiny_study.make(tmp_path, other, executor=counting)
    assert counting.asked == ["fast 0"]
    monkeypatch.setattr(loop, "take_step", no_step)
    known = Journal(tmp_path).find(next(iter(tiny_study.rows(straight))))
    counting = Counting()
    dead = "activations/dead_share"
    outcome = tiny_study.make(
        tmp_path, replace(tiny_study.study(PAIR, seeds=1), also=(dead,)), executor=counting
    )
    assert counting.asked == ["plain 0", "adam 0"]
    (line,) = outcome.lines("plain")
    assert known is not None and line.numbers == {**known.numbers, dead: line.numbers[dead]}
    assert line.numbers[dead] is not None
    # The first study's rows are still there, without a run directory.
    shutil.rmtree(tmp_path / "runs")
    counting = Counting()
    tiny_study.make(tmp_path, executor=counting)
    assert counting.asked == []
