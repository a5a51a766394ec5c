"""Windows and rotations against SciPy, NumPy and one pixel after the other."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from convscope.data.resample import draw_windows, random_resized_crop, rotate, sampled, turning


def generator(key: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=key))


def images(*shape: int) -> Tensor:
    return torch.from_numpy(generator(9).integers(0, 256, shape, dtype=np.uint8))


def interpolated(image: np.ndarray, y: float, x: float) -> float:
    """A plane at a place between its pixels; beyond its border, the nearest pixel."""
    height, width = image.shape
    total = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            weight = (1 - abs(y - row)) * (1 - abs(x - column))
            total += weight * float(image[min(max(row, 0), height - 1), min(max(column, 0), width - 1)])
    return total


@pytest.mark.parametrize("shape", [(4, 2, 6, 6), (4, 1, 5, 8)])
def test_windows_pixel_by_pixel(shape: tuple[int, ...]) -> None:
    """Against the definition: the window's pixels are the image's at left + (j + 1/2) width / W."""
    given = images(*shape)
    count, channels, height, width = shape
    window = draw_windows(generator(3), count, 0.08, 4 / 3)
    found = random_resized_crop(given, generator(3))
    for i in range(count):
        for row in range(height):
            for column in range(width):
                y = (window.top[i] + (row + 0.5) / height * window.height[i]) * height - 0.5
                x = (window.left[i] + (column + 0.5) / width * window.width[i]) * width - 0.5
                for k in range(channels):
                    expected = interpolated(given[i, k].numpy(), y, x)
                    assert abs(float(found[i, k, row, column]) - expected) <= 0.51


def test_windows_as_drawn_one_after_the_other() -> None:
    """The first of ten that fits, as torchvision draws them; the whole image if none does."""
    drawn = generator(5)
    areas = drawn.uniform(0.5, 1, (300, 10))
    shapes = np.exp(drawn.uniform(-np.log(4), np.log(4), (300, 10)))
    found = draw_windows(generator(5), 300, 0.5, 4)
    whole = 0
    for i in range(300):
        pairs = zip(areas[i], shapes[i], strict=True)
        sizes = [(math.sqrt(area * shape), math.sqrt(area / shape)) for area, shape in pairs]
        fitting = [size for size in sizes if max(size) <= 1]
        whole += not fitting
        assert (found.width[i], found.height[i]) == pytest.approx(fitting[0] if fitting else (1, 1))
    assert 0 < whole < 60


def test_windows_lie_inside_and_keep_to_their_bounds() -> None:
    found = draw_windows(generator(), 4000, 0.2, 1.5)
    assert (found.left >= 0).all() and (found.left + found.width <= 1 + 1e-12).all()
    assert (found.top >= 0).all() and (found.top + found.height <= 1 + 1e-12).all()
    areas, shapes = found.width * found.height, found.width / found.height
    assert areas.min() >= 0.2 - 1e-12 and areas.min() < 0.21
    assert shapes.min() >= 1 / 1.5 - 1e-12 and shapes.max() <= 1.5 + 1e-12
    # Places are uniform in what is left: mean 1/2, deviation 1/sqrt(12 x 4000) = 0.0046.
    assert abs((found.left / (1 - found.width)).mean() - 0.5) < 0.02
    assert abs(np.corrcoef(found.left / (1 - found.width), found.top / (1 - found.height))[0, 1]) < 0.07


def test_a_quarter_of_the_area_is_a_window_of_half_the_side() -> None:
    """By hand: the upper left 2x2 of 4x4, in the middle of whose pixels the result's lie 1/4 apart."""
    given = torch.tensor([[0, 40, 80, 120]] * 4, dtype=torch.uint8)[None, None]
    matrix = np.array([[[0.5, 0, -0.5], [0, 0.5, -0.5]]])
    assert sampled(given, matrix, "border")[0, 0].tolist() == [[0, 10, 30, 50]] * 4


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 4])
def test_quarter_turns_are_numpys(turns: int) -> None:
    given = images(3, 2, 8, 8)
    found = sampled(given, turning(np.full(3, turns * np.pi / 2), 8, 8), "zeros")
    assert np.array_equal(found.numpy(), np.rot90(given.numpy(), turns, axes=(2, 3)))


def test_half_a_turn_of_a_rectangle() -> None:
    given = images(3, 2, 5, 9)
    assert torch.equal(sampled(given, turning(np.full(3, np.pi), 5, 9), "zeros"), given.flip((2, 3)))


@pytest.mark.parametrize(("height", "width"), [(12, 12), (9, 14)])
def test_rotations_are_scipys(height: int, width: int) -> None:
    given = images(20, 1, height, width)
    found = rotate(given, generator(3), 40.0)
    angles = generator(3).uniform(-40, 40, 20)
    for image, result, degrees in zip(given[:, 0].numpy(), found[:, 0].numpy(), angles, strict=True):
        expected = ndimage.rotate(
            image.astype(float), degrees, order=1, reshape=False, mode="grid-constant", cval=0.0
        )
        assert np.abs(result - expected).max() <= 0.51
    assert np.abs(angles).max() > 30


def test_what_comes_in_is_black() -> None:
    white = torch.full((1, 1, 9, 9), 255, dtype=torch.uint8)
    found = sampled(white, turning(np.array([np.pi / 4]), 9, 9), "zeros")[0, 0]
    assert found[0, 0] == found[0, 8] == found[8, 0] == found[8, 8] == 0
    assert (found[3:6, 3:6] == 255).all()
