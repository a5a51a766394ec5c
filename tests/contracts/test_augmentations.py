"""What every augmentation of the catalog promises, whatever it does to an image."""

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from convscope.core import catalog
from convscope.core.catalog import Item

ITEMS = list(catalog.items("augmentations"))
# The option that says how strong it is, and its value at which nothing happens.
NOTHING: dict[str, dict[str, Any]] = {"crop": {"padding": 0}, "flip": {"p": 0.0}}
SHAPES = [(64, 3, 16, 16), (33, 1, 28, 28), (1, 3, 8, 8), (7, 2, 9, 5)]


@pytest.fixture(params=ITEMS, ids=lambda item: item.name)
def item(request: pytest.FixtureRequest) -> Item:
    found: Item = request.param
    return found


def generator(key: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=key))


def images(shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(generator(9).integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shape_type_and_device_are_kept_and_the_input_is_untouched(
    item: Item, shape: tuple[int, ...]
) -> None:
    given = images(shape)
    before = given.clone()
    found = item.load()(given, generator())
    assert (found.shape, found.dtype, found.device) == (given.shape, torch.uint8, given.device)
    assert torch.equal(given, before)


def test_the_same_key_gives_the_same_images_and_another_does_not(item: Item) -> None:
    given = images(SHAPES[0])
    first, again, other = (item.load()(given, generator(key)) for key in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_strength_zero_changes_nothing(item: Item) -> None:
    assert item.name in NOTHING, "say at which value of its options it does nothing"
    given = images(SHAPES[0])
    assert torch.equal(item.load()(given, generator(), **NOTHING[item.name]), given)


def test_at_its_default_it_does_something(item: Item) -> None:
    given = images(SHAPES[0])
    changed = (item.load()(given, generator()) != given).flatten(1).any(1)
    assert changed.float().mean() > 0.2


def test_every_image_has_parameters_of_its_own(item: Item) -> None:
    """64 copies of one image come out in more than one form."""
    given = images((1, 3, 16, 16)).expand(64, -1, -1, -1)
    found = item.load()(given, generator())
    assert len({image.numpy().tobytes() for image in found}) > 1


def test_an_image_does_not_depend_on_its_neighbours(item: Item) -> None:
    """The place in the batch decides its draw, not the pixels beside it."""
    given, other = images(SHAPES[0]), images(SHAPES[0]).flip(0)
    other[5] = given[5]
    found = [item.load()(batch, generator())[5] for batch in (given, other)]
    assert torch.equal(*found)


def test_chance_comes_from_the_generator_alone(item: Item) -> None:
    given = images(SHAPES[0])
    state = torch.get_rng_state()
    first = item.load()(given, generator())
    torch.manual_seed(99)
    assert torch.equal(item.load()(given, generator()), first)
    torch.set_rng_state(state)
    assert list(inspect.signature(item.load()).parameters)[:2] == ["images", "generator"]


def test_memory_order_does_not_matter(item: Item) -> None:
    given = images(SHAPES[0])
    last = given.contiguous(memory_format=torch.channels_last)
    assert torch.equal(item.load()(given, generator()), item.load()(last, generator()))
