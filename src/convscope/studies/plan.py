"""What will a study cost on this machine, and what can it show?

A step, a validation and a look of each diagnostic are timed on real batches
for each kind of run, before anything is trained; runs that the journal
already holds are neither repeated nor counted.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from convscope.compute import fences
from convscope.compute.device import pick
from convscope.core import catalog
from convscope.core.config import RunConfig, as_table, choice
from convscope.core.errors import ConfigError
from convscope.data import Data, Normaliser
from convscope.evaluate.predict import logits
from convscope.evaluate.subject import Moment, subject_of
from convscope.train.loop import Session
from convscope.train.preflight import preflight
from convscope.train.prepare import Place, build_session, lower
from convscope.train.run import located

from . import measures, stats
from .conduct import Maker, Outcome, chosen, collect, trial_seeds, undecided_of, variants
from .design import Arm, Study
from .journal import Journal, Line
from .report import report
from .task import key_of
from .verdict import LEAST_SEEDS

TIMED_IMAGES = 1_000
"""Validation images that are scored to time a validation."""
_FREE = {"lr", "weight_decay", "decay", "schedule", "warmup", "label_noise"}
"""Settings that no step takes longer for; arms that differ in these alone are timed once."""


@dataclass(frozen=True)
class ArmPlan:
    """What is to be done for one arm."""

    arm: str
    runs: int
    """Not made yet, those that choose among its tries included."""
    seconds: float
    """Of one run, on one worker, with nothing else on its core."""
    timed: bool
    """Measured just now; else the mean of the runs of this arm that are in the journal."""


@dataclass(frozen=True)
class Plan:
    """What a study costs and can show."""

    arms: tuple[ArmPlan, ...]
    workers: int
    seeds: int
    sd: float
    """Standard deviation of a difference between two arms on one seed."""
    sd_from: str
    """Where that number comes from."""
    detectable: float | None
    """The difference that so many seeds show with 80 % power, at 5 % divided by the comparisons, or by the effects where
    nothing is compared, which is what Holm asks of the smallest p; None below 2 seeds."""
    equalities: tuple[tuple[float, float], ...] = ()
    """Each margin of the study's equalities, and the chance that it is shown where there is no difference at all."""
    load: float = 0.0
    """Processes that wanted a core while runs were timed, beside this one; 0 where nothing was timed."""

    @property
    def runs(self) -> int:
        """All that is to be made."""
        return sum(arm.runs for arm in self.arms)

    @property
    def seconds(self) -> float:
        """Until the last run has ended, with every worker busy."""
        work = sum(arm.runs * arm.seconds for arm in self.arms)
        longest = max((arm.seconds for arm in self.arms if arm.runs), default=0.0)
        return max(work / self.workers, longest)


def plan(study: Study, folder: Path, place: Place, *, workers: int = 1, threads: int = 1) -> Plan:
    """Time what is not known yet; nothing is trained, and no run or journal written.

    Raises:
        DataMissing, UsageError: what would stop the study before its first run.
    """
    journal = Journal(folder)
    Maker(study, journal, place, threads).check_all(place.allow_different)
    study, trials = chosen(study, journal, threads)
    undecided = undecided_of(trials)
    timed: dict[str, float] = {}
    arms = tuple(
        _arm_plan(study, arm, journal, place, threads, timed, decided=arm.name not in undecided)
        for arm in study.arms
    )
    sd, sd_from = spread(collect(study, journal, trials, threads, allow_mixed=True))
    family = max(1, len(study.comparisons) or stats.effects_asked(study.factors))
    level = 0.05 / family
    detectable = stats.detectable(study.seeds, sd, alpha=level) if study.seeds > 1 else None
    margins = dict.fromkeys(c.within for c in study.comparisons if c.within and not c.measure)
    equalities = tuple(
        (margin, stats.power_of_equivalence(study.seeds, margin, sd, level))
        for margin in margins
        if study.seeds > 1
    )
    load = max(0.0, os.getloadavg()[0] - 1) if timed and hasattr(os, "getloadavg") else 0.0
    return Plan(arms, workers, study.seeds, sd, sd_from, detectable, equalities, load)


def _arm_plan(
    study: Study,
    arm: Arm,
    journal: Journal,
    place: Place,
    threads: int,
    timed: dict[str, float],
    *,
    decided: bool,
) -> ArmPlan:
    own = [study.config(arm, seed, threads) for seed in range(study.seeds)]
    trials = [study.config(one, seed, threads) for one in variants(arm) for seed in trial_seeds(study)]
    lines = [journal.find(key_of(config), study.measures) for config in trials]
    lines += [journal.find(key_of(config), study.measures) if decided else None for config in own]
    missing = sum(line is None or not line.is_final for line in lines)
    known = [seconds for line in lines if line and (seconds := _seconds(line))]
    if known or not missing:
        return ArmPlan(arm.name, missing, sum(known) / len(known) if known else 0.0, timed=False)
    kind = cost_key((*trials, *own)[0])
    if kind not in timed:
        timed[kind] = time_of_a_run((*trials, *own)[0], place, study.measures)
    return ArmPlan(arm.name, missing, timed[kind], timed=True)


def _seconds(line: Line) -> float | None:
    """Of training and of measuring; None where the run has not finished."""
    seconds = line.provenance.get("seconds") if line.status == "finished" else None
    return seconds and seconds + line.provenance.get("measuring", 0.0)


def cost_key(config: RunConfig) -> str:
    """The same for runs that take the same time."""
    table: dict[str, Any] = as_table(config)
    for part in ("data", "recipe"):
        table[part] = {key: value for key, value in table[part].items() if key not in _FREE}
    table["recipe"]["optimizer"] = config.recipe.optimizer.name
    return repr({key: table[key] for key in ("model", "data", "recipe")})


def time_of_a_run(config: RunConfig, place: Place, names: Sequence[str] = ()) -> float:
    """Seconds of a whole run, from a few steps, one validation and one look of each diagnostic on real images."""
    resolved, data, _ = located(config, place)
    with fences.training_state(config.compute.threads):
        session, placement, card = build_session(resolved, data, pick(config.compute.device))
        lower(session, resolved, place)
        steps = preflight(session, placement, "", len(data.classes)).remaining_s
        shown = data.val.subset(torch.arange(min(TIMED_IMAGES, len(data.val))))
        began = time.perf_counter()
        if len(shown):
            logits(session.shown, shown, card.normalise)
        one = (time.perf_counter() - began) * len(data.val) / max(1, len(shown))
        looks = _time_of_looks(config, data, session, card.normalise, names)
    every = config.recipe.validation_steps(session.batches.per_epoch)
    # At the end, validation images and as many of training are scored once more.
    return steps + one * (math.ceil(session.total / every) + 2) + looks


def _time_of_looks(
    config: RunConfig, data: Data, session: Session, normalise: Normaliser, names: Sequence[str]
) -> float:
    """Seconds of all that diagnostics do in a run: while it learns, and for measures at its end."""
    during = 1 + math.ceil(session.total / config.compute.inspection_steps(session.batches.per_epoch))
    ends = map(choice, measures.looked(names, at_the_end=True))
    moment = Moment(0, 0.0, session.rate(), session.batch)
    total = 0.0
    for asked, count, at in [
        *((each, during, moment) for each in config.compute.inspect),
        *((each, 1, None) for each in ends),
    ]:
        known = {"streams": session.streams, "recipe": session.recipe, "moment": at}
        subject = subject_of(session.model, data, normalise, "", **known)
        began = time.perf_counter()
        with suppress(ConfigError):  # it reads the record of a run, which is not there yet and costs no time
            catalog.call("diagnostics", asked.name, asked.options, subject=subject)
        total += count * (time.perf_counter() - began)
    return total


def spread(outcome: Outcome) -> tuple[float, str]:
    """The standard deviation of a difference, or of an effect, from runs that are there, else as the study assumes."""
    told = report(outcome)
    what = "comparison" if told.comparisons else "effect"
    asked = [row.paired for row in told.comparisons if row.measure == told.study.measure]
    if not told.comparisons:
        asked = [row.effect.paired for row in told.effects]
    found = [paired for paired in asked if paired and paired.n >= LEAST_SEEDS]
    if not found:
        return told.study.sd, "assumed by the study"
    freedom = sum(paired.n - 1 for paired in found)
    pooled = math.sqrt(sum((paired.n - 1) * (paired.sd or 0.0) ** 2 for paired in found) / freedom)
    which = (
        f"pooled over the {len(found)} {what}s that have"
        if len(found) > 1
        else f"that of the {what} that has"
    )
    return pooled, f"{which} at least {LEAST_SEEDS} seeds"
