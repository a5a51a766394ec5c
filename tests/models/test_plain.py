"""What the networks without shortcuts promise besides the contract: layout, tracing, separable, any size."""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode

from convscope.models.blocks import Separable


class Case(NamedTuple):
    module: str
    function: str
    size: int
    form: dict[str, Any]

    def build(self, size: int | None = None, **parts: object) -> nn.Module:
        """The network, as its function makes it, with some of its parts changed."""
        made: Callable[..., nn.Module] = getattr(
            importlib.import_module(f"convscope.models.{self.module}"), self.function
        )
        defaults = {name: p.default for name, p in inspect.signature(made).parameters.items()}
        return made(
            classes=5,
            channels=3,
            size=size or self.size,
            parts=replace(defaults["parts"], **parts),
            form=replace(defaults["form"], **self.form),
        ).to(memory_format=torch.channels_last)

    def images(self) -> Tensor:
        noise = torch.randn(4, 3, self.size, self.size, generator=torch.Generator().manual_seed(0))
        return noise.to(memory_format=torch.channels_last)


CASES = {
    "alexnet": Case("alexnet", "alexnet", 95, {"width": 1 / 16}),
    "alexnet, two towers": Case("alexnet", "alexnet", 95, {"width": 1 / 16, "towers": 2}),
    "alexnet-cifar": Case("alexnet", "alexnet_cifar", 32, {"width": 1 / 16}),
    "vgg11": Case("vgg", "vgg11", 64, {"width": 1 / 16}),
    "vgg11-cifar": Case("vgg", "vgg11_cifar", 64, {"width": 1 / 16}),
    "vgg13-cifar": Case("vgg", "vgg13_cifar", 32, {"width": 1 / 16}),
    "vgg16-cifar, 11x11": Case("vgg", "vgg16_cifar", 64, {"width": 1 / 16, "kernel": 11}),
    "nin": Case("nin", "nin", 16, {"width": 1 / 16}),
    "squeezenet": Case("squeezenet", "squeezenet", 64, {"width": 1 / 4}),
    "googlenet, paper": Case("googlenet", "googlenet", 64, {"width": 1 / 8, "variant": "paper"}),
    "googlenet, auxiliary": Case("googlenet", "googlenet", 64, {"width": 1 / 8, "auxiliary": True}),
    "googlenet-cifar": Case("googlenet", "googlenet_cifar", 20, {"width": 1 / 8}),
}


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def total(output: Any) -> Tensor:
    """The sum of all logits, those of auxiliary heads too."""
    return (
        sum((x.square().sum() for x in output), torch.zeros(()))
        if isinstance(output, tuple)
        else output.sum()
    )


# Goes red when a fire module has one activation behind both convolutions: each gets a slice as its gradient.
def test_every_map_and_what_each_convolution_learns_from_is_channels_last(case: Case) -> None:
    net, wrong, seen = case.build(conv_dropout=0.1), [], []

    def look(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if output.dim() != 4:
                return
            seen.append(name)
            check(f"{name} forward", output)
            if isinstance(module, nn.Conv2d):
                output.register_hook(lambda gradient: check(f"{name} backward", gradient))

        return hook

    def check(name: str, maps: Tensor) -> None:
        if not maps.is_contiguous(memory_format=torch.channels_last):
            wrong.append(name)

    for name, module in net.named_modules():
        if not list(module.children()):
            module.register_forward_hook(look(name))
    total(net(case.images())).backward()
    assert len(seen) >= 12
    assert wrong == []


class Copies(TorchDispatchMode):
    """Notes every operation that copies a map without computing anything."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001
        name = func.overloadpacket.__name__
        if name in ("clone", "copy_", "_to_copy", "contiguous") and any(
            isinstance(a, Tensor) and a.dim() == 4 for a in args
        ):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


# The linear layers of AlexNet, VGG and an auxiliary head want channel after channel: one copy where maps end.
HEADS = {"alexnet": 1, "alexnet, two towers": 1, "alexnet-cifar": 1, "vgg11": 1, "vgg11-cifar": 1}
HEADS |= {"vgg13-cifar": 1, "vgg16-cifar, 11x11": 1, "googlenet, auxiliary": 2}


@pytest.mark.parametrize("name", list(CASES))
def test_the_forward_pass_copies_nothing_but_what_the_head_flattens(name: str) -> None:
    net, images = CASES[name].build(), CASES[name].images()
    with Copies() as copies:
        net(images)
    assert len(copies.found) == HEADS.get(name, 0)


def test_it_can_be_traced(case: Case) -> None:
    net = case.build().eval()
    traced = fx.symbolic_trace(net)
    images = case.images()
    assert torch.equal(traced(images), net(images))
    again = torch.randn(2, 3, case.size, case.size, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(traced(again), net(again))  # another batch size: nothing was frozen


def test_every_3x3_becomes_separable_and_nothing_else_changes(case: Case) -> None:
    """S1.8."""
    plain, separable = case.build(), case.build(separable=True)
    threes = [
        name
        for name, m in plain.named_modules()
        if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) and m.groups == 1
    ]
    found = [name for name, m in separable.named_modules() if isinstance(m, Separable)]
    assert found == threes
    inside = tuple(f"{name}." for name in threes)
    assert [k for k in separable.state_dict() if not k.startswith(inside)] == [
        k for k in plain.state_dict() if not k.startswith(inside)
    ]
    assert separable.eval()(case.images()).shape == (4, 5)


@pytest.mark.parametrize("size", [1, 2, 7, 31, 33])
def test_it_can_be_constructed_for_any_size(case: Case, size: int) -> None:
    """Whether an image fits is decided by walking through the network, so constructing never fails."""
    with torch.device("meta"):
        net = case.build(size)
    assert all(p.is_meta and p.numel() > 0 for p in net.parameters())
    assert all(m.in_features > 0 for m in net.modules() if isinstance(m, nn.Linear))
