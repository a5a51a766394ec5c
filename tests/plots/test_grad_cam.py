"""Maps lie on their images."""

import numpy as np
from drawings import heading

from convscope import plots
from convscope.diagnostics.attribution import grad_cam
from convscope.evaluate.subject import Subject


def test_maps_lie_beside_their_images(subject: Subject) -> None:
    cam = grad_cam(subject=subject, images=3)
    figure = plots.draw("grad-cam", cam)
    assert [axes.get_title() for axes in figure.axes[:2]] == [cam.labels[0], f"for {cam.classes[0]}"]
    np.testing.assert_array_equal(figure.axes[1].images[1].get_array(), cam.maps[0])
    assert (
        f"marked {cam.erased:.3f}; without those marked in another image {cam.erased_elsewhere:.3f}"
        in heading(figure)
    )
