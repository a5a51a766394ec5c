"""NumPy archives: every layout, and everything refused that could be read in two ways."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convscope.core.config import Choice
from convscope.core.errors import DataError
from convscope.data.images import Raw, Request
from convscope.data.npz import npz

PIXELS = np.random.default_rng(3).integers(0, 256, (5, 3, 8, 10), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 1, 0])


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def load(path: Path, **arrays: Any) -> Raw:
    np.savez(path, **arrays)
    return npz(Request(place=str(path), cache_dir=path.parent / "cache"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "my set.npz"


def test_each_layout_is_brought_to_one(path: Path) -> None:
    first = load(path, images=PIXELS, labels=LABELS)
    assert first.train.images.tolist() == PIXELS.tolist()
    last = load(path, images=PIXELS.transpose(0, 2, 3, 1), labels=LABELS)
    assert last.train.images.tolist() == PIXELS.tolist()
    assert last.hash == first.hash
    grey = load(path, images=PIXELS[:, 0], labels=LABELS)
    assert grey.train.images.tolist() == PIXELS[:, :1].tolist()
    assert (first.name, first.classes, first.test) == ("my-set", ("0", "1", "2"), None)
    assert first.train.labels.tolist() == LABELS.tolist()
    assert first.augment == (Choice(name="crop", options={"padding": 1}),)


def test_test_arrays_classes_and_images_without_a_label(path: Path) -> None:
    raw = load(
        path,
        images=PIXELS[:3],
        labels=np.array([2, -1, 0], dtype=np.int8),
        test_images=PIXELS[3:],
        test_labels=np.array([1, 1]),
        classes=np.array(["cat", "dog", "eel"]),
    )
    assert raw.classes == ("cat", "dog", "eel")
    assert raw.train.labels.tolist() == [2, 0]
    assert raw.train.images.tolist() == PIXELS[[0, 2]].tolist()
    assert raw.unlabelled is not None and raw.unlabelled.images.tolist() == PIXELS[1:2].tolist()
    assert raw.test is not None and raw.test().images.tolist() == PIXELS[3:].tolist()
    assert raw.augment == (Choice(name="crop", options={"padding": 1}), Choice(name="flip"))


def refusal(path: Path, **arrays: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(path, **arrays)
    return str(caught.value)


def test_every_refusal(path: Path) -> None:
    good = {"images": PIXELS, "labels": LABELS}
    assert refusal(path, images=PIXELS / 255, labels=LABELS) == (
        f"{path}: images has the type float64. Images are whole numbers 0 to 255: for values in 0 to 1 save "
        f"np.round(images * 255).astype(np.uint8)."
    )
    assert refusal(path, images=PIXELS[:, :, :, :3], labels=LABELS) == (
        f"{path}: images has the shape (5, 3, 8, 3). Allowed are (N, H, W), (N, H, W, C) and (N, C, H, W) "
        f"with C = 1 or 3 and other values for H and W."
    )
    assert refusal(path, images=PIXELS[:, :2], labels=LABELS).startswith(
        f"{path}: images has the shape (5, 2,"
    )
    assert (
        refusal(path, images=PIXELS, labels=LABELS[:4])
        == f"{path}: images has 5 images, but labels has 4 labels."
    )
    assert refusal(path, images=PIXELS, labels=LABELS * 1.0) == (
        f"{path}: labels has the shape (5,) and type float64. Give one whole number or one text per image."
    )
    assert refusal(path, images=PIXELS) == (
        f"{path} has images; the array labels is missing. It may hold images, labels, test_images, "
        f"test_labels, classes; the last three are optional, the two test arrays only together."
    )
    assert refusal(path, x=PIXELS, y=LABELS).startswith(f"{path} has x, y; the array images is missing.")
    assert refusal(path, **good, test_images=PIXELS).startswith(
        f"{path} has images, labels, test_images; the array test_labels is missing."
    )
    assert refusal(path, **good, test_images=PIXELS[:, :1], test_labels=LABELS) == (
        f"{path}: one image of images is 3 x 8 x 10, one of test_images is 1 x 8 x 10. Bring them to one "
        f"shape."
    )
    assert refusal(path, **good, classes=np.arange(3)) == (
        f"{path}: classes must be a one-dimensional array of text, one name per class."
    )
    assert refusal(path, **good, classes=np.array(["cat", "dog"])) == (
        f"{path}: image 2 of the train part has the label 2, but the 2 classes are cat, dog."
    )
    assert refusal(path, **good, test_images=PIXELS, test_labels=LABELS.astype(str)) == (
        f"The labels of {path} are partly numbers and partly text. Use one of the two."
    )
    assert refusal(path, images=PIXELS[:0], labels=LABELS[:0]) == (
        f"{path} has no labels. Training needs labelled images."
    )


class Evil:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return Path.touch, (self.canary,)


def test_pickled_objects_are_refused_unread(path: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps(Evil(canary)))
    assert canary.exists()
    canary.unlink()
    labels = np.array([Evil(canary)] * 5)
    assert refusal(path, images=PIXELS, labels=labels) == (
        f"{path} cannot be read as a NumPy archive: Object arrays cannot be loaded when allow_pickle=False. "
        f"Get the file again."
    )
    path.write_bytes(pickle.dumps(Evil(canary)))
    with pytest.raises(DataError) as caught:
        npz(Request(place=str(path), cache_dir=tmp_path / "cache"))
    assert str(caught.value).startswith(f"{path} cannot be read as a NumPy archive: ")
    assert not canary.exists()


def test_damaged_archives_are_named(path: Path) -> None:
    np.savez_compressed(path, images=PIXELS, labels=LABELS)
    good = path.read_bytes()
    for data in (
        b"",
        b"PK\x03\x04",
        good[: len(good) // 2],
        good[:200] + bytes([good[200] ^ 255]) + good[201:],
    ):
        path.write_bytes(data)
        with pytest.raises(DataError) as caught:
            npz(Request(place=str(path), cache_dir=path.parent / "cache"))
        assert str(caught.value).startswith(f"{path} cannot be read as a NumPy archive: ")
    np.save(path.with_suffix(".npy"), PIXELS)
    path.with_suffix(".npy").rename(path)
    with pytest.raises(DataError) as caught:
        npz(Request(place=str(path), cache_dir=path.parent / "cache"))
    assert str(caught.value) == (
        f"{path} cannot be read as a NumPy archive: it holds a single array; save with np.savez(path, "
        f"images=..., labels=...). Get the file again."
    )


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        npz(Request(place=""))
    assert str(caught.value) == (
        "There is no file (nothing given). Write npz:PATH with the path of a NumPy archive that has the "
        "arrays images and labels."
    )
