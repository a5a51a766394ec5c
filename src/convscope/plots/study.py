"""What does a study look like?

Its arms with their intervals beside what was published, their curves over the
epochs, and, where one change is swept, the measure along it.  In: a `Report`,
or the `Outcome` it was made of.  What diverged, failed or is missing is
written where it would have been drawn.  Shares are in percent.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from convscope.core import files
from convscope.core.errors import UnknownName
from convscope.core.intervals import student
from convscope.studies import measures
from convscope.studies.axis import swept
from convscope.studies.conduct import Outcome
from convscope.studies.design import Arm, Study
from convscope.studies.report import ArmRow, Report
from convscope.studies.task import CURVES

from . import arms, save, style, sweep

FIGURES = ("intervals", "curves", "bands", "sweep")


def figures(report: Report) -> dict[str, Figure]:
    """Those of `FIGURES` that this study has: `intervals`, and the others where there is something to draw."""
    study, outcome = report.study, report.outcome
    drawn = {"intervals": intervals(report)}
    shown = "val_loss" if study.measure.endswith("loss") else "val_accuracy"
    if _has_lines(outcome, shown):
        drawn["curves"] = curves(outcome, shown)
    # A band means something where a small step makes it narrow or wide: over learning rates (S2.28).
    if len(study.factors) == 2 and study.axis == "lr" and _has_lines(outcome, "train_loss"):
        drawn["bands"] = bands(outcome)
    if study.axis:
        drawn["sweep"] = sweep.draw(report)
    return drawn


def draw_into(report: Report, folder: Path, format: str = "png") -> list[str]:
    """Draw all figures into a folder, and take away those that the study had before; the names of the files."""
    drawn = figures(report)
    for name in FIGURES:
        path = folder / f"{name}.{format}"
        if name in drawn:
            save(drawn[name], path)
        else:
            files.remove(path)
    return [f"{name}.{format}" for name in drawn]


def _has_lines(outcome: Outcome, measure: str) -> bool:
    """Whether some curve has two points, so that there is a line to be seen."""
    found = [_curve(outcome, arm, measure) for arm in outcome.study.arms]
    return any(curve is not None and len(curve[0]) > 1 for curve in found)


def intervals(report: Report) -> Figure:
    """A row for each arm, in order: its seeds, their mean with its 95 % t interval, and the published number.

    Right of a row stands where its number was published, and how many of its runs did not finish.
    """
    study = report.study
    made = style.figure(7.2, 1.4 + 0.4 * len(report.arms))
    axes = style.plain(made.subplots())
    for place, row in enumerate(report.arms):
        _row(axes, place, row, report.outcome)
    base = next(row.summary for row in report.arms if row.arm.name == study.baseline)
    if base:
        label = f"baseline: {study.baseline}"
        axes.axvline(arms.scale(study.measure) * base.mean, color="0.6", linewidth=0.8, zorder=0, label=label)
    names = [textwrap.fill(arm.name, 48) for arm in study.arms]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(arms.named(study.measure), fontsize=8)
    if measures.is_bounded(study.measure):
        axes.set_xlim(*arms.possible(*axes.get_xlim()))
    arms.legend(made, axes)
    arms.title(made, report.outcome)
    return made


def _row(axes: Axes, place: int, row: ArmRow, outcome: Outcome) -> None:
    measure = outcome.study.measure
    scale, colour = arms.scale(measure), style.COLOURS[0]
    values = [scale * value for value in outcome.values(row.arm.name, measure).values()]
    if values:
        below = [place + 0.26] * len(values)
        axes.plot(
            values, below, "o", markersize=3, alpha=0.4, markeredgewidth=0, color=colour, label="one seed"
        )
    if row.summary:
        mean, low, high = (scale * value for value in arms.ends(row.summary))
        axes.errorbar(
            [mean], [place], xerr=[[mean - low], [high - mean]], fmt="o", markersize=4.5, capsize=3, color=colour,
            label=arms.INTERVAL if row.summary.n > 1 else "mean of one seed",
        )  # fmt: skip
    notes = [text] if (text := arms.lost(outcome, row.arm)) else []
    if row.arm.published:
        axes.plot(
            [scale * row.arm.published.value], [place], "D", fillstyle="none", markersize=6, color=style.COLOURS[1],
            label="published",
        )  # fmt: skip
        notes = [f"published: {row.arm.published.source}", *notes]
    axes.text(
        1.01,
        place,
        "\n".join(notes),
        transform=axes.get_yaxis_transform(),
        fontsize=7,
        va="center",
        color="0.3",
    )


def curves(outcome: Outcome, measure: str = "val_accuracy") -> Figure:
    """A measure over the epochs: the mean over the seeds with a band, its 95 % t interval; the training curve dashed.

    At most seven arms share a panel; a factorial has one panel per level of its first factor. An epoch at which a
    seed has no finite value is a gap. Diamonds are what somebody printed for an arm (`Curve`).

    Args:
        measure: val_accuracy, val_loss, train_accuracy or train_loss; with a `val_` the training curve is drawn too.

    Raises:
        UnknownName: another one.
    """
    if measure not in CURVES[1:]:
        raise UnknownName("curve", measure, CURVES[1:])
    groups = _grouped(outcome.study)
    columns = min(len(groups), 2 if len(groups) == 4 else 3)
    rows = math.ceil(len(groups) / columns)
    width, height = (6.4, 4.2) if len(groups) == 1 else (3.6, 3.2)
    made = style.figure(width * columns, height * rows)
    grid = list(np.ravel(np.asarray(made.subplots(rows, columns, sharex=True, sharey=True), dtype=object)))
    style.hide(grid[len(groups) :])
    for axes, group in zip(grid, groups, strict=False):
        _panel(style.plain(axes), outcome, group, measure)
    for number, axes in enumerate(grid[: len(groups)]):
        if number % columns == 0:
            arms.measured(axes, measure)
        if number + columns >= len(groups):
            _epochs(axes)
            axes.tick_params(labelbottom=True)
    if len({tuple(group.arms) for group in groups}) == 1:
        arms.legend(made, grid[0])
    else:
        for axes in grid[: len(groups)]:
            axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    how = arms.INTERVAL if outcome.study.seeds > 1 else "one run each"
    dashed = "; dashed: training, while it learns" if measure.startswith("val_") else ""
    printed = measure == "val_accuracy" and any(arm.curve for arm in outcome.study.arms)
    arms.title(made, outcome, how + dashed + "; diamonds: printed" * printed)
    return made


@dataclass(frozen=True)
class _Group:
    """The arms of one panel."""

    title: str
    arms: dict[str, Arm]
    """By their name within the panel."""


def _grouped(study: Study) -> list[_Group]:
    """Panels of at most seven arms, as even as can be."""
    first = next(iter(study.factors)) if len(study.factors) > 1 else ""
    groups = []
    for level in study.factors.get(first, [""]):
        members = [arm for arm in study.arms if arm.levels.get(first, "") == level]
        size = math.ceil(len(members) / math.ceil(len(members) / arms.MOST_COLOURS))
        for at in range(0, len(members), size):
            named = {arms.cell(arm, first) or arm.name: arm for arm in members[at : at + size]}
            groups.append(_Group(f"{first} {level}".strip(), named))
    return groups


def _panel(axes: Axes, outcome: Outcome, group: _Group, measure: str) -> None:
    scale = arms.scale(measure)
    notes = [group.title] if group.title else []
    for (label, arm), colour in zip(group.arms.items(), style.COLOURS, strict=False):
        if text := arms.lost(outcome, arm):
            notes.append(f"{label}: {text}")
        found = _curve(outcome, arm, measure)
        epochs, values = found or (np.array([]), np.empty((1, 0)))
        axes.plot(epochs, scale * values.mean(0), color=colour, linewidth=1.4, label=label)
        if len(values) > 1:
            low, high = _band(values)
            axes.fill_between(epochs, scale * low, scale * high, color=colour, alpha=0.2, linewidth=0)
        train = _curve(outcome, arm, measure.replace("val_", "train_"))
        if measure.startswith("val_") and train:
            axes.plot(train[0], scale * train[1].mean(0), "--", color=colour, linewidth=0.8)
        if arm.curve and measure == "val_accuracy":
            axes.errorbar(
                range(1, len(arm.curve.means) + 1), scale * np.array(arm.curve.means),
                yerr=scale * np.array(arm.curve.sds) if arm.curve.sds else None,
                fmt="D", fillstyle="none", markersize=4, capsize=2, linewidth=0.8, color=colour,
                label=f"{label}: {arm.curve.source}",
            )  # fmt: skip
    axes.set_title("\n".join(notes), fontsize=8)


def bands(outcome: Outcome) -> Figure:
    """`band` of a study with two factors: over the one that is its axis."""
    factor = swept(outcome.study).factor
    return band(outcome, factor, next(name for name in outcome.study.factors if name != factor))


def band(outcome: Outcome, factor: str, by: str) -> Figure:
    """Between which training losses do runs with different levels of a factor lie, epoch by epoch?

    From the lowest to the highest over the levels of `factor`, such as learning rates, each the mean over its seeds;
    one band for each level of `by`. An arm without a finished run is in no band, which the legend says.

    Reference:
        Santurkar et al. (2018), How Does Batch Normalization Help Optimization?, figure 12 (S2.28). They call it a
        loss landscape; it is a spread of training curves over rates (E2.10), and is called so here. Differs: loss by
        epoch, the mean over its steps, where theirs is by step.
    """
    study = outcome.study
    made = style.figure(6.4, 4.4)
    axes = style.plain(made.subplots())
    for number, level in enumerate(study.factors[by]):
        epochs, spread, lost = _spread(outcome, [arm for arm in study.arms if arm.levels[by] == level], by)
        axes.fill_between(
            epochs, spread.min(0), spread.max(0), color=style.COLOURS[number % arms.MOST_COLOURS], alpha=0.35,
            linewidth=1, label=textwrap.fill(f"{by} {level}{lost}", 100),
        )  # fmt: skip
    _epochs(axes)
    arms.measured(axes, "train_loss")
    arms.legend(made, axes)
    arms.title(
        made,
        outcome,
        f"training loss, lowest to highest over {factor} {', '.join(study.factors[factor])}",
        "a spread of training curves, not a loss landscape (E2.10)",
    )
    return made


def _epochs(axes: Axes) -> None:
    axes.set_xlabel("epoch", fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def _spread(outcome: Outcome, members: Sequence[Arm], by: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Epochs (E,), the mean training loss of each arm that has one (A, E), and what is missing, in brackets."""
    curves = [found for arm in members if (found := _curve(outcome, arm, "train_loss"))]
    means = [dict(zip(epochs, values.mean(0), strict=True)) for epochs, values in curves]
    lost = [f"{arms.cell(arm, by)}: {text}" for arm in members if (text := arms.lost(outcome, arm))]
    return *_aligned(means), f" ({'; '.join(lost)})" if lost else ""


def _curve(outcome: Outcome, arm: Arm, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Epochs (E,) and a row for each seed (S, E); None if no seed has a value."""
    found = [
        dict(zip(line.curve["epoch"], line.curve[name], strict=True))
        for line in outcome.lines(arm.name)
        if any(value is not None for value in line.curve.get(name, []))
    ]
    return _aligned(found) if found else None


def _aligned(curves: Sequence[Mapping[float | None, float | None]]) -> tuple[np.ndarray, np.ndarray]:
    """All epochs of some curves (E,), and the curves (N, E), NaN where one has no value, such as after its end."""
    epochs = sorted({epoch for curve in curves for epoch in curve if epoch is not None})
    values = np.array([[curve.get(epoch) for epoch in epochs] for curve in curves], dtype=float)
    return np.array(epochs), values.reshape(max(len(curves), 1), len(epochs))


def _band(values: np.ndarray) -> np.ndarray:
    """The 95 % t interval (2, E) of the mean of values (S, E); NaN where one of them is."""
    ends = [student(column) if np.isfinite(column).all() else (math.nan, math.nan) for column in values.T]
    return np.array(ends).T
