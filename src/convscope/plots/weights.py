"""How are weights distributed, layer by layer?"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.core.errors import ConfigError
from convscope.diagnostics.weights import Weights

from . import style

MOST = 24


def draw(result: Weights) -> Figure:
    """A histogram per layer, at most 24, then the L1 norm and the L2 norm of every layer."""
    which = _some(len(result.layers))
    columns = min(6, max(2, len(which)))
    rows = -(-(len(which) + 2) // columns)
    figure, axes = style.panels(rows, columns, width=2.1, height=1.75)
    for place, i in zip(axes, which, strict=False):
        _histogram(place, result, i, style.COLOURS[0])
        place.set_title(
            f"{result.layers[i]}\nL1 {result.l1[i]:.3g}, L2 {result.l2[i]:.3g}, small {result.small[i]:.1%}",
            fontsize=6,
        )
    for place, values, title in zip(axes[len(which) :], (result.l1, result.l2), ("L1", "L2"), strict=False):
        style.plain(place).bar(np.arange(len(values)), values, color=style.COLOURS[1])
        place.set_title(f"{title} norm by layer", fontsize=7)
        place.set_xlabel("layer, from the first", fontsize=7)
        place.tick_params(labelsize=6)
    style.hide(axes[len(which) + 2 :])
    some = "" if len(which) == len(result.layers) else f" ({len(which)} of {len(result.layers)} layers)"
    figure.suptitle(
        f"{result.subject}: {result.total:,} weights{some}; small: below {result.threshold:g} of the layer's root mean "
        "square",
        fontsize=9,
    )
    return figure


def side_by_side(results: Sequence[Weights], names: Sequence[str]) -> Figure:
    """The same layers of several networks in columns, e.g. one trained with an L1 penalty beside one with L2 (S1.47).

    Args:
        results: of networks with the same layers.
        names: one for each, e.g. `L1 penalty`.

    Raises:
        ConfigError: networks with other layers, or not as many names.
    """
    if len(results) != len(names) or not results:
        raise ConfigError(f"Every result needs a name: {len(results)} results, {len(names)} names.")
    layers = results[0].layers
    for other in results[1:]:
        if other.layers != layers:
            raise ConfigError(
                f"{other.subject} has other layers than {results[0].subject}: they cannot be compared."
            )
    which = _some(len(layers))
    figure, axes = style.panels(len(which), len(results), width=2.6, height=1.4)
    grid = np.asarray(axes).reshape(len(which), len(results))
    for row, i in enumerate(which):
        reach = max(float(result.edges[i, -1]) for result in results)
        for column, result in enumerate(results):
            _histogram(grid[row, column], result, i, style.COLOURS[column % len(style.COLOURS)])
            grid[row, column].set_xlim(-reach, reach)
            head = f"{names[column]}\n" if row == 0 else ""
            grid[row, column].set_title(
                f"{head}{layers[i]}: excess kurtosis {result.kurtosis[i]:.1f}, small {result.small[i]:.1%}",
                fontsize=6,
            )
    figure.suptitle(
        f"Weights of {', '.join(dict.fromkeys(result.subject for result in results))}", fontsize=8
    )
    return figure


def _some(count: int) -> list[int]:
    places = np.linspace(0, count - 1, min(count, MOST)).round()
    return [int(i) for i in np.unique(places)]


def _histogram(axes: Axes, result: Weights, i: int, colour: str) -> None:
    """The share of the layer's weights in each bin."""
    axes.stairs(result.counts[i] / result.sizes[i], result.edges[i], fill=True, color=colour)
    style.plain(axes).tick_params(labelsize=6)
    axes.set_xlabel("weight", fontsize=6)
    axes.set_ylabel("share per bin", fontsize=6)
