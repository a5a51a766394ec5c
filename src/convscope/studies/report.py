"""What did a study find?

From the lines of the journal: each arm's mean with its interval beside the
published number, each comparison with its paired difference and a verdict,
the effects of a factorial, what is confused, and what the runs cost.  Pure
functions; tables.py writes them down, plots/study.py draws them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from . import measures, stats, verdict
from .conduct import Outcome
from .design import Arm, Comparison, Confused, Curve, Study
from .journal import Line
from .stats import Effect, Paired, Summary
from .verdict import Judgement

DECIDED_BY_DIVERGENCE = ("final_accuracy", "best_accuracy", "mean_accuracy", "final_loss")
"""Measures of which a run that diverged has the worst there is; of others, such as the gap, nothing is known."""
TOP_PAIRS = 3
"""Pairs of confused classes that are named, as in S4.20-22."""


@dataclass(frozen=True)
class ArmRow:
    """One arm over its seeds."""

    arm: Arm
    summary: Summary | None
    """Of the study's measure; None if no run finished."""
    counting: float | None
    """Standard deviation that counting its validation images alone leaves an accuracy; None for other measures."""
    also: dict[str, Summary]
    """Further measures."""
    diverged: int
    failed: int
    numberless: int
    """Runs that finished with a value that is no finite number."""
    missing: int
    """Runs that have not been made yet."""
    seconds: float | None
    """Median training time of a run, as recorded, wherever it ran and whatever ran beside it."""

    @property
    def runs(self) -> str:
        """`5`, `4 of 5: 1 diverged`."""
        counted = self.summary.n if self.summary else 0
        lost = {
            "diverged": self.diverged,
            "failed": self.failed,
            "without a number": self.numberless,
            "not run": self.missing,
        }
        total = counted + sum(lost.values())
        named = ", ".join(f"{count} {what}" for what, count in lost.items() if count)
        return f"{counted} of {total}: {named}" if named else str(counted)


@dataclass(frozen=True)
class ComparisonRow:
    """One comparison and what the runs say of it."""

    comparison: Comparison
    measure: str
    paired: Paired | None
    """Differences on shared seeds; None without a seed that both arms finished."""
    p: float | None
    """After Holm over all comparisons of this study; None without a verdict, and for the verdict diverged."""
    judgement: Judgement


@dataclass(frozen=True)
class EffectRow:
    """One effect of a factorial."""

    effect: Effect
    p: float | None
    """After Holm over the effects of this study; None below 3 seeds, and where a run of any arm diverged."""


@dataclass(frozen=True)
class PairRow:
    """The classes an arm confuses most often."""

    arm: str
    pairs: tuple[tuple[str, int, int], ...]
    """`true-predicted`, images over all seeds, seeds in which it is among the first three."""
    seeds: int
    published: Confused | None


@dataclass(frozen=True)
class CurveRow:
    """An arm by epoch, beside what somebody printed."""

    arm: str
    epochs: tuple[Summary | None, ...]
    """Validation accuracy after epoch 1, 2, ... over seeds; None where no run was scored."""
    best: float | None
    """Of all runs and epochs."""
    published: Curve


@dataclass(frozen=True, repr=False)
class Report:
    """Everything a study found; printed, it is what the terminal shows."""

    outcome: Outcome
    """The runs it was made of."""
    arms: tuple[ArmRow, ...]
    comparisons: tuple[ComparisonRow, ...]
    effects: tuple[EffectRow, ...]
    pairs: tuple[PairRow, ...]
    curves: tuple[CurveRow, ...]
    images: int
    """Validation images of a run, the same for all arms; 0 if they differ."""

    @property
    def study(self) -> Study:
        """What was asked."""
        return self.outcome.study

    @property
    def is_complete(self) -> bool:
        """Whether every run has been made."""
        return not any(row.missing for row in self.arms)

    def __repr__(self) -> str:
        from .tables import text  # which asks what this module defines

        return text(self)


def report(outcome: Outcome) -> Report:
    """Judge what is there; a study that is not complete is judged as far as it goes."""
    study = outcome.study
    images = {line.images for arm in study.arms for line in outcome.lines(arm.name) if line.images}
    # Of one data set and split; which of its training labels are wrong does not matter to them.
    splits = {
        study.config(arm, 0).data.model_copy(update={"label_noise": None}).model_dump_json()
        for arm in study.arms
    }
    count = images.pop() if len(images) == len(splits) == 1 else 0
    return Report(
        outcome=outcome,
        arms=tuple(_arm_row(outcome, arm) for arm in study.arms),
        comparisons=tuple(_compared(outcome)),
        effects=tuple(_effects(outcome)),
        pairs=tuple(row for arm in study.arms if (row := _pairs(outcome, arm))),
        curves=tuple(_curve(outcome, arm.name, arm.curve) for arm in study.arms if arm.curve),
        images=count,
    )


def _arm_row(outcome: Outcome, arm: Arm) -> ArmRow:
    lines, lost = outcome.lines(arm.name), outcome.lost(arm.name)
    study = outcome.study
    found = {
        measure: stats.summary(list(values.values()))
        for measure in study.measures
        if (values := outcome.values(arm.name, measure))
    }
    summary = found.get(study.measure)
    images = next((line.images for line in lines if line.images), 0)
    counts = images and study.measure in ("final_accuracy", "best_accuracy")
    seconds = [line.provenance["seconds"] for line in lines if line.provenance.get("seconds")]
    return ArmRow(
        arm=arm,
        summary=summary,
        counting=stats.counting_error(summary.mean, images) if summary and counts else None,
        also={measure: found[measure] for measure in study.measures[1:] if measure in found},
        diverged=lost["diverged"],
        failed=lost["failed"],
        numberless=lost["without a number"],
        missing=lost["not run"],
        seconds=median(seconds) if seconds else None,
    )


def _compared(outcome: Outcome) -> list[ComparisonRow]:
    """All comparisons are one family for Holm, those that get no verdict with p = 1.

    So the family does not shrink with what is lost, and survivors of an arm that diverged do not spend its place.
    """
    study = outcome.study
    differences = [_differences(outcome, comparison) for comparison in study.comparisons]
    raw = [
        verdict.p_of(comparison.form, found, comparison.within)
        if len(found) >= verdict.LEAST_SEEDS and not any(_diverged(outcome, comparison).values())
        else 1.0
        for comparison, found in zip(study.comparisons, differences, strict=True)
    ]
    family = zip(study.comparisons, differences, stats.holm(raw), stats.holm_levels(raw), strict=True)
    return [_row(outcome, *one) for one in family]


def _row(
    outcome: Outcome, comparison: Comparison, differences: Sequence[float], p: float, level: float
) -> ComparisonRow:
    """The verdict; runs that diverged are an outcome, so those that are left do not decide alone."""
    measure = comparison.measure or outcome.study.measure
    paired = stats.paired(differences) if differences else None
    lost = _diverged(outcome, comparison)
    if any(lost.values()):
        judgement = _judged_by_divergence(outcome, comparison, lost)
    elif paired is None:
        judgement = Judgement(
            "none", f"no seed of which both {comparison.arm!r} and {comparison.than!r} gave a number"
        )
    else:
        judgement = verdict.judge(comparison.form, paired, p, comparison.within, unit(measure), level)
    decided = judgement.verdict not in ("none", "diverged")
    return ComparisonRow(comparison, measure, paired, p if decided else None, judgement)


def _diverged(outcome: Outcome, comparison: Comparison) -> dict[str, int]:
    """How many runs of each of the two arms diverged."""
    return {name: outcome.lost(name)["diverged"] for name in (comparison.arm, comparison.than)}


def _differences(outcome: Outcome, comparison: Comparison) -> list[float]:
    """Arm minus other on every seed that both finished."""
    measure = comparison.measure or outcome.study.measure
    ours, theirs = outcome.values(comparison.arm, measure), outcome.values(comparison.than, measure)
    return [stats.signed_sum([ours[seed], -theirs[seed]]) for seed in sorted(ours.keys() & theirs.keys())]


def _judged_by_divergence(outcome: Outcome, comparison: Comparison, lost: dict[str, int]) -> Judgement:
    """Where every run of one arm diverged and every run of the other gave a number, that is said, without a p."""
    study, measure = outcome.study, comparison.measure or outcome.study.measure
    said = " and ".join(
        f"{count} of {study.seeds} runs of {name!r} diverged" for name, count in lost.items() if count
    )
    finished = {name: len(outcome.values(name, measure)) for name in lost}
    ours, theirs = comparison.arm, comparison.than
    if study.seeds < verdict.LEAST_SEEDS:
        return Judgement("none", f"no verdict from fewer than {verdict.LEAST_SEEDS} seeds: {said}")
    for gone, other in ((ours, theirs), (theirs, ours)):
        if lost[gone] == study.seeds and finished[other] == study.seeds and measure in DECIDED_BY_DIVERGENCE:
            worse = "less" if measures.higher_is_better(measure) else "greater"
            as_claimed = {"different": True, worse: gone == ours}.get(comparison.form, gone == theirs)
            word = "as claimed" if as_claimed and comparison.form != "equal" else "against the claim"
            word = "different" if comparison.form == "different" else word  # nobody claimed which
            return Judgement("diverged", f"{word}, without a p: {said}, and none of {other!r}")
    return Judgement("none", f"no verdict: {said}, and what the others reached decides nothing")


def _effects(outcome: Outcome) -> list[EffectRow]:
    """Main effects and interactions, if the arms are a complete factorial."""
    factors = outcome.study.factors
    if not factors:
        return []
    values = {
        tuple(arm.levels[factor] for factor in factors): outcome.values(arm.name, outcome.study.measure)
        for arm in outcome.study.arms
    }
    found = stats.effects(values, factors)
    raw = {
        place: effect.paired.p
        for place, effect in enumerate(found)
        if effect.paired.n >= verdict.LEAST_SEEDS and effect.paired.p is not None
    }
    # All that were to be asked: the family must not shrink with what is lost.
    lost = [1.0] * (stats.effects_asked(factors) - len(raw))
    adjusted = dict(zip(raw, stats.holm([*raw.values(), *lost]), strict=False))
    # Seeds of which a run diverged have no effect; those that are left are no fair sample of them.
    if any(outcome.lost(arm.name)["diverged"] for arm in outcome.study.arms):
        adjusted = {}
    return [EffectRow(effect, adjusted.get(place)) for place, effect in enumerate(found)]


def _pairs(outcome: Outcome, arm: Arm) -> PairRow | None:
    """What is confused, summed over seeds; None unless somebody published it for this arm."""
    lines = [line for line in outcome.lines(arm.name) if line.confusion]
    if not arm.confused or not lines:
        return None
    images: Counter[str] = Counter()
    among: Counter[str] = Counter()
    for line in lines:
        own = _confusions(line)
        images.update(own)
        among.update([pair for pair, _ in _most(own)])
    pairs = tuple((pair, count, among[pair]) for pair, count in _most(images))
    return PairRow(arm.name, pairs, len(lines), arm.confused)


def _curve(outcome: Outcome, arm: str, published: Curve) -> CurveRow:
    """Accuracy after each epoch that was printed."""
    runs = [
        dict(zip(line.curve["epoch"], line.curve["val_accuracy"], strict=True))
        for line in outcome.lines(arm)
        if line.curve
    ]
    by_epoch = [
        [value for run in runs if (value := run.get(epoch)) is not None]
        for epoch in range(1, len(published.means) + 1)
    ]
    return CurveRow(
        arm,
        tuple(stats.summary(values) if values else None for values in by_epoch),
        max((value for run in runs for value in run.values() if value is not None), default=None),
        published,
    )


def _confusions(line: Line) -> Counter[str]:
    names = line.classes
    return Counter(
        {
            f"{names[true]}-{names[predicted]}": count
            for true, row in enumerate(line.confusion)
            for predicted, count in enumerate(row)
            if true != predicted
        }
    )


def _most(counted: Counter[str]) -> list[tuple[str, int]]:
    """The most frequent that happened; ties go by name, so that the table is the same everywhere."""
    return sorted((+counted).items(), key=lambda item: (-item[1], item[0]))[:TOP_PAIRS]


def unit(measure: str) -> Callable[[float], str]:
    """How a difference of this measure is written: shares in percentage points, others with four digits."""
    if measures.is_share(measure):
        return lambda value: f"{100 * value:+.2f} points"
    return lambda value: f"{value:+.4g}"


def level(measure: str) -> Callable[[float], str]:
    """How a value of this measure is written: shares in percent, counts whole, others with four digits."""
    if measure == "gap":  # a difference of two shares
        return lambda value: f"{100 * value:.2f} points"
    if measures.is_share(measure):
        return lambda value: f"{100 * value:.2f} %"
    return lambda value: f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.4g}"
