"""Which images of a source are for training, for choosing and for the final test?

In: a source as it is, and how it should be split.  Out: positions.  Whatever
a source brings itself is kept; the rest is drawn by class, from keyed
streams, so the same configuration always gives the same split.

    N  images of the source's training part      K  classes
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convscope.core.config import DataConfig
from convscope.core.errors import ConfigError, DataError
from convscope.core.streams import Streams

from .duplicates import remembered_copies
from .images import Raw
from .layout import listing
from .splits import folds, refuse_small_classes, stratified

DRAWN_IMAGE_BY_IMAGE = ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "synthetic")
"""Sources whose validation images were drawn before copies were looked at; results rest on those splits."""


@dataclass(frozen=True)
class Division:
    """Positions in the source's training part, ascending."""

    train: np.ndarray
    val: np.ndarray | None
    """None: the source has validation images of its own."""
    test: np.ndarray | None
    """None: the source has a test split of its own."""
    notes: tuple[str, ...] = ()


def refuse_contradictions(config: DataConfig) -> None:
    """Refuse settings that cannot be meant together, before any image is read.

    Raises:
        ConfigError: which, and what to leave out.
    """
    parts, fold = config.folds, config.fold
    if parts == 0 and fold is not None:
        raise ConfigError(
            f"fold is {fold}, but folds does not say of how many. Give both, such as --folds 5."
        )
    if parts == 0:
        return
    if parts == 1:
        raise ConfigError(
            "folds is 1, but cross-validation needs at least 2 parts: one is held out and the rest trained on."
        )
    if fold is None:
        raise ConfigError(
            f"folds is {parts}, but fold does not say which part is held out: 0 to {parts - 1}. `convscope "
            f"train` without --fold holds out each in turn."
        )
    if fold >= parts:
        raise ConfigError(f"fold is {fold}, but the parts of folds = {parts} are 0 to {parts - 1}.")
    if config.refit:
        raise ConfigError(
            f"refit trains on the validation images too, and folds = {parts} holds them out. Leave one of the "
            f"two out."
        )
    if config.validation is not None:
        raise ConfigError(
            f"With folds = {parts} the validation images are those of one part, so validation = "
            f"{config.validation:g} has no meaning. Leave it out; --validation None takes it out of a file."
        )


def divide(raw: Raw, config: DataConfig, cache: Path | None = None) -> Division:
    """Split a source as asked.

    Args:
        raw: the source.
        config: shares, folds, refit and the seed of the split.
        cache: where it is remembered which images are copies; absent: they are looked for.

    Raises:
        ConfigError: settings that cannot be meant together.
        DataError: a single class, or too few images of one.
    """
    refuse_contradictions(config)
    labels, streams = np.asarray(raw.train.labels), Streams(config.split_seed)
    _refuse_few(raw, config, labels)
    pool, test = np.arange(len(labels)), None
    copies = _copies(raw, config, cache)
    if raw.test is None:
        share = raw.test_share if config.test is None else config.test
        pool, test = stratified(labels, share, streams.generator("split", 1), raw.classes, copies, "test")
    kept, held = _held_out(raw, config, labels[pool], streams, _within(copies, pool, len(labels)))
    train, val = pool[kept], None if held is None else pool[held]
    _refuse_empty_classes(labels[train], raw.classes)
    return Division(train, val, test, _notes(copies, len(labels), val, test))


def _refuse_few(raw: Raw, config: DataConfig, labels: np.ndarray) -> None:
    if len(raw.classes) < 2:
        raise DataError(
            f"{raw.name} has only one class, {listing(raw.classes)}. Add images of a second class to tell it from."
        )
    if raw.test is None and raw.val is None and not (config.folds or config.refit):
        counts = np.bincount(labels, minlength=len(raw.classes))
        twice = "To hold out images of every class twice, for validation and for the test, each class"
        refuse_small_classes(counts, raw.classes, 3, twice)


def _copies(raw: Raw, config: DataConfig, cache: Path | None) -> list[np.ndarray]:
    """Groups of equal images that should stay together."""
    if config.kind in DRAWN_IMAGE_BY_IMAGE and not config.folds:
        return []
    return remembered_copies(raw.train.images, raw.hash, cache)


def _within(copies: Sequence[np.ndarray], pool: np.ndarray, images: int) -> list[np.ndarray]:
    """The same groups as positions in the pool; of a group that was parted, what is in it."""
    place = np.full(images, -1)
    place[pool] = np.arange(len(pool))
    inside = [place[group] for group in copies]
    return [group[group >= 0] for group in inside if (group >= 0).sum() > 1]


def _held_out(
    raw: Raw, config: DataConfig, labels: np.ndarray, streams: Streams, copies: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Positions in the pool for training and for validation; None where the source has its own."""
    everything = np.arange(len(labels))
    if config.folds and raw.val is not None:
        raise ConfigError(
            f"{raw.name} has validation images of its own, so folds = {config.folds} has nothing to deal out. "
            f"Leave folds out, or put these images among the training images."
        )
    if config.refit:
        return everything, everything[:0]
    if raw.val is not None:
        return everything, None
    generator = streams.generator("split")
    if config.folds:
        part = folds(labels, config.folds, generator, raw.classes, copies)
        return np.flatnonzero(part != config.fold), np.flatnonzero(part == config.fold)
    share = raw.validation if config.validation is None else config.validation
    return stratified(labels, share, generator, raw.classes, copies)


def _refuse_empty_classes(labels: np.ndarray, classes: Sequence[str]) -> None:
    count = np.bincount(labels, minlength=len(classes))
    empty = [name for name, images in zip(classes, count, strict=True) if images == 0]
    if empty:
        raise DataError(
            f"No training image is of the class {listing(empty)}. Add images, or take the class out if there "
            f"is no such class."
        )


def _notes(
    copies: Sequence[np.ndarray], images: int, val: np.ndarray | None, test: np.ndarray | None
) -> tuple[str, ...]:
    """What became of copies."""
    if not copies:
        return ()
    side = np.zeros(images, dtype=np.int8)
    for number, positions in ((1, val), (2, test)):
        if positions is not None:
            side[positions] = number
    count = sum(map(len, copies))
    told = f"{count:,} images are exact copies of one another (`convscope audit` lists them)"
    parted = sum(len(np.unique(side[group])) > 1 for group in copies)
    if not parted:
        return (f"{told}; copies are on one side of the split.",)
    return (
        f"{told}; {parted:,} {'group' if parted == 1 else 'groups'} of them had to be put on both sides of the split, "
        f"because a class has too few other images.",
    )
