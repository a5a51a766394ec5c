"""Are activations and losses the printed functions, and their gradients the ones derived from them?

Each of the catalog in float64 beside the formula, written out; its gradient by
torch beside the closed form and beside central differences.

    N  images      K  classes      p  softmax of the logits      y  one-hot target
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.core import catalog
from convscope.models import build

from . import Finding
from .numbers import ROUNDING, apart, drawn

STEP = 1e-5
"""Of central differences, whose error is then about 1e-10 of the third derivative."""
NEAR = 1e-8
"""Largest difference between a slope and central differences that is theirs."""

Curve = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Activation:
    """A formula and its derivative."""

    formula: str
    source: str
    value: Curve
    slope: Curve


def _bell(x: Tensor) -> Tensor:
    return (-x * x / 2).exp() / math.sqrt(2 * math.pi)


def _share_below(x: Tensor) -> Tensor:
    """The standard normal distribution function."""
    return (1 + torch.erf(x / math.sqrt(2))) / 2


def _logistic(x: Tensor) -> Tensor:
    return 1 / (1 + (-x).exp())


def _softplus(x: Tensor) -> Tensor:
    return (1 + x.exp()).log()


def _above(x: Tensor) -> Tensor:
    return (x > 0).to(x.dtype)


ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation("max(0, x)", "S4.6", lambda x: x.clamp(min=0), _above),
    "leaky-relu": Activation(
        "max(0, x) + min(0.01 x, 0)",
        "S4.6",
        lambda x: x.clamp(min=0) + (0.01 * x).clamp(max=0),
        lambda x: _above(x) + 0.01 * (1 - _above(x)),
    ),
    "elu": Activation(
        "max(0, x) + min(e^x - 1, 0)",
        "S4.6",
        lambda x: x.clamp(min=0) + (x.exp() - 1).clamp(max=0),
        lambda x: _above(x) + (1 - _above(x)) * x.exp(),
    ),
    "gelu": Activation(
        "x Phi(x)",
        "Hendrycks, Gimpel (2016)",
        lambda x: x * _share_below(x),
        lambda x: _share_below(x) + x * _bell(x),
    ),
    "swish": Activation(
        "x sigmoid(x)",
        "S1.41, S2.17",
        lambda x: x * _logistic(x),
        lambda x: _logistic(x) * (1 + x * (1 - _logistic(x))),
    ),
    "mish": Activation(
        "x tanh(softplus(x))",
        "S2.18",
        lambda x: x * torch.tanh(_softplus(x)),
        lambda x: torch.tanh(_softplus(x)) + x * _logistic(x) * (1 - torch.tanh(_softplus(x)) ** 2),
    ),
    "tanh": Activation(
        "(e^x - e^-x)/(e^x + e^-x)",
        "S3.68",
        lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
        lambda x: 1 / x.cosh() ** 2,
    ),
    "scaled-tanh": Activation(
        "1.7159 tanh(2x/3)",
        "X3.1; LeCun et al. (1998)",
        lambda x: 1.7159 * torch.tanh(2 * x / 3),
        lambda x: 1.7159 * 2 / 3 / (2 * x / 3).cosh() ** 2,
    ),
}
"""By the catalog's name."""


@dataclass(frozen=True)
class Loss:
    """A formula over one image's logits z and shares y, and its gradient in z."""

    formula: str
    gradient: str
    source: str
    value: Callable[[Tensor, Tensor], Tensor]
    """(N, K), (N, K) -> (N,)."""
    slope: Callable[[Tensor, Tensor], Tensor]
    """(N, K), (N, K) -> (N, K)."""


LOSSES: dict[str, Loss] = {
    "cross-entropy": Loss(
        "-sum_k y_k log p_k",
        "p - y",
        "S1.24, S4.3",
        lambda z, y: -(y * (z.exp() / z.exp().sum(1, keepdim=True)).log()).sum(1),
        lambda z, y: z.exp() / z.exp().sum(1, keepdim=True) - y,
    ),
    "mse": Loss(
        "(1/K) sum_k (y_k - z_k)^2",
        "2 (z - y)/K",
        "S4.8, S2.16",
        lambda z, y: ((y - z) ** 2).sum(1) / y.shape[1],
        lambda z, y: 2 * (z - y) / y.shape[1],
    ),
    "bce": Loss(
        "-(1/K) sum_k [y_k log q_k + (1 - y_k) log(1 - q_k)], q = sigmoid(z)",
        "(q - y)/K",
        "S4.8",
        lambda z, y: -(y * _logistic(z).log() + (1 - y) * (1 - _logistic(z)).log()).sum(1) / y.shape[1],
        lambda z, y: (_logistic(z) - y) / y.shape[1],
    ),
    "l1": Loss(
        "(1/K) sum_k |y_k - z_k|",
        "sign(z - y)/K",
        "S4.8, E4.4",
        lambda z, y: (y - z).abs().sum(1) / y.shape[1],
        lambda z, y: (z - y).sign() / y.shape[1],
    ),
}
"""By the catalog's name."""


def functions() -> Iterator[Finding]:
    """Every activation and loss of the catalog, then what the documents say of them."""
    for name in ACTIVATIONS:
        yield _activation(name)
    for name in LOSSES:
        yield _loss(name)
    yield _smoothed_gradient()
    yield _dead_units()
    yield _flattening()
    yield _cancelling()
    yield _l1_sum()
    yield _mse_mean()
    yield from _brackets()
    yield _logits()
    yield _softmax_twice()


def _points() -> Tensor:
    """From -8 to 8, none within 0.005 of zero, where three activations have a kink."""
    return torch.linspace(-8, 8, 1600, dtype=torch.float64)


def _differences(function: Curve, x: Tensor) -> Tensor:
    return (function(x + STEP) - function(x - STEP)) / (2 * STEP)


def computed(name: str, points: Tensor) -> tuple[Tensor, Tensor]:
    """Value and slope of the package's activation at each point, (N,) each."""
    made: nn.Module = catalog.call("activations", name, {})
    x = points.clone().requires_grad_()
    value = made(x * 1)  # those that work in place may not overwrite a leaf
    (slope,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), slope


def _activation(name: str) -> Finding:
    wanted, points = ACTIVATIONS[name], _points()
    made: nn.Module = catalog.call("activations", name, {})
    value, slope = computed(name, points)
    first, second = apart(value, wanted.value(points)), apart(slope, wanted.slope(points))
    third = apart(slope, _differences(lambda at: made(at.clone()), points))
    return Finding(
        f"`{name}` is {wanted.formula}.",
        wanted.source,
        f"At {len(points):,} points from -8 to 8 its value differs by at most {first:.1e} from the formula, its slope by "
        f"{second:.1e} from the formula's derivative and by {third:.0e} from central differences.",
        max(first, second) < ROUNDING and third < NEAR,
    )


def _cases() -> tuple[Tensor, Tensor]:
    """Logits and shares, (40, 5): half of them one-hot, half mixed."""
    y = drawn(2, 40, 5).softmax(1)
    y[::2] = F.one_hot(torch.arange(20) % 5, 5).double()
    return 3 * drawn(1, 40, 5), y


def _loss(name: str) -> Finding:
    wanted = LOSSES[name]
    function = catalog.find("losses", name).load()
    z, y = _cases()
    z.requires_grad_()
    value: Tensor = function(z, y)
    (slope,) = torch.autograd.grad(value.sum(), z)
    at = z.detach()
    first, second = apart(value.detach(), wanted.value(at, y)), apart(slope, wanted.slope(at, y))
    each = [
        (function(at + move, y) - function(at - move, y)) / (2 * STEP)
        for move in STEP * torch.eye(5).double()
    ]
    third = apart(slope, torch.stack(each, dim=1))
    return Finding(
        f"`{name}` of an image is {wanted.formula}, with the gradient {wanted.gradient}.",
        wanted.source,
        f"For {len(at)} images of 5 classes its value differs by at most {first:.1e} from the formula, its gradient by "
        f"{second:.1e} from the derivative and by {third:.0e} from central differences.",
        max(first, second) < ROUNDING and third < NEAR,
    )


def _smoothed_gradient() -> Finding:
    share, (z, y) = 0.1, _cases()
    z.requires_grad_()
    value = catalog.find("losses", "cross-entropy").load()(z, y, smoothing=share)
    (slope,) = torch.autograd.grad(value.sum(), z)
    at = z.detach()
    off = apart(slope, at.softmax(1) - ((1 - share) * y + share / 5))
    return Finding(
        "With labels smoothed by s the gradient of the cross-entropy is p - ((1 - s) y + s/K).",
        "S1.24; Szegedy et al. (2016)",
        f"With s = {share} it differs by at most {off:.1e}.",
        off < ROUNDING,
    )


# What is said of activations ---------------------------------------------------------------------------------------


def _dead_units() -> Finding:
    below = torch.tensor([-3.0], dtype=torch.float64)
    slopes = {name: float(computed(name, below)[1]) for name in ("relu", "leaky-relu", "elu")}
    return Finding(
        "Below zero ReLU lets no gradient through, so a unit that is always below cannot recover; leaky ReLU and ELU let "
        "some through.",
        "S4.6",
        f"At -3 the slopes are {slopes['relu']:g}, {slopes['leaky-relu']:g} and {slopes['elu']:.4f}.",
        slopes["relu"] == 0 and slopes["leaky-relu"] > 0 and slopes["elu"] > 0,
    )


def _flattening() -> Finding:
    far, further = (
        catalog.call("activations", "elu", {})(torch.tensor([x]).double()) for x in (-10.0, -1000.0)
    )
    leaky = catalog.call("activations", "leaky-relu", {})(torch.tensor([-1000.0]).double())
    return Finding(
        "ELU flattens out towards very negative values, where leaky ReLU goes on falling.",
        "S4.6",
        f"ELU is {float(far):.5f} at -10 and {float(further):.5f} at -1,000, leaky ReLU {float(leaky):g} there.",
        abs(float(far) + 1) < 1e-4 and abs(float(further) + 1) < 1e-9 and float(leaky) < -9,
    )


def _cancelling() -> Finding:
    values = -drawn(3, 2, 10_000).abs()
    total = values.sum(0)
    cancelled = int((total.abs() < values.abs().amax(0)).sum())
    return Finding(
        "Without ReLU two negative values can cancel each other.",
        "S4.6 as printed, E4.9",
        f"Of 10,000 pairs of negative values {cancelled} have a sum nearer to zero than the larger of the two: they add "
        "up, as -1 and -2 to -3.",
        cancelled > 0,
        true=False,
    )


# What is said of losses --------------------------------------------------------------------------------------------


def _l1_sum() -> Finding:
    z, y = _cases()
    printed, made = float((y - z).abs().sum()), float(nn.L1Loss()(z, y))
    return Finding(
        "PyTorch's L1Loss is the sum of |y_true - y_pred|.",
        "S4.8 as printed, E4.4",
        f"Of {z.numel()} numbers the sum is {printed:.3f} and L1Loss {made:.3f}, {printed / made:.0f} times less: it is "
        "the mean.",
        abs(printed - made) < ROUNDING,
        true=False,
    )


def _mse_mean() -> Finding:
    z, y = _cases()
    off = abs(float(((y - z) ** 2).sum() / z.numel()) - float(nn.MSELoss()(z, y)))
    return Finding(
        "PyTorch's MSELoss is (1/n) times the sum of (y_true - y_pred)^2.",
        "S4.8",
        f"Of {z.numel()} numbers the two differ by {off:.1e}.",
        off < ROUNDING,
    )


def _brackets() -> Iterator[Finding]:
    """The formula as it stands: the minus and the sum reach the first term only."""
    q, y = _logistic(drawn(4, 30)), (drawn(5, 30) > 0).double()
    printed = -(y * q.log()).sum() / 30 + (1 - y) * (1 - q).log()
    right = -(y * q.log() + (1 - y) * (1 - q).log()).sum() / 30
    made = nn.BCELoss()(q, y)
    off = float((printed - made).abs().max())
    yield Finding(
        "BCELoss is -(1/n) sum y log p + (1 - y) log(1 - p), read as it is printed.",
        "S4.8 as printed, E4.4",
        f"Without brackets the minus misses the second term: the printed value is off by up to {off:.3f} where the loss "
        f"is {float(made):.3f}.",
        off < ROUNDING,
        true=False,
    )
    gap = abs(float(right - made))
    yield Finding(
        "BCELoss is -(1/n) sum [y log p + (1 - y) log(1 - p)].",
        "S4.8, E4.4",
        f"With brackets it differs from PyTorch's by {gap:.1e}.",
        gap < ROUNDING,
    )


def _logits() -> Finding:
    with torch.no_grad():
        output = build("simplenn", classes=10, channels=3, size=32).double()(drawn(6, 20, 3, 32, 32))
    off, low = float((output.sum(1) - 1).abs().min()), float(output.min())
    return Finding(
        "What SimpleNN puts out is a vector of ten softmax outputs.",
        "S1.19 as printed, E1.7",
        f"For 20 images no row adds up to 1 (the nearest is {off:.2f} away) and the smallest output is {low:.3f}: they "
        "are logits.",
        off < 1e-3 and low >= 0,
        true=False,
    )


def _softmax_twice() -> Finding:
    """Probabilities fed to a loss that expects logits."""
    certain = torch.eye(10, dtype=torch.float64)
    best = float(F.cross_entropy(certain, torch.arange(10)))
    wanted = math.log(1 + 9 / math.e)
    right = float(F.cross_entropy(60 * certain, torch.arange(10)))
    others = float(F.cross_entropy((5 * drawn(7, 1000, 10)).softmax(1), torch.arange(1000) % 10))
    return Finding(
        "Probabilities in place of logits keep the cross-entropy above ln(1 + (K - 1)/e), however right they are.",
        "E1.7",
        f"For ten classes it is {best:.4f} at certain and right probabilities ({wanted:.4f} by the formula), "
        f"{others:.4f} at arbitrary ones, and {right:.1e} at logits that say the same.",
        abs(best - wanted) < ROUNDING and others > best and right < 1e-20,
    )
