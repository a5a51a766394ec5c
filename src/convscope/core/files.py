"""How do bytes get to disk so that a crash at any moment loses nothing?

The only module that writes files.  `write` commits a whole file: temporary
name in the same directory -> write -> fsync -> read back and compare ->
`os.replace` -> fsync of the directory.  After a crash at any point the name
holds either the old content or the new, never a mixture, and what `write`
returned from is on the disk.  `append` adds one line and fsyncs it.

Tests inject faults through `on_operation`, which is called with the name of
each operation and its path just before the operation happens.
"""

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import NoSpace, RunBusy

Bytes = bytes | bytearray | memoryview

# Replaced by tests only: raise OSError for a full disk, kill the process, or record a trace.
on_operation: Callable[[str, Path], None] = lambda operation, path: None  # noqa: E731

TEMPORARY = ".part"
DIRECTORY_BYTES = 4096
"""What an empty directory takes on most file systems; only for the message about a full disk."""


@contextmanager
def _full_disk_is_named(path: Path, needed: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise NoSpace(
            f"The disk is full: {path} needs {needed:,} bytes. What was written before is intact; "
            f"free some space and give the same command again."
        ) from error


def write(path: Path, *chunks: Bytes) -> None:
    """Put the chunks, one after the other, under `path`, all or nothing.

    Raises:
        NoSpace: the disk is full; the previous content of `path` is intact.
        OSError: anything else the system refuses, or bytes that read back differently.
    """
    needed = sum(len(chunk) for chunk in chunks)
    temporary = path.with_name(path.name + TEMPORARY)
    make_directory(path.parent)
    with _full_disk_is_named(path, needed):
        try:
            _write_and_sync(temporary, chunks)
            _compare(temporary, chunks)
            on_operation("replace", path)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def _write_and_sync(path: Path, chunks: tuple[Bytes, ...]) -> None:
    on_operation("open", path)
    with path.open("wb") as file:
        for chunk in chunks:
            # In two halves, so that a test can die with half a file on the disk.
            half = len(chunk) // 2
            view = memoryview(chunk)
            for part in (view[:half], view[half:]):
                on_operation("write", path)
                file.write(part)
        file.flush()
        on_operation("fsync", path)
        os.fsync(file.fileno())


def _compare(path: Path, chunks: tuple[Bytes, ...]) -> None:
    on_operation("read back", path)
    wanted = hashlib.sha256()
    for chunk in chunks:
        wanted.update(chunk)
    if sha256(path) != wanted.hexdigest():
        raise OSError(errno.EIO, "the disk gave back other bytes than were written", str(path))


@contextmanager
def partial(path: Path, needed: int, *, resume: bool = False) -> Iterator[BinaryIO]:
    """`path` + ".part", open for content that arrives piece by piece; at its end with `resume`.

    On the disk when the block ends.  It stays if the block fails, so that it can be resumed; `commit`
    gives it its final name once it was found right.

    Args:
        path: the final name.
        needed: bytes the whole file is expected to have, for the message about a full disk.
        resume: go on after what is there, instead of starting over.

    Raises:
        NoSpace: the disk is full.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    make_directory(path.parent)
    with _full_disk_is_named(path, needed):
        on_operation("open", temporary)
        with temporary.open("ab" if resume else "wb") as file:
            yield file
            file.flush()
            on_operation("fsync", temporary)
            os.fsync(file.fileno())


def commit(path: Path) -> None:
    """Give the finished `.part` file its final name."""
    on_operation("replace", path)
    path.with_name(path.name + TEMPORARY).replace(path)
    sync_directory(path.parent)


def append(path: Path, line: str) -> None:
    """Add one line to a text file and have it on the disk before returning."""
    data = line.encode() + b"\n"
    make_directory(path.parent)
    with _full_disk_is_named(path, len(data)):
        new = not path.exists()
        on_operation("append", path)
        with path.open("ab") as file:
            file.write(data)
            file.flush()
            on_operation("fsync", path)
            os.fsync(file.fileno())
        if new:  # else the line is safe and the name of its file is not
            sync_directory(path.parent)


def remove(path: Path) -> None:
    """Delete a file; it is no error if it is gone."""
    on_operation("unlink", path)
    path.unlink(missing_ok=True)


def make_directory(path: Path) -> None:
    """Create a directory and its parents, durably."""
    if path.is_dir():
        return
    make_directory(path.parent)
    with _full_disk_is_named(path, DIRECTORY_BYTES):
        on_operation("mkdir", path)
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Have the names in a directory on the disk; a no-op where directories cannot be opened (Windows)."""
    on_operation("fsync directory", path)
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def free_bytes(path: Path) -> int:
    """Bytes a user may still write where `path` is or will be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold a directory for this process; the kernel lets go when the process dies, however it dies.

    Raises:
        RunBusy: another process holds it; the message names that process.
    """
    make_directory(directory)
    with _full_disk_is_named(directory / ".lock", DIRECTORY_BYTES):
        descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            _lock(descriptor)
        except OSError as error:
            holder = os.pread(descriptor, 20, 0).decode().strip() if hasattr(os, "pread") else ""
            raise RunBusy(directory, holder or "(unknown)") from error
        os.ftruncate(descriptor, 0)
        with suppress(OSError):  # the number only serves the other process's message; the lock needs no space
            os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


@contextmanager
def held_after_waiting(directory: Path, seconds: float) -> Iterator[None]:
    """`held`, but wait up to that long for the process that holds the directory now.

    Raises:
        RunBusy: it still holds it.
    """
    deadline = time.monotonic() + seconds
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(held(directory))
                break
            except RunBusy:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.05)
        yield


def _lock(descriptor: int) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
