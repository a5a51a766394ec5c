"""Ranks beside what they could be."""

import numpy as np
from drawings import heights

from convscope import plots
from convscope.diagnostics.rank import rank
from convscope.evaluate.subject import Subject


def test_ranks_beside_what_they_could_be(subject: Subject) -> None:
    result = rank(subject=subject)
    matrices, values = plots.draw("rank", result).axes
    assert heights(matrices) == list(result.full)
    np.testing.assert_allclose(matrices.lines[0].get_ydata(), result.effective)
    np.testing.assert_allclose(values.lines[0].get_ydata(), result.feature_values)
