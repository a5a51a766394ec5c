"""Crops, shifts and mirrors against slicing one image after the other."""

import numpy as np
import pytest
import torch
from torch import Tensor

from convscope.core import catalog
from convscope.core.errors import ConfigError
from convscope.data.augment import _copied, _gathered, crop, flip, padded, shift, vertical_flip


def generator(key: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=key))


def images(*shape: int) -> Tensor:
    return torch.from_numpy(generator(9).integers(1, 256, shape, dtype=np.uint8))


def mirrored(given: Tensor, epoch: int = 0, which: Tensor | None = None, key: int = 0, **options) -> Tensor:
    """`flip` with all it asks for."""
    which = torch.arange(len(given)) if which is None else which
    return flip(given, generator(key), generator(77), which, epoch, **options)


@pytest.mark.parametrize("mode", ["zero", "reflect"])
@pytest.mark.parametrize(("shape", "padding"), [((40, 3, 12, 12), 4), ((9, 1, 7, 11), 1), ((9, 2, 7, 11), 6)])
def test_crop_by_hand(shape: tuple[int, ...], padding: int, mode: str) -> None:
    given = images(*shape)
    corners = generator(3).integers(2 * padding + 1, size=(shape[0], 2))
    border = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    wide = np.pad(given.numpy(), border, "constant" if mode == "zero" else "reflect")
    expected = [
        image[:, top : top + shape[2], left : left + shape[3]]
        for image, (top, left) in zip(wide, corners, strict=True)
    ]
    assert np.array_equal(crop(given, generator(3), padding, mode).numpy(), np.stack(expected))


def test_black_may_be_wider_than_the_image() -> None:
    found = crop(images(300, 1, 3, 3), generator(), 20)
    assert (found == 0).flatten(1).all(1).any() and (found != 0).any()


def test_crop_by_paper() -> None:
    """One image of one pixel, padded by one: it is kept in one of nine places."""
    given = torch.full((900, 1, 1, 1), 7, dtype=torch.uint8)
    found = crop(given, generator(), 1).flatten()
    assert set(found.tolist()) == {0, 7}
    assert 60 < int((found == 7).sum()) < 140


def test_reflection_by_paper() -> None:
    given = torch.tensor([[[[1, 2, 3]]]], dtype=torch.uint8)
    assert padded(given, 0, 2, "reflect").tolist() == [[[[3, 2, 1, 2, 3, 2, 1]]]]


def test_corners_are_uniform() -> None:
    """Where a single white pixel lands, over 8,100 crops into 81 places: chi squared."""
    given = torch.zeros((8100, 1, 9, 9), dtype=torch.uint8)
    given[:, :, 4, 4] = 255
    places = crop(given, generator(), 4).flatten(1).argmax(1)
    counts = torch.bincount(places, minlength=81).double()
    assert len(counts) == 81
    assert float(((counts - 100) ** 2 / 100).sum()) < 130  # 80 degrees of freedom: 0.04 %


@pytest.mark.parametrize("shape", [(50, 3, 10, 10), (7, 1, 9, 14), (1, 4, 5, 6), (0, 3, 8, 8)])
def test_copied_rows_are_the_gathered_pixels(shape: tuple[int, ...]) -> None:
    """The way for the CPU and the way for other devices."""
    count, _, tall, broad = shape
    for height, width in ((tall, broad), (tall - 4, broad - 2), (1, 1), (tall, 3)):
        corners = generator().integers([tall - height + 1, broad - width + 1], size=(count, 2))
        found = [way(images(*shape), corners, height, width) for way in (_copied, _gathered)]
        assert torch.equal(*found)
        assert found[0].shape == (count, shape[1], height, width) and found[0].is_contiguous()


def test_shift_by_hand() -> None:
    """Each image moved by slices, by its own two distances."""
    given = images(60, 3, 9, 12)
    corners = generator(3).integers([7, 3], size=(60, 2))
    expected = torch.zeros_like(given)
    for image, result, (top, left) in zip(given, expected, corners, strict=True):
        for row in range(9):
            for column in range(12):
                y, x = row + top - 3, column + left - 1
                if 0 <= y < 9 and 0 <= x < 12:
                    result[:, row, column] = image[:, y, x]
    assert torch.equal(shift(given, generator(3), 3, 1), expected)


def test_a_known_picture_is_shifted() -> None:
    given = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8).expand(500, 1, 2, 2)
    pictures = {str(image.tolist()) for image in shift(given, generator(), 0, 1)[:, 0]}
    assert pictures == {"[[1, 2], [3, 4]]", "[[0, 1], [0, 3]]", "[[2, 0], [4, 0]]"}
    pictures = {str(image.tolist()) for image in shift(given, generator(), 1, 0)[:, 0]}
    assert pictures == {"[[1, 2], [3, 4]]", "[[0, 0], [1, 2]]", "[[3, 4], [0, 0]]"}


def test_flip_by_hand() -> None:
    given = images(50, 3, 6, 5)
    chosen = generator(3).random(50) < 0.3
    expected = [
        image[:, :, ::-1] if turn else image for image, turn in zip(given.numpy(), chosen, strict=True)
    ]
    assert np.array_equal(mirrored(given, key=3, p=0.3).numpy(), np.stack(expected))
    assert 0 < chosen.sum() < 50


def test_vertical_flip_by_hand() -> None:
    given = images(50, 3, 6, 5)
    chosen = generator(3).random(50) < 0.3
    expected = [
        image[:, ::-1, :] if turn else image for image, turn in zip(given.numpy(), chosen, strict=True)
    ]
    assert np.array_equal(vertical_flip(given, generator(3), 0.3).numpy(), np.stack(expected))


def test_flip_always_twice_is_nothing() -> None:
    given = images(5, 3, 6, 5)
    once = mirrored(given, p=1.0)
    assert torch.equal(once, given.flip(-1))
    assert torch.equal(mirrored(once, p=1.0), given)


def sides(epochs: int, **options) -> Tensor:
    """Which of 400 images are mirrored in each epoch: bool (epochs, 400)."""
    given = torch.tensor([[[[1, 2]]]], dtype=torch.uint8).expand(400, 1, 1, 2)
    found = [
        mirrored(given, epoch, key=epoch, how="alternating", **options)[:, 0, 0, 0] for epoch in range(epochs)
    ]
    return torch.stack(found) == 2


def test_alternating_shows_every_image_once_each_way_in_two_epochs() -> None:
    found = sides(400)
    assert torch.equal(found[0::2], found[:1].expand(200, -1))
    assert torch.equal(found[1::2], ~found[:1].expand(200, -1))
    assert 160 < int(found[0].sum()) < 240  # the first is drawn: 4 deviations


@pytest.mark.parametrize(("p", "in_a_row", "times"), [(0.25, 4, 1), (0.75, 4, 3), (1.0, 1, 1), (0.0, 1, 0)])
def test_other_shares_are_spread_evenly(p: float, in_a_row: int, times: int) -> None:
    found = sides(20, p=p).int()
    for start in range(20 - in_a_row):
        assert (found[start : start + in_a_row].sum(0) == times).all()


def test_the_side_of_an_image_does_not_depend_on_its_batch() -> None:
    given = images(40, 1, 3, 4)
    whole = mirrored(given, 3, how="alternating")
    some = torch.tensor([31, 2, 17])
    for epoch, expected in ((3, whole), (5, whole), (4, whole.flip(-1))):
        found = mirrored(given[some], epoch, some, key=epoch, how="alternating")
        assert torch.equal(found, expected[some])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: crop(images(2, 1, 4, 7), generator(), 4, "reflect"),
            "crop: images of 7x4 pixels cannot be reflected over 4 pixels. Give a padding of at most 3, or "
            "mode=zero.",
        ),
        (
            lambda: crop(images(2, 1, 4, 7), generator(), 4, "mirror"),  # type: ignore[arg-type]
            "crop: mode must be 'zero' or 'reflect', not 'mirror'.",
        ),
        (
            lambda: mirrored(images(2, 1, 4, 7), how="often"),
            "flip: how must be 'random' or 'alternating', not 'often'.",
        ),
        (
            lambda: catalog.resolve("augmentations", "crop", {"padding": -1}),
            "The option 'padding' of the augmentation 'crop' cannot be -1: Input should be greater than or equal to 0.",
        ),
        (
            lambda: catalog.resolve("augmentations", "crop", {"mode": "mirror"}),
            "The option 'mode' of the augmentation 'crop' cannot be 'mirror': Input should be 'zero' or 'reflect'.",
        ),
        (
            lambda: catalog.resolve("augmentations", "flip", {"p": 1.5}),
            "The option 'p' of the augmentation 'flip' cannot be 1.5: Input should be less than or equal to 1.",
        ),
    ],
)
def test_what_is_not_allowed(call, sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        call()
    assert str(error.value) == sentence
