"""How may a training image move without changing its label?

Functions from a batch of uint8 images to a batch of the same shape, dtype,
device and memory order.  Here: whole pixels move and none is computed; `resample`
computes pixels between pixels, `colour` changes colours, `mixing` covers and
mixes.  All chance comes from the generators that are passed in, one draw per
image; the input is never modified; strength zero changes nothing.
`tests/contracts/test_augmentations.py` holds every augmentation of the
catalog to those promises.  Which parameters without default an augmentation may
have is written in `augmenting`.

    N  images      C  channels      H, W  pixels
"""

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from convscope.core.catalog import Off
from convscope.core.errors import ConfigError

from .pixels import in_order_of

Reach = Annotated[int, Field(ge=0, le=64)]
Chance = Annotated[float, Field(ge=0, le=1)]


def crop(
    images: Tensor,
    generator: np.random.Generator,
    padding: Reach = 4,
    mode: Annotated[Literal["zero", "reflect"], Off("zero")] = "zero",
) -> Tensor:
    """Pad and cut out a window of the old size, at a place of its own for each image.

    Args:
        images: uint8, (N, C, H, W).
        generator: decides the window's corner, uniform in {0, ..., 2 padding}^2.
        padding: pixels added on each side.
        mode: what is added: black (`zero`), or the image mirrored at its outermost pixels, which are not
            repeated (`reflect`), so that no black edge tells how far the image has moved.

    Returns:
        uint8, (N, C, H, W).

    Raises:
        ConfigError: `reflect` with a padding that the image is too small to fill.

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning, section 4.2; S1.33.  Reflection: airbench,
        Jordan (2024), 94% on CIFAR-10 in 3.29 Seconds on a Single GPU.  https://arxiv.org/abs/2404.00498
    """
    if padding == 0:
        return images
    corners = generator.integers(2 * padding + 1, size=(len(images), 2))
    return in_order_of(images, windows(padded(images, padding, padding, mode), corners, images.shape[2:]))


def shift(images: Tensor, generator: np.random.Generator, down: Reach = 4, across: Reach = 4) -> Tensor:
    """Move each image by whole pixels, up or down and left or right; what comes in is black.

    With `down` = `across` this is `crop` in mode `zero`, drawn otherwise; here the two directions have
    reaches of their own, so that one can be studied without the other.

    Args:
        images: uint8, (N, C, H, W).
        generator: decides the distances, uniform in {-down, ..., down} and {-across, ..., across}.
        down: largest distance along the height, in pixels.
        across: largest distance along the width, in pixels.

    Returns:
        uint8, (N, C, H, W).

    Reference:
        S3.10, translation.
    """
    if down == across == 0:
        return images
    corners = generator.integers([2 * down + 1, 2 * across + 1], size=(len(images), 2))
    return in_order_of(images, windows(padded(images, down, across, "zero"), corners, images.shape[2:]))


def flip(
    images: Tensor,
    generator: np.random.Generator,
    lasting: np.random.Generator,
    which: Tensor,
    epoch: int,
    p: Chance = 0.5,
    how: Annotated[Literal["random", "alternating"], Off("random")] = "random",
) -> Tensor:
    """Mirror each image left-right with probability `p`.

    Args:
        images: uint8, (N, C, H, W).
        generator: decides which images, if `how` is `random`.
        lasting: decides where each image begins, if `how` is `alternating`.
        which: int64, (N,): positions of the images in the split.
        epoch: how often the split has been seen, from 0.
        p: share of the images of an epoch, and of the epochs of an image, that are mirrored.
        how: `random`: by a new draw at every step.  `alternating`: an image is mirrored as evenly over the
            epochs as its share allows; with p = 0.5 the first epoch is drawn and each image changes its
            side with every epoch after it, so any two epochs in a row show every image both ways.

    Returns:
        uint8, (N, C, H, W).

    Reference:
        S1.33.  Not for digits: a mirrored 2 is no digit (S1.3).  Alternating: Jordan (2024), 94% on
        CIFAR-10 in 3.29 Seconds on a Single GPU, section 3.6.  https://arxiv.org/abs/2404.00498
        Differs: shares other than a half; the first epoch is drawn, where he takes a hash of the position.
    """
    match how:
        case "random":
            mirrored = generator.random(len(images)) < p
        case "alternating":
            mirrored = _turns(_beginnings(lasting, which), epoch, p)
        case _:
            raise ConfigError(f"flip: how must be 'random' or 'alternating', not {how!r}.")
    return _mirrored(images, mirrored, -1)


def vertical_flip(images: Tensor, generator: np.random.Generator, p: Chance = 0.5) -> Tensor:
    """Turn each image upside down, by mirroring, with probability `p`.

    Args:
        images: uint8, (N, C, H, W).
        generator: decides which images.
        p: probability.

    Returns:
        uint8, (N, C, H, W).

    Reference:
        S3.10.  For images without an up, as seen from above or through a microscope.  With `flip` it also
        turns a 6 into a 9 (E1.9).
    """
    return _mirrored(images, generator.random(len(images)) < p, -2)


def padded(images: Tensor, down: int, across: int, mode: str) -> Tensor:
    """Images with a border: (N, C, H, W) -> (N, C, H + 2 down, W + 2 across), contiguous.

    torch's own padding has no reflection of bytes.

    Raises:
        ConfigError: `reflect` with a border that reaches across the image, or an unknown mode.
    """
    count, channels, height, width = images.shape
    wide = images.new_zeros((count, channels, height + 2 * down, width + 2 * across))
    wide[..., down : down + height, across : across + width] = images
    match mode:
        case "zero":
            return wide
        case "reflect":
            if down >= height or across >= width:
                raise ConfigError(
                    f"crop: images of {width}x{height} pixels cannot be reflected over {max(down, across)} "
                    f"pixels. Give a padding of at most {min(height, width) - 1}, or mode=zero."
                )
            rows = wide[..., down : down + height, :]
            rows[..., :across] = rows[..., across + 1 : 2 * across + 1].flip(-1)
            rows[..., across + width :] = rows[..., width - 1 : across + width - 1].flip(-1)
            wide[..., :down, :] = wide[..., down + 1 : 2 * down + 1, :].flip(-2)
            wide[..., down + height :, :] = wide[..., height - 1 : down + height - 1, :].flip(-2)
            return wide
    raise ConfigError(f"crop: mode must be 'zero' or 'reflect', not {mode!r}.")


def windows(wide: Tensor, corners: np.ndarray, size: tuple[int, ...]) -> Tensor:
    """A window of each image, with its upper left corner at `corners`.

    Args:
        wide: uint8, (N, C, H', W'), contiguous.
        corners: int64, (N, 2): row and column.
        size: H and W; H <= H' and W <= W'.

    Returns:
        uint8, (N, C, H, W), contiguous.
    """
    height, width = size
    return (_copied if wide.device.type == "cpu" else _gathered)(wide, corners, height, width)


def _copied(wide: Tensor, corners: np.ndarray, height: int, width: int) -> Tensor:
    """The windows by copying rows.

    NumPy sees each run of W bytes as one item, so a window is C x H items and a row is copied at once.
    """
    count, channels, tall, broad = wide.shape
    plane = tall * broad
    runs = np.ndarray(
        (count, tall - height + 1, broad - width + 1, channels, height),
        dtype=f"V{width}",
        buffer=wide.numpy(),
        strides=(channels * plane, broad, 1, plane, broad),
    )
    chosen = np.ascontiguousarray(runs[np.arange(count), corners[:, 0], corners[:, 1]])  # (N, C, H)
    return torch.from_numpy(chosen.view(np.uint8).reshape(count, channels, height, width))


def _gathered(wide: Tensor, corners: np.ndarray, height: int, width: int) -> Tensor:
    """The windows by gathering pixels: the same on any device, many at a time on a parallel one."""
    count, channels, _, broad = wide.shape
    corner = _on(wide, corners)
    rows = corner[:, :1] + torch.arange(height, device=wide.device)  # (N, H)
    columns = corner[:, 1:] + torch.arange(width, device=wide.device)  # (N, W)
    pixel = rows[:, :, None] * broad + columns[:, None, :]  # (N, H, W)
    chosen = pixel.reshape(count, 1, height * width).expand(-1, channels, -1)
    return wide.flatten(2).gather(2, chosen).view(count, channels, height, width)


def _mirrored(images: Tensor, chosen: np.ndarray, axis: int) -> Tensor:
    """The chosen images, bool (N,), mirrored along an axis; the others as they are."""
    places = np.flatnonzero(chosen)
    source = np.arange(len(images))
    source[places] = len(images) + np.arange(len(places))
    turned = images.index_select(0, _on(images, places)).flip(axis)
    # Out of both by whole images: 512 of 3x32x32 take 0.6 ms on one core, index_copy 1.4 ms.
    return in_order_of(images, torch.cat([images, turned]).index_select(0, _on(images, source)))


def _on(images: Tensor, places: np.ndarray) -> Tensor:
    return torch.from_numpy(places).to(images.device)


def _beginnings(lasting: np.random.Generator, which: Tensor) -> np.ndarray:
    """A number in [0, 1) for each image, the same in every epoch and in every batch: float64 (N,)."""
    places = which.numpy()
    # 24 random bits, so that adding halves to them below is exact.
    drawn = lasting.random(int(places.max(initial=-1)) + 1, dtype=np.float32)
    beginnings: np.ndarray = drawn[places].astype(np.float64)
    return beginnings


def _turns(beginnings: np.ndarray, epoch: int, p: float) -> np.ndarray:
    """Whose turn it is in this epoch, bool (N,): in E epochs an image has floor(E p) or ceil(E p) turns."""
    turns: np.ndarray = np.floor(beginnings + (epoch + 1) * p) > np.floor(beginnings + epoch * p)
    return turns
