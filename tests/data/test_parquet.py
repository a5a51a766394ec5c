"""Parquet in the Hugging Face layout: every column type, every refusal, the same hash as the other forms."""

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from convscope.core.config import Choice
from convscope.core.errors import BadImages, DamagedFile, DataError, DataMissing, MissingExtra
from convscope.data import shards
from convscope.data.cifar import CIFAR10_CLASSES, CIFAR100_CLASSES, cifar10, cifar100
from convscope.data.idx import fashion_mnist
from convscope.data.images import Raw, Request
from convscope.data.parquet import parquet

GENERATOR = np.random.default_rng(2)
COLOUR = GENERATOR.integers(0, 256, (6, 8, 10, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONVSCOPE_DATA", raising=False)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def put(
    path: Path,
    images: list[Any],
    labels: list[Any],
    *,
    names: list[str] | None = None,
    columns: tuple[str, str] = ("image", "label"),
    plain: bool = False,
    kind: pa.DataType | None = None,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = [png(image) if isinstance(image, np.ndarray) else image for image in images]
    if plain:
        column = pa.array(encoded, pa.binary())
    else:
        struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        column = pa.array([{"bytes": data, "path": None} for data in encoded], struct)
    table = pa.table({columns[0]: column, columns[1]: pa.array(labels, kind)})
    if names is not None:
        features = {columns[1]: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=2)
    return path


def load(path: Path, **options: Any) -> Raw:
    cache = (path if path.is_dir() else path.parent) / "cache"
    return parquet(Request(place=str(path), cache_dir=cache, **options))


def test_shards_of_all_parts_with_class_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_ROWS", 2)  # several batches per file
    names = ["cat", "dog"]
    put(tmp_path / "data/train-00000-of-00002.parquet", list(COLOUR[:3]), [0, 0, 1], names=names)
    put(tmp_path / "data/train-00001-of-00002.parquet", list(COLOUR[3:4]), [1], names=names)
    put(tmp_path / "data/validation-00000-of-00001.parquet", list(COLOUR[4:5]), [1], names=names)
    put(tmp_path / "data/test-00000-of-00001.parquet", list(COLOUR[5:]), [0], names=names)
    raw = load(tmp_path)
    pixels = COLOUR.transpose(0, 3, 1, 2)
    assert raw.train.images.tolist() == pixels[:4].tolist()
    assert raw.train.labels.tolist() == [0, 0, 1, 1]
    assert raw.val is not None and raw.val.images.tolist() == pixels[4:5].tolist()
    assert raw.test is not None and raw.test().images.tolist() == pixels[5:].tolist()
    assert (raw.classes, raw.test_images, raw.notes) == (("cat", "dog"), 1, ())
    assert raw.augment == (Choice(name="crop", options={"padding": 1}), Choice(name="flip"))


def test_a_single_file_is_training_images_and_the_second_load_needs_no_pyarrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(
        tmp_path / "any.parquet", list(COLOUR), [7, 3, 7, 7, 3, 3], plain=True, columns=("img", "labels")
    )
    first = load(path)
    assert (first.classes, first.test) == (("3", "7"), None)
    assert first.train.labels.tolist() == [1, 0, 1, 1, 0, 0]
    assert first.augment == (Choice(name="crop", options={"padding": 1}),)  # digits are not mirrored
    assert first.name == "any"
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert load(path).hash == first.hash
    os.utime(path, (1, 1))  # touched, not changed
    assert load(path).hash == first.hash
    with pytest.raises(MissingExtra) as caught:
        load(path, size=16)
    assert str(caught.value) == (
        'Reading Parquet files needs one more package: pip install "convscope[parquet]"'
    )


def test_files_that_name_no_part_are_training_images(tmp_path: Path) -> None:
    put(tmp_path / "a.parquet", list(COLOUR[:3]), [0, 1, 0])
    put(tmp_path / "b.parquet", list(COLOUR[3:]), [1, 0, 1])
    (tmp_path / "._a.parquet").write_bytes(b"left by a file manager")
    raw = load(tmp_path)
    assert raw.train.images.tolist() == COLOUR.transpose(0, 3, 1, 2).tolist()
    assert raw.train.labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_text_labels_are_classes_in_the_order_of_the_alphabet(tmp_path: Path) -> None:
    raw = load(put(tmp_path / "x.parquet", list(COLOUR), ["dog", "cat", "dog", "cat", "eel", "cat"]))
    assert raw.classes == ("cat", "dog", "eel")
    assert raw.train.labels.tolist() == [1, 0, 1, 0, 2, 0]


def test_images_without_a_label_are_set_apart(tmp_path: Path) -> None:
    put(tmp_path / "train.parquet", list(COLOUR[:4]), [0, -1, None, 1], names=["a b", "c d"])
    put(tmp_path / "test.parquet", list(COLOUR[4:]), [-1, -1])
    with pytest.raises(DamagedFile) as caught:
        load(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'test.parquet'} and {tmp_path / 'train.parquet'} have different class names. Are they "
        f"of one data set?"
    )
    put(tmp_path / "test.parquet", list(COLOUR[4:]), [-1, -1], names=["a b", "c d"])
    raw = load(tmp_path)
    assert raw.train.images.tolist() == COLOUR.transpose(0, 3, 1, 2)[[0, 3]].tolist()
    assert raw.train.labels.tolist() == [0, 1]
    assert raw.unlabelled is not None
    assert raw.unlabelled.images.tolist() == COLOUR.transpose(0, 3, 1, 2)[[1, 2, 4, 5]].tolist()
    assert (raw.test, raw.test_images) == (None, 0)


@pytest.mark.parametrize("colour_first", [False, True])
def test_grey_among_colour_gets_three_channels(tmp_path: Path, colour_first: bool) -> None:
    images = [*COLOUR[:2, :, :, 0], *COLOUR[2:4]]
    images = images[::-1] if colour_first else images
    raw = load(put(tmp_path / "x.parquet", images, [0, 1, 0, 1]))
    expected = [np.stack([image] * 3, 2) if image.ndim == 2 else image for image in images]
    assert raw.train.images.tolist() == np.stack(expected).transpose(0, 3, 1, 2).tolist()
    assert raw.notes == (
        "2 of 4 images are grey, the others in colour: the grey ones were given three equal channels.",
    )


def test_grey_alone_stays_grey(tmp_path: Path) -> None:
    path = put(tmp_path / "x.parquet", list(COLOUR[:, :, :, 0]), [0, 1] * 3)
    raw = load(path)
    assert raw.train.images.tolist() == COLOUR[:, None, :, :, 0].tolist()
    assert load(path, size=4).train.images.shape == (6, 1, 4, 4)
    assert load(path, size=5).train.images.shape == (6, 1, 5, 5)


def test_bad_images_are_all_named_or_left_out(tmp_path: Path) -> None:
    images = [COLOUR[0], b"<html></html>", COLOUR[2], None, png(COLOUR[4])[:60], COLOUR[5]]
    path = put(tmp_path / "x.parquet", images, [0, 1, 2, 1, 0, 3])
    with pytest.raises(BadImages) as caught:
        load(path)
    assert str(caught.value) == (
        "3 files are not usable. Nothing was changed.\n"
        "  x.parquet row 1: a web page (HTML), not an image\n"
        "  x.parquet row 3: no bytes in the file, at most a path\n"
        "  x.parquet row 4: truncated PNG\n"
        "Repair or remove them, or give --skip-bad to leave them out; which were left out is recorded."
    )
    raw = load(path, skip_bad=True)
    assert raw.train.images.tolist() == COLOUR.transpose(0, 3, 1, 2)[[0, 2, 5]].tolist()
    assert raw.train.labels.tolist() == [0, 2, 3]
    with pytest.raises(BadImages):
        load(path)  # also now that there is a decoded set without them
    (note,) = raw.notes
    assert note == (
        "Left out 3 images not usable:\n  x.parquet row 1: a web page (HTML), not an image\n"
        "  x.parquet row 3: no bytes in the file, at most a path\n  x.parquet row 4: truncated PNG"
    )


def test_differing_sizes_need_a_size(tmp_path: Path) -> None:
    path = put(tmp_path / "x.parquet", [COLOUR[0], COLOUR[1], COLOUR[2, :6], COLOUR[3, :, :8]], [0, 1, 0, 1])
    with pytest.raises(DataError) as caught:
        load(path)
    assert str(caught.value) == (
        f"The images in {tmp_path} have 3 different sizes (width x height): 10 x 8 (2), 10 x 6 (1), 8 x 8 "
        f"(1). Say to which they should be brought, such as --size 64."
    )
    assert load(path, size=8).train.images.shape == (4, 3, 8, 8)
    assert load(path, size=8).hash != load(path, size=8, fit="stretch").hash


def test_large_images_are_decoded_in_threads_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "_WORTH_THREADS", 1)
    monkeypatch.setattr(shards, "_ROWS", 2)
    raw = load(put(tmp_path / "x.parquet", list(COLOUR), [0, 1] * 3))
    assert raw.train.images.tolist() == COLOUR.transpose(0, 3, 1, 2).tolist()


def refusal(path: Path) -> str:
    with pytest.raises((DataError, DataMissing)) as caught:
        load(path)
    return str(caught.value)


def test_columns_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    put(path, list(COLOUR), [0] * 6, columns=("photo", "label"))
    assert refusal(path) == (
        f"{path} has the columns photo, label. Needed are a column of images called image or img and one of "
        f"labels called fine_label or label or labels."
    )
    put(path, list(COLOUR), [0.5] * 6)
    assert refusal(path) == f"{path}: the column label has the type double. Labels are whole numbers or text."
    pq.write_table(pa.table({"image": ["a.png"], "label": [0]}), path)
    assert refusal(path) == (
        f"{path}: the column image has the type string. It must hold encoded images: bytes, or a struct with "
        f"a field bytes."
    )
    put(path, list(COLOUR), [0, 1, 2, 0, 1, 0], names=["cat", "dog"])
    assert refusal(path) == (
        f"{tmp_path}: image 2 of the train part has the label 2, but the 2 classes are cat, dog."
    )
    put(path, list(COLOUR), [-1] * 6)
    assert refusal(path) == f"{tmp_path} has no labels. Training needs labelled images."
    path.write_bytes(b"PAR1<html>")
    assert refusal(path).startswith(f"{path} cannot be read as Parquet: ")


def test_damage_within_a_file_is_named(tmp_path: Path) -> None:
    path = put(tmp_path / "x.parquet", list(COLOUR), [0, 1] * 3)
    data = bytearray(path.read_bytes())
    data[4:40] = b"\xff" * 36  # the header of the first page
    path.write_bytes(data)
    assert refusal(path).startswith(f"{path} cannot be read as Parquet: ")


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no") == (
        f"There is no file or folder {tmp_path / 'no'}. Write parquet:PATH with the path of a Parquet file, "
        f"or of a folder of train-*.parquet and test-*.parquet."
    )
    assert refusal(tmp_path) == (
        f"There are no Parquet files in {tmp_path}. It should hold train-*.parquet and, if there are any, "
        f"validation-*.parquet and test-*.parquet; they may be in a subfolder data."
    )
    put(tmp_path / "train-00001-of-00002.parquet", list(COLOUR), [0] * 6)
    assert refusal(tmp_path).startswith(f"{tmp_path} holds only some of the shards of a Parquet data set.")


def named(
    folder: Path, side: int, names: list[str] | None, column: str = "label", grey: bool = False
) -> Request:
    pixels = GENERATOR.integers(0, 256, (4, side, side, 3), dtype=np.uint8)
    images = list(pixels[:, :, :, 0] if grey else pixels)
    put(folder / "train-00000-of-00001.parquet", images[:3], [0, 1, 2], names=names, columns=("img", column))
    put(folder / "test-00000-of-00001.parquet", images[3:], [1], names=names, columns=("img", column))
    return Request(data_dir=folder, cache_dir=folder / "cache", download=False)


def test_cifar10_in_parquet(tmp_path: Path) -> None:
    raw = cifar10(named(tmp_path / "a", 32, list(CIFAR10_CLASSES)))
    assert raw.classes == CIFAR10_CLASSES
    assert raw.train.images.shape == (3, 3, 32, 32)
    assert raw.test_images == 1
    assert cifar10(named(tmp_path / "b", 32, None)).classes == CIFAR10_CLASSES


def test_hugging_faces_spellings_are_those_of_the_same_set(tmp_path: Path) -> None:
    misspelt = ["cra" if name == "crab" else name for name in CIFAR100_CLASSES]
    assert cifar100(named(tmp_path / "a", 32, misspelt, "fine_label")).classes == CIFAR100_CLASSES
    clothes = [
        "T - shirt / top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ]
    raw = fashion_mnist(named(tmp_path / "b", 28, clothes, grey=True))
    assert raw.classes[0] == "T-shirt/top"
    assert raw.train.images.shape == (3, 1, 28, 28)


def test_another_set_is_not_taken_for_the_named_one(tmp_path: Path) -> None:
    digits = [str(digit) for digit in range(10)]
    with pytest.raises(DataError) as caught:
        cifar10(named(tmp_path / "a", 32, digits))
    assert str(caught.value) == (
        f"The Parquet files in {tmp_path / 'a'} hold another set: their classes are 0, 1, 2, 3, 4, 5, 6, 7, "
        f"8, 9, expected were airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck."
    )
    with pytest.raises(DataError) as caught:
        cifar10(named(tmp_path / "b", 28, None))
    assert str(caught.value) == (
        f"The images in {tmp_path / 'b'} have 28 x 28 (4) pixels (width x height); those of the published "
        f"set have 32 x 32. This is another set."
    )


def test_parquet_and_binary_have_one_hash(tmp_path: Path) -> None:
    pixels = GENERATOR.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
    labels = [k % 10 for k in range(12)]
    rows = list(pixels.transpose(0, 2, 3, 1))
    put(tmp_path / "a/train-00000-of-00001.parquet", rows[:10], labels[:10])
    put(tmp_path / "a/test-00000-of-00001.parquet", rows[10:], labels[10:])
    (tmp_path / "b").mkdir()
    for k, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        two = slice(2 * k, 2 * k + 2)
        data = b"".join(bytes([y]) + x.tobytes() for x, y in zip(pixels[two], labels[two], strict=True))
        (tmp_path / "b" / f"{name}.bin").write_bytes(data)
    hashes = [
        cifar10(Request(data_dir=tmp_path / form, cache_dir=tmp_path / "c", download=False)).hash
        for form in "ab"
    ]
    assert hashes[0] == hashes[1]
