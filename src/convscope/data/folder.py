"""What data set is this folder of images?

In: `folder:PATH`.  Out: a `Raw`.  Every file is decoded before anything else
is done with it, those that cannot be are all named, and nothing is written to
PATH.  Where each file belongs is decided in `layout`.

    N  images of a part      M  images in all      C  channels      H, W  pixels
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median_low

import numpy as np

from convscope.core.config import Choice
from convscope.core.errors import BadImages, DataError, DataMissing

from .decode import Undecodable
from .images import UNLABELLED, Arrays, Raw, Request
from .layout import PARTS, Place, find, layout, missing_notes, refuse_empty
from .read import each_image, shown

_LARGEST_PROPOSED = 224
"""Pixels; photographs of 4,000 x 3,000 are not for training at that size."""


@dataclass
class _Decoded:
    """What decoding a list of files gave."""

    images: list[np.ndarray] = field(default_factory=list)
    """(C, H, W) each; no longer kept once two sizes were met, since they cannot be used together."""
    good: list[int] = field(default_factory=list)
    """Which files gave an image."""
    problems: dict[str, str] = field(default_factory=dict)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """(height, width) -> number of images."""
    grey: int = 0
    """Number of images of one channel."""

    def stacked(self) -> np.ndarray:
        """(M, C, H, W); grey images among colour ones get three equal channels."""
        channels = max(len(image) for image in self.images)
        pixels = np.empty((len(self.images), channels, *self.images[0].shape[1:]), np.uint8)
        for row, image in enumerate(self.images):
            pixels[row] = image
        return pixels


def folder(request: Request) -> Raw:
    """Read a folder of images.

    Raises:
        DataMissing: there is no such folder.
        DataError: no images, an empty class, a single class, sizes that differ without a wished size, or
            folders that are in neither of the two layouts.
        ClassMismatch: a class of the test or validation images that the training images do not have.
        BadImages: files that are not usable, every one named; with `skip_bad` they are left out and noted.
    """
    root = Path(request.place).expanduser()
    if not request.place or not root.is_dir():
        raise DataMissing(
            f"There is no folder {request.place!r}. Give one that holds a folder of images for each class, "
            f"as folder:PATH."
        )
    found = find(root)
    arranged = layout(root, found)
    decoded = _decoded(root, [place.name for place in arranged.places], request)
    problems = dict(sorted({**found.problems, **decoded.problems}.items()))
    if problems and not request.skip_bad:
        raise BadImages(
            {shown(name): reason for name, reason in problems.items()},
            "Repair or remove them, or give --skip-bad to leave them out; which were left out is recorded.",
        )
    places = [arranged.places[i] for i in decoded.good]
    refuse_empty(arranged, places)
    if len(decoded.sizes) > 1:
        raise _differing(decoded.sizes)
    notes = [
        *found.notes(),
        *_exclusions(problems),
        *_conversions(decoded),
        *missing_notes(arranged, places),
    ]
    return _raw(root, arranged.classes, _parts(places, decoded.stacked(), arranged.classes), notes)


def _decoded(root: Path, names: Sequence[str], request: Request) -> _Decoded:
    """Decode every file."""
    result = _Decoded()
    paths = [root / name for name in names]
    images = each_image(paths, None, request.size, request.fit, workers=min(8, os.cpu_count() or 1))
    for row, image in enumerate(images):
        if isinstance(image, Undecodable):
            result.problems[names[row]] = image.reason
            continue
        channels, height, width = image.shape
        result.good.append(row)
        result.grey += channels == 1
        result.sizes[height, width] += 1
        if len(result.sizes) == 1:
            result.images.append(image)
        else:
            result.images.clear()
    return result


def _differing(sizes: Counter[tuple[int, int]]) -> DataError:
    """The refusal of images of differing sizes, with the sizes and a proposal."""
    common = ", ".join(
        f"{width} x {height} ({count:,} {'image' if count == 1 else 'images'})"
        for (height, width), count in sizes.most_common(3)
    )
    more = f" and {len(sizes) - 3:,} more" if len(sizes) > 3 else ""  # noqa: PLR2004
    shorter = median_low([min(size) for size in sizes.elements()])
    proposed = min(_LARGEST_PROPOSED, max(8, 8 * round(shorter / 8)))
    return DataError(
        f"The images have {len(sizes):,} different sizes (width x height): {common}{more}. Say to which they "
        f"should be brought, such as --size {proposed}; the median of their shorter sides is {shorter:,}."
    )


def _exclusions(problems: Mapping[str, str]) -> list[str]:
    if not problems:
        return []
    lines = "".join(f"\n  {shown(name)}: {reason}" for name, reason in problems.items())
    return [f"Left out {len(problems):,} {'file' if len(problems) == 1 else 'files'} not usable:{lines}"]


def _conversions(decoded: _Decoded) -> list[str]:
    if decoded.grey in (0, len(decoded.images)):
        return []
    count = f"{decoded.grey:,} of {len(decoded.images):,}"
    return [f"{count} images are grey, the others in colour: the grey ones were given three equal channels."]


def _parts(places: Sequence[Place], pixels: np.ndarray, classes: Sequence[str]) -> dict[str, Arrays]:
    """The images of each part; as the places are sorted by part, these are slices and no copies."""
    number = {cls: label for label, cls in enumerate(classes)}
    parts = {}
    for part in PARTS:
        rows = [row for row, place in enumerate(places) if place.part == part]
        if rows:
            inside = slice(rows[0], rows[-1] + 1)
            labels = [UNLABELLED if place.cls is None else number[place.cls] for place in places[inside]]
            files = tuple(place.name for place in places[inside])
            parts[part] = Arrays(pixels[inside], np.array(labels, np.int64), files)
    return parts


def _raw(root: Path, classes: tuple[str, ...], parts: Mapping[str, Arrays], notes: Sequence[str]) -> Raw:
    test = parts.get("test")
    height, width = parts["train"].images.shape[2:]
    return Raw(
        # The name becomes part of a run's directory.
        name=re.sub(r"[^\w.-]+", "-", root.resolve().name) or "folder",
        classes=classes,
        train=parts["train"],
        val=parts.get("val"),
        test=None if test is None else lambda: test,
        test_images=0 if test is None else len(test.images),
        hash=_hash(classes, parts),
        unlabelled=parts.get("unlabelled"),
        # Four pixels for 32 x 32, as usual there, and in proportion elsewhere; 64 is the most `crop` takes.
        augment=(
            Choice(name="crop", options={"padding": min(64, min(height, width) // 8)}),
            Choice(name="flip"),
        ),
        validation=0.2,
        test_share=0.2,
        notes=tuple(notes),
    )


def _hash(classes: Sequence[str], parts: Mapping[str, Arrays]) -> str:
    """SHA-256 of class names and, for each part, names, labels and pixels."""
    content = hashlib.sha256()
    for part, arrays in parts.items():
        # As JSON, whose escapes hold any name and whose brackets keep the pieces apart.
        what = [list(classes), part, arrays.files, arrays.labels.tolist(), arrays.images.shape]
        content.update(json.dumps(what).encode())
        content.update(arrays.images.data)
    return content.hexdigest()
