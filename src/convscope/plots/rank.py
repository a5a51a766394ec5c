"""How much of its possible rank does each matrix use?"""

import numpy as np
from matplotlib.figure import Figure

from convscope.diagnostics.rank import Rank

from . import style


def draw(result: Rank) -> Figure:
    """Full, effective and stable rank of the weights; singular values of the features."""
    figure, axes = style.panels(1, 2, width=4.6, height=3.4)
    places = np.arange(len(result.layers))
    weights, features = style.plain(axes[0]), style.plain(axes[1])
    weights.bar(places, result.full, color="0.88", label="full")
    weights.plot(places, result.effective, "o", markersize=4, color=style.COLOURS[0], label="effective")
    weights.plot(places, result.stable, "s", markersize=4, color=style.COLOURS[1], label="stable")
    weights.set_yscale("log")
    weights.set_ylim(bottom=0.8)
    weights.set_ylabel("rank", fontsize=8)
    weights.legend(fontsize=7, frameon=False)
    style.names_below(weights, result.layers)
    values = result.feature_values[: result.feature_full]
    features.plot(np.arange(1, len(values) + 1), values, ".-", markersize=3, color=style.COLOURS[0])
    for rank, name, colour in (
        (result.feature_effective, "effective", style.COLOURS[0]),
        (result.feature_stable, "stable", style.COLOURS[1]),
    ):
        features.axvline(rank, color=colour, linestyle="--", linewidth=0.9, label=f"{name} rank {rank:.1f}")
    features.set_yscale("log")
    features.set_xlabel("direction, by size", fontsize=8)
    features.set_ylabel("singular value of the centred features", fontsize=8)
    features.legend(fontsize=7, frameon=False)
    figure.suptitle(
        f"{result.subject}: weight matrices; features before {result.feature_layer}, {result.images} images of "
        f"{result.split}",
        fontsize=9,
    )
    return figure
