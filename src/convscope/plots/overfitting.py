"""How do training and validation part?"""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.diagnostics.overfitting import Overfitting

from . import style

TRAIN, VAL = style.COLOURS[1], style.COLOURS[0]


def draw(result: Overfitting) -> Figure:
    """Loss and accuracy by epoch; shaded where the validation loss rises while the training loss falls."""
    figure = style.figure(9.6, 4.2)
    loss, accuracy = figure.subplots(1, 2)
    _losses(style.plain(loss), result)
    _accuracies(style.plain(accuracy), result)
    state = "" if result.finished else ", still training"
    figure.suptitle(
        f"{result.subject}, seed {result.seed}, epoch {result.epoch:g}{state}: gap {100 * result.measured_gap:.1f} points "
        f"[{100 * result.measured_gap_low:.1f}, {100 * result.measured_gap_high:.1f}]\n(evaluation mode: "
        f"{result.measured_images} training, {result.val_images} validation images)",
        fontsize=9,
    )
    return figure


def _losses(axes: Axes, result: Overfitting) -> None:
    axes.plot(result.epochs, result.train_loss, color=TRAIN, label=f"training steps ({result.loss_name})")
    axes.plot(result.epochs, result.val_loss, color=VAL, label="validation (cross-entropy)")
    name: str | None = "validation rises, training falls"
    for stretch in result.stretches:
        if stretch.train_change < 0:
            axes.axvspan(
                stretch.start, stretch.end, color=style.COLOURS[4], alpha=0.25, linewidth=0, label=name
            )
            name = None
    axes.plot(
        [result.lowest_loss_epoch], [result.lowest_loss], "o", color=VAL, fillstyle="none", markersize=8,
        label=f"lowest {result.lowest_loss:.3f}, epoch {result.lowest_loss_epoch:g}",
    )  # fmt: skip
    if not math.isnan(result.second_descent_epoch):
        axes.axvline(
            result.second_descent_epoch, color=style.COLOURS[2], linestyle=":",
            label=f"second descent from epoch {result.second_descent_epoch:g}",
        )  # fmt: skip
    _tail(axes, result)
    axes.set_yscale("log")
    style.plain_log(axes.yaxis)
    _epochs(axes, result)
    axes.set_ylabel("loss (nats, log)", fontsize=8)
    axes.legend(fontsize=7, edgecolor="none")


def _tail(axes: Axes, result: Overfitting) -> None:
    """The line through the last validations."""
    x = result.epochs[-result.tail :]
    if len(x) < 3:
        return
    y = result.val_loss[-result.tail :].mean() + result.val_trend * (x - x.mean())
    axes.plot(
        x,
        y,
        color=style.COLOURS[6],
        linewidth=1,
        linestyle="--",
        label=f"trend {result.val_trend:+.4f} per epoch",
    )


def _accuracies(axes: Axes, result: Overfitting) -> None:
    axes.plot(result.epochs, 100 * result.train_accuracy, color=TRAIN, label="training steps (augmented)")
    axes.plot(result.epochs, 100 * result.val_accuracy, color=VAL, label="validation")
    axes.axvline(
        result.best_epoch,
        color="0.5",
        linestyle=":",
        label=f"best {result.select}, epoch {result.best_epoch:g}",
    )
    measured = np.array([result.measured_train_accuracy, result.measured_val_accuracy])
    for value, colour, name in zip(100 * measured, (TRAIN, VAL), ("training", "validation"), strict=True):
        axes.axhline(
            value, color=colour, linewidth=0.8, linestyle="--", label=f"{name} in evaluation {value:.1f} %"
        )
    _epochs(axes, result)
    axes.set_ylabel("accuracy (%)", fontsize=8)
    axes.legend(fontsize=7, edgecolor="none", loc="lower right")


def _epochs(axes: Axes, result: Overfitting) -> None:
    axes.set_xlabel("epoch", fontsize=8)
    axes.set_xlim(left=0, right=max(1.0, result.epoch * 1.02))
