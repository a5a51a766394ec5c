"""What can a network certainly learn, or certainly not?

Stripes: the class is their direction, everything else (phase, noise) is
random, so no single pixel tells the class but a small oriented filter does.
With `unlearnable` the labels are dealt out anew, and any accuracy above
chance on held-out images is a leak.

    N  images      C  channels      S  pixels per side      K  classes
"""

import numpy as np

from convscope.core.errors import ConfigError

from .builder import content_hash
from .find import only_native_size
from .images import Arrays, Raw, Request

_SMALLEST = 8
_PERIOD = 6.0
"""Pixels from stripe to stripe: wide enough for 16 directions, narrow enough for a 5x5 filter to see."""
_PARTS = {"train": 0, "test": 1}


def synthetic(
    request: Request,
    *,
    classes: int = 4,
    images: int = 2000,
    size: int = 32,
    channels: int = 1,
    noise: float = 0.25,
    seed: int = 0,
    unlearnable: bool = False,
) -> Raw:
    """Striped patterns, one direction per class, as many of each class as of any other, give or take one.

    Args:
        request: nothing of it is used; `size` here takes the place of `--size`.
        classes: K directions, 180/K degrees apart.
        images: for training and validation; a quarter as many, drawn independently, are the test split.
        size: S.
        channels: 1, or 3 for the same stripes in three channels of independent noise.
        noise: standard deviation of the noise, where the stripes go from 0.25 to 0.75 and white is 1.
        seed: of everything; other seeds give other images of the same classes.
        unlearnable: give the labels to images at random.

    Raises:
        ConfigError: a value out of range.
    """
    only_native_size(request, "synthetic", " Use its own option `size`.")
    _check(classes=classes, images=images, size=size, channels=channels, noise=noise, seed=seed)
    parts = {}
    for part, count in (("train", images), ("test", max(classes, images // 4))):
        generator = np.random.Generator(np.random.Philox(key=[seed, _PARTS[part]]))
        labels = generator.permutation(np.arange(count) % classes)
        pixels = stripes(labels * (np.pi / classes), size, channels, noise, generator)
        if unlearnable:
            labels = generator.permutation(labels)
        parts[part] = Arrays(pixels, labels.astype(np.int64))
    names = tuple(f"{180 * k / classes:.4g} degrees" for k in range(classes))
    return Raw(
        name="synthetic",
        classes=names,
        train=parts["train"],
        test=lambda: parts["test"],
        test_images=len(parts["test"].labels),
        hash=content_hash(names, parts),
    )


def stripes(
    angles: np.ndarray, size: int, channels: int, noise: float, generator: np.random.Generator
) -> np.ndarray:
    """Sine gratings in random phase: angles (N,) in radians -> uint8 (N, C, S, S).

    At angle 0 the brightness changes from left to right, at pi/2 from top to bottom.
    """
    phases = generator.uniform(0, 2 * np.pi, len(angles)).astype(np.float32)
    across = np.arange(size, dtype=np.float32)
    turn = 2 * np.pi / _PERIOD
    along_x = (np.cos(angles) * turn).astype(np.float32)[:, None, None] * across[None, None, :]
    along_y = (np.sin(angles) * turn).astype(np.float32)[:, None, None] * across[None, :, None]
    waves = 0.5 + 0.25 * np.sin(along_x + along_y + phases[:, None, None])  # (N, S, S)
    images = np.repeat(waves[:, None], channels, axis=1)
    images += np.float32(noise) * generator.standard_normal(images.shape, dtype=np.float32)
    pixels: np.ndarray = np.rint(255 * images.clip(0, 1)).astype(np.uint8)
    return pixels


def _check(*, classes: int, images: int, size: int, channels: int, noise: float, seed: int) -> None:
    for name, value, right, allowed in (
        ("classes", classes, classes >= 2, "at least 2"),  # noqa: PLR2004
        ("images", images, images >= classes, "at least one per class"),
        ("size", size, size >= _SMALLEST, f"at least {_SMALLEST}"),
        ("channels", channels, channels in (1, 3), "1 or 3"),
        ("noise", noise, 0 <= noise < np.inf, "zero or more"),
        ("seed", seed, 0 <= seed < 2**64, "zero or more, below 2^64"),
    ):
        if not right:
            raise ConfigError(
                f"The option {name!r} of the data set 'synthetic' is {value}; it must be {allowed}."
            )
