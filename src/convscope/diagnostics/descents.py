"""Where does a noisy curve turn, and where does it go in the end?

Numbers in, numbers out.

    V  values of the curve
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Turn:
    """Where the smoothed validation loss ends to fall or to rise."""

    kind: str
    """`low` or `peak`."""
    epoch: float
    loss: float
    """The smoothed one, nats."""
    train_loss: float
    """The smoothed one; nan if the record has none."""


@dataclass(frozen=True)
class Stretch:
    """From a low to the next peak, or to the end: the validation loss rises."""

    start: float
    """Epoch of the low."""
    end: float
    rise: float
    """Of the smoothed validation loss, nats."""
    train_change: float
    """Of the smoothed training loss, nats; below 0 the run gets better at its training images alone."""


def running_median(values: np.ndarray, width: int) -> np.ndarray:
    """The median of the `width` values around each; (V,) -> (V,).

    Near an end it is the median of the `width` values there: a shorter window would let a single bad value through.

    Args:
        values: a nan makes every median nan that it is part of.
        width: odd.
    """
    count = len(values)
    starts = (min(max(0, i - width // 2), max(0, count - width)) for i in range(count))
    windows = (values[start : start + width] for start in starts)
    return np.array([math.nan if np.isnan(window).any() else float(np.median(window)) for window in windows])


def turns(values: np.ndarray, share: float) -> list[tuple[str, int]]:
    """Lows and peaks in turn, the first a low: (`low` or `peak`, position).

    A low counts once a later value is above (1 + share) times it, a peak once a later value is below it divided by
    (1 + share); so the last one may still lie in the future.

    Args:
        values: none below 0.
        share: above 0.
    """
    found: list[tuple[str, int]] = []
    falling, extreme = True, 0
    for i, value in enumerate(values):
        if falling and value > (1 + share) * values[extreme]:
            found.append(("low", extreme))
            falling, extreme = False, i
        elif not falling and value * (1 + share) < values[extreme]:
            found.append(("peak", extreme))
            falling, extreme = True, i
        elif (value < values[extreme]) == falling and value != values[extreme]:
            extreme = i
    return found


def slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """The slope of the least-squares line, and its Student 95 % interval; nan where there are too few points."""
    from scipy.stats import t

    count = len(x)
    if count < 2:
        return math.nan, math.nan, math.nan
    centred = x - x.mean()
    squares = float((centred**2).sum())
    found = float((centred * y).sum()) / squares
    if count < 3:
        return found, math.nan, math.nan
    left = y - y.mean() - found * centred
    reach = float(t.ppf(0.975, count - 2)) * math.sqrt(float((left**2).sum()) / (count - 2) / squares)
    return found, found - reach, found + reach


def descent_marks(
    epochs: np.ndarray, val: np.ndarray, train: np.ndarray, share: float
) -> tuple[tuple[Turn, ...], tuple[Stretch, ...]]:
    """The turns of the validation loss, and its rises, from the smoothed curves (V,)."""
    found = turns(val, share)
    ends = [i for _, i in found[1:]] + [len(val) - 1]
    return (
        tuple(Turn(kind, float(epochs[i]), float(val[i]), float(train[i])) for kind, i in found),
        tuple(
            Stretch(float(epochs[i]), float(epochs[j]), float(val[j] - val[i]), float(train[j] - train[i]))
            for (kind, i), j in zip(found, ends[: len(found)], strict=True)
            if kind == "low"
        ),
    )
