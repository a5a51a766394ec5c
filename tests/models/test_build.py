"""The same seed the same weights, nobody else's dice touched, and every wrong request in a sentence."""

import random
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from convscope.core import catalog
from convscope.core.catalog import Item
from convscope.core.errors import ConfigError, UnknownName
from convscope.models import build
from convscope.models.blocks import Parts, make_activation

OPTIONS = "activation, blocks, conv_dropout, dropout, init, norm, separable, shortcut, version, width"


def test_weights_depend_on_the_seed_alone() -> None:
    def first(seed: int) -> torch.Tensor:
        return build("simplenn", classes=10, seed=seed).conv1.weight

    assert torch.equal(first(7), first(7))
    assert not torch.equal(first(7), first(8))


# A golden value: a change here silently re-means every recorded seed.
def test_the_weights_of_seed_zero_stay_what_they_are() -> None:
    weight = build("resnet20", classes=10).fc.weight
    assert weight[0, :3].tolist() == pytest.approx(GOLDEN, rel=1e-4)


GOLDEN = [-0.0630097, -0.0362257, 0.0823337]


def test_the_callers_dice_are_where_they_were() -> None:
    before = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())  # noqa: NPY002
    build("lenet5", classes=10, version="original", dropout=0.5, init="xavier")
    after = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_a_network_comes_in_training_mode_channels_last_on_the_cpu_in_float32() -> None:
    net = build("resnet20", classes=10)
    assert net.training
    assert net.layer2[0].conv1.weight.stride() == (16 * 9, 1, 48, 16)
    assert {(p.device.type, p.dtype) for p in net.parameters()} == {("cpu", torch.float32)}


def test_an_unknown_model_is_corrected() -> None:
    with pytest.raises(UnknownName) as caught:
        build("resnet21", classes=10)
    assert str(caught.value) == (
        "No model is called 'resnet21'. Did you mean 'resnet32' or 'resnet20'? Known: "
        + ", ".join(sorted(catalog.names("models")))
        + "."
    )


def test_an_unknown_option_is_corrected() -> None:
    with pytest.raises(ConfigError) as caught:
        build("resnet20", classes=10, activaton="relu")
    assert str(caught.value) == (
        f"The model 'resnet20' has no option 'activaton'. Did you mean 'activation'? Options: {OPTIONS}."
    )


def test_options_may_stand_in_the_name() -> None:
    spelt, given = (
        build("resnet20:width=4,shortcut=B", classes=3),
        build("resnet20", classes=3, width=4, shortcut="B"),
    )
    assert all(torch.equal(a, b) for a, b in zip(spelt.parameters(), given.parameters(), strict=True))
    with pytest.raises(ConfigError) as caught:
        build("resnet20:width=4", classes=3, width=8)
    assert str(caught.value) == "The options of 'resnet20' give width twice: give each option once."


@pytest.mark.parametrize("what", ["classes", "channels", "size"])
def test_an_empty_shape_is_refused(what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("lenet5", **{"classes": 10, what: 0})
    assert str(caught.value) == f"The model 'lenet5' needs {what} of at least 1, not 0."


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[..., Any]], None]]:
    """Put a function into the catalog as the model `mine`, from a module of the user's own."""
    module = types.ModuleType("mymodule")
    monkeypatch.setitem(sys.modules, "mymodule", module)

    def add(function: Callable[..., Any]) -> None:
        module.mine = function  # type: ignore[attr-defined]
        catalog.register(Item("models", "mine", "mymodule:mine", "a network of my own"))

    yield add
    catalog._CATALOG["models"].pop("mine", None)


_MINE = Parts(activation="elu")


def mine(*, classes: int, channels: int, size: int, parts: Parts = _MINE, hidden: int = 4) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * size**2, hidden),
        make_activation(parts),
        nn.Linear(hidden, classes),
    )


def test_a_users_own_model(register: Callable[..., None]) -> None:
    register(mine)
    net = build("mine", classes=3, channels=1, size=5, hidden=6, seed=4)
    assert net(torch.zeros(2, 1, 5, 5)).shape == (2, 3)
    assert net[1].out_features == 6
    assert type(net[2]) is nn.ELU
    again = build("mine", classes=3, channels=1, size=5, hidden=6, seed=4)
    assert torch.equal(net[1].weight, again[1].weight)


def test_a_users_own_model_may_need_less(register: Callable[..., None]) -> None:
    register(lambda *, classes: nn.Linear(2, classes))
    assert build("mine", classes=3).out_features == 3


def test_a_default_for_the_number_of_classes_would_win_over_the_data(register: Callable[..., None]) -> None:
    def tempting(classes: int = 10) -> nn.Module:
        return nn.Linear(2, classes)

    register(tempting)
    with pytest.raises(ConfigError) as caught:
        build("mine", classes=3)
    assert str(caught.value) == (
        "The model 'mine' (mymodule:mine) cannot be built: its parameter 'classes' may not have a default. "
        "convscope fills in classes, channels and size; all others are options."
    )


def test_a_parameter_nobody_fills_in(register: Callable[..., None]) -> None:
    def needy(classes: int, depth: int) -> nn.Module:
        return nn.Linear(depth, classes)

    register(needy)
    with pytest.raises(ConfigError) as caught:
        build("mine", classes=3)
    assert str(caught.value) == (
        "The model 'mine' (mymodule:mine) cannot be built: its parameter 'depth' needs a default. "
        "convscope fills in classes, channels and size; all others are options."
    )


def test_a_model_that_is_no_module(register: Callable[..., None]) -> None:
    register(lambda *, classes: [classes])
    with pytest.raises(ConfigError) as caught:
        build("mine", classes=3)
    assert str(caught.value) == ("The model 'mine' (mymodule:mine) must return a torch.nn.Module, not list.")
