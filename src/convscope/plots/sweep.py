"""How does the measure of a study go along one of its changes?

Along a learning rate, a penalty, a width: a change that is a number in every
arm, on a logarithmic axis; or a factor whose levels are numbers, on a linear one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from convscope.studies.axis import Swept, swept
from convscope.studies.conduct import Outcome
from convscope.studies.report import ArmRow, Report

from . import arms, style

_NAMES = {"lr": "learning rate"}
_LOST = "diverged or failed, of all runs"


def draw(report: Report) -> Figure:
    """The measure along the study's axis: seeds, mean and 95 % t interval, and the published numbers.

    An axis that is a change of the arms, such as `lr`, is logarithmic, with 0 behind a break at the left; one that is
    a factor is linear. In a factorial each combination of the other factors' levels is a line; elsewhere the baseline is
    marked, such as the threshold of double descent, and where a study tells train_accuracy beside an accuracy, that is
    dashed. Where runs diverged or failed, a cross above says how many.
    """
    study = report.study
    axis = Axis(**vars(swept(study)))
    made = style.figure(6.4, 4.4)
    axes = style.plain(made.subplots())
    lines: dict[str, list[ArmRow]] = {}
    for row in sorted(report.arms, key=lambda row: axis.values[row.arm.name]):
        label = arms.cell(row.arm, axis.factor) if study.factors else ""
        lines.setdefault(label, []).append(row)
    for number, (label, rows) in enumerate(lines.items()):
        _line(axes, report.outcome, rows, axis, label or "measured", number, len(lines))
    if not study.factors:
        base = axis.place(axis.values[study.baseline])
        axes.axvline(base, color="0.6", linewidth=0.8, zorder=0, label=f"baseline: {study.baseline}")
    axis.ruled(axes)
    axes.set_xlabel(_NAMES.get(study.axis, study.axis.rpartition(".")[2].replace("_", " ")), fontsize=8)
    arms.measured(axes, study.measure)
    arms.legend(made, axes)
    arms.title(made, report.outcome, f"{arms.INTERVAL}; beside it each seed")
    return made


class Axis(Swept):
    """Where the arms of a sweep stand in the figure."""

    @property
    def positive(self) -> list[float]:
        """The values above 0, from the lowest."""
        return sorted({value for value in self.values.values() if value > 0}) or [1.0]

    @property
    def is_broken(self) -> bool:
        """Whether there is a 0 that has no place on a logarithmic axis."""
        return self.is_log and 0 in self.values.values()

    @property
    def zero(self) -> float:
        """Where a logarithmic axis has its 0: as far left of the rest as leaves room for a break."""
        return self.positive[0] / 10 ** (0.4 + 0.1 * math.log10(self.positive[-1] / self.positive[0]))

    def along(self, value: float) -> float:
        """Of a value, or its logarithm where equal factors are equally far apart."""
        return math.log(value or self.zero) if self.is_log else value

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest, `along`."""
        return self.along(min(self.values.values())), self.along(max(self.values.values()))

    def place(self, value: float, aside: float = 0.0) -> float:
        """On the axis as it is drawn, and so much of its length beside it."""
        low, high = self.ends
        at = self.along(value) + aside * ((high - low) or 1.0)
        return math.exp(at) if self.is_log else at

    def ruled(self, axes: Axes) -> None:
        """Ticks at the arms' own values, as far as there is room; the break."""
        low, high = self.ends
        room = 0.06 * ((high - low) or 1.0)
        kept: list[float] = []
        for value in sorted(set(self.values.values())):
            if not kept or self.along(value) - self.along(kept[-1]) >= room:
                kept.append(value)
        if self.is_log:
            axes.set_xscale("log")
        axes.set_xlim(
            self.place(min(self.values.values()), -0.06), self.place(max(self.values.values()), 0.06)
        )
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(
            [self.place(value) for value in kept], [f"{value:g}".replace("e-0", "e-") for value in kept]
        )
        if self.is_broken:
            axes.text(
                math.sqrt(self.zero * self.positive[0]), 0, "//", transform=axes.get_xaxis_transform(), ha="center",
                va="center", fontsize=9, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
            )  # fmt: skip


def _line(
    axes: Axes, outcome: Outcome, rows: Sequence[ArmRow], axis: Axis, label: str, number: int, of: int
) -> None:
    """One of several lines, each a little beside the next, so that their intervals can be told apart."""
    measure, colour = outcome.study.measure, style.COLOURS[number % arms.MOST_COLOURS]
    scale = arms.scale(measure)
    aside = 0.016 * (number - (of - 1) / 2)
    places = [axis.place(axis.values[row.arm.name], aside) for row in rows]
    for place, row in zip(places, rows, strict=True):
        values = [scale * value for value in outcome.values(row.arm.name, measure).values()]
        beside = axis.place(axis.values[row.arm.name], aside + 0.008)
        axes.plot(
            [beside] * len(values), values, "o", markersize=3, alpha=0.4, markeredgewidth=0, color=colour
        )
        if lost := sum(line.status != "finished" for line in outcome.lines(row.arm.name)):
            _cross(axes, place, 1.02 + 0.04 * number, f"{lost}/{outcome.study.seeds}", colour)
    mean, low, high = scale * np.array([arms.ends(row.summary) for row in rows]).T
    axes.errorbar(
        places, mean, [mean - low, high - mean], fmt="o", markersize=4.5, capsize=3, color=colour, label=label
    )
    if measure in ("final_accuracy", "best_accuracy") and any("train_accuracy" in row.also for row in rows):
        train = [scale * arms.ends(row.also.get("train_accuracy"))[0] for row in rows]
        axes.plot(places, train, "--", linewidth=0.8, color=colour, label="training images")
    connected = [not axis.is_broken or axis.values[row.arm.name] > 0 for row in rows]
    axes.plot(places, np.where(connected, mean, np.nan), linewidth=1, color=colour)
    printed = [
        (place, row.arm.published) for place, row in zip(places, rows, strict=True) if row.arm.published
    ]
    if printed:
        sources = ", ".join(dict.fromkeys(item.source for _, item in printed))
        axes.plot(
            [place for place, _ in printed], [scale * item.value for _, item in printed], "D", fillstyle="none",
            markersize=6, color=colour, label=f"published: {sources}",
        )  # fmt: skip


def _cross(axes: Axes, place: float, height: float, text: str, colour: str) -> None:
    """Above the frame, where no value can be; as high as the line's number."""
    across = axes.get_xaxis_transform()
    axes.plot(
        [place], [height], "x", markersize=5, color=colour, transform=across, clip_on=False, label=_LOST
    )
    axes.text(place, height, f"   {text}", fontsize=7, va="center", color=colour, transform=across)
