"""A study so small that its driver can be killed fifty times, and what it means that two studies found the same.

In one process: `make`.  In drivers that can really be killed: `Nursery`, a
warm process that has imported torch (2 s), has computed nothing, and forks
(tests/train/tiny.py says why that is reliable).
"""

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "train"))

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
    tables.write(report.report(outcome), outcome, folder / "tables", "convscope study tiny")
    return {name: (folder / "tables" / name).read_bytes() for name in ("runs.csv", "table.csv", "study.json")}


def lines(folder: Path) -> dict[str, Line]:
    """The journal's lines as an executor would give them."""
    return {line["key"]: Line(**line) for line in records.read(folder / journal.FILE)}


# Drivers that can be killed ---------------------------------------------------------------------------


class Nursery:
    """A warm process; each driver is a fork of it."""

    def __init__(self) -> None:
        environ = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
        )

    def _ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, folder: Path, die_at: int | None = None, workers: int = 0) -> int:
        """Start or continue the study in a process group of its own; gives its number.

        Args:
            folder: of the study.
            die_at: it kills itself before the event of this number; an event is a step or an operation on files.
            workers: in how many processes; 0 is in the driver itself.
        """
        folder.mkdir(exist_ok=True)
        pid: int = self._ask(do="start", folder=str(folder), die_at=die_at, workers=workers)
        return pid

    def wait(self, pid: int) -> int:
        """Wait for its end: the exit code, or minus the signal that killed it."""
        code: int = self._ask(do="wait", pid=pid)
        return code

    def close(self) -> None:
        """End the warm process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def said(folder: Path) -> str:
    """What the drivers of a study, and their workers, wrote to standard error."""
    return (folder / "said").read_text()


def events(folder: Path) -> list[str]:
    """What drivers did that were to die at an event: `step`, or an operation on files."""
    path = folder / "events"
    return path.read_text().split("\n")[:-1] if path.exists() else []


def _child(folder: Path, die_at: int | None, workers: int) -> int:
    os.setpgid(0, 0)
    for descriptor in (1, 2):
        os.dup2(os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    if die_at is not None:
        _die_at(die_at, folder / "events")
    os.environ["TINY_WORKERS"] = "1"  # they import this module, for it is the driver's main one
    try:
        make(folder, executor=Processes(workers) if workers else serial)
    except ConvscopeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


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


def be_cheap() -> None:
    """What `tiny.cheap` does, for a process of its own: a worker cannot be told otherwise."""
    os.fsync = tiny._no_fsync
    environment.commit, environment.code_hash, preflight.TIMED_S = tiny._no_commit, tiny._no_commit, 0.0


def _serve() -> None:
    # What training would import first of all: 1.3 s of every child's life.
    importlib.import_module("torch._inductor.config")

    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "wait":
            _, status = os.waitpid(request["pid"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                code = 70
                try:
                    code = _child(Path(request["folder"]), request["die_at"], request["workers"])
                finally:
                    os._exit(code)
        print(json.dumps(answer), flush=True)


if os.environ.get("TINY_WORKERS"):
    be_cheap()
if __name__ == "__main__":
    _serve()
