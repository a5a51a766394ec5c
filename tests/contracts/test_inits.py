"""What every initialisation of the catalog promises, on every model; new ones of both are tested here."""

import functools
import typing
from typing import Any

import pytest
import torch
from cases import TWINS, Case, smallest
from torch import Tensor, nn

from convscope.core import catalog
from convscope.models.init import Fans
from convscope.models.residual import ResNet

NAMES = catalog.names("inits")
# What is drawn from nothing has no other draw; what leaves things alone promises nothing about biases.
NOT_DRAWN = ("dirac",)
LEFT_ALONE = ("torch",)
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "lenet5, original": ("lenet5", {"version": "original"}),
    "mlp, norms": ("mlp", {"hidden": 3, "norm": "batch"}),
    "mlp, fixed": ("mlp", {"fixed": True}),
    "resnet20, no norm": ("resnet20", {"norm": "none", "shortcut": "B"}),
}
CASES = {name: (name, {}) for name in catalog.names("models") if not TWINS.fullmatch(name)} | FORMS
# Every kind of layer that any network has is in one of these.
FAST = (
    "simplenn",
    "lenet5",
    "logistic",
    "mlp",
    "resnet20",
    "resnext29",
    "se-resnet20",
    "googlenet-cifar",
    "nin",
    *FORMS,
)
MODELS = [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in CASES]


@functools.cache
def small_case(case: str) -> Case:
    name, options = CASES[case]
    return smallest(name, **options)


@pytest.fixture(params=NAMES)
def init(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def made(model: str, init: str, seed: int = 0) -> nn.Module:
    case = small_case(model)
    return case._replace(options={**case.options, "init": init}).build(seed)


def layers(net: nn.Module) -> dict[str, Any]:
    """All that connects inputs with outputs, by name."""
    return {name: m for name, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear | Fans)}


def test_the_seed_decides_the_weights(model: str, init: str) -> None:
    first, again, other = (made(model, init, seed) for seed in (0, 0, 1))
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    if init not in NOT_DRAWN:
        ours, theirs = layers(first), layers(other)
        assert ours
        assert not any(torch.equal(ours[name].weight, theirs[name].weight) for name in ours)


def test_biases_are_zero_unless_the_frameworks_are_asked_for(model: str, init: str) -> None:
    net, plain = made(model, init), layers(made(model, "torch"))
    # Under Kaiming the classifier of a residual network stays as the framework drew it: no ReLU follows.
    exempt = {"fc"} if init == "kaiming" and isinstance(net, ResNet) else set()
    found = {
        name: layer for name, layer in layers(net).items() if layer.bias is not None and name not in exempt
    }
    for name, layer in found.items():
        if init in LEFT_ALONE:
            assert torch.equal(layer.bias, plain[name].bias)
        else:
            assert not layer.bias.any()
    if init not in LEFT_ALONE:
        kept = layers(made(model, f"{init}:biases=torch"))
        assert all(torch.equal(kept[name].bias, plain[name].bias) for name in found)
        assert all(torch.equal(kept[name].weight, layers(net)[name].weight) for name in found)


def test_nothing_but_weights_biases_and_norms_is_changed(model: str, init: str) -> None:
    net, plain = made(model, init), made(model, "torch")
    touched = {f"{name}.{part}" for name in layers(net) for part in ("weight", "bias")}
    before = plain.state_dict()
    others = {key: value for key, value in net.state_dict().items() if key not in touched}
    assert all(torch.equal(value, before[key]) for key, value in others.items())
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            assert set(norm.weight.tolist()) == {1}
            assert set(norm.bias.tolist()) == {0}


def test_the_network_answers_differently_to_different_images(model: str, init: str) -> None:
    """Nothing is dead, and nothing overflows."""
    net = made(model, init).train()
    logits: Tensor = net(small_case(model).images(6))
    assert logits.isfinite().all()
    alive = logits.std(0) > 0
    # In NiN and SqueezeNet an activation follows the last layer too, and a class may start below it.
    assert alive.any() if model in ("nin", "squeezenet") else alive.all()


OPTIONS = [
    (name, key, value)
    for name in NAMES
    for key, option in catalog.options(catalog.find("inits", name)).items()
    if typing.get_origin(option.type) is typing.Literal
    for value in typing.get_args(option.type)
]


@pytest.mark.parametrize(("init", "key", "value"), OPTIONS)
def test_every_value_that_is_listed_is_understood(init: str, key: str, value: str) -> None:
    nets = [made("lenet5, original", text) for text in (init, f"{init}:{key}={value}")]
    same = all(torch.equal(a, b) for a, b in zip(*(net.parameters() for net in nets), strict=True))
    default = catalog.options(catalog.find("inits", init))[key].default
    assert same == (value == default)
