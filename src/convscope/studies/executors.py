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
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Protocol

from convscope.compute.device import usable_cores
from convscope.core.errors import ConfigError, Interrupted

from .journal import Line
from .task import Report, Task, failed, perform

NAMES = ("serial", "processes", "ray")
HUNG_STEPS = 50
"""A worker is hung when it has reported nothing for so many times the longest pause it made before."""
HUNG_FLOOR_S = 600.0
"""But not sooner: reading data, a validation and a diagnostic at the end report nothing while they last."""
TRIES = 3
"""How often a run is begun whose worker hangs."""


Progress = Callable[[Task, float], None]
"""Is told what share of a task's steps is made."""


class Executor(Protocol):
    """Makes runs."""

    def __call__(self, tasks: Sequence[Task], progress: Progress) -> Iterator[tuple[Task, Line]]:
        """Yield every task with its line, as soon as it has ended."""


def serial(tasks: Sequence[Task], progress: Progress) -> Iterator[tuple[Task, Line]]:
    """One after another, in this process: a crash of torch ends the study, which then goes on where it was."""
    for task in tasks:
        yield task, perform(task, partial(progress, task))


@dataclass
class _Worker:
    """A process that makes one run at a time."""

    process: SpawnProcess
    connection: Connection
    task: Task | None = None
    heard: float = field(default_factory=time.monotonic)
    """When it reported last."""
    pause: float = 0.0
    """The longest time between two reports of this run."""

    def give(self, task: Task) -> None:
        """Let it make this run."""
        self.task, self.heard, self.pause = task, time.monotonic(), 0.0
        self.connection.send(task)

    def hear(self) -> None:
        """Note that it is alive."""
        now = time.monotonic()
        self.pause = max(self.pause, now - self.heard)
        self.heard = now

    def is_hung(self, floor_s: float) -> bool:
        """Whether it has been silent for too long."""
        return self.task is not None and time.monotonic() - self.heard > max(floor_s, HUNG_STEPS * self.pause)


class Processes:
    """A pool of spawned workers, one thread each, that outlives any of them.

    A worker that is killed (by the system, for want of memory) leaves a failed run; one that hangs is killed, and
    its run is begun again from its checkpoint, at most `TRIES` times in all.
    """

    def __init__(self, workers: int = 0, hung_floor_s: float = HUNG_FLOOR_S) -> None:
        self.count = workers or usable_cores()
        self.hung_floor_s = hung_floor_s
        self.tries: dict[str, int] = {}

    def __call__(self, tasks: Sequence[Task], progress: Progress) -> Iterator[tuple[Task, Line]]:
        """See `Executor`."""
        waiting = deque(tasks)
        workers = [_begin() for _ in range(min(self.count, len(tasks)))]
        try:
            while waiting or any(worker.task for worker in workers):
                for worker in workers:
                    if waiting and worker.task is None:
                        worker.give(waiting.popleft())
                yield from self._listen(workers, waiting, progress)
        finally:
            _stop(workers)

    def _listen(
        self, workers: list[_Worker], waiting: deque[Task], progress: Progress
    ) -> Iterator[tuple[Task, Line]]:
        """Wait for reports for a second at most, and deal with each."""
        ready = wait([worker.connection for worker in workers if worker.task], timeout=1.0)
        for place, worker in enumerate(workers):
            task = worker.task
            if task is None:
                continue
            if worker.connection in ready:
                try:
                    message = worker.connection.recv()
                except (EOFError, OSError):  # the process is gone
                    workers[place] = _begin()
                    yield task, failed(task, _how_it_ended(worker.process))
                    continue
                worker.hear()
                if isinstance(message, Line):
                    worker.task = None
                    yield task, message
                elif isinstance(message, Interrupted):
                    raise message
                else:
                    progress(task, message)
            elif worker.is_hung(self.hung_floor_s):
                worker.process.kill()
                workers[place] = _begin()
                self.tries[task.key] = self.tries.get(task.key, 0) + 1
                if self.tries[task.key] < TRIES:
                    waiting.append(task)
                else:
                    yield task, failed(task, f"Its process hung {TRIES} times and was killed.")


def _begin() -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _how_it_ended(process: SpawnProcess) -> str:
    process.join(10)
    code = process.exitcode
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"Its process was ended by {name}." + (
            " The system does that when memory is full." if name == "SIGKILL" else ""
        )
    return f"Its process ended with exit code {code}."


def _stop(workers: Sequence[_Worker]) -> None:
    """End them: an idle one by closing its pipe; one that runs writes a checkpoint first."""
    for worker in workers:
        if worker.task and worker.process.pid and worker.process.is_alive():
            os.kill(worker.process.pid, signal.SIGTERM)
        worker.connection.close()
    for worker in workers:
        worker.process.join(10)
        worker.process.kill()


def _work(connection: Connection) -> None:
    """A worker's life: take a task, report, give its line."""
    # Ctrl-C reaches every process of the terminal; while a run lasts it notes the signal itself (train/signals.py).
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_the_driver, daemon=True).start()

    def report(share: float) -> None:
        connection.send(share)

    while True:
        try:
            task: Task = connection.recv()
            connection.send(_performed(task, report))
        except (EOFError, OSError):
            return


def _performed(task: Task, report: Report) -> Line | Interrupted:
    try:
        return perform(task, report)
    except Interrupted as error:
        return error


def _die_with_the_driver() -> None:
    """A driver that was killed must not leave workers that hold its runs."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a worker
    parent.join()
    os._exit(1)


def executor(name: str, workers: int = 0, address: str = "") -> Executor:
    """The executor of this name.

    Args:
        name: serial, processes or ray.
        workers: of `processes`; 0 is one per core.
        address: of the Ray cluster; absent: one on this machine, for as long as the study runs.

    Raises:
        ConfigError: an address for another executor.
        MissingExtra: Ray is not installed.
    """
    if address and name != "ray":
        raise ConfigError(f"--address belongs to --executor ray, not to {name}.")
    if name == "ray":
        from .cluster import Cluster

        return Cluster(address)
    return Processes(workers) if name == "processes" else serial
