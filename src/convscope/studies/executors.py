"""Where do the runs of a study happen?

    serial      one after another, in this process
    processes   one worker per core, each in a process of its own
    ray         a task per run on a Ray cluster (extra `ray`)

All three call `task.perform` with the study's thread count, so that no number
depends on the executor.  They yield every task with its line, in the order in
which the runs end.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Protocol

from convscope.compute.device import usable_cores
from convscope.core.errors import ConfigError, Interrupted, NoSpace, UnknownName
from convscope.train import signals

from .journal import Line
from .task import Ended, Report, Task, failed, perform

NAMES = ("serial", "processes", "ray")
HUNG_STEPS = 50
"""A worker is hung when it has reported nothing for so many times the longest pause it made before."""
HUNG_FLOOR_S = 600.0
"""But not sooner: reading data and a validation report nothing while they last."""
LOOKING_S = 4 * 3600.0
"""A diagnostic may take hours, at the end or while the run learns: a landscape of ResNet-20 takes six minutes."""
TRIES = 3
"""How often a run is begun whose worker hangs."""
WAIT_S = 0.25
"""How long the driver listens before it looks at signals and for workers that hang."""
STOP = getattr(signal, "SIGUSR1", signal.SIGTERM)
"""With which the driver asks a worker to stop: not what a terminal or a scheduler sends to every process of a group."""
ABSENT_S = 5.0
"""A turn of the driver that takes longer says nothing of its workers: it was stopped itself, as by Ctrl-Z."""
ENDING_S = 10.0
"""How long a worker that was asked to stop may take for its checkpoint."""

Progress = Callable[[Task, float], None]
"""Is told what share of a task's steps is made."""


class Executor(Protocol):
    """Makes runs."""

    def __call__(self, tasks: Sequence[Task], progress: Progress) -> Ended:
        """Yield every task with its line, as soon as it has ended."""


def serial(tasks: Sequence[Task], progress: Progress) -> Ended:
    """One after another, in this process: a crash of torch ends the study, which then goes on where it was.

    Raises:
        Interrupted: a signal came; the run under way has written its checkpoint.
        NoSpace: the disk is full.
    """
    for task in tasks:
        try:
            line = perform(task, partial(progress, task))
        except Interrupted as error:
            raise stopped(error.exit_code - 128) from error
        yield task, line


@dataclass
class _Worker:
    """A process that makes one run at a time."""

    process: SpawnProcess
    connection: Connection
    task: Task | None = None
    heard: float = 0.0
    """When it was given its run, or reported last."""
    pause: float | None = None
    """The longest time between two reports of this run; None before the first."""
    has_learned: bool = False
    """Whether its steps are made: what is left are the last validation and the diagnostics of its measures."""

    def give(self, task: Task) -> None:
        """Let it make this run."""
        self.task, self.heard, self.pause, self.has_learned = task, time.monotonic(), None, False
        with suppress(OSError):  # it has just died, which `listen` will find
            self.connection.send(task)

    def listen(self, progress: Progress) -> Line | None:
        """Take a report; the line of its run if that has ended, or if the process has.

        Raises:
            NoSpace: it found the disk full.
        """
        assert self.task is not None
        try:
            message: Line | float | NoSpace = self.connection.recv()
        except (EOFError, OSError):
            return failed(self.task, self.end())
        if isinstance(message, NoSpace):
            raise message
        now = time.monotonic()
        # A process takes seconds to start, and data to be read: a pause is between two reports.
        self.pause = 0.0 if self.pause is None else max(self.pause, now - self.heard)
        self.heard = now
        if isinstance(message, Line):
            return message
        self.has_learned = message >= 1
        progress(self.task, message)
        return None

    def is_hung(self, floor_s: float) -> bool:
        """Whether it has been silent for too long."""
        limit = HUNG_FLOOR_S if self.pause is None else max(floor_s, HUNG_STEPS * self.pause)
        assert self.task is not None
        limit = LOOKING_S if self.has_learned or self.task.config.compute.inspect else limit
        return time.monotonic() - self.heard > limit

    def end(self) -> str:
        """Close its pipe, wait for its process, kill it if it does not end, and say how it ended."""
        self.connection.close()
        self.process.join(ENDING_S)
        self.process.kill()
        self.process.join()
        code = self.process.exitcode
        self.process.close()
        return _how_it_ended(code)


class Processes:
    """A pool of spawned workers, one thread each, that outlives any of them.

    A worker that is killed (by the system, for want of memory) leaves a failed run; one that hangs is killed, and
    its run is begun again from its checkpoint, at most `TRIES` times in all.
    """

    def __init__(self, workers: int = 0, hung_floor_s: float = HUNG_FLOOR_S) -> None:
        self.count = workers
        self.hung_floor_s = hung_floor_s

    def __call__(self, tasks: Sequence[Task], progress: Progress) -> Ended:
        """See `Executor`.

        Raises:
            Interrupted: a signal came; the runs under way have written their checkpoints.
            NoSpace: the disk is full.
        """
        waiting, hung, workers = deque(tasks), Counter[str](), list[_Worker]()
        with signals.noted() as request:
            looked = time.monotonic()
            try:
                while waiting or any(worker.task for worker in workers):
                    _hand_out(waiting, workers, self.count or _room(tasks))
                    busy = [worker for worker in workers if worker.task]
                    ready = wait([worker.connection for worker in busy], timeout=WAIT_S)
                    if request.number:
                        raise stopped(request.number)
                    before, looked = looked, time.monotonic()
                    for worker in busy:
                        worker.heard += max(0.0, looked - before - ABSENT_S)
                    for worker in busy:
                        task, line = worker.task, None
                        if worker.connection in ready:
                            line = worker.listen(progress)
                        elif worker.is_hung(self.hung_floor_s):
                            line = _killed(worker, waiting, hung)
                        if worker.connection.closed:
                            workers.remove(worker)
                        if task and line:
                            worker.task = None
                            yield task, line
            finally:
                _stop(workers)


def _room(tasks: Sequence[Task]) -> int:
    """How many runs the cores can make at once, with the threads that each has."""
    threads = max((task.config.compute.threads for task in tasks), default=1)
    return max(1, usable_cores() // max(1, threads))


def _hand_out(waiting: deque[Task], workers: list[_Worker], count: int) -> None:
    """A run to every idle worker; where some are missing, processes begin."""
    for worker in [worker for worker in workers if not (worker.task or worker.process.is_alive())]:
        worker.end()
        workers.remove(worker)
    idle = sum(worker.task is None for worker in workers)
    for _ in range(min(len(waiting) - idle, count - len(workers))):
        workers.append(_begin())
    for worker in workers:
        if waiting and worker.task is None:
            worker.give(waiting.popleft())


def _killed(worker: _Worker, waiting: deque[Task], hung: Counter[str]) -> Line | None:
    """Kill a worker that hangs; its run waits to be begun again, or that was the last time."""
    assert worker.task is not None
    worker.process.kill()
    worker.end()
    hung[worker.task.key] += 1
    if hung[worker.task.key] == TRIES:
        return failed(worker.task, f"Its process hung {TRIES} times and was killed.")
    waiting.append(worker.task)
    return None


def _begin() -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,), daemon=True)
    with _deaf():
        process.start()
    theirs.close()
    return _Worker(process, ours)


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes begun in here never hear of Ctrl-C, nor of a SIGTERM, either of which may reach a whole group.

    The driver tells them to stop, and a second signal would end them before they have written a checkpoint.
    """
    if os.name == "nt":
        yield
        return
    resource_tracker.ensure_running()  # the first process begins it, and unblocks SIGINT after that
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _how_it_ended(code: int | None) -> str:
    assert code is not None  # it has been joined
    if code >= 0:
        return f"Its process ended with exit code {code}."
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    why = " The system does that when memory is full." if name == "SIGKILL" else ""
    return f"Its process was ended by {name}.{why}"


def _stop(workers: Sequence[_Worker]) -> None:
    """End them: an idle one by closing its pipe; one that runs writes a checkpoint first."""
    for worker in workers:
        if worker.task and worker.process.pid and worker.process.is_alive():
            os.kill(worker.process.pid, STOP)
    for worker in workers:
        worker.end()


def _work(connection: Connection) -> None:
    """A worker's life: take a task, report, give its line."""
    threading.Thread(target=_die_with_the_driver, daemon=True).start()
    if os.name != "nt":
        signal.signal(STOP, _stop_the_run)

    def report(share: float) -> None:
        # The driver may have closed the pipe and asked to stop: the run does, at its next moment.
        with suppress(OSError):
            connection.send(share)

    while True:
        try:
            task: Task = connection.recv()
            connection.send(_performed(task, report))
        except (EOFError, OSError):
            return


def _performed(task: Task, report: Report) -> Line | NoSpace:
    try:
        return perform(task, report)
    except NoSpace as error:
        return error
    except Interrupted as error:  # if the driver asked for it, nobody reads this
        return failed(task, str(error))


def _stop_the_run(number: int, frame: FrameType | None) -> None:
    """As a first SIGTERM would: a run that learns notes it (train/signals.py); nothing else is worth waiting for."""
    handler = signal.getsignal(signal.SIGTERM)
    if not callable(handler):
        os._exit(128 + signal.SIGTERM)
    handler(signal.SIGTERM, frame)


def _die_with_the_driver() -> None:
    """A driver that was killed must not leave workers that hold its runs."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a worker
    parent.join()
    os._exit(1)


def stopped(number: int) -> Interrupted:
    """What a study says that a signal of this number has stopped."""
    return Interrupted(
        "The study was stopped; runs that were under way have written a checkpoint. The same command goes on.",
        number,
    )


def executor(name: str, workers: int = 0, address: str = "") -> Executor:
    """The executor of this name.

    Args:
        name: serial, processes or ray.
        workers: of `processes`; 0 is one per core.
        address: of the Ray cluster; absent: one on this machine, for as long as the study runs.

    Raises:
        UnknownName: no such executor.
        ConfigError: an address for another executor, or workers below 0.
        MissingExtra: Ray is not installed.
    """
    if name not in NAMES:
        raise UnknownName("executor", name, NAMES)
    if workers < 0:
        raise ConfigError(f"workers cannot be {workers}: how many processes, or 0 for one per core.")
    if address and name != "ray":
        raise ConfigError(f"--address belongs to --executor ray, not to {name}.")
    if name == "ray":
        from .cluster import Cluster

        return Cluster(address)
    return Processes(workers) if name == "processes" else serial
