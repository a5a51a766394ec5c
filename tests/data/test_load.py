"""How a source becomes three splits: disjoint, stratified, the test sealed, statistics from training alone."""

import numpy as np
import pytest
import torch

from convscope.core.config import DataConfig
from convscope.core.errors import ConfigError, DataMissing, UnknownName
from convscope.data import load, split
from convscope.data.images import Arrays, Raw


def numbered(count: int = 200, classes: int = 4, **more) -> Raw:
    """Image i is i everywhere, so a split shows which images it has; class i % classes."""
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 2, 3, 3)).copy()
    labels = np.arange(count) % classes
    names = tuple(f"class {k}" for k in range(classes))
    return Raw("numbered", names, Arrays(images, labels), None, 0, "0" * 64, **more)


def members(images) -> list[int]:
    return images.batch(torch.arange(len(images)))[:, 0, 0, 0].tolist()


def test_the_three_splits_are_disjoint_and_hold_every_image_once() -> None:
    data = split(numbered(), DataConfig(validation=0.25, test=0.2))
    test = data.test.open(lambda: None)
    every = members(data.train) + members(data.val) + members(test)
    assert sorted(every) == list(range(200))
    assert (len(data.train), len(data.val), len(test)) == (120, 40, 40)
    for part in (data.train, data.val, test):
        assert torch.bincount(part.labels).tolist() == [len(part) // 4] * 4
        assert [i % 4 for i in members(part)] == part.labels.tolist()


def test_the_split_seed_moves_images_and_nothing_else_does() -> None:
    first, again, other = (split(numbered(), DataConfig(split_seed=s)) for s in (0, 0, 1))
    assert members(first.val) == members(again.val)
    assert members(first.val) != members(other.val)


def test_a_set_with_its_own_test_split_keeps_it() -> None:
    raw = numbered()
    own = Arrays(np.full((7, 2, 3, 3), 255, np.uint8), np.zeros(7, np.int64))
    asked = []

    def read() -> Arrays:
        asked.append(True)
        return own

    data = split(Raw(raw.name, raw.classes, raw.train, read, 7, raw.hash), DataConfig())
    assert len(data.train) + len(data.val) == 200
    assert (len(data.test), asked) == (7, [])
    assert members(data.test.open(lambda: None)) == [255] * 7
    assert asked == [True]


def test_a_set_with_its_own_validation_images_keeps_them() -> None:
    own = Arrays(np.full((9, 2, 3, 3), 254, np.uint8), np.zeros(9, np.int64))
    data = split(numbered(val=own), DataConfig(test=0.2))
    assert members(data.val) == [254] * 9
    assert len(data.train) == 160


def test_the_opening_is_written_down_before_the_images_are_read() -> None:
    order = []
    data = split(numbered(), DataConfig())
    opened = data.test.open(lambda: order.append("written"))
    assert order == ["written"]
    assert len(opened) == 40
    with pytest.raises(ZeroDivisionError):
        data.test.open(lambda: 1 / 0)


def test_statistics_are_those_of_the_training_images_by_numpy() -> None:
    data = load("synthetic", images=150, channels=3)
    pixels = data.train.batch(torch.arange(len(data.train))).numpy() / 255
    assert data.mean == pytest.approx(pixels.mean((0, 2, 3)), abs=1e-12)
    assert data.std == pytest.approx(pixels.std((0, 2, 3)), abs=1e-12)


def test_wide_images_are_summed_exactly_too() -> None:
    raw = numbered(20, 2)
    wide = np.full((20, 1, 2, 300), 255, np.uint8)
    wide[::2] = 254
    data = split(Raw("wide", raw.classes, Arrays(wide, raw.train.labels), None, 0, raw.hash), DataConfig())
    assert data.mean == (254.5 / 255,)
    assert data.std == pytest.approx((0.5 / 255,))


def test_a_constant_channel_becomes_zero_and_not_nan() -> None:
    raw = numbered()
    flat = Arrays(np.full((200, 1, 3, 3), 7, np.uint8), raw.train.labels)
    data = split(Raw("flat", raw.classes, flat, None, 0, raw.hash), DataConfig())
    assert (data.mean, data.std) == ((7 / 255,), (1.0,))


def test_an_unknown_source_and_an_unknown_option() -> None:
    with pytest.raises(UnknownName) as unknown:
        load("minst")
    assert str(unknown.value).startswith("No data set is called 'minst'. Did you mean 'mnist'? Known: ")
    with pytest.raises(ConfigError) as option:
        load("synthetic", imagse=3)
    assert str(option.value) == (
        "The data set 'synthetic' has no option 'imagse'. Did you mean 'images'? Options: channels, classes, "
        "images, noise, seed, size, unlearnable."
    )


def test_a_missing_set_says_where_it_was_looked_for_and_how_to_get_it(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("CONVSCOPE_DATA", raising=False)
    with pytest.raises(DataMissing) as caught:
        load("cifar10", data_dir=tmp_path, cache_dir=tmp_path / "cache", download=False)
    text = str(caught.value)
    assert f"--data-dir ({tmp_path})" in text
    assert "$CONVSCOPE_DATA (not given)" in text
    assert str(tmp_path / "cache") in text


def test_remembered_statistics_are_those_computed_and_belong_to_one_split(tmp_path) -> None:
    raw = numbered()
    first = split(raw, DataConfig(), tmp_path)
    assert (first.mean, first.std) == (split(raw, DataConfig()).mean, split(raw, DataConfig()).std)
    again = split(raw, DataConfig(), tmp_path)
    assert (again.mean, again.std) == (first.mean, first.std)
    other = split(raw, DataConfig(split_seed=5), tmp_path)
    assert other.mean != first.mean
    for kept in (tmp_path / "statistics").iterdir():
        kept.write_text("{}")
    assert split(raw, DataConfig(), tmp_path).mean == first.mean
