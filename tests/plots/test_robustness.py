"""Accuracy with its interval, by disturbance."""

import numpy as np

from convscope import plots
from convscope.diagnostics.robustness import robustness
from convscope.evaluate.subject import Subject


def test_accuracy_by_disturbance(subject: Subject) -> None:
    result = robustness(subject=subject)
    noisy, stepped = plots.draw("robustness", result).axes
    np.testing.assert_allclose(noisy.lines[0].get_ydata(), np.array(result.noise_correct) / 24)
    assert list(stepped.lines[0].get_xdata()) == list(result.steps)
    low = noisy.containers[0][1][0].get_ydata()  # type: ignore[index]
    np.testing.assert_allclose(low, [result.interval(n)[0] for n in result.noise_correct])
