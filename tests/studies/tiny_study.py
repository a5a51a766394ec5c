"""A study so small that its driver can be killed fifty times, and what it means that two studies found the same.

In one process: `make`.  In drivers that can really be killed: `driver`.
"""

import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "train"))

import pytest
import tiny

from convscope.compute import environment
from convscope.core import files, records
from convscope.core.errors import ConvscopeError
from convscope.studies import journal
from convscope.studies.conduct import Outcome, conduct, recorded
from convscope.studies.design import Arm, Comparison, Study, arm, made
from convscope.studies.executors import Processes, Progress, serial
from convscope.studies.journal import Line
from convscope.studies.task import Task
from convscope.train import loop, preflight
from convscope.train.prepare import Place

BASE = {
    "model": {"name": "lenet5"},
    "data": {"source": "synthetic", "options": {"images": 40, "size": 28, "noise": 0.4}},
    "recipe": {"epochs": 2, "batch_size": 18, "lr": 0.02, "validate_every": "2 steps"},
}
# Chance in augmentation, dropout and batch statistics; momentum, an average and a schedule that a resume could lose.
ARMS = (
    arm("plain"),
    arm("regular", {"model.norm": "batch", "model.dropout": 0.2}),
    arm("augmented", augment=tiny.AUGMENT),
    arm("adam", optimizer="adam", lr=0.003, ema=0.8),
)


cheap = tiny.cheap


def study(arms: tuple[Arm | Comparison, ...] = ARMS, seeds: int = 3, **options: Any) -> Study:
    """Four arms by three seeds."""
    first = next(part.name for part in arms if isinstance(part, Arm))
    given = {"name": "tiny", "title": "Tiny", "question": "Is it the same?", "expectation": "Yes.", **options}
    return made(
        arms, **{"base": BASE, "baseline": first, "measure": "final_accuracy", "seeds": seeds, **given}
    )


def place(folder: Path) -> Place:
    """Runs and caches beside the journal."""
    return Place(folder / "runs", cache_dir=folder / "cache", command="tiny")


def make(folder: Path, asked: Study | None = None, **options: Any) -> Outcome:
    """Conduct the study, cheaply, with a checkpoint at every step."""
    with tiny.cheap(), checkpointed():
        return conduct(asked or study(), folder, place(folder), **options)


def tasks(folder: Path, asked: Study) -> list[Task]:
    """The study's runs, as an executor gets them."""
    found: list[Task] = []

    def executor(given: Sequence[Task], progress: Progress) -> Iterator[tuple[Task, Line]]:
        found.extend(given)
        yield from ()

    make(folder, asked, executor=executor)
    return found


@dataclass
class Replay:
    """An executor that knows the lines and remembers what it was asked for."""

    lines: Mapping[str, Line]
    asked: list[str] = field(default_factory=list)

    def __call__(self, tasks: Sequence[Task], progress: Progress) -> Iterator[tuple[Task, Line]]:
        for task in tasks:
            self.asked.append(task.key)
            yield task, self.lines[task.key]


@contextmanager
def checkpointed() -> Iterator[None]:
    """A study leaves checkpoints to the clock; here every step has one, so that a resume is seen."""
    original = Study.config

    def config(self: Study, *given: Any) -> Any:
        found = original(self, *given)
        compute = {"checkpoint_every": "1 steps", "precision": "float32", "device": "cpu"}
        return found.model_copy(update={"compute": found.compute.model_copy(update=compute)})

    Study.config = config  # type: ignore[method-assign]
    try:
        yield
    finally:
        Study.config = original  # type: ignore[method-assign]


def rows(folder: Path) -> dict[str, str]:
    """All that must be the same in two studies: the lines without what clocks and commits say, by key."""
    found: dict[str, str] = {}
    for line in records.read(folder / journal.FILE):
        assert line["key"] not in found, f"{line['config']} is there twice"
        found[line["key"]] = json.dumps({key: line[key] for key in line if key != "provenance"})
    return found


def tables(folder: Path) -> dict[str, bytes]:
    """The files a study is judged by, as they would be written of this journal."""
    from convscope.studies import report, tables

    outcome = recorded(study(), folder)
    tables.write(report.report(outcome), folder / "tables", "convscope study tiny")
    return {name: (folder / "tables" / name).read_bytes() for name in ("runs.csv", "table.csv", "study.json")}


def lines(folder: Path) -> dict[str, Line]:
    """The journal's lines as an executor would give them."""
    return {line["key"]: Line(**line) for line in records.read(folder / journal.FILE)}


# Drivers that can be killed ---------------------------------------------------------------------------


def warm() -> ForkServerContext:
    """Begins processes in 0.1 s instead of 4: forks of one that has imported torch and computed nothing.

    Forking is reliable there because neither torch nor BLAS has started a thread (tests/train/tiny.py).
    """
    context = multiprocessing.get_context("forkserver")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("TINY_WORKERS", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]))
        context.set_forkserver_preload(["tiny_study"])
        forkserver.ensure_running()
    return context


def driver(folder: Path, die_at: int) -> ForkServerProcess:
    """Start or continue the study in a process of its own, whose exit code is minus the signal that killed it.

    It kills itself before the event of that number; an event is a step or an operation on files.
    """
    folder.mkdir(exist_ok=True)
    process = warm().Process(target=_drive, args=(folder, 0, die_at))
    process.start()
    return process


def driver_with_workers(folder: Path) -> subprocess.Popen[bytes]:
    """The same in two spawned workers, in a process group of its own; slowly."""
    folder.mkdir(exist_ok=True)
    environ = {**os.environ, "TINY_WORKERS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, __file__, folder, "2"], env=environ, start_new_session=True)


def said(folder: Path) -> str:
    """What the drivers of a study, and their workers, wrote to standard error."""
    return (folder / "said").read_text()


def events(folder: Path) -> list[str]:
    """What drivers did that were to die at an event: `step`, or an operation on files."""
    path = folder / "events"
    return path.read_text().split("\n")[:-1] if path.exists() else []


def _drive(folder: Path, workers: int, die_at: int | None = None) -> None:
    for descriptor in (1, 2):
        os.dup2(os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    if die_at is not None:
        _die_at(die_at, folder / "events")
    try:
        make(folder, executor=Processes(workers) if workers else serial)
    except ConvscopeError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def _die_at(number: int, log: Path) -> None:
    """Have this process kill itself before its event of that number, and note each in a file."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    left = number

    def happened(what: str) -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        os.write(descriptor, what.encode() + b"\n")

    take_step = loop.take_step

    def noted(session: loop.Session) -> None:
        happened("step")
        take_step(session)

    loop.take_step = noted
    files.on_operation = lambda operation, path: happened(f"{operation} {path}")


if os.environ.get("TINY_WORKERS"):
    # A worker cannot be told to do what `tiny.cheap` does; and what training would import first of all takes 1.3 s.
    importlib.import_module("torch._inductor.config")
    os.fsync = tiny._no_fsync
    environment.commit, environment.code_hash, preflight.TIMED_S = tiny._no_commit, tiny._no_commit, 0.0
if __name__ == "__main__":
    _drive(Path(sys.argv[1]), int(sys.argv[2]))
