"""How good is a trained network on a split?

Classes are matched by name, never by position: a folder whose classes are
fewer, or sorted differently, is scored as what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from convscope.core.config import DataConfig
from convscope.core.errors import ClassMismatch, ConfigError, nearest
from convscope.data import Data, ImageSet, read_source
from convscope.data.images import image_set

from .metrics import Scores, score
from .predict import logits
from .runs import Run, Which, open_run

SPLITS = ("val", "train")


def evaluate(
    run: Run | str | Path, *, split: str = "val", weights: Which = "best", data: Data | None = None
) -> Scores:
    """Score a run's weights on its validation or training images, without augmentation.

    Args:
        run: a run or its directory; it need not have ended.
        split: `val` or `train`.  The test split is opened by `open_test` alone.
        weights: `best` on validation (by `select`), or `last`.
        data: another data set with classes the network knows; absent: the run's own.

    Raises:
        ConfigError: another split.
        ClassMismatch: a class the network does not know.
    """
    found = run if isinstance(run, Run) else open_run(run)
    images = split_images(found, split, data)
    return score_images(found, images, weights)


def split_images(run: Run, split: str, data: Data | None = None) -> ImageSet:
    """A run's validation or training images.

    Args:
        run: a run.
        split: `val` or `train`.
        data: the run's data, or another data set; absent: the run's own, loaded again.

    Raises:
        ConfigError: another split, or a run that held no validation images out.
    """
    if split not in SPLITS:
        hint = " The test split is opened by `convscope test RUN`." if split == "test" else ""
        raise ConfigError(f"There is no split {split!r} to evaluate: choose val or train.{hint}")
    chosen = data or run.data()
    images = chosen.val if split == "val" else chosen.train
    if len(images) == 0:
        raise ConfigError(
            f"{run.root} holds no validation images out: it was trained on them too (--refit). Its training "
            f"images can be scored with --split train, and its test images once with `convscope test`."
        )
    return images


def evaluate_on(run: Run, source: str, *, weights: Which = "best", **where: Any) -> Scores:
    """Score a run's weights on all labelled images of another source, outside a test folder.

    The images are brought to the size the network was trained on, in the way it was trained on.

    Args:
        run: a run.
        source: a name or a place, as for `load`.
        weights: `best` on validation (by `select`), or `last`.
        where: data_dir, cache_dir, download.

    Raises:
        ConfigError: the data the run was trained on, where its test images were drawn from them.
        ClassMismatch: a class the network does not know.
    """
    return score_images(run, source_images(run, source, weights=weights, **where), weights)


def source_images(run: Run, source: str, *, weights: Which = "best", **where: Any) -> ImageSet:
    """The images that `evaluate_on` scores, in the size of the network.

    Raises:
        ConfigError: the data the run was trained on, where its test images were drawn from them; images of
            another shape.
    """
    card = run.card(weights)
    config = DataConfig(source=source, size=card.data["size"] or None, fit=card.data["fit"])
    raw = read_source(config, **where)
    if raw.hash == card.data["hash"] and raw.test is None:
        raise ConfigError(
            f"{source} is what {run.root} was trained on, and its sealed test images are among these. Score its "
            f"validation or training images with --split, and the test images, once, with `convscope test`."
        )
    images = image_set(raw.train, raw.classes)
    if images.shape != (card.channels, card.height, card.width):
        raise ConfigError(
            f"{source} has images of shape {images.shape}; the network was trained on "
            f"{(card.channels, card.height, card.width)} (channels, height, width)."
        )
    return images


def score_images(run: Run, images: ImageSet, weights: Which = "best") -> Scores:
    """Score a run's weights on labelled images, classes matched by name."""
    card = run.card(weights)
    return score(logits(run.model(weights), images, card.normalise), by_name(images, card.classes).labels)


def by_name(images: ImageSet, classes: Sequence[str]) -> ImageSet:
    """The same images with labels that count in `classes`, matched by name; unlabelled stays unlabelled.

    Raises:
        ClassMismatch: a class with images that is not among them; the message names it.
    """
    if images.classes == tuple(classes):
        return images
    present = torch.bincount(images.labels[images.labels >= 0], minlength=len(images.classes))
    position = {name: index for index, name in enumerate(classes)}
    for name, count in zip(images.classes, present.tolist(), strict=True):
        if count and name not in position:
            raise ClassMismatch(
                f"The network does not know the class {name!r} ({count} images).{nearest(name, classes)} "
                f"It knows: {', '.join(classes)}."
            )
    mapping = torch.tensor([position.get(name, -1) for name in images.classes])
    labels = torch.where(images.labels >= 0, mapping[images.labels], images.labels)
    return replace(images, labels=labels, classes=tuple(classes))
