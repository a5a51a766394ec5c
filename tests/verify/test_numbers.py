"""Differences by hand, draws by key."""

import math

import torch
from torch import nn

from convscope.verify.numbers import ROUNDING, apart, drawn, experienced


def test_apart_by_hand() -> None:
    assert apart(torch.tensor([1.0, -2.0]), torch.tensor([1.5, 1.0])) == 3.0


def test_apart_is_infinite_where_nothing_can_be_compared() -> None:
    assert apart(torch.zeros(2), torch.zeros(2, 1)) == math.inf
    assert apart(torch.tensor([0.0, math.nan]), torch.zeros(2)) == math.inf


def test_draws_depend_on_their_key_alone() -> None:
    assert torch.equal(drawn(1, 2, 3), drawn(1, 2, 3))
    assert apart(drawn(1, 100), drawn(2, 100)) > 1
    many = drawn(3, 20_000)
    assert many.dtype == torch.float64
    assert abs(many.mean().item()) < 0.03
    assert abs(many.std().item() - 1) < 0.03


# Goes red when a norm keeps the statistics it starts with: it is then the identity but for eps.
def test_an_experienced_norm_is_not_the_identity() -> None:
    x = drawn(4, 8, 3, 2, 2)
    fresh, used = nn.BatchNorm2d(3).double().eval(), experienced(nn.BatchNorm2d(3), 5)
    assert apart(fresh(x), x) < 1e-4
    assert apart(used(x), x) > 0.1 > ROUNDING
    assert not used.training
    assert used.running_var.min() > 0
