"""Where do maps of what speaks for a class lie on the images?"""

import numpy as np
from matplotlib.figure import Figure

from convscope.diagnostics.attribution import Attribution

from . import style

MOST = 8


def draw(result: Attribution) -> Figure:
    """Pairs of an image and its map: each map is scaled by itself, from 0 to its largest value.

    A map with signs goes from blue (against the class) over white to red.
    """
    shown = min(MOST, len(result.maps))
    which = np.linspace(0, len(result.maps) - 1, shown).round().astype(int)
    columns = min(4, shown)
    rows = -(-shown // columns)
    figure, axes = style.panels(rows, 2 * columns, width=1.1, height=1.35)
    side = result.pixels.shape[-2:]
    for place, i in enumerate(which):
        image, over = axes[2 * place], axes[2 * place + 1]
        style.photo(image, result.pixels[i], result.labels[i])
        found = result.maps[i]
        extent = (-0.5, side[1] - 0.5, side[0] - 0.5, -0.5)
        largest = float(np.abs(found).max()) or 1.0
        title = f"for {result.classes[i]}"
        if (result.maps < 0).any():
            style.picture(
                over, found, title, extent=extent, cmap=style.DIVERGING, vmin=-largest, vmax=largest
            )
        elif found.shape == side:
            style.picture(over, found, title, extent=extent, cmap="inferno", vmin=0, vmax=largest)
        else:
            style.photo(over, np.broadcast_to(result.pixels[i].mean(0, keepdims=True), (1, *side)), title)
            over.imshow(
                found,
                extent=extent,
                cmap="inferno",
                vmin=0,
                vmax=largest,
                alpha=0.6,
                interpolation="bilinear",
            )
    style.hide(axes[2 * shown :])
    whose = "" if result.layer == "input" else f" at {result.layer}"
    figure.suptitle(
        f"{result.subject}: {result.method}{whose}, {result.target} class ({shown} of {result.images} images of "
        f"{result.split})\nmean probability {result.probability:.3f}; without the {result.share:.0%} of pixels marked "
        f"{result.erased:.3f}; without those marked in another image {result.erased_elsewhere:.3f}",
        fontsize=8,
    )
    return figure
