"""Maps stand under the names of their blocks."""

import numpy as np
from drawings import heading

from convscope import plots
from convscope.diagnostics.features import features
from convscope.evaluate.subject import Subject


def test_a_column_per_block_and_a_row_per_map(subject: Subject) -> None:
    result = features(subject=subject, channels=2)
    figure = plots.draw("features", result)
    assert len(figure.axes) == 3 * 3
    assert [axes.get_title() for axes in figure.axes[:3]] == ["ape\nimage 0", "act1\n4x4x4", "act2\n4x4x4"]
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), result.means[0, 0])
    np.testing.assert_array_equal(figure.axes[4].images[0].get_array(), result.maps[0, 0, 0])
    assert figure.axes[4].get_title() == f"channel {result.channels[0, 0]}"
    assert "toy on toys, val" in heading(figure)
