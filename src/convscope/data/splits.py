"""Which images are held out?

In: labels, a share and a generator.  Out: the positions kept and the positions
held out, each class divided alike.  Knows nothing of pixels or files.

    N  images      K  classes
"""

from collections.abc import Sequence
from math import ceil

import numpy as np

from convscope.core.errors import DataError

_NAMED = 5
"""How many classes a message names before it only counts."""


def stratified(
    labels: np.ndarray, share: float, generator: np.random.Generator, classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out `share` of the images, by class, at random.

    Exactly round(share x N) images are held out. Each class gives its part of them, rounded so that the
    sum is exact (largest remainder; ties go to the class that is first), but at least one image stays on
    either side in every class.

    Args:
        labels: (N,), in 0..K-1.
        share: between 0 and 1.
        generator: decides which images of a class; equal generators give equal splits.
        classes: K names, for the messages.

    Returns:
        (kept, held out): positions, int64, ascending; together they are 0..N-1.

    Raises:
        DataError: a class has fewer than two images, or the share is too small or too large for every
            class to be on both sides.
    """
    counts = np.bincount(labels, minlength=len(classes))
    _refuse_small_classes(counts, classes)
    wanted = round(share * len(labels))
    _refuse_extreme_share(share, wanted, len(labels), len(classes))
    each = _apportioned(counts, wanted)
    # A random order within each class: sorted by class first, by a random number second.
    order = np.lexsort((generator.random(len(labels)), labels))
    starts = np.cumsum(counts) - counts
    place_in_class = np.arange(len(labels)) - np.repeat(starts, counts)
    held = place_in_class < np.repeat(each, counts)
    return np.sort(order[~held]), np.sort(order[held])


def _apportioned(counts: np.ndarray, wanted: int) -> np.ndarray:
    """(K,) parts of `wanted` in proportion to the counts; every part in 1..count-1."""
    # Whole numbers throughout, so that no machine rounds differently.
    exact, total = counts * wanted, int(counts.sum())
    parts: np.ndarray = np.clip(exact // total, 1, counts - 1)
    while missing := wanted - int(parts.sum()):
        step = 1 if missing > 0 else -1
        lacking = (exact - parts * total) * step
        allowed = np.flatnonzero(parts < counts - 1 if missing > 0 else parts > 1)
        neediest = allowed[np.argsort(-lacking[allowed], kind="stable")][: abs(missing)]
        parts[neediest] += step
    return parts


def _refuse_small_classes(counts: np.ndarray, classes: Sequence[str]) -> None:
    small = np.flatnonzero(counts < 2)  # noqa: PLR2004
    if not len(small):
        return
    named = ", ".join(f"{classes[k]!r} ({counts[k]})" for k in small[:_NAMED])
    more = f" and {len(small) - _NAMED:,} more" if len(small) > _NAMED else ""
    raise DataError(
        f"To hold out images of every class, each class needs at least 2 images. Too few have: {named}{more}."
        f" Add images of these classes or take the classes out."
    )


def _refuse_extreme_share(share: float, wanted: int, images: int, classes: int) -> None:
    if classes <= wanted <= images - classes:
        return
    smallest = ceil(100 * classes / images) / 100
    raise DataError(
        f"A share of {share:g} of {images:,} images is {wanted:,}, but with {classes:,} classes at least "
        f"{classes:,} must be on either side, one of each class. Hold out a share from {smallest:g} to "
        f"{1 - smallest:g}, or add images."
    )
