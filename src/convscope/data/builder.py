"""What does a source hand its decoded images to?

To a `Builder`, chunk by chunk, so that a set larger than memory never is in
memory.  The builder writes them to a folder, or collects them where there is
none, and hashes them on the way.  It does not know when an entry is valid;
that is `cache.py`'s.

    N  images      n  images of one chunk      C  channels      H, W  pixels      K  classes
"""

import hashlib
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from convscope.core import files

from .images import Arrays

_IMAGE_AXES = 4


@dataclass(frozen=True)
class Decoded:
    """A data set after decoding; the parts are read when they are asked for."""

    classes: tuple[str, ...]
    notes: tuple[str, ...]
    hash: str
    counts: Mapping[str, int]
    """Images per part: train, val, test, unlabelled."""
    part: Callable[[str], Arrays]
    """Reads one part, memory-mapped where there is a cache."""


class Builder:
    """Takes decoded images in, part by part and chunk by chunk, to disk or to memory, hashing on the way."""

    def __init__(self, folder: Path | None) -> None:
        self.classes: tuple[str, ...] = ()
        """To be set by the source before it ends."""
        self._folder = folder
        self._notes: list[str] = []
        self._parts: dict[str, _Part] = {}
        self._open = ExitStack()

    def note(self, sentence: str) -> None:
        """Something the user should read whenever this set is loaded."""
        self._notes.append(sentence)

    def restart(self) -> None:
        """Forget everything taken in so far: the source found that it must decode differently."""
        self._open.close()
        self._parts, self._notes = {}, []

    def add(self, part: str, images: np.ndarray, labels: np.ndarray, names: Sequence[str] = ()) -> None:
        """Append images to a part.

        Args:
            part: "train", "val", "test" or "unlabelled".
            images: uint8, (n, C, H, W); C, H, W the same for all chunks of a part.
            labels: integers, (n,); -1 for no label.
            names: n paths, if the images came from files of their own.
        """
        if images.dtype != np.uint8 or images.ndim != _IMAGE_AXES or len(labels) != len(images):
            raise ValueError(f"a chunk of {images.dtype} {images.shape} with {len(labels)} labels")
        if not len(images):
            return
        if part not in self._parts:
            self._parts[part] = _Part(images.shape[1:], self._file(part, images))
        self._parts[part].append(np.ascontiguousarray(images), labels, names)

    def _file(self, part: str, images: np.ndarray) -> BinaryIO | None:
        if self._folder is None:
            return None
        path = self._folder / f"{part}-images.npy"
        return self._open.enter_context(files.partial(path, images.nbytes))

    def finish(self) -> dict[str, Any]:
        """Complete the files; the manifest that makes them valid is the caller's to write, last."""
        assert self._folder is not None
        described = {}
        for which, part in self._parts.items():
            part.write_header()
            described[which] = part.described()
        self._open.close()
        for which, part in self._parts.items():
            files.commit(self._folder / f"{which}-images.npy")
            buffer = io.BytesIO()
            np.save(buffer, part.all_labels(), allow_pickle=False)
            files.write(self._folder / f"{which}-labels.npy", buffer.getvalue())
            if part.names:
                write_checked(self._folder / f"{which}-files.json", part.names)
        return {**self._summary(), "parts": described, "token": f"{time.time_ns():x}"}

    def _summary(self) -> dict[str, Any]:
        digests = {which: part.described() for which, part in self._parts.items()}
        return {"classes": self.classes, "notes": self._notes, "hash": _combine(self.classes, digests)}

    def in_memory(self) -> Decoded:
        """What was taken in, without a cache."""
        parts = {which: part.arrays() for which, part in self._parts.items()}
        counts = {which: len(arrays.labels) for which, arrays in parts.items()}
        summary = self._summary()
        return Decoded(self.classes, tuple(self._notes), summary["hash"], counts, parts.__getitem__)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self._open.close()
        finally:
            if kind is not None and self._folder is not None:
                for which in self._parts:
                    files.remove(self._folder / f"{which}-images.npy{files.TEMPORARY}")


class _Part:
    def __init__(self, shape: tuple[int, ...], file: BinaryIO | None) -> None:
        self.shape, self.file, self.count = shape, file, 0
        self.pixels = hashlib.sha256()
        self.chunks: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []
        self.names: list[str] = []
        if file is not None:
            self.write_header()

    def append(self, images: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> None:
        if images.shape[1:] != self.shape:
            raise ValueError(f"a chunk of {images.shape} in a part of {self.shape}")
        self.count += len(images)
        self.pixels.update(images.data)
        self.labels.append(np.asarray(labels, dtype="<i8"))
        self.names.extend(names)
        if self.file is None:
            self.chunks.append(images)
        else:
            self.file.write(images.data)

    def write_header(self) -> None:
        """Write the `.npy` header at the start of the file: first a placeholder, at last with the count."""
        assert self.file is not None
        header = {"descr": "|u1", "fortran_order": False, "shape": (self.count, *self.shape)}
        self.file.seek(0)
        np.lib.format.write_array_header_1_0(self.file, header)

    def all_labels(self) -> np.ndarray:
        return np.concatenate(self.labels)

    def arrays(self) -> Arrays:
        return Arrays(np.concatenate(self.chunks), self.all_labels(), tuple(self.names))

    def described(self) -> dict[str, Any]:
        header = io.BytesIO()
        shape = (self.count, *self.shape)
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return {
            "shape": list(shape),
            "bytes": len(header.getvalue()) + int(np.prod(shape)),
            "pixels": self.pixels.hexdigest(),
            "labels": digest(self.all_labels()),
            "named": bool(self.names),
        }


def content_hash(classes: Sequence[str], parts: Mapping[str, Arrays]) -> str:
    """SHA-256 of pixels, labels and class names of all parts; the same for every form a set may lie in."""
    digests = {
        which: {
            "shape": list(arrays.images.shape),
            "pixels": digest(arrays.images),
            "labels": digest(np.asarray(arrays.labels, dtype="<i8")),
        }
        for which, arrays in parts.items()
    }
    return _combine(classes, digests)


def _combine(classes: Sequence[str], parts: Mapping[str, Mapping[str, Any]]) -> str:
    counted = {
        which: [of["shape"], of["pixels"], of["labels"]] for which, of in parts.items() if of["shape"][0]
    }
    return hashlib.sha256(as_json({"classes": list(classes), "parts": counted})).hexdigest()


def digest(array: np.ndarray) -> str:
    """SHA-256 of an array's values, in C order."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def as_json(value: object) -> bytes:
    """One spelling per value, so that it can be hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def write_checked(path: Path, value: object) -> None:
    """Write a JSON value behind its own SHA-256."""
    body = as_json(value)
    files.write(path, hashlib.sha256(body).hexdigest().encode() + b"\n", body)


def read_checked(path: Path) -> Any:
    """What `write_checked` wrote, or None if there is nothing or it was changed since."""
    try:
        digest, _, body = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return None
    return json.loads(body)
