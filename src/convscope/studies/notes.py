"""What must a reader know of the numbers of a study?

Which technique weighs most, and what limits all that is said: runs that are
missing or lost, counting, precision, unequal chances.  A sentence each.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import measures
from .conduct import Outcome, Trial
from .design import Study
from .report import ArmRow, ComparisonRow, Report, unit
from .stats import Summary


def notes(report: Report) -> list[str]:
    """What a reader must know of the numbers, a sentence each."""
    return [
        *report.study.remarks,
        *_incomplete(report),
        *filter(None, [ranking(report)]),
        *_scores(report),
        *_fairness(report),
        *(_chosen(report.outcome, trial) for trial in report.outcome.trials if trial.chosen),
        *(f"Pooled although runs differ (--allow-mixed): {said}" for said in report.outcome.mixed),
        *_losses(report),
    ]


def _incomplete(report: Report) -> Iterator[str]:
    """Which runs are not those of the design."""
    study = report.study
    if not report.is_complete:
        yield "Not every run has been made: verdicts are provisional, and to stop as soon as they please would be no test."
    if 0 < study.designed_seeds < study.seeds:
        yield (
            f"The design has {study.designed_seeds} seeds: if the others were added because of what those showed, "
            f"p is too small."
        )
    if study.seeds < study.designed_seeds:
        yield f"The design has {study.designed_seeds} seeds; these are the first {study.seeds}."


def _scores(report: Report) -> Iterator[str]:
    """What a score leaves open, whatever the seeds."""
    study = report.study
    errors = [100 * row.counting for row in report.arms if row.counting is not None]
    if report.images and errors:
        ends = dict.fromkeys(f"{end:.2f}" for end in (min(errors), max(errors)))
        yield (
            f"Every accuracy counts {report.images:,} validation images, the same for all runs: that alone leaves a "
            f"standard deviation of {' to '.join(ends)} points, which the intervals over seeds do not include."
        )
    if study.measure == "best_accuracy":
        yield "The best epoch is chosen on the images it is scored on, so it is a little high."
    if any(_leaves_bounds(row.summary, study.measure) for row in report.arms):
        yield (
            "A t interval that leaves 0 to 100 % tells that its seeds are too few, or that they end in two ways: runs.csv."
        )
    if "train_accuracy" in study.measures and any(
        study.config(arm, 0).data.label_noise for arm in study.arms
    ):
        yield (
            "Train accuracy counts training images by their true labels: a network that fits all given labels, a share e "
            "of them wrong, scores about 1 - e."
        )


def _fairness(report: Report) -> Iterator[str]:
    """In what arms differ beside what they change."""
    if apart := _precisions(report.outcome):
        yield (
            f"Not all runs computed alike, since each layer takes what is right and faster on the machine: {apart}. What "
            f"arms differ in by that is part of their differences."
        )
    if unfair(report.study):
        yield (
            "The arms differ in their optimizer, and each ran at the one learning rate it was given: a fair comparison "
            "gives each the same number of tries (S3.66, E2.6; `tries`)."
        )


def _losses(report: Report) -> Iterator[str]:
    """What follows from runs without a number."""
    if report.study.factors and any(row.diverged for row in report.arms):
        yield (
            "Effects are of the seeds of which no run diverged, and have no p: what is left is no fair sample."
            if report.effects
            else "There are no effects: of every seed a run diverged."
        )
    for row in report.arms:
        if row.diverged or row.failed or row.numberless:
            yield f"{row.arm.name}: with a number {row.runs}{_why(report.outcome, row)}."


def ranking(report: Report) -> str:
    """What weighs most, if at least three arms are compared with the baseline; else empty (S1.59).

    Only what the seeds could tell from nothing has a rank: an order of the others would be one of chance.
    """
    study = report.study
    against = [
        (row.paired.mean, row.comparison.arm, _told_apart(row))
        for row in report.comparisons
        if row.paired
        and row.judgement.verdict != "none"
        and row.comparison.than == study.baseline
        and row.measure == study.measure
    ]
    if len(against) < 3:
        return ""
    ordered = sorted(against, key=lambda found: -abs(found[0]))
    listed = (
        ", ".join(f"{arm} {unit(study.measure)(mean)}" for mean, arm, apart in ordered if apart) or "none"
    )
    alike = [arm for _, arm, apart in against if not apart]
    rest = f" Without a rank, since their verdicts show no difference: {', '.join(alike)}." if alike else ""
    wild = [row.arm.name for row in report.arms if row.diverged and row.arm.name != study.baseline]
    but = f" Not ranked, since runs of them diverged: {', '.join(wild)}." if wild else ""
    return f"Against {study.baseline}, the largest difference first: {listed}.{rest}{but}"


def _told_apart(row: ComparisonRow) -> bool:
    if row.comparison.form == "equal":
        return row.judgement.verdict == "contradicted"
    return row.judgement.verdict != "not distinguishable"


def _precisions(outcome: Outcome) -> str:
    """`float32: a, b; bfloat16 in 2 of 11 layers: c`; empty if all runs computed alike."""
    arms: dict[str, list[str]] = {}
    for cell in outcome.cells:
        if cell.line and cell.line.precision:
            arms.setdefault(cell.line.precision, []).append(cell.arm)
    listed = "; ".join(
        f"{precision}: {', '.join(dict.fromkeys(own))}" for precision, own in sorted(arms.items())
    )
    return listed if len(arms) > 1 else ""


def unfair(study: Study) -> bool:
    """Whether optimizers are compared, and no arm has a choice of its learning rate."""
    optimizers = {study.config(arm, 0).recipe.optimizer.name for arm in study.arms}
    return len(optimizers) > 1 and not any(arm.tries for arm in study.arms)


def _leaves_bounds(summary: Summary | None, measure: str) -> bool:
    """Whether an interval reaches where no value can be."""
    if summary is None or summary.low is None or summary.high is None:
        return False
    return measures.is_bounded(measure) and (summary.low < 0 or summary.high > 1)


def _chosen(outcome: Outcome, trial: Trial) -> str:
    """How an arm came to its value."""
    value = ", ".join(f"{key} {value}" for key, value in trial.changes.items())
    tries = [other for other in outcome.trials if other.arm == trial.arm]
    lost = sum(other.mean is None for other in tries)
    if lost == len(tries):
        return f"{trial.arm}: every one of {lost} tries diverged; {value} is the first."
    but = f" ({lost} diverged)" if lost else ""
    return f"{trial.arm}: {value} was the best of {len(tries)} tries on validation{but}, with seeds of their own."


def _why(outcome: Outcome, row: ArmRow) -> str:
    """What follows from an arm's lost runs: of what its mean is, and why runs failed."""
    said = "; its mean and interval are of those" if row.summary else ""
    failures = dict.fromkeys(line.message for line in outcome.lines(row.arm.name) if line.status == "failed")
    return said + "".join(f"; failed: {message.rstrip('.')}" for message in failures)
