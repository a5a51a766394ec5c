"""How are images decoded only once, and how much of what was kept may be believed?

A source says which files it reads and how it decodes them; what comes out is
kept as `.npy` files, found again by the content of those files, and memory-
mapped.  Works without a folder too: then every load decodes again.

What is trusted:
  - that a source file has not changed if its path, size and modification time
    (nanoseconds) have not: hashing is then skipped.  A file modified less than
    two seconds before it was hashed is hashed again, since a clock tick may
    hide another change;
  - nothing else.  The manifest is written last and carries its own SHA-256;
    labels are hashed on every load, pixels too up to 256 MiB per part
    (CIFAR-10's 150 MB take 0.1 s), above that only their size is compared.
    Whatever disagrees is decoded again.

    N  images      C  channels      H, W  pixels      K  classes
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from convscope.core import files
from convscope.core.config import Choice
from convscope.core.errors import DamagedFile, DataError, NoSpace, RunBusy

from .builder import Builder, Decoded, as_json, digest, read_checked, write_checked
from .find import reading
from .images import Arrays, Raw

FORMAT = 1
"""Raised when the meaning of a cache entry changes; older entries are then ignored."""
HASHED_UP_TO = 256 << 20
"""Bytes of pixels per part that are hashed on every load; larger parts have only their size compared."""
_SETTLED = 2_000_000_000  # nanoseconds; FAT counts modification times in steps of two seconds
_WAIT_FOR_OTHERS = 1800.0

Decode = Callable[[Builder], None]


def decoded(
    cache: Path, name: str, sources: Sequence[Path], parameters: Mapping[str, object], decode: Decode
) -> Decoded:
    """The images of these files: from the cache, or decoded and put there.

    Args:
        cache: folder for decoded pixels; need not exist, need not be writable.
        name: readable start of the entry's name.
        sources: every file that `decode` reads.
        parameters: whatever else decides what `decode` delivers; JSON values.
        decode: gives everything to the `Builder` it is handed; may be called again.

    Returns:
        The set; with a note if nothing could be kept.
    """
    asked = {"format": FORMAT, "parameters": parameters, "sources": _source_hashes(cache, sources)}
    key = hashlib.sha256(as_json(asked)).hexdigest()[:24]
    folder = cache / "decoded" / f"{name}-{key}"
    manifest = read_checked(folder / "manifest.json")
    if manifest is not None and all(_sizes_agree(folder, part, of) for part, of in manifest["parts"].items()):
        return _from_disk(folder, manifest, decode)
    return _decode_again(folder, decode)


def _decode_again(folder: Path, decode: Decode, distrusted: str = "") -> Decoded:
    """Build the entry or wait for the process that does; without a writable folder, decode into memory."""
    manifest_path = folder / "manifest.json"
    try:
        with files.held_after_waiting(folder, _WAIT_FOR_OTHERS):
            manifest = read_checked(manifest_path)
            if manifest is None or manifest["token"] == distrusted or not _whole(folder, manifest):
                with Builder(folder) as builder:
                    decode(builder)
                    manifest = builder.finish()
                write_checked(manifest_path, manifest)
        return _from_disk(folder, manifest, decode)
    except (OSError, NoSpace, RunBusy) as error:
        builder = Builder(None)
        decode(builder)
        builder.note(
            f"Decoded images could not be kept in {folder.parent} ({_short(error)}), so every start decodes "
            f"them again."
        )
        return builder.in_memory()


def _short(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _from_disk(folder: Path, manifest: Mapping[str, Any], decode: Decode) -> Decoded:
    def part(which: str) -> Arrays:
        arrays = _read_part(folder, which, manifest["parts"][which])
        if arrays is not None:
            return arrays
        again = _decode_again(folder, decode, distrusted=manifest["token"])
        if again.hash != manifest["hash"]:
            raise DamagedFile(
                f"The decoded images in {folder} are damaged, and the files they came from have changed "
                f"since. Give the same command again to start from the files as they are now."
            )
        return again.part(which)

    counts = {which: of["shape"][0] for which, of in manifest["parts"].items()}
    return Decoded(tuple(manifest["classes"]), tuple(manifest["notes"]), manifest["hash"], counts, part)


def _sizes_agree(folder: Path, which: str, of: Mapping[str, Any]) -> bool:
    path = folder / f"{which}-images.npy"
    return (
        path.is_file() and path.stat().st_size == of["bytes"] and (folder / f"{which}-labels.npy").is_file()
    )


def _whole(folder: Path, manifest: Mapping[str, Any]) -> bool:
    return all(_read_part(folder, part, of) is not None for part, of in manifest["parts"].items())


def _read_part(folder: Path, which: str, of: Mapping[str, Any]) -> Arrays | None:
    """One part, or None if it is not what was written."""
    if not _sizes_agree(folder, which, of):
        return None
    try:
        # "c" copies a page only when somebody writes to it; torch takes such an array without a warning.
        images = np.load(folder / f"{which}-images.npy", mmap_mode="c", allow_pickle=False)
        labels = np.load(folder / f"{which}-labels.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if images.dtype != np.uint8 or list(images.shape) != of["shape"] or digest(labels) != of["labels"]:
        return None
    if images.nbytes <= HASHED_UP_TO and digest(images) != of["pixels"]:
        return None
    names: tuple[str, ...] = ()
    if of["named"]:
        kept = read_checked(folder / f"{which}-files.json")
        if kept is None:
            return None
        names = tuple(kept)
    return Arrays(images, labels, names)


def deliver(
    name: str,
    found: Decoded,
    *,
    augment: tuple[Choice, ...] = (),
    notes: Sequence[str] = (),
    validation: float = 0.1,
    test_share: float = 0.2,
) -> Raw:
    """A decoded set as a source delivers it: train is read now, test when its seal is broken.

    Raises:
        DataError: it has no labelled training images.
    """
    if "train" not in found.counts:
        raise DataError(f"The data set {name!r} has no labelled training images.")
    return Raw(
        name=name,
        classes=found.classes,
        train=found.part("train"),
        val=found.part("val") if found.counts.get("val") else None,
        test=(lambda: found.part("test")) if found.counts.get("test") else None,
        test_images=found.counts.get("test", 0),
        hash=found.hash,
        unlabelled=found.part("unlabelled") if found.counts.get("unlabelled") else None,
        augment=augment,
        validation=validation,
        test_share=test_share,
        notes=(*found.notes, *notes),
    )


def _source_hashes(cache: Path, sources: Sequence[Path]) -> list[str]:
    """SHA-256 of each file, in order; from the index where path, size and modification time agree."""
    paths = [str(path.resolve()) for path in sources]
    index_path = cache / "stamps" / f"{hashlib.sha256(as_json(paths)).hexdigest()[:24]}.json"
    known = read_checked(index_path) or {}
    fresh: dict[str, list[Any]] = {}
    for path in paths:
        with reading(Path(path), "a file"):
            status = Path(path).stat()
            stamp = [status.st_size, status.st_mtime_ns]
            if known.get(path, [])[:2] == stamp:
                fresh[path] = known[path]
            else:
                fresh[path] = [*stamp, files.sha256(Path(path))]
    settled = {path: entry for path, entry in fresh.items() if time.time_ns() - entry[1] > _SETTLED}
    if settled != known:
        # Where it cannot be written, the next load hashes again: 0.15 s for CIFAR-10.
        with suppress(OSError, NoSpace):
            write_checked(index_path, settled)
    return [fresh[path][2] for path in paths]
