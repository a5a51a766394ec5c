"""An audit finds what was planted, in the right splits, and says nothing of test labels: row D8."""

import dataclasses
import json
import resource
import time
from typing import Any

import numpy as np
import pytest

from convscope.core.config import DataConfig
from convscope.data import audit as module
from convscope.data import read_source
from convscope.data.audit import Audit, audit
from convscope.data.duplicates import ALIKE
from convscope.data.images import Arrays, Raw

from .test_duplicates import as_jpeg, photographs


def planted() -> Raw:
    """40 images in given splits, 24, 8 and 8; images 0 to 5 are there again, equal or alike."""
    images = photographs(40)
    train, val, test = images[:24].copy(), images[24:32].copy(), images[32:].copy()
    train[20], train[21] = train[0], train[0]  # three times in training, of two classes
    val[7] = train[1]
    test[3] = test[4] = train[2]
    test[5] = val[0]
    test[6] = as_jpeg(train[3])
    train[22] = as_jpeg(train[4])
    labels = np.arange(24) % 3
    labels[20] = 0
    own = np.arange(8) % 3
    return Raw(
        name="planted",
        classes=("cat", "dog", "eel"),
        train=Arrays(train, labels, tuple(f"train/{k}.png" for k in range(24))),
        val=Arrays(val, own),
        test=lambda: Arrays(test, own, tuple(f"test/eel/{k}.png" for k in range(8))),
        test_images=8,
        hash="0" * 64,
    )


@pytest.fixture(scope="module")
def found() -> Audit:
    return audit(planted(), DataConfig())


def spelled(groups: Any) -> list[list[str]]:
    return [[image.name for image in group] for group in groups]


def test_equal_images_are_grouped_within_and_across_the_splits(found: Audit) -> None:
    assert spelled(found.exact) == [
        ["train/0.png", "train/20.png", "train/21.png"],
        ["train/1.png", "val 7"],
        ["train/2.png", "test 3", "test 4"],
        ["val 0", "test 5"],
    ]
    assert found.exact_crossings == {
        "train": {"train": 3, "val": 1, "test": 1},
        "val": {"train": 1, "val": 0, "test": 1},
        "test": {"train": 2, "val": 1, "test": 2},
    }


def test_labels_that_contradict_each_other_are_counted(found: Audit) -> None:
    assert [[image.label for image in group] for group in found.exact] == [
        ["cat", "cat", "cat"],
        ["dog", "dog"],
        ["eel", None, None],
        ["cat", None],
    ]
    assert found.conflicting == ()
    raw = planted()
    labels = raw.train.labels.copy()
    labels[20] = 2
    wrong = audit(dataclasses.replace(raw, train=Arrays(raw.train.images, labels)), DataConfig())
    assert [[image.label for image in group] for group in wrong.conflicting] == [["cat", "eel", "cat"]]


def test_images_that_look_alike_are_paired(found: Audit) -> None:
    assert found.near is not None
    assert spelled(pair[:2] for pair in found.near) == [
        ["train/3.png", "test 6"],
        ["train/4.png", "train/22.png"],
    ]
    assert all(ALIKE <= cosine < 1 for *_, cosine in found.near)
    assert found.near_crossings == {
        "train": {"train": 2, "val": 0, "test": 1},
        "val": {"train": 0, "val": 0, "test": 0},
        "test": {"train": 1, "val": 0, "test": 0},
    }


def test_labels_and_files_of_test_images_leave_no_trace(found: Audit) -> None:
    """The files of the test folder are named after their class; neither reaches the result."""
    raw = planted()
    given = raw.test
    assert given is not None
    turned = given()
    other = dataclasses.replace(raw, test=lambda: Arrays(turned.images, (turned.labels + 1) % 3, ()))
    assert audit(other, DataConfig()).as_table() == found.as_table()
    assert "test/eel" not in json.dumps(found.as_table())


def test_the_split_is_the_one_that_a_run_would_have() -> None:
    from convscope.data import split

    raw = dataclasses.replace(planted(), val=None, test=None, test_images=0)
    for seed in range(3):
        config = DataConfig(source="npz:somewhere", split_seed=seed, validation=0.2)
        data = split(raw, config)
        again = audit(raw, config)
        assert again.images == {"train": len(data.train), "val": len(data.val), "test": len(data.test)}
        # Equal images are on one side.
        crossings = again.exact_crossings
        assert all(crossings[a][b] == 0 for a in crossings for b in crossings if a != b)
        counts = np.bincount(data.train.labels.numpy()).tolist()
        assert list(again.balance["train"]) == counts


def test_the_findings_in_words(found: Audit) -> None:
    assert found.sentences() == [
        "The classes have from 7 (eel) to 9 (cat) training images.",
        "10 images in 4 groups are equal in every pixel; 3 of the 8 test images (37.50%) have an equal one among "
        "those for training or validation, so a test accuracy is in part memory.",
        "2 pairs of images look alike without being equal (cosine of their thumbnails at least 0.99); 1 of the 8 "
        "test images (12.50%) have an image like it among those for training or validation, so a test accuracy is "
        "in part memory. That is 10.0% of all images: many copies, or pictures that are alike by nature, as digits "
        "are. Look at some pairs; an --alike nearer to 1 leaves the nearest.",
        "The test images were compared by their pixels; their labels were neither used nor shown, so this is no "
        "opening of the test split.",
    ]


def test_what_is_said_of_clean_and_of_uneven_sets() -> None:
    images = photographs(60, seed=1)
    labels = np.repeat([0, 1], [44, 16])
    raw = Raw("clean", ("cat", "dog"), Arrays(images, labels), None, 0, "0" * 64)
    config = DataConfig(source="npz:somewhere")
    assert audit(raw, config).sentences()[:3] == [
        "The classes have from 12 (dog) to 31 (cat) training images, 2.6 to 1: look at the balanced accuracy, and "
        "try --class-weights balanced.",
        "No two images are equal in every pixel.",
        "0 pairs of images look alike without being equal (cosine of their thumbnails at least 0.99); no test "
        "image has an image like it among those for training or validation.",
    ]
    even = dataclasses.replace(raw, train=Arrays(photographs(50, seed=1), np.arange(50) % 2))
    assert audit(even, config).sentences()[0] == "Every class has 18 training images."
    assert audit(raw, config, near=False).sentences()[2] == "Images that look alike were not looked for."


def test_of_a_set_whose_pictures_are_all_alike_it_is_said_that_they_may_be_no_copies() -> None:
    """As MNIST's: one picture with little noise, never the same."""
    rng = np.random.default_rng(0)
    images = photographs(1).astype(int) + rng.integers(-6, 7, (60, 3, 32, 32))
    raw = Raw(
        "stars", ("cat", "dog"), Arrays(images.clip(0, 255).astype(np.uint8), np.arange(60) % 2), None, 0, "0"
    )
    found = audit(raw, DataConfig())
    assert found.near is not None and len(found.near) == 60 * 59 / 2
    assert found.sentences()[2].endswith(
        "That is 100.0% of all images: many copies, or pictures that are alike by nature, as digits are. Look at some "
        "pairs; an --alike nearer to 1 leaves the nearest."
    )
    assert audit(raw, DataConfig(), threshold=0.99999).near == ()


def test_conflicts_are_said() -> None:
    raw = planted()
    labels = raw.train.labels.copy()
    labels[20] = 2
    wrong = audit(dataclasses.replace(raw, train=Arrays(raw.train.images, labels)), DataConfig(), near=False)
    assert wrong.sentences()[2] == (
        "1 group of equal images has more than one label: at least one of them is wrong."
    )


def test_the_table_is_json_and_holds_every_finding(found: Audit) -> None:
    table = json.loads(json.dumps(found.as_table()))
    assert table["classes"] == {
        "cat": {"train": 9, "val": 3},
        "dog": {"train": 8, "val": 3},
        "eel": {"train": 7, "val": 2},
    }
    assert table["exact"][1] == [
        {"part": "train", "position": 1, "name": "train/1.png", "label": "dog"},
        {"part": "val", "position": 7, "name": "val 7", "label": "dog"},
    ]
    assert [len(table["near"]), table["conflicting_labels"], table["threshold"]] == [2, 0, ALIKE]
    assert table["findings"] == found.sentences()


@pytest.mark.real_data
@pytest.mark.slow
def test_cifar10() -> None:
    """60,000 images in less than a minute and 2 GB; what is found is pinned."""
    raw = read_source(DataConfig(source="cifar10"), download=False)
    started = time.perf_counter()
    found = audit(raw, DataConfig(source="cifar10"))
    assert time.perf_counter() - started < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2_000_000  # KiB
    assert found.near is not None and len(found.near) == 100
    assert found.share_alike == 196 / 60_000 < module.MANY
    assert found.balance["train"] == (4_500,) * 10
