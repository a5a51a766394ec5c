"""How may a training image change without changing its label?

Functions from a batch of uint8 images to a batch of the same shape, dtype and
device.  All chance comes from the generator that is passed in, one draw per
image; the input is never modified; strength zero changes nothing.
`tests/contracts/test_augmentations.py` holds every augmentation of the
catalog to those promises.

    N  images      C  channels      H, W  pixels
"""

from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor


def crop(
    images: Tensor, generator: np.random.Generator, padding: Annotated[int, Field(ge=0, le=64)] = 4
) -> Tensor:
    """Pad with black and cut out a window of the old size, at a place of its own for each image.

    Args:
        images: uint8, (N, C, H, W).
        generator: decides the window's corner, uniform in {0, ..., 2 padding}^2.
        padding: pixels added on each side.

    Returns:
        uint8, (N, C, H, W).

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning, section 4.2; S1.33.
    """
    if padding == 0:
        return images
    count, channels, height, width = images.shape
    corner = torch.from_numpy(generator.integers(2 * padding + 1, size=(count, 2))).to(images.device)
    rows = corner[:, :1] + torch.arange(height, device=images.device)  # (N, H)
    columns = corner[:, 1:] + torch.arange(width, device=images.device)  # (N, W)
    padded = F.pad(images, (padding,) * 4).flatten(2)  # (N, C, (H + 2p)(W + 2p))
    # One gather for the batch: 512 images of 3x32x32 take 3.4 ms on one core, indexing on four axes 12.3 ms.
    pixel = rows[:, :, None] * (width + 2 * padding) + columns[:, None, :]  # (N, H, W)
    chosen = pixel.reshape(count, 1, height * width).expand(-1, channels, -1)
    return padded.gather(2, chosen).view(count, channels, height, width)


def flip(
    images: Tensor, generator: np.random.Generator, p: Annotated[float, Field(ge=0, le=1)] = 0.5
) -> Tensor:
    """Mirror each image left-right with probability `p`.

    Args:
        images: uint8, (N, C, H, W).
        generator: decides which images.
        p: probability, in [0, 1].

    Returns:
        uint8, (N, C, H, W).

    Reference:
        S1.33.  Not for digits: a mirrored 2 is no digit (S1.3).
    """
    mirrored = torch.from_numpy(generator.random(len(images)) < p).to(images.device)
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)
