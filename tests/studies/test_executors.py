"""Workers are killed, hang, and are told to stop, and no number depends on them: rows F2, E2, C10."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_study

from convscope.core import files, snapshot
from convscope.core.config import Choice, RunConfig
from convscope.core.errors import ConfigError, Interrupted, NoSpace, RunBusy
from convscope.studies import executors
from convscope.studies.design import Study, arm
from convscope.studies.executors import Processes, executor, serial
from convscope.studies.journal import Line
from convscope.studies.task import Task, failed
from convscope.train import run as training

LONG = {"epochs": 400}  # cannot end before a signal sent at its first report arrives
KILLED = "Its process was ended by SIGKILL. The system does that when memory is full."


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers begin in 0.1 s instead of 4; else they are as ever."""
    context = tiny_study.warm()
    monkeypatch.setattr(multiprocessing, "get_context", lambda method: context)


def worker_of(task: Task) -> int:
    """The number of the process that makes this run."""
    _, _, root = training.located(task.config, task.place)
    return int((root / ".lock").read_text())


def plainly(line: Line) -> str:
    """All of a line that must not depend on who made it."""
    return json.dumps({key: value for key, value in vars(line).items() if key != "provenance"})


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def is_deaf(pid: int, number: int) -> bool:
    """Whether a process hears nothing of a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.partition("SigBlk:")[2].split()[0], 16) >> (number - 1) & 1)


def check_same(folder: Path, asked: Study, workers: int) -> None:
    tasks = {name: tiny_study.tasks(folder / name, asked) for name in ("serial", "processes")}
    with tiny_study.cheap():
        alone = {task.key: plainly(line) for task, line in serial(tasks["serial"], lambda *news: None)}
        found = {
            task.key: plainly(line)
            for task, line in Processes(workers)(tasks["processes"], lambda *news: None)
        }
    assert found == alone and len(alone) == len(asked.arms) * asked.seeds


@pytest.mark.usefixtures("warm")
def test_workers_are_lost_and_numbers_stay_the_same(tmp_path: Path) -> None:
    """One worker is killed and one run hangs three times; the others find what one process finds, and nothing leaks."""
    arms = (arm("killed", **LONG), arm("hanging", **LONG, lr=0.01), *tiny_study.ARMS[1:3])
    asked = tiny_study.study(arms, seeds=2)
    tasks = tiny_study.tasks(tmp_path / "pool", asked)
    tasks = [task for task in tasks if task.seed == 0 or task.arm in ("regular", "augmented")]
    faults = {"killed": signal.SIGKILL, "hanging": signal.SIGSTOP}
    sent: list[tuple[str, int]] = []

    def progress(task: Task, share: float) -> None:
        if task.arm in faults:
            pid = worker_of(task)
            if (task.arm, pid) not in sent:
                sent.append((task.arm, pid))
                os.kill(pid, faults[task.arm])

    before = open_files()
    with tiny_study.cheap():
        found = {
            (task.arm, task.seed): line for task, line in Processes(2, hung_floor_s=1.5)(tasks, progress)
        }
    assert not multiprocessing.active_children()
    assert open_files() == before
    assert sorted(arm for arm, _ in sent) == ["hanging"] * 3 + ["killed"]
    lost = {key: line.message for key, line in found.items() if line.status != "finished"}
    assert lost == {("killed", 0): KILLED, ("hanging", 0): "Its process hung 3 times and was killed."}
    others = tiny_study.study(tiny_study.ARMS[1:3], seeds=2)
    with tiny_study.cheap():
        alone = {
            (task.arm, task.seed): plainly(line)
            for task, line in serial(tiny_study.tasks(tmp_path / "serial", others), lambda *news: None)
        }
    assert {key: plainly(line) for key, line in found.items() if key not in lost} == alone


@pytest.mark.usefixtures("warm")
def test_who_stops_listening_leaves_nothing_behind(tmp_path: Path) -> None:
    """The journal cannot be written, say; and an idle worker that was killed is replaced before it gets a run."""
    asked = tiny_study.study((arm("plain"), arm("long", **LONG)), seeds=2)
    tasks = tiny_study.tasks(tmp_path, asked)
    before = open_files()
    with tiny_study.cheap():
        news = Processes(1)([tasks[0], tasks[2], tasks[1]], lambda *news: None)
        task, _ = next(news)
        (idle,) = multiprocessing.active_children()
        idle.kill()
        idle.join()
        (_, line) = next(news)
        assert line.status == "finished"
        with pytest.raises(ZeroDivisionError):
            list(Processes()(tasks, lambda *news: 1 / 0))  # a worker per core
        news.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()
    assert open_files() == before


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_eight_seeds_in_parallel_are_eight_seeds_in_series(tmp_path: Path) -> None:
    check_same(tmp_path, tiny_study.study(seeds=8), workers=2)


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_ten_workers_killed_over_a_study(tmp_path: Path) -> None:
    asked = tiny_study.study(tuple(arm(f"{lr:g}", lr=lr, epochs=20) for lr in (0.01, 0.02, 0.03)), seeds=4)
    killed: set[str] = set()

    def watch(task: Task, news: float | Line) -> None:
        # Not at the 0 that announces a run: nobody makes it yet.
        if isinstance(news, float) and news > 0 and task.key not in killed and len(killed) < 10:
            killed.add(task.key)
            os.kill(worker_of(task), signal.SIGKILL)

    outcome = tiny_study.make(tmp_path / "killed", asked, executor=Processes(2), watch=watch)
    lines = [cell.line for cell in outcome.cells if cell.line]
    assert [line.message for line in lines if line.status == "failed"] == [KILLED] * 10
    assert len([line for line in lines if line.status == "finished"]) == 2
    again = tiny_study.make(tmp_path / "killed", asked, executor=Processes(2))
    straight = tiny_study.make(tmp_path / "straight", asked)
    assert [plainly(cell.line) for cell in again.cells if cell.line] == [
        plainly(cell.line) for cell in straight.cells if cell.line
    ]


# Signals -----------------------------------------------------------------------------------------------


def _without_checkpoints(task: Task) -> Task:
    """None but the last: what is there of a run that did not end was written because it was asked to stop."""
    compute = task.config.compute.model_copy(update={"checkpoint_every": "600 seconds"})
    return replace(task, config=task.config.model_copy(update={"compute": compute}))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_driver_that_is_interrupted_lets_its_worker_write_a_checkpoint(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    """A terminal's Ctrl-C and a scheduler's SIGTERM reach the worker too; the driver's must not be a second signal."""
    asked = tiny_study.study((arm("long", epochs=120), arm("other", epochs=120, lr=0.01)), seeds=1)
    task, alone_task = (
        _without_checkpoints(tiny_study.tasks(folder, asked)[0]) for folder in (tmp_path, tmp_path / "alone")
    )
    _, _, root = training.located(task.config, task.place)
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    kill = os.kill

    def asked_to_stop(pid: int, number: int) -> None:
        kill(pid, number)
        kill(pid, signal.SIGCONT)

    def progress(task: Task, share: float) -> None:
        if share and not sent:  # stopped before its first step, a run has nothing to write down
            sent.append(worker_of(task))
            # On a busy machine it came to its end before the driver had its turn.
            kill(sent[0], signal.SIGSTOP)
            assert is_deaf(sent[0], number)  # however long its step takes, what comes to both is one signal
            kill(sent[0], number)
            kill(os.getpid(), number)

    sent: list[int] = []
    monkeypatch.setattr(executors.os, "kill", asked_to_stop)
    with pytest.raises(Interrupted) as error:
        list(Processes(1)([task], progress))
    assert str(error.value) == (
        "The study was stopped; runs that were under way have written a checkpoint. The same command goes on."
    )
    assert error.value.exit_code == 128 + number and sent
    assert {each: signal.getsignal(each) for each in handlers} == handlers
    assert not multiprocessing.active_children()
    assert capfd.readouterr().err == ""
    found, _ = snapshot.newest(root / "checkpoints")
    assert found is not None and 0 < found.step < 240
    ((_, line),) = serial([task], lambda *news: None)
    ((_, alone),) = serial([alone_task], lambda *news: None)
    assert plainly(line) == plainly(alone)


def until(true: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_a_driver_with_workers_is_stopped_in_every_way(tmp_path: Path) -> None:
    """Ctrl-C to the whole group, SIGKILL and SIGTERM to the driver; the worker processes are really spawned."""
    tiny_study.make(tmp_path / "straight")
    folder = tmp_path / "stopped"

    def results() -> int:
        return len(list(folder.glob("runs/*/*/result.json")))

    def held() -> list[Path]:
        return [root for root in folder.glob("runs/*/seed-*") if _is_held(root)]

    for number, everyone in ((signal.SIGINT, True), (signal.SIGKILL, False), (signal.SIGTERM, True)):
        before = results()
        driver = tiny_study.driver_with_workers(folder)
        until(lambda before=before: results() > before and bool(held()))  # type: ignore[misc]
        (os.killpg if everyone else os.kill)(driver.pid, number)
        assert driver.wait() == (-9 if number == signal.SIGKILL else 128 + number)
        # Whoever is left of a driver that was killed lets go of its run at once, as fast as a busy machine allows.
        until(lambda: not held(), seconds=5)
    # Python's resource tracker warns of a semaphore (of tqdm, in torch.fx) that the killed processes left.
    said = [text for text in tiny_study.said(folder).splitlines() if "resource_tracker" not in text]
    sentence = str(executors.stopped(signal.SIGINT))
    assert [text for text in said if "warnings.warn" not in text] == [sentence] * 2
    assert 0 < len(tiny_study.rows(folder)) < 12
    assert tiny_study.driver_with_workers(folder).wait() == 0, tiny_study.said(folder)
    assert tiny_study.rows(folder) == tiny_study.rows(tmp_path / "straight")


def _is_held(root: Path) -> bool:
    try:
        with files.held(root):
            return False
    except RunBusy:
        return True


# A full disk ------------------------------------------------------------------------------------------


def _work_without_room(connection: Connection, work: Callable[[Connection], None] = executors._work) -> None:
    files.free_bytes = lambda path: 0
    work(connection)


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("make", [serial, Processes(2)], ids=["serial", "processes"])
def test_a_full_disk_ends_the_study(
    make: executors.Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other run has room either: each would be a failed row, with whatever space the one before has left."""
    monkeypatch.setattr(files, "free_bytes", lambda path: 0)
    monkeypatch.setattr(executors, "_work", _work_without_room)
    tasks = tiny_study.tasks(tmp_path, tiny_study.study(tiny_study.ARMS[:2], seeds=2))
    with tiny_study.cheap(), pytest.raises(NoSpace) as error:
        list(make(tasks, lambda *news: None))
    assert str(error.value).startswith("There are 0 bytes free for ") and error.value.exit_code == 5
    assert not multiprocessing.active_children()


# Choosing one ------------------------------------------------------------------------------------------


def test_an_address_belongs_to_ray() -> None:
    with pytest.raises(ConfigError) as error:
        executor("processes", address="10.0.0.1:6379")
    assert str(error.value) == "--address belongs to --executor ray, not to processes."
    assert executor("serial") is serial
    chosen = executor("processes", workers=3)
    assert isinstance(chosen, Processes) and chosen.count == 3


@pytest.mark.parametrize(("cores", "threads", "runs"), [(8, 1, 8), (8, 3, 2), (2, 4, 1)])
def test_a_worker_per_core_or_per_so_many_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, threads: int, runs: int
) -> None:
    task = tiny_study.tasks(tmp_path, tiny_study.study(tiny_study.ARMS[:2], seeds=1))[0]
    config = task.config.model_copy(
        update={"compute": task.config.compute.model_copy(update={"threads": threads})}
    )
    monkeypatch.setattr(executors, "usable_cores", lambda: cores)
    assert executors._room([replace(task, config=config)]) == runs


def test_an_interrupted_run_ends_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*given: Any) -> None:
        raise Interrupted("The run was stopped.", signal.SIGTERM)

    monkeypatch.setattr(executors, "perform", stop)
    tasks = tiny_study.tasks(tmp_path, tiny_study.study(tiny_study.ARMS[:2], seeds=1))
    with pytest.raises(Interrupted) as error:
        list(serial(tasks, lambda *news: None))
    assert (str(error.value), error.value.exit_code) == (str(executors.stopped(signal.SIGTERM)), 143)


def _driver_that_is_killed(connection: Connection) -> None:
    """It has a worker that is busy for a minute, and both have the connection."""
    executors.perform = lambda task, report: time.sleep(60)  # type: ignore[assignment, return-value]
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    context.Process(target=executors._work, args=(theirs,)).start()
    ours.send(None)
    connection.send("begun")
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_busy_worker_does_not_outlive_its_driver() -> None:
    """It would hold its run, and make it to the end for nobody."""
    ours, theirs = multiprocessing.Pipe()
    tiny_study.warm().Process(target=_driver_that_is_killed, args=(theirs,)).start()
    theirs.close()
    assert ours.recv() == "begun"
    with pytest.raises(EOFError):  # once nobody has the other end
        assert ours.poll(10), "The worker is still there."
        ours.recv()
    ours.close()


def test_a_driver_that_was_stopped_itself_calls_no_worker_hung(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-Z, lunch and `fg`; or `docker pause`: the clock goes on, and the workers were stopped too."""
    task = tiny_study.tasks(tmp_path, tiny_study.study(tiny_study.ARMS[:2], seeds=1))[0]
    ours, theirs = multiprocessing.Pipe()
    killed: list[bool] = []
    process = SimpleNamespace(
        is_alive=lambda: True, join=lambda *given: None, kill=lambda: killed.append(True), close=lambda: None,
        exitcode=0, pid=None,
    )  # fmt: skip
    clock = [0.0]
    monkeypatch.setattr(executors, "_begin", lambda: executors._Worker(process, ours))  # type: ignore[arg-type]
    monkeypatch.setattr(executors.time, "monotonic", lambda: clock[0])

    def wait(connections: list[Any], timeout: float) -> list[Any]:
        clock[0] += 3600
        if clock[0] == 3600:
            return []
        theirs.send(failed(task, "ended"))
        return connections

    monkeypatch.setattr(executors, "wait", wait)
    ((_, line),) = Processes(1)([task], lambda *news: None)
    assert line.message == "ended"


def looking(config: RunConfig) -> RunConfig:
    """The same run with a diagnostic that looks while it learns."""
    inspect = (Choice(name="landscape"),)
    return config.model_copy(update={"compute": config.compute.model_copy(update={"inspect": inspect})})


def test_a_worker_is_hung_by_its_own_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty times its longest pause, but never sooner than the floor; how long a run takes to start does not count."""
    task = tiny_study.tasks(tmp_path, tiny_study.study(tiny_study.ARMS[:2], seeds=1))[0]
    ours, theirs = multiprocessing.Pipe()
    worker = executors._Worker(multiprocessing.get_context("spawn").Process(), ours)
    clock = iter(
        [
            0.0,
            599.0,
            601.0,
            500.0,
            509.0,
            511.0,
            503.0,
            652.0,
            654.0,
            14_903.0,
            14_904.0,
            600.0,
            14_999.0,
            15_001.0,
        ]
    )
    monkeypatch.setattr(executors.time, "monotonic", lambda: next(clock))
    worker.give(task)  # at 0
    assert theirs.recv() == task
    assert [worker.is_hung(10) for _ in range(2)] == [False, True]  # starting, at 599 and at 601
    theirs.send(0.0)
    worker.listen(lambda *news: None)  # at 500
    assert [worker.is_hung(10) for _ in range(2)] == [False, True]  # at 509 and at 511: the floor
    theirs.send(0.5)
    worker.listen(lambda *news: None)  # at 503
    assert [worker.is_hung(10) for _ in range(2)] == [False, True]  # at 652 and at 654: fifty times three
    worker.task = replace(task, config=looking(task.config))
    assert [worker.is_hung(10) for _ in range(2)] == [False, True]  # at 4 hours and a second later, from 503
    worker.task = task
    theirs.send(1.0)
    worker.listen(lambda *news: None)  # at 600: its steps are made, and what measures may take four hours too
    assert [worker.is_hung(10) for _ in range(2)] == [False, True]  # at 14999 and at 15001
    ours.close()
    theirs.close()
