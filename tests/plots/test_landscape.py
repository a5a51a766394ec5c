"""What is on the figure of a surface."""

import math
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import LogNorm

from convscope.diagnostics.landscape import Landscape
from convscope.plots import landscape


def plane(loss: np.ndarray, path: np.ndarray | None = None) -> Landscape:
    path = np.zeros((0, 2)) if path is None else path
    return Landscape(
        name="a net on noise", split="train", images=300, loss_name="cross-entropy", norm="batch",
        directions="trajectory" if len(path) else "random", x=np.linspace(-1, 1, 5), y=np.linspace(-1, 1, 5),
        loss=loss, accuracy=loss, centre_loss=1.0, centre_accuracy=0.5, border_loss=2.0, border_spread=math.nan,
        largest_loss=3.0, non_convex=0.0, not_finite=0, path=path, explained=0.75, convergence=None,
    )  # fmt: skip


def bowl(high: float) -> np.ndarray:
    x, y = np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 5))
    made: np.ndarray = 1 + (high - 1) * (x**2 + y**2) / 2
    return made


def test_contours_of_each_pair_and_a_surface() -> None:
    figure = landscape.draw(plane(np.stack([bowl(5), bowl(4)])))
    first, second, solid, bar = figure.axes
    assert (first.get_title(), second.get_title()) == ("pair 1 of 2", "pair 2 of 2")
    assert first.get_xlabel() == "filter lengths along direction 1"
    assert first.get_ylabel() == "filter lengths along direction 2"
    assert solid.name == "3d"
    assert bar.get_ylabel() == "loss (nats)"
    assert [line.get_xydata().tolist() for line in first.lines] == [[[0, 0]]]
    assert figure.get_suptitle() == (
        "a net on noise, train, n = 300: loss around the weights\nrandom filter-normalised directions; norms with the "
        "statistics of batches of at most 250"
    )
    # Both pairs have the same colours.
    assert first.collections[0].get_clim() == second.collections[0].get_clim() == pytest.approx((1, 5))


@pytest.mark.parametrize(("high", "logarithmic"), [(5.0, False), (200.0, True)])
def test_scale_is_logarithmic_beyond_a_factor_of_ten(high: float, *, logarithmic: bool) -> None:
    loss = bowl(high)
    loss[0, 0] = math.inf
    figure = landscape.draw(plane(loss[None]))
    drawn = figure.axes[0].collections[0]
    assert isinstance(drawn.norm, LogNorm) is logarithmic
    assert drawn.get_clim() == pytest.approx((1, high))
    # The heights of the surface are decadic logarithms then, and their ticks say what they stand for.
    upright: Any = figure.axes[1]
    assert (upright.zaxis.get_major_formatter()(1.0, 0) == "10") is logarithmic
    assert upright.get_zlim()[1] == pytest.approx(math.log10(high) if logarithmic else high, rel=0.05)


def test_path_of_training_lies_on_the_contours() -> None:
    path = np.array([[0.9, 0.8], [0.5, -0.2], [0.1, 0.1], [0.0, 0.0]])
    figure = landscape.draw(plane(bowl(5)[None], path))
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), path)
    assert axes.get_xlabel() == "distance along component 1"
    assert "plane of the trajectory, 75% of its variance" in figure.get_suptitle()
