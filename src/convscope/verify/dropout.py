"""What does dropout do, before and after an activation, on average, and in evaluation?

Means over masks are sums over all 2^n masks with their probabilities, so
nothing is sampled; where fractions suffice they are exact.

    n  units      p  probability that one is dropped      m  a mask: n numbers, each 0 or 1/(1-p)
"""

import itertools
from collections.abc import Iterator
from fractions import Fraction

import torch
from torch import Tensor, nn

from convscope.compute.fences import seeded
from convscope.core import catalog
from convscope.models.blocks import CommonParts, make_activation, make_dropout

from . import Finding
from .numbers import ROUNDING, apart, drawn

SHARES = (0.1, 0.25, 0.5, 0.9)
UNITS = 8
DRAWS = 100_000
HOMOGENEOUS = ("relu", "leaky-relu")
"""The activations of the catalog with f(ax) = a f(x) for all a >= 0."""


def dropout() -> Iterator[Finding]:
    """Dropout goes past ReLU, keeps the mean, and is off in evaluation."""
    yield _before_and_after("relu")
    yield _before_and_after("leaky-relu")
    yield _before_and_after("tanh", true=False)
    yield _which_commute()
    yield _same_draws()
    yield _values()
    yield _share()
    yield _mean()
    yield _linear_mean()
    yield _other_means()
    yield _evaluation()
    yield _geometric_mean()
    yield _penalty()


def _masks(units: int, share: float) -> Tensor:
    """All of them, (2^n, n), in float64."""
    kept = torch.tensor(list(itertools.product((0.0, 1.0), repeat=units)), dtype=torch.float64)
    return kept / (1 - share)


def _chances(units: int, share: float) -> Tensor:
    """The probability of each mask, (2^n,), in the same order."""
    dropped = (_masks(units, share) == 0).sum(1).double()
    return share**dropped * (1 - share) ** (units - dropped)


def _activation(name: str) -> nn.Module:
    return make_activation(CommonParts(activation=name), may_overwrite=False)


def _difference(name: str) -> tuple[float, float]:
    """(how far dropout before the activation is from dropout behind it, of numbers how large) over all masks."""
    activation, x = _activation(name), 2 * drawn(1, UNITS)
    pairs = [(activation(m * x), m * activation(x)) for m in (_masks(UNITS, share) for share in SHARES)]
    return max(apart(*pair) for pair in pairs), float(pairs[-1][1].abs().max())


def _before_and_after(name: str, *, true: bool = True) -> Finding:
    """For the same mask, so what is said of every mask is said of the distributions."""
    error, size = _difference(name)
    one = _activation(name)(torch.tensor([1.0, 2.0], dtype=torch.float64))
    return Finding(
        f"Dropout before and dropout after the activation are equivalent when it is {name}.",
        "S3.30",
        f"Over all {2**UNITS} masks of {UNITS} units and {len(SHARES)} shares the largest difference is {error:.1e}, of "
        f"numbers up to {size:.0f}; with p = 0.5 a unit of 1 that is kept is {one[1]:.4f} with dropout before and "
        f"{2 * one[0]:.4f} with dropout after.",
        error < ROUNDING,
        true,
    )


def _which_commute() -> Finding:
    names = catalog.names("activations")
    x = torch.linspace(-3, 3, 61, dtype=torch.float64)
    homogeneous, commuting = set(), set()
    for name in names:
        activation = _activation(name)
        scaled = max(apart(activation(a * x), a * activation(x)) for a in (0.0, 0.5, 1.5, 4.0))
        if scaled < ROUNDING:
            homogeneous.add(name)
        if _difference(name)[0] < ROUNDING:
            commuting.add(name)
    return Finding(
        "Dropout before and after the activation are equivalent when it is nonnegative homogeneous, f(ax) = a f(x) "
        "for a >= 0.",
        "S3.30",
        f"Of {len(names)} activations ({', '.join(names)}) those with f(ax) = a f(x) are {_listed(homogeneous)}, and "
        f"those that dropout can change places with are {_listed(commuting)}.",
        homogeneous == commuting,
    )


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _same_draws() -> Finding:
    """torch's own layers, with the same random numbers on both sides."""
    x, wrong = drawn(2, 100, 100), []
    for name, share in itertools.product(HOMOGENEOUS, SHARES):
        layer, activation = make_dropout(CommonParts(dropout=share)).train(), _activation(name)
        with seeded(3):
            before = activation(layer(x))
        with seeded(3):
            after = layer(activation(x))
        if not apart(before, after) < ROUNDING:
            wrong.append((name, share))
    return Finding(
        "The layers Dropout-ReLU and ReLU-Dropout of a network, and those with leaky ReLU, compute the same.",
        "S3.30",
        f"With equal random numbers, 10,000 units and shares of {_said(SHARES)}, they differ in {len(wrong)} of "
        f"{len(SHARES) * len(HOMOGENEOUS)} cases.",
        not wrong,
    )


def _said(shares: tuple[float, ...]) -> str:
    return ", ".join(f"{share:g}" for share in shares)


def _dropped(share: float) -> tuple[Tensor, Tensor]:
    """Units without a zero among them, and what the layer of the networks makes of them in training."""
    h = drawn(4, DRAWS).abs() + 0.1
    with seeded(5):
        result: Tensor = make_dropout(CommonParts(dropout=share)).train()(h)
    return h, result


def _values() -> Finding:
    errors, count = [], 0
    for share in SHARES:
        h, result = _dropped(share)
        kept = result != 0
        count += int(kept.sum())
        errors.append(apart(result[kept], h[kept] / (1 - share)))
    return Finding(
        "Dropout sets h_j to 0, or else to h_j / (1 - p).",
        "S3.27",
        f"Of {len(SHARES) * DRAWS:,} units that went through the layer {count:,} are not 0, and these differ from "
        f"h / (1 - p) by at most {max(errors):.1e}.",
        max(errors) < ROUNDING,
    )


def _share() -> Finding:
    """Within five deviations: a right layer is called wrong once in half a million times, and here never."""
    far = []
    for share in SHARES:
        zeros = int((_dropped(share)[1] == 0).sum())
        far.append((zeros - share * DRAWS) / (share * (1 - share) * DRAWS) ** 0.5)
    worst = max(far, key=abs)
    return Finding(
        "Each unit is dropped with probability p.",
        "S3.27",
        f"Of {DRAWS:,} units, for p of {_said(SHARES)}, the number of zeros is at most {abs(worst):.1f} standard "
        "deviations from p n.",
        abs(worst) < 5,
    )


def _mean() -> Finding:
    h = [Fraction(k, 7) for k in (-9, -2, 0, 3, 5)]
    wrong, cases = 0, 0
    for p in (Fraction(1, 10), Fraction(1, 3), Fraction(1, 2), Fraction(9, 10)):
        total = [Fraction(0)] * len(h)
        for kept in itertools.product((0, 1), repeat=len(h)):
            chance = (1 - p) ** sum(kept) * p ** (len(h) - sum(kept))
            total = [t + chance * k * x / (1 - p) for t, k, x in zip(total, kept, h, strict=True)]
        wrong += sum(t != x for t, x in zip(total, h, strict=True))
        cases += len(h)
    return Finding(
        "h' is defined so that E[h'] = h.",
        "S3.27",
        f"As fractions, the sum over all {2 ** len(h)} masks equals h in {cases - wrong} of {cases} units and shares.",
        not wrong,
    )


def _linear_mean() -> Finding:
    h, weight, bias = drawn(6, UNITS), drawn(7, 3, UNITS), drawn(8, 3)
    errors = [
        apart(_chances(UNITS, p) @ ((_masks(UNITS, p) * h) @ weight.T + bias), weight @ h + bias)
        for p in SHARES
    ]
    return Finding(
        "The mean of a linear layer's outputs over the masks is its output without dropout.",
        "S3.27, S3.31",
        f"Over all {2**UNITS} masks and {len(SHARES)} shares the largest difference is {max(errors):.1e}.",
        max(errors) < ROUNDING,
    )


def _other_means() -> Finding:
    h, weight = torch.ones(2, dtype=torch.float64), torch.tensor([1.0, -1.0], dtype=torch.float64)
    mean = float(_chances(2, 0.5) @ ((_masks(2, 0.5) * h) @ weight).relu())
    without = float((weight @ h).relu())
    return Finding(
        "The output of a network in evaluation is the mean of its outputs over the masks.",
        "S3.28, S3.31",
        f"For ReLU(h1 - h2) with h = (1, 1) and p = 0.5 the mean over the 4 masks is {mean:g}, and in evaluation the "
        f"output is {without:g}.",
        abs(mean - without) < ROUNDING,
        true=False,
    )


def _evaluation() -> Finding:
    x = drawn(9, 1000)
    network = nn.Sequential(*(make_dropout(CommonParts(dropout=share)) for share in SHARES))
    with seeded(10):
        changed = [int((network.train(mode)(x) != x).sum()) for mode in (True, False)]
    return Finding(
        "train() and eval() switch dropout on and off; off it is the identity.",
        "S3.28",
        f"Of 1,000 numbers that pass {len(SHARES)} layers, {changed[0]} change in training and {changed[1]} in "
        "evaluation.",
        changed[0] > 0 and changed[1] == 0,
    )


def _geometric_mean() -> Finding:
    h, weight, bias = drawn(11, UNITS), drawn(12, 4, UNITS), drawn(13, 4)
    errors = []
    for p in SHARES:
        logs = ((_masks(UNITS, p) * h) @ weight.T + bias).log_softmax(1)
        ensemble = (_chances(UNITS, p) @ logs).softmax(0)
        errors.append(apart(ensemble, (weight @ h + bias).softmax(0)))
    return Finding(
        "Dropout is an ensemble of 2^K networks that share weights: before a softmax, evaluation gives their "
        "geometric mean.",
        "S3.31",
        f"Over all {2**UNITS} networks, normalised, for {len(SHARES)} shares, probabilities differ by at most "
        f"{max(errors):.1e}.",
        max(errors) < ROUNDING,
    )


def _penalty() -> Finding:
    """For one image h with target y and weights w: E (y - w.(m h))^2 = (y - w.h)^2 + p/(1-p) sum (w_j h_j)^2."""
    h, weight, y = drawn(14, UNITS), drawn(15, UNITS), 0.7
    errors = []
    for p in SHARES:
        expected = _chances(UNITS, p) @ (y - (_masks(UNITS, p) * h) @ weight).square()
        penalised = (y - weight @ h).square() + p / (1 - p) * (weight * h).square().sum()
        errors.append(apart(expected, penalised))
    return Finding(
        "Dropout is equivalent to an L2 penalty: in linear regression to p/(1-p) times the sum of (w_j h_j)^2.",
        "S3.31",
        f"Over all {2**UNITS} masks and {len(SHARES)} shares the mean squared errors differ by at most "
        f"{max(errors):.1e}.",
        max(errors) < ROUNDING,
    )
