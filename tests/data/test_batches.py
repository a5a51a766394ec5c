"""Every image once per epoch, in an order that is a function of the step; statistics against NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.core import catalog
from convscope.core.config import Choice
from convscope.core.errors import ConfigError
from convscope.core.streams import Streams
from convscope.data.batches import Batches, Normaliser, batch_sizes, statistics
from convscope.data.images import Arrays, ImageSet, image_set

RNG = np.random.default_rng(0)


def split(count: int, channels: int = 3, height: int = 8, width: int = 8) -> ImageSet:
    pixels = RNG.integers(0, 256, (count, channels, height, width), dtype=np.uint8)
    return image_set(Arrays(pixels, np.arange(count) % 3), ("a", "b", "c"))


def batches(
    images: ImageSet, batch_size: int = 4, seed: int = 0, augment: tuple[Choice, ...] = ()
) -> Batches:
    return Batches(
        images, batch_size=batch_size, augment=augment, normalise=Normaliser((0.0,) * 3, (1.0,) * 3),
        streams=Streams(seed), device=torch.device("cpu"),
    )  # fmt: skip


@given(images=st.integers(1, 70), size=st.integers(1, 40), seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None, database=None)
def test_every_image_exactly_once_per_epoch(images: int, size: int, seed: int) -> None:
    found = batches(split(images), size, seed)
    for epoch in (0, 3):
        seen = [
            i for part in range(found.per_epoch) for i in found.which(epoch * found.per_epoch + part).tolist()
        ]
        assert sorted(seen) == list(range(images))


@given(images=st.integers(1, 2000), size=st.integers(1, 300))
@settings(max_examples=200, deadline=None, database=None)
def test_sizes_of_batches(images: int, size: int) -> None:
    """All full but the last; never a last one of one, unless there is nothing to join it to."""
    sizes = batch_sizes(images, size)
    assert sum(sizes) == images
    assert all(s == size for s in sizes[:-1])
    assert 1 <= sizes[-1] <= size + 1
    if size > 1 and images > 1:
        assert sizes[-1] > 1


@pytest.mark.parametrize(
    ("images", "size", "expected"),
    [
        (10, 4, [4, 4, 2]),
        (9, 4, [4, 5]),
        (8, 4, [4, 4]),
        (3, 4, [3]),
        (1, 4, [1]),
        (5, 4, [5]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_sizes_by_hand(images: int, size: int, expected: list[int]) -> None:
    assert batch_sizes(images, size) == expected


def test_a_step_does_not_depend_on_the_steps_before() -> None:
    images = split(30)
    forward = batches(images, augment=(Choice(name="crop"), Choice(name="flip")))
    wanted = [forward.at(step) for step in range(20)]
    for step in (13, 2, 19, 0, 13):
        fresh = batches(images, augment=(Choice(name="crop"), Choice(name="flip")))
        for found in (forward.at(step), fresh.at(step)):
            assert torch.equal(found[0], wanted[step][0]) and torch.equal(found[1], wanted[step][1])


def test_epochs_and_seeds_differ() -> None:
    orders = {
        tuple(torch.cat([batches(split(30), 10, seed).which(3 * epoch + i) for i in range(3)]).tolist())
        for epoch in range(3)
        for seed in range(3)
    }
    assert len(orders) == 9


def test_a_batch_is_the_images_the_labels_and_nothing_else() -> None:
    """Without augmentation, un-normalised: the pixels themselves, channels-last in memory."""
    images = split(11)
    found = batches(images)
    inputs, labels = found.at(1)
    which = found.which(1)
    assert torch.equal((inputs * 255).round().to(torch.uint8), images.pixels[which])
    assert torch.equal(labels, images.labels[which])
    assert inputs.dtype == torch.float32 and labels.dtype == torch.int64
    assert inputs.is_contiguous(memory_format=torch.channels_last)


def test_rows_choose_the_pixels() -> None:
    images = split(12).subset(torch.tensor([11, 3, 7, 0, 5]))
    found = batches(images, 5)
    assert torch.equal(
        (found.at(0)[0] * 255).round().to(torch.uint8), images.pixels[images.rows[found.which(0)]]
    )


def test_augmentations_are_made_in_order_from_one_stream() -> None:
    from convscope.data.augment import crop, vertical_flip

    images = split(8)
    found = batches(
        images, 8, augment=(Choice(name="vertical-flip", options={"p": 0.5}), Choice(name="crop"))
    )
    generator = Streams(0).generator("augment", 5)
    expected = crop(vertical_flip(images.batch(found.which(5)), generator, 0.5), generator)
    assert torch.equal((found.at(5)[0] * 255).round().to(torch.uint8), expected)


def test_positions_and_epochs_reach_the_augmentations() -> None:
    """In any two epochs in a row every image is seen once as it is and once mirrored."""
    images = split(23)
    found = batches(images, 5, augment=(Choice(name="flip", options={"how": "alternating"}),))
    mirrored = torch.zeros(4, 23, dtype=torch.bool)
    for step in range(4 * found.per_epoch):
        which = found.which(step)
        shown, given = (found.at(step)[0] * 255).round().to(torch.uint8), images.batch(which)
        for place, image, before in zip(which, shown, given, strict=True):
            assert torch.equal(image, before) or torch.equal(image, before.flip(-1))
            mirrored[step // found.per_epoch, place] = not torch.equal(image, before)
    assert torch.equal(mirrored[1:], ~mirrored[:-1]) and 0 < int(mirrored[0].sum()) < 23


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_where_images_are_mixed_labels_are_shares(name: str) -> None:
    images = split(40, height=12, width=12)
    found = batches(images, 16, augment=(Choice(name="crop"), Choice(name=name)))
    for step in (0, 2, 7):
        inputs, shares = found.at(step)
        own = images.labels[found.which(step)]
        assert shares.dtype == torch.float32 and shares.shape == (len(own), 3)
        assert torch.allclose(shares.sum(1), torch.ones(len(own)), atol=1e-6)
        assert len(inputs) == len(own)
    # Alone an image can be mixed with itself only: then its share is that of its own class.
    single = batches(images.subset(torch.tensor([4])), 16, augment=(Choice(name=name),))
    assert torch.allclose(single.at(3)[1], torch.tensor([[0.0, 1.0, 0.0]]))


def test_mixed_batches_do_not_depend_on_the_steps_before() -> None:
    every = tuple(Choice(name=name) for name in catalog.names("augmentations"))
    images = split(30)
    forward = batches(images, augment=every)
    wanted = [forward.at(step) for step in range(12)]
    for step in (11, 3, 0):
        found = batches(images, augment=every).at(step)
        assert torch.equal(found[0], wanted[step][0]) and torch.equal(found[1], wanted[step][1])


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(ConfigError) as error:
        batches(split(3).subset(torch.tensor([], dtype=torch.int64)))
    assert str(error.value) == "The training split is empty: hold out a smaller share with --validation."


@pytest.mark.parametrize("shape", [(7, 3, 8, 8), (2000, 1, 5, 9), (3, 3, 300, 300)])
def test_statistics_are_numpys(shape: tuple[int, ...]) -> None:
    images = split(*shape)
    mean, std = statistics(images)
    scaled = images.pixels.numpy().astype(np.float64) / 255
    assert mean == pytest.approx(tuple(scaled.mean((0, 2, 3))), rel=1e-12)
    assert std == pytest.approx(tuple(scaled.std((0, 2, 3))), rel=1e-9)


def test_statistics_are_of_the_split_alone_and_of_no_order() -> None:
    images = split(40)
    some = images.subset(torch.arange(0, 40, 2))
    assert statistics(some) == statistics(images.subset(torch.arange(38, -1, -2)))
    assert statistics(some) != statistics(images)


def test_a_constant_channel_has_deviation_one() -> None:
    """C3: its pixels become zero instead of infinite."""
    pixels = RNG.integers(0, 256, (5, 2, 4, 4), dtype=np.uint8)
    pixels[:, 1] = 51
    images = image_set(Arrays(pixels, np.zeros(5, dtype=np.int64)), ("a",))
    mean, std = statistics(images)
    assert (mean[1], std[1]) == (pytest.approx(0.2), 1.0)
    found = Normaliser(mean, std)(images.pixels)
    assert found[:, 1].abs().max() < 1e-6 and torch.isfinite(found).all()


def test_normalising_by_hand() -> None:
    images = torch.tensor([[[[0, 255]], [[51, 102]]]], dtype=torch.uint8)
    found = Normaliser((0.5, 0.2), (0.25, 0.1))(images)
    assert torch.allclose(found, torch.tensor([[[[-2.0, 2.0]], [[0.0, 2.0]]]]), atol=1e-6)
    assert images.tolist() == [[[[0, 255]], [[51, 102]]]]


def test_the_training_split_has_mean_zero_and_deviation_one() -> None:
    images = split(100)
    found = Normaliser(*statistics(images))(images.pixels)
    assert found.mean((0, 2, 3)).abs().max() < 1e-5
    assert (found.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5
