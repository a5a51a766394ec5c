"""How is the trust in a gradient drawn?

At one moment: loss, distance of the gradient, and their quotient with the
distance moved, along the gradient.  Over a run: the ranges of the first two as
bands and the effective beta as a line, step by step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure

from convscope.diagnostics.smoothness import Smoothness
from convscope.diagnostics.weightspace import loss_label

from . import style


def draw(result: Smoothness) -> Figure:
    """The three measures along the gradient: mean and range over the batches."""
    made, panels = style.panels(1, 3)
    with np.errstate(invalid="ignore", divide="ignore"):  # where nothing moved
        quotient = np.where(result.distances > 0, result.changes / result.distances, np.nan)
    shown = (
        (result.losses, loss_label(result.loss_name)),
        (result.changes, "change of the gradient"),
        (quotient, "change of the gradient / distance"),
    )
    for axes, (values, label) in zip(map(style.plain, panels), shown, strict=True):
        if result.batches > 1:
            axes.fill_between(
                result.steps, values.min(0), values.max(0), color=style.COLOURS[0], alpha=0.2, linewidth=0
            )
        axes.plot(result.steps, values.mean(0), "o-", color=style.COLOURS[0], markersize=3)
        axes.set_xlabel("step (multiples of the gradient)", fontsize=8)
        axes.set_ylabel(label, fontsize=8)
    panels[0].axhline(result.start_loss, color="grey", linewidth=0.8, linestyle=":", label="before moving")
    panels[0].legend(fontsize=7, frameon=False)
    if np.isfinite(result.beta):
        label = f"effective beta {result.beta:.3g}"
        panels[2].axhline(result.beta, color=style.COLOURS[1], linewidth=1, label=label)
        panels[2].legend(fontsize=7, frameon=False)
    over = f", mean and range over {result.batches} batches" if result.batches > 1 else ""
    made.suptitle(
        f"{result.name}: along the gradient, training batches of n = {result.batch}{over}", fontsize=9
    )
    return made


def draw_over_steps(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """The three measures over the training of one or several runs (Santurkar et al. 2018, figure 4).

    Args:
        runs: label -> the lines of a run's inspections.jsonl with the diagnostic `smoothness`, in order.
    """
    made, panels = style.panels(1, 3)
    for axes in map(style.plain, panels):
        axes.set_xlabel("step", fontsize=8)
    for number, (label, lines) in enumerate(runs.items()):
        colour = style.COLOURS[number % len(style.COLOURS)]
        steps = [line["step"] for line in lines]
        for axes, what in zip(panels, ("loss", "change"), strict=False):
            low, high = (_numbers(lines, f"{what}_{end}") for end in ("low", "high"))
            axes.fill_between(steps, low, high, color=colour, alpha=0.4, linewidth=0.8, label=label)
        panels[2].plot(steps, _numbers(lines, "beta"), color=colour, linewidth=1.2, label=label)
    for axes, label in zip(
        panels, ("range of the loss", "range of the gradient's change", "effective beta"), strict=True
    ):
        axes.set_ylabel(label, fontsize=8)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(10, subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    panels[0].legend(fontsize=7, frameon=False)
    made.suptitle("Along the gradient, at each moment of training", fontsize=9)
    return made


def _numbers(lines: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    """What is no number (None, or its name) leaves a gap."""
    return np.array([value if isinstance(value := line[key], int | float) else np.nan for line in lines])
