"""Where curves, marks and gap are on the picture of a run."""

import math

import numpy as np
import pytest

from convscope.diagnostics.descents import Stretch
from convscope.diagnostics.overfitting import Overfitting
from convscope.plots import overfitting


def result(second: float = math.nan, count: int = 4) -> Overfitting:
    return Overfitting(
        subject="a net on dots", seed=3, finished=False, epoch=float(count), epochs=np.arange(1.0, count + 1),
        train_loss=np.array([1.0, 0.6, 0.4, 0.2])[:count], train_accuracy=np.array([0.5, 0.7, 0.8, 0.9])[:count],
        val_loss=np.array([0.9, 0.5, 0.6, 0.7])[:count], val_accuracy=np.array([0.5, 0.7, 0.75, 0.7])[:count],
        val_images=40, loss_name="mse", select="accuracy", best_epoch=3.0, lowest_loss_epoch=2.0, lowest_loss=0.5,
        last_loss=0.7, gap_accuracy=0.2, gap_loss=0.5, best_gap_accuracy=0.05, best_gap_loss=0.2, measured_images=100,
        measured_train_accuracy=0.95, measured_val_accuracy=0.75, measured_gap=0.2, measured_gap_low=0.07,
        measured_gap_high=0.35, measured_train_loss=0.1, measured_val_loss=0.6, tail=3, val_trend=0.1,
        val_trend_low=0.05, val_trend_high=0.15, train_trend=-0.2, smooth=1, turn=0.05, turns=(),
        stretches=(Stretch(2.0, 4.0, 0.2, -0.4), Stretch(1.0, 2.0, 0.1, 0.3)), second_descent_epoch=second,
    )  # fmt: skip


def test_curves_marks_and_measured_levels() -> None:
    figure = overfitting.draw(result())
    loss, accuracy = figure.axes
    lines = {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in loss.lines}
    assert list(lines) == [
        "training steps (mse)", "validation (cross-entropy)", "lowest 0.500, epoch 2", "trend +0.1000 per epoch",
    ]  # fmt: skip
    assert lines["training steps (mse)"] == [1.0, 0.6, 0.4, 0.2]
    assert lines["trend +0.1000 per epoch"] == pytest.approx([0.5, 0.6, 0.7])
    # Only the stretch in which training falls is shaded.
    assert [(one.get_x(), one.get_width()) for one in loss.patches] == [(2, 2)]  # type: ignore[attr-defined]
    levels = {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in accuracy.lines}
    assert levels["training in evaluation 95.0 %"] == [95, 95]
    assert levels["validation in evaluation 75.0 %"] == [75, 75]
    assert levels["validation"] == pytest.approx([50, 70, 75, 70])
    assert "best accuracy, epoch 3" in levels
    assert figure.get_suptitle() == (
        "a net on dots, seed 3, epoch 4, still training: gap 20.0 points [7.0, 35.0]\n"
        "(evaluation mode: 100 training, 40 validation images)"
    )


def test_second_descent_is_marked_and_two_validations_have_no_trend() -> None:
    labels = [line.get_label() for line in overfitting.draw(result(second=3.0)).axes[0].lines]
    assert "second descent from epoch 3" in labels
    short = overfitting.draw(result(count=2))
    assert not any(str(line.get_label()).startswith("trend") for line in short.axes[0].lines)
    short.canvas.draw()
