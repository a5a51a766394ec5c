"""What is on the figure of curvature."""

import numpy as np
import pytest

from convscope.diagnostics.curvature import Curvature
from convscope.plots import curvature


def test_eigenvalues_are_bars() -> None:
    result = Curvature(
        name="a net on noise", split="train", images=128, loss_name="cross-entropy", norm="running", parameters=77,
        eigenvalues=np.array([27.2, 19.4]), residuals=np.array([0.5, 0.0]), sharpness=27.2, smallest=-0.96, trace=88.5,
        trace_error=10.3, products=26,
    )  # fmt: skip
    figure = curvature.draw(result)
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([27.2, 19.4, -0.96])
    assert [text.get_text() for text in axes.texts] == ["27.2", "19.4", "-0.96"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "smallest\nfound"]
    assert figure.get_suptitle() == (
        "a net on noise, train, n = 128\ntrace 88.5 (standard error 10)\nnorms with stored statistics"
    )
