"""What is on the figure of the lines."""

import numpy as np
import pytest

from convscope.diagnostics.landscape_line import LandscapeLine
from convscope.plots import landscape_line


def test_lines_their_mean_and_their_range() -> None:
    loss = np.array([[40.0, 1.0, 20.0], [20.0, 1.0, 10.0]])
    result = LandscapeLine(
        name="a net on noise", split="val", images=9, loss_name="mse", norm="none", x=np.array([-1.0, 0.0, 1.0]),
        loss=loss, accuracy=loss / 100, centre_loss=1.0, centre_accuracy=0.01, border_loss=22.5, border_spread=1.0,
        largest_loss=40.0, non_convex=0.0, not_finite=0,
    )  # fmt: skip
    upper, lower = landscape_line.draw(result).axes
    curves = [np.asarray(line.get_ydata()).tolist() for line in upper.lines]
    assert curves[:3] == [[40, 1, 20], [20, 1, 10], [30, 1, 15]]
    assert np.asarray(lower.lines[2].get_ydata()).tolist() == pytest.approx([30, 1, 15])
    assert (upper.get_ylabel(), lower.get_ylabel()) == ("loss (mse)", "accuracy (%)")
    assert (upper.get_yscale(), lower.get_yscale()) == ("log", "linear")
    legend = upper.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "range of 2 directions",
        "mean of 2 directions",
    ]
