"""How is a loss over a plane drawn?

As filled contours with the path of training on them, once for each pair of
directions, and as a surface for the first.  On a logarithmic scale
where the loss varies by more than a factor of ten.
"""

from __future__ import annotations

from typing import Any

import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from convscope.diagnostics.landscape import Landscape
from convscope.diagnostics.weightspace import NORMS, loss_label

from . import style

LEVELS = 18
SHOWN = 4
"""Pairs of directions that are drawn."""


def draw(result: Landscape) -> Figure:
    """Contours of each pair of directions, four at most, and the surface of the first."""
    shown = result.loss[:SHOWN]
    made = style.figure(3.6 * (len(shown) + 1) + 0.6, 3.7 if len(shown) == 1 else 4.2)
    grid = made.add_gridspec(1, len(shown) + 1, width_ratios=[1.0] * len(shown) + [1.15])
    levels, colours = _levels(shown)
    flat = [made.add_subplot(grid[0, i]) for i in range(len(shown))]
    for number, (axes, loss) in enumerate(zip(flat, shown, strict=True)):
        drawn = _contours(axes, result, loss, levels, colours)
        if len(shown) > 1:
            axes.set_title(f"pair {number + 1} of {len(result.loss)}", fontsize=8)
    solid: Any = made.add_subplot(grid[0, -1], projection="3d")
    _surface(solid, result, shown[0], levels, colours)
    bar = made.colorbar(drawn, ax=flat, shrink=0.8, aspect=25, label=loss_label(result.loss_name))
    bar.ax.tick_params(labelsize=8)
    _ticks(bar.ax.yaxis, colours)
    made.suptitle(
        f"{result.name}, {result.split}, n = {result.images}: loss around the weights\n{_about(result)}",
        fontsize=9,
    )
    return made


def _about(result: Landscape) -> str:
    if result.directions == "trajectory":
        where = f"plane of the trajectory, {result.explained:.0%} of its variance"
    else:
        where = "random filter-normalised directions"
    return f"{where}; {NORMS[result.norm]}"


def _levels(loss: np.ndarray) -> tuple[np.ndarray, Normalize]:
    finite = loss[np.isfinite(loss)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if low > 0 and high > 10 * low:
        return np.geomspace(low, high, LEVELS), LogNorm(low, high)
    high = high if high > low else low + 1e-9
    return np.linspace(low, high, LEVELS), Normalize(low, high)


def _contours(axes: Axes, result: Landscape, loss: np.ndarray, levels: np.ndarray, colours: Normalize) -> Any:
    values = np.ma.masked_invalid(loss)
    drawn = axes.contourf(result.x, result.y, values, levels, norm=colours, cmap=style.SEQUENTIAL)
    axes.contour(result.x, result.y, values, levels, colors="white", linewidths=0.4, alpha=0.6)
    if len(result.path):
        axes.plot(*result.path.T, "o-", color="white", markersize=3, linewidth=1, label="training")
    axes.plot(0, 0, "*", color="white", markeredgecolor="black", markersize=10, label="the weights")
    if len(result.path):
        axes.legend(fontsize=7, facecolor="lightgrey")
    axes.set_aspect("equal" if result.directions == "random" else "auto")
    unit = (
        "distance along component" if result.directions == "trajectory" else "filter lengths along direction"
    )
    axes.set_xlabel(f"{unit} 1", fontsize=8)
    axes.set_ylabel(f"{unit} 2", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.locator_params(nbins=5)
    return drawn


def _surface(axes: Any, result: Landscape, loss: np.ndarray, levels: np.ndarray, colours: Normalize) -> None:
    logarithmic = isinstance(colours, LogNorm)
    height = np.where(np.isfinite(loss), loss, levels[-1])
    shown = np.log10(height) if logarithmic else height
    limits = Normalize(*(np.log10(levels[[0, -1]]) if logarithmic else levels[[0, -1]]))
    axes.plot_surface(
        *np.meshgrid(result.x, result.y), shown, cmap=style.SEQUENTIAL, norm=limits, rcount=61, ccount=61,
        linewidth=0.2, edgecolor=(1, 1, 1, 0.35),
    )  # fmt: skip
    axes.tick_params(labelsize=7, pad=0)
    axes.locator_params(nbins=5)
    axes.zaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
    if logarithmic:
        axes.zaxis.set_major_formatter(
            matplotlib.ticker.FuncFormatter(lambda z, _: f"{float(f'{10**z:.2g}'):g}")
        )
    axes.view_init(elev=32, azim=-55)


def _ticks(axis: Any, colours: Normalize) -> None:
    if isinstance(colours, LogNorm):
        axis.set_major_locator(matplotlib.ticker.LogLocator(10, subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(matplotlib.ticker.NullLocator())
