"""What a figure shows, for every test of this folder."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def heights(axes: Axes) -> list[float]:
    return [bar.get_height() for bar in axes.patches]


def ticks(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


def pictures(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def heading(figure: Figure) -> str:
    assert figure.get_suptitle()
    return figure.get_suptitle()
