"""What is a set of images, once it is in memory?

uint8 pixels, labels, class names, and which rows belong to this split.  The
pixels may be a memory map of the decoded cache: all splits share them, and a
batch copies only its own rows, so a set larger than memory streams.  Knows
nothing of files, networks or training.

    M  images stored      N  images of this split      C  channels      H, W  pixels      K  classes
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from convscope.core.config import Choice
from convscope.core.errors import SealedSplit

from .noise import NoiseReport

UNLABELLED = -1


@dataclass(frozen=True)
class ImageSet:
    """The images of one split."""

    pixels: Tensor
    """uint8, (M, C, H, W); shared by all splits, possibly memory-mapped."""
    rows: Tensor
    """int64, (N,): which stored images belong to this split."""
    labels: Tensor
    """int64, (N,), in 0..K-1, or -1 for an image without a label."""
    classes: tuple[str, ...]
    """K names; label k means classes[k]."""
    files: tuple[str, ...] = ()
    """Where each of the N images came from, relative to the source's folder; empty if not from files."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.pixels.shape
        return channels, height, width

    def batch(self, which: Tensor) -> Tensor:
        """The chosen images of this split: positions (n,) -> uint8 (n, C, H, W)."""
        return self.pixels[self.rows[which]]

    def subset(self, which: Tensor) -> ImageSet:
        """A smaller split on the same pixels: positions (n,) -> ImageSet of n images."""
        files = tuple(self.files[i] for i in which.tolist()) if self.files else ()
        return replace(self, rows=self.rows[which], labels=self.labels[which], files=files)


@dataclass(frozen=True)
class Arrays:
    """Decoded images of one part of a source, before splitting."""

    images: np.ndarray
    """uint8, (N, C, H, W); may be a memory map."""
    labels: np.ndarray
    """int64, (N,); -1 for no label."""
    files: tuple[str, ...] = ()
    """Path of each image relative to the source's folder, if the images came from files."""


@dataclass(frozen=True)
class Raw:
    """What a source delivers: everything there is to know about a data set before it is split."""

    name: str
    classes: tuple[str, ...]
    train: Arrays
    """Labelled images for training and validation (and for the test split, where `test` is None)."""
    test: Callable[[], Arrays] | None
    """Reads the set's own test split; called only when the seal is broken."""
    test_images: int
    """Number of images in the set's own test split; 0 if it has none."""
    hash: str
    """SHA-256 of everything that can reach a number: pixels, labels and class names of all parts."""
    unlabelled: Arrays | None = None
    augment: tuple[Choice, ...] = ()
    """What `auto` augmentation means for these images."""
    validation: float = 0.1
    """Share of the training images held out by default."""
    test_share: float = 0.2
    """Share sealed as test split by default, where the set has none."""
    notes: tuple[str, ...] = ()
    """Sentences the user should read: what was ignored, excluded or converted."""
    val: Arrays | None = None
    """The source's own validation images; where given, the split uses exactly these and draws none."""


@dataclass(frozen=True)
class Request:
    """What a source is asked for."""

    place: str = ""
    """What follows the colon in `folder:PATH`; empty for a named set."""
    data_dir: Path | None = None
    """Searched first for named sets; then $CONVSCOPE_DATA, then the user cache."""
    cache_dir: Path = field(default_factory=Path)
    """Where decoded pixels and downloads are kept."""
    size: int | None = None
    fit: str = "crop"
    skip_bad: bool = False
    download: bool = True


@dataclass(frozen=True)
class Sealed:
    """A test split nobody has looked at: its size is known, its images are not readable from here."""

    count: int
    _open: Callable[[], ImageSet] = field(repr=False)

    def __len__(self) -> int:
        return self.count

    def __getattr__(self, name: str) -> object:
        if name in ("pixels", "rows", "labels", "files", "batch", "subset"):
            raise SealedSplit(
                "The test split is sealed: choose on the validation split. When everything is decided, "
                "`convscope test RUN` opens it once and records that."
            )
        raise AttributeError(name)

    def open(self, record: Callable[[], None]) -> ImageSet:
        """Write the opening down with `record`, then read the images: in that order."""
        record()
        return self._open()


@dataclass(frozen=True)
class Data:
    """A data set, split."""

    name: str
    classes: tuple[str, ...]
    train: ImageSet
    val: ImageSet
    test: Sealed
    mean: tuple[float, ...]
    """Per channel, of the training split, in [0, 1]."""
    std: tuple[float, ...]
    """Per channel, of the training split, in [0, 1]; a constant channel has 1."""
    hash: str
    """Content hash of the whole source (see Raw.hash); the split is not in it."""
    unlabelled: ImageSet | None = None
    augment: tuple[Choice, ...] = ()
    notes: tuple[str, ...] = ()
    noise: NoiseReport | None = None
    """What was made wrong on purpose among the training labels, and what they were; None: nothing."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        return self.train.shape


def image_set(arrays: Arrays, classes: Sequence[str]) -> ImageSet:
    """All images of one part as a split of its own."""
    return ImageSet(
        pixels=torch.from_numpy(arrays.images),
        rows=torch.arange(len(arrays.images)),
        labels=torch.from_numpy(np.asarray(arrays.labels, dtype=np.int64)),
        classes=tuple(classes),
        files=arrays.files,
    )
