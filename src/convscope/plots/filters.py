"""What do the filters of the first layer look like?"""

import numpy as np
from matplotlib.figure import Figure

from convscope.diagnostics.filters import Filters

from . import style

MOST = 96


def draw(result: Filters) -> Figure:
    """Each filter by itself: its largest |weight| is 0 or 1, and grey is a weight of 0.

    With three channels in colour; otherwise the mean over the channels, blue below zero and red above.
    """
    count, channels = result.weights.shape[:2]
    drawn = min(count, MOST)
    columns = min(drawn, 16 if drawn > 16 else 8)
    rows = -(-drawn // columns)
    figure, axes = style.panels(rows, columns, width=0.75, height=0.85 + 0.5 / rows)
    for i in range(drawn):
        weight = result.weights[i]
        largest = np.abs(weight).max() or 1.0
        title = f"{i}: {result.norms[i]:.2g}"
        if channels == 3:
            style.picture(axes[i], (0.5 + weight / (2 * largest)).transpose(1, 2, 0), title)
        else:
            mean = weight.mean(0)
            reach = np.abs(mean).max() or 1.0
            style.picture(axes[i], mean, title, cmap=style.DIVERGING, vmin=-reach, vmax=reach)
    style.hide(axes[drawn:])
    some = "" if drawn == count else f", {drawn} of {count}"
    figure.suptitle(
        f"{result.subject}: filters of {result.layer}{some}\nnumber: length; each scaled by itself, 0 is the middle",
        fontsize=8,
    )
    return figure
