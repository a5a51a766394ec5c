"""What do Lipschitz constant and beta measure, and what do the quantities measure that stand in for them?

Functions whose constants are known in closed form.  Lipschitz: the largest
slope, |f(a) - f(b)| <= L |a - b|.  Beta: the largest change of the slope,
|f'(a) - f'(b)| <= beta |a - b|.  The proxies of the course project are
computed on sequences of training steps, by the functions of the diagnostic.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from convscope.diagnostics import smoothness as diagnostic

from . import Finding
from .numbers import ROUNDING, drawn

CURVATURES = torch.tensor([0.5, 2.0, 10.0], dtype=torch.float64)
"""Of the quadratic sum of curvature w^2 / 2; its beta is the largest."""
RATES = (1e-3, 2e-3, 1e-4, 5e-4)
"""S2.29."""
CLOSE = (1e-3, 1.1e-3)
"""Two of nearly the same size."""
STEPS = 30

Curve = Callable[[Tensor], Tensor]


def smoothness() -> Iterator[Finding]:
    """Constants of known functions, then E2.8 to E2.10."""
    yield _constants()
    yield _along_the_gradient()
    yield _smooth_is_not_flat()
    yield _second_difference()
    yield _successive_gradients()
    yield _band()


def lipschitz(values: Tensor, points: Tensor) -> float:
    """The largest |v(a) - v(b)| / |a - b| over neighbouring points, (N,) and (N,)."""
    return float((values.diff() / points.diff()).abs().max())


STEEP: tuple[Curve, Curve] = (lambda x: 100 * x, lambda x: torch.full_like(x, 100.0))
FLAT: tuple[Curve, Curve] = (lambda x: 1e-4 * torch.sin(100 * x), lambda x: 1e-2 * torch.cos(100 * x))
"""Function and slope: a straight line, and a ripple that is hardly there."""


def constants(pair: tuple[Curve, Curve]) -> tuple[float, float]:
    """(L, beta) of a function of one number on [-1, 1], from 40,001 points."""
    points = torch.linspace(-1, 1, 40_001, dtype=torch.float64)
    function, slope = pair
    return lipschitz(function(points), points), lipschitz(slope(points), points)


def _constants() -> Finding:
    (steep, straight), (flat, bent) = constants(STEEP), constants(FLAT)
    off = max(abs(steep - 100), straight, abs(flat / 0.01 - 1), abs(bent - 1))
    return Finding(
        "The Lipschitz constant of a function is its largest slope, beta that of its slope.",
        "S2.30, S2.32",
        f"From differences on [-1, 1], 100 x has L = {steep:.4f} and beta = {straight:.1e}, sin(100 x)/10,000 has L = "
        f"{flat:.4f} and beta = {bent:.4f}: known are 100 and 0, 0.01 and 1.",
        off < 1e-5,
    )


def walks() -> list[diagnostic.Walk]:
    """Two steps along the gradient from each of 50 drawn points, and from one on the steepest axis."""
    starts = [*drawn(1, 50, 3), torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)]
    return [diagnostic.walk(quadratic, start, (0.01, 0.1)) for start in starts]


def _along_the_gradient() -> Finding:
    """The package's own walk along the gradient, on a quadratic whose beta is known."""
    found = [walk.beta for walk in walks()]
    return Finding(
        "The change of the gradient over the distance moved along it is at most beta.",
        "S2.32, E2.8; Santurkar et al. (2018)",
        f"On a quadratic with curvatures 0.5, 2 and 10 it lies between {min(found):.3f} and {max(found):.6f} from "
        f"{len(found)} points, one of them on the steepest axis; beta is 10.",
        abs(max(found) - 10) < ROUNDING,
    )


def quadratic(weights: Tensor) -> tuple[float, Tensor]:
    """Loss and gradient of the sum of curvature w^2 / 2."""
    return float((CURVATURES * weights * weights).sum() / 2), CURVATURES * weights


def _smooth_is_not_flat() -> Finding:
    (steep, straight), (flat, bent) = constants(STEEP), constants(FLAT)
    return Finding(
        "A smaller beta means that the gradients are smaller and the loss changes at a smaller rate.",
        "S2.32 as explained, E2.9",
        f"100 x has beta = {straight:.0f} and slopes of {steep:.0f}; sin(100 x)/10,000 has beta = {bent:.2f} and slopes "
        f"up to {flat:.2f}. Small slopes are what a small Lipschitz constant means.",
        (straight < bent) == (steep < flat),
        true=False,
    )


def losses(rate: float) -> list[float]:
    """Of gradient descent from (1, 1, 1) down the quadratic, before each of the steps."""
    weights, found = torch.ones(3, dtype=torch.float64), []
    for _ in range(STEPS):
        loss, gradient = quadratic(weights)
        found.append(loss)
        weights = weights - rate * gradient
    return found


def _second_difference() -> Finding:
    found = {rate: float(diagnostic.second_differences(losses(rate)).max()) for rate in RATES}
    ratio = found[2e-3] / found[1e-4]
    return Finding(
        "The second difference of the losses of successive steps measures beta.",
        "S2.33, E2.8",
        f"On one quadratic with beta = 10 it is {found[2e-3]:.1e} at the rate 2e-3 and {found[1e-4]:.1e} at 1e-4, "
        f"{ratio:.0f} times as small: nothing divides by the distance.",
        ratio < 2,
        true=False,
    )


def _successive_gradients() -> Finding:
    """(w - x)^2/2 averaged over batches of 8 numbers x; the weight stays where it is, so the loss does too."""
    batches = drawn(2, STEPS, 8)
    gradients = 0.3 - batches.mean(1)
    change = float(gradients.diff().abs().mean())
    moving = float(
        diagnostic.walk(_of_one_batch, torch.tensor([0.3], dtype=torch.float64), (0.0,)).changes.max()
    )
    return Finding(
        "The difference of the gradients of successive steps measures how the gradient changes along its direction.",
        "S2.31, E2.8",
        f"With a learning rate of zero nothing moves and no gradient of one batch changes ({moving:g}), yet successive "
        f"batches differ by {change:.2f} on average: it holds the noise of the batches.",
        abs(change - moving) < ROUNDING,
        true=False,
    )


def _of_one_batch(weights: Tensor) -> tuple[float, Tensor]:
    """Loss and gradient of (w - x)^2 / 2, averaged over the first batch."""
    apart = weights - drawn(2, STEPS, 8)[0]
    return float((apart * apart).mean() / 2), apart.mean()[None]


def band(rates: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and the largest loss over learning rates, before each step; (STEPS,) each."""
    return diagnostic.band([losses(rate) for rate in rates])


def widths(rates: Sequence[float]) -> tuple[float, float]:
    """Of the band before the first step, and at the last."""
    low, high = band(rates)
    return float(high[0] - low[0]), float(high[-1] - low[-1])


def _band() -> Finding:
    (first, wide), (_, narrow) = widths(RATES), widths(CLOSE)
    return Finding(
        "The band between the losses of several learning rates is a property of the landscape.",
        "S2.28, E2.10",
        f"On one and the same quadratic its width is {first:g} before the first step, and at step {STEPS} {wide:.3f} "
        f"for the rates of S2.29 and {narrow:.3f} for 1e-3 and 1.1e-3: it shows training curves.",
        abs(wide - narrow) <= 0.1 * wide,
        true=False,
    )
