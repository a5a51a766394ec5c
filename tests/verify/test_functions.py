"""The check of activations and losses fails where one has another value or slope; formulas worked by hand."""

import math

import pytest
import torch
from torch import nn

from convscope.core import catalog
from convscope.evaluate import losses
from convscope.models import blocks
from convscope.verify import functions


def test_every_activation_and_loss_of_the_catalog_is_checked() -> None:
    assert list(functions.ACTIVATIONS) == catalog.names("activations")
    assert list(functions.LOSSES) == catalog.names("losses")


def one(number: float) -> torch.Tensor:
    return torch.tensor([number], dtype=torch.float64)


def test_formulas_by_hand() -> None:
    # At ln 2: sigmoid 2/3; softplus ln 3; tanh 3/5; tanh(ln 3) = 4/5.  At -ln 2: sigmoid 1/3, ELU -1/2.
    two = math.log(2)
    value = {name: float(wanted.value(one(two))) for name, wanted in functions.ACTIVATIONS.items()}
    assert value["swish"] == pytest.approx(two * 2 / 3)
    assert value["mish"] == pytest.approx(two * 0.8)
    assert value["tanh"] == pytest.approx(0.6)
    below = {name: float(wanted.value(one(-two))) for name, wanted in functions.ACTIVATIONS.items()}
    assert (below["relu"], below["leaky-relu"], below["elu"]) == pytest.approx((0, -two / 100, -0.5))
    # Logits (0, ln 3): p = (1/4, 3/4), sigmoids 1/2 and 3/4; the second class is right.
    z, y = torch.tensor([[0.0, math.log(3)]]).double(), torch.tensor([[0.0, 1.0]]).double()
    cost = {name: float(wanted.value(z, y)) for name, wanted in functions.LOSSES.items()}
    assert cost["cross-entropy"] == pytest.approx(math.log(4 / 3))
    assert cost["bce"] == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    assert functions.LOSSES["cross-entropy"].slope(z, y).tolist() == [pytest.approx([0.25, -0.25])]
    assert functions.LOSSES["bce"].slope(z, y).tolist() == [pytest.approx([0.25, -0.125])]


@pytest.mark.parametrize("name", functions.ACTIVATIONS)
def test_an_activation_moved_by_a_millionth_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function = catalog.find("activations", name).target.partition(":")[2]
    made = getattr(blocks, function)()

    class Moved(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return made(x) + 1e-6

    assert functions._activation(name).holds
    monkeypatch.setattr(blocks, function, Moved)
    assert not functions._activation(name).holds


def test_a_slope_that_is_not_that_of_the_value_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Detached(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * torch.sigmoid(x).detach()

    monkeypatch.setattr(blocks, "swish", Detached)
    assert not functions._activation("swish").holds


@pytest.mark.parametrize("name", functions.LOSSES)
def test_a_loss_a_millionth_too_large_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function = catalog.find("losses", name).target.partition(":")[2]
    right = getattr(losses, function)
    assert functions._loss(name).holds
    monkeypatch.setattr(losses, function, lambda logits, shares: (1 + 1e-6) * right(logits, shares))
    assert not functions._loss(name).holds


def test_a_smoothing_that_spares_the_true_class_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """s/(K - 1) for the others, as some have it."""
    right = losses.cross_entropy

    def other(logits, shares, smoothing=0.0):
        spread = (1 - smoothing) * shares + smoothing * (1 - shares) / (shares.shape[1] - 1)
        return right(logits, spread)

    assert functions._smoothed_gradient().holds
    monkeypatch.setattr(losses, "cross_entropy", other)
    assert not functions._smoothed_gradient().holds


def test_a_network_with_a_softmax_would_be_found_to_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    right = functions.build
    monkeypatch.setattr(
        functions, "build", lambda *names, **options: nn.Sequential(right(*names, **options), nn.Softmax(1))
    )
    found = functions._logits()
    assert found.holds and not found.as_expected


def test_a_relu_that_lets_gradients_through_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "relu", nn.ELU)
    assert not functions._dead_units().holds
