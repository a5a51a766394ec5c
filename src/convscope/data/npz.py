"""What is in a NumPy archive of images?

`images` and `labels`, optionally `test_images` and `test_labels`, optionally
`classes` (text).  Images are uint8: (N, H, W), (N, H, W, C) or (N, C, H, W)
with C 1 or 3.  Pickled objects are refused unread: they are programs.

    N  images      C  channels      H, W  pixels      K  classes
"""

import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from convscope.core.errors import DataError, DataMissing

from .builder import Builder
from .cache import decoded, deliver
from .find import cache_folder, only_native_size, readable_name, reading
from .images import UNLABELLED, Raw, Request
from .labels import class_indices, usual_augmentation

_KNOWN = ("images", "labels", "test_images", "test_labels", "classes")
_CHANNELS = (1, 3)
_GREY, _COLOUR = 3, 4  # axes


def npz(request: Request) -> Raw:
    """A NumPy archive: `npz:PATH`."""
    path = Path(request.place).expanduser()
    if not request.place or not path.is_file():
        raise DataMissing(
            f"There is no file {request.place or '(nothing given)'}. Write npz:PATH with the path of a NumPy "
            f"archive that has the arrays images and labels."
        )
    only_native_size(request, str(path), " Resize the arrays before saving them.")
    kept = decoded(cache_folder(request), "npz", [path], {"reader": "npz"}, lambda to: _decode(path, to))
    raw = deliver(readable_name(path), kept, validation=0.2)
    return replace(raw, augment=usual_augmentation(raw.train, raw.classes))


def _decode(path: Path, builder: Builder) -> None:
    arrays = _read(path)
    builder.classes, labels = _labels(path, arrays)
    images = {}
    for part in labels:
        name = _name("images", part)
        images[part] = _channels_first(path, name, arrays[name])
        if len(images[part]) != len(labels[part]):
            raise DataError(
                f"{path}: {name} has {len(images[part]):,} images, but {_name('labels', part)} has "
                f"{len(labels[part]):,} labels."
            )
        if images[part].shape[1:] != images["train"].shape[1:]:
            raise DataError(
                f"{path}: one image of images is {_shape(images['train'])}, one of {name} is "
                f"{_shape(images[part])}. Bring them to one shape."
            )
    for part, known in ((part, of != UNLABELLED) for part, of in labels.items()):
        builder.add(part, images[part][known], labels[part][known])
        builder.add("unlabelled", images[part][~known], labels[part][~known])


def _name(array: str, part: str) -> str:
    return array if part == "train" else f"test_{array}"


def _shape(images: np.ndarray) -> str:
    return " x ".join(str(length) for length in images.shape[1:])


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays, all plain."""
    # ValueError: object arrays, which allow_pickle=False refuses before reading them.
    failures = (ValueError, zipfile.BadZipFile, zlib.error)
    # Opened here, because np.load leaves the file open when it is not a zip.
    with reading(path, "a NumPy archive", *failures), path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array; save with np.savez(path, images=..., labels=...)")
        with archive:
            unknown = sorted(set(archive.files) - set(_KNOWN))
            arrays = {name: archive[name] for name in archive.files if name in _KNOWN}
    missing = [name for name in ("images", "labels") if name not in arrays]
    if ("test_images" in arrays) != ("test_labels" in arrays):
        missing += sorted({"test_images", "test_labels"} - set(arrays))
    if missing:
        has = ", ".join(sorted([*arrays, *unknown])) or "nothing"
        raise DataError(
            f"{path} has {has}; the array {missing[0]} is missing. It may hold {', '.join(_KNOWN)}; the last "
            f"three are optional, the two test arrays only together."
        )
    return arrays


def _labels(path: Path, arrays: dict[str, np.ndarray]) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Class names and (N,) int64 per part."""
    values = {}
    for part in ("train", "test"):
        name = _name("labels", part)
        if name not in arrays:
            continue
        array = arrays[name]
        if array.ndim != 1 or array.dtype.kind not in "iuU":
            raise DataError(
                f"{path}: {name} has the shape {array.shape} and type {array.dtype}. Give one whole number "
                f"or one text per image."
            )
        values[part] = array.tolist()
    names = None
    if "classes" in arrays:
        if arrays["classes"].ndim != 1 or arrays["classes"].dtype.kind != "U":
            raise DataError(f"{path}: classes must be a one-dimensional array of text, one name per class.")
        names = arrays["classes"].tolist()
    return class_indices(values, names, str(path))


def _channels_first(path: Path, name: str, images: np.ndarray) -> np.ndarray:
    """uint8 (N, C, H, W) from any of the layouts, refusing those that could be read in two ways."""
    if images.dtype != np.uint8:
        raise DataError(
            f"{path}: {name} has the type {images.dtype}. Images are whole numbers 0 to 255: for values in "
            f"0 to 1 save np.round({name} * 255).astype(np.uint8)."
        )
    if images.ndim == _GREY:
        return images[:, None]
    if images.ndim == _COLOUR:
        first, last = images.shape[1] in _CHANNELS, images.shape[3] in _CHANNELS
        if first and not last:
            return images
        if last and not first:
            return images.transpose(0, 3, 1, 2)
    raise DataError(
        f"{path}: {name} has the shape {images.shape}. Allowed are (N, H, W), (N, H, W, C) and (N, C, H, W) "
        f"with C = 1 or 3 and other values for H and W."
    )
