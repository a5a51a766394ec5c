"""Where bins, intervals and temperatures are on a reliability diagram."""

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from convscope.core.intervals import wilson
from convscope.diagnostics.calibration import Calibration
from convscope.plots import calibration


def test_bars_points_and_intervals_of_the_filled_bins() -> None:
    result = Calibration(
        subject="a net on dots", split="val", images=20, binning="width", edges=np.array([0, 0.25, 0.5, 0.75, 1]),
        bin_images=np.array([0, 4, 6, 10]), bin_confidence=np.array([np.nan, 0.4, 0.6, 0.9]),
        bin_correct=np.array([0, 1, 3, 8]), scaled_images=np.array([0, 0, 10, 10]),
        scaled_confidence=np.array([np.nan, np.nan, 0.55, 0.8]), scaled_correct=np.array([0, 0, 4, 8]), accuracy=0.6,
        confidence=0.71, ece=0.11, mce=0.15, ece_chance=0.08, ece_chance_high=0.14, brier=0.4, nll=0.9, temperature=1.5,
        temperature_halves=(1.4, 1.6), scaled_ece=0.06, scaled_mce=0.1, scaled_brier=0.38, scaled_nll=0.85,
        scaled_accuracy=0.6,
    )  # fmt: skip
    figure = calibration.draw(result)
    upper, lower = figure.axes
    bars = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in upper.patches]  # type: ignore[attr-defined]
    assert bars == [(0.25, 0.25, 0.25), (0.5, 0.25, 0.5), (0.75, 0.25, 0.8)]
    (points,) = [one for one in upper.containers if isinstance(one, ErrorbarContainer)]
    assert np.asarray(points.lines[0].get_xdata()).tolist() == [0.4, 0.6, 0.9]
    ends = [segment[:, 1].tolist() for segment in points.lines[2][0].get_segments()]
    assert ends == [pytest.approx(wilson(right, count)) for right, count in ((1, 4), (3, 6), (8, 10))]
    scaled = next(line for line in upper.lines if line.get_marker() == "^")
    assert np.column_stack([scaled.get_xdata(), scaled.get_ydata()]).tolist() == [[0.55, 0.4], [0.8, 0.8]]
    assert [bar.get_height() for bar in lower.patches] == [4, 6, 10]  # type: ignore[attr-defined]
    assert lower.get_xlabel() == "confidence: probability of the predicted class"
    assert [line.get_label() for line in lower.lines] == ["mean 71.0%", "accuracy 60.0%"]
    assert figure.get_suptitle() == (
        "a net on dots, val, n = 20, 4 bins of equal width\n"
        "ECE 0.1100 (by chance up to 0.1400), with temperature 1.50: 0.0600"
    )
