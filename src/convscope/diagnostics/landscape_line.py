"""What does the loss look like along lines through the weights?

    L(x) = loss(w + x d)

with random directions d in which every filter is as long as the network's
own (Li et al. 2018).  A line costs a twentieth of a plane, so several fit, and their
spread shows what one direction says.

    N  images      S  points a line      R  lines
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from convscope.evaluate.subject import Result, Subject

from .surface import at_weights, border_figures, filter_normalised, non_convex, surface
from .weightspace import NORMS, Norm, batches_of, image_loss, norm_mode


@dataclass(frozen=True)
class LandscapeLine(Result):
    """The loss along lines through the weights."""

    name: str
    """The network and its data."""
    split: str
    images: int
    """N."""
    loss_name: str
    norm: str
    """`running`, `batch`, or `none` where the network has no norms with statistics."""
    x: np.ndarray
    """(S,): steps along the direction."""
    loss: np.ndarray
    """(R, S)."""
    accuracy: np.ndarray
    """(R, S): shares of N."""
    centre_loss: float
    """At the weights themselves."""
    centre_accuracy: float
    border_loss: float
    """Mean over both ends of all lines."""
    border_spread: float
    """Standard deviation over the lines of the mean of both ends; not a number for one line."""
    largest_loss: float
    """Of all finite ones."""
    non_convex: float
    """Share of the inner points at which a line curves downwards, at the grid's resolution."""
    not_finite: int
    """Points whose loss is infinite or no number; the figures above leave them out."""

    @property
    def sentence(self) -> str:
        """The rise to the ends, and how much of the lines is not convex."""
        lines = f"{len(self.loss)} random directions" if len(self.loss) > 1 else "one random direction"
        around = f" (standard deviation {self.border_spread:.3g})" if len(self.loss) > 1 else ""
        return (
            f"{self.name}: along {lines} the loss on {self.images} {self.split} images rises from "
            f"{self.centre_loss:.4g} at the weights to {self.border_loss:.4g} on average at the ends{around}; "
            f"{self.non_convex:.0%} of the inner points curve downwards; "
            f"{f'{self.not_finite} points are not finite; ' if self.not_finite else ''}{NORMS[self.norm]}."
        )


def landscape_line(
    *,
    subject: Subject,
    split: Literal["train", "val"] = "train",
    images: Annotated[int, Field(ge=0)] = 1000,
    size: Annotated[int, Field(ge=3)] = 51,
    extent: Annotated[float, Field(gt=0)] = 1.0,
    norm: Norm = "running",
    repeats: Annotated[int, Field(ge=1)] = 3,
    biases: bool = False,
    loss: str = "auto",
) -> LandscapeLine:
    """The loss along random lines through the weights; filter-normalised.

    Without augmentation and dropout.  Costs size x repeats x images forward passes.

    Args:
        subject: the network.
        split: train, whose loss was minimised, or val.
        images: evenly spread over the split; 0: all of them.
        size: points on a line.
        extent: to each side of the weights; 1 is as far as each filter is long.
        norm: running: batch norms use their stored statistics, as in the paper's code; batch: those of each
            batch at each point.
        repeats: lines.
        biases: also biases and the parameters of norms move.
        loss: auto: what the run was trained with, else cross-entropy; or a name of `convscope list losses`.

    Reference:
        Li, Xu, Taylor, Studer, Goldstein (2018), Visualizing the Loss Landscape of Neural Nets, section 4,
        figure 3.  https://arxiv.org/abs/1712.09913
    """
    cost, batches = image_loss(subject, loss), batches_of(subject, split, images)
    steps, surfaces = np.linspace(-extent, extent, size), []
    centre, right = at_weights(subject, batches, cost, norm)
    for line in range(repeats):
        direction = filter_normalised(
            subject.model, subject.streams.generator("inspect", line), biases=biases
        )
        surfaces.append(surface(subject, (direction, {}), steps, np.zeros(1), batches, cost, norm))
    values, accuracy = (np.stack([surface[i][0] for surface in surfaces]) for i in (0, 1))
    return LandscapeLine(
        name=subject.name,
        split=split,
        images=len(centre),
        loss_name=cost.text,
        norm=norm_mode(subject.model, norm),
        x=steps,
        loss=values,
        accuracy=accuracy,
        centre_loss=float(centre.mean()),
        centre_accuracy=right,
        **dataclasses.asdict(border_figures(values[:, [0, -1]], values)),
        non_convex=non_convex(values[:, None, :]),
    )
