"""Which images are held out?

In: labels, a share or a number of parts, and a generator.  Out: the positions
kept and the positions held out, or the part of each image; each class is
divided alike, and what must not be parted is not.  Knows nothing of pixels or
files.

    N  images      K  classes
"""

from collections.abc import Sequence
from math import ceil

import numpy as np

from convscope.core.errors import DataError

_NAMED = 5
"""How many classes a message names before it only counts."""


def stratified(
    labels: np.ndarray,
    share: float,
    generator: np.random.Generator,
    classes: Sequence[str],
    copies: Sequence[np.ndarray] = (),
    purpose: str = "validation",
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out `share` of the images, by class, at random.

    Exactly round(share x N) images are held out. Each class gives its part of them, rounded so that the
    sum is exact (largest remainder; ties go to the class that is first), but at least one image stays on
    either side in every class. Copies stay on one side where every class can then be on both; they may make
    a class give more or less than its part.

    Args:
        labels: (N,), in 0..K-1.
        share: between 0 and 1.
        generator: decides which images of a class; equal generators give equal splits.
        classes: K names, for the messages.
        copies: groups of positions that should stay together. Without any, the split is the same as if this
            argument did not exist.
        purpose: what the images are held out for, `validation` or `test`, for the messages.

    Returns:
        (kept, held out): positions, int64, ascending; together they are 0..N-1.

    Raises:
        DataError: a class has fewer than two images, or the share is too small or too large for every
            class to be on both sides.
    """
    counts = np.bincount(labels, minlength=len(classes))
    refuse_small_classes(counts, classes, 2, "To hold out images of every class, each class")
    wanted = round(share * len(labels))
    _refuse_extreme_share(share, wanted, len(labels), len(classes), purpose)
    each = _apportioned(counts, wanted)
    keys = generator.random(len(labels))
    held = _together(labels, each, keys, copies) if copies else _drawn(labels, each, keys)
    return np.flatnonzero(~held), np.flatnonzero(held)


def folds(
    labels: np.ndarray,
    parts: int,
    generator: np.random.Generator,
    classes: Sequence[str],
    copies: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """Deal the images out into parts of equal size, each class alike, for cross-validation.

    Without copies the sizes of two parts differ by at most one, and so does the number of images of a class
    in them. Copies go to the part of their first, unless a class would then be in one part alone.

    Args:
        labels: (N,), in 0..K-1.
        parts: at least 2.
        generator: decides which images of a class go to which part.
        classes: K names, for the messages.
        copies: groups of positions that should stay together.

    Returns:
        int64, (N,): the part of each image, 0..parts-1.

    Raises:
        DataError: a class has fewer images than there are parts.

    Reference:
        Stone (1974), Cross-Validatory Choice.  Each part is held out from a model of its own: to hold out
        another part in every epoch, as S4.5 has it, shows every image to the same model (E4.5).
    """
    counts = np.bincount(labels, minlength=len(classes))
    refuse_small_classes(counts, classes, parts, f"For {parts} folds each class", ", or ask for fewer folds")
    order = _by_class(labels, generator.random(len(labels)))
    dealt = np.empty(len(labels), dtype=np.int64)
    dealt[order] = np.arange(len(labels)) % parts
    groups = list(copies)
    while True:
        part = dealt.copy()
        for group in groups:
            part[group] = part[group[0]]
        lacking = _in_one_part(labels, part, len(classes))
        torn = any(lacking[labels[group]].any() for group in groups)
        if not torn and np.bincount(part, minlength=parts).all():
            return part
        groups = [group for group in groups if not lacking[labels[group]].any()] if torn else []


def _in_one_part(labels: np.ndarray, part: np.ndarray, classes: int) -> np.ndarray:
    """(K,): whether all images of a class are in the same part."""
    lowest, highest = np.full(classes, np.iinfo(np.int64).max), np.full(classes, -1)
    np.minimum.at(lowest, labels, part)
    np.maximum.at(highest, labels, part)
    found: np.ndarray = lowest == highest
    return found


def _by_class(labels: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """(N,): positions by class first, by a random number second."""
    return np.lexsort((keys, labels))


def _drawn(labels: np.ndarray, each: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """(N,): hold out `each` (K,) images of each class, those with the smallest keys (N,)."""
    counts = np.bincount(labels, minlength=len(each))
    order = _by_class(labels, keys)
    starts = np.cumsum(counts) - counts
    place_in_class = np.arange(len(labels)) - np.repeat(starts, counts)
    held = np.zeros(len(labels), dtype=bool)
    held[order[place_in_class < np.repeat(each, counts)]] = True
    return held


def _together(
    labels: np.ndarray, each: np.ndarray, keys: np.ndarray, copies: Sequence[np.ndarray]
) -> np.ndarray:
    """`_drawn`, with copies on one side; those are parted without which a class cannot be on both."""
    groups = list(copies)
    while groups:
        held = _held_whole(labels, each, keys, groups)
        missing = np.bincount(labels[held], minlength=len(each)) == 0
        torn = [group for group in groups if missing[labels[group]].any()]
        if not torn:
            return held
        groups = [group for group in groups if not missing[labels[group]].any()]
    return _drawn(labels, each, keys)


def _held_whole(
    labels: np.ndarray, each: np.ndarray, keys: np.ndarray, groups: Sequence[np.ndarray]
) -> np.ndarray:
    """(N,): take whole units, images or groups, in the order of their keys, while their classes have room.

    So a group is held out about as often as an image, and every class keeps an image. A class may have none
    held out: then the first of its groups that leaves an image to each of its classes is taken too.
    """
    alone = np.ones(len(labels), dtype=bool)
    alone[np.concatenate(groups)] = False
    units = [np.array([position]) for position in np.flatnonzero(alone)] + list(groups)
    units.sort(key=lambda unit: keys[unit[0]])
    held = np.zeros(len(labels), dtype=bool)
    room = each.copy()
    for unit in units:
        classes, sizes = _classes_of(unit, labels)
        if (sizes <= room[classes]).all():
            held[unit] = True
            room[classes] -= sizes
    kept = np.bincount(labels[~held], minlength=len(each))
    for unit in groups:
        classes, sizes = _classes_of(unit, labels)
        none_held = not held[unit[0]] and (room[classes] == each[classes]).any()
        if none_held and (kept[classes] > sizes).all():
            held[unit] = True
            room[classes] -= sizes
            kept[classes] -= sizes
    return held


def _classes_of(unit: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes of a unit of images, and how many of them are of each."""
    if len(unit) == 1:
        return labels[unit], np.ones(1, dtype=np.int64)  # many times as fast
    return np.unique(labels[unit], return_counts=True)


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


def refuse_small_classes(
    counts: np.ndarray, classes: Sequence[str], least: int, why: str, hint: str = ""
) -> None:
    """Refuse classes with fewer than `least` images: counts (K,).

    Raises:
        DataError: with the first of them by name.
    """
    small = np.flatnonzero(counts < least)
    if not len(small):
        return
    named = ", ".join(f"{classes[k]!r} ({counts[k]})" for k in small[:_NAMED])
    more = f" and {len(small) - _NAMED:,} more" if len(small) > _NAMED else ""
    raise DataError(
        f"{why} needs at least {least} images. Too few have: {named}{more}."
        f" Add images of these classes or take the classes out{hint}."
    )


def _refuse_extreme_share(share: float, wanted: int, images: int, classes: int, purpose: str) -> None:
    if classes <= wanted <= images - classes:
        return
    smallest = ceil(100 * classes / images) / 100
    allowed = f"from {smallest:g} to {1 - smallest:g}" if smallest < 0.5 else f"of {smallest:g}"
    raise DataError(
        f"For {purpose}, a share of {share:g} of {images:,} images is {wanted:,}, but with {classes:,} classes at "
        f"least {classes:,} must be on either side, one of each class. Hold out a share {allowed} (--{purpose}), or "
        f"add images."
    )
