"""What does a network say of an image that it sees in several ways?

A wrapper around a network: it shows each image mirrored or moved, and answers with the mean of the
probabilities.  The network itself is not changed, and only how it is used differs: a figure made this way says
so, and stands beside the plain one.

    N  images      C  channels      H, W  pixels      K  classes
"""

from __future__ import annotations

from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from convscope.core.errors import ConfigError, UnknownName

from .mixture import mixture

Views = Literal["flip", "shift", "ten-crop"]
KINDS: tuple[Views, ...] = get_args(Views)


def reach(height: int, width: int) -> int:
    """How far a view moves an image by default, in pixels: a fourteenth of its shorter side, at least 1.

    That is 2 of 28 or 32, and the 16 of 224 by which AlexNet's crops are off centre.
    """
    return max(1, round(min(height, width) / 14))


def views_of(images: Tensor, kind: Views, pixels: int | None = None) -> list[Tensor]:
    """The same images, seen in several ways; the image itself is always the first.

    `flip`: as it is, and mirrored left to right (2 views).  `shift`: as it is, and moved up, down, left and
    right (5).  `ten-crop`: as it is, and moved into the four corners, and those five mirrored (10).

    Args:
        images: network input, (N, C, H, W), of any float type.
        kind: one of `KINDS`.
        pixels: how far an image is moved, in pixels; absent: `reach`.  `flip` moves nothing.

    Returns:
        Tensors of the same shape.  What comes in at an edge is the image mirrored at its outermost pixels,
        which are not repeated.

    Raises:
        UnknownName: no such views.
        ConfigError: the images are too small to be moved so far, or `pixels` is below 1.

    Reference:
        S3.91; Krizhevsky, Sutskever, Hinton (2012), ImageNet Classification with Deep Convolutional Neural
        Networks, section 4.1: five crops and their mirror images.
        Differs: AlexNet cuts crops of 224 x 224 out of a picture of 256 x 256.  Here images have the size the
        network takes, so each is padded by `pixels` and the same five windows are cut out of that; S3.91
        draws its views at random, and these are fixed.
    """
    if kind not in KINDS:
        raise UnknownName("set of views", kind, KINDS)
    if kind == "flip":
        return [images, images.flip(3)]
    height, width = images.shape[2:]
    far = reach(height, width) if pixels is None else pixels
    if not 1 <= far < min(height, width):
        raise ConfigError(
            f"Images of {height} x {width} pixels can be moved by 1 to {min(height, width) - 1} pixels, not {far}."
        )
    padded = F.pad(images, (far, far, far, far), mode="reflect")
    crossed = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)]
    corners = [(1, 1), (0, 0), (0, 2), (2, 0), (2, 2)]
    moved = [
        padded[:, :, down * far : down * far + height, across * far : across * far + width]
        for down, across in (crossed if kind == "shift" else corners)
    ]
    return moved if kind == "shift" else [*moved, *(window.flip(3) for window in moved)]


class Viewed(nn.Module):
    """A network that looks at each image in several ways.

    Its output is the logarithm of the mean of the probabilities, float64, (N, K): it can stand wherever
    logits stand.

    Args:
        model: takes (N, C, H, W) and gives logits, (N, K); it is used, not copied.
        kind: which views, as for `views_of`.
        pixels: how far they are apart, as for `views_of`.

    Raises:
        UnknownName: no such views.

    Reference:
        S3.91.
    """

    def __init__(self, model: nn.Module, kind: Views, pixels: int | None = None) -> None:
        super().__init__()
        if kind not in KINDS:
            raise UnknownName("set of views", kind, KINDS)
        self.model, self.kind, self.pixels = model, kind, pixels

    @property
    def passes(self) -> int:
        """How often an image goes through the network."""
        return {"flip": 2, "shift": 5, "ten-crop": 10}[self.kind]

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K)."""
        return mixture([self.model(view) for view in views_of(images, self.kind, self.pixels)])
