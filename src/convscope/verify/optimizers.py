"""Is every optimizer what its formula says, and what can go wrong with it?

The formulas as printed, in NumPy and float64, beside the package's optimizers
and torch's classes, step by step; then the hypotheses behind them: corrected
starts, ill-conditioned quadratics, Reddi's counter-example.

    D  weights
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from convscope.core import catalog
from convscope.core.config import Choice, Recipe
from convscope.train import optim

from . import Finding
from .numbers import apart, drawn

STEPS = 25
RATE = 0.02
CURVATURES = np.array([0.1, 0.7, 3.0, 10.0, 25.0])
START = np.array([1.0, -2.0, 0.5, 1.5, -0.3])
SAME = 1e-11
"""Largest difference of weights of about 1 after 25 steps that is rounding."""
EPS = 1e-8

Update = Callable[[np.ndarray, int], np.ndarray]
"""(g, step from 1) -> what is multiplied by the rate and taken off; remembers what it needs."""


def optimizers() -> Iterator[Finding]:
    """Formulas, epsilon, bias corrections, conditioning, convergence, and rates that do not compare."""
    for name in catalog.names("optimizers"):
        for finding in CHECKS.get(name, ()):
            yield finding()
    yield from _where_epsilon_stands()
    yield _means_are_corrected("exp_avg", 0.9, 1, "first")
    yield _means_are_corrected("exp_avg_sq", 0.999, 2, "second")
    yield _first_steps()
    yield _comparable_rates()
    yield _step_and_stability()
    yield from _ill_conditioned()
    yield from _reddi()


# The formulas ------------------------------------------------------------------------------------------------------


def momentum(beta: float, nesterov: bool = False) -> Update:
    """v <- g + beta v, S3.54; with `nesterov`, the step is g + beta v."""
    velocity = np.zeros_like(START)

    def update(g: np.ndarray, step: int) -> np.ndarray:
        nonlocal velocity
        velocity = g + beta * velocity
        return g + beta * velocity if nesterov else velocity

    return update


def rmsprop(beta2: float, inside: bool = False) -> Update:
    """m <- beta2 m + (1 - beta2) g^2; g / sqrt(m + eps) as printed in S3.56 (`inside`), or g / (sqrt(m) + eps)."""
    square = np.zeros_like(START)

    def update(g: np.ndarray, step: int) -> np.ndarray:
        nonlocal square
        square = beta2 * square + (1 - beta2) * g * g
        return np.asarray(g / _root(square, inside))

    return update


def adam(beta1: float, beta2: float, inside: bool = False, largest: bool = False) -> Update:
    """S3.57; with `largest`, AMSGrad (S3.59)."""
    mean, square, top = (np.zeros_like(START) for _ in range(3))

    def update(g: np.ndarray, step: int) -> np.ndarray:
        nonlocal mean, square, top
        mean = beta1 * mean + (1 - beta1) * g
        square = beta2 * square + (1 - beta2) * g * g
        top = np.maximum(top, square) if largest else square
        return np.asarray(mean / (1 - beta1**step) / _root(top / (1 - beta2**step), inside))

    return update


def _root(square: np.ndarray, inside: bool) -> np.ndarray:
    return np.asarray(np.sqrt(square + EPS) if inside else np.sqrt(square) + EPS)


def by_formula(update: Update, start: np.ndarray = START) -> np.ndarray:
    """The weights after each step down the quadratic sum of curvature w^2 / 2: (STEPS, D)."""
    weight, found = start.copy(), []
    for step in range(1, STEPS + 1):
        weight = weight - RATE * update(CURVATURES * weight, step)
        found.append(weight)
    return np.array(found)


def by_optimizer(
    make: Callable[[nn.Parameter], torch.optim.Optimizer], start: np.ndarray = START
) -> np.ndarray:
    """The same, walked by an optimizer."""
    weight = nn.Parameter(torch.from_numpy(start.copy()))
    optimizer, found = make(weight), []
    for _ in range(STEPS):
        weight.grad = torch.from_numpy(CURVATURES) * weight.detach()
        optimizer.step()
        found.append(weight.detach().numpy().copy())
    return np.array(found)


def ours(name: str, rate: float = RATE, **options: Any) -> Callable[[nn.Parameter], torch.optim.Optimizer]:
    """As the package builds it."""
    recipe = Recipe(lr=rate, optimizer=Choice(name=name, options=options))
    return lambda weight: optim.build(recipe, [optim.Group(("w",), (weight,), 0.0)])


def theirs(
    kind: Callable[..., torch.optim.Optimizer], **options: Any
) -> Callable[..., torch.optim.Optimizer]:
    """torch's class."""
    return lambda weight: kind([weight], lr=RATE, **options)


def _three(
    statement: str,
    source: str,
    update: Update,
    mine: Callable[..., torch.optim.Optimizer],
    other: Callable[..., torch.optim.Optimizer],
) -> Finding:
    """The formula, ours and torch's, side by side."""
    printed, found, made = by_formula(update), by_optimizer(mine), by_optimizer(other)
    first, second = float(np.abs(found - printed).max()), float(np.abs(found - made).max())
    return Finding(
        statement,
        source,
        f"The weights of {STEPS} steps down a quadratic differ by at most {first:.1e} from the formula's, {second:.1e} "
        "from those of torch's class.",
        max(first, second) < SAME,
    )


def _plain() -> Finding:
    text = "`sgd` without momentum is theta <- theta - alpha g, and torch's SGD."
    return _three(text, "S3.54", momentum(0.0), ours("sgd", momentum=0.0), theirs(torch.optim.SGD))


def _momentum() -> Finding:
    text = "`sgd` is v <- g + beta v, theta <- theta - alpha v, and torch's SGD with momentum."
    made = theirs(torch.optim.SGD, momentum=0.9)
    return _three(text, "S3.54", momentum(0.9), ours("sgd", momentum=0.9), made)


def _nesterov() -> Finding:
    """The textbook form asks for the slope ahead of the weights; the built one moves by g + beta v instead."""
    beta, weight, velocity, ahead = 0.9, START.copy(), np.zeros_like(START), []
    for _ in range(STEPS):
        slope = CURVATURES * (weight - RATE * beta * velocity)
        velocity = slope + beta * velocity
        weight = weight - RATE * velocity
        ahead.append(weight - RATE * beta * velocity)
    found = by_optimizer(ours("sgd", momentum=0.9, nesterov=True))
    made = by_optimizer(theirs(torch.optim.SGD, momentum=0.9, nesterov=True))
    first, second = float(np.abs(found - np.array(ahead)).max()), float(np.abs(found - made).max())
    return Finding(
        "`sgd` with `nesterov` walks through the points ahead at which Nesterov's method takes its slopes.",
        "S3.54; Sutskever, Martens, Dahl, Hinton (2013)",
        f"They differ by at most {first:.1e} in {STEPS} steps, and by {second:.1e} from torch's class.",
        max(first, second) < SAME,
    )


def _rmsprop() -> Finding:
    text = "`rmsprop` is S3.56 with epsilon outside the root, and torch's RMSprop."
    return _three(text, "S3.56, E3.10", rmsprop(0.99), ours("rmsprop"), theirs(torch.optim.RMSprop))


def _adam() -> Finding:
    text = "`adam` is S3.57 with epsilon outside the root, and torch's Adam."
    return _three(text, "S3.57, E3.10", adam(0.9, 0.999), ours("adam"), theirs(torch.optim.Adam))


def _amsgrad() -> Finding:
    text = "`adam` with `amsgrad` divides by the largest second moment so far, and is torch's."
    # A start that makes the second moment fall: 0.9 forgets within these steps.
    made = theirs(torch.optim.Adam, betas=(0.9, 0.9), amsgrad=True)
    return _three(text, "S3.59", adam(0.9, 0.9, largest=True), ours("adam", beta2=0.9, amsgrad=True), made)


def _adamw() -> Finding:
    text = "`adamw` without decay is Adam, and torch's AdamW."
    made = theirs(torch.optim.AdamW, weight_decay=0.0)
    return _three(text, "S3.57; Loshchilov, Hutter (2019)", adam(0.9, 0.999), ours("adamw"), made)


def _muon() -> Finding:
    """Newton-Schulz on a matrix is the quintic on its singular values, so their vectors stay what they are."""
    from convscope.train import muon

    gap, low, high = 0.0, math.inf, 0.0
    for key, shape in enumerate(((8, 27), (27, 8), (16, 16))):
        matrix = drawn(key, *shape)
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        values = values / (matrix.norm() + 1e-7)
        for _ in range(3):
            values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
        gap = max(gap, apart(muon.orthogonalised(matrix), (left * values) @ right))
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    return Finding(
        "`muon` keeps the singular vectors of a filter bank's momentum and applies the quintic to its singular values.",
        "Jordan et al. (2024)",
        f"Three filter banks differ by at most {gap:.1e} from U p(p(p(S))) V; their singular values, divided by "
        f"the norm before, end between {low:.2f} and {high:.2f}.",
        gap < SAME,
    )


def _muon_others() -> Finding:
    text = (
        "`muon` moves what is no filter bank by Nesterov momentum, 1.6 times as fast, as torch's SGD would."
    )
    factor = 1.6
    made = lambda weight: torch.optim.SGD([weight], lr=factor * RATE, momentum=0.9, nesterov=True)  # noqa: E731
    update = momentum(0.9, nesterov=True)
    scaled: Update = lambda g, step: factor * update(g, step)  # noqa: E731
    return _three(text, "Jordan et al. (2024)", scaled, ours("muon"), made)


CHECKS: dict[str, tuple[Callable[[], Finding], ...]] = {
    "sgd": (_plain, _momentum, _nesterov),
    "muon": (_muon, _muon_others),
    "adam": (_adam, _amsgrad),
    "adamw": (_adamw,),
    "rmsprop": (_rmsprop,),
}
"""What is computed about each optimizer of the catalog."""


# Epsilon, the start, the rate --------------------------------------------------------------------------------------


def _where_epsilon_stands() -> Iterator[Finding]:
    """The same formulas on slopes of 1e-4 and of 1e-2."""
    for name, formula, beta in (("RMSProp", rmsprop, 0.0), ("Adam", lambda b, i: adam(0.9, 0.999, i), 0.0)):
        shares = {}
        for size in (1e-4, 1e-2):
            slope = np.full_like(START, size)
            shares[size] = float((formula(beta, True)(slope, 1) / formula(beta, False)(slope, 1)).max())
        yield Finding(
            f"{name} with epsilon inside the square root takes the same steps as with epsilon outside it.",
            "S3.56, E3.10" if name == "RMSProp" else "S3.57, E3.10",
            f"Where the root is 1e-4, the step with eps = 1e-8 inside is {shares[1e-4]:.4f} of that with eps outside; "
            f"where it is 1e-2, {shares[1e-2]:.6f}.",
            abs(shares[1e-4] - 1) < 1e-6,
            true=False,
        )


def _means_are_corrected(key: str, beta: float, power: int, which: str) -> Finding:
    """What Adam remembers of a constant slope, as the package's optimizer keeps it."""
    slope = torch.tensor([3.0, -0.02, 1e-3, 40.0, 1.0], dtype=torch.float64)
    weight = nn.Parameter(torch.zeros_like(slope))
    optimizer = ours("adam")(weight)
    shown = "g" if power == 1 else f"g^{power}"
    raw = corrected = 0.0
    for step in range(1, 101):
        weight.grad = slope.clone()
        optimizer.step()
        kept, wanted = optimizer.state[weight][key], slope**power
        raw = max(raw, float((kept / ((1 - beta**step) * wanted) - 1).abs().max()))
        corrected = max(corrected, float((kept / (1 - beta**step) / wanted - 1).abs().max()))
    return Finding(
        f"If all gradients are g, Adam's {which} moment is (1 - beta^k) {shown}, and exactly {shown} once it is "
        "corrected.",
        "S3.58",
        f"Over 100 steps the largest relative error is {raw:.1e} before and {corrected:.1e} after the correction.",
        max(raw, corrected) < 1e-12,
    )


def _step_lengths(scale: float) -> dict[str, float]:
    """Length of the first step, in learning rates, on a slope of this size."""
    found = {}
    for name in ("sgd", "rmsprop", "adam"):
        weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimizer = ours(name)(weight)
        weight.grad = torch.full_like(weight, scale)
        optimizer.step()
        found[name] = float(-weight.detach()) / RATE
    return found


def _first_steps() -> Finding:
    found = _step_lengths(3.0)
    return Finding(
        "Corrected for its start, Adam's first step has the length of the rate; RMSProp's, not corrected, is ten times "
        "as long.",
        "S3.56-58",
        f"On a slope of 3 the first steps are {found['adam']:.6f} and {found['rmsprop']:.6f} rates.",
        abs(found["adam"] - 1) < 1e-6 and abs(found["rmsprop"] - 10) < 1e-5,
    )


def _comparable_rates() -> Finding:
    one, hundred = _step_lengths(0.01), _step_lengths(1.0)
    ratios = {name: hundred[name] / one[name] for name in one}
    return Finding(
        "One learning rate means the same to SGD, RMSProp and Adam, so they can be compared at it.",
        "S2.15 as done, S3.66, E2.6",
        "On a loss a hundred times as large SGD's first step is "
        f"{ratios['sgd']:.0f} times as long, RMSProp's {ratios['rmsprop']:.4f} and Adam's {ratios['adam']:.4f} times; "
        f"on a slope of 0.01 they are {one['sgd']:.2f}, {one['rmsprop']:.2f} and {one['adam']:.2f} rates long.",
        max(ratios.values()) < 2 * min(ratios.values()),
        true=False,
    )


def _distance(rate: float, curvature: float = 10.0, steps: int = 400) -> float:
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = ours("sgd", rate, momentum=0.0)(weight)
    for _ in range(steps):
        weight.grad = curvature * weight.detach()
        optimizer.step()
    return float(weight.detach().abs())


def _step_and_stability() -> Finding:
    below, above = _distance(0.99 * 2 / 10), _distance(1.01 * 2 / 10)
    return Finding(
        "Gradient descent on a quadratic of curvature L goes down with rates below 2/L, and away with rates above.",
        "S3.61",
        f"From distance 1 and with L = 10, 400 steps end at {below:.1e} with 0.99 times 2/L, at {above:.1e} with 1.01 "
        "times.",
        below < 1e-2 and above > 1e2,
    )


# Conditioning ------------------------------------------------------------------------------------------------------

ILL = (1.0, 400.0)
"""Curvatures of an ill-conditioned quadratic."""


def descent(
    curvatures: tuple[float, ...], rate: float, beta: float, steps: int = 3000
) -> Iterator[np.ndarray]:
    """The weights (D,) of `sgd` down the quadratic sum of curvature w^2 / 2: all 1, then after each step."""
    weight = nn.Parameter(torch.ones(len(curvatures), dtype=torch.float64))
    slope = torch.tensor(curvatures, dtype=torch.float64)
    optimizer = ours("sgd", rate, momentum=beta)(weight)
    yield weight.detach().numpy().copy()
    for _ in range(steps):
        weight.grad = slope * weight.detach()
        optimizer.step()
        yield weight.detach().numpy().copy()


def best(low: float, high: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """(rate, beta) at which gradient descent, and momentum, arrive soonest between these curvatures l and L.

    2/(l + L) without momentum; 4/(sqrt l + sqrt L)^2 at beta = ((sqrt k - 1)/(sqrt k + 1))^2 with, where k = L/l.

    Reference:
        Polyak (1964), Some methods of speeding up the convergence of iteration methods.
    """
    root = math.sqrt(high / low)
    fast = 4 / (math.sqrt(low) + math.sqrt(high)) ** 2
    return (2 / (low + high), 0.0), (fast, ((root - 1) / (root + 1)) ** 2)


def steps_needed(curvatures: tuple[float, ...], rate: float, beta: float) -> int:
    """Steps of `sgd` until every coordinate, 1 at the start, is within 1e-6 of the minimum and stays there for 30."""
    outside = 0
    for step, weight in enumerate(descent(curvatures, rate, beta)):
        if np.abs(weight).max() >= 1e-6:
            outside = step
        elif step - outside == 30:
            break
    return outside + 1


def _ill_conditioned() -> Iterator[Finding]:
    low, high = ILL
    without, (rate, beta) = best(low, high)
    plain, fast = steps_needed(ILL, *without), steps_needed(ILL, rate, beta)
    common = steps_needed(ILL, 2 * (1 + 0.9) / (low + high), 0.9)
    yield Finding(
        "Where coordinates have very different scales, momentum arrives sooner.",
        "S3.55",
        f"With curvatures 1 and 400, gradient descent at its best rate needs {plain} steps to 1e-6; momentum needs "
        f"{fast} at its best (beta = {beta:.2f}) and {common} with beta = 0.9.",
        fast < plain / 5 and common < plain / 5,
    )
    same, slower = steps_needed((10.0, 10.0), 0.1, 0.0), steps_needed((10.0, 10.0), 0.1, 0.9)
    yield Finding(
        "Momentum with beta = 0.9 arrives sooner on every quadratic.",
        "counterpart of S3.55",
        f"With curvatures 10 and 10 and the rate 1/10, gradient descent needs {same} step, momentum {slower}.",
        slower < same,
        true=False,
    )


# Reddi's counter-example -------------------------------------------------------------------------------------------

C = 3.0
ROUNDS = 2000


@dataclass(frozen=True)
class Played:
    """A weight that pays slope times weight at each step."""

    weights: np.ndarray
    """(ROUNDS + 1,): at the start and after each step."""
    regret: float
    """What is paid in a step beyond what -1 would have paid; the mean."""


def reddi(amsgrad: bool, start: float) -> Played:
    """Adam on [-1, 1] with slopes C, -1, -1, C, ..., of which -1 is the best point.

    Reddi, Kale, Kumar (2018), theorem 1: beta1 = 0, beta2 = 1/(1 + C^2), rates falling as 1/sqrt(t), each
    step projected back into the interval.
    """
    weight = nn.Parameter(torch.tensor([start], dtype=torch.float64))
    optimizer = ours("adam", beta1=0.0, beta2=1 / (1 + C**2), amsgrad=amsgrad)(weight)
    paid, seen = 0.0, [start]
    for step in range(ROUNDS):
        slope = C if step % 3 == 0 else -1.0
        paid += slope * (seen[-1] + 1)
        weight.grad = torch.full_like(weight, slope)
        optim.set_rate(optimizer, 0.5 / math.sqrt(step + 1))
        optimizer.step()
        weight.data.clamp_(-1, 1)
        seen.append(float(weight.detach()))
    return Played(np.array(seen), paid / ROUNDS)


def _reddi() -> Iterator[Finding]:
    """The sum of three losses is (C - 2) x = x, so -1 is best."""
    played = reddi(False, -1.0)
    end = played.weights[-1]
    yield Finding(
        "Adam converges on every convex problem, as its first proof says.",
        "S3.59",
        f"On Reddi's slopes 3, -1, -1 it walks from the best point, -1, to {end:.2f} within {ROUNDS} steps, and pays "
        f"{played.regret:.2f} a step more than staying.",
        bool(end < -0.9),
        true=False,
    )
    played = reddi(True, 1.0)
    end = played.weights[-1]
    yield Finding(
        "AMSGrad converges where Adam does not.",
        "S3.59",
        f"On the same slopes it walks from the worst point, 1, to {end:.2f} within {ROUNDS} steps; its average regret is "
        f"{played.regret:.2f}.",
        bool(end < -0.9 and played.regret < 0.2),
    )
