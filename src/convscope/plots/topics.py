"""Which statements of the source documents are said better by a picture?

One figure for each topic where it is so, of the numbers its findings are made
of: they come from the functions of `convscope.verify`.

    P  padding      S  stride
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

from convscope.diagnostics.smoothness import walk as walk_along
from convscope.verify import convolution, functions, initialisation, optimizers, schedules, smoothness

from . import style

SIDE = 6
"""Pixels per side of the image whose convolution is shown as a matrix."""
FILTER = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
"""Nine different weights, none of them zero."""
CONVOLUTIONS = ((0, 1), (1, 1), (1, 2))
"""Padding and stride of the matrices."""
PATH = (1.0, 25.0)
"""Curvatures of the quadratic on whose contours paths are drawn: with 400, paths fill the picture."""
STEPS = 20
"""Of these paths."""
NEAR = 1e-8
"""Distance from the minimum at which nobody looks on."""
START = torch.tensor([4.0, 3.0, 0.5], dtype=torch.float64)
"""Where the walk along the gradient begins; its gradient is not along one axis."""


def draw_convolution() -> Figure:
    """A filter of nine weights, and the matrices of its convolutions: where each weight stands."""
    made = style.figure(10.5, 3.6)
    widths = [0.4, *[1.0] * len(CONVOLUTIONS)]
    axes = made.subplots(1, len(widths), width_ratios=widths)
    _filter(axes[0])
    for place, (padding, stride) in zip(axes[1:], CONVOLUTIONS, strict=True):
        matrix = convolution.as_matrix(FILTER, (SIDE, SIDE), padding, stride).numpy()
        side = round(len(matrix) ** 0.5)
        place.imshow(np.where(matrix == 0, np.nan, matrix), cmap=style.SEQUENTIAL, interpolation="nearest")
        columns, rows = range(0, SIDE * SIDE, SIDE), range(0, len(matrix), side)
        for at in columns[1:]:
            place.axvline(at - 0.5, color="0.85", linewidth=0.5)
        for at in rows[1:]:
            place.axhline(at - 0.5, color="0.85", linewidth=0.5)
        place.set_xticks(columns)
        place.set_yticks(rows)
        place.tick_params(labelsize=7)
        place.set_xlabel("pixel, row by row", fontsize=8)
        place.set_anchor("N")
        place.set_title(f"P = {padding}, S = {stride}: {side}x{side} outputs", fontsize=8)
    axes[1].set_ylabel("output, row by row", fontsize=8)
    made.suptitle(
        f"The convolution of {SIDE}x{SIDE} pixels with one 3x3 filter is a matrix with shared weights (S3.7); white: zero",
        fontsize=9,
    )
    return made


def _filter(axes: Axes) -> None:
    weights = FILTER[0, 0].numpy()
    style.picture(axes, weights, cmap=style.SEQUENTIAL)
    for (row, column), weight in np.ndenumerate(weights):
        colour = "black" if weight > 5 else "white"
        axes.text(column, row, f"w{weight:.0f}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_title("the filter", fontsize=8)
    axes.set_anchor("N")


def draw_functions() -> Figure:
    """Every activation of the catalog with its slope."""
    names = list(functions.ACTIVATIONS)
    made, axes = style.panels(2, -(-len(names) // 2), width=2.5, height=2.3)
    points = torch.linspace(
        -4, 4, 400, dtype=torch.float64
    )  # an even number, so that no point is at the kink
    for place, name in zip(axes, names, strict=False):
        value, slope = functions.computed(name, points)
        known = functions.ACTIVATIONS[name]
        style.plain(place).axhline(0, color="0.85", linewidth=0.8)
        place.plot(points, value, color=style.COLOURS[0], label="value")
        place.plot(points, slope, "--", color=style.COLOURS[1], linewidth=1.2, label="slope")
        place.set_title(f"{name}: {known.formula}\n{known.source}", fontsize=7)
        place.set_ylim(-1.9, 4.1)
        place.set_xlabel("x", fontsize=8)
    style.hide(axes[len(names) :])
    axes[0].legend(fontsize=7, frameon=False)
    made.suptitle("Activations and their derivatives, as the package computes them", fontsize=9)
    return made


def draw_initialisation() -> Figure:
    """Variance of outputs and of gradients by depth, for each start."""
    made, (there, back) = style.panels(1, 2, width=5.0, height=4.0)
    ahead = (
        initialisation.LECUN_SMALL_TANH, initialisation.LECUN_TANH, initialisation.KAIMING_IN_RELU,
        initialisation.LECUN_RELU, initialisation.TORCH_LINEAR,
    )  # fmt: skip
    for number, each in enumerate(ahead):
        variances = np.array(each.forward())
        _by_depth(there, variances / variances[0], each.words, number)
    returning = (
        initialisation.FAN_OUT_LINEAR, initialisation.LECUN_LINEAR, initialisation.KAIMING_OUT_RELU,
        initialisation.KAIMING_IN_RELU, initialisation.XAVIER_LINEAR,
    )  # fmt: skip
    for number, each in enumerate(returning):
        _by_depth(back, np.array(each.backward()), each.words, number)
    there.set_xlabel("layer, from the first", fontsize=8)
    there.set_ylabel("variance of the layer's outputs, of the first's", fontsize=8)
    there.set_title(f"forward, {initialisation.DEPTH} layers of {initialisation.WIDTH}", fontsize=8)
    back.set_ylim(0.15, 1.2)
    style.plain_log(back.yaxis)
    back.set_xlabel("layer, from the last", fontsize=8)
    back.set_ylabel("variance of the gradient, of the one that arrives", fontsize=8)
    back.set_title(f"backward, widths {initialisation.TAPER[0]} to {initialisation.TAPER[-1]}", fontsize=8)
    made.suptitle(
        "Which variance of the weights keeps that of outputs and of gradients (S3.68-73)", fontsize=9
    )
    return made


def _by_depth(axes: Axes, variances: np.ndarray, words: str, number: int) -> None:
    layers = np.arange(1, len(variances) + 1)
    style.plain(axes).semilogy(
        layers, variances, "o-", color=style.COLOURS[number], markersize=3, linewidth=1.2, label=words
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=7, frameon=False)


def draw_optimizers() -> Figure:
    """Paths of descent without and with momentum, their distances step by step, and Adam on Reddi's slopes."""
    made = style.figure(11.5, 3.6)
    paths, distances, reddi = map(style.plain, made.subplots(1, 3))
    _paths(paths)
    for number, (label, (rate, beta)) in enumerate(zip(_WAYS, optimizers.best(*optimizers.ILL), strict=True)):
        walking = optimizers.descent(optimizers.ILL, rate, beta)
        walked = np.array(list(takewhile(lambda weights: np.abs(weights).max() > NEAR, walking)))
        distances.loglog(np.abs(walked).max(1), color=style.COLOURS[number], linewidth=1.2, label=label)
    distances.axhline(1e-6, color="grey", linestyle=":", linewidth=0.8)
    distances.set_xlim(left=1)
    distances.set_ylim(NEAR, 100)
    distances.set_xlabel("step", fontsize=8)
    distances.set_ylabel("largest distance of a coordinate", fontsize=8)
    low, high = optimizers.ILL
    distances.set_title(f"curvatures {low:g} and {high:g}, each at its best rate (S3.55)", fontsize=8)
    for number, (name, amsgrad, start) in enumerate((("Adam", False, -1.0), ("AMSGrad", True, 1.0))):
        played = optimizers.reddi(amsgrad, start)
        label = f"{name}, average regret {played.regret:.2f}"
        reddi.plot(played.weights, color=style.COLOURS[number], linewidth=1.2, label=label)
    reddi.axhline(-1, color="grey", linestyle=":", linewidth=0.8, label="best point")
    reddi.set_xlabel("step", fontsize=8)
    reddi.set_ylabel("weight", fontsize=8)
    reddi.set_title("slopes 3, -1, -1, ... (S3.59; Reddi et al. 2018)", fontsize=8)
    for axes in (paths, distances, reddi):
        axes.legend(fontsize=7, frameon=False)
    made.suptitle("Where momentum helps, and where Adam does not converge", fontsize=9)
    return made


_WAYS = ("gradient descent", "momentum")


def _paths(axes: Axes) -> None:
    """Over contours of the loss, at gradient descent's best rate."""
    low, high = PATH
    across, up = np.meshgrid(np.linspace(-0.2, 1.1, 120), np.linspace(-1.1, 1.1, 120))
    loss = (low * across**2 + high * up**2) / 2
    axes.contour(across, up, loss, levels=np.geomspace(0.01, 15, 10), colors="0.8", linewidths=0.7)
    (rate, _), (_, beta) = optimizers.best(low, high)
    for number, (label, remembered) in enumerate(zip(_WAYS, (0.0, beta), strict=True)):
        walked = np.array(list(optimizers.descent(PATH, rate, remembered, STEPS)))
        axes.plot(*walked.T, "o-", color=style.COLOURS[number], markersize=2.5, linewidth=0.9, label=label)
    axes.plot(0, 0, "k+", markersize=8)
    axes.set_xlabel(f"weight of curvature {low:g}", fontsize=8)
    axes.set_ylabel(f"weight of curvature {high:g}", fontsize=8)
    axes.set_title(f"{STEPS} steps, rate {rate:.3f}, momentum {beta:.2f} (S3.55)", fontsize=8)


def draw_schedules() -> Figure:
    """Every schedule of the catalog over a run, and torch's; with S3.63 as printed."""
    names = list(schedules.CASES)
    made, axes = style.panels(2, -(-len(names) // 2), width=2.4, height=2.2)
    epochs = np.arange(schedules.TOTAL) / schedules.PER_EPOCH
    for place, name in zip(axes, names, strict=False):
        case = schedules.CASES[name]
        theirs = schedules.torchs(case.torch, case.per_epoch)
        style.plain(place).plot(
            epochs,
            schedules.ours(name, case.options),
            color=style.COLOURS[0],
            drawstyle="steps-post",
            label="convscope",
        )
        place.plot(epochs[::3], theirs[::3], ".", color=style.COLOURS[1], markersize=3, label="torch")
        place.set_title(f"{name}\n{case.source}", fontsize=7)
        place.set_xlabel("epoch", fontsize=8)
        place.set_ylim(0, 1.05 * schedules.PEAK)
        place.xaxis.set_major_locator(MultipleLocator(3))
    style.hide(axes[len(names) :])
    printed = schedules.torchs(schedules.CASES["exponential"].torch, per_epoch=False)
    wrong = axes[names.index("exponential")]
    wrong.plot(
        epochs, printed, "--", color=style.COLOURS[3], linewidth=1.2, label="stepped at each batch (E3.7)"
    )
    wrong.legend(handles=wrong.lines[-1:], fontsize=6, frameon=False, loc="upper right")
    axes[0].legend(fontsize=6, frameon=False)
    made.suptitle(
        f"The learning rate over {schedules.EPOCHS} epochs of {schedules.PER_EPOCH} steps, {schedules.PEAK:g} at most",
        fontsize=9,
    )
    return made


def draw_smoothness() -> Figure:
    """What beta bounds along the gradient of a quadratic, and a band over learning rates that tells nothing of it."""
    made, (losses, changes, bands) = style.panels(1, 3, width=3.6, height=3.4)
    beta = float(smoothness.CURVATURES.max())
    _along(losses, beta)
    walks = smoothness.walks()
    moved, changed = (
        np.concatenate([getattr(walk, what) for walk in walks]) for what in ("distances", "changes")
    )
    ends = np.array([moved.min(), moved.max()])
    style.plain(changes).loglog(
        moved, changed, ".", color=style.COLOURS[0], markersize=4, label="from drawn points"
    )
    changes.loglog(
        ends, beta * ends, color=style.COLOURS[1], linewidth=1.2, label=f"beta = {beta:g} times the distance"
    )
    changes.set_xlabel("distance moved along the gradient", fontsize=8)
    changes.set_ylabel("change of the gradient", fontsize=8)
    changes.set_title("beta bounds the change of the gradient (S2.32)", fontsize=8)
    for number, rates in enumerate((smoothness.RATES, smoothness.CLOSE)):
        style.plain(bands).fill_between(
            range(smoothness.STEPS), *smoothness.band(rates), color=style.COLOURS[number], alpha=0.5, linewidth=0.8,
            label=f"rates {_listed(rates)}",
        )  # fmt: skip
    bands.set_xlabel("step", fontsize=8)
    bands.set_ylabel("smallest to largest loss", fontsize=8)
    bands.set_title("the band is that of the rates (S2.28, E2.10)", fontsize=8)
    for axes in (losses, changes, bands):
        axes.legend(fontsize=7, frameon=False)
    curvatures = _listed(smoothness.CURVATURES.tolist())
    made.suptitle(
        f"Smoothness of one quadratic, of curvatures {curvatures} (Santurkar et al. 2018)", fontsize=9
    )
    return made


def _along(axes: Axes, beta: float) -> None:
    """The loss along the gradient between the tangent and the bound that beta gives."""
    steps = np.linspace(0, 0.3, 61)
    walk = walk_along(smoothness.quadratic, START, steps.tolist())
    tangent = walk.start - steps * walk.gradient**2
    style.plain(axes).fill_between(
        steps, tangent, tangent + beta / 2 * walk.distances**2, color=style.COLOURS[1], alpha=0.2, linewidth=0,
        label=f"what beta = {beta:g} allows a convex loss",
    )  # fmt: skip
    axes.plot(steps, walk.losses, color=style.COLOURS[0], label="loss")
    axes.axhline(walk.start, color="grey", linestyle=":", linewidth=0.8, label="before moving")
    axes.set_xlabel("step (multiples of the gradient)", fontsize=8)
    axes.set_ylabel("loss", fontsize=8)
    axes.set_title("beta bounds the loss along the gradient (S2.30-32)", fontsize=8)


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


FIGURES: dict[str, Callable[[], Figure]] = {
    "convolution": draw_convolution,
    "functions": draw_functions,
    "initialisation": draw_initialisation,
    "optimizers": draw_optimizers,
    "schedules": draw_schedules,
    "smoothness": draw_smoothness,
}
"""By the topic's name."""
