"""`convscope study`: arms x seeds, with intervals and verdicts."""

import hashlib
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from convscope.core import catalog
from convscope.core.errors import ConfigError, ConvscopeError

from . import parse

if TYPE_CHECKING:
    from convscope.studies.conduct import Outcome
    from convscope.studies.design import Study
    from convscope.studies.executors import Executor
    from convscope.studies.journal import Line
    from convscope.studies.plan import Plan
    from convscope.studies.task import Task
    from convscope.train.prepare import Place

DESCRIPTION = """\
Train every arm of a study with every seed, and say what the differences are worth: means with intervals beside the
published numbers, paired differences on shared seeds, p-values after Holm, and a verdict in words.

examples:
  convscope list studies
  convscope study simplenn-decay --plan                 runs, hours on this machine, and what can be seen
  convscope study simplenn-decay                        the same command again carries on where it stopped
  convscope study simplenn-decay --set epochs=2 --seeds 3         a quick look
  convscope study mine.toml another.py:function
  convscope study lenet5-noise --executor ray --address 10.0.0.1:6379
  convscope study simplenn-decay --into results/studies --show    from the journal alone

A run that has ended is never made again: its line in the journal is enough. Tables, figures and a page are written
into a folder of the study's name beside the journal. Validation only: a study never opens a test split.\
"""


LONGEST_NAME = 100
"""Bytes of a study's name that come from --set; file systems end at 255."""
Format = Literal["png", "svg", "pdf", "none"]


class Runs(BaseModel):
    """How the runs of a study are made; the comparison of `tune` is one too."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    executor: Literal["serial", "processes", "ray"] = "processes"
    """One after another, a process per core, or a Ray cluster (extra `ray`)."""
    workers: int = Field(0, ge=0)
    """Of `processes`; 0 is one per core."""
    address: str = ""
    """Of the Ray cluster; absent: one on this machine for as long as the study runs."""
    threads: int = Field(1, ge=1)
    """CPU threads of every run. Results depend on it, so it is the same for all runs of a study."""
    root: Path = Path("runs")
    """Where runs are kept."""
    data_dir: Path | None = None
    """Where named data sets are looked for first; then $CONVSCOPE_DATA and the user cache."""
    cache_dir: Path | None = None
    """Where decoded pixels and self-test results are kept."""
    allow_mixed: bool = False
    """Pool runs made with other code, versions, machines or data; the tables say so."""

    def place(self) -> "Place":
        """Where things are found and put."""
        from convscope.train.prepare import Place
        from convscope.train.run import command_line

        return Place(self.root, self.data_dir, self.cache_dir, self.allow_mixed, command_line())

    def chosen(self) -> "Executor":
        """The executor.

        Raises:
            UsageError: see studies/executors.py.
        """
        from convscope.studies.executors import executor

        return executor(self.executor, self.workers, self.address)


class Flags(BaseModel):
    """What `study` understands."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    studies: tyro.conf.Positional[list[str]] = []
    """Names of `convscope list studies`, or files: NAME.toml, NAME.py, NAME.py:function."""
    plan: bool = False
    """Only say what it would take and what it could show."""
    show: bool = False
    """Only what the journal holds: nothing is run, and no data are needed."""
    seeds: int | None = Field(None, ge=1)
    """How many seeds, from 0; absent: the study's own number."""
    set: tuple[str, ...] = ()
    """KEY=VALUE for all arms, e.g. epochs=2 or model.width=8; the published scale is then left."""
    into: Path | None = None
    """Folder of the journal and the results; absent: studies/ in the root."""
    format: Format = "png"
    """Of the figures; none: only numbers."""
    runs: tyro.conf.OmitArgPrefixes[Runs] = Runs()


def main(arguments: Sequence[str]) -> int:
    """Plan, or run and report.

    Raises:
        ConvscopeError: some runs failed; the others are reported all the same.
    """
    words = parse.take_apart(arguments)
    parse.refuse_dotted(words)
    flags = parse.parse(Flags, None, [*words.names, *words.flags], "convscope study", DESCRIPTION)
    if not flags.studies:
        raise ConfigError(f"Which study? Name one or more, or a file: {', '.join(catalog.names('studies'))}.")
    if flags.plan and flags.show:
        raise ConfigError("--plan times what is to be run, --show runs nothing. Give one of them.")
    chosen = [study for text in flags.studies for study in _studies(text, flags)]
    names = [study.name for study in chosen]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"Two studies are called {name!r}, and results go into a folder of that name. Name one otherwise."
            )
    failed = 0
    for study in chosen:
        if flags.plan:
            print(_planned(study, flags))
        else:
            failed += _reported(study, flags)
    if failed:
        raise ConvscopeError(failures(failed, flags.show))
    return 0


def failures(count: int, shown: bool = False) -> str:
    """What is said in the end of runs that failed; `shown`: nothing was run now."""
    runs = "1 run" if count == 1 else f"{count} runs"
    again = "Without --show they are tried again." if shown else "The same command tries again."
    return f"{runs} failed, as the tables say. {again}"


def _studies(text: str, flags: Flags) -> "list[Study]":
    """What a word names, with the flags applied."""
    found = _named(text)
    if flags.seeds:
        found = [study.with_seeds(flags.seeds) for study in found]
    if flags.set:
        found = [_changed(study, flags.set) for study in found]
    return found


def _named(text: str) -> "list[Study]":
    """The studies of a file, or one of the catalog.

    Raises:
        ConfigError: no study of that name, or something wrong in the file.
    """
    path, _, function = text.partition(":")
    if not path.endswith((".toml", ".py")):
        for file in (f"{text}.toml", f"{text}.py"):
            if text not in catalog.names("studies") and Path(file).is_file():
                raise ConfigError(
                    f"No study is called {text!r}, but there is a file: convscope study {file}."
                )
        return [catalog.call("studies", text, {})]
    from convscope.studies.file import read

    return read(Path(path), function)


def _changed(study: "Study", pairs: Sequence[str]) -> "Study":
    name = f"{study.name}@{','.join(pairs)}".replace("/", "_")
    if len(name.encode()) > LONGEST_NAME:  # it is a folder too
        name = f"{study.name}@{hashlib.sha256(name.encode()).hexdigest()[:10]}"
    return replace(
        study.with_base(parse.pairs(pairs)), name=name, title=f"{study.title}, with {', '.join(pairs)}"
    )


def _planned(study: "Study", flags: Flags) -> str:
    from convscope.compute.device import usable_cores
    from convscope.studies.plan import plan

    runs = flags.runs
    runs.chosen()  # so that what is wrong with it is said now
    # Of a cluster elsewhere nobody knows; the time is that of this machine all the same.
    cores = max(1, usable_cores() // runs.threads)
    workers = {"serial": 1, "ray": cores}.get(runs.executor, runs.workers or cores)
    found = plan(study, _into(flags), runs.place(), workers=workers, threads=runs.threads)
    return plan_text(study, found, _width())


def plan_text(study: "Study", found: "Plan", width: int = 0) -> str:
    """What a study takes and can show, in words; see `tables.text` for the width."""
    from convscope.studies.report import unit
    from convscope.studies.tables import Table, filled, introduction

    from .show import duration

    rows = tuple(
        (
            arm.arm,
            str(arm.runs),
            duration(arm.seconds),
            "steps timed now" if arm.timed else "runs in the journal",
        )
        for arm in found.arms
    )
    said = unit(study.measure)
    lines = [_total(found)]
    if found.detectable is None:
        lines.append("One seed: no interval and no verdict; 3 seeds are the least.")
    else:
        lines.append(
            f"{found.seeds} seeds show a difference of {said(found.detectable).lstrip('+')} with 80 % power at the "
            f"5 % level{_family(study)}, if differences deviate by {said(found.sd).lstrip('+')} ({found.sd_from})"
            f"{'; with 2 seeds there is no verdict' if found.seeds < 3 else ''}."
        )
    lines += [
        f"An equality within ±{said(margin).lstrip('+')} is shown in {100 * chance:.0f} % of studies where nothing "
        f"differs."
        for margin, chance in found.equalities
    ]
    table = Table(("arm", "runs to make", "each", "known from"), rows).text()
    return "\n".join([*introduction(study, width), "", *table, "", *filled(lines, width)])


def _total(found: "Plan") -> str:
    from .show import duration

    if not found.runs:
        return "Nothing is left to run."
    workers = f"{found.workers} worker{'s' * (found.workers != 1)}"
    # What was timed beside other work took longer than it will alone.
    alone = (
        "if nothing else runs"
        if found.load < 0.5
        else f"or less: {found.load:.1f} other processes ran while it was timed"
    )
    return f"{found.runs} runs on {workers}: about {duration(found.seconds)}, {alone}."


def _family(study: "Study") -> str:
    from convscope.studies.stats import effects_asked

    if study.comparisons:
        count, what = len(study.comparisons), "comparisons"
    else:
        count, what = effects_asked(study.factors), "effects"
    return f" divided by {count} {what}" if count > 1 else ""


def _into(flags: Flags) -> Path:
    return flags.into or flags.runs.root / "studies"


def _reported(study: "Study", flags: Flags) -> int:
    """Run what is missing, unless that was not asked for; write and print; how many runs failed."""
    from convscope.studies.conduct import recorded
    from convscope.studies.tables import refuse_another

    folder, runs = _into(flags), flags.runs
    refuse_another(study, folder / study.name)
    if not flags.show:
        runs.chosen()  # what is wrong with it is said before a folder is made
        parse.made_folder(folder, "--into" if flags.into else "--root")
        return told(made(study, folder, runs), folder / study.name, flags.format)
    outcome = recorded(study, folder, threads=runs.threads, allow_mixed=runs.allow_mixed)
    if not any(cell.line for cell in outcome.cells):
        raise ConfigError(f"{folder} holds no run of study {study.name}. Without --show they are made.")
    return told(outcome, folder / study.name, flags.format)


def made(study: "Study", folder: Path, runs: Runs) -> "Outcome":
    """Make what is missing of a study, and show how far it is."""
    from convscope.studies.conduct import conduct

    executor, display = runs.chosen(), Display(study)
    options: dict[str, Any] = {"threads": runs.threads, "allow_mixed": runs.allow_mixed}
    try:
        return conduct(study, folder, runs.place(), executor=executor, watch=display, **options)
    finally:
        display.close()


def told(outcome: "Outcome", folder: Path, format: Format = "png") -> int:
    """Write tables, page and figures of what a study found into its folder, and print it; how many runs failed."""
    from convscope.studies import tables
    from convscope.studies.report import report
    from convscope.train.run import command_line

    found = report(outcome)
    drawn: list[str] = []
    if format != "none" and any(row.summary for row in found.arms):
        from convscope.plots.study import draw_into

        drawn = draw_into(found, folder, format)
    tables.write(found, folder, command_line(), drawn)
    listed = ", ".join(["table.csv, runs.csv, provenance.csv, study.json, study.md", *drawn])
    print(f"{tables.text(found, _width())}\n\nin {folder}: {listed}")  # last: who reads it may be gone
    return sum(row.failed for row in found.arms)


def _width() -> int:
    """Of the terminal; 0 where there is none, so that what reads on gets whole sentences."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


class Display:
    """Watches a study on stderr: a bar in a terminal, and a line for every run that has ended."""

    def __init__(self, study: "Study") -> None:
        self.study = study
        self.console = Console(file=sys.stderr, highlight=False)
        self._shares: dict[str, float] = {}
        self._before: dict[str, float] = {}
        """Shares that were made by those who carried the study on before."""
        self._began = time.monotonic()
        self._ended = 0
        self._bar: Progress | None = None
        self._job: Any = None

    def __call__(self, task: "Task", news: "float | Line") -> None:
        """Show news of a run."""
        if isinstance(news, float | int):
            if self._shares.get(task.key) == 0:
                self._before.setdefault(task.key, news)  # what a run begins with is its checkpoint
            self._shares[task.key] = news
            if news:
                with suppress(OSError):
                    self._advance(task)
        else:
            self._shares[task.key] = 1.0
            self._ended += 1
            self._say(f"[{self._ended}/{len(self._shares)}] {run_line(self.study, task, news)}{self._left()}")

    def close(self) -> None:
        """Take the bar away."""
        with suppress(OSError):
            if self._bar:
                self._bar.stop()

    def _left(self) -> str:
        """`; about 5 min left`, as if all that is left went as fast as what was made."""
        from .show import duration

        made = sum(self._shares.values())
        left, own = len(self._shares) - made, made - sum(self._before.values())
        return (
            f"; about {duration((time.monotonic() - self._began) * left / own)} left"
            if left and own > 0
            else ""
        )

    def _advance(self, task: "Task") -> None:
        if not self.console.is_terminal:
            return
        if self._bar is None:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
            self._bar = Progress(*columns, console=self.console, transient=True)
            self._job = self._bar.add_task(self.study.name, total=len(self._shares), text="")
            self._bar.start()
        running = sum(0 < share < 1 for share in self._shares.values())
        self._bar.update(
            self._job,
            total=len(self._shares),
            completed=sum(self._shares.values()),
            text=f"{running} running; {task.arm}, seed {task.seed}",
        )

    def _say(self, text: str) -> None:
        # Who read it may be gone, a terminal or `tee`: the study goes on.
        with suppress(OSError):
            if self._bar:
                self._bar.console.print(text)
            else:
                print(text, file=sys.stderr, flush=True)


def run_line(study: "Study", task: "Task", line: "Line") -> str:
    """A run that has ended, in a line."""
    from convscope.studies.report import level

    from .show import duration

    value = line.numbers.get(study.measure)
    said = level(study.measure)(value) if value is not None else f"{line.status}: {line.message}"
    took = line.provenance.get("seconds")
    return f"{task.arm}, seed {task.seed}: {said}{f'  ({duration(took)})' if took else ''}"
