"""What do all figures have in common?

Size, letters, and colours that people who see red and green alike can tell
apart (Okabe, Ito 2008).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SEQUENTIAL = "viridis"
DIVERGING = "RdBu_r"


def figure(width: float = 6.4, height: float = 4.0) -> Figure:
    """An empty figure, in inches; 150 pixels to the inch."""
    made = Figure((width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(made)
    return made


def panels(rows: int, columns: int, *, width: float = 3.2, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """A grid of panels, row by row, so large each."""
    made = figure(width * columns, height * rows)
    axes: Any = np.asarray(made.subplots(rows, columns)).ravel()
    return made, list(axes)


def plain(axes: Axes) -> Axes:
    """Without the frame's upper and right line."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return axes


def picture(axes: Axes, image: np.ndarray, title: str = "", **how: Any) -> None:
    """An image (H, W) or (H, W, 3) without axes."""
    axes.imshow(image, interpolation="nearest", **how)
    axes.set_axis_off()
    if title:
        axes.set_title(title, fontsize=7)


def hide(axes: Sequence[Axes]) -> None:
    """Panels that are left over."""
    for each in axes:
        each.set_axis_off()


def photo(axes: Axes, pixels: np.ndarray, title: str = "") -> None:
    """A picture of the data: uint8, (C, H, W); in colour if C is 3, else the mean of the channels in grey."""
    if len(pixels) == 3:
        picture(axes, pixels.transpose(1, 2, 0), title)
    else:
        picture(axes, pixels.mean(0), title, cmap="gray", vmin=0, vmax=255)


def names_below(axes: Axes, names: Sequence[str]) -> None:
    """Layers at 0, 1, 2 ... on the horizontal axis, by name; every so many if there is no room for all."""
    every = max(1, -(-len(names) // 24))
    places = list(range(0, len(names), every))
    axes.set_xticks(places, [names[i] for i in places], rotation=90, fontsize=6)
    axes.set_xlim(-0.7, len(names) - 0.3)


def plain_log(axis: Axis) -> None:
    """Numbers of a logarithmic axis as 0.05, 0.1, 0.2, not as powers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
