"""MNIST and Fashion-MNIST: the parser against bytes written by hand, and every damage refused."""

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from convscope.core import files
from convscope.core.config import Choice
from convscope.core.errors import DamagedFile, DataError, DataMissing
from convscope.data import idx
from convscope.data.idx import fashion_mnist, mnist, read_idx
from convscope.data.images import Raw, Request

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx_bytes(array: np.ndarray) -> bytes:
    lengths = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + lengths + array.astype(np.uint8).tobytes()


def small_set(seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [
        array
        for count in (20, 10)
        for array in (generator.integers(0, 256, (count, 28, 28)), np.arange(count) % 10)
    ]


def put(folder: Path, arrays: list[np.ndarray], *, zipped: bool = True, dot: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(NAMES, arrays, strict=True):
        called = name.replace("-idx", ".idx") if dot else name
        data = idx_bytes(array)
        (folder / f"{called}{'.gz' * zipped}").write_bytes(gzip.compress(data) if zipped else data)


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Request:
    monkeypatch.delenv("CONVSCOPE_DATA", raising=False)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    return Request(data_dir=tmp_path / "data", cache_dir=tmp_path / "cache", download=False)


def test_a_file_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 4, 5, 255]))
    assert read_idx(path, 3).tolist() == [[[1, 2, 3]], [[4, 5, 255]]]


def _refusal(path: Path, data: bytes, axes: int = 1) -> str:
    path.write_bytes(data)
    with pytest.raises(DamagedFile) as caught:
        read_idx(path, axes)
    return str(caught.value)


def test_every_damage_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    good = idx_bytes(np.arange(5))
    kind = f"{path} is not an IDX file of unsigned bytes with 1 axis: it starts with"
    assert _refusal(path, b"") == f"{kind} nothing instead of 00000801. Get the file again."
    assert _refusal(path, b"<htm") == f"{kind} 3c68746d instead of 00000801. Get the file again."
    assert (
        _refusal(path, idx_bytes(np.zeros((1, 1, 1))))
        == f"{kind} 00000803 instead of 00000801. Get the file again."
    )
    assert _refusal(path, good[:6]) == f"{path} ends within its header. Get the file again."
    holds = f"{path} says it holds 5 = 5 bytes, but it has"
    assert _refusal(path, good[:-1]) == f"{holds} 4. Get the file again."
    assert _refusal(path, good + b"\0") == f"{holds} more. Get the file again."
    huge = bytes([0, 0, 8, 3]) + b"\xff" * 12
    assert _refusal(path, huge, 3) == (
        f"{path} says it holds 4294967295 x 4294967295 x 4294967295 = 79,228,162,458,924,105,385,300,197,375 "
        f"bytes, but it has far fewer. Get the file again."
    )


def test_broken_compression_is_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.gz"
    good = gzip.compress(idx_bytes(np.arange(5)))
    assert _refusal(path, b"<html></html>") == (
        f"{path} cannot be read as IDX: Not a gzipped file (b'<h'). Get the file again."
    )
    assert _refusal(path, good[:-9]) == (
        f"{path} cannot be read as IDX: Compressed file ended before the end-of-stream marker was reached. "
        f"Get the file again."
    )
    flipped = bytearray(good)
    flipped[-6] ^= 1  # the checksum
    assert _refusal(path, bytes(flipped)).startswith(f"{path} cannot be read as IDX: CRC check failed")


def test_every_cut_and_every_flipped_header_bit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "images"
    good = idx_bytes(np.arange(24).reshape(2, 3, 4))
    for length in range(len(good)):
        _refusal(path, good[:length], 3)
    for bit in range(8 * 16):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        _refusal(path, bytes(flipped), 3)


@pytest.mark.parametrize(
    ("folder", "zipped", "dot"),
    [("", True, False), ("mnist", True, False), ("MNIST/raw", False, False), ("mnist", False, True)],
)
def test_mnist_in_each_form(ask: Request, folder: str, zipped: bool, dot: bool) -> None:
    arrays = small_set()
    assert ask.data_dir is not None
    put(ask.data_dir / folder, arrays, zipped=zipped, dot=dot)
    raw = mnist(ask)
    assert raw.train.images.tolist() == arrays[0][:, None].tolist()
    assert raw.train.labels.tolist() == arrays[1].tolist()
    assert raw.test is not None
    assert raw.test().images.tolist() == arrays[2][:, None].tolist()
    assert raw.test().labels.tolist() == arrays[3].tolist()
    assert raw.classes == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    assert raw.augment == (Choice(name="crop", options={"padding": 2}),)
    assert raw.notes == ("20 training and 10 test images, where the published set has 60,000 and 10,000.",)


def test_the_hash_does_not_depend_on_the_form(ask: Request, tmp_path: Path) -> None:
    hashes = set()
    for zipped in (True, False):
        put(tmp_path / str(zipped), small_set(), zipped=zipped)
        asked = Request(data_dir=tmp_path / str(zipped), cache_dir=ask.cache_dir, download=False)
        hashes.add(mnist(asked).hash)
    assert len(hashes) == 1


def test_fashion_mnist_may_be_mirrored(ask: Request) -> None:
    assert ask.data_dir is not None
    put(ask.data_dir / "FashionMNIST" / "raw", small_set(), zipped=False)
    raw = fashion_mnist(ask)
    assert raw.classes[0] == "T-shirt/top"
    assert raw.classes[9] == "Ankle boot"
    assert raw.augment == (Choice(name="crop", options={"padding": 2}), Choice(name="flip"))


def test_the_other_set_under_the_same_file_names_is_refused(
    ask: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask.data_dir is not None
    put(ask.data_dir, small_set())
    labels = ask.data_dir / f"{NAMES[1]}.gz"
    published = [*idx._SUMS["mnist"]]
    published[1] = (published[1][0], published[1][1], files.sha256(labels))
    monkeypatch.setitem(idx._SUMS, "mnist", tuple(published))
    mnist(ask)
    with pytest.raises(DataError) as caught:
        fashion_mnist(ask)
    assert str(caught.value) == (
        f"{ask.data_dir} holds mnist, not fashion-mnist: the files have the same names. Put each set into a "
        f"folder of its own name."
    )


def test_parts_that_do_not_fit_together_are_refused(ask: Request) -> None:
    assert ask.data_dir is not None
    images, labels = (ask.data_dir / f"{name}" for name in NAMES[:2])
    arrays = small_set()

    def refusal() -> str:
        put(ask.data_dir, arrays, zipped=False)  # type: ignore[arg-type]
        with pytest.raises(DamagedFile) as caught:
            mnist(ask)
        return str(caught.value)

    arrays[1] = np.arange(19)
    assert refusal() == f"{images} has 20 images, but {labels} has 19 labels."
    arrays[1] = np.arange(20)
    assert refusal() == f"{labels} has the label 19; the classes are 0 to 9."
    arrays[0] = np.zeros((20, 28, 27))
    assert refusal() == f"{images} has images of 28x27 pixels; the published set has 28x28."
    arrays[0], arrays[1] = np.zeros((0, 28, 28)), np.zeros(0)
    assert refusal() == f"{images} has no images."


def test_a_missing_set_is_not_downloaded_when_that_is_forbidden(ask: Request) -> None:
    with pytest.raises(DataMissing, match=r"Allow the download \(12 MB\)"):
        mnist(ask)
    with pytest.raises(DataMissing, match=r"Allow the download \(31 MB\)"):
        fashion_mnist(ask)


def test_the_published_hashes_are_whole() -> None:
    for name in ("mnist", "fashion-mnist"):
        sums = idx._SUMS[name]
        assert [file for file, _, _ in sums] == [f"{file}.gz" for file in NAMES]
        assert all(len(bytes.fromhex(sha256)) == 32 for _, _, sha256 in sums)


@pytest.mark.real_data
@pytest.mark.parametrize("source", [mnist, fashion_mnist])
def test_the_real_set(source: Callable[[Request], Raw], tmp_path: Path) -> None:
    raw = source(Request(cache_dir=tmp_path, download=False))
    assert raw.train.images.shape == (60_000, 1, 28, 28)
    assert raw.test is not None
    test = raw.test()
    assert test.images.shape == (10_000, 1, 28, 28)
    assert set(raw.train.labels.tolist()) == set(test.labels.tolist()) == set(range(10))
    assert raw.notes == ()
    # Published means and deviations of the training pixels: 0.1307 and 0.3081, 0.2860 and 0.3530.
    mean, deviation = (0.1307, 0.3081) if raw.name == "mnist" else (0.2860, 0.3530)
    assert raw.train.images.mean() / 255 == pytest.approx(mean, abs=1e-4)
    assert raw.train.images.std() / 255 == pytest.approx(deviation, abs=1e-4)
