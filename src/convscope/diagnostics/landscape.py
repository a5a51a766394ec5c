"""What does the loss look like around the weights?

A plane, or a line, through the network's weights w:

    L(x, y) = loss(w + x d1 + y d2)

The directions are random with every filter as long as the network's own
(Li et al. 2018), or those in which training moved most.  Without the
scaling, a network whose filters are ten times as long, which computes the same
where a norm follows, would look ten times as flat.

    N  images      S  points a side      R  pairs of directions      T  moments of training
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from convscope.core.errors import ConfigError
from convscope.data import Data, Normaliser
from convscope.evaluate.subject import Result, Subject, subject_of

from . import trajectory
from .snapshot import read_snapshots
from .surface import (
    Direction,
    at_weights,
    border_figures,
    filter_normalised,
    movable,
    move,
    non_convex,
    surface,
)
from .weightspace import NORMS, ImageLoss, Norm, batches_of, borrowed, image_loss, losses_at, norm_mode


@dataclass(frozen=True)
class Convergence:
    """Whether the images were enough: the loss at five points of the plane, for more and more images."""

    images: tuple[int, ...]
    """N, 2N, 4N, as far as the split goes."""
    points: tuple[tuple[float, float], ...]
    """(x, y): the weights, and half way to the border to the right, left, top and bottom."""
    loss: tuple[tuple[float, ...], ...]
    """By number of images, then point."""
    error: tuple[tuple[float, ...], ...]
    """Standard error of each loss, from the spread over its images."""

    @property
    def change(self) -> float:
        """By how much the largest number of images moved a loss, at most, as a share of it."""
        return max(abs(a - b) / b if b else 0.0 for a, b in zip(self.loss[0], self.loss[-1], strict=True))


@dataclass(frozen=True)
class Landscape(Result):
    """The loss over a plane through the weights."""

    name: str
    """The network and its data."""
    split: str
    images: int
    """N."""
    loss_name: str
    norm: str
    """`running`, `batch`, or `none` where the network has no norms with statistics."""
    directions: str
    """`random` or `trajectory`."""
    x: np.ndarray
    """(S,): steps along the first direction; for a trajectory distances between weights."""
    y: np.ndarray
    """(S,): along the second."""
    loss: np.ndarray
    """(R, S, S): pair, y, x."""
    accuracy: np.ndarray
    """(R, S, S): shares of N."""
    centre_loss: float
    """At the weights themselves."""
    centre_accuracy: float
    border_loss: float
    """Mean over the border of the square, and over the pairs."""
    border_spread: float
    """Standard deviation over the pairs of a pair's mean over the border; not a number for one pair."""
    largest_loss: float
    """Of all finite ones."""
    non_convex: float
    """Share of the inner points at which the plane curves downwards in some direction, at the grid's resolution."""
    not_finite: int
    """Points whose loss is infinite or no number; the figures above leave them out."""
    path: np.ndarray
    """(T, 2): where training was, projected; (0, 2) for random directions.  The loss at such a point is that of the
    plane: what does not move (biases, norms) is as it is at the end."""
    explained: float
    """Share of the path's variance that lies in the plane; not a number for random directions."""
    convergence: Convergence | None
    """Absent where it was switched off."""

    @property
    def sentence(self) -> str:
        """The rise to the border, and how much of it is not convex."""
        pairs, enough = len(self.loss), self.convergence
        parts = [
            f"{self.name}: the loss on {self.images} {self.split} images rises from {self.centre_loss:.4g} at the "
            f"weights to {self.border_loss:.4g} on average at the border"
            + (
                f" (standard deviation {self.border_spread:.3g} over {pairs} pairs of directions)"
                if pairs > 1
                else ""
            )
        ]
        if self.directions == "trajectory":
            parts.append(f"the plane holds {self.explained:.0%} of the variance of the path")
        parts.append(
            f"{self.non_convex:.0%} of the inner points curve downwards in some direction of the plane"
        )
        if self.not_finite:
            parts.append(f"at {self.not_finite} points it is not finite")
        if enough and len(enough.images) > 1:
            parts.append(
                f"with {enough.images[-1]} images it differs by at most {enough.change:.1%} at five points"
            )
        return "; ".join([*parts, NORMS[self.norm]]) + "."


def landscape(
    *,
    subject: Subject,
    split: Literal["train", "val"] = "train",
    images: Annotated[int, Field(ge=0)] = 500,
    size: Annotated[int, Field(ge=3, le=201)] = 21,
    extent: Annotated[float, Field(gt=0)] = 1.0,
    norm: Norm = "running",
    directions: Literal["random", "trajectory"] = "random",
    snapshots: str = "",
    repeats: Annotated[int, Field(ge=1)] = 1,
    biases: bool = False,
    convergence: bool = True,
    loss: str = "auto",
) -> Landscape:
    """The loss over a plane through the weights.

    Without augmentation and dropout.  Costs size^2 x repeats x images forward passes, and 35 x images more
    with `convergence`.

    Args:
        subject: the network.
        split: train, whose loss was minimised, or val.
        images: evenly spread over the split; 0: all of them.
        size: points a side.
        extent: of the square to each side of the weights; 1 is as far as each filter is long.  For a trajectory
            1 is the path and a tenth more.
        norm: running: batch norms use their stored statistics, as in the paper's code; batch: those of each
            batch at each point.
        directions: random: filter-normalised; trajectory: the two principal components of where training was.
        snapshots: folder with the snapshots of a trajectory; by default where the run's own are, which
            `train --inspect snapshot:every=...` writes.
        repeats: pairs of random directions.
        biases: also biases and the parameters of norms move.
        convergence: whether the images were enough: also with two and four times as many at five points.
        loss: auto: what the run was trained with, else cross-entropy; or a name of `convscope list losses`.

    Raises:
        ConfigError: a trajectory without at least four moments, or repeated.

    Reference:
        Li, Xu, Taylor, Studer, Goldstein (2018), Visualizing the Loss Landscape of Neural Nets, sections 4
        and 7.  https://arxiv.org/abs/1712.09913.  S1.10.
    """
    options = _Options(split, images, size, extent, norm, biases, convergence, loss)
    if directions == "random":
        pairs = [
            tuple(
                filter_normalised(
                    subject.model, subject.streams.generator("inspect", 2 * pair + i), biases=biases
                )
                for i in (0, 1)
            )
            for pair in range(repeats)
        ]
        steps = np.linspace(-extent, extent, size)
        return _plane(subject, pairs, steps, steps, options)
    if repeats > 1:
        raise ConfigError(
            "A trajectory has one pair of directions: leave repeats at 1, or take directions=random."
        )
    return _along(subject, read_snapshots(_folder(subject, snapshots), subject.model), options)


def landscape_of(
    models: Sequence[nn.Module],
    data: Data,
    *,
    split: Literal["train", "val"] = "train",
    images: int = 500,
    size: int = 21,
    extent: float = 1.0,
    norm: Norm = "running",
    biases: bool = False,
    convergence: bool = True,
    loss: str = "auto",
) -> Landscape:
    """The plane in which training moved most, from copies of one network at several moments; the last in its centre.

    Args:
        models: the same network at four moments or more, in order; unchanged.
        data: what to show it; normalised as is usual for these data.
        split, images, size, extent, norm, biases, convergence, loss: as for `landscape`.

    Raises:
        ConfigError: fewer than four moments, or networks that differ in more than their weights.
    """
    if not models:
        raise ConfigError("A trajectory needs at least four moments of training; there are 0.")
    name = f"{type(models[-1]).__name__} on {data.name}"
    subject = subject_of(models[-1], data, Normaliser(data.mean, data.std), name)
    path = [{name: p.detach() for name, p in model.named_parameters()} for model in models]
    return _along(subject, path, _Options(split, images, size, extent, norm, biases, convergence, loss))


@dataclass(frozen=True)
class _Options:
    split: Literal["train", "val"]
    images: int
    size: int
    extent: float
    norm: Norm
    biases: bool
    convergence: bool
    loss: str


def _folder(subject: Subject, snapshots: str) -> Path:
    if snapshots:
        return Path(snapshots)
    if subject.run is None:
        raise ConfigError(
            "A trajectory needs the weights at several moments: give their folder, snapshots=PATH."
        )
    return subject.run.root / "inspections"


def _along(subject: Subject, path: Sequence[Mapping[str, Tensor]], options: _Options) -> Landscape:
    moving = movable(subject.model, biases=options.biases)
    plane = trajectory.principal_plane(path, moving)
    # A path that hardly leaves one axis would make the other too short to see.
    least = 0.05 * float(np.ptp(plane.coordinates))
    x, y = (_span(way, options, least) for way in plane.coordinates.T)
    found = _plane(subject, [plane.directions], x, y, options)
    return dataclasses.replace(
        found, directions="trajectory", path=plane.coordinates, explained=plane.explained
    )


def _span(way: np.ndarray, options: _Options, least: float) -> np.ndarray:
    """Points from a tenth before to a tenth behind where the path was along one axis."""
    middle, half = (way.max() + way.min()) / 2, (way.max() - way.min()) / 2
    half = 1.1 * options.extent * max(half, least)
    return np.linspace(middle - half, middle + half, options.size)


def _plane(
    subject: Subject, pairs: Sequence[Sequence[Direction]], x: np.ndarray, y: np.ndarray, options: _Options
) -> Landscape:
    cost, batches = image_loss(subject, options.loss), batches_of(subject, options.split, options.images)
    centre, right = at_weights(subject, batches, cost, options.norm)
    surfaces = [surface(subject, pair, x, y, batches, cost, options.norm) for pair in pairs]
    loss, accuracy = (np.stack([surface[i] for surface in surfaces]) for i in (0, 1))
    edge = np.ones(loss.shape[1:], dtype=bool)
    edge[1:-1, 1:-1] = False
    enough = (
        _convergence(subject, pairs[0], x, y, len(centre), options, cost) if options.convergence else None
    )
    return Landscape(
        name=subject.name,
        split=options.split,
        images=len(centre),
        loss_name=cost.text,
        norm=norm_mode(subject.model, options.norm),
        directions="random",
        x=x,
        y=y,
        loss=loss,
        accuracy=accuracy,
        centre_loss=float(centre.mean()),
        centre_accuracy=right,
        **dataclasses.asdict(border_figures(loss[:, edge], loss)),
        non_convex=non_convex(loss),
        path=np.zeros((0, 2)),
        explained=math.nan,
        convergence=enough,
    )


def _convergence(
    subject: Subject,
    pair: Sequence[Direction],
    x: np.ndarray,
    y: np.ndarray,
    images: int,
    options: _Options,
    cost: ImageLoss,
) -> Convergence:
    counts = sorted({min(factor * images, len(subject.images(options.split))) for factor in (1, 2, 4)})
    right, left, top, bottom = (float(edge) / 2 for edge in (x[-1], x[0], y[-1], y[0]))
    points = ((0.0, 0.0), (right, 0.0), (left, 0.0), (0.0, top), (0.0, bottom))
    loss, error = [], []
    for count in counts:
        batches = batches_of(subject, options.split, count)
        with borrowed(subject.model.eval(), options.norm) as weights:
            found = []
            for point in points:
                move(subject.model, weights, pair, point)
                found.append(losses_at(subject.model, batches, cost)[0])
        loss.append(tuple(float(losses.mean()) for losses in found))
        error.append(tuple(float(losses.std()) / math.sqrt(len(losses)) for losses in found))
    return Convergence(tuple(counts), points, tuple(loss), tuple(error))
