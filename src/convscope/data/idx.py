"""What is in the IDX files of MNIST and Fashion-MNIST?

An IDX file is a magic number (two zero bytes, a type, the number of axes),
the length of each axis as a big-endian 32-bit number, and the values.  Both
sets are four of them, usually gzipped.  Everything is checked against
everything: one byte too few or too many is refused.

    N  images      H, W  pixels      K  classes

Reference:
    LeCun, Cortes, Burges (1998), The MNIST database of handwritten digits.
    Xiao, Rasul, Vollgraf (2017), Fashion-MNIST.  https://arxiv.org/abs/1708.07747
"""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from convscope.core import files
from convscope.core.config import Choice
from convscope.core.errors import DamagedFile, DataError

from .builder import Builder
from .cache import decoded, deliver
from .download import Remote
from .find import Form, Found, cache_folder, count_notes, find, locate, only_native_size, reading
from .images import Raw, Request

_UNSIGNED_BYTES = 0x08
# Deflate cannot do better than 1032:1, so a header that claims more than that is a lie, not an image set.
_DEFLATE_LIMIT = 1032
_SIDE = 28
_PUBLISHED = (60_000, 10_000)
_STEMS = ("train-images", "train-labels", "t10k-images", "t10k-labels")
_ENDS = {"images": "idx3-ubyte", "labels": "idx1-ubyte"}

# Some distributions have a dot where the original names have the first hyphen after "images" and "labels".
_FILES = tuple(f"{stem}[.-]{_ENDS[stem.rpartition('-')[2]]}" for stem in _STEMS)
_FORMS = (
    Form("idx", "gzipped IDX files (train-images-idx3-ubyte.gz ...)", tuple(f"{file}.gz" for file in _FILES)),
    Form("idx", "IDX files (train-images-idx3-ubyte ...)", _FILES),
    Form(
        "parquet",
        "Parquet files (train-00000-of-00001.parquet ...)",
        ("train-*.parquet", "test-*.parquet"),
        ("", "data", "mnist", "fashion_mnist"),
    ),
)

# SHA-256 and sizes as published by TensorFlow Datasets (tensorflow/datasets,
# tensorflow_datasets/url_checksums/mnist.txt and fashion_mnist.txt).
_SUMS = {
    "mnist": (
        (
            "train-images-idx3-ubyte.gz",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        (
            "train-labels-idx1-ubyte.gz",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        (
            "t10k-images-idx3-ubyte.gz",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    "fashion-mnist": (
        (
            "train-images-idx3-ubyte.gz",
            26_421_880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        (
            "train-labels-idx1-ubyte.gz",
            29_515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
        (
            "t10k-images-idx3-ubyte.gz",
            4_422_102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            5_148,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
}
_MIRRORS = {
    "mnist": (
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    "fashion-mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
}
_DIGITS = tuple(str(digit) for digit in range(10))
_CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def mnist(request: Request) -> Raw:
    """MNIST: 60,000 + 10,000 handwritten digits, 28x28 grey.  No mirroring: a mirrored 2 is not a 2."""
    return _load("mnist", request, _DIGITS, (Choice(name="crop", options={"padding": 2}),))


def fashion_mnist(request: Request) -> Raw:
    """Fashion-MNIST: 60,000 + 10,000 pieces of clothing, 28x28 grey."""
    augment = (Choice(name="crop", options={"padding": 2}), Choice(name="flip"))
    return _load("fashion-mnist", request, _CLOTHES, augment)


_FOLDERS = {
    "mnist": ("mnist", "MNIST", "MNIST/raw"),
    "fashion-mnist": ("fashion-mnist", "fashion_mnist", "FashionMNIST", "FashionMNIST/raw"),
}


def whereabouts(name: str, request: Request) -> Path | None:
    """The folder in which the set would be found; nothing is read or downloaded."""
    found = find(request, _FORMS, _FOLDERS[name])
    return found.folder if found else None


def _load(name: str, request: Request, classes: tuple[str, ...], augment: tuple[Choice, ...]) -> Raw:
    only_native_size(request, name)
    remotes = [
        Remote(file, sha256, size, tuple(mirror + file for mirror in _MIRRORS[name]))
        for file, size, sha256 in _SUMS[name]
    ]
    found = locate(name, request, _FORMS, _FOLDERS[name], remotes)
    if found.form.kind == "parquet":
        from .parquet import Expected, load_named

        expected = Expected(classes, 1, _SIDE, _PUBLISHED)
        return load_named(name, request, found.files, expected, augment)
    _not_the_other(name, found)
    sources = found.all_files()

    def decode(builder: Builder) -> None:
        builder.classes = classes
        builder.add("train", *_part(sources[0], sources[1], len(classes)))
        builder.add("test", *_part(sources[2], sources[3], len(classes)))

    kept = decoded(cache_folder(request), name, sources, {"reader": "idx", "set": name}, decode)
    notes = count_notes(kept.counts["train"], kept.counts["test"], _PUBLISHED)
    return deliver(name, kept, augment=augment, notes=notes)


def _not_the_other(name: str, found: Found) -> None:
    """Refuse to take MNIST for Fashion-MNIST or the reverse: their files have the same names and shapes.

    Only the published files can be told apart; others are believed to be what their folder is called.
    """
    labels = found.files[1][0]  # 29 kB instead of 10 MB, and the two sets' labels differ
    if not labels.name.endswith(".gz"):
        return
    with reading(labels, "a file"):
        sha256 = files.sha256(labels)
    for other, sums in _SUMS.items():
        if other != name and sha256 == sums[1][2]:
            raise DataError(
                f"{found.folder} holds {other}, not {name}: the files have the same names. Put each set into "
                f"a folder of its own name."
            )


def _part(images_path: Path, labels_path: Path, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, 1, 28, 28) uint8 and (N,) int64 of one split."""
    images = read_idx(images_path, 3)
    labels = read_idx(labels_path, 1).astype(np.int64)
    if images.shape[1:] != (_SIDE, _SIDE):
        size = f"{images.shape[1]}x{images.shape[2]}"
        raise DamagedFile(
            f"{images_path} has images of {size} pixels; the published set has {_SIDE}x{_SIDE}."
        )
    if len(images) != len(labels):
        raise DamagedFile(
            f"{images_path} has {len(images):,} images, but {labels_path} has {len(labels):,} labels."
        )
    if not len(labels):
        raise DamagedFile(f"{images_path} has no images.")
    if labels.max() >= classes:
        raise DamagedFile(f"{labels_path} has the label {labels.max()}; the classes are 0 to {classes - 1}.")
    return images[:, None], labels


def read_idx(path: Path, axes: int) -> np.ndarray:
    """The values of one IDX file of unsigned bytes.

    Args:
        path: plain or, if it ends in `.gz`, gzipped.
        axes: how many it must have.

    Raises:
        DamagedFile: another magic number, too few or too many bytes, or broken compression.
    """
    zipped = path.name.endswith(".gz")
    with reading(path, "IDX", zlib.error), gzip.open(path) if zipped else path.open("rb") as file:
        start = file.read(4 + 4 * axes)
        magic = struct.pack(">BBBB", 0, 0, _UNSIGNED_BYTES, axes)
        if start[:4] != magic:
            raise DamagedFile(
                f"{path} is not an IDX file of unsigned bytes with {axes} {'axis' if axes == 1 else 'axes'}: "
                f"it starts with {start[:4].hex() or 'nothing'} instead of {magic.hex()}. Get the file again."
            )
        if len(start) < 4 + 4 * axes:
            raise DamagedFile(f"{path} ends within its header. Get the file again.")
        shape = struct.unpack(f">{axes}I", start[4:])
        wanted = 1
        for length in shape:
            wanted *= length
        limit = path.stat().st_size * (_DEFLATE_LIMIT if zipped else 1)
        # One byte more than it should have, to see whether it has.
        body = file.read(wanted + 1) if wanted <= limit else b""
    if len(body) != wanted:
        has = "more" if len(body) > wanted else f"{len(body):,}" if wanted <= limit else "far fewer"
        raise DamagedFile(
            f"{path} says it holds {' x '.join(str(n) for n in shape)} = {wanted:,} bytes, but it has {has}. "
            f"Get the file again."
        )
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)
