"""How is a study carried out, and carried on after whatever stopped it?

    lock -> read the journal -> is what is there comparable? -> choose among tries -> make what is missing

The journal decides what is missing.  A driver that was killed is simply
started again: runs that ended have their line, and a run that was under way
continues from its checkpoint.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from convscope.compute import environment
from convscope.compute.device import pick
from convscope.compute.environment import comparable
from convscope.core import files
from convscope.core.config import RunConfig
from convscope.core.errors import ConvscopeError, DataError, UsageError
from convscope.train.prepare import Place
from convscope.train.run import catalogued, located

from . import measures
from .design import FIRST_TRIAL_SEED, Arm, Study
from .executors import Executor, serial
from .journal import Journal, Line
from .task import Task, code_beside, key_of, own_code, started_from, users_own

Watch = Callable[[Task, float | Line], None]
"""Called with every task that is to be made and 0, then with the share of its steps that are made, and with its line."""


@dataclass(frozen=True)
class Cell:
    """One arm and seed, and what came of it."""

    arm: str
    seed: int
    line: Line | None
    """None: not run yet."""


@dataclass(frozen=True)
class Trial:
    """One value of an arm's budget, and how it did."""

    arm: str
    changes: Mapping[str, object]
    mean: float | None
    """Of the measure over the trial seeds; None if a run of them failed or is missing."""
    chosen: bool


@dataclass(frozen=True)
class Outcome:
    """A study and the lines of its runs, as far as they are there."""

    study: Study
    cells: tuple[Cell, ...]
    """Arms in order, seeds in order within each."""
    trials: tuple[Trial, ...] = ()
    mixed: tuple[str, ...] = ()
    """In what the pooled runs differ, if that was allowed."""
    since: tuple[str, ...] = ()
    """What has changed since the runs were made, where none was left to be made."""

    def lines(self, arm: str) -> list[Line]:
        """The lines of an arm, by seed."""
        return [cell.line for cell in self.cells if cell.arm == arm and cell.line]

    def values(self, arm: str, measure: str) -> dict[int, float]:
        """Seed -> value, of the runs that finished with one."""
        found = {
            cell.seed: cell.line.numbers.get(measure) for cell in self.cells if cell.arm == arm and cell.line
        }
        return {seed: value for seed, value in found.items() if value is not None}

    def lost(self, arm: str) -> dict[str, int]:
        """Why an arm's runs are not in its mean -> how many: `diverged`, `failed`, `without a number`, `not run`."""
        lines = self.lines(arm)
        counted = Counter(line.status for line in lines)
        return {
            "diverged": counted["diverged"],
            "failed": counted["failed"],
            "without a number": counted["finished"] - len(self.values(arm, self.study.measure)),
            "not run": self.study.seeds - len(lines),
        }


def unwatched(task: Task, news: float | Line) -> None:
    """Nobody looks."""


def conduct(
    study: Study,
    folder: Path,
    place: Place,
    *,
    executor: Executor = serial,
    threads: int = 1,
    allow_mixed: bool = False,
    watch: Watch = unwatched,
) -> Outcome:
    """Make every run of a study that is not in the journal yet.

    Args:
        study: arms and seeds.
        folder: of the journal, which several studies may share.
        place: where runs and data are.
        executor: of executors.py.
        threads: CPU threads of every run; results depend on them, so they are the study's, not the executor's.
        allow_mixed: pool runs made with other code, versions, machines, data or precision, and say so.
        watch: called with news of every run.

    Raises:
        RunBusy: another study is being run in this folder.
        UsageError: the journal holds runs that must not be pooled with those to come.
        ConfigError: an arm cannot be configured; before anything runs.
        ConvscopeError: runs that choose among tries failed, so the comparison was not begun.
        Interrupted, NoSpace: a signal came, or the disk is full; the same study then goes on.
    """
    with files.held(folder):
        journal = Journal(folder)
        maker = Maker(study, journal, replace(place, allow_different=allow_mixed), threads, executor, watch)
        since = maker.check_all(allow_mixed)
        maker.make(maker.trials())
        study, trials = chosen(study, journal, threads)
        if undecided := undecided_of(trials):
            raise ConvscopeError(
                f"study {study.name}: of the runs that choose among the tries of {', '.join(undecided)} some failed, as "
                f"{journal.path} says. The same command tries them again; nothing is compared before."
            )
        maker.make(maker.tasks(study))
    return replace(collect(study, journal, trials, threads, allow_mixed), since=tuple(since))


def recorded(study: Study, folder: Path, *, threads: int = 1, allow_mixed: bool = False) -> Outcome:
    """What the journal tells, without running anything; needs neither data nor runs."""
    journal = Journal(folder)
    study, trials = chosen(study, journal, threads)
    return collect(study, journal, trials, threads, allow_mixed)


@dataclass(frozen=True)
class Maker:
    """Makes the runs that a journal lacks."""

    study: Study
    journal: Journal
    place: Place
    threads: int
    executor: Executor = serial
    watch: Watch = unwatched

    def tasks(self, study: Study) -> list[Task]:
        """One per arm and seed, seed by seed: after every seed there is a whole table."""
        return [
            _task(study, arm, seed, self.threads, self.place)
            for seed in range(study.seeds)
            for arm in study.arms
        ]

    def trials(self) -> list[Task]:
        """The runs that choose among each arm's tries."""
        return [
            _task(self.study, variant, seed, self.threads, self.place)
            for arm in self.study.arms
            for variant in variants(arm)
            for seed in trial_seeds(self.study)
        ]

    def check_all(self, allow_mixed: bool) -> list[str]:
        """Look at every arm's names and options before the first run, and at what the journal holds.

        Returns:
            What has changed since the runs were made, if all have been: then nothing is pooled with them.

        Raises:
            UsageError: what would be run now must not be pooled with what is there.
        """
        for arm in self.study.arms:
            for variant in variants(arm) or [arm]:
                catalogued(self.study.config(variant, 0, self.threads))
        decided, _ = chosen(self.study, self.journal, self.threads)
        tasks = [*self.trials(), *self.tasks(decided)]
        known = [(task, line) for task in tasks if (line := self.found(task))]
        is_complete = len(known) == len(tasks)
        if not known or (allow_mixed and not is_complete):
            return []
        if not allow_mixed:
            self.refuse_changed_modules(known)
        changed: list[str] = []
        # To show what is there, the journal is enough.
        with suppress(DataError) if is_complete else nullcontext():
            changed = self.changed(known)
        if changed and not is_complete:
            raise UsageError(refusal(self.study, self.journal, changed))
        return changed

    def refuse_changed_modules(self, known: Sequence[tuple[Task, Line]]) -> None:
        """Also where nothing is left to run: numbers of a user's network as it was must not pass for those of the new.

        Raises:
            UsageError: a user's module is not what it was when these runs were made.
        """
        for task, line in known:
            if not (own := own_code(task.own)):
                continue
            now = replace(line, environment={**line.environment, "beside": own})
            if mixed := differences([(task.config, line), (task.config, now)]):
                raise UsageError(refusal(self.study, self.journal, mixed))

    def changed(self, known: Sequence[tuple[Task, Line]]) -> list[str]:
        """In what a run made now would differ from one that is there."""
        here = environment.surroundings(self.threads, pick("auto"))
        hashes: dict[str, Any] = {}
        for task, line in known:
            places = f"{task.config.data.model_dump_json()} {task.config.recipe.weights}"
            if places not in hashes:
                config, data, _ = located(task.config, self.place)
                hashes[places] = {"data": data.hash, **started_from(config)}
            now = {**line.environment, **here, **hashes[places], "beside": code_beside(task)}
            to_come = replace(line, environment=now)
            if line.environment and (mixed := differences([(task.config, line), (task.config, to_come)])):
                return mixed
        return []

    def found(self, task: Task) -> Line | None:
        """The task's line, unless the run is to be made."""
        line = self.journal.find(task.key, task.measures)
        return line if line and line.is_final else None

    def make(self, tasks: Sequence[Task]) -> None:
        """Make what is missing, and write each line as soon as it is there.

        Raises:
            UsageError: a line must not be pooled with those before: its precision differs, or it was trained earlier.
                It is not written down, so that the study can go on where the others were made.
        """
        missing = [task for task in tasks if self.found(task) is None]
        for task in missing:
            self.watch(task, 0.0)
        # Closed whatever happens here, a full disk or a watch that raises: no worker is left.
        with closing(self.executor(missing, self.watch)) as ended:
            for task, line in ended:
                if not self.place.allow_different:
                    known = [(own.config, found) for own in tasks if (found := self.found(own))]
                    if mixed := differences([*known, (task.config, line)]):
                        raise UsageError(refusal(self.study, self.journal, mixed))
                self.journal.append(line)
                self.watch(task, line)


def _task(study: Study, arm: Arm, seed: int, threads: int, place: Place) -> Task:
    config = study.config(arm, seed, threads)
    return Task(key_of(config), arm.name, seed, config, study.measures, place, users_own())


def trial_seeds(study: Study) -> range:
    """Of the runs that choose; none of them is a seed of the comparison."""
    return range(FIRST_TRIAL_SEED, FIRST_TRIAL_SEED + study.trial_seeds)


def variants(arm: Arm) -> list[Arm]:
    """The arm with each of the changes it may try."""
    return [
        replace(
            arm,
            name=", ".join([arm.name, *(f"{key} {value}" for key, value in changes.items())]),
            changes={**arm.changes, **changes},
            tries=(),
        )
        for changes in arm.tries
    ]


def chosen(study: Study, journal: Journal, threads: int) -> tuple[Study, tuple[Trial, ...]]:
    """The study with each arm at the best of its tries, and how all did.

    An arm is decided when all of its trials have ended: with the best mean, the first of equal ones; the first of all if
    every try diverged, so that its rows will show that.

    Raises:
        ConfigError: the measure has no better and worse.
    """
    arms, trials = [], []
    for arm in study.arms:
        lines = [_trial_lines(study, variant, journal, threads) for variant in variants(arm)]
        means = [_mean(own, study.measure) for own in lines]
        best = _best(means, study.measure) if all(map(all, lines)) else None
        trials += [
            Trial(arm.name, changes, mean, number == best)
            for number, (changes, mean) in enumerate(zip(arm.tries, means, strict=True))
        ]
        taken = arm.tries[best] if best is not None else {}
        arms.append(replace(arm, changes={**arm.changes, **taken}))
    return replace(study, arms=tuple(arms)), tuple(trials)


def undecided_of(trials: Sequence[Trial]) -> list[str]:
    """The arms of which some try has not ended."""
    decided = {trial.arm for trial in trials if trial.chosen}
    return list(dict.fromkeys(trial.arm for trial in trials if trial.arm not in decided))


def _best(means: Sequence[float | None], measure: str) -> int | None:
    if not means:
        return None
    known = [mean for mean in means if mean is not None]
    if not known:
        return 0
    return means.index(max(known) if measures.higher_is_better(measure) else min(known))


def _trial_lines(study: Study, variant: Arm, journal: Journal, threads: int) -> list[Line | None]:
    """Of one try, by trial seed; None where the run has not ended."""
    found = [
        journal.find(key_of(study.config(variant, seed, threads)), [study.measure])
        for seed in trial_seeds(study)
    ]
    return [line if line and line.is_final else None for line in found]


def _mean(lines: Sequence[Line | None], measure: str) -> float | None:
    """Over the trial seeds; None if a run of them is missing or gave no number: what diverges once is not chosen."""
    values = [line.numbers.get(measure) if line else None for line in lines]
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def collect(
    study: Study, journal: Journal, trials: tuple[Trial, ...], threads: int, allow_mixed: bool
) -> Outcome:
    """The lines of all arms and seeds; none of an arm that is not decided.

    Raises:
        UsageError: they must not be pooled.
    """
    undecided = undecided_of(trials)
    cells, known = [], []
    for arm in study.arms:
        for seed in range(study.seeds):
            config = study.config(arm, seed, threads)
            line = None if arm.name in undecided else journal.find(key_of(config), study.measures)
            cells.append(Cell(arm.name, seed, line))
            if line:
                known.append((config, line))
    mixed = differences(known)
    if mixed and not allow_mixed:
        raise UsageError(refusal(study, journal, mixed))
    return Outcome(study, tuple(cells), trials, tuple(mixed))


def differences(known: Sequence[tuple[RunConfig, Line]]) -> list[str]:
    """A sentence for each difference that forbids pooling.

    Everything is compared with the first run, but data with the first of the same data configuration, weights to start
    from with the first that took them from the same place, and precision with the first of the same configuration, for
    other layers may have another.
    """
    own = [(config, line.environment) for config, line in known if line.environment]
    firsts: dict[str, dict[str, Any]] = {}
    hashes: dict[str, str] = {}
    found: list[str] = []
    for config, there in own:
        same_data = firsts.setdefault(config.data.model_dump_json(), there)
        same_run = firsts.setdefault(config.model_copy(update={"seed": 0}).model_dump_json(), there)
        expected = {**own[0][1], "data": same_data["data"], "dtypes": same_run["dtypes"]}
        found += comparable(expected, there)
        if config.compute.precision == "float32" and "bfloat16" in there["dtypes"].values():
            found.append("A run computed in bfloat16, and the study asks for float32.")
        start, weights = config.recipe.weights, there.get("weights")
        if weights and hashes.setdefault(f"from {start}", weights) != weights:
            found.append(f"The weights in {start} differ between runs.")
        found += [
            f"The code of {name} differs between runs."
            for name, own_hash in there.get("beside", {}).items()
            if hashes.setdefault(name, own_hash) != own_hash
        ]
        found += [f"A run was not continued as it was begun: {said}" for said in there.get("changes", ())]
    return [_brief(sentence) for sentence in dict.fromkeys(found)]


def _brief(sentence: str) -> str:
    """With ten digits of every hash: enough to tell two apart, and the sentence stays one."""
    return re.sub(r"\b([0-9a-f]{10})[0-9a-f]{54}\b", r"\1", sentence)


def refusal(study: Study, journal: Journal, sentences: Sequence[str]) -> str:
    """Why runs are not pooled, and what to do."""
    listed = " ".join(map(_brief, sentences))
    return (
        f"Runs of study {study.name} in {journal.path} were made under other conditions. {listed} They are not pooled. "
        f"Begin anew with another --root (and --into, if you gave one), or pool them with --allow-mixed: the table then "
        f"says so."
    )
