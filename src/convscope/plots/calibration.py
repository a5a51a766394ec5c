"""Is the network right as often as it says?"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.diagnostics.calibration import Calibration

from . import style


def draw(result: Calibration) -> Figure:
    """Reliability diagram with 95 % intervals, before and after temperature scaling; below it where the images are."""
    figure = style.figure(5.2, 6.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _reliability(style.plain(upper), result)
    _amounts(style.plain(lower), result)
    figure.suptitle(
        f"{result.subject}, {result.split}, n = {result.images}, {len(result.bin_images)} bins of equal "
        f"{result.binning}\nECE {result.ece:.4f} (by chance up to {result.ece_chance_high:.4f}), "
        f"with temperature {result.temperature:.2f}: {result.scaled_ece:.4f}",
        fontsize=9,
    )
    return figure


def _reliability(axes: Axes, result: Calibration) -> None:
    edges, filled = result.edges, result.bin_images > 0
    accuracy = result.bin_correct[filled] / result.bin_images[filled]
    axes.bar(
        edges[:-1][filled],
        accuracy,
        np.diff(edges)[filled],
        align="edge",
        color=style.COLOURS[5],
        edgecolor="white",
        linewidth=0.5,
        alpha=0.5,
    )
    axes.plot([0, 1], [0, 1], color="0.5", linewidth=1, linestyle="--", label="perfectly calibrated")
    reach = np.abs(result.intervals()[filled] - accuracy[:, None]).T
    axes.errorbar(
        result.bin_confidence[filled],
        accuracy,
        reach,
        fmt="o",
        color=style.COLOURS[0],
        markersize=4,
        elinewidth=1,
        capsize=2,
        label="as it is (Wilson 95 %)",
    )
    kept = result.scaled_images > 0
    axes.plot(
        result.scaled_confidence[kept],
        result.scaled_correct[kept] / result.scaled_images[kept],
        "^",
        color=style.COLOURS[1],
        markersize=5,
        label="with the other half's temperature",
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("share of a bin's images that are right", fontsize=8)
    axes.legend(fontsize=7, frameon=False, loc="upper left")


def _amounts(axes: Axes, result: Calibration) -> None:
    """Images by confidence: per bin on a logarithmic scale."""
    filled = result.bin_images > 0
    axes.bar(
        result.edges[:-1][filled],
        result.bin_images[filled],
        np.diff(result.edges)[filled],
        align="edge",
        color=style.COLOURS[5],
        edgecolor="white",
        linewidth=0.5,
    )
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7)
    axes.axvline(
        result.confidence, color=style.COLOURS[0], linewidth=1.2, label=f"mean {result.confidence:.1%}"
    )
    axes.axvline(
        result.accuracy,
        color=style.COLOURS[1],
        linewidth=1.2,
        linestyle="--",
        label=f"accuracy {result.accuracy:.1%}",
    )
    axes.legend(fontsize=7, frameon=False, loc="upper left")
    axes.set_xlabel("confidence: probability of the predicted class", fontsize=8)
    axes.set_ylabel("images (log)", fontsize=8)
