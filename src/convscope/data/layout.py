"""Which file belongs to which part and class?

In: a folder.  Out: the names below it, and from the names alone where each
file belongs.  A class is a folder and goes by its name, never by its
position.  Two layouts are understood:

    PATH/cat/1.png   PATH/dog/2.png             classes; the test split is drawn from them
    PATH/train/cat/1.png   PATH/test/cat/2.png  given splits; val, valid or validation too

An image outside any class folder, or anywhere below `unlabelled`, has no
label.  No file is opened here.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from convscope.core.errors import ClassMismatch, DataError, nearest

PARTS = ("train", "val", "test", "unlabelled")
_PART_OF = {
    **{"train": "train", "training": "train", "test": "test", "testing": "test"},
    **{"val": "val", "valid": "val", "validation": "val"},
}
_WITHOUT_LABEL = ("unlabelled", "unlabeled")

# Beside these, whatever begins with a dot: .DS_Store, .ipynb_checkpoints, .git, ._picture.jpg.
_JUNK = ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "__pycache__", "$recycle.bin")
_IMAGE = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".gif", ".bmp", ".tif", ".tiff"),
    *(".webp", ".ppm", ".pgm", ".jp2", ".avif", ".heic"),
)
_OTHER = (
    *(".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".html", ".htm"),
    *(".py", ".ipynb", ".toml", ".yaml", ".yml", ".log"),
)
_LISTED = 10
"""How many names a message lists before it only counts."""


@dataclass
class Found:
    """What lies below a folder; all names are relative to it, with forward slashes."""

    files: list[str] = field(default_factory=list)
    """Everything that should be an image, sorted."""
    folders: list[str] = field(default_factory=list)
    junk: list[str] = field(default_factory=list)
    """Left behind by systems and tools; a folder is one entry."""
    other: list[str] = field(default_factory=list)
    """Named like text, tables or programs; at the top, whatever is not named like an image."""
    problems: dict[str, str] = field(default_factory=dict)
    """Folders that cannot be what they should be, with the reason."""

    def notes(self) -> list[str]:
        """What was ignored, said once per kind."""
        told = (
            (self.junk, "left behind by systems and tools"),
            (self.other, "not named like images"),
        )
        return [
            f"Ignored {len(names):,} {'entry' if len(names) == 1 else 'entries'} {what}: "
            f"{listing(sorted({name.rpartition('/')[2] for name in names}))}."
            for names, what in told
            if names
        ]


@dataclass(frozen=True)
class Place:
    """Where one file belongs."""

    part: str
    name: str
    cls: str | None


@dataclass(frozen=True)
class Layout:
    """Where every file belongs."""

    places: list[Place]
    """By part, in the order of PARTS, then by name."""
    folders: dict[str, dict[str, str]]
    """Part -> class -> folder, for the parts that the layout has."""
    classes: tuple[str, ...]
    """Of the training images, sorted."""


def listing(names: Sequence[str]) -> str:
    """'a', 'b', 'c' and 7 more."""
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return ", ".join(repr(name) for name in names[:_LISTED]) + more


def find(root: Path) -> Found:
    """Everything below `root`, without opening a file; links to folders are followed, but not in circles."""
    found = Found()
    _walk(root, "", found, ())
    found.files.sort()
    return found


def _walk(root: Path, inside: str, found: Found, above: tuple[tuple[int, int], ...]) -> None:
    try:
        status = (root / inside).stat()
        entries = sorted(os.scandir(root / inside), key=lambda entry: entry.name)
    except OSError as error:
        found.problems[inside] = os.strerror(error.errno or 0).lower()
        return
    here = (status.st_dev, status.st_ino)
    if here in above:
        found.problems[inside] = "a link to a folder that holds it"
        return
    for entry in entries:
        name = f"{inside}/{entry.name}" if inside else entry.name
        ending = Path(entry.name).suffix.lower()
        if entry.name.startswith(".") or entry.name.lower() in _JUNK:
            found.junk.append(name)
        elif _is_folder(entry):
            if ending in _IMAGE:
                found.problems[name] = "a directory, not a file"
            else:
                found.folders.append(name)
                _walk(root, name, found, (*above, here))
        # LICENSE and weights.bin at the top are no images; inside a class folder they would be refused.
        elif ending in _OTHER or (not inside and ending not in _IMAGE):
            found.other.append(name)
        else:
            found.files.append(name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; reading it as a file gives the reason
        return False


def layout(root: Path, found: Found) -> Layout:
    """Where each file belongs, from the names alone.

    Raises:
        DataError: no classes, a single one, one without files, or folders that are neither layout.
        ClassMismatch: a class of the test or validation images that the training images do not have.
    """
    splits = _split_folders(root, found.folders)
    folders: dict[str, dict[str, str]] = {part: {} for part in {"train", *splits.values()}}
    for name in found.folders:
        part, cls = _belongs(name + "/", splits)
        if cls is not None and name.count("/") == bool(splits):
            _add_class(folders[part], cls, name)
    places = [Place(part, name, cls) for name in found.files for part, cls in (_belongs(name, splits),)]
    places.sort(key=lambda place: (PARTS.index(place.part), place.name))
    arranged = Layout(places, folders, tuple(sorted(folders["train"])))
    _check_classes(root, arranged, found.folders)
    refuse_empty(arranged, places)
    return arranged


def _split_folders(root: Path, folders: Sequence[str]) -> dict[str, str]:
    """Top folder -> part in the layout with given splits; nothing in the layout of classes only."""
    top = [name for name in folders if "/" not in name]
    named = {name: _PART_OF[name.lower()] for name in top if name.lower() in _PART_OF}
    others = [name for name in top if name not in named and name not in _WITHOUT_LABEL]
    # A class may be called train, too, but then it holds images and no folders.
    if not any(named.get(name.partition("/")[0]) == "train" for name in folders if "/" in name):
        if named and not others:
            raise DataError(
                f"{root} has the folder {listing(sorted(named))}, but no train folder with a folder for each "
                f"class. Put the training images there, such as {root / 'train' / 'cat' / '1.png'}."
            )
        return {}
    if others:
        raise DataError(
            f"{root} has a train folder with classes and, beside it, {listing(sorted(others))}. Only val, "
            f"test and unlabelled can stand beside train; move or rename the others."
        )
    for part in PARTS:
        same = sorted(name for name in named if named[name] == part)
        if len(same) > 1:
            raise DataError(f"{root} has more than one folder for {part}: {listing(same)}. Keep one.")
    return named


def _belongs(name: str, splits: Mapping[str, str]) -> tuple[str, str | None]:
    """The part and class of a file."""
    pieces = name.split("/")
    depth = 1 if splits else 0
    if len(pieces) < depth + 2 or pieces[0] in _WITHOUT_LABEL:
        return "unlabelled", None
    # Composed, so that a class typed on macOS (e, then an accent) is the class of that name elsewhere.
    return splits.get(pieces[0], "train"), unicodedata.normalize("NFC", pieces[depth])


def _add_class(classes: dict[str, str], cls: str, name: str) -> None:
    try:
        cls.encode()
    except UnicodeEncodeError:
        raise DataError(f"The name of the class folder {name!r} is not UTF-8. Rename it.") from None
    if cls in classes:
        raise DataError(
            f"Two class folders have the same name and differ only in how its accents are stored: "
            f"{ascii(classes[cls])} and {ascii(name)}. Put their images into one."
        )
    classes[cls] = name


def _check_classes(root: Path, arranged: Layout, folders: Sequence[str]) -> None:
    known = arranged.classes
    if not known:
        raise DataError(
            f"{root} has no class folders. Put each image into a folder named after its class, "
            f"such as {root / 'cat' / '1.png'}."
        )
    if len(known) == 1:
        only = arranged.folders["train"][known[0]]
        inner = sorted(name.rpartition("/")[2] for name in folders if name.rpartition("/")[0] == only)
        hint = (
            f" If its folders {listing(inner)} are the classes, give folder:{root / only}." if inner else ""
        )
        raise DataError(
            f"{root} has only one class, {known[0]!r}. Add a folder of a second class to tell it from.{hint}"
        )
    for part in ("val", "test"):
        for cls, name in sorted(arranged.folders.get(part, {}).items()):
            if cls not in arranged.folders["train"]:
                raise ClassMismatch(
                    f"{name!r} is a class that the training images do not have.{_alike(cls, known)} Classes "
                    f"go by the name of their folder: rename it, or add training images of {cls!r}. "
                    f"Known: {listing(known)}."
                )


def _alike(cls: str, known: Sequence[str]) -> str:
    same = [name for name in known if name.casefold() == cls.casefold()]
    return f" Did you mean {' or '.join(map(repr, same))}?" if same else nearest(cls, known)


def refuse_empty(arranged: Layout, places: Iterable[Place]) -> None:
    """Each class needs a training image, and a given validation or test split any image at all.

    Raises:
        DataError: one has none among these places, which may be fewer than there are files.
    """
    filled = {(place.part, place.cls) for place in places}
    empty = [arranged.folders["train"][cls] for cls in arranged.classes if ("train", cls) not in filled]
    if empty:
        raise DataError(
            f"No usable image is in the class folder {listing(empty)}. Add images, or remove the folder if "
            f"there is no such class."
        )
    for part in ("val", "test"):
        given = sorted(arranged.folders.get(part, {}).values())
        if given and not any(filled_part == part for filled_part, _ in filled):
            raise DataError(
                f"No usable image is in the class folder {listing(given)}. Add images, or remove the folder "
                f"to have the split drawn from the training images."
            )


def missing_notes(arranged: Layout, places: Iterable[Place]) -> list[str]:
    """A given split without images of some class is allowed, and said."""
    filled = {(place.part, place.cls) for place in places}
    notes = []
    for part in ("val", "test"):
        absent = [cls for cls in arranged.classes if (part, cls) not in filled]
        if arranged.folders.get(part) and absent:
            notes.append(f"The {part} images have none (n = 0) of the class {listing(absent)}.")
    return notes
