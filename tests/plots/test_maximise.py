"""Each favourite has its numbers."""

import numpy as np
from drawings import pictures

from convscope import plots
from convscope.diagnostics.maximise import maximise
from convscope.evaluate.subject import Subject


def test_each_favourite_has_its_numbers(subject: Subject) -> None:
    result = maximise(subject=subject, steps=2)
    figure = plots.draw("maximise", result)
    assert [axes.get_title() for axes in figure.axes] == [
        f"{name}: {result.reached[i]:.1f}\nreal: {result.mean[i]:.1f}, largest {result.largest[i]:.1f}"
        for i, name in enumerate(("ape", "bee", "cow"))
    ]
    np.testing.assert_array_equal(pictures(figure)[1], result.pixels[1].transpose(1, 2, 0))
