"""How does one run of a study become one line of its journal?

`perform` is what every executor calls, in this process, another or on
another machine.  Whatever happens to the run, it gives a line: a run that
diverged or failed is a row of the table, never a gap.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from convscope.core import catalog, records
from convscope.core import config as configs
from convscope.core.catalog import Item
from convscope.core.config import RunConfig
from convscope.core.errors import ConvscopeError, DamagedFile, Diverged, Interrupted, NoSpace, RunBusy
from convscope.core.records import Record
from convscope.data import Data
from convscope.evaluate.runs import Run
from convscope.train import run as training
from convscope.train.events import Event, Prepared, Progressed
from convscope.train.prepare import Place

from . import journal, measures
from .journal import Line

DIAGNOSTICS = "convscope.diagnostics"
CURVES = ("epoch", "val_accuracy", "val_loss", "train_accuracy", "train_loss")
BUSY_S = 30.0
"""How long to wait for a run that another process holds: a worker whose driver was killed lets go at once."""

Report = Callable[[float], None]
"""Called with the share of the run's steps that are made."""


@dataclass(frozen=True)
class Task:
    """One run to be made."""

    key: str
    arm: str
    seed: int
    config: RunConfig
    measures: tuple[str, ...]
    place: Place
    own: tuple[Item, ...] = ()
    """What the user has registered: another process does not know it."""


Ended = Generator[tuple[Task, Line], None, None]
"""Tasks with their lines, as they end; closing it stops what runs."""


def key_of(config: RunConfig) -> str:
    """Names a run whatever its data and weights turn out to be: their hashes are compared, as versions are.

    The identity of a run leaves the places of both out, since there their hashes are in it. What looks during the run,
    and how often, is no part of it either, but of the numbers that a study takes from it.
    """
    places = " ".join(filter(None, (config.data.source, config.recipe.weights, _looking(config))))
    return f"{configs.identity(configs.spelled_out(config), places)}/{config.seed}"


def _looking(config: RunConfig) -> str:
    """What looks at a run while it learns, and when; empty if nothing does."""
    names = [choice.resolved("diagnostics").spelled() for choice in config.compute.inspect]
    return " ".join([*names, config.compute.inspect_every]) if names else ""


def apart(root: Path, config: RunConfig, own: Mapping[str, str]) -> Path:
    """A run's directory; of its own for what no run's identity tells apart.

    That is each way of looking and each version of what looks, since a run that has ended cannot be looked at any more,
    and each version of a user's modules.  As far below the results root as any other, whose ledger of test openings
    counts for all.
    """
    name, looking = root.parent.name, _looking(config)
    if looking:
        looking += f" {_source_hash(DIAGNOSTICS)}"
    for what, text in (("looking", looking), ("own", " ".join(own.values()))):
        if text:
            name += f"-{what}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    return root.parent.with_name(name) / root.name


def perform(task: Task, report: Report) -> Line:
    """Train, or find trained, measure, and say what came of it.

    Raises:
        Interrupted: a signal came; the checkpoint is written.
        NoSpace: the disk is full, for every other run too.
    """

    def watch(event: Event) -> None:
        match event:
            case Prepared():
                report(event.start / event.total)
            case Progressed():
                report(event.step / event.total)

    try:
        _register(task.own)
        beside = code_beside(task)  # now, as it was loaded: a user may edit a file while this run learns
        config, data, root = training.located(task.config, task.place)
        run = Run(apart(root, task.config, own_code(task.own)))
        with suppress(Diverged):  # its record says so
            _patiently(lambda: training.in_directory(config, data, run.root, task.place, watch))
        if not run.paths.environment.exists():
            raise DamagedFile(
                f"{run.root} was damaged: it has a result and no environment.json. Remove it; the run is then made again."
            )
        result, environment = run.result or {}, run.environment
        line = Line(
            key=task.key,
            config=in_words(task),
            status=result["status"],
            message=result.get("message", ""),
            environment={**journal.decisive(environment), **started_from(config), "beside": beside},
            provenance=_provenance(environment, result),
        )
        return line if line.status == "diverged" else _with_numbers(line, run, data, task.measures)
    except (Interrupted, NoSpace):
        raise
    # Whatever a library raises inside one run must not end the other runs.
    except Exception as error:  # noqa: BLE001
        return failed(task, reason(error))


def users_own() -> tuple[Item, ...]:
    """Everything in the catalog that is not convscope's and that a run can need."""
    every = (item for kind in catalog.kinds() if kind != "studies" for item in catalog.items(kind))
    return tuple(item for item in every if not item.target.startswith("convscope."))


def started_from(config: RunConfig) -> dict[str, str]:
    """The hash of the weights that a run of this located configuration starts from; empty if it starts anew."""
    return {"weights": config.recipe.weights_sha256} if config.recipe.weights else {}


def code_beside(task: Task) -> dict[str, str]:
    """What decides a number and `environment.code_hash` leaves out -> hash of its source.

    That is what makes measures of records, diagnostics that measure, and a user's own.  What is hashed is loaded too:
    a file that is edited later, while a run learns, then decides nothing.
    """
    asked = [*measures.looked(task.measures), *measures.looked(task.measures, at_the_end=True)]
    for text in asked:
        catalog.find("diagnostics", configs.choice(text).name).load()
    modules = [measures.__name__, *([DIAGNOSTICS] if asked else [])]
    return {**{module: _source_hash(module) for module in modules}, **own_code(task.own)}


def own_code(items: Sequence[Item]) -> dict[str, str]:
    """`models/mynet` -> hash of the source of its module, of everything that the user has registered."""
    hashes = {
        f"{item.kind}/{item.name}": _source_hash(item.target.partition(":")[0]) or _cell_hash(item)
        for item in items
    }
    return dict(sorted(hashes.items()))


@cache
def _source_hash(module: str) -> str:
    """Of a module, or of all modules of a package; empty for what has no file."""
    path = Path(getattr(importlib.import_module(module), "__file__", None) or "")
    paths = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
    source = b"".join(each.read_bytes() for each in paths if each.is_file())
    return hashlib.sha256(source).hexdigest() if source else ""


def _cell_hash(item: Item) -> str:
    """Of a function that was written into a notebook; empty if nobody kept its text, as behind `python -c`."""
    with suppress(OSError, TypeError, AttributeError):
        return hashlib.sha256(inspect.getsource(item.load()).encode()).hexdigest()
    return ""


def _register(items: Sequence[Item]) -> None:
    """Make a user's models and other things known in a process that has not imported them."""
    for item in items:
        if item.name not in catalog.names(item.kind):
            if str(Path.cwd()) not in sys.path:  # as `--import` does: the working directory counts
                sys.path.append(str(Path.cwd()))
            importlib.import_module(item.target.partition(":")[0])
        # A module mostly registers what it holds when it is imported.
        if item.name not in catalog.names(item.kind):
            catalog.register(item)


def failed(task: Task, message: str) -> Line:
    """The line of a run that came to no end."""
    return Line(task.key, in_words(task), "failed", " ".join(message.split()))


def reason(error: Exception) -> str:
    """Why a run failed, for a table: an error that is not convscope's is named by its type."""
    return str(error) if isinstance(error, ConvscopeError) else f"{type(error).__name__}: {error}"


def in_words(task: Task) -> str:
    """For people who read the journal."""
    config = task.config
    return f"{config.model} on {config.data.source}, {task.arm}, seed {task.seed}"


def _with_numbers(line: Line, run: Run, data: Data, names: Sequence[str]) -> Line:
    """The line with all that the record and the diagnostics tell."""
    history, result = run.metrics, run.result or {}
    final = result.get("final", {})
    began = time.perf_counter()
    numbers = measures.measured(run, names, data)
    return replace(
        line,
        numbers=numbers,
        provenance={**line.provenance, "measuring": round(time.perf_counter() - began, 3)},
        curve={name: [record.get(name) for record in history] for name in CURVES},
        looks=[
            {key: value for key, value in look.items() if key != "seconds"}
            for look in records.read(run.paths.inspections)
        ],
        classes=list(final.get("classes", [])),
        images=final.get("images", 0),
        confusion=final.get("confusion", {}).get("counts", []),
    )


def _provenance(environment: Record, result: Record) -> Record:
    """Where a line comes from and what it cost: it decides nothing."""
    machine = environment["machine"]
    return {
        "seconds": result.get("seconds"),
        "steps": result.get("steps", result.get("step")),
        "commit": environment["commit"],
        "device": machine["device"],
        "processor": machine["processor"],
        "threads": environment["threads"],
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _patiently(train: Callable[[], Run]) -> Run:
    """Wait for a run that another process holds, for a while."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            return train()
        except RunBusy:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.1)
