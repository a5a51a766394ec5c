"""Which of the images in Parquet shards can be used together?

In: opened shards and the class of every row.  Out: chunks of pixels in a
`Builder`, and one report over all rows: which could not be decoded, whether
sizes differ, whether grey and colour are mixed.

    n  rows of one batch      C  channels      H, W  pixels
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from convscope.core.errors import BadImages, DataError

from .builder import Builder
from .decode import Undecodable, decode_silenced, silent
from .find import reading
from .images import UNLABELLED, Request

# Rows in memory at a time: 256 photographs of 500 x 500 are 190 MB.
_ROWS = 256
# Pixels; below, threads wait for each other longer than Pillow decodes.
_WORTH_THREADS = 100 * 100


@dataclass(frozen=True)
class Shard:
    """One Parquet file and what its columns are."""

    file: Any
    """pyarrow.parquet.ParquetFile"""
    path: Path
    image: str
    label: str
    names: list[str] | None
    """Of the classes, if the file has them."""


@dataclass
class Intake:
    """Decodes rows into a builder and remembers what it met."""

    request: Request
    shape: tuple[int, int, int] | None
    """(C, H, W) every image must have, if that is known beforehand."""
    colour: bool = False
    """Write grey images with three equal channels."""
    grey: int = 0
    good: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """(H, W) -> number of images."""

    def take(
        self, shards: Mapping[str, Sequence[Shard]], labels: Mapping[str, np.ndarray], builder: Builder
    ) -> bool:
        """Decode every row of every part; False if a colour image came after grey ones were written."""
        for part, of_part in shards.items():
            start = 0
            for shard in of_part:
                for first, encoded in _batches(shard):
                    rows = slice(start + first, start + first + len(encoded))
                    if not self._batch(part, shard, first, encoded, labels[part][rows], builder):
                        return False
                start += shard.file.metadata.num_rows
        return True

    def _batch(
        self,
        part: str,
        shard: Shard,
        first: int,
        encoded: list[bytes | None],
        labels: np.ndarray,
        builder: Builder,
    ) -> bool:
        images, kept = [], []
        for row, image in enumerate(self._decoded(encoded)):
            if isinstance(image, Undecodable):
                self.problems[f"{shard.path.name} row {first + row}"] = image.reason
                continue
            self.sizes[image.shape[1], image.shape[2]] += 1
            self.good += 1
            if len(image) == 1:
                self.grey += 1
            elif not self.colour:
                if self.grey:
                    return False
                self.colour = self.shape is None
            images.append(image)
            kept.append(row)
        # Once two sizes were met, the rest is decoded only to name all problems.
        if images and len(self.sizes) == 1:
            channels = 3 if self.colour else len(images[0])
            pixels = np.empty((len(images), channels, *images[0].shape[1:]), np.uint8)
            for position, image in enumerate(images):
                pixels[position] = image  # repeats the single channel of a grey one
            known = labels[kept] != UNLABELLED
            builder.add(part, pixels[known], labels[kept][known])
            builder.add("unlabelled", pixels[~known], labels[kept][~known])
        return True

    def _decoded(self, encoded: list[bytes | None]) -> Iterator[np.ndarray | Undecodable]:
        channels = self.shape[0] if self.shape else None

        def one(data: bytes | None) -> np.ndarray | Undecodable:
            if data is None:
                return Undecodable("no bytes in the file, at most a path")
            try:
                return decode_silenced(data, channels, self.request.size, self.request.fit)
            except Undecodable as problem:
                return problem

        largest = max(self.sizes, default=(0, 0))
        with silent():
            if largest[0] * largest[1] < _WORTH_THREADS:
                return iter([one(data) for data in encoded])
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return iter(list(pool.map(one, encoded)))

    def report(self, builder: Builder, where: str) -> None:
        """Refuse what cannot be used together; note what was left out or converted."""
        advice = (
            "Repair or remove them, or give --skip-bad to leave them out; which were left out is recorded."
        )
        if self.problems and not self.request.skip_bad:
            raise BadImages(self.problems, advice)
        if self.shape and set(self.sizes) - {self.shape[1:]}:
            raise DataError(
                f"The images in {where} have {_listed(self.sizes)} pixels (width x height); those of the "
                f"published set have {self.shape[2]} x {self.shape[1]}. This is another set."
            )
        if len(self.sizes) > 1:
            raise DataError(
                f"The images in {where} have {len(self.sizes)} different sizes (width x height): "
                f"{_listed(self.sizes)}. Say to which they should be brought, such as --size 64."
            )
        if self.problems:
            lines = "".join(f"\n  {name}: {reason}" for name, reason in self.problems.items())
            builder.note(f"Left out {len(self.problems):,} images not usable:{lines}")
        if self.colour and self.grey:
            builder.note(
                f"{self.grey:,} of {self.good:,} images are grey, the others in colour: the grey ones were "
                f"given three equal channels."
            )


def _batches(shard: Shard) -> Iterator[tuple[int, list[bytes | None]]]:
    """(first row, encoded images) of each batch of a file."""
    import pyarrow

    first = 0
    batches = shard.file.iter_batches(batch_size=_ROWS, columns=[shard.image])
    while True:
        with reading(shard.path, "Parquet", pyarrow.ArrowException):
            batch = next(batches, None)
        if batch is None:
            return
        column = batch.column(0)
        if pyarrow.types.is_struct(column.type):
            column = column.field("bytes")
        yield first, column.to_pylist()
        first += len(column)


def _listed(sizes: Counter[tuple[int, int]]) -> str:
    few = 3
    listed = ", ".join(f"{width} x {height} ({count:,})" for (height, width), count in sizes.most_common(few))
    return listed + (f" and {len(sizes) - few} more" if len(sizes) > few else "")
