"""Which images does the network see at step s, and in what form?

A function of the step: the epoch's order and the augmentation are drawn from
keyed streams, so nothing is stored and a run continued in the middle of an
epoch sees exactly the rest of it.  No worker processes: cropping, mirroring
and normalising 128 CIFAR images takes 2 ms on one core (benchmarks/throughput.py).

    N  images of the split      n  images of the batch      C  channels      H, W  pixels      K  classes
"""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from convscope.core import files
from convscope.core.config import Choice
from convscope.core.errors import ConfigError, NoSpace
from convscope.core.streams import Streams

from .augmenting import Augmenter
from .images import ImageSet


@dataclass(frozen=True)
class Normaliser:
    """Pixels to network input: divide by 255, subtract the mean, divide by the deviation, per channel.

    The values come from the training split and travel with the model, so that
    every later use sees the same input (S1.21, S3.74).
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (n, C, H, W) -> float32 (n, C, H, W), channels-last in memory."""
        shift = torch.tensor(self.mean, device=images.device).mul_(255).view(1, -1, 1, 1)
        scale = torch.tensor(self.std, device=images.device).mul_(255).view(1, -1, 1, 1)
        return images.to(torch.float32, memory_format=torch.channels_last).sub_(shift).div_(scale)


def statistics(images: ImageSet) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, of pixels / 255, over all N images.

    All sums are exact, so the result does not depend on how the images are
    grouped.  A constant channel gets a deviation of 1: its pixels become 0.
    """
    channels, height, width = images.shape
    # A row of 256 squares is at most 256 x 255^2 < 2^24: exact in float32, which is three times as fast.
    dtype = torch.float32 if width <= 256 else torch.float64
    total = torch.zeros(channels, dtype=torch.float64)
    squares = torch.zeros(channels, dtype=torch.float64)
    for part in torch.split(torch.arange(len(images)), 1024):
        values = images.batch(part).to(dtype)
        total += values.sum(3).double().sum((0, 2))
        squares += values.square_().sum(3).double().sum((0, 2))
    count = len(images) * height * width
    mean = total / count
    variance = squares / count - mean * mean
    std = variance.clamp(min=0).sqrt()
    return (
        tuple((mean / 255).tolist()),
        tuple(torch.where(std > 0, std / 255, torch.ones_like(std)).tolist()),
    )


def remembered_statistics(
    images: ImageSet, data_hash: str, cache: Path
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """`statistics`, kept in the cache: 0.4 s for CIFAR-10 otherwise, twice what loading it takes.

    Args:
        images: a split.
        data_hash: content hash of the whole source; with the rows it decides the result.
        cache: folder; where it cannot be written, nothing is kept.
    """
    key = hashlib.sha256(data_hash.encode() + images.rows.numpy().tobytes()).hexdigest()
    path = cache / "statistics" / f"{key[:32]}.json"
    try:
        kept = json.loads(path.read_bytes())
        return tuple(kept["mean"]), tuple(kept["std"])
    except (OSError, ValueError, KeyError, TypeError):
        mean, std = statistics(images)
    with contextlib.suppress(OSError, NoSpace):
        files.write(path, json.dumps({"mean": mean, "std": std}).encode())
    return mean, std


class Batches:
    """The training split, step by step.

    Every image is seen exactly once per epoch.  The last batch is smaller; a
    last batch of one image joins its neighbour, because batch norm cannot
    standardise one value per channel.
    """

    def __init__(
        self,
        images: ImageSet,
        *,
        batch_size: int,
        augment: Sequence[Choice],
        normalise: Normaliser,
        streams: Streams,
        device: torch.device,
    ) -> None:
        if len(images) == 0:
            raise ConfigError("The training split is empty: hold out a smaller share with --validation.")
        self.images, self.streams, self.device, self.normalise = images, streams, device, normalise
        self.augment = Augmenter(augment)
        self._mixing = bool(self.augment.asking("shares"))
        self.sizes = batch_sizes(len(images), batch_size)
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    @property
    def per_epoch(self) -> int:
        """Steps in one epoch."""
        return len(self.sizes)

    @cached_property
    def _starts(self) -> list[int]:
        return [sum(self.sizes[:i]) for i in range(len(self.sizes))]

    def which(self, step: int) -> Tensor:
        """Positions in the split of the images of this step, int64 (n,)."""
        epoch, part = divmod(step, self.per_epoch)
        if self._order[0] != epoch:
            order = self.streams.generator("order", epoch).permutation(len(self.images))
            self._order = (epoch, torch.from_numpy(order))
        start = self._starts[part]
        return self._order[1][start : start + self.sizes[part]]

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """What the network learns from at this step, on the device.

        Returns:
            Input, float32 (n, C, H, W), and labels: int64 (n,); or, where an augmentation mixes images,
            each image's shares of the classes: float32 (n, K), rows sum to 1.
        """
        which = self.which(step)
        images = self.images.batch(which).to(self.device)
        labels = self.images.labels[which].to(self.device)
        shares = F.one_hot(labels, len(self.images.classes)).float() if self._mixing else None
        images, shares = self.augment(
            images, shares, which=which, epoch=step // self.per_epoch, step=step, streams=self.streams
        )
        return self.normalise(images), labels if shares is None else shares


def batch_sizes(images: int, batch_size: int) -> list[int]:
    """Sizes of the batches of one epoch: full ones, then the rest; a rest of one joins its neighbour."""
    full, rest = divmod(images, batch_size)
    sizes = [batch_size] * full + [rest] * (rest > 0)
    if len(sizes) > 1 and rest == 1:
        sizes[-2:] = [batch_size + 1]
    return sizes
