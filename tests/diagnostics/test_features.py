"""Blocks by a rule, maps by hand."""

import numpy as np
import pytest
import torch
from small import Residual, conv1x1, linear, noise, subject_on
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.core.errors import ConfigError
from convscope.diagnostics.features import blocks_of, features
from convscope.models import build


def names(net: nn.Module, channels: int = 3, size: int = 32) -> list[str]:
    return list(blocks_of(net.eval(), torch.zeros(1, channels, size, size)))


class Functional(nn.Module):
    """What most tutorials write."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.pool, self.fc = nn.MaxPool2d(2), nn.Linear(36, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        logits: Tensor = self.fc(F.relu(self.pool(self.conv2(x))).flatten(1))
        return logits


def test_every_residual_block_and_the_stem() -> None:
    stages = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in (0, 1, 2)]
    assert names(build("resnet20", classes=3, width=4)) == ["act1", *stages]


def test_convolutions_with_what_follows_them() -> None:
    assert names(build("lenet5", classes=3, channels=1), channels=1) == ["act1", "act3"]
    assert names(Functional(), size=18) == ["conv1", "conv2"]
    assert names(Residual(in_place=True, channels=3)) == ["act1", "act2"]
    row = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3))
    assert names(row) == ["2", "4"]


def test_one_part_alone_is_opened() -> None:
    wrapped = nn.Sequential(Functional())
    assert names(wrapped, size=18) == ["0.conv1", "0.conv2"]


def test_a_network_without_maps_is_refused() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    with pytest.raises(ConfigError) as caught:
        names(net, size=2)
    assert str(caught.value) == (
        "No part of Sequential is a block or a convolution with a map of more than one pixel, so there are no maps "
        "to show."
    )


def test_maps_and_their_order_by_hand() -> None:
    # Channel 1 is three times the image, channel 2 constant, channel 0 the image itself; the ReLU is in place.
    conv = nn.Conv2d(1, 3, 1)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, 3, 0]).view(3, 1, 1, 1))
        conv.bias.copy_(torch.tensor([0.0, 0, 5]))  # type: ignore[union-attr]
    half = nn.Conv2d(3, 1, 2, 2, bias=False)
    nn.init.constant_(half.weight, -1.0)
    net = nn.Sequential(conv, half, nn.ReLU(inplace=True), nn.Flatten(), linear([[1]] * 3))
    found = features(subject=subject_on(net, [[[[1, 2], [3, 4]]]] * 2), positions=(1,), channels=4)
    assert found.blocks == ("0",)
    assert found.shapes == ((3, 2, 2),)
    assert found.channels.tolist() == [[1, 0, 2, -1]]
    assert found.maps[0, 0, :3].tolist() == [[[3, 6], [9, 12]], [[1, 2], [3, 4]], [[5, 5], [5, 5]]]
    assert np.isnan(found.maps[0, 0, 3]).all()
    np.testing.assert_allclose(found.means[0, 0], [[3, 13 / 3], [17 / 3, 7]], rtol=1e-6)
    assert found.labels == ("bee",)
    assert found.pixels.tolist() == [[[[1, 2], [3, 4]]]]


def test_smaller_maps_lie_in_the_corner() -> None:
    net = nn.Sequential(conv1x1(1.0), nn.MaxPool2d(2), conv1x1(2.0), nn.Flatten(), linear([[1] * 4] * 3))
    found = features(subject=subject_on(net, noise(2, size=4)), channels=1)
    assert found.maps.shape == (1, 2, 1, 4, 4)
    assert np.isnan(found.maps[0, 1, 0]).sum() == 12
    assert not np.isnan(found.maps[0, 1, 0, :2, :2]).any()


def test_likeness_is_one_for_the_image_and_its_negative_and_less_for_another_image() -> None:
    net = nn.Sequential(conv1x1(-2.0), nn.Flatten(), linear([[1] * 36] * 3))
    pixels = noise(3)
    found = features(subject=subject_on(net, pixels))
    assert found.likeness == pytest.approx((1.0,), abs=1e-6)
    flat = pixels.flatten(1).numpy().astype(float)
    other = np.mean([abs(np.corrcoef(flat[i], flat[i - 1])[0, 1]) for i in range(3)])
    assert found.chance == pytest.approx((other,), abs=1e-6)
    assert found.sentence == (
        "toy on toys: of 1 blocks, the most similar map correlates 1.00 with its image after 0 (with another image "
        f"{other:.2f}) and 1.00 after 0 ({other:.2f}); mean over 3 images of val."
    )
