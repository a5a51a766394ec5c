"""CIFAR-10 and CIFAR-100 in each published form give the same pixels, labels and hash."""

import hashlib
import importlib.util
import io
import os
import tarfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from convscope.core.config import Choice
from convscope.core.errors import DamagedFile, DataMissing
from convscope.data import cifar
from convscope.data.cifar import CIFAR10_CLASSES, CIFAR100_CLASSES, cifar10, cifar100, read_records
from convscope.data.images import Request


def _beside(name: str) -> ModuleType:
    """Another test file's helpers; tests are no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


published_batch = _beside("test_pickled").batch
GENERATOR = np.random.default_rng(1)
TEN = {
    f"{name}": (GENERATOR.integers(0, 256, (2, 3, 32, 32), dtype=np.uint8), [k, 9 - k])
    for k, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"])
}
HUNDRED = {
    "train": (GENERATOR.integers(0, 256, (4, 3, 32, 32), dtype=np.uint8), [0, 99, 50, 7]),
    "test": (GENERATOR.integers(0, 256, (2, 3, 32, 32), dtype=np.uint8), [98, 1]),
}


def records(images: np.ndarray, labels: list[int], coarse: bool) -> bytes:
    return b"".join(
        (b"\x13" if coarse else b"") + bytes([label]) + image.tobytes()
        for image, label in zip(images, labels, strict=True)
    )


def contents(kind: str, hundred: bool) -> dict[str, bytes]:
    """File name -> bytes of the unpacked form."""
    batches = HUNDRED if hundred else TEN
    key = b"fine_labels" if hundred else b"labels"
    if kind == "binary":
        return {f"{name}.bin": records(*batch, hundred) for name, batch in batches.items()}
    return {name: published_batch(*batch, key) for name, batch in batches.items()}


FOLDERS = {
    ("binary", False): "cifar-10-batches-bin",
    ("python", False): "cifar-10-batches-py",
    ("binary", True): "cifar-100-binary",
    ("python", True): "cifar-100-python",
}


def put(folder: Path, kind: str, hundred: bool, packed: bool) -> None:
    inside = FOLDERS[kind, hundred]
    if not packed:
        (folder / inside).mkdir(parents=True, exist_ok=True)
        for name, data in contents(kind, hundred).items():
            (folder / inside / name).write_bytes(data)
        return
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"cifar-10{'0' * hundred}-{kind}.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        # Not in the order of the numbers, as in the published archives.
        for name, data in reversed(contents(kind, hundred).items()):
            member = tarfile.TarInfo(f"{inside}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "real_data" not in request.keywords:
        monkeypatch.delenv("CONVSCOPE_DATA", raising=False)
        monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def trust_our_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    for which, hundred in ((cifar._CIFAR10, False), (cifar._CIFAR100, True)):
        for name, data in contents("python", hundred).items():
            monkeypatch.setitem(which.md5, name, hashlib.md5(data).hexdigest())  # type: ignore[arg-type]


@pytest.mark.parametrize("hundred", [False, True])
def test_every_form_gives_the_same(hundred: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trust_our_batches(monkeypatch)
    source, batches = (cifar100, HUNDRED) if hundred else (cifar10, TEN)
    *train, test = batches.values()
    hashes = set()
    for kind in ("binary", "python"):
        for packed in (False, True):
            for sub in ("", f"cifar10{'0' * hundred}"):
                place = tmp_path / f"{kind}{packed}{sub}"
                put(place / sub, kind, hundred, packed)
                raw = source(Request(data_dir=place, cache_dir=place / "cache", download=False))
                assert raw.train.images.tolist() == np.concatenate([images for images, _ in train]).tolist()
                assert raw.train.labels.tolist() == [label for _, labels in train for label in labels]
                assert raw.test is not None
                assert raw.test().images.tolist() == test[0].tolist()
                assert raw.test().labels.tolist() == test[1]
                hashes.add(raw.hash)
    assert len(hashes) == 1
    assert raw.augment == (Choice(name="crop", options={"padding": 2}), Choice(name="flip"))
    assert raw.test_images == 2
    count = len(raw.train.labels)
    assert raw.notes == (
        f"{count} training and 2 test images, where the published set has 50,000 and 10,000.",
    )


def test_the_folder_of_batches_itself_may_be_given(tmp_path: Path) -> None:
    put(tmp_path, "binary", False, packed=False)
    request = Request(data_dir=tmp_path / FOLDERS["binary", False], cache_dir=tmp_path / "c", download=False)
    assert cifar10(request).test_images == 2


def test_a_pickle_that_is_not_the_published_one_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object) -> None:
        raise AssertionError("the batch was parsed before its hash was compared")

    monkeypatch.setattr(cifar, "read_batch", opened)
    for packed in (False, True):
        place = tmp_path / str(packed)
        put(place, "python", False, packed)
        with pytest.raises(DamagedFile) as caught:
            cifar10(Request(data_dir=place, cache_dir=tmp_path / "c", download=False))
        holder = place / ("cifar-10-python.tar.gz" if packed else "cifar-10-batches-py")
        md5 = hashlib.md5(contents("python", False)["data_batch_1"]).hexdigest()
        assert str(caught.value) == (
            f"data_batch_1 in {holder} is not the published file: its MD5 is {md5}, the published one "
            f"c99cafc152244af753f735de768cd75f. It is a pickle, which may hold a program, so it was not "
            f"opened. Get it again, or the binary version."
        )


def test_records_by_hand() -> None:
    image = bytes(range(256)) * 12
    images, labels = read_records(b"\x03" + image + b"\x09" + image[::-1], 1, 10, "x")
    assert labels.tolist() == [3, 9]
    assert images[0, 0, 0, :4].tolist() == [0, 1, 2, 3]  # red first, row by row
    assert images[0, 1, 0, 0] == 1024 % 256
    assert images[1].tolist() == np.frombuffer(image[::-1], np.uint8).reshape(3, 32, 32).tolist()


def test_damaged_records_are_refused() -> None:
    with pytest.raises(DamagedFile) as caught:
        read_records(b"\0" * 3072, 1, 10, "test_batch.bin in x")
    assert str(caught.value) == (
        "test_batch.bin in x has 3,072 bytes, which is no multiple of the 3,073 bytes of one image. Get it "
        "again."
    )
    with pytest.raises(DamagedFile) as caught:
        read_records(b"\x0a" * 3073, 1, 10, "test_batch.bin in x")
    assert str(caught.value) == "test_batch.bin in x has the label 10; the classes are 0 to 9."


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    def refusal() -> str:
        with pytest.raises(DamagedFile) as caught:
            cifar10(Request(data_dir=tmp_path, cache_dir=tmp_path / "c", download=False))
        return str(caught.value)

    put(tmp_path, "binary", False, packed=True)
    archive = tmp_path / "cifar-10-binary.tar.gz"
    good = archive.read_bytes()
    archive.write_bytes(good[: len(good) // 2])
    assert refusal() == (
        f"{archive} cannot be read as a gzipped tar archive: Compressed file ended before the end-of-stream "
        f"marker was reached. Get the file again."
    )
    archive.write_bytes(b"<html>")
    assert refusal().startswith(f"{archive} cannot be read as a gzipped tar archive: ")
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin"))
    assert refusal() == (
        f"{archive} lacks data_batch_2.bin, data_batch_3.bin, data_batch_4.bin, data_batch_5.bin, "
        f"test_batch.bin. Get it again."
    )
    with tarfile.open(archive, "w:gz") as tar:
        link = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert refusal().startswith(f"{archive} lacks data_batch_1.bin, ")


def test_a_member_that_claims_too_much_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "binary", False, packed=True)
    monkeypatch.setattr(cifar, "_LARGEST_BATCH", 6145)
    with pytest.raises(DamagedFile) as caught:
        cifar10(Request(data_dir=tmp_path, cache_dir=tmp_path / "c", download=False))
    assert str(caught.value) == (
        f"test_batch.bin in {tmp_path / 'cifar-10-binary.tar.gz'} claims to have 6,146 bytes. It was not "
        f"read."
    )


def test_a_missing_set_names_its_forms(tmp_path: Path) -> None:
    with pytest.raises(DataMissing) as caught:
        cifar100(Request(cache_dir=tmp_path, download=False))
    assert str(caught.value) == (
        f"The data set 'cifar100' was not found. Looked in: --data-dir (not given); $CONVSCOPE_DATA (not "
        f"given); the cache ({tmp_path}); in each of them also in cifar100, cifar-100, cifar. Forms it may "
        f"have: unpacked binary batches (cifar-100-binary/train.bin ...); the binary archive "
        f"(cifar-100-binary.tar.gz); unpacked python batches (cifar-100-python/train ...); the python "
        f"archive (cifar-100-python.tar.gz); Parquet files (train-00000-of-00001.parquet ...). Allow the "
        f"download (169 MB), or give its folder with --data-dir or $CONVSCOPE_DATA."
    )


def test_the_class_names() -> None:
    assert CIFAR10_CLASSES[3] == "cat"
    assert len(CIFAR100_CLASSES) == len(set(CIFAR100_CLASSES)) == 100
    assert list(CIFAR100_CLASSES) == sorted(CIFAR100_CLASSES)


@pytest.mark.real_data
@pytest.mark.slow
def test_the_real_set(tmp_path: Path) -> None:
    raw = cifar10(Request(cache_dir=tmp_path, download=False))
    assert raw.train.images.shape == (50_000, 3, 32, 32)
    assert raw.test is not None
    test = raw.test()
    assert test.images.shape == (10_000, 3, 32, 32)
    assert np.bincount(raw.train.labels).tolist() == [5_000] * 10
    assert np.bincount(test.labels).tolist() == [1_000] * 10
    assert (raw.classes, raw.notes) == (CIFAR10_CLASSES, ())
    # Published means of the training pixels, per channel.
    mean = raw.train.images.mean(axis=(0, 2, 3)) / 255
    assert mean.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)
