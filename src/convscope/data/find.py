"""Where does a data set lie on this machine, and in which form?

A named set is looked for in --data-dir, then in $CONVSCOPE_DATA, then in the
user's cache; in each first in subfolders of the set's name, then in the
folder itself; in each in every form the set is published in.  If it is
nowhere, it is downloaded into the cache, or the user is told what to do.
Knows file names only, never contents.
"""

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from convscope.core.errors import DamagedFile, DataError, DataMissing

from . import download
from .download import Remote
from .images import Request

_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.parquet")


@dataclass(frozen=True)
class Form:
    """One way a data set lies on a disk."""

    kind: str
    """For the code, e.g. `idx`."""
    text: str
    """For messages, with a file name to recognise it by."""
    files: tuple[str, ...]
    """Names or patterns; each must match at least one file."""
    inside: tuple[str, ...] = ("",)
    """Folders the files may be in, relative to the set's folder."""


@dataclass(frozen=True)
class Found:
    """A data set on the disk."""

    form: Form
    folder: Path
    files: tuple[tuple[Path, ...], ...]
    """What each pattern of the form matched, sorted by name."""

    def all_files(self) -> list[Path]:
        """Every file, in order."""
        return [path for matched in self.files for path in matched]


def user_cache() -> Path:
    """The folder for downloads and decoded pixels.

    $XDG_CACHE_HOME/convscope, else ~/.cache/convscope, else a temporary folder named after the user: for
    accounts without a home, or with one that cannot be written, as in many containers.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    if Path(given).is_absolute():  # the XDG specification: relative paths are to be ignored
        return Path(given) / "convscope"
    try:
        home = Path.home() / ".cache" / "convscope"
    except RuntimeError:
        home = None
    if home is not None and _can_be_made(home):
        return home
    who = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"convscope-{who}"


def _can_be_made(folder: Path) -> bool:
    while not folder.exists():
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)


def cache_folder(request: Request) -> Path:
    """Where this request keeps downloads and decoded pixels: as it says, else in the user's cache."""
    return request.cache_dir if request.cache_dir != Path() else user_cache()


def locate(
    name: str, request: Request, forms: Sequence[Form], folders: Sequence[str], remotes: Sequence[Remote]
) -> Found:
    """Find a named set, downloading it if it is nowhere and that is allowed.

    Args:
        name: what the user calls the set.
        request: says where to look and whether to download.
        forms: what to look for, the preferred form first.
        folders: subfolders that mean this set, e.g. `mnist`, `MNIST/raw`.
        remotes: published files which together are one of the forms; empty if no hashes are known.

    Raises:
        DataMissing: it is nowhere and may not or cannot be downloaded.
        DownloadFailed: no mirror delivered it.
    """
    found = find(request, forms, folders)
    if found is None and request.download and remotes:
        destination = cache_folder(request) / name
        try:
            for remote in remotes:
                download.fetch(
                    f"{name}: {remote.file}", remote.urls, remote.sha256, destination / remote.file
                )
        except OSError as error:
            raise DataMissing(
                f"The data set {name!r} was not found, and {destination} cannot be written "
                f"({error.strerror}). Set XDG_CACHE_HOME to a folder you may write."
            ) from error
        found = find(request, forms, folders)
    if found is None:
        raise DataMissing(_not_found(name, request, forms, folders, remotes))
    return found


def find(request: Request, forms: Sequence[Form], folders: Sequence[str]) -> Found | None:
    """The first place and form in which all files of a set are there, or None."""
    for _, place in _places(request):
        if place is None:
            continue
        # The bare folder comes last: MNIST and Fashion-MNIST have the same file names.
        for folder in [place / sub for sub in folders] + [place]:
            for form in forms:
                for inside in form.inside:
                    found = _in_form(folder / inside, form)
                    if found is not None:
                        return found
    return None


def _places(request: Request) -> list[tuple[str, Path | None]]:
    given = os.environ.get("CONVSCOPE_DATA", "")
    return [
        ("--data-dir", request.data_dir),
        ("$CONVSCOPE_DATA", Path(given).expanduser() if given else None),
        ("the cache", cache_folder(request)),
    ]


def _in_form(folder: Path, form: Form) -> Found | None:
    if not folder.is_dir():
        return None
    matched = []
    for pattern in form.files:
        paths = sorted(path for path in folder.glob(pattern) if path.is_file())
        if not paths:
            return None
        matched.append(tuple(paths))
    return Found(form, folder, tuple(matched))


def _not_found(
    name: str, request: Request, forms: Sequence[Form], folders: Sequence[str], remotes: Sequence[Remote]
) -> str:
    looked = "; ".join(f"{label} ({place or 'not given'})" for label, place in _places(request))
    shapes = "; ".join(form.text for form in forms)
    if remotes:
        size = sum(remote.size for remote in remotes) / 1e6
        how = f"Allow the download ({size:.0f} MB), or give"
    else:
        how = (
            "It is not downloaded, because no SHA-256 of it is published that we could confirm. Get it from "
            "its authors and give"
        )
    return (
        f"The data set {name!r} was not found. Looked in: {looked}; in each of them also in "
        f"{', '.join(folders)}. Forms it may have: {shapes}. {how} its folder with --data-dir or "
        f"$CONVSCOPE_DATA."
    )


def complete_shards(paths: Sequence[Path]) -> None:
    """Refuse a set of numbered Parquet shards of which some are missing.

    Raises:
        DataMissing: names the missing shards.
    """
    present = {path.name for path in paths}
    missing: set[str] = set()
    for path in paths:
        match = _SHARD.fullmatch(path.name)
        if match is None:
            continue
        count = int(match["count"])
        for number in range(min(count, 100_000)):
            missing.add(f"{match['stem']}-{number:05d}-of-{match['count']}.parquet")
    missing -= present
    if missing:
        some = ", ".join(sorted(missing)[:5]) + (", ..." if len(missing) > 5 else "")  # noqa: PLR2004
        raise DataMissing(
            f"{paths[0].parent} holds only some of the shards of a Parquet data set. Missing: {some}. "
            f"Get the missing files, or the training would run on part of the data."
        )


def only_native_size(request: Request, name: str, how: str = "") -> None:
    """Refuse `--size` for a set whose images have one size already.

    Raises:
        DataError: a size was asked for.
    """
    if request.size is not None:
        raise DataError(
            f"The images of {name} have one size already; --size {request.size} is for folders and Parquet "
            f"files, whose images may differ.{how}"
        )


@contextmanager
def reading(path: Path, form: str, *failures: type[Exception]) -> Iterator[None]:
    """Name the file when its format's reader gives up.

    Raises:
        DamagedFile: instead of any of `failures`, or of an error of the system.
    """
    expected: tuple[type[Exception], ...] = (OSError, EOFError, *failures)
    try:
        yield
    except expected as error:
        reason = str(error) or type(error).__name__
        raise DamagedFile(
            f"{path} cannot be read as {form}: {reason.rstrip('.')}. Get the file again."
        ) from error


def readable_name(path: Path) -> str:
    """What a set at this place is called; becomes part of a run's directory."""
    return re.sub(r"[^\w.-]+", "-", path.resolve().stem) or "images"


def count_notes(train: int, test: int, published: tuple[int, int]) -> list[str]:
    """A sentence about numbers of images that differ from the published set's; none if they agree."""
    if (train, test) == published:
        return []
    theirs = f"{published[0]:,} and {published[1]:,}"
    return [f"{train:,} training and {test:,} test images, where the published set has {theirs}."]
