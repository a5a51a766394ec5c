"""What do the figures of a study have in common?

Which study it is, in which unit its measure is shown, and what is written
where a run has no value.
"""

from __future__ import annotations

import math
import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.studies import measures
from convscope.studies.conduct import Outcome
from convscope.studies.design import Arm
from convscope.studies.stats import Summary
from convscope.studies.tables import headline

from . import style

MOST_COLOURS = len(style.COLOURS)
"""Arms of one panel: more colours than these cannot be told apart."""
INTERVAL = "mean with its 95 % t interval"


def cell(arm: Arm, *without: str) -> str:
    """`rate 0.1, decay 0.9`: where in a factorial, but for some factors."""
    return ", ".join(f"{factor} {level}" for factor, level in arm.levels.items() if factor not in without)


def lost(outcome: Outcome, arm: Arm) -> str:
    """`2 of 5 diverged, 1 not run`; empty if every run finished with a number."""
    said = [f"{count} {what}" for what, count in outcome.lost(arm.name).items() if count]
    if said:
        number, _, what = said[0].partition(" ")
        said[0] = f"{number} of {outcome.study.seeds} {what}"
    return ", ".join(said)


def ends(summary: Summary | None) -> tuple[float, float, float]:
    """Mean and the ends of its interval; NaN for what there is not."""
    if summary is None:
        return math.nan, math.nan, math.nan
    low, high = (math.nan if end is None else end for end in (summary.low, summary.high))
    return summary.mean, low, high


def scale(measure: str) -> float:
    """By what a value is multiplied: shares are in percent."""
    return 100.0 if measures.is_share(measure) else 1.0


def named(measure: str) -> str:
    """`final accuracy (%)`, `validation loss`."""
    text = measures.label(measure.replace("val_", "validation_").replace("train_", "training_"))
    unit = "points" if measure == "gap" else "%"
    return f"{text} ({unit})" if measures.is_share(measure) else text


def measured(axes: Axes, measure: str) -> None:
    """The vertical axis, once everything is drawn; a loss is logarithmic if it varies by a factor of five or more."""
    axes.set_ylabel(named(measure), fontsize=8)
    shown = [each.dataLim.intervaly for each in axes.get_shared_y_axes().get_siblings(axes)]
    low, high = min(low for low, _ in shown), max(high for _, high in shown)
    # An interval may reach below 0, where a logarithm would hide its end.
    if measure.endswith("loss") and 0 < 5 * low <= high:
        axes.set_yscale("log")
        style.plain_log(axes.yaxis)
    if measures.is_bounded(measure):
        axes.set_ylim(*possible(*axes.get_ylim()))


def possible(low: float, high: float) -> tuple[float, float]:
    """The ends of an axis in percent, without what no share can be."""
    return max(low, -3.0), min(high, 103.0)


def legend(made: Figure, axes: Axes) -> None:
    """Below everything, each label once, in as few lines as fit."""
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    # At 7 points a letter is about 0.053 inches wide, and a handle with its margins 0.6.
    fitting = max(1, int(made.get_figwidth() / (0.6 + 0.053 * max(map(len, once), default=0))))
    lines = max(1, math.ceil(len(once) / fitting))
    made.legend(
        list(once.values()), list(once), loc="outside lower center", ncols=math.ceil(len(once) / lines) or 1,
        fontsize=7, frameon=False,
    )  # fmt: skip


def title(made: Figure, outcome: Outcome, *lines: str) -> None:
    """Which study, how many seeds, and whether runs were pooled that differ."""
    study = outcome.study
    mixed = ", pooled over different conditions" if outcome.mixed else ""
    first = f"{headline(study)}, {study.seeds} seed{'s' * (study.seeds != 1)}{mixed}"
    # At 9 points about 14 letters to the inch; a longer title would be cut at both ends.
    width = int(14 * made.get_figwidth())
    wrapped = [textwrap.fill(line, width) for text in (first, *lines) for line in text.splitlines()]
    made.suptitle("\n".join(wrapped), fontsize=9)
