"""What a configuration makes of a source: folds, refit, copies; few images and many classes (row D11)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from convscope.core.config import DataConfig
from convscope.core.errors import ConfigError, DataError
from convscope.data import split
from convscope.data.divide import divide
from convscope.data.images import Arrays, Data, ImageSet, Raw


def source(labels: Any, *, given: str = "", classes: int | None = None, pixels: Any = None) -> Raw:
    """Image i holds the number i; `given` names the splits that the source brings itself: val, test."""
    labels = np.asarray(labels, np.int64)
    count = len(labels) if classes is None else classes
    names = tuple(f"class {k}" for k in range(classes if classes is not None else labels.max() + 1))
    numbers = np.arange(len(labels)) if pixels is None else np.asarray(pixels)
    images = np.stack([numbers // 256, numbers % 256], 1).astype(np.uint8)[:, :, None, None]
    own = Arrays(np.full((count, 2, 1, 1), 255, np.uint8), np.arange(count) % len(names))
    return Raw(
        name="numbers",
        classes=names,
        train=Arrays(images, labels),
        val=own if "val" in given else None,
        test=(lambda: own) if "test" in given else None,
        test_images=count if "test" in given else 0,
        hash="0" * 64,
    )


def members(images: ImageSet) -> list[int]:
    pixels = images.batch(torch.arange(len(images))).long()
    return (256 * pixels[:, 0, 0, 0] + pixels[:, 1, 0, 0]).tolist()


def opened(data: Data) -> list[int]:
    return members(data.test.open(lambda: None))


# Folds and refit ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["", "test"])
def test_the_parts_make_up_the_pool_and_each_network_sees_the_rest(given: str) -> None:
    raw = source(np.arange(100) % 4, given=given)
    whole = split(raw, DataConfig())
    pool = sorted([*members(whole.train), *members(whole.val)])
    held: list[int] = []
    for fold in range(5):
        data = split(raw, DataConfig(folds=5, fold=fold))
        assert sorted([*members(data.train), *members(data.val)]) == pool
        assert torch.bincount(data.val.labels).tolist() == [len(pool) // 20] * 4
        assert opened(data) == opened(whole)
        held += members(data.val)
    assert sorted(held) == pool


def test_refit_trains_on_everything_that_is_not_sealed() -> None:
    raw = source(np.arange(100) % 4)
    whole, refit = split(raw, DataConfig()), split(raw, DataConfig(refit=True, validation=0.3))
    assert members(refit.train) == sorted([*members(whole.train), *members(whole.val)])
    assert (len(refit.val), len(refit.val.labels)) == (0, 0)
    assert opened(refit) == opened(whole)
    assert refit.mean != whole.mean


def test_refit_takes_a_sources_own_validation_images_too() -> None:
    raw = source(np.arange(40) % 4, given="val test")
    data = split(raw, DataConfig(refit=True))
    assert members(data.train) == [*range(40), *[256 * 255 + 255] * 40]
    assert data.train.labels.tolist() == [*(np.arange(40) % 4), *(np.arange(40) % 4)]
    assert len(data.val) == 0


def test_refit_with_own_validation_images_leaves_the_drawn_test_split_alone() -> None:
    raw = source(np.arange(100) % 4, given="val")
    whole, refit = split(raw, DataConfig()), split(raw, DataConfig(refit=True))
    assert opened(refit) == opened(whole)
    assert members(refit.train)[: len(whole.train)] == members(whole.train)
    assert len(refit.train) == len(whole.train) + 100


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"folds": 1, "fold": 0},
            "folds is 1, but cross-validation needs at least 2 parts: one is held out and the rest trained on.",
        ),
        ({"fold": 2}, "fold is 2, but folds does not say of how many. Give both, such as --folds 5."),
        (
            {"folds": 5},
            "folds is 5, but fold does not say which part is held out: 0 to 4. `convscope train` without --fold "
            "holds out each in turn.",
        ),
        ({"folds": 5, "fold": 5}, "fold is 5, but the parts of folds = 5 are 0 to 4."),
        (
            {"folds": 5, "fold": 0, "refit": True},
            "refit trains on the validation images too, and folds = 5 holds them out. Leave one of the two out.",
        ),
        (
            {"folds": 5, "fold": 0, "validation": 0.25},
            "With folds = 5 the validation images are those of one part, so validation = 0.25 has no meaning. "
            "Leave it out; --validation None takes it out of a file.",
        ),
    ],
)
def test_what_cannot_be_meant_together_is_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        divide(source(np.arange(100) % 4), DataConfig(**fields))
    assert str(caught.value) == sentence


def test_a_source_with_its_own_validation_images_cannot_be_folded() -> None:
    with pytest.raises(ConfigError) as caught:
        divide(source(np.arange(100) % 4, given="val"), DataConfig(folds=5, fold=0))
    assert str(caught.value) == (
        "numbers has validation images of its own, so folds = 5 has nothing to deal out. Leave folds out, or put "
        "these images among the training images."
    )


# Copies (D8) -------------------------------------------------------------------------------------------------


def twins() -> Raw:
    """Image 2i + 1 is image 2i again, for the first forty of a hundred."""
    numbers = np.arange(100)
    numbers[1:40:2] = numbers[0:40:2]
    return source(np.arange(100) // 2 % 4, pixels=numbers)


def parted(data: Data) -> int:
    """Copies that another split has, too."""
    splits = [set(members(data.train)), set(members(data.val)), set(opened(data))]
    return sum(len(a & b) for i, a in enumerate(splits) for b in splits[:i])


@pytest.mark.parametrize("seed", range(8))
def test_copies_are_in_one_split(seed: int) -> None:
    data = split(twins(), DataConfig(source="npz:somewhere", split_seed=seed))
    assert parted(data) == 0
    assert data.notes == (
        "40 images are exact copies of one another (`convscope audit` lists them); copies are on one side of the "
        "split.",
    )
    for fold in range(3):
        assert parted(split(twins(), DataConfig(split_seed=seed, folds=3, fold=fold))) == 0


def test_the_splits_that_results_rest_on_are_drawn_as_they_were() -> None:
    """Named sets: image by image, so that a run of an older version was scored on the same images."""
    plain = source(np.arange(100) // 2 % 4)
    for seed in range(8):
        named = split(twins(), DataConfig(source="cifar10", split_seed=seed))
        before = split(plain, DataConfig(source="cifar10", split_seed=seed))
        assert torch.equal(named.val.rows, before.val.rows)
        assert torch.equal(named.train.rows, before.train.rows)
        assert named.notes == ()
    assert any(parted(split(twins(), DataConfig(source="cifar10", split_seed=s))) for s in range(8))


def test_a_class_of_one_picture_is_split_all_the_same_and_that_is_said() -> None:
    raw = source(np.arange(30) % 3, pixels=np.where(np.arange(30) % 3 == 0, 0, np.arange(30)))
    data = split(raw, DataConfig(source="npz:somewhere", validation=0.2))
    assert set(data.val.labels.tolist()) == {0, 1, 2}
    assert data.notes == (
        "10 images are exact copies of one another (`convscope audit` lists them); 1 group of them had to be put "
        "on both sides of the split, because a class has too few other images.",
    )


# Few images, many classes (D11) ------------------------------------------------------------------------------

EIGHT: dict[str, tuple[Callable[[], Raw], dict[str, Any], Any]] = {
    "one image of a class": (
        lambda: source([0, 0, 0, 1, 1, 1, 2]),
        {},
        "To hold out images of every class twice, for validation and for the test, each class needs at least 3 "
        "images. Too few have: 'class 2' (1). Add images of these classes or take the classes out.",
    ),
    "two images of each class, both splits to be drawn": (
        lambda: source([0, 1, 2] * 2),
        {},
        "To hold out images of every class twice, for validation and for the test, each class needs at least 3 "
        "images. Too few have: 'class 0' (2), 'class 1' (2), 'class 2' (2). Add images of these classes or take "
        "the classes out.",
    ),
    "two images of each class, one to be drawn": (
        lambda: source([0, 1, 2] * 2, given="test"),
        {"validation": 0.5},
        ([0, 1, 2], [0, 1, 2]),
    ),
    "a class without images, drawn": (
        lambda: source([0, 1] * 20, classes=3, given="test"),
        {},
        "To hold out images of every class, each class needs at least 2 images. Too few have: 'class 2' (0). Add "
        "images of these classes or take the classes out.",
    ),
    "a class without images, nothing to be drawn": (
        lambda: source([0, 1] * 20, classes=3, given="val test"),
        {},
        "No training image is of the class 'class 2'. Add images, or take the class out if there is no such class.",
    ),
    "one class": (
        lambda: source([0] * 40),
        {},
        "numbers has only one class, 'class 0'. Add images of a second class to tell it from.",
    ),
    "10,000 classes of one image": (
        lambda: source(np.arange(10_000), given="test"),
        {},
        "To hold out images of every class, each class needs at least 2 images. Too few have: 'class 0' (1), "
        "'class 1' (1), 'class 2' (1), 'class 3' (1), 'class 4' (1) and 9,995 more. Add images of these classes "
        "or take the classes out.",
    ),
    "10,000 classes of three images": (
        lambda: source(np.arange(30_000) % 10_000),
        {"test": 1 / 3, "validation": 0.5},
        None,
    ),
}


@pytest.mark.parametrize("case", EIGHT)
def test_few_images_are_split_by_class_or_refused_with_what_to_do(case: str) -> None:
    make, fields, expected = EIGHT[case]
    if isinstance(expected, str):
        with pytest.raises(DataError) as caught:
            split(make(), DataConfig(**fields))
        assert str(caught.value) == expected
        return
    data = split(make(), DataConfig(**fields))
    train, val = sorted(data.train.labels.tolist()), sorted(data.val.labels.tolist())
    if expected is not None:
        assert (train, val) == expected
    else:
        assert train == val == list(range(10_000))
        assert len(data.test) == 10_000


def test_there_are_eight() -> None:
    assert len(EIGHT) == 8
