"""In which order do the augmentations of a recipe change images, and what does each one get?

An augmentation gets what it asks for, by the names of its parameters without
default; those with a default are the user's options:

    images       uint8, (n, C, H, W): the batch, on the device where training is
    generator    a NumPy generator of this step, which all augmentations of the recipe draw from in order
    shares       float32, (n, K): to which part each image belongs to which class; rows sum to 1
    which        int64, (n,): positions of the images in the split, on the CPU
    epoch        how often the split has been seen, from 0
    lasting      a NumPy generator that is the same at every step, one for each augmentation

It returns images, and shares too if it asked for them.

    N  images of the split      n  images of the batch      C  channels      H, W  pixels      K  classes
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from convscope.core import catalog
from convscope.core.config import Choice
from convscope.core.errors import ConfigError
from convscope.core.streams import Streams

from .images import ImageSet

SUPPLIED = ("images", "generator", "shares", "which", "epoch", "lasting")

PART = 1024
"""Images changed at once when a set is enlarged; how many decides the draws, so it is never changed."""


@dataclass(frozen=True)
class _Change:
    name: str
    function: Callable[..., Any]
    asked: tuple[str, ...]
    options: Mapping[str, Any]


class Augmenter:
    """The augmentations of a recipe, one after the other.

    Args:
        choices: names and options.

    Raises:
        UnknownName: no such augmentation.
        ConfigError: an augmentation asks for what is not supplied.
    """

    def __init__(self, choices: Sequence[Choice]) -> None:
        self._changes = []
        for choice in choices:
            item = catalog.find("augmentations", choice.name)
            asked = catalog.asked(item)
            _refuse_unknown(choice.name, asked)
            self._changes.append(_Change(choice.name, item.load(), asked, choice.options))

    def asking(self, name: str) -> list[str]:
        """The augmentations that ask for this, by name."""
        return [change.name for change in self._changes if name in change.asked]

    def __call__(
        self, images: Tensor, shares: Tensor | None, *, which: Tensor, epoch: int, step: int, streams: Streams
    ) -> tuple[Tensor, Tensor | None]:
        """Change a batch.

        Args:
            images: uint8, (n, C, H, W); not modified.
            shares: float32, (n, K); absent if no augmentation asks for them.
            which: int64, (n,).
            epoch: from 0.
            step: from 0; the index of the step's generator.
            streams: randomness of the run.

        Returns:
            uint8, (n, C, H, W), and the shares.
        """
        generator = streams.generator("augment", step)
        for place, change in enumerate(self._changes):
            supply: dict[str, Any] = {
                "images": images, "generator": generator, "shares": shares, "which": which, "epoch": epoch,
            }  # fmt: skip
            if "lasting" in change.asked:
                # No step has an index below 0.
                supply["lasting"] = streams.generator("augment", -1 - place)
            found = change.function(**{name: supply[name] for name in change.asked}, **change.options)
            images, shares = found if "shares" in change.asked else (found, shares)
        return images, shares


def _refuse_unknown(name: str, asked: Sequence[str]) -> None:
    for parameter in asked:
        if parameter not in SUPPLIED:
            raise ConfigError(
                f"The augmentation {name!r} asks for {parameter!r}, which nobody supplies. It can ask for "
                f"{', '.join(SUPPLIED)}; a parameter with a default is an option."
            )


def enlarged(images: ImageSet, augment: Sequence[Choice], copies: int, streams: Streams) -> ImageSet:
    """The images and changed copies of them, made once (S3.11, option 1).

    For training without change at each step: an epoch is then 1 + copies times as long, and the same
    copies come back in every epoch.

    Args:
        images: a split of N images.
        augment: how copies are changed; copy e of an image is what training would show in epoch e, but for
            the draws.
        copies: of each image, from 1.
        streams: randomness of the run.

    Returns:
        N (1 + copies) images in memory: all as they are, then all first copies, and so on.

    Raises:
        ConfigError: nothing changes the copies, or an augmentation mixes images, which leaves no image with
            a single label.
    """
    changes = Augmenter(augment)
    _refuse_useless(changes, augment)
    parts = torch.split(torch.arange(len(images)), PART)
    pixels = torch.empty(((1 + copies) * len(images), *images.shape), dtype=torch.uint8)
    rows = torch.arange(len(pixels))
    for epoch in range(-1, copies):
        for number, which in enumerate(parts):
            batch = images.batch(which)
            if epoch >= 0:
                step = epoch * len(parts) + number
                batch, _ = changes(batch, None, which=which, epoch=epoch, step=step, streams=streams)
            pixels[(epoch + 1) * len(images) + which] = batch
    labels, files = images.labels.repeat(1 + copies), images.files * (1 + copies)
    return replace(images, pixels=pixels, rows=rows, labels=labels, files=files)


def _refuse_useless(changes: Augmenter, augment: Sequence[Choice]) -> None:
    if not augment:
        raise ConfigError(
            "--enlarge makes changed copies of the images, and there is no augmentation to change them. "
            "Choose some, e.g. --augment crop flip, or leave --enlarge out."
        )
    if mixing := changes.asking("shares"):
        raise ConfigError(
            f"--enlarge cannot use {' and '.join(mixing)}: a copy keeps the label of its image, and mixed "
            f"images have more than one. Leave {'it' if len(mixing) == 1 else 'them'} out of --augment, or "
            f"leave --enlarge out, so that images change at every step."
        )
