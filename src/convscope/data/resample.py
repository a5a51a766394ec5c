"""What would the image be between its pixels?

Windows of other sizes and small rotations: each pixel of the result is looked
up at a place of its own in the image, interpolated from the four pixels around
it.  As in `augment`, one draw per image, and the input is never modified.

A place is given as torch gives it: x and y run from -1, the left or upper edge
of the image, to 1, the right or lower edge; the centre of a pixel is half a
pixel from its edge.

    N  images      C  channels      H, W  pixels
"""

from typing import Annotated, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from .pixels import parts, rounded

TRIES = 10
"""Windows drawn per image before the whole image is taken; at the defaults 86 % of windows fit."""


def random_resized_crop(
    images: Tensor,
    generator: np.random.Generator,
    area: Annotated[float, Field(gt=0, le=1)] = 0.08,
    ratio: Annotated[float, Field(ge=1, le=16)] = 4 / 3,
) -> Tensor:
    """Cut a window of random size and shape out of each image and stretch it to the old size.

    Args:
        images: uint8, (N, C, H, W).
        generator: decides the window: its share of the area uniform in [area, 1], its shape log-uniform,
            its place uniform.
        area: smallest share of the image's area.
        ratio: how many times wider than high, or higher than wide, a window may be, compared with the
            image.

    Returns:
        uint8, (N, C, H, W).

    Reference:
        Szegedy et al. (2015), Going Deeper with Convolutions, section 6.  https://arxiv.org/abs/1409.4842
        Differs: edges may lie between pixels, where torchvision rounds to whole ones, and what lies beyond
        an edge inside the image takes part in the interpolation; shapes are compared with the image's own.
        For small images a larger area is usual: a window of 8 % of 32x32 has 9x9 pixels.
    """
    window = draw_windows(generator, len(images), area, ratio)
    matrix = np.zeros((len(images), 2, 3))
    matrix[:, 0, 0], matrix[:, 1, 1] = window.width, window.height
    matrix[:, 0, 2] = 2 * window.left + window.width - 1
    matrix[:, 1, 2] = 2 * window.top + window.height - 1
    return sampled(images, matrix, outside="border")


def rotate(
    images: Tensor, generator: np.random.Generator, degrees: Annotated[float, Field(ge=0, le=180)] = 15.0
) -> Tensor:
    """Rotate each image about its centre; what comes in is black.

    Args:
        images: uint8, (N, C, H, W).
        generator: decides the angle, uniform in [-degrees, degrees].
        degrees: largest angle.

    Returns:
        uint8, (N, C, H, W).

    Reference:
        Simard, Steinkraus, Platt (2003), Best Practices for Convolutional Neural Networks, section 2.
        A third of a turn or more makes other digits: 6 and 9 (E1.9).
    """
    angles = np.radians(generator.uniform(-degrees, degrees, size=len(images)))
    return sampled(images, turning(angles, *images.shape[2:]), outside="zeros")


class Windows(NamedTuple):
    """Windows as shares of an image's width and height, each (N,)."""

    left: np.ndarray
    top: np.ndarray
    width: np.ndarray
    height: np.ndarray


def draw_windows(generator: np.random.Generator, count: int, area: float, ratio: float) -> Windows:
    """Windows inside the image: the first that fits of `TRIES`, else the whole image."""
    areas = generator.uniform(area, 1, size=(count, TRIES))
    shapes = np.exp(generator.uniform(-np.log(ratio), np.log(ratio), size=(count, TRIES)))
    widths, heights = np.sqrt(areas * shapes), np.sqrt(areas / shapes)
    fits = (widths <= 1) & (heights <= 1)
    first = np.arange(count), fits.argmax(1)
    width, height = np.where(fits.any(1), (widths[first], heights[first]), 1.0)
    left, top = generator.random((2, count))
    return Windows(left * (1 - width), top * (1 - height), width, height)


def turning(angles: np.ndarray, height: int, width: int) -> np.ndarray:
    """Where each pixel of an image turned anticlockwise comes from: (N,) in radians -> (N, 2, 3)."""
    cosine, sine = np.cos(angles), np.sin(angles)
    matrix = np.zeros((len(angles), 2, 3))
    matrix[:, 0, 0] = matrix[:, 1, 1] = cosine
    # The angle is between pixels, which are square; in the coordinates used here they need not be.
    matrix[:, 0, 1] = -sine * height / width
    matrix[:, 1, 0] = sine * width / height
    return matrix


def sampled(images: Tensor, matrix: np.ndarray, outside: str) -> Tensor:
    """Images looked up at other places, bilinear.

    Args:
        images: uint8, (N, C, H, W).
        matrix: (N, 2, 3): the pixel at (x, y) of the result is the image's at matrix @ (x, y, 1).
        outside: what lies beyond the image: `zeros`, or the nearest pixel (`border`).

    Returns:
        uint8, (N, C, H, W), rounded to the nearest.
    """
    *_, height, width = images.shape
    basis = _basis(height, width).to(images.device)
    # As a row of six times a table of places: one product for all images, and x beside y in memory.
    rows = torch.from_numpy(matrix.reshape(-1, 6).astype(np.float32)).to(images.device)
    result = torch.empty_like(images)
    for some in parts(len(images)):
        grid = (rows[some] @ basis).view(-1, height, width, 2)
        found = F.grid_sample(images[some].float(), grid, "bilinear", outside, align_corners=False)
        rounded(found, result[some])
    return result


def _basis(height: int, width: int) -> Tensor:
    """What each of the six numbers of a matrix adds to each pixel's x and y: float32 (6, H W 2)."""
    y = (torch.arange(height) * 2 + 1) / height - 1
    x = (torch.arange(width) * 2 + 1) / width - 1
    basis = torch.zeros(2, 3, height, width, 2)
    for axis in (0, 1):
        basis[axis, 0, :, :, axis] = x
        basis[axis, 1, :, :, axis] = y[:, None]
        basis[axis, 2, :, :, axis] = 1
    return basis.view(6, -1)
