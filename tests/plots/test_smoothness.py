"""What is on the figures of the measures along the gradient."""

import math
from typing import Any

import numpy as np
import pytest

from convscope.diagnostics.smoothness import Smoothness
from convscope.plots import smoothness


def moved(lr: float = 0.1, batches: int = 2) -> Smoothness:
    steps = np.array([0.5, 4.0]) * lr
    return Smoothness(
        name="a net on noise", batches=batches, batch=128, loss_name="cross-entropy", lr=lr, steps=steps,
        losses=np.array([[1.0, 2.0], [3.0, 6.0]])[:batches], changes=np.array([[0.1, 0.8], [0.3, 1.2]])[:batches],
        distances=np.array([[0.2, 0.4], [0.2, 0.4]])[:batches] * (lr > 0), start_loss=1.5, gradient=2.0, loss_low=2.0,
        loss_high=4.0, change_low=0.2, change_high=1.0, beta=2.5 if lr else math.nan, last_layer="fc.weight",
        last_layer_change=0.1, second_difference=0.1,
    )  # fmt: skip


def test_loss_gradient_and_their_quotient_along_the_gradient() -> None:
    figure = smoothness.draw(moved())
    means = [np.asarray(axes.lines[0].get_ydata()).tolist() for axes in figure.axes]
    assert means == [pytest.approx([2, 4]), pytest.approx([0.2, 1.0]), pytest.approx([1.0, 2.5])]
    assert np.asarray(figure.axes[0].lines[0].get_xdata()).tolist() == pytest.approx([0.05, 0.4])
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "loss (nats)", "change of the gradient", "change of the gradient / distance",
    ]  # fmt: skip
    assert [len(axes.collections) for axes in figure.axes] == [1, 1, 1]
    assert figure.axes[2].lines[1].get_label() == "effective beta 2.5"
    assert figure.get_suptitle() == (
        "a net on noise: along the gradient, training batches of n = 128, mean and range over 2 batches"
    )


def test_one_batch_has_no_range_and_a_rate_of_zero_no_quotient() -> None:
    figure = smoothness.draw(moved(lr=0.0, batches=1))
    assert [len(axes.collections) for axes in figure.axes] == [0, 0, 0]
    (quotient,) = figure.axes[2].lines
    assert np.isnan(np.asarray(quotient.get_ydata())).all()


def test_bands_over_the_steps_of_each_run() -> None:
    line: dict[str, Any] = {
        "loss_low": 1.0,
        "loss_high": 2.0,
        "change_low": 0.1,
        "change_high": 0.3,
        "beta": 5.0,
    }
    lines = [{"step": 0, **line}, {"step": 10, **line, "beta": None, "loss_high": 4.0}]
    figure = smoothness.draw_over_steps({"batch norm": lines, "none": lines[:1]})
    loss, change, beta = figure.axes
    assert [(len(axes.collections), len(axes.lines)) for axes in figure.axes] == [(2, 0), (2, 0), (0, 2)]
    corners = loss.collections[0].get_paths()[0].vertices
    assert {(0, 1), (0, 2), (10, 1), (10, 4)} <= {tuple(corner) for corner in np.asarray(corners).tolist()}
    assert np.asarray(beta.lines[0].get_ydata()).tolist() == pytest.approx([5.0, math.nan], nan_ok=True)
    legend = loss.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["batch norm", "none"]
    assert change.get_ylabel() == "range of the gradient's change"
