"""What every augmentation of the catalog promises, whatever it does to an image."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from convscope.core import catalog
from convscope.core.catalog import Item
from convscope.data.augmenting import SUPPLIED

# Which options make it do nothing.
NOTHING: dict[str, dict[str, Any]] = {
    "crop": {"padding": 0},
    "flip": {"p": 0.0},
    "vertical-flip": {"p": 0.0},
    "shift": {"down": 0, "across": 0},
    "random-resized-crop": {"area": 1.0, "ratio": 1.0},
    "rotate": {"degrees": 0.0},
    "jitter": {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0},
    "cutout": {"size": 0},
    "mixup": {"alpha": 0.0},
    "cutmix": {"alpha": 0.0},
}
# Other ways of doing it than the default.
WAYS: dict[str, list[dict[str, Any]]] = {
    "crop": [{"mode": "reflect"}],
    "flip": [{"how": "alternating"}],
    "cutout": [{"fill": "zero"}],
}
ITEMS = list(catalog.items("augmentations"))
CASES = [(item, way) for item in ITEMS for way in ({}, *WAYS.get(item.name, []))]
MIXING = [item for item in ITEMS if "shares" in catalog.asked(item)]
SHAPES = [(64, 3, 16, 16), (33, 1, 28, 28), (1, 3, 8, 8), (7, 2, 9, 5)]


def label(case: tuple[Item, dict[str, Any]]) -> str:
    item, way = case
    return "-".join([item.name, *map(str, way.values())])


each_case = pytest.mark.parametrize(("item", "way"), CASES, ids=map(label, CASES))
each_item = pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.name)
each_mixing = pytest.mark.parametrize("item", MIXING, ids=lambda item: item.name)


def generator(key: int, stream: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[key, stream]))


def images(shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(generator(9).integers(0, 256, shape, dtype=np.uint8))


def shares(count: int) -> Tensor:
    """Each image of a class of its own."""
    return torch.eye(count)


def change(
    item: Item, given: Tensor, options: Mapping[str, Any], key: int = 0, labels: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The augmentation with all it asks for; for one that asks for no shares, they stay as they are."""
    labels = shares(len(given)) if labels is None else labels
    supply = {
        "images": given,
        "generator": generator(key, 1),
        "lasting": generator(key, 2),
        "shares": labels,
        "which": torch.arange(len(given)),
        "epoch": 0,
    }
    asked = catalog.asked(item)
    found = item.load()(**{name: supply[name] for name in asked}, **options)
    return found if "shares" in asked else (found, labels)


def test_every_augmentation_is_tested_and_no_other() -> None:
    """A new one needs a line above that says how it is switched off."""
    assert set(NOTHING) == {item.name for item in ITEMS}
    assert [item.name for item in MIXING] == ["mixup", "cutmix"]


@each_item
def test_it_asks_for_images_and_chance_and_only_for_what_is_supplied(item: Item) -> None:
    asked = catalog.asked(item)
    assert asked[:2] == ("images", "generator")
    assert set(asked) <= set(SUPPLIED)


@each_item
def test_its_line_is_one_sentence_with_a_source(item: Item) -> None:
    assert 0 < len(item.line) <= 90 and "\n" not in item.line and not item.line.endswith(".")
    assert item.source
    assert catalog.resolve(item.kind, item.name, {}) == {
        name: option.default for name, option in catalog.options(item).items()
    }


@each_case
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shape_type_device_and_order_are_kept_and_the_input_is_untouched(
    item: Item, way: dict[str, Any], shape: tuple[int, ...]
) -> None:
    if way == {"mode": "reflect"}:
        way = {**way, "padding": 3}
    for given in (images(shape), images(shape).contiguous(memory_format=torch.channels_last)):
        before, labels = given.clone(), shares(len(given))
        found, found_shares = change(item, given, way, labels=labels)
        assert (found.shape, found.dtype, found.device) == (given.shape, torch.uint8, given.device)
        assert found.stride() == given.stride()
        assert torch.equal(given, before)
        assert (found_shares.shape, found_shares.dtype) == (labels.shape, torch.float32)
        assert torch.equal(labels, shares(len(given)))


@each_case
def test_the_same_key_gives_the_same_images_and_another_does_not(item: Item, way: dict[str, Any]) -> None:
    given = images(SHAPES[0])
    first, again, other = (change(item, given, way, key)[0] for key in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@each_case
def test_strength_zero_changes_nothing(item: Item, way: dict[str, Any]) -> None:
    for shape in SHAPES:
        found, found_shares = change(item, images(shape), {**way, **NOTHING[item.name]})
        assert torch.equal(found, images(shape))
        assert torch.equal(found_shares, shares(len(found)))


@each_case
def test_at_its_default_it_does_something(item: Item, way: dict[str, Any]) -> None:
    given = images(SHAPES[0])
    changed = (change(item, given, way)[0] != given).flatten(1).any(1)
    assert changed.float().mean() > 0.2


@each_case
def test_every_image_has_parameters_of_its_own(item: Item, way: dict[str, Any]) -> None:
    """64 copies of one image come out in more than one form; of mixing, with an image that differs."""
    given = images((1, 3, 16, 16)).expand(64, -1, -1, -1)
    if item in MIXING:
        given = given.clone()
        given[32:] = 255 - given[32:]
    found, _ = change(item, given, way)
    wanted = 2 if "flip" in item.name else 10
    assert len({image.numpy().tobytes() for image in found}) >= wanted


@each_case
def test_an_image_does_not_depend_on_its_neighbours(item: Item, way: dict[str, Any]) -> None:
    """The place in the batch decides its draw, not the pixels beside it, but for those it is mixed with."""
    given, other = images(SHAPES[0]), images(SHAPES[0]).flip(0)
    other[5] = given[5]
    (first, first_shares), (second, second_shares) = (change(item, batch, way) for batch in (given, other))
    alone = first_shares[5, 5] == 1
    assert torch.equal(first_shares, second_shares)
    assert torch.equal(first[5], second[5]) == bool(alone)


@each_case
def test_chance_comes_from_the_generators_alone(item: Item, way: dict[str, Any]) -> None:
    given = images(SHAPES[0])
    state, legacy = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    first, _ = change(item, given, way)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], legacy[1])  # noqa: NPY002
    torch.manual_seed(99)
    assert torch.equal(change(item, given, way)[0], first)
    torch.set_rng_state(state)


@each_case
def test_memory_order_does_not_matter(item: Item, way: dict[str, Any]) -> None:
    given = images(SHAPES[0])
    last = given.contiguous(memory_format=torch.channels_last)
    assert torch.equal(change(item, given, way)[0], change(item, last, way)[0])


@each_case
def test_what_one_channel_shows_does_not_depend_on_how_many_there_are(
    item: Item, way: dict[str, Any]
) -> None:
    """A grey image in three channels is treated as in one, to a step of 255: saturation and hue do nothing."""
    grey = images((40, 1, 16, 16))
    found, _ = change(item, grey, way)
    tripled, _ = change(item, grey.expand(-1, 3, -1, -1), way)
    assert (tripled.int() - found.int()).abs().max() <= 1


@each_mixing
def test_shares_are_those_of_the_pixels(item: Item) -> None:
    """Image k is all 4k, and of class k: what is in it can be read from its mean."""
    count = 60
    values = torch.arange(count) * 4
    given = values.to(torch.uint8)[:, None, None, None].expand(-1, 3, 16, 16).contiguous()
    for key in range(5):
        found, found_shares = change(item, given, {}, key)
        assert torch.allclose(found_shares.sum(1), torch.ones(count), atol=1e-6)
        assert found_shares.min() >= 0
        expected = found_shares @ values.float()
        assert (found.float().mean((1, 2, 3)) - expected).abs().max() <= 0.5 + 1e-3
        # Not trivially so: most are of two classes, in parts that differ.
        assert ((found_shares > 0).sum(1) == 2).float().mean() > 0.8
        assert len(found_shares.amax(1).unique()) > count / 3


@each_mixing
def test_labels_that_are_shares_already_stay_shares(item: Item) -> None:
    given = images(SHAPES[0])
    soft = torch.from_numpy(generator(4).dirichlet(np.ones(7), 64).astype(np.float32))
    _, found = change(item, given, {}, labels=soft)
    assert torch.allclose(found.sum(1), torch.ones(64), atol=1e-6)
    assert not torch.equal(found, soft)
    # The same draws as with a class of its own for each, so the map is linear in the labels.
    _, weights = change(item, given, {})
    assert torch.allclose(found, weights @ soft, atol=1e-6)


@each_mixing
def test_an_image_alone_is_mixed_with_itself(item: Item) -> None:
    given = images((1, 3, 8, 8))
    found, found_shares = change(item, given, {}, labels=torch.tensor([[0.0, 1.0]]))
    assert torch.equal(found, given)
    assert torch.allclose(found_shares, torch.tensor([[0.0, 1.0]]))
