"""What images are in these files?

In: paths.  Out: the pixels of each, or the reason why there are none, in the
order given.  A pipe, a link to nothing or a forbidden file is a reason like
any other; nothing is waited for and nothing is written.

    C  channels      H, W  pixels
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from .decode import Undecodable, decode_silenced, silent

MOST_BYTES = 1 << 30
"""No larger file is read into memory: 64 million pixels of 16-bit colour are 384 MB."""


def each_image(
    paths: Sequence[Path], channels: int | None, size: int | None, fit: str, workers: int = 1
) -> Iterator[np.ndarray | Undecodable]:
    """The pixels of each file, or why there are none, in the order of the paths; see `decode`.

    Only 16 images per worker are in memory at a time.  Workers are threads: Pillow lets go of Python's lock
    while it decodes and scales.
    """
    one = partial(_image_or_reason, channels=channels, size=size, fit=fit)
    few = 16 * workers
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(paths), few):
            # The silence must not last while the caller works on what is yielded.
            with silent():
                some = paths[start : start + few]
                done = list(pool.map(one, some)) if workers > 1 else [one(path) for path in some]
            yield from done


def read_images(
    paths: Sequence[Path], channels: int | None, size: int | None, fit: str, workers: int = 1
) -> tuple[list[np.ndarray | None], dict[str, str]]:
    """All images, None where a file gives none; and the reasons by path."""
    images: list[np.ndarray | None] = []
    problems: dict[str, str] = {}
    for path, image in zip(paths, each_image(paths, channels, size, fit, workers), strict=True):
        if isinstance(image, Undecodable):
            problems[str(path)] = image.reason
            images.append(None)
        else:
            images.append(image)
    return images, problems


def shown(name: str) -> str:
    """A file name for a message: line breaks and bytes that are no text are written as escapes."""
    return name if name.isprintable() else repr(name)


def read_file(path: Path) -> bytes:
    """The bytes of a regular file; never waits on a pipe.  Tests replace it to inject faults."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a named pipe"}
        raise Undecodable(f"{kinds.get(stat.S_IFMT(status.st_mode), 'a device or socket')}, not a file")
    if status.st_size > MOST_BYTES:
        raise Undecodable(f"{status.st_size:,} bytes, more than the {MOST_BYTES:,} that are read")
    return path.read_bytes()


def _image_or_reason(
    path: Path, channels: int | None, size: int | None, fit: str
) -> np.ndarray | Undecodable:
    try:
        return decode_silenced(read_file(path), channels, size, fit)
    except Undecodable as problem:
        return problem
    except FileNotFoundError:
        return Undecodable("a link to nothing" if path.is_symlink() else "not there any more")
    except OSError as error:
        return Undecodable(os.strerror(error.errno).lower() if error.errno else str(error))
