"""How much do the layers before shift what a layer has to learn?"""

import numpy as np
from matplotlib.figure import Figure

from convscope.diagnostics.shift import Shift

from . import style


def draw(result: Shift) -> Figure:
    """By layer: the gradient's turn, its change in length, and what became of the input."""
    figure, axes = style.panels(1, 3, width=3.2, height=3.2)
    relative = [
        d / g if g > 0 else float("nan") for d, g in zip(result.difference, result.gradient, strict=True)
    ]
    for place, values, title, colour in (
        (axes[0], result.cosine, "cosine of G and G'", style.COLOURS[0]),
        (axes[1], relative, "|G - G'| / |G|", style.COLOURS[1]),
        (axes[2], result.mean_shift, "shift of the input's mean (deviations)", style.COLOURS[2]),
    ):
        style.plain(place).bar(range(len(values)), values, color=colour)
        place.set_ylabel(title, fontsize=8)
        style.names_below(place, result.layers)
    axes[0].set_ylim(np.nanmin([0.0, *result.cosine]), 1)
    figure.suptitle(
        f"{result.subject}: gradients before (G) and after (G') a step of {result.lr:g} of the layers in front, "
        f"{result.images} images of train",
        fontsize=8,
    )
    return figure
