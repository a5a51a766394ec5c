"""Shapes and counts of the assignment, by hand; every image too small for it is refused by layer."""

import pytest
import torch
from torch import nn

from convscope.core.errors import ConfigError
from convscope.models import build, summarise


def test_shapes_of_the_assignment() -> None:
    """S1.16."""
    shapes = {row.name: row.output for row in summarise(build("simplenn", classes=10), (3, 32, 32)).rows}
    assert shapes["conv1"] == (8, 28, 28)
    assert shapes["pool1"] == (8, 14, 14)
    assert shapes["conv2"] == (16, 12, 12)
    assert shapes["pool2"] == (16, 6, 6)
    assert [shapes[name] for name in ("fc1", "fc2", "fc3")] == [(120,), (84,), (10,)]


def test_weights_of_the_assignment() -> None:
    """S1.17."""
    net = build("simplenn", classes=10)
    weights = {key: p.numel() for key, p in net.named_parameters() if key.endswith("weight")}
    assert weights == {
        "conv1.weight": 3 * 8 * 5 * 5,
        "conv2.weight": 8 * 16 * 3 * 3,
        "fc1.weight": 16 * 6 * 6 * 120,
        "fc2.weight": 120 * 84,
        "fc3.weight": 84 * 10,
    }
    assert list(weights.values()) == [600, 1152, 69120, 10080, 840]


@pytest.mark.parametrize(("norm", "parameters"), [("none", 82_030), ("batch", 82_078)])
def test_parameters_with_and_without_norms(norm: str, parameters: int) -> None:
    """S1.18."""
    net = build("simplenn", classes=10, norm=norm)
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_the_network_is_what_the_assignment_says() -> None:
    """The same weights in a Sequential written from S1.11-15."""
    net = build("simplenn", classes=10, seed=2).eval()
    theirs = nn.Sequential(
        *(nn.Conv2d(3, 8, 5), nn.ReLU(), nn.MaxPool2d(2, 2)),
        *(nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2, 2)),
        *(nn.Flatten(), nn.Linear(576, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )
    theirs.load_state_dict(dict(zip(theirs.state_dict(), net.state_dict().values(), strict=True)))
    images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(net(images), theirs(images))


def test_a_norm_sits_between_convolution_and_activation() -> None:
    net = build("simplenn", classes=10, norm="batch").train()
    seen: list[torch.Tensor] = []
    net.act1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    net(torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(seen[0].mean((0, 2, 3)), torch.zeros(8), atol=1e-5, rtol=0)


def test_dropout_acts_on_the_inputs_of_fc2_and_fc3_only() -> None:
    # tanh: no activation is exactly zero by itself.
    net = build("simplenn", classes=10, activation="tanh", dropout=0.5).train()
    zeros: dict[str, float] = {}

    def count(name: str):
        return lambda module, inputs: zeros.update({name: (inputs[0] == 0).float().mean().item()})

    for name in ("conv1", "conv2", "fc1", "fc2", "fc3"):
        net.get_submodule(name).register_forward_pre_hook(count(name))
    with torch.random.fork_rng(devices=[]):
        net(torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert [zeros[name] for name in ("conv1", "conv2", "fc1")] == [0, 0, 0]
    assert zeros["fc2"] == pytest.approx(0.5, abs=0.05)
    assert zeros["fc3"] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("size", "layer", "window", "left"),
    [
        (1, "conv1", 5, 1),
        (4, "conv1", 5, 4),
        (5, "pool1", 2, 1),
        (6, "conv2", 3, 1),
        (9, "conv2", 3, 2),
        (10, "pool2", 2, 1),
        (11, "pool2", 2, 1),
    ],
)
def test_images_too_small_are_refused_with_the_layer(size: int, layer: str, window: int, left: int) -> None:
    with pytest.raises(ConfigError) as caught:
        build("simplenn", classes=10, size=size)
    assert str(caught.value) == (
        f"simplenn cannot take {size}x{size} images: {layer} needs at least {window}x{window} pixels and "
        f"gets {left}x{left}. The smallest images that work are 12x12."
    )


@pytest.mark.parametrize("size", [12, 13, 14, 15, 28, 33, 64])
@pytest.mark.parametrize("channels", [1, 4])
def test_any_other_size_and_number_of_channels_works(size: int, channels: int) -> None:
    net = build("simplenn", classes=7, channels=channels, size=size)
    assert net(torch.zeros(2, channels, size, size)).shape == (2, 7)
