"""A shallower network inside a deeper one: equal logits where blocks are added, equal layers where layers are."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.core.errors import ConfigError
from convscope.models import build
from convscope.models.grow import grow

SHAPE = {"classes": 5, "size": 16}


def moved(network: nn.Module, side: int = 16) -> nn.Module:
    """After steps that changed every weight and statistic."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    for step in range(3):
        x = images(step, side)
        loss = F.cross_entropy(network(x), torch.arange(len(x)) % 5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def images(seed: int, side: int = 16) -> Tensor:
    return torch.randn(8, 3, side, side, generator=torch.Generator().manual_seed(seed))


def pair(shallow: str, deep: str, **options: Any) -> tuple[nn.Module, nn.Module]:
    first, second = (build(name, **SHAPE, seed=seed, **options) for seed, name in enumerate((shallow, deep)))
    return moved(first), second


@pytest.mark.parametrize(
    ("shallow", "deep", "options", "further"),
    [
        # Two more blocks in each of three stages.
        ("resnet20", "resnet32", {"width": 4}, 6),
        ("resnet20", "resnet32", {"width": 4, "shortcut": "B"}, 6),
        ("resnet20", "resnet32", {"width": 4, "version": 2}, 6),
        ("resnet20", "resnet32", {"width": 4, "norm": "none"}, 6),
        ("resnet20", "resnet32", {"width": 4, "version": 2, "norm": "none", "activation": "swish"}, 6),
        # 2, 2, 2, 2 -> 3, 4, 6, 3 (S3.46); the same with bottlenecks, 3, 4, 6, 3 -> 3, 4, 23, 3.
        ("resnet18-cifar", "resnet34-cifar", {"width": 4}, 8),
        ("resnet50-cifar", "resnet101-cifar", {"width": 4}, 17),
        ("se-resnet20", "se-resnet110", {"width": 4}, 45),
    ],
)
def test_further_blocks_start_as_the_identity(
    shallow: str, deep: str, options: dict[str, Any], further: int
) -> None:
    """S3.46: to the bit."""
    first, second = pair(shallow, deep, **options)
    x = images(9)
    with torch.no_grad():
        assert not torch.allclose(second.eval()(x), first(x), atol=1e-3)
        grown = grow(second, first)
        assert torch.equal(second(x), first(x))
    assert len(grown.identities) == further and grown.fresh == []


@pytest.mark.parametrize("options", [{}, {"version": 2}, {"norm": "none"}])
def test_the_further_blocks_learn(options: dict[str, Any]) -> None:
    """A norm of zeros in front of a ReLU would stay zero for ever."""
    first, second = pair("resnet20", "resnet32", width=4, **options)
    grown = grow(second, first)
    before = {name: tensor.clone() for name, tensor in second.state_dict().items()}
    moved(second.train())
    for name in grown.identities:
        last = "bn2" if not options else "conv2"
        for part in ("conv1.weight", f"{last}.weight"):
            assert not torch.equal(second.state_dict()[f"{name}.{part}"], before[f"{name}.{part}"]), part


def test_which_layer_is_zero() -> None:
    """The last norm; in a block that begins with its norms, the last convolution."""
    for options, zero, other in (
        ({}, "bn2.weight", "bn1.weight"),
        ({"version": 2}, "conv2.weight", "bn2.weight"),
    ):
        first, second = pair("resnet20", "resnet32", width=4, **options)
        grow(second, first)
        state = second.state_dict()
        assert not state[f"layer2.3.{zero}"].any() and state[f"layer2.3.{other}"].all()
        # A block that was there before has what it had, its statistics too.
        assert all(torch.equal(state[name], tensor) for name, tensor in first.state_dict().items())


def vgg(stages: list[int], *, norm: bool = False, hidden: int = 6, classes: int = 5) -> nn.Module:
    """Layers by number, as in VGG: stage s has 2 (s + 1) channels."""
    layers: list[nn.Module] = []
    into = 3
    for stage, convolutions in enumerate(stages):
        for _ in range(convolutions):
            layers.append(nn.Conv2d(into, 2 * (stage + 1), 3, padding=1))
            layers += [nn.BatchNorm2d(2 * (stage + 1))] if norm else []
            layers.append(nn.ReLU())
            into = 2 * (stage + 1)
        layers.append(nn.MaxPool2d(2))
    head = nn.Sequential(
        nn.Linear(into * 4 * 4, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, classes)
    )
    return nn.Sequential(nn.Sequential(*layers), nn.Flatten(), head)


def test_layers_go_to_the_same_stage() -> None:
    """S3.38.  1, 2 -> 2, 3: conv relu pool conv relu conv relu pool -> conv relu x 2 pool conv relu x 3 pool."""
    first, second = moved(vgg([1, 2])), vgg([2, 3])
    fresh = {name: tensor.clone() for name, tensor in second.state_dict().items()}
    grown = grow(second, first)
    places = {"0.0": "0.0", "0.5": "0.3", "0.7": "0.5", "2.0": "2.0", "2.3": "2.3"}
    assert grown.copied == list(places) and grown.identities == []
    assert grown.fresh == ["0.2", "0.9"]
    for here, there in places.items():
        for part in ("weight", "bias"):
            assert torch.equal(second.state_dict()[f"{here}.{part}"], first.state_dict()[f"{there}.{part}"])
    for name in grown.fresh:
        assert torch.equal(second.state_dict()[f"{name}.weight"], fresh[f"{name}.weight"])
    assert str(grown) == "5 layers are those of the shallower network; 2 layers start anew (0.2, 0.9)."


def test_a_norm_goes_with_its_layer() -> None:
    """1 -> 2 with norms: the layer at 0 and its norm at 1 are old, those at 3 and 4 new."""
    first, second = moved(vgg([1, 1], norm=True)), vgg([2, 1], norm=True)
    grown = grow(second, first)
    assert grown.copied == ["0.0", "0.1", "0.7", "0.8", "2.0", "2.3"] and grown.fresh == ["0.3", "0.4"]
    assert torch.equal(second.state_dict()["0.8.running_var"], first.state_dict()["0.5.running_var"])


def test_a_linear_layer_of_another_shape_starts_anew() -> None:
    grown = grow(vgg([1, 1], hidden=7), vgg([1, 1]))
    assert grown.copied == ["0.0", "0.3"] and grown.fresh == ["2.0", "2.3"]


DOES_NOT_FIT = "The shallower network does not fit into the deeper one: "


@pytest.mark.parametrize(
    ("deep", "shallow", "sentence"),
    [
        (lambda: vgg([1, 1]), lambda: vgg([1, 2]), "stage 2 of 0 has 2 layers there and 1 here."),
        (lambda: vgg([1, 1, 1]), lambda: vgg([1, 2]), "0 has 2 stages there and 3 here."),
        (
            lambda: vgg([1, 1], norm=True),
            lambda: vgg([1, 1]),
            "only one of them has a norm behind 0.0. Both must be of the same family, with the same options.",
        ),
        (
            lambda: build("resnet20", **SHAPE, width=4),
            lambda: build("resnet32", **SHAPE, width=4),
            "layer1 has 5 blocks there and 3 here.",
        ),
        (
            lambda: build("resnet32", **SHAPE, width=4),
            lambda: build("resnet20", **SHAPE, width=5),
            "conv1 has weight (5, 3, 3, 3) there and weight (4, 3, 3, 3) here. Both must have the same width, "
            "channels and options.",
        ),
        (
            lambda: build("resnet20", **SHAPE),
            lambda: build("lenet5", **SHAPE | {"size": 32}),
            None,
        ),
    ],
)
def test_what_does_not_fit_is_refused(deep: Any, shallow: Any, sentence: str | None) -> None:
    with pytest.raises(ConfigError) as error:
        grow(deep(), shallow())
    if sentence is None:
        assert str(error.value).startswith(f"{DOES_NOT_FIT}only one of them has bn1, c1, c3, ")
    else:
        assert str(error.value) == DOES_NOT_FIT + sentence


@pytest.mark.parametrize(
    "options", [{"activation": "swish"}, {"activation": "leaky-relu"}, {"shortcut": "none"}]
)
def test_a_block_that_cannot_be_the_identity_is_refused(options: dict[str, str]) -> None:
    first, second = (build(name, **SHAPE, width=4, **options) for name in ("resnet20", "resnet32"))
    with pytest.raises(ConfigError) as error:
        grow(second, first)
    assert str(error.value) == (
        "The block layer1.3 cannot start as the identity, so the deeper network would not compute what the shallower "
        "one does. That needs a shortcut and, behind the sum, no activation or one that changes nothing the second "
        "time, such as relu."
    )
