"""Bottlenecks, their early activations and squeeze-and-excitation against slow versions."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.models.blocks import Parts
from convscope.models.residual import ResNet, SqueezeExcitation, Stage, Style

STAGES = [Stage(2, 3, 12, 1), Stage(2, 6, 24, 2)]


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def excited(se: Any, x: Tensor) -> Tensor:
    """Section 3 of the paper with matrices: s = sigmoid(W2 relu(W1 z)), z the means of the maps."""
    if isinstance(se, nn.Identity):
        return x
    z = x.mean((2, 3))
    hidden = (z @ se.fc1.weight[:, :, 0, 0].T + se.fc1.bias).relu()
    return x * torch.sigmoid(hidden @ se.fc2.weight[:, :, 0, 0].T + se.fc2.bias)[:, :, None, None]


def normed(layer: nn.BatchNorm2d, x: Tensor) -> Tensor:
    return nn.functional.batch_norm(x, None, None, layer.weight, layer.bias, training=True)


def slow(net: Any, x: Tensor, version: str) -> Tensor:
    """The network from the papers' drawings, every result in memory of its own."""
    x = normed(net.bn1, net.conv1(x)).relu()
    for i, block in enumerate([*net.layer1, *net.layer2]):
        if version == "2":
            ready = x if i == 0 else normed(block.bn1, x).relu()
            out = normed(block.bn3, block.conv2(normed(block.bn2, block.conv1(ready)).relu())).relu()
            out = excited(block.se, block.conv3(out))
            x = out + (x if x.shape == out.shape else block.downsample[0](ready))
        else:
            out = normed(block.bn2, block.conv2(normed(block.bn1, block.conv1(x)).relu())).relu()
            out = excited(block.se, normed(block.bn3, block.conv3(out)))
            start = x if x.shape == out.shape else normed(block.downsample[1], block.downsample[0](x))
            x = (out + start).relu()
    if version == "2":
        x = normed(net.bn2, x).relu()
    return net.fc(x.mean((2, 3)))


@pytest.mark.parametrize("reduction", [0, 4])
@pytest.mark.parametrize("version", ["1", "1.5", "2"])
def test_bottlenecks_equal_their_slow_version(version: str, reduction: int, rng: torch.Generator) -> None:
    style = Style(Parts(), "B", version, bottleneck=True, reduction=reduction)
    net = ResNet(3, 2, "3x3", 4, STAGES, style).double()
    images = torch.randn(4, 2, 9, 9, generator=rng, dtype=torch.float64)
    weights = list(net.parameters())
    ours, theirs = net(images), slow(net, images, version)
    torch.testing.assert_close(ours, theirs)
    direction = torch.randn(4, 3, generator=rng, dtype=torch.float64)
    for a, b in zip(
        torch.autograd.grad((ours * direction).sum(), weights),
        torch.autograd.grad((theirs * direction).sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_where_versions_halve_the_map() -> None:
    """S3.49: version 1 looks at every fourth pixel with its 1x1 convolution, 1.5 at all of them."""
    strides = {
        version: [
            getattr(
                ResNet(3, 2, "3x3", 4, STAGES, Style(Parts(), "B", version, bottleneck=True)).layer2[0], conv
            ).stride
            for conv in ("conv1", "conv2", "conv3")
        ]
        for version in ("1", "1.5", "2")
    }
    assert strides == {
        "1": [(2, 2), (1, 1), (1, 1)],
        "1.5": [(1, 1), (2, 2), (1, 1)],
        "2": [(1, 1), (2, 2), (1, 1)],
    }


def test_excitation_weighs_each_map_between_nothing_and_all(rng: torch.Generator) -> None:
    """S3.52: with the gate's bias far out, all or nothing passes."""
    se = SqueezeExcitation(8, 4, Parts())
    images = torch.randn(2, 8, 3, 3, generator=rng)
    share = se(images) / images
    assert torch.allclose(share, share.mean((2, 3), keepdim=True).expand_as(share), atol=1e-5)
    assert 0 < share.min() < share.max() < 1
    nn.init.zeros_(se.fc2.weight)
    se.fc2.bias.data = torch.tensor([100.0] * 4 + [-100.0] * 4)
    passed = se(images)
    assert torch.equal(passed[:, :4], images[:, :4])
    assert passed[:, 4:].abs().max() < 1e-30


def test_a_hidden_layer_never_vanishes() -> None:
    assert SqueezeExcitation(8, 16, Parts()).fc1.out_channels == 1
