"""What every optimizer of the catalog promises.  A new one is tested here without a new test.

One with options that change its state gets lines in VARIANTS.
"""

import copy
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.core import catalog
from convscope.core.config import Choice, Recipe
from convscope.train import muon, optim

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "sgd": [{"momentum": 0.0}, {"nesterov": True}],
    "muon": [{"fix_norm": False}],
    "adam": [{"beta1": 0.5, "beta2": 0.9}, {"amsgrad": True}],
    "rmsprop": [{"momentum": 0.9}],
}
CASES = [
    pytest.param(Choice(name=name, options=options), id=f"{name} {options or ''}")
    for name in catalog.names("optimizers")
    for options in ({}, *VARIANTS.get(name, []))
]
every_optimizer = pytest.mark.parametrize("choice", CASES)

# A bank of filters, a linear layer and a bias; each is pulled towards a target with curvatures from 0.3 to 3.
SHAPES = {"conv": (4, 2, 3, 3), "fc": (3, 5), "bias": (6,)}


def noise(key: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(key)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def on_the_sphere(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The filters at Frobenius norm sqrt(O), where `fix_norm` keeps them."""
    return {**tensors, "conv": tensors["conv"] * (4**0.5 / tensors["conv"].norm())}


TARGETS = on_the_sphere(noise(1))
CURVATURES = {name: 0.3 + 2.7 * torch.linspace(0, 1, t.numel()).view(t.shape) for name, t in TARGETS.items()}


class Walker:
    """Parameters on their way down a quadratic."""

    def __init__(self, choice: Choice, decay: float = 0.0, lr: float = 0.01) -> None:
        self.parameters = {name: nn.Parameter(tensor) for name, tensor in on_the_sphere(noise(2)).items()}
        recipe = Recipe(optimizer=choice, lr=lr)
        named = list(self.parameters.items())
        self.optimizer = optim.build(
            recipe,
            [
                optim.Group(tuple(n for n, _ in named[:2]), tuple(p for _, p in named[:2]), decay),
                optim.Group((named[2][0],), (named[2][1],), 0.0),
            ],
        )

    def loss(self) -> float:
        """Sum over all of curvature (weight - target)^2 / 2."""
        return sum(
            float((CURVATURES[name] * (p.detach() - TARGETS[name]) ** 2).sum() / 2)
            for name, p in self.parameters.items()
        )

    def steps(self, count: int) -> "Walker":
        for _ in range(count):
            for name, parameter in self.parameters.items():
                parameter.grad = CURVATURES[name] * (parameter.detach() - TARGETS[name])
            self.optimizer.step()
        return self

    def state(self) -> dict[str, dict[str, Any]]:
        """What a checkpoint keeps, by name: whatever is not None."""
        return {
            name: {k: v for k, v in self.optimizer.state[p].items() if v is not None}
            for name, p in self.parameters.items()
        }

    def weights(self) -> dict[str, Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.parameters.items()}


def same(some: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(some[name], other[name]) for name in SHAPES)


@every_optimizer
def test_it_goes_down_a_quadratic(choice: Choice) -> None:
    walker = Walker(choice, lr=0.02)
    before = walker.loss()
    assert walker.steps(400).loss() < 0.02 * before


@every_optimizer
def test_all_it_remembers_is_tensors_in_its_state(choice: Choice) -> None:
    """So a checkpoint can keep it by name, and a new optimizer goes on as if it were the old one."""
    first = Walker(choice, decay=0.1).steps(3)
    kept, weights = copy.deepcopy(first.state()), first.weights()
    assert all(isinstance(value, Tensor) for values in kept.values() for value in values.values())
    wanted = first.steps(2).weights()

    second = Walker(choice, decay=0.1)
    for name, parameter in second.parameters.items():
        parameter.data.copy_(weights[name])
        for key, value in kept[name].items():
            second.optimizer.state[parameter][key] = value
    assert same(second.steps(2).weights(), wanted)

    if any(kept.values()):
        # The state matters: without it the same weights go elsewhere.
        third = Walker(choice, decay=0.1)
        for name, parameter in third.parameters.items():
            parameter.data.copy_(weights[name])
        assert not same(third.steps(2).weights(), wanted)


@every_optimizer
def test_torchs_own_way_to_keep_the_state_works_too(choice: Choice) -> None:
    first, second = Walker(choice).steps(3), Walker(choice)
    second.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    for name, parameter in second.parameters.items():
        parameter.data.copy_(first.parameters[name].data)
    assert same(first.steps(2).weights(), second.steps(2).weights())


@every_optimizer
def test_decay_shrinks_the_group_that_decays_and_no_other(choice: Choice) -> None:
    """Where the gradient is zero, nothing else moves a weight."""
    walker = Walker(choice, decay=0.1, lr=1e-4)
    before = walker.weights()
    for parameter in walker.parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    walker.optimizer.step()
    after = walker.weights()
    assert torch.equal(after["bias"], before["bias"])
    kept_long = choice.name == "muon" and choice.options.get("fix_norm", True)
    for name in ("fc",) if kept_long else ("fc", "conv"):
        assert (after[name].abs() < before[name].abs()).float().mean() > 0.99, name
        assert after[name].norm() < before[name].norm()


@every_optimizer
def test_no_decay_and_no_gradient_is_no_step(choice: Choice) -> None:
    walker = Walker(choice)
    before = walker.weights()
    for parameter in walker.parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    walker.optimizer.step()
    # Muon brings filters to their norm even then, which they have to rounding.
    assert all(torch.allclose(walker.weights()[name], before[name], rtol=1e-6, atol=0) for name in SHAPES)


@every_optimizer
def test_a_rate_of_zero_is_no_step(choice: Choice) -> None:
    walker = Walker(choice, decay=0.1)
    before = walker.weights()
    optim.set_rate(walker.optimizer, 0.0)
    walker.steps(3)
    assert all(torch.allclose(walker.weights()[name], before[name], rtol=1e-6, atol=0) for name in SHAPES)


@every_optimizer
def test_the_memory_order_of_filters_changes_nothing(choice: Choice) -> None:
    first, last = Walker(choice, decay=0.1), Walker(choice, decay=0.1)
    conv = last.parameters["conv"]
    conv.data = conv.data.contiguous(memory_format=torch.channels_last)
    found, wanted = last.steps(4).weights(), first.steps(4).weights()
    assert all(torch.allclose(found[name], wanted[name], rtol=1e-5, atol=1e-6) for name in SHAPES)


def test_every_function_of_groups_and_rate_is_in_the_catalog() -> None:
    written = {
        f"{function.__module__}:{name}"
        for module in (optim, muon)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if list(inspect.signature(function).parameters)[:2] == ["groups", "lr"]
    }
    assert written == {item.target for item in catalog.items("optimizers")}


def test_every_variant_is_of_an_optimizer_that_is_there() -> None:
    assert set(VARIANTS) <= set(catalog.names("optimizers"))


@pytest.mark.parametrize("name", catalog.names("optimizers"))
def test_the_docstring_names_its_source(name: str) -> None:
    assert "Reference:\n" in (catalog.find("optimizers", name).load().__doc__ or "")
