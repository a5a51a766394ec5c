"""What is taken for what?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from convscope.diagnostics.confusion import Confusion, Shown
from convscope.diagnostics.confusion_seeds import ConfusionOverSeeds

from . import style

WRITTEN = 20
"""Up to so many classes the counts are written into the cells."""
ERRORS_SHOWN = 8


def draw(result: Confusion) -> Figure:
    """Counts off the diagonal on a logarithmic scale (S4.18), examples of the top pairs (S4.23), the surest errors."""
    figure = style.figure(10.5, 5.6)
    halves: Any = figure.subfigures(1, 2, width_ratios=(1.25, 1))
    left, right = halves
    axes = left.subplots()
    _matrix(axes, result.counts, result.classes)
    axes.set_title(f"Images off the diagonal; on it {np.trace(result.counts)} right", fontsize=8)
    columns = max(4, result.pair_pixels.shape[1])
    shown = result.errors[:ERRORS_SHOWN]
    rows = len(result.pairs) + -(-len(shown) // columns)
    if rows:
        right.suptitle(
            "Most frequent pairs, then the surest errors (position: probability)",
            fontsize=8,
        )
        _examples(np.asarray(right.subplots(rows, columns, squeeze=False)), result, shown)
    figure.suptitle(
        f"{result.subject}, {result.split}, n = {result.images}: {result.accuracy:.2%} right\n"
        f"pairs and reverses: Bowker {result.symmetry:.1f}, df {result.symmetry_df}, "
        f"p = {result.symmetry_p_drawn:.2g} by drawing",
        fontsize=9,
    )
    return figure


def _examples(grid: np.ndarray, result: Confusion, shown: Sequence[Shown]) -> None:
    """A row for each pair, then the surest errors of all."""
    style.hide(list(grid.ravel()))
    for row, pair in enumerate(result.pairs):
        for column, one in enumerate(pair.examples):
            style.photo(grid[row, column], result.pair_pixels[row, column], _caption(one))
        grid[row, 0].set_title(
            f"{pair.truth} as {pair.predicted}: {pair.count} ({pair.share:.1%})\n{_caption(pair.examples[0])}",
            fontsize=7,
            loc="left",
        )
        grid[row, 0].set_title("", loc="center")
    rest = grid[len(result.pairs) :].ravel()
    for cell, one, pixels in zip(rest, shown, result.error_pixels, strict=False):
        style.photo(cell, pixels, f"{one.truth} as {one.predicted}\n{_caption(one)}")


def _caption(one: Shown) -> str:
    return f"{one.position}: {one.probability:.1%}"


def draw_over_seeds(result: ConfusionOverSeeds) -> Figure:
    """The mean counts of several runs, and the shares of the top pairs with their intervals."""
    figure = style.figure(10.0, 4.8)
    halves: Any = figure.subfigures(1, 2, width_ratios=(1.4, 1))
    left, right = halves
    axes = left.subplots()
    mean = result.counts.mean(0)
    _matrix(axes, mean, result.classes, "mean images of a run (log)", "{:.1f}")
    axes.set_title(f"Mean images off the diagonal; on it {np.trace(mean):.1f} right", fontsize=8)
    bars = style.plain(right.subplots())
    places = np.arange(len(result.pairs))
    shares = np.array([pair.share for pair in result.pairs])
    ends = (
        np.array([(pair.share - pair.low, pair.high - pair.share) for pair in result.pairs]).reshape(-1, 2).T
    )
    bars.barh(places, 100 * shares, xerr=100 * ends, color=style.COLOURS[5], height=0.6, capsize=3)
    for place, pair in zip(places, result.pairs, strict=True):
        bars.plot(
            100 * np.array(pair.shares),
            np.full(result.runs, place),
            "o",
            color=style.COLOURS[6],
            markersize=3,
        )
    bars.set_yticks(places, [f"{pair.truth} as {pair.predicted}" for pair in result.pairs], fontsize=8)
    bars.invert_yaxis()
    bars.set_xlabel("share of the true class (%): mean, Student 95 % interval, runs", fontsize=8)
    figure.suptitle(
        f"{result.subject}, {result.split}, n = {result.images}, {result.runs} runs: {result.accuracy:.2%} "
        f"[{result.accuracy_low:.2%}, {result.accuracy_high:.2%}] right",
        fontsize=9,
    )
    return figure


def _matrix(
    axes: Axes, counts: np.ndarray, classes: Sequence[str], unit: str = "images (log)", form: str = "{:.0f}"
) -> None:
    """Values above 0 off the diagonal in colours; the diagonal grey, zero white."""
    off = np.where(np.eye(len(counts), dtype=bool) | (counts <= 0), np.nan, counts)
    seen = off[~np.isnan(off)]
    low = min(1.0, seen.min(initial=1.0))
    # One colour for equal values would leave the scale without a length.
    norm = LogNorm(low, max(seen.max(initial=0.0), 2 * low))
    axes.imshow(np.eye(len(counts)), cmap="Greys", vmin=0, vmax=5)
    drawn = axes.imshow(off, cmap=style.SEQUENTIAL, norm=norm, interpolation="nearest")
    _named(axes, classes)
    if len(classes) <= WRITTEN:
        for i, j in np.argwhere(~np.isnan(off)):
            dark = norm(off[i, j]) < 0.6
            text = form.format(off[i, j])
            axes.text(j, i, text, ha="center", va="center", fontsize=6, color="white" if dark else "black")
    parent: Any = axes.figure
    bar = parent.colorbar(drawn, ax=axes, shrink=0.8)
    bar.set_label(unit, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    style.plain_log(bar.ax.yaxis)


def _named(axes: Axes, classes: Sequence[str]) -> None:
    """Names of the classes on both axes; every so many if there is no room for all."""
    every = -(-len(classes) // 34)
    places = list(range(0, len(classes), every))
    names = [classes[k] for k in places]
    size = 8 if len(places) <= WRITTEN else 5
    upright = max(map(len, names)) > 2
    axes.set_xticks(places, names, fontsize=size, rotation=90 if upright else 0)
    axes.set_yticks(places, names, fontsize=size)
    axes.set_xlabel("predicted class", fontsize=8)
    axes.set_ylabel("true class", fontsize=8)
