"""What is looked at, and what does looking give?

A diagnostic is a function (subject, options) -> result.  The `Subject` is a
network of its own, so whatever a diagnostic does to it, the user's network
stays what it is, bit for bit.  A `Result` is a frozen dataclass: numbers,
arrays, and one sentence that says what they mean.

    N  images      C  channels      H, W  pixels      K  classes
"""

from __future__ import annotations

import copy
import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.core import files, records
from convscope.core.config import Recipe
from convscope.core.errors import ConfigError
from convscope.core.streams import Streams
from convscope.data import Data, ImageSet, Normaliser
from convscope.models.geometry import without_hooks

from .runs import Run

SPLITS = ("val", "train")


@dataclasses.dataclass(frozen=True)
class Moment:
    """Where in its training a network is."""

    step: int
    """Updates made."""
    epoch: float
    lr: float
    """Learning rate of the coming step."""
    batch: Callable[[int], tuple[Tensor, Tensor]]
    """Step -> (images, normalised and augmented, (n, C, H, W); labels (n,) or shares (n, K)) of that step."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """A network and the images it is shown."""

    model: nn.Module
    """In evaluation mode, float32; a copy that the diagnostic may change."""
    data: Data
    normalise: Normaliser
    name: str
    """For titles: `resnet20 on cifar10`."""
    streams: Streams = dataclasses.field(default_factory=lambda: Streams(0))
    """A diagnostic that draws uses the purpose `inspect`."""
    recipe: Recipe | None = None
    """With which it is or was trained, if that is known."""
    run: Run | None = None
    """Where the network comes from, if from a run that is on disk."""
    moment: Moment | None = None
    """While it is being trained."""

    def images(self, split: str = "val", count: int = 0) -> ImageSet:
        """The images of a split, or so many of them, evenly spread over it.

        Raises:
            ConfigError: no such split, or no images in it.  The test split stays sealed.
        """
        if split not in SPLITS:
            raise ConfigError(f"A diagnostic looks at the split val or train, not at {split!r}.")
        whole = self.data.val if split == "val" else self.data.train
        if len(whole) == 0:
            raise ConfigError(f"There are no images in the split {split!r} to look at. Try split=train.")
        if count == 0 or count >= len(whole):
            return whole
        return whole.subset(torch.linspace(0, len(whole) - 1, count).round().long())

    def inputs(self, images: ImageSet) -> Tensor:
        """All images at once as the network takes them: float32, (N, C, H, W), on its device."""
        device = next(self.model.parameters()).device
        return self.normalise(images.batch(torch.arange(len(images))).to(device))


def subject_of(
    model: nn.Module,
    data: Data,
    normalise: Normaliser,
    name: str,
    **more: Any,
) -> Subject:
    """A subject with a copy of the network, without gradients and hooks, in evaluation mode."""
    own = without_hooks(copy.deepcopy(model)).requires_grad_(True)
    own.zero_grad(set_to_none=True)
    return Subject(own, data, normalise, name, **more)


@dataclasses.dataclass(frozen=True)
class Result:
    """What every diagnostic's frozen dataclass can do."""

    @property
    def sentence(self) -> str:
        """What was found, in one sentence with its numbers."""
        raise NotImplementedError

    def scalars(self) -> dict[str, float]:
        """Its plain numbers by name: what a study can take for a measure."""
        return {
            name: value
            for name, value in self._values().items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }

    def _values(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def save(self, stem: Path) -> list[Path]:
        """Write `stem`.json, and `stem`.npz if there are arrays; gives the paths."""
        values = self._values()
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        plain = {name: value for name, value in values.items() if name not in arrays}
        shapes = {name: list(array.shape) for name, array in arrays.items()}
        written = [stem.with_name(f"{stem.name}.json")]
        records.write_json(written[0], {"sentence": self.sentence, **_plain(plain), "arrays": shapes})
        if arrays:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, allow_pickle=False, **arrays)
            written.append(stem.with_name(f"{stem.name}.npz"))
            files.write(written[1], buffer.getvalue())
        return written


def _plain(value: Any) -> Any:
    """For JSON: dataclasses as tables, numbers that are not finite as their names."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value
