"""Stripes: a filter can tell them, a pixel cannot, and shuffled labels teach nothing."""

import numpy as np
import pytest

from convscope.core.errors import ConfigError
from convscope.data.images import Raw, Request
from convscope.data.synthetic import stripes, synthetic


def make(**options: object) -> Raw:
    return synthetic(Request(), **options)  # type: ignore[arg-type]


def direction(images: np.ndarray) -> np.ndarray:
    """Angle in [0, 180) of the strongest wave of each image, from its spectrum."""
    spectra = np.abs(np.fft.fft2(images[:, 0] - images[:, 0].mean(axis=(1, 2), keepdims=True)))
    strongest = spectra.reshape(len(images), -1).argmax(1)
    size = images.shape[2]
    frequency = np.fft.fftfreq(size)
    down, right = frequency[strongest // size], frequency[strongest % size]
    return np.degrees(np.arctan2(down, right)) % 180


def test_the_class_is_the_direction() -> None:
    raw = make(classes=4, images=200, size=48)
    angles = direction(raw.train.images)
    error = (angles - 45.0 * raw.train.labels + 90) % 180 - 90
    assert np.abs(error).max() < 10
    assert raw.classes == ("0 degrees", "45 degrees", "90 degrees", "135 degrees")


def test_stripes_by_hand() -> None:
    generator = np.random.Generator(np.random.Philox(key=[1, 2]))
    images = stripes(np.array([0.0, np.pi / 2]), 12, 3, 0.0, generator)
    phases = np.random.Generator(np.random.Philox(key=[1, 2])).uniform(0, 2 * np.pi, 2)
    for image, phase, across in zip(images, phases, (images[0], images[1].swapaxes(1, 2)), strict=True):
        wave = [round(255 * (0.5 + 0.25 * np.sin(2 * np.pi * x / 6 + phase))) for x in range(12)]
        assert np.abs(across.astype(int) - np.array(wave)).max() <= 1  # float32 may round the other way
        assert (image == image[:1]).all()  # without noise, the channels are equal


def test_classes_are_balanced_and_pixels_say_nothing() -> None:
    raw = make(classes=3, images=3000, noise=0.1)
    assert np.bincount(raw.train.labels).tolist() == [1000, 1000, 1000]
    # The mean image of a class is flat: its phase is uniform.  sd of a mean: 255 x 0.2 / sqrt(1000) = 1.6.
    for label in range(3):
        mean = raw.train.images[raw.train.labels == label].mean(axis=0)
        assert np.abs(mean - 127.5).max() < 8


def test_the_same_seed_gives_the_same_set_and_another_another() -> None:
    assert make().hash == make().hash
    assert (
        len({make(images=40, **option).hash for option in ({}, {"seed": 1}, {"noise": 0.3}, {"classes": 5})})
        == 4
    )


def test_the_test_part_is_its_own() -> None:
    raw = make(images=400)
    assert raw.test is not None
    test = raw.test()
    assert raw.test_images == len(test.images) == 100
    trained = {image.tobytes() for image in raw.train.images}
    assert not any(image.tobytes() in trained for image in test.images)
    few = make(images=4)
    assert few.test is not None
    assert (few.train.images != few.test().images).any(axis=(1, 2, 3)).all()


def test_unlearnable_labels_are_unrelated_to_the_images() -> None:
    raw = make(images=2000, unlearnable=True)
    told = np.round(direction(raw.train.images) / 45) % 4
    agreement = np.mean(told == raw.train.labels)
    assert abs(agreement - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 2000)
    learnable = make(images=2000)
    assert (raw.train.images == learnable.train.images).all()
    assert np.bincount(raw.train.labels).tolist() == [500] * 4


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("classes", 1, "at least 2"),
        ("images", 3, "at least one per class"),
        ("size", 7, "at least 8"),
        ("channels", 2, "1 or 3"),
        ("noise", -0.1, "zero or more"),
        ("noise", float("nan"), "zero or more"),
        ("seed", -1, "zero or more, below 2^64"),
    ],
)
def test_options_out_of_range_are_refused(option: str, value: float, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make(**{option: value})
    assert str(caught.value) == (
        f"The option {option!r} of the data set 'synthetic' is {value}; it must be {allowed}."
    )
