"""How is the loss computed over points around the weights?

What a plane and a line have in common: directions in which every filter moves
as far as it is long, the loss at points along them, and what the points say.

    N  images      S  points a side      R  pairs of directions, or lines
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from convscope.evaluate.subject import Subject

from .weightspace import Batch, ImageLoss, Norm, borrowed, losses_at

Direction = Mapping[str, Tensor]
"""A change of each parameter that moves, by name."""


def filter_normalised(model: nn.Module, draw: np.random.Generator, *, biases: bool = False) -> Direction:
    """A random direction, every filter of which is as long as the filter of the weights.

    A filter is what gives one output: an output channel of a convolution, a row of a linear layer.

    Args:
        model: whose weights are moved.
        draw: normal numbers come from here, in the order of the parameters.
        biases: also biases and the parameters of norms, each vector as one filter; else they do not move.

    Reference:
        Li, Xu, Taylor, Studer, Goldstein (2018), Visualizing the Loss Landscape of Neural Nets, section 4.
        https://arxiv.org/abs/1712.09913
        Differs: where their code moves biases too, it takes the biases themselves as the direction.
    """
    found = {}
    for name, parameter in movable(model, biases=biases).items():
        drawn = torch.from_numpy(draw.standard_normal(tuple(parameter.shape), np.float32)).to(
            parameter.device
        )
        rows = (1, -1) if parameter.ndim <= 1 else (len(parameter), -1)
        own, new = (t.reshape(rows).norm(dim=1, keepdim=True) for t in (parameter, drawn))
        found[name] = (drawn.reshape(rows) * (own / new)).view_as(parameter)
    return found


def movable(model: nn.Module, *, biases: bool = False) -> dict[str, Tensor]:
    """Parameters that a direction changes, without their history: all, or those that are no vectors."""
    return {name: p.detach() for name, p in model.named_parameters() if p.numel() and (biases or p.ndim > 1)}


def at_weights(
    subject: Subject, batches: Sequence[Batch], cost: ImageLoss, norm: Norm
) -> tuple[Tensor, float]:
    """The loss of every image, float64 (N,), and the accuracy, at the weights themselves."""
    with borrowed(subject.model.eval(), norm):
        return losses_at(subject.model, batches, cost)


def surface(
    subject: Subject,
    pair: Sequence[Direction],
    x: np.ndarray,
    y: np.ndarray,
    batches: Sequence[Batch],
    cost: ImageLoss,
    norm: Norm,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean loss and accuracy at each point: two of (len(y), len(x))."""
    loss, accuracy = np.empty((len(y), len(x))), np.empty((len(y), len(x)))
    with borrowed(subject.model.eval(), norm) as weights:
        for row, column in np.ndindex(loss.shape):
            move(subject.model, weights, pair, (float(x[column]), float(y[row])))
            losses, accuracy[row, column] = losses_at(subject.model, batches, cost)
            loss[row, column] = float(losses.mean())
    return loss, accuracy


@torch.no_grad()
def move(
    model: nn.Module, weights: Mapping[str, Tensor], pair: Sequence[Direction], to: tuple[float, float]
) -> None:
    """From the weights, not from where the model is: rounding would add up."""
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])
        for direction, step in zip(pair, to, strict=True):
            if name in direction:
                parameter.add_(direction[name], alpha=step)


@dataclass(frozen=True)
class Figures:
    """What plane and line say of their border and of all their points."""

    border_loss: float
    border_spread: float
    largest_loss: float
    not_finite: int


def border_figures(border: np.ndarray, loss: np.ndarray) -> Figures:
    """Of the finite ones of the border (R, ...) and of all points (R, ...); spread over the R means."""
    finite = np.isfinite(loss)
    means = [part[np.isfinite(part)].mean() for part in border if np.isfinite(part).any()]
    return Figures(
        border_loss=float(np.mean(means)) if means else math.nan,
        border_spread=float(np.std(means, ddof=1)) if len(means) > 1 else math.nan,
        largest_loss=float(loss[finite].max()) if finite.any() else math.nan,
        not_finite=int((~finite).sum()),
    )


def non_convex(loss: np.ndarray) -> float:
    """Share of the inner points of a grid at which some second difference is negative.

    Of a plane: the smaller eigenvalue of the 2 x 2 matrix of second differences; of a line (S points in a
    grid of one row): the second difference.  What rounding could have made, 1e-6 of the losses around, does not count.

    Args:
        loss: (R, rows, S), at equal distances; points next to one that is not finite are left out.

    Returns:
        In [0, 1]; not a number where no point is left.
    """
    around = np.lib.stride_tricks.sliding_window_view(np.abs(loss), (min(3, loss.shape[1]), 3), (1, 2))
    rounding = 1e-6 * around.max((-2, -1))
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        along = loss[:, :, 2:] - 2 * loss[:, :, 1:-1] + loss[:, :, :-2]
        smaller = along
        if loss.shape[1] > 1:
            along = along[:, 1:-1]
            across = (loss[:, 2:] - 2 * loss[:, 1:-1] + loss[:, :-2])[:, :, 1:-1]
            mixed = (loss[:, 2:, 2:] - loss[:, 2:, :-2] - loss[:, :-2, 2:] + loss[:, :-2, :-2]) / 4
            smaller = (along + across) / 2 - np.sqrt(((along - across) / 2) ** 2 + mixed**2)
    known = np.isfinite(smaller)
    return float((smaller[known] < -rounding[known]).mean()) if known.any() else math.nan
