"""What is in CIFAR-10 and CIFAR-100, in each of the forms they are published in?

Binary batches are records: one label byte (CIFAR-100: a coarse one, then the
fine one) and 3,072 pixels.  Python batches are pickles: their MD5 must be the
published one, and even then `pickled.py` runs nothing of them.  Both lie in an
archive or unpacked.  Parquet is read by `parquet.py`.  If nothing is there,
the binary archive is fetched, so that no pickle ever is.

    N  images of a batch      3072 = 3 x 32 x 32, channels first

Reference:
    Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images.
"""

import hashlib
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convscope.core.config import Choice
from convscope.core.errors import DamagedFile

from .builder import Builder
from .cache import decoded, deliver
from .download import Remote
from .find import Form, Found, cache_folder, count_notes, find, locate, only_native_size, reading
from .images import Raw, Request
from .pickled import VALUES, read_batch

_SIDE = 32
_PUBLISHED = (50_000, 10_000)
# The largest member of any of the archives is CIFAR-100's training batch, 155 MB.
_LARGEST_BATCH = 200_000_000

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FINE = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly "
    "camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile "
    "cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp "
    "lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree "
    "orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum "
    "rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider "
    "squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train "
    "trout tulip turtle wardrobe whale willow_tree wolf woman worm "
)
CIFAR100_CLASSES = tuple(_FINE.split())


@dataclass(frozen=True)
class _Set:
    name: str
    classes: tuple[str, ...]
    stem: str
    """How the archives' names begin."""
    unpacked: Mapping[str, str]
    """Binary and Python: the folder in the archive."""
    train: tuple[str, ...]
    test: tuple[str, ...]
    label_key: bytes
    label_bytes: int
    md5: Mapping[str, str]
    """Of the Python batches."""
    remote: Remote


_CIFAR10 = _Set(
    name="cifar10",
    classes=CIFAR10_CLASSES,
    stem="cifar-10",
    unpacked={"binary": "cifar-10-batches-bin", "python": "cifar-10-batches-py"},
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test=("test_batch",),
    label_key=b"labels",
    label_bytes=1,
    # MD5 as published by torchvision (pytorch/vision, torchvision/datasets/cifar.py).
    md5={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
    remote=Remote(
        "cifar-10-binary.tar.gz",
        # SHA-256 as published by TensorFlow Datasets (tensorflow/datasets,
        # tensorflow_datasets/url_checksums/cifar10.txt).
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        170_052_171,
        (
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
        ),
    ),
)
_CIFAR100 = _Set(
    name="cifar100",
    classes=CIFAR100_CLASSES,
    stem="cifar-100",
    unpacked={"binary": "cifar-100-binary", "python": "cifar-100-python"},
    train=("train",),
    test=("test",),
    label_key=b"fine_labels",
    label_bytes=2,
    # MD5 as published by torchvision (pytorch/vision, torchvision/datasets/cifar.py).
    md5={"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    remote=Remote(
        "cifar-100-binary.tar.gz",
        # SHA-256 as published by TensorFlow Datasets (tensorflow/datasets,
        # tensorflow_datasets/url_checksums/cifar100.txt).
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        168_513_733,
        ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",),
    ),
)


def cifar10(request: Request) -> Raw:
    """CIFAR-10: 50,000 + 10,000 colour photographs, 32x32, 10 classes."""
    return _load(_CIFAR10, request)


def cifar100(request: Request) -> Raw:
    """CIFAR-100: 50,000 + 10,000 colour photographs, 32x32, the 100 fine classes."""
    return _load(_CIFAR100, request)


def whereabouts(name: str, request: Request) -> Path | None:
    """The folder in which the set would be found; nothing is read or downloaded."""
    which = {set_.name: set_ for set_ in (_CIFAR10, _CIFAR100)}[name]
    found = find(request, _forms(which), _folders(which))
    return found.folder if found else None


def _folders(which: _Set) -> tuple[str, ...]:
    return which.name, which.stem, "cifar"


def _load(which: _Set, request: Request) -> Raw:
    only_native_size(request, which.name)
    found = locate(which.name, request, _forms(which), _folders(which), (which.remote,))
    # Padding 2, not the usual 4: in the short runs of our defaults small networks fit too little, not too
    # much (as in airbench94); the source documents' commands say 4.
    augment = (Choice(name="crop", options={"padding": 2}), Choice(name="flip"))
    if found.form.kind == "parquet":
        from .parquet import Expected, load_named

        expected = Expected(which.classes, 3, _SIDE, _PUBLISHED)
        return load_named(which.name, request, found.files, expected, augment)
    sources = found.all_files()
    parameters = {"reader": found.form.kind, "set": which.name}
    kept = decoded(
        cache_folder(request), which.name, sources, parameters, lambda to: _decode(which, found, to)
    )
    notes = count_notes(kept.counts["train"], kept.counts["test"], _PUBLISHED)
    return deliver(which.name, kept, augment=augment, notes=notes)


def _forms(which: _Set) -> tuple[Form, ...]:
    """Unpacked before packed, binary before pickled."""
    batches = which.train + which.test
    forms = []
    for kind, ending in (("binary", ".bin"), ("python", "")):
        folder, archive = which.unpacked[kind], f"{which.stem}-{kind}.tar.gz"
        files = tuple(name + ending for name in batches)
        forms.append(Form(kind, f"unpacked {kind} batches ({folder}/{files[0]} ...)", files, (folder, "")))
        forms.append(Form(f"{kind} archive", f"the {kind} archive ({archive})", (archive,)))
    patterns = ("train-*.parquet", "test-*.parquet")
    inside = ("", "data", "plain_text", which.name)
    forms.append(Form("parquet", "Parquet files (train-00000-of-00001.parquet ...)", patterns, inside))
    return tuple(forms)


def _decode(which: _Set, found: Found, builder: Builder) -> None:
    builder.classes = which.classes
    kind, _, archived = found.form.kind.partition(" ")
    ending = ".bin" if kind == "binary" else ""
    names = which.train + which.test
    if archived:
        batches = _unpacked(found.files[0][0], [name + ending for name in names])
    else:
        batches = {}
        for (path,) in found.files:
            with reading(path, f"a {kind} batch"):
                batches[path.name] = path.read_bytes()
    for name in names:
        where = f"{name}{ending} in {found.files[0][0] if archived else found.folder}"
        data = batches.pop(name + ending)
        if kind == "python":
            refuse_unpublished(data, which.md5[name], where)
            images, labels = read_batch(data, which.label_key, len(which.classes), where)
        else:
            images, labels = read_records(data, which.label_bytes, len(which.classes), where)
        builder.add("train" if name in which.train else "test", images, labels)


def _unpacked(archive: Path, names: list[str]) -> dict[str, bytes]:
    """The wanted members, by file name; nothing is written anywhere."""
    found: dict[str, bytes] = {}
    with (
        reading(archive, "a gzipped tar archive", tarfile.TarError, zlib.error),
        tarfile.open(archive) as tar,
    ):
        for member in tar:
            name = member.name.rpartition("/")[2]
            if name not in names or not member.isfile():
                continue
            if member.size > _LARGEST_BATCH:
                raise DamagedFile(
                    f"{name} in {archive} claims to have {member.size:,} bytes. It was not read."
                )
            file = tar.extractfile(member)
            assert file is not None  # it is a regular file
            found[name] = file.read()
    missing = [name for name in names if name not in found]
    if missing:
        raise DamagedFile(f"{archive} lacks {', '.join(missing)}. Get it again.")
    return found


def refuse_unpublished(data: bytes, md5: str, where: str) -> None:
    """Refuse a pickled batch that is not the published one, before anything looks into it.

    Raises:
        DamagedFile: another MD5.
    """
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DamagedFile(
            f"{where} is not the published file: its MD5 is {found}, the published one {md5}. It is a "
            f"pickle, which may hold a program, so it was not opened. Get it again, or the binary version."
        )


def read_records(data: bytes, label_bytes: int, classes: int, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one binary batch.

    Args:
        data: N records of `label_bytes` labels and 3,072 pixels.
        label_bytes: 1 or 2; the last one counts.
        classes: labels must be below.
        where: what to call the file in messages.

    Returns:
        uint8 (N, 3, 32, 32) and int64 (N,).

    Raises:
        DamagedFile: a length that is not a number of records, or a label out of range.
    """
    length = label_bytes + VALUES
    if not data or len(data) % length:
        raise DamagedFile(
            f"{where} has {len(data):,} bytes, which is no multiple of the {length:,} bytes of one image. "
            f"Get it again."
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, length)
    labels = records[:, label_bytes - 1].astype(np.int64)
    if labels.max() >= classes:
        raise DamagedFile(f"{where} has the label {labels.max()}; the classes are 0 to {classes - 1}.")
    return records[:, label_bytes:].reshape(-1, 3, _SIDE, _SIDE), labels
