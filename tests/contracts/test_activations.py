"""Every activation of the catalog, its value and its slope, against closed forms in plain Python."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from convscope.core import catalog

Curve = Callable[[float], float]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def normal(x: float) -> float:
    """The share of a standard normal distribution below x."""
    return math.erfc(-x / math.sqrt(2)) / 2


def bell(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


# Name -> value, slope.
CURVES: dict[str, tuple[Curve, Curve]] = {
    "relu": (lambda x: max(0.0, x), lambda x: float(x > 0)),
    "leaky-relu": (lambda x: max(x, 0.01 * x), lambda x: 1.0 if x > 0 else 0.01),
    "elu": (lambda x: x if x > 0 else math.expm1(x), lambda x: 1.0 if x > 0 else math.exp(x)),
    "gelu": (lambda x: x * normal(x), lambda x: normal(x) + x * bell(x)),
    "swish": (lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x)))),
    "mish": (
        lambda x: x * math.tanh(softplus(x)),
        lambda x: math.tanh(softplus(x)) + x * sigmoid(x) / math.cosh(softplus(x)) ** 2,
    ),
    "tanh": (math.tanh, lambda x: 1 / math.cosh(x) ** 2),
    "scaled-tanh": (
        lambda x: 1.7159 * math.tanh(2 * x / 3),
        lambda x: 1.7159 * 2 / 3 / math.cosh(2 * x / 3) ** 2,
    ),
}
# None at 0, where three of them have a kink; dense where the curved ones bend.
POINTS = [
    sign * x
    for x in (0.001, 0.03, 0.1, 0.25, 0.5, 0.75, 1.0, 1.3, 2.0, 3.0, 4.5, 6.0, 8.0)
    for sign in (-1, 1)
]

every_activation = pytest.mark.parametrize("name", catalog.names("activations"))


def make(name: str) -> nn.Module:
    found = catalog.call("activations", name, {})
    assert isinstance(found, nn.Module)
    return found


def value_and_slope(name: str, points: list[float], dtype: torch.dtype) -> tuple[list[float], list[float]]:
    given = torch.tensor(points, dtype=dtype, requires_grad=True)
    # `* 1`: the activations that work in place may not overwrite a leaf.
    found = make(name)(given * 1)
    (slope,) = torch.autograd.grad(found.sum(), given)
    return found.tolist(), slope.tolist()


def test_every_activation_has_its_curves_here() -> None:
    assert list(CURVES) == catalog.names("activations")


@every_activation
@pytest.mark.parametrize(
    ("dtype", "rel", "rounding"), [(torch.float64, 1e-11, 1e-15), (torch.float32, 1e-5, 1e-6)], ids=str
)
def test_value_and_slope_in_closed_form(name: str, dtype: torch.dtype, rel: float, rounding: float) -> None:
    values, slopes = value_and_slope(name, POINTS, dtype)
    value, slope = CURVES[name]
    assert values == pytest.approx([value(x) for x in POINTS], rel=rel, abs=rounding)
    assert slopes == pytest.approx([slope(x) for x in POINTS], rel=rel, abs=rounding)


@every_activation
def test_far_out_it_is_a_number_and_so_is_its_slope(name: str) -> None:
    """Where exp(x) overflows single precision."""
    for points in ([100.0, 1e4], [-100.0, -1e4]):
        values, slopes = value_and_slope(name, points, torch.float32)
        assert all(map(math.isfinite, values)) and all(map(math.isfinite, slopes))
    # What it is there: the identity or a level above, a level or a hundredth below.
    values, _ = value_and_slope(name, [1e4, -1e4], torch.float32)
    above, below = {
        "tanh": (1, -1), "scaled-tanh": (1.7159, -1.7159), "elu": (1e4, -1), "leaky-relu": (1e4, -100)
    }.get(name, (1e4, 0))  # fmt: skip
    assert values == pytest.approx([above, below], rel=1e-6)


@every_activation
def test_zero_stays_zero(name: str) -> None:
    """So what is padded with zeros stays so."""
    assert value_and_slope(name, [0.0], torch.float32)[0] == [0.0]


@every_activation
def test_every_number_is_treated_alone_and_alike(name: str) -> None:
    given = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    found = make(name)(given.clone())
    again = make(name)(given.flatten().flip(0).clone()).flip(0).view(given.shape)
    assert torch.allclose(found, again, rtol=1e-6, atol=1e-6)
    last = make(name)(given.clone(memory_format=torch.channels_last))
    assert torch.allclose(found, last, rtol=1e-6, atol=1e-6)


@every_activation
def test_it_has_nothing_to_learn(name: str) -> None:
    assert list(make(name).parameters()) == [] and list(make(name).buffers()) == []
