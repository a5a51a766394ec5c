"""Crops and mirrors against slicing one image after the other."""

import numpy as np
import pytest
import torch
from torch import Tensor

from convscope.core import catalog
from convscope.core.errors import ConfigError
from convscope.data.augment import crop, flip


def generator(key: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=key))


def images(*shape: int) -> Tensor:
    return torch.from_numpy(generator(9).integers(1, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize("padding", [1, 4, 20])
@pytest.mark.parametrize("shape", [(40, 3, 12, 12), (9, 1, 7, 11)])
def test_crop_by_hand(shape: tuple[int, ...], padding: int) -> None:
    given = images(*shape)
    corners = generator(3).integers(2 * padding + 1, size=(shape[0], 2))
    padded = np.zeros((*shape[:2], shape[2] + 2 * padding, shape[3] + 2 * padding), dtype=np.uint8)
    padded[:, :, padding : padding + shape[2], padding : padding + shape[3]] = given.numpy()
    expected = [
        image[:, top : top + shape[2], left : left + shape[3]]
        for image, (top, left) in zip(padded, corners, strict=True)
    ]
    assert np.array_equal(crop(given, generator(3), padding).numpy(), np.stack(expected))


def test_crop_by_paper() -> None:
    """One image of one pixel, padded by one: it is kept in one of nine places."""
    given = torch.full((900, 1, 1, 1), 7, dtype=torch.uint8)
    found = crop(given, generator(), 1).flatten()
    assert set(found.tolist()) == {0, 7}
    assert 60 < int((found == 7).sum()) < 140


def test_corners_are_uniform() -> None:
    """Where a single white pixel lands, over 8,100 crops into 81 places: chi squared."""
    given = torch.zeros((8100, 1, 9, 9), dtype=torch.uint8)
    given[:, :, 4, 4] = 255
    places = crop(given, generator(), 4).flatten(1).argmax(1)
    counts = torch.bincount(places, minlength=81).double()
    assert len(counts) == 81
    assert float(((counts - 100) ** 2 / 100).sum()) < 130  # 80 degrees of freedom: 0.04 %


def test_flip_by_hand() -> None:
    given = images(50, 3, 6, 5)
    mirrored = generator(3).random(50) < 0.3
    expected = [
        image[:, :, ::-1] if turn else image for image, turn in zip(given.numpy(), mirrored, strict=True)
    ]
    assert np.array_equal(flip(given, generator(3), 0.3).numpy(), np.stack(expected))
    assert 0 < mirrored.sum() < 50


def test_flip_always_twice_is_nothing() -> None:
    given = images(5, 3, 6, 5)
    once = flip(given, generator(), 1.0)
    assert torch.equal(once, given.flip(-1))
    assert torch.equal(flip(once, generator(), 1.0), given)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        (
            "crop",
            {"padding": -1},
            "The option 'padding' of the augmentation 'crop' cannot be -1: Input should be greater than or equal to 0.",
        ),
        (
            "flip",
            {"p": 1.5},
            "The option 'p' of the augmentation 'flip' cannot be 1.5: Input should be less than or equal to 1.",
        ),
    ],
)
def test_what_is_not_allowed(name: str, options: dict[str, float], sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        catalog.resolve("augmentations", name, options)
    assert str(error.value) == sentence
