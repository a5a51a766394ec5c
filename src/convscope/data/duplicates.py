"""Which images are the same picture?

In: pixels.  Out: groups of images that are equal in every pixel, and pairs
that look alike: saved again as JPEG, made smaller and large again, brighter,
with more contrast.  Knows nothing of labels, splits or files.

    N  images      n  images of one chunk      C  channels      H, W  pixels      D  numbers per description
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.core.errors import NoSpace

from .builder import read_checked, write_checked

ALIKE = 0.99
"""Cosine of two descriptions from which on two images count as alike.

Chosen on CIFAR-10: of 1,000 images saved as JPEG of quality 75, and of 1,000 made smaller by 0.75 and large
again, 99 % of the former and all of the latter are above it.  Of the 100 pairs it finds among the 60,000, two
show different things (a bird or a plane before a blue sky): 4 images, 0.007 %."""
_SIDE = 8
"""Pixels per side of the thumbnails that are compared; with 16 it took longer and told no more apart."""
_FAINT = 2.0
"""Grey levels of deviation below which an image has too little in it to be recognised."""
_CHUNK = 2048
MOST_PAIRS = 1_000_000
"""After so many pairs the search ends: then the images are alike by nature."""


def copies(images: np.ndarray) -> list[np.ndarray]:
    """Groups of images that are equal in every pixel.

    Args:
        images: uint8, (N, C, H, W); may be a memory map, which is read once.

    Returns:
        The positions of each group of two or more, int64, ascending; groups by their first image.
    """
    return grouped(digests(images))


def digests(images: np.ndarray) -> Iterator[bytes]:
    """16 bytes per image, which differ where any pixel does."""
    for image in images:
        yield hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()


def grouped(keys: Iterable[bytes]) -> list[np.ndarray]:
    """Positions of equal keys, where there are two or more, by their first position."""
    found: dict[bytes, list[int]] = {}
    for position, key in enumerate(keys):
        found.setdefault(key, []).append(position)
    return [np.array(group) for group in found.values() if len(group) > 1]


def remembered_copies(images: np.ndarray, data_hash: str, cache: Path | None) -> list[np.ndarray]:
    """`copies`, kept in the cache, so that a set larger than memory is not read at every start.

    Args:
        images: the training images of a source.
        data_hash: content hash of that source, which decides the result.
        cache: folder; where it is absent or cannot be written, nothing is kept.
    """
    path = cache / "copies" / f"{data_hash[:32]}.json" if cache else None
    known = read_checked(path) if path else None
    if known is not None and known["images"] == len(images):
        return [np.array(group) for group in known["groups"]]
    found = copies(images)
    if path:
        table = {"images": len(images), "groups": [group.tolist() for group in found]}
        with contextlib.suppress(OSError, NoSpace):
            write_checked(path, table)
    return found


def described(images: Tensor) -> Tensor:
    """What is left of an image when brightness, contrast and detail are taken away.

    Args:
        images: uint8, (n, C, H, W).

    Returns:
        float32, (n, D): a thumbnail of at most 8x8 pixels, its mean subtracted, of length one.  The length
        is smaller where the deviation is below two grey levels: such an image is like nothing.
    """
    height, width = images.shape[2:]
    size = (min(_SIDE, height), min(_SIDE, width))
    small = F.adaptive_avg_pool2d(images.float(), size).flatten(1)
    small -= small.mean(1, keepdim=True)
    length = small.norm(dim=1, keepdim=True)
    kept: Tensor = small / length.clamp(min=_FAINT * small.shape[1] ** 0.5)
    return kept


@dataclass(frozen=True)
class Alike:
    """Images that look alike."""

    pairs: np.ndarray
    """int64, (P, 2): positions i < j, ascending."""
    cosines: np.ndarray
    """float32, (P,): of the two descriptions."""
    complete: bool
    """Whether these are all; False: there were so many that the search was given up."""


def alike(count: int, images: Callable[[Tensor], Tensor], threshold: float = ALIKE) -> Alike:
    """All pairs of images that look alike; equal ones are among them.

    Every image is compared with every other, so the time grows with N^2.

    Args:
        count: N.
        images: positions (n,) -> uint8 (n, C, H, W); all of one shape.
        threshold: cosine of two descriptions, in (0, 1).

    Reference:
        Thumbnails as descriptions: Torralba, Fergus, Freeman (2008), 80 Million Tiny Images, section IV.
        Differs: a fixed threshold instead of the nearest neighbours.
    """
    parts = [part for part in torch.split(torch.arange(count), _CHUNK) if len(part)]
    descriptions = [described(images(part)) for part in parts]
    pairs, cosines, total = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.float32)], 0
    # One tile for all products: among what is kept of each, tiles of 16 MB leave holes of just under 16 MB,
    # and the 60,000 images of CIFAR-10 took 3.4 GB instead of 0.9.
    tile = torch.empty(_CHUNK**2)
    for a, left in enumerate(descriptions):
        for b in range(a, len(descriptions)):
            right = descriptions[b]
            cosine = torch.mm(left, right.T, out=tile[: len(left) * len(right)].view(len(left), len(right)))
            found, high = _above(cosine, threshold, above_diagonal=a == b)
            pairs.append(found + np.array([a * _CHUNK, b * _CHUNK]))
            cosines.append(high)
            total += len(found)
            if total > MOST_PAIRS:
                return _in_order(pairs, cosines, complete=False)
    return _in_order(pairs, cosines, complete=True)


def _above(cosine: Tensor, threshold: float, *, above_diagonal: bool) -> tuple[np.ndarray, np.ndarray]:
    """Positions (P, 2) and values (P,) of what reaches the threshold in a tile (n, n)."""
    # Almost no row has anything; looking for positions in the others costs more than the product did.
    rows = (cosine.amax(1) >= threshold).nonzero().flatten()
    inside = (cosine[rows] >= threshold).nonzero()
    found = torch.stack([rows[inside[:, 0]], inside[:, 1]], 1)
    if above_diagonal:
        found = found[found[:, 0] < found[:, 1]]
    return found.numpy(), cosine[found[:, 0], found[:, 1]].numpy()


def _in_order(pairs: Sequence[np.ndarray], cosines: Sequence[np.ndarray], *, complete: bool) -> Alike:
    every, values = np.concatenate(pairs), np.concatenate(cosines)
    order = np.lexsort((every[:, 1], every[:, 0]))
    return Alike(every[order], values[order], complete)
