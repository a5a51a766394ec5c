"""Which values of a recipe are best on the validation images, and are they better than the default?

    search      trials, one after another, all with one seed; hopeless ones are ended early
    compare     the best of them against the default recipe, over seeds that no trial had

The best of many trials looks better than it is, because it was picked for
looking good; the comparison on fresh seeds takes that away, but for what the
search adapted to the validation images themselves.  The test split is never
opened.

A folder holds a search: what is searched, Optuna's journal, trials.csv,
best.toml.  A search that was killed makes the same trials as one that was not
(proposals.py).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from convscope.compute import environment
from convscope.compute.device import pick
from convscope.core import config as configs
from convscope.core import files, records
from convscope.core.config import RunConfig
from convscope.core.errors import (
    ConfigError,
    DamagedFile,
    Diverged,
    Interrupted,
    NoSpace,
    RunBusy,
    UsageError,
)
from convscope.core.records import Record
from convscope.evaluate.runs import Run
from convscope.train import run as training
from convscope.train.events import Event, Prepared, Validated
from convscope.train.prepare import Place

from . import measures, review
from .design import FIRST_TRIAL_SEED, Arm, Comparison, Study, changed
from .proposals import Proposal, Proposals, library
from .report import level
from .space import Axis, word
from .task import apart, own_code, reason, users_own

BEGIN = "search.json"
JOURNAL = "optuna.log"
TABLE = "trials.csv"
BEST = "best.toml"
_REPORTED = {
    "final_accuracy": "val_accuracy",
    "best_accuracy": "val_accuracy",
    "mean_accuracy": "val_accuracy",
    "final_loss": "val_loss",
}
"""What a trial is judged by while it learns; by other measures none is ended early."""

_ADVICE = "Begin another search with another --root, or go on with --allow-mixed."

Status = Literal["finished", "pruned", "diverged", "failed"]


@dataclass(frozen=True)
class Search:
    """What is searched, and what decides the result but the machine."""

    base: Mapping[str, Any]
    """model, data, recipe: what all trials share, and the recipe the best is compared with."""
    space: tuple[Axis, ...]
    measure: str = "final_accuracy"
    seed: int = 0
    """Of the proposals; the runs have seed `FIRST_TRIAL_SEED` + this one."""
    threads: int = 1

    @property
    def higher(self) -> bool:
        """Whether more of the measure is better."""
        return measures.higher_is_better(self.measure)

    @property
    def run_seed(self) -> int:
        """The seed of all trials, which no comparison has."""
        return FIRST_TRIAL_SEED + self.seed

    def config(self, changes: Mapping[str, Any], seed: int, where: str = "tune") -> RunConfig:
        """The run with these values.

        Raises:
            ConfigError: a key that nothing has, or a value that is not allowed.
        """
        table = changed(self.base, changes, where)
        return configs.from_table({**table, "seed": seed, "compute": {"threads": self.threads}}, where)

    @cached_property
    def settings(self) -> Record:
        """As plain values, every default written out."""
        asked = self.config({}, 0)
        return {
            **{part: configs.as_table(getattr(asked, part)) for part in ("model", "data", "recipe")},
            "space": [str(axis) for axis in self.space],
            "measure": self.measure,
            "seed": self.seed,
            "threads": self.threads,
        }

    @property
    def name(self) -> str:
        """`lenet5-digits-0f3a91c2d4`: another search has another name."""
        asked = self.config({}, 0)
        text = json.dumps(self.settings, sort_keys=True)
        return f"{asked.model.name}-{asked.data.kind}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


@dataclass(frozen=True)
class Trial:
    """One combination of values, and what came of it."""

    number: int
    changes: Mapping[str, Any]
    status: Status
    value: float | None = None
    """Of the measure, if it finished."""
    epoch: float | None = None
    """Of its last validation."""
    accuracy: float | None = None
    """At its last validation."""
    message: str = ""
    """Why it did not finish."""
    seconds: float = 0.0
    """That this process spent on it: nothing, where the run was there already."""


@dataclass(frozen=True)
class Found:
    """A search as far as it went."""

    search: Search
    trials: tuple[Trial, ...]
    importance: Mapping[str, float]
    """Key -> its share of the differences between finished trials, the largest first; empty if too few finished."""

    @property
    def best(self) -> Trial | None:
        """The finished trial with the best value, the first of equals."""
        finished = [(trial.value, trial) for trial in self.trials if trial.value is not None]
        if not finished:
            return None
        return (max if self.search.higher else min)(finished, key=lambda pair: pair[0])[1]


Told = Callable[[Trial], None]
Watch = Callable[[int, Event], None]
"""Called with the number of a trial and what happens in its run."""


def unwatched(number: int, event: Event) -> None:
    """Nobody looks."""


def untold(trial: Trial) -> None:
    """Nobody listens."""


def based(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """What all trials share, changed as an arm changes a study.

    Raises:
        ConfigError: a key that nothing has.
    """
    return changed(base, changes, "--set")


# Before anything runs -----------------------------------------------------------------------------------


def check(search: Search) -> None:
    """Refuse what cannot be searched, before any data are read.

    Raises:
        UnknownName, ConfigError: a measure without a better and a worse; a key or a value that is not allowed.
    """
    measures.check(search.measure)
    measures.higher_is_better(search.measure)
    asked = search.config({}, 0)
    if wrong := review.no_validation(asked):
        raise ConfigError(f"tune: {wrong}")
    training.catalogued(asked)
    for axis in search.space:
        for value in axis.examples:
            training.catalogued(search.config({axis.key: value}, 0, "--space"))
    library()


# The search ---------------------------------------------------------------------------------------------


def carry_out(
    search: Search,
    folder: Path,
    place: Place,
    trials: int,
    *,
    allow_mixed: bool = False,
    told: Told = untold,
    watch: Watch = unwatched,
) -> Found:
    """Make the trials that are missing.

    Args:
        search: what is searched.
        folder: of this search and no other; there already if it goes on.
        place: where runs and data are.
        trials: how many there are to be in all, those that were made before included.
        allow_mixed: go on although machine, versions, code or data have changed.
        told: called with every trial that has ended just now.
        watch: called with what happens in each run.

    Raises:
        RunBusy: another process carries this search out.
        UsageError: the folder holds another search, or one made under other conditions.
        ConfigError: see `check`.
        Interrupted: a signal came; the checkpoint of the trial is written.
    """
    check(search)
    with files.held(folder):
        _begin(search, folder, place, allow_mixed)
        proposals = Proposals(
            folder / JOURNAL,
            search.space,
            higher=search.higher,
            judged=search.measure in _REPORTED,
            seed=search.seed,
        )
        made = [_known(record, folder) for record in proposals.ended()]
        _write_table(search, made, folder)
        while len(made) < trials:
            made.append(_make(search, proposals, len(made), place, watch))
            _write_table(search, made, folder)
            told(made[-1])
        found = Found(search, tuple(made), proposals.importance())
        if found.best:
            best = search.config(found.best.changes, 0)
            files.write(folder / BEST, configs.to_toml(best).encode())
    return found


def _known(record: Record, folder: Path) -> Trial:
    try:
        return Trial(**record)
    except TypeError as error:
        raise DamagedFile(
            f"{folder / JOURNAL} holds a trial that this version does not know: {str(error).partition('() ')[2]}. Remove "
            f"{folder}: runs that ended are found again."
        ) from None


def _begin(search: Search, folder: Path, place: Place, allow_mixed: bool) -> None:
    """Write down what is searched and where, or compare it with what was."""
    _, data, _ = training.located(search.config({}, search.run_seed), place)
    here = environment.surroundings(search.threads, pick("auto"))
    here = {**here, "data": data.hash, "optuna": metadata.version("optuna"), "own": own_code(users_own())}
    path = folder / BEGIN
    if not path.exists():
        records.write_json(path, {"settings": search.settings, "environment": here})
        return
    then = records.read_json(path)
    if not {"settings", "environment"} <= then.keys():
        raise DamagedFile(f"{path} tells of no search. Remove {folder}: runs that ended are found again.")
    for key, value in search.settings.items():
        if then["settings"].get(key) != value:
            raise UsageError(
                f"{folder} holds another search: its {key} differs. Give this one another --name, or none."
            )
    sentences = environment.comparable(then["environment"], here)
    if (before := then["environment"].get("optuna")) != here["optuna"]:
        sentences.append(f"The Optuna version differs: {before} then, {here['optuna']} now.")
    own = then["environment"].get("own", {})
    sentences += [
        f"The code of {name} differs." for name, code in here["own"].items() if own.get(name, code) != code
    ]
    if sentences and not allow_mixed:
        raise UsageError(
            f"The trials in {folder} were made under other conditions. {' '.join(sentences)} {_ADVICE}"
        )


def _make(search: Search, proposals: Proposals, number: int, place: Place, watch: Watch) -> Trial:
    """Ask for values, train with them, and tell what came of it."""
    proposal = proposals.ask(number)
    began = time.perf_counter()
    try:
        outcome = _attempt(search, place, _Judge(search, proposal, number, watch))
    except Interrupted as error:
        raise Interrupted(
            f"Stopped in trial {number}; its checkpoint is written. Give the same command again to go on.",
            error.exit_code - 128,
        ) from None
    seconds = round(time.perf_counter() - began, 3)
    trial = Trial(number, proposal.changes, **outcome, seconds=seconds)
    proposals.tell(proposal, asdict(trial), trial.value)
    return trial


class _Pruned(Exception):
    """The trial is hopeless."""


class _Judge:
    """Watches the run of a trial, and ends it if it is hopeless."""

    def __init__(self, search: Search, proposal: Proposal, number: int, watch: Watch) -> None:
        self.reported = _REPORTED.get(search.measure)
        self.proposal, self.number, self.watch = proposal, number, watch
        self.total = 0
        self.seen: list[Record] = []

    def __call__(self, event: Event) -> None:
        """Take note of an event.

        Raises:
            _Pruned: the trial is worse than the median of those before.
        """
        self.watch(self.number, event)
        match event:
            case Prepared():  # a run that goes on does not repeat the validations before its checkpoint
                self.replay(event.root, event.total)
            case Validated():
                self._take(event.record)

    def replay(self, root: Path, total: int) -> None:
        """Judge the validations that a run has in its record."""
        self.total = total
        for record in Run(root).metrics:
            self._take(record)

    def _take(self, record: Record) -> None:
        self.seen.append(record)
        if self.reported and self.proposal.is_hopeless(
            record[self.reported], last=record["step"] >= self.total
        ):
            raise _Pruned


def _attempt(search: Search, place: Place, judge: _Judge) -> dict[str, Any]:
    """Train and measure: what of a `Trial` follows from its run."""
    status: Status
    value, message = None, ""
    try:
        config, data, root = training.located(search.config(judge.proposal.changes, search.run_seed), place)
        run = Run(root := apart(root, config, own_code(users_own())))
        if ended := run.result:  # by another search, or just before the process died
            _refuse_other_conditions(search, run, place)
            judge.replay(root, ended["steps"] if ended["status"] == "finished" else ended["step"])
        try:
            training.in_directory(config, data, root, place, judge)
        except Diverged as error:
            status, message = "diverged", (run.result or {"message": str(error)})["message"]
        else:
            value = measures.measured(run, [search.measure])[search.measure]
            status = "finished" if value is not None else "failed"
            message = "" if value is not None else f"Its {measures.label(search.measure)} is not finite."
    except _Pruned:
        status = "pruned"
    except (NoSpace, RunBusy, Interrupted, _OtherConditions):
        raise
    # As in task.py: whatever a library raises inside one run must not end the search.
    except Exception as error:  # noqa: BLE001
        status, message = "failed", reason(error)
    last = judge.seen[-1] if judge.seen else {}
    return {
        "status": status,
        "value": value,
        "epoch": last.get("epoch"),
        "accuracy": last.get("val_accuracy"),
        "message": " ".join(message.split()),
    }


class _OtherConditions(UsageError):
    """What a trial would take over was made under other conditions."""


def _refuse_other_conditions(search: Search, run: Run, place: Place) -> None:
    """Raises: _OtherConditions: a run that another search has made is not what this one would make."""
    here = environment.surroundings(search.threads, pick("auto"))
    sentences = environment.comparable(run.environment, {**run.environment, **here})
    if sentences and not place.allow_different:
        raise _OtherConditions(
            f"The run of a trial, {run.root}, was made under other conditions. {' '.join(sentences)} {_ADVICE}"
        )


def _write_table(search: Search, made: Sequence[Trial], folder: Path) -> None:
    """trials.csv: without times, so that it is the same for the same seed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keys = [axis.key for axis in search.space]
    writer.writerow(["trial", "status", *keys, search.measure, "epoch", "val_accuracy"])
    for trial in made:
        told = [*trial.changes.values(), trial.value, trial.epoch, trial.accuracy]
        writer.writerow([trial.number, trial.status, *("" if one is None else word(one) for one in told)])
    files.write(folder / TABLE, text.getvalue().encode())


# The comparison -----------------------------------------------------------------------------------------


def comparison(found: Found, seeds: int) -> Study | None:
    """The best trial against the default recipe, over seeds of their own; None if the two are the same.

    Raises:
        ConfigError: fewer than one seed.
    """
    search, best = found.search, found.best
    if best is None or best.value is None or _same(search.config({}, 0), search.config(best.changes, 0)):
        return None
    more, reached = "more" if search.higher else "less", level(search.measure)(best.value)
    return Study(
        name=f"tune-{search.name}",
        title="the best trial of a search against the default recipe",
        question=f"Has the best of {len(found.trials)} trials {more} {measures.label(search.measure)} than the default?",
        expectation=f"Yes, but by less than in the search, where it was picked for its {reached}.",
        base=search.base,
        arms=(Arm("default"), Arm("tuned", best.changes)),
        baseline="default",
        measure=search.measure,
        comparisons=(Comparison("tuned", "greater" if search.higher else "less", "default"),),
        seeds=seeds,
    )


def _same(one: RunConfig, other: RunConfig) -> bool:
    spelled = [configs.identity(configs.spelled_out(config), "") for config in (one, other)]
    return spelled[0] == spelled[1]
