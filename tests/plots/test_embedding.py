"""A point per image, in the colour of its class."""

import numpy as np

from convscope import plots
from convscope.diagnostics.embedding import embedding
from convscope.evaluate.subject import Subject


def test_a_point_per_image_in_the_colour_of_its_class(subject: Subject) -> None:
    result = embedding(subject=subject, neighbours=3)
    (axes,) = plots.draw("embedding", result).axes
    clouds = {cloud.get_label(): np.asarray(cloud.get_offsets()) for cloud in axes.collections}
    assert list(clouds) == ["ape", "bee", "cow"]
    np.testing.assert_allclose(clouds["bee"], result.points[result.labels == 1])
    assert axes.get_xlabel() == "first principal component"
