"""How is the loss along lines drawn?

Each line thin, their mean thick, the range between them shaded; the accuracy
below.
"""

from __future__ import annotations

import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure

from convscope.diagnostics.landscape_line import LandscapeLine
from convscope.diagnostics.weightspace import NORMS, loss_label

from . import style


def draw(result: LandscapeLine) -> Figure:
    """The loss and the accuracy along the lines."""
    made = style.figure(6.0, 5.0)
    upper, lower = (style.plain(axes) for axes in made.subplots(2, 1, sharex=True, height_ratios=[2, 1]))
    count = len(result.loss)
    for axes, values, scale in ((upper, result.loss, 1.0), (lower, result.accuracy, 100.0)):
        lines = np.where(np.isfinite(values), values, np.nan) * scale
        if count > 1:
            axes.fill_between(
                result.x, lines.min(0), lines.max(0), color=style.COLOURS[0], alpha=0.2, linewidth=0,
                label=f"range of {count} directions",
            )  # fmt: skip
            axes.plot(result.x, lines.T, color=style.COLOURS[0], linewidth=0.5, alpha=0.6)
        label = f"mean of {count} directions" if count > 1 else "one direction"
        axes.plot(result.x, lines.mean(0), color=style.COLOURS[0], linewidth=2, label=label)
        axes.axvline(0, color="grey", linewidth=0.8, linestyle=":")
    finite = result.loss[np.isfinite(result.loss)]
    if finite.size and 0 < finite.min() < finite.max() / 10:
        upper.set_yscale("log")
        upper.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    upper.set_ylabel(loss_label(result.loss_name))
    lower.set_ylabel("accuracy (%)")
    lower.set_xlabel("filter lengths along the direction")
    upper.legend(fontsize=8, frameon=False)
    made.suptitle(
        f"{result.name}, {result.split}, n = {result.images}: loss along random filter-normalised lines\n"
        f"{NORMS[result.norm]}",
        fontsize=9,
    )
    return made
