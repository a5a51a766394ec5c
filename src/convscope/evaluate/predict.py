"""What does a network say about images?

Always in float32, whatever precision it was trained in, and always in
evaluation mode, so that an image gets the same answer alone or in company,
today or from the file in another process.

    N  images      C  channels      H, W  pixels      K  classes
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from convscope.core.errors import BadImages, ConfigError, DataMissing, NoMemory
from convscope.data import ImageSet, Normaliser
from convscope.data.images import Arrays, image_set
from convscope.data.layout import find
from convscope.data.read import read_images, shown

from .runs import Card

BATCH = 500


@dataclass(frozen=True)
class Predictions:
    """What the network says about N images, in the order they were given."""

    ids: tuple[str, ...]
    """File names, or positions in the split counted from 0."""
    labels: tuple[int, ...]
    """The class with the largest logit, 0..K-1."""
    probabilities: np.ndarray
    """softmax of the logits, float32, (N, K)."""
    classes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The predicted classes by name."""
        return tuple(self.classes[label] for label in self.labels)


@contextmanager
def in_evaluation_mode(model: nn.Module) -> Iterator[nn.Module]:
    """Lend the model in evaluation mode; every module gets its own mode back."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield model.eval()
    finally:
        for module, training in modes.items():
            module.training = training


def logits(
    model: nn.Module,
    images: ImageSet,
    normalise: Normaliser,
    *,
    batch: int = BATCH,
    check: Callable[[], None] = lambda: None,
) -> Tensor:
    """The network's output for every image of a split, in order.

    Args:
        model: its parameters say on which device the work happens.
        images: a split of N images.
        normalise: the one the model was trained with.
        batch: images at a time, halved while the device's memory does not suffice; the result differs at
            most in rounding.
        check: called before each batch; may raise to stop early.

    Returns:
        float32, (N, K), on the CPU.

    Raises:
        ConfigError: there are no images.
        NoMemory: the device has no memory for one image.
    """
    if len(images) == 0:
        raise ConfigError("There are no images to predict.")
    device = next(model.parameters()).device
    found: list[Tensor] = []
    left = torch.arange(len(images))
    with in_evaluation_mode(model), torch.no_grad(), torch.autocast(device.type, enabled=False):
        while len(left):
            check()
            try:
                found.append(model(normalise(images.batch(left[:batch]).to(device))).float().cpu())
                left = left[batch:]
            except torch.OutOfMemoryError as error:
                if batch == 1:
                    raise NoMemory(f"{device} has no memory for a single image: {error}") from None
                batch = batch // 2
    return torch.cat(found)


def predict_images(
    model: nn.Module, card: Card, images: ImageSet, ids: Sequence[str] | None = None
) -> Predictions:
    """Predict a split; ids are its files, or positions from 0 (X1.4)."""
    output = logits(model, images, card.normalise)
    named = ids if ids is not None else images.files or [str(i) for i in range(len(images))]
    return Predictions(
        ids=tuple(named),
        labels=tuple(output.argmax(1).tolist()),
        probabilities=output.softmax(1).numpy(),
        classes=card.classes,
    )


def predict_files(model: nn.Module, card: Card, given: Sequence[Path]) -> Predictions:
    """Predict image files, and all images in folders, in the order of their sorted relative paths.

    Each is brought to the size and channels the network was trained on, in the way it was trained on.

    Raises:
        DataMissing: a path that does not exist, or a folder without images.
        BadImages: files that are no images; every one is named.
    """
    paths = image_paths(given)
    size = card.data["size"] or card.height
    pixels, problems = read_images(
        list(paths.values()), card.channels, size, card.data["fit"], workers=os.cpu_count() or 1
    )
    if problems:
        raise BadImages(
            {shown(path): reason for path, reason in problems.items()},
            "Leave these files out to predict the rest.",
        )
    stacked = np.stack([image for image in pixels if image is not None])
    unknown = np.full(len(stacked), -1, dtype=np.int64)
    images = image_set(Arrays(stacked, unknown, tuple(paths)), card.classes)
    return predict_images(model, card, images)


def image_paths(given: Sequence[Path]) -> dict[str, Path]:
    """Name -> path of every image: files under their own name, those in a folder relative to it; sorted.

    Raises:
        DataMissing: a path that does not exist, a folder without images, or two images of one name.
    """
    found: dict[str, Path] = {}
    for path in given:
        if path.is_dir():
            inside = {name: path / name for name in find(path).files}
            if not inside:
                raise DataMissing(f"There is no image in {shown(str(path))}.")
        elif path.exists() or path.is_symlink():
            inside = {path.name: path}
        else:
            raise DataMissing(f"There is no file or folder {shown(str(path))}.")
        twice = sorted(inside.keys() & found.keys())
        if twice:
            raise DataMissing(
                f"Two images would be called {shown(twice[0])} in the predictions: {found[twice[0]]} and "
                f"{inside[twice[0]]}. Predict the folders one by one."
            )
        found |= inside
    return dict(sorted(found.items()))
