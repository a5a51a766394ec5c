"""Colours against Pillow, and by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from convscope.data.colour import jitter, recoloured

COUNT = 12
ONE, ZERO = np.ones(COUNT), np.zeros(COUNT)


def generator(key: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=key))


def images(channels: int = 3) -> Tensor:
    return torch.from_numpy(generator(9).integers(0, 256, (COUNT, channels, 8, 8), dtype=np.uint8))


@pytest.mark.parametrize(
    ("place", "enhancer"),
    [(0, ImageEnhance.Brightness), (1, ImageEnhance.Contrast), (2, ImageEnhance.Color)],
    ids=["brightness", "contrast", "saturation"],
)
def test_factors_are_pillows(place: int, enhancer: Callable[..., Any]) -> None:
    """To two steps of 255: Pillow rounds greys and means before it uses them."""
    factors = generator(1).uniform(0, 2, COUNT)
    changes = [ONE, ONE, ONE]
    changes[place] = factors
    found = recoloured(images(), *changes, ZERO)
    for image, result, factor in zip(images(), found, factors, strict=True):
        theirs = enhancer(Image.fromarray(image.permute(1, 2, 0).numpy())).enhance(factor)
        assert np.abs(np.asarray(theirs).astype(int) - result.permute(1, 2, 0).numpy()).max() <= 2


def test_a_third_of_a_turn_permutes_the_channels() -> None:
    third = np.full(COUNT, 2 * np.pi / 3)
    assert torch.equal(recoloured(images(), ONE, ONE, ONE, third), images()[:, [2, 0, 1]])
    assert torch.equal(recoloured(images(), ONE, ONE, ONE, -third), images()[:, [1, 2, 0]])


def test_a_turn_keeps_greys_and_the_mean_of_the_channels() -> None:
    turns = generator(1).uniform(-np.pi, np.pi, COUNT)
    grey = images(1).expand(-1, 3, -1, -1)
    assert torch.equal(recoloured(grey, ONE, ONE, ONE, turns), grey)
    pale = images() // 4 + 96  # so that nothing is cut off
    found = recoloured(pale, ONE, ONE, ONE, turns)
    assert (found.float().mean(1) - pale.float().mean(1)).abs().max() <= 0.5 + 1e-3
    assert (found.float() - pale.float()).abs().max() > 10


def test_values_by_hand() -> None:
    """Two pixels, 40 and 80 in one channel: mean grey 60."""
    given = torch.tensor([40, 80], dtype=torch.uint8)[None, None, None]

    def changed(brightness: float, contrast: float) -> list[int]:
        factors = np.array([brightness]), np.array([contrast])
        return recoloured(given, *factors, np.array([0.3]), np.array([1.0])).flatten().tolist()

    assert changed(1, 1) == [40, 80]  # one channel has no saturation and no hue
    assert changed(0.5, 1) == [20, 40]
    assert changed(4, 1) == [160, 255]
    assert changed(1, 0) == [60, 60]
    assert changed(1, 2) == [20, 100]
    assert changed(2, 0.5) == [100, 140]  # 80 and 160, then half as far from 120
    assert changed(1, 4) == [0, 140]
    assert changed(1.01, 1) == [40, 81]  # 40.4 and 80.8, to the nearest


def test_changes_are_made_in_order_and_cut_off_once() -> None:
    """Brighter beyond white, then half as far from the mean: what was beyond comes back."""
    given = torch.tensor([100, 200], dtype=torch.uint8)[None, None, None]
    found = recoloured(given, np.array([2.0]), np.array([0.5]), np.array([1.0]), np.array([0.0]))
    assert found.flatten().tolist() == [250, 255]  # 200 and 400 with mean 300: 250 and 350


def test_jitter_is_its_draws() -> None:
    drawn = generator(3).uniform(-1, 1, (COUNT, 4))
    expected = recoloured(
        images(),
        1 + 0.4 * drawn[:, 0],
        1 + 0.3 * drawn[:, 1],
        1 + 0.2 * drawn[:, 2],
        0.2 * np.pi * drawn[:, 3],
    )
    assert torch.equal(jitter(images(), generator(3), 0.4, 0.3, 0.2, 0.1), expected)


@pytest.mark.parametrize(
    "strengths", [(0.5, 0, 0, 0), (0, 0.5, 0, 0), (0, 0, 0.5, 0), (0, 0, 0, 0.3)], ids=str
)
def test_each_strength_works_alone(strengths: tuple[float, ...]) -> None:
    changed = (jitter(images(), generator(), *strengths) != images()).flatten(1).any(1)
    assert changed.float().mean() > 0.8
    single = jitter(images(1), generator(), *strengths)
    assert torch.equal(single, images(1)) == (strengths[2] + strengths[3] > 0)
