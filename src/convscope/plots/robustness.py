"""How does accuracy fall with the disturbance?"""

import numpy as np
from matplotlib.figure import Figure

from convscope.diagnostics.robustness import Robustness

from . import style


def draw(result: Robustness) -> Figure:
    """Accuracy with its 95 % interval against the noise's deviation, and against the size of a gradient step."""
    figure, axes = style.panels(1, 2, width=3.6, height=3.0)
    for place, levels, correct, title, colour in (
        (axes[0], result.noise, result.noise_correct, "deviation of the noise", style.COLOURS[0]),
        (axes[1], result.steps, result.steps_correct, "gradient step (FGSM)", style.COLOURS[1]),
    ):
        share = np.array(correct) / result.images
        low, high = np.transpose([result.interval(n) for n in correct])
        reach = np.clip([share - low, high - share], 0, None)
        style.plain(place).errorbar(levels, share, reach, fmt="o-", markersize=3, capsize=2, color=colour)
        place.set_xlabel(f"{title}, in pixel values of 0 to 255", fontsize=8)
        place.set_ylim(0, 1.02)
    axes[0].set_ylabel("accuracy, Wilson 95 % interval", fontsize=8)
    figure.suptitle(f"{result.subject}: {result.images} images of {result.split}", fontsize=9)
    return figure
