"""In which plane did training move most?

The two principal components of where the weights were, as seen from where
they ended.  Random directions are nearly at right angles to the path, and show
none of it.

    T  moments      P  numbers that move

Reference:
    Li, Xu, Taylor, Studer, Goldstein (2018), Visualizing the Loss Landscape of Neural Nets, section 7.
    https://arxiv.org/abs/1712.09913
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convscope.core.errors import ConfigError

MOMENTS = 4
"""Besides the end, three: their differences from their mean span a plane."""


@dataclass(frozen=True)
class Plane:
    """Two directions of length 1 at right angles, and where the path lies in them."""

    directions: tuple[dict[str, Tensor], dict[str, Tensor]]
    coordinates: np.ndarray
    """(T, 2): of each moment; the end lies at (0, 0)."""
    explained: float
    """Share of the variance around the mean that lies in the plane, in [0, 1]."""


def principal_plane(path: Sequence[Mapping[str, Tensor]], end: Mapping[str, Tensor]) -> Plane:
    """The plane of a path through its end.

    Args:
        path: parameters by name at T moments, in order; only those that `end` names count.
        end: where the path ends.

    Raises:
        ConfigError: fewer than four moments, or a path along a straight line.
    """
    if len(path) < MOMENTS:
        raise ConfigError(
            f"A trajectory needs the weights at four moments or more; there are {len(path)}. Train with "
            f"--inspect snapshot:every=... and a smaller interval."
        )
    _fit(path, end)
    differences = torch.stack(
        [
            torch.cat([(moment[name].detach().cpu() - w.cpu()).reshape(-1) for name, w in end.items()])
            for moment in path
        ]
    )
    # The end itself is a row of zeros, and none of the rows that are analysed.
    rows = differences[differences.abs().amax(1) > 0].double()
    centred = rows - rows.mean(0)
    # (T, T) instead of (P, P): the same components, and P may be millions.
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    values = values.clamp(min=0).flip(0)
    if len(values) < 2 or float(values[1]) <= 1e-12 * float(values[0]):
        raise ConfigError(
            "The weights lie on a straight line, or do not move: no plane is that of the trajectory."
        )
    axes = centred.T @ vectors.flip(1)[:, :2] / values[:2].sqrt()
    coordinates = differences.double() @ axes
    # The sign of a component is arbitrary: the path begins at the upper right.
    signs = torch.where(coordinates[0] < 0, -1.0, 1.0).double()
    directions = [_split(axis, end) for axis in (axes * signs).T]
    return Plane(
        (directions[0], directions[1]), (coordinates * signs).numpy(), float(values[:2].sum() / values.sum())
    )


def _fit(path: Sequence[Mapping[str, Tensor]], end: Mapping[str, Tensor]) -> None:
    for number, moment in enumerate(path):
        for name, weight in end.items():
            if name not in moment or moment[name].shape != weight.shape:
                there = f"shape {tuple(moment[name].shape)}" if name in moment else "nothing"
                raise ConfigError(
                    f"Moment {number} of the trajectory is of another network: {name} has shape "
                    f"{tuple(weight.shape)} in the network and {there} there."
                )


def _split(axis: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    parts = torch.split(axis.float(), [weight.numel() for weight in like.values()])
    return {
        name: part.view(weight.shape).to(weight.device)
        for (name, weight), part in zip(like.items(), parts, strict=True)
    }
