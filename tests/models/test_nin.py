"""Network in Network: a block against the same small network on every patch, and counts worked out by hand."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convscope.models.blocks import Parts
from convscope.models.nin import Layer, Width, nin

SMALL = {"classes": 10, "channels": 3, "size": 32}
PLAIN = Parts(norm="none", dropout=0.5)


def test_parameters_by_hand() -> None:
    """X3.4."""
    block1 = (3 * 192 * 25 + 192) + (192 * 160 + 160) + (160 * 96 + 96)  # 14,592 + 30,880 + 15,456
    block2 = (96 * 192 * 25 + 192) + 2 * (192 * 192 + 192)  # 460,992 + 74,112
    block3 = (192 * 192 * 9 + 192) + (192 * 192 + 192) + (192 * 10 + 10)  # 331,968 + 37,056 + 1,930
    assert (block1, block2, block3) == (60_928, 535_104, 370_954)
    assert block1 + block2 + block3 == 966_986
    with torch.device("meta"):
        net = nin(**SMALL)
    assert [sum(p.numel() for p in b.parameters()) for b in (net.block1, net.block2, net.block3)] == [
        block1,
        block2,
        block3,
    ]
    assert not any(isinstance(m, nn.Linear) for m in net.modules())
    assert sum(p.numel() for p in net.parameters()) == 966_986


def test_96_filters_of_1x1_on_192_channels() -> None:
    """S3.40: 96 x 192 + 96."""
    layer = Layer(192, 96, 1, PLAIN)
    assert sum(p.numel() for p in layer.parameters()) == 18_528


@pytest.mark.parametrize("block", ["block1", "block2", "block3"])
def test_a_block_is_one_perceptron_for_every_patch(block: str) -> None:
    """S3.41: f x f, then 1x1, then 1x1, each with its activation, equal three linear layers on each patch."""
    net = nin(classes=5, channels=3, size=8, form=Width(1 / 16)).double()
    layers = getattr(net, block)
    first = layers[0].conv
    side = first.kernel_size[0]
    maps = torch.randn(
        2, first.in_channels, 7, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    patches = F.unfold(maps, side, padding=side // 2).transpose(1, 2)  # (N, P, C f f)
    for layer in layers:
        assert layer.conv.bias is not None
        matrix = layer.conv.weight.flatten(1)
        nn.init.normal_(layer.conv.bias)
        patches = (patches @ matrix.T + layer.conv.bias).clamp(min=0)
    expected = patches.transpose(1, 2).unflatten(2, (7, 6))
    torch.testing.assert_close(layers(maps), expected)


def test_the_pools_round_up() -> None:
    """S3.39: (32 - 3) / 2 + 1 = 15.5 gives 16, then (16 - 3) / 2 + 1 = 7.5 gives 8."""
    net = nin(**SMALL, form=Width(1 / 32)).eval()
    sides: list[int] = []
    for module in (net.pool1, net.pool2):
        module.register_forward_hook(lambda m, inputs, output: sides.append(output.shape[2]))
    net(torch.zeros(1, 3, 32, 32))
    assert sides == [16, 8]


def test_a_logit_is_the_mean_of_the_map_of_its_class() -> None:
    """S3.42."""
    net = nin(**SMALL, form=Width(1 / 16)).double().eval()
    maps: list[torch.Tensor] = []
    net.block3.register_forward_hook(lambda m, inputs, output: maps.append(output))
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits = net(images)
    assert maps[0].shape == (3, 10, 8, 8)
    torch.testing.assert_close(logits, maps[0].sum((2, 3)) / 64)
    assert logits.min() >= 0


def test_dropout_follows_the_pools() -> None:
    """S3.39."""
    net = nin(**SMALL, form=Width(1 / 16))
    assert [name for name, m in net.named_modules() if isinstance(m, nn.Dropout)] == ["drop1", "drop2"]


def test_neither_norm_nor_dropout_touches_the_maps_of_the_classes() -> None:
    net = nin(**SMALL, parts=replace(PLAIN, norm="batch", conv_dropout=0.1), form=Width(1 / 16))
    kinds = [[type(m).__name__ for m in layer.children()] for layer in (*net.block1, *net.block3)]
    assert kinds[:-1] == [["Conv2d", "BatchNorm2d", "ReLU", "Dropout"]] * 5
    assert kinds[-1] == ["Conv2d", "Identity", "ReLU", "Identity"]
    biased = [m.bias is not None for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert biased == [False] * 8 + [True]  # S3.88
