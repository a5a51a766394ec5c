"""A map with signs reaches as far below zero as above."""

import numpy as np
import pytest

from convscope import plots
from convscope.diagnostics.attribution import input_gradients
from convscope.evaluate.subject import Subject


def test_maps_with_signs_are_white_at_zero(subject: Subject) -> None:
    signed = input_gradients(subject=subject, images=3, times_input=True)
    low, high = plots.draw("input-gradient", signed).axes[1].images[0].get_clim()
    assert (low, high) == pytest.approx((-np.abs(signed.maps[0]).max(), np.abs(signed.maps[0]).max()))
