"""How may the colours of a training image change without changing its label?

Brightness, contrast, saturation and hue are each an affine map of a pixel's
colour, so all four are one: three times four numbers per image, applied to all
its pixels in one product.

    N  images      C  channels      H, W  pixels
"""

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from .pixels import parts, rounded

Strength = Annotated[float, Field(ge=0, le=1)]

GREY = np.array([0.299, 0.587, 0.114])
"""How bright red, green and blue look (ITU-R BT.601); what Pillow and torchvision take."""


def jitter(
    images: Tensor,
    generator: np.random.Generator,
    brightness: Strength = 0.2,
    contrast: Strength = 0.2,
    saturation: Strength = 0.2,
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.02,
) -> Tensor:
    """Change each image's brightness, contrast, saturation and hue a little.

    Images with another number of channels than three have no colours: saturation and hue do nothing.

    Args:
        images: uint8, (N, C, H, W); if C is 3, red, green and blue.
        generator: decides four numbers per image, each uniform.
        brightness: all values times a number in [1 - brightness, 1 + brightness].
        contrast: the distance of all values from the image's mean grey likewise.
        saturation: the distance of each pixel from its grey likewise.
        hue: a turn of all colours about the grey axis by up to this share of a circle; a third makes red
            green, green blue and blue red.

    Returns:
        uint8, (N, C, H, W), rounded to the nearest.

    Reference:
        S3.10, colour change; Howard (2013), Some Improvements on Deep Convolutional Neural Network Based
        Image Classification, section 2.  https://arxiv.org/abs/1312.5402
        Differs: torchvision's ColorJitter makes the four changes in random order and cuts values off at 0
        and 255 after each; here the order is as above and they are cut off once, at the end.  Its hue is
        HSV's, with brightness defined by the largest channel; ours is a rotation, which keeps the mean of
        the three channels.
    """
    drawn = generator.uniform(-1, 1, size=(len(images), 4))
    bright, contrasted, saturated = (1 + drawn[:, :3] * [brightness, contrast, saturation]).T
    return recoloured(images, bright, contrasted, saturated, 2 * np.pi * hue * drawn[:, 3])


def recoloured(
    images: Tensor, brightness: np.ndarray, contrast: np.ndarray, saturation: np.ndarray, angle: np.ndarray
) -> Tensor:
    """Images with other colours: factors (1 changes nothing) and radians, each (N,)."""
    channels = images.shape[1]
    weights = GREY if channels == GREY.size else np.full(channels, 1 / channels)
    linear = _tensor((brightness * contrast)[:, None, None] * _turned(channels, saturation, angle), images)
    # Greys stay where they are when colours turn and fade, so what contrast adds is the same for all channels.
    towards_grey = _tensor((brightness * (1 - contrast))[:, None] * weights, images)  # (N, C)
    result = torch.empty_like(images)
    for some in parts(len(images)):
        flat = images[some].flatten(2).float()  # (n, C, H W)
        added = (flat.mean(2) * towards_grey[some]).sum(1)
        found = torch.baddbmm(added[:, None, None], linear[some], flat)
        rounded(found.clamp_(0, 255), result[some])
    return result


def _turned(channels: int, saturation: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """What saturation and hue make of a colour: (N, C, C)."""
    count = len(angle)
    if channels != GREY.size:
        return np.broadcast_to(np.eye(channels), (count, channels, channels))
    cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    # Rodrigues: a rotation about (1, 1, 1).
    rotation = cosine * np.eye(3) + (1 - cosine) / 3 + sine * across
    faded = saturation[:, None, None]
    result: np.ndarray = faded * rotation + (1 - faded) * np.tile(GREY, (3, 1))
    return result


def _tensor(values: np.ndarray, images: Tensor) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(images.device)
