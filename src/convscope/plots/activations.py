"""How do outputs and gradients change with depth, and where are units dead?"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.diagnostics.activations import Activations

from . import style


def draw(result: Activations) -> Figure:
    """Variances of layers with weights by depth, exact zeros and dead units of rectifying ones."""
    figure, axes = style.panels(2, 2, width=4.6, height=3.0)
    heavy = [i for i, on in enumerate(result.weighted) if on]
    names = [result.layers[i] for i in heavy]
    for place, values, title, colour in (
        (axes[0], result.variance, "variance of the output", style.COLOURS[0]),
        (axes[1], result.gradient_variance, "variance of d loss / d output", style.COLOURS[1]),
    ):
        style.plain(place).plot(
            range(len(heavy)), [values[i] for i in heavy], "o-", markersize=3, color=colour
        )
        place.set_yscale("log")
        place.tick_params(which="both", labelsize=7)
        place.set_ylabel(title, fontsize=8)
        style.names_below(place, names)
    axes[0].axhline(1, color="0.7", linewidth=0.8, zorder=0)
    zeros = [i for i, on in enumerate(result.rectifying) if on] or list(range(len(result.layers)))
    style.plain(axes[2]).bar(range(len(zeros)), [result.zeros[i] for i in zeros], color=style.COLOURS[2])
    axes[2].set_ylim(0, 1)
    axes[2].set_ylabel("share of exact zeros", fontsize=8)
    style.names_below(axes[2], [result.layers[i] for i in zeros])
    _dead(axes[3], result)
    figure.suptitle(
        f"{result.subject}: {result.images} images of {result.split}, {result.norms} statistics in batch norms",
        fontsize=9,
    )
    return figure


def _dead(axes: Axes, result: Activations) -> None:
    which = [i for i, on in enumerate(result.rectifying) if on]
    style.plain(axes)
    if not which:
        axes.text(0.5, 0.5, "no rectifying layer", ha="center", transform=axes.transAxes, fontsize=8)
        style.hide([axes])
        return
    shares = np.array([result.silent[i] / result.units[i] for i in which])
    axes.bar(range(len(which)), shares, color=style.COLOURS[3])
    for place, i in enumerate(which):
        if result.silent[i]:
            axes.text(place, shares[place], str(result.silent[i]), ha="center", va="bottom", fontsize=6)
    axes.set_ylim(0, max(0.05, 1.15 * shares.max()))
    axes.set_ylabel("share of dead units (number)", fontsize=8)
    style.names_below(axes, [result.layers[i] for i in which])
