"""Clipping and decoupled decay, which come before any optimizer's step."""

import pytest
import torch
from torch import nn

from convscope.core.config import Choice, Recipe
from convscope.train import optim


def trained(recipe: Recipe, steps: int = 5) -> nn.Linear:
    """A small regression, some steps."""
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    inputs, wanted = torch.randn(8, 4), torch.randn(8, 3)
    optimizer = optim.build(recipe, optim.groups(model, recipe))
    for _ in range(steps):
        optimizer.zero_grad()
        (model(inputs) - wanted).square().sum().backward()
        optimizer.step()
    return model


def theirs(optimizer: type[torch.optim.Optimizer], clip: float | None = None, **options: float) -> nn.Linear:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    inputs, wanted = torch.randn(8, 4), torch.randn(8, 3)
    made = optimizer(model.parameters(), **options)  # type: ignore[call-arg]
    for _ in range(5):
        made.zero_grad()
        (model(inputs) - wanted).square().sum().backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        made.step()
    return model


def values(model: nn.Linear) -> tuple[float, float]:
    """Weight and bias of a network of one number each."""
    return float(model.weight.detach()), float(model.bias.detach())


def test_a_long_gradient_is_scaled_to_the_norm() -> None:
    """By hand: (3, 4) has norm 5; at 2.5 half of it is left; biases and weights count together."""
    recipe = Recipe(
        clip=2.5, lr=1.0, weight_decay=0.0, optimizer=Choice(name="sgd", options={"momentum": 0.0})
    )
    model = nn.Linear(1, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    optimizer = optim.build(recipe, optim.groups(model, recipe))
    model.weight.grad, model.bias.grad = torch.tensor([[3.0]]), torch.tensor([4.0])
    optimizer.step()
    assert values(model) == pytest.approx((-1.5, -2.0), rel=1e-5)
    model.weight.grad, model.bias.grad = torch.tensor([[0.3]]), torch.tensor([0.4])
    optimizer.step()  # a short one is left alone
    assert values(model) == pytest.approx((-1.8, -2.4), rel=1e-5)


def test_clipping_as_in_a_loop_of_ones_own() -> None:
    recipe = Recipe(clip=1.0, lr=0.01, weight_decay=0.0, optimizer=Choice(name="adam"))
    ours = trained(recipe)
    other = theirs(torch.optim.Adam, clip=1.0, lr=0.01)
    assert torch.allclose(ours.weight, other.weight, atol=1e-6)
    without = trained(recipe.model_copy(update={"clip": 0.0}))
    assert not torch.allclose(ours.weight, without.weight, atol=1e-6)


def test_decoupled_decay_makes_adamw_of_adam() -> None:
    recipe = Recipe(decoupled=True, lr=0.01, weight_decay=0.3, decay="all", optimizer=Choice(name="adam"))
    ours, other = trained(recipe), theirs(torch.optim.AdamW, lr=0.01, weight_decay=0.3)
    assert torch.allclose(ours.weight, other.weight, atol=1e-6)
    assert torch.allclose(ours.bias, other.bias, atol=1e-6)
    coupled = trained(recipe.model_copy(update={"decoupled": False}))
    assert not torch.allclose(coupled.weight, ours.weight, atol=1e-4)


def test_decoupled_decay_of_plain_descent_by_hand() -> None:
    """weight <- (1 - 0.1 x 0.5) 2 - 0.1 x 3 = 1.6; the bias does not decay: 1 - 0.1 x 4."""
    options = {"momentum": 0.0}
    recipe = Recipe(decoupled=True, lr=0.1, weight_decay=0.5, optimizer=Choice(name="sgd", options=options))
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, 2.0)
    nn.init.ones_(model.bias)
    optimizer = optim.build(recipe, optim.groups(model, recipe))
    model.weight.grad, model.bias.grad = torch.tensor([[3.0]]), torch.tensor([4.0])
    optimizer.step()
    assert values(model) == pytest.approx((1.6, 0.6), rel=1e-6)
