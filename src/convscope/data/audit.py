"""What should be known about a data set before anything is trained on it?

How many images each class has, which images are there twice, and which look
like another one, within a split and across.  The images of the test split are
compared by their pixels; their labels and file names (which may hold a label)
are neither used nor shown, so an audit is no opening of the test split.

    N  images of all splits      K  classes
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from convscope.core.config import DataConfig

from .divide import Division, divide
from .duplicates import ALIKE, alike, digests, grouped
from .images import UNLABELLED, ImageSet, Raw, image_set

PARTS = ("train", "val", "test")
UNEVEN = 1.5
"""Ratio of the largest to the smallest class from which on it is worth a remark."""
MANY = 0.05
"""Share of images with one like them above which the pictures may be alike by nature.

It is 0.3 % in CIFAR-10; among 10,000 images it is 7 % in MNIST and 26 % in Fashion-MNIST."""
_CHUNK = 1024

Crossings = Mapping[str, Mapping[str, int]]
"""crossings["test"]["train"]: how many test images have a copy among the training images."""


class Where(NamedTuple):
    """One image."""

    part: str
    """train, val or test."""
    position: int
    """In its split, from 0."""
    name: str
    """Its file where it has one, else split and position; never the file of a test image."""
    label: str | None
    """Its class; None for a test image."""


@dataclass(frozen=True)
class Audit:
    """What was found; nothing was changed."""

    name: str
    hash: str
    """Content hash of the whole source."""
    classes: tuple[str, ...]
    images: Mapping[str, int]
    """Images per split."""
    balance: Mapping[str, tuple[int, ...]]
    """Images per class, (K,), of the training and validation images."""
    exact: tuple[tuple[Where, ...], ...]
    """Groups of images that are equal in every pixel."""
    near: tuple[tuple[Where, Where, float], ...] | None
    """Pairs that look alike without being equal, and their cosine; None: not looked for."""
    near_is_complete: bool
    """False: there were so many pairs that the search was given up."""
    threshold: float
    """Cosine from which on two images look alike."""

    @property
    def conflicting(self) -> tuple[tuple[Where, ...], ...]:
        """Groups of equal images that have more than one label."""
        return tuple(group for group in self.exact if len({image.label for image in group} - {None}) > 1)

    @property
    def exact_crossings(self) -> Crossings:
        """Images of one split that are equal to another image of a split."""
        found: Counter[tuple[str, str]] = Counter()
        for group in self.exact:
            count = Counter(image.part for image in group)
            for part, other in ((part, other) for part in count for other in count):
                if part != other or count[part] > 1:
                    found[part, other] += count[part]
        return _table(found)

    @property
    def near_crossings(self) -> Crossings:
        """Images of one split that look like another image of a split."""
        linked: dict[tuple[str, str], set[int]] = {}
        for one, other, _ in self.near or ():
            linked.setdefault((one.part, other.part), set()).add(one.position)
            linked.setdefault((other.part, one.part), set()).add(other.position)
        return _table({key: len(images) for key, images in linked.items()})

    @property
    def share_alike(self) -> float:
        """Share of all images that look like another one; if the search was given up, of those seen."""
        pairs = self.near or ()
        images = {(image.part, image.position) for one, other, _ in pairs for image in (one, other)}
        return len(images) / sum(self.images.values())

    def sentences(self) -> list[str]:
        """Each finding in words, with what to do about it."""
        told = [self._balance_in_words(), self._exact_in_words()]
        if self.conflicting:
            has = "has" if len(self.conflicting) == 1 else "have"
            told.append(
                f"{_count(len(self.conflicting), 'group')} of equal images {has} more than one label: at least one "
                f"of them is wrong."
            )
        told.append(self._near_in_words())
        told.append(
            "The test images were compared by their pixels; their labels were neither used nor shown, so this is "
            "no opening of the test split."
        )
        return told

    def _balance_in_words(self) -> str:
        counts = self.balance["train"]
        most, least = (pick(range(len(counts)), key=counts.__getitem__) for pick in (max, min))
        if counts[most] == counts[least]:
            return f"Every class has {counts[most]:,} training images."
        told = (
            f"The classes have from {counts[least]:,} ({self.classes[least]}) to {counts[most]:,} "
            f"({self.classes[most]}) training images"
        )
        if counts[most] < UNEVEN * counts[least]:
            return f"{told}."
        return (
            f"{told}, {counts[most] / max(counts[least], 1):.1f} to 1: look at the balanced accuracy, and try "
            f"--class-weights balanced."
        )

    def _exact_in_words(self) -> str:
        if not self.exact:
            return "No two images are equal in every pixel."
        told = f"{sum(map(len, self.exact)):,} images in {_count(len(self.exact), 'group')} are equal in every pixel"
        seen = sum(_tests(group) for group in self.exact if _tests(group) < len(group))
        return f"{told}; {_seen_before(seen, self.images['test'], 'equal one')}."

    def _near_in_words(self) -> str:
        if self.near is None:
            return "Images that look alike were not looked for."
        rule = f"cosine of their thumbnails at least {self.threshold:g}"
        more = "" if self.near_is_complete else "More than "
        told = f"{more}{_count(len(self.near), 'pair')} of images look alike without being equal ({rule})"
        mixed = [pair[:2] for pair in self.near if _tests(pair[:2]) == 1]
        seen = len({image.position for pair in mixed for image in pair if image.part == "test"})
        told = f"{told}; {_seen_before(seen, self.images['test'], 'image like it')}."
        if self.share_alike <= MANY:
            return told
        return (
            f"{told} That is {self.share_alike:.1%} of all images: many copies, or pictures that are alike by nature, "
            f"as digits are. Look at some pairs; an --alike nearer to 1 leaves the nearest."
        )

    def as_table(self) -> dict[str, Any]:
        """Plain values for a file."""
        return {
            "data": self.name,
            "hash": self.hash,
            "images": dict(self.images),
            "classes": {
                name: {part: counts[k] for part, counts in self.balance.items()}
                for k, name in enumerate(self.classes)
            },
            "exact": [[image._asdict() for image in group] for group in self.exact],
            "exact_crossings": self.exact_crossings,
            "conflicting_labels": len(self.conflicting),
            "near": None
            if self.near is None
            else [[a._asdict(), b._asdict(), round(cosine, 5)] for a, b, cosine in self.near],
            "near_crossings": self.near_crossings,
            "near_is_complete": self.near_is_complete,
            "threshold": self.threshold,
            "findings": self.sentences(),
        }


def _table(found: Mapping[tuple[str, str], int]) -> Crossings:
    return {part: {other: found.get((part, other), 0) for other in PARTS} for part in PARTS}


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _tests(images: Sequence[Where]) -> int:
    return sum(image.part == "test" for image in images)


def _seen_before(seen: int, tests: int, what: str) -> str:
    """How many test images say less than they seem to."""
    if not seen:
        return f"no test image has an {what} among those for training or validation"
    return (
        f"{seen:,} of the {tests:,} test images ({seen / tests:.2%}) have an {what} among those for training or "
        f"validation, so a test accuracy is in part memory"
    )


def audit(
    raw: Raw,
    config: DataConfig,
    cache: Path | None = None,
    *,
    near: bool = True,
    threshold: float = ALIKE,
) -> Audit:
    """Look at every image of a source, split as a run would split it.

    CIFAR-10's 60,000 images take about 20 s on two cores, and 0.9 GB; the comparison of every image
    with every other, which is most of it, grows with N^2.

    Args:
        raw: the source.
        config: shares and seed of the split; folds, label_noise and refit have no meaning here.
        cache: where it is remembered which images are copies.
        near: whether to compare every image with every other.
        threshold: cosine of two descriptions from which on images look alike, in (0, 1).

    Reference:
        Barz, Denzler (2020), Do We Train on Test Data?, who found by eye that 3.3 % of CIFAR-10's test images
        look like a training image.  https://arxiv.org/abs/1902.00423
        Differs: they rank by the features of a trained network, which see more; ours misses what was cropped
        or mirrored.
    """
    parts = _parts(raw, divide(raw, config, cache))
    gallery = _Gallery(parts)
    exact = grouped(key for part in parts.values() for key in _digests(part))
    pairs, complete = None, True
    if near:
        # One image of each group of equal ones stands for it.
        again = {int(position) for group in exact for position in group[1:]}
        distinct = torch.tensor([i for i in range(len(gallery)) if i not in again])
        found = alike(len(distinct), lambda which: gallery.batch(distinct[which]), threshold)
        places = distinct.numpy()[found.pairs]
        pairs = tuple(
            (gallery.where(i), gallery.where(j), float(cosine))
            for (i, j), cosine in zip(places.tolist(), found.cosines, strict=True)
        )
        complete = found.complete
    return Audit(
        name=raw.name,
        hash=raw.hash,
        classes=raw.classes,
        images={part: len(images) for part, images in parts.items()},
        balance={part: _per_class(parts[part]) for part in ("train", "val")},
        exact=tuple(tuple(gallery.where(i) for i in group.tolist()) for group in exact),
        near=pairs,
        near_is_complete=complete,
        threshold=threshold,
    )


def _parts(raw: Raw, division: Division) -> dict[str, ImageSet]:
    """The three splits; the test images without labels and without files."""
    everything = image_set(raw.train, raw.classes)
    own_val = image_set(raw.val, raw.classes) if raw.val else everything
    val = own_val if division.val is None else everything.subset(torch.from_numpy(division.val))
    if division.test is not None:
        test = everything.subset(torch.from_numpy(division.test))
    else:
        assert raw.test is not None  # divide says so
        test = image_set(raw.test(), raw.classes)
    test = replace(test, labels=torch.full((len(test),), UNLABELLED), files=())
    return {"train": everything.subset(torch.from_numpy(division.train)), "val": val, "test": test}


def _per_class(images: ImageSet) -> tuple[int, ...]:
    return tuple(torch.bincount(images.labels, minlength=len(images.classes)).tolist())


def _digests(images: ImageSet) -> Iterator[bytes]:
    for part in torch.split(torch.arange(len(images)), _CHUNK):
        yield from digests(images.batch(part).numpy())


class _Gallery:
    """All splits, one after the other, under one numbering."""

    def __init__(self, parts: Mapping[str, ImageSet]) -> None:
        self.parts: Sequence[tuple[str, ImageSet]] = list(parts.items())
        self.ends = np.cumsum([len(images) for images in parts.values()])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def where(self, number: int) -> Where:
        """The image of this number."""
        index = int(np.searchsorted(self.ends, number, side="right"))
        part, images = self.parts[index]
        position = number - (int(self.ends[index - 1]) if index else 0)
        label = int(images.labels[position])
        return Where(
            part=part,
            position=position,
            name=images.files[position] if images.files else f"{part} {position}",
            label=images.classes[label] if label != UNLABELLED else None,
        )

    def batch(self, numbers: Tensor) -> Tensor:
        """The pixels of the images of these numbers, ascending: uint8 (n, C, H, W)."""
        start, found = 0, []
        for (_, images), end in zip(self.parts, self.ends.tolist(), strict=True):
            inside = numbers[(numbers >= start) & (numbers < end)]
            found.append(images.batch(inside - start))
            start = end
        return torch.cat(found)
