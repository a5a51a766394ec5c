"""What is on the figure of a network's weights."""

import math

import numpy as np
import pytest

from convscope.diagnostics.snapshot import Snapshot
from convscope.plots import snapshot


def test_weights_of_each_tensor() -> None:
    result = Snapshot("a net", np.array(["w", "b"]), np.array([2, 1]), np.array([3, 4, -2], np.float32), 5.4)
    (axes,) = snapshot.draw(result).axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([math.sqrt(12.5), 2])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["w", "b"]
