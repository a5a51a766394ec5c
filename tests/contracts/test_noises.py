"""What every noise of the catalog promises, whatever it does to a label."""

from typing import Any

import numpy as np
import pytest

from convscope.core import catalog
from convscope.core.catalog import Item
from convscope.data.noise import Noisy, chi_square

ITEMS = list(catalog.items("noises"))
CLASSES = 5
# What a noise that has no default for everything is given; and at which options nothing happens.
OPTIONS: dict[str, dict[str, Any]] = {
    "matrix": {"rows": (0.7 * np.eye(CLASSES) + 0.3 / CLASSES).tolist()},
}
NOTHING: dict[str, dict[str, Any]] = {"matrix": {"rows": np.eye(CLASSES).tolist()}}
LABELS = np.random.default_rng(4).integers(0, CLASSES, 40_000)


@pytest.fixture(params=ITEMS, ids=lambda item: item.name)
def item(request: pytest.FixtureRequest) -> Item:
    found: Item = request.param
    return found


def made(item: Item, key: int = 0, options: dict[str, Any] | None = None) -> Noisy:
    generator = np.random.Generator(np.random.Philox(key=key))
    given = OPTIONS.get(item.name, {}) if options is None else options
    found: Noisy = catalog.call(
        "noises", item.name, given, labels=LABELS.copy(), classes=CLASSES, generator=generator
    )
    return found


def test_it_is_given_labels_classes_and_a_generator(item: Item) -> None:
    assert catalog.asked(item) == ("labels", "classes", "generator")


def test_labels_stay_labels_and_the_input_is_untouched(item: Item) -> None:
    given = LABELS.copy()
    generator = np.random.Generator(np.random.Philox(key=1))
    found = catalog.call(
        "noises", item.name, OPTIONS.get(item.name, {}), labels=given, classes=CLASSES, generator=generator
    )
    assert (given == LABELS).all()
    assert (found.labels.shape, found.labels.dtype) == (LABELS.shape, np.int64)
    assert set(found.labels.tolist()) == set(range(CLASSES))


def test_the_same_key_gives_the_same_labels_and_another_does_not(item: Item) -> None:
    first, again, other = (made(item, key).labels for key in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_its_matrix_is_the_one_by_which_it_draws(item: Item) -> None:
    found = made(item)
    assert found.expected.shape == (CLASSES, CLASSES)
    assert np.allclose(found.expected.sum(1), 1)
    counts = np.bincount(LABELS * CLASSES + found.labels, minlength=CLASSES**2).reshape(CLASSES, CLASSES)
    statistic, degrees = chi_square(counts, found.expected)
    # Four deviations above the mean of the distribution; a matrix that is transposed or shifted gives hundreds.
    assert statistic < degrees + 4 * np.sqrt(2 * degrees)
    assert counts[found.expected == 0].sum() == 0


def test_rate_zero_changes_nothing(item: Item) -> None:
    found = made(item, options=NOTHING.get(item.name, {"rate": 0.0}))
    assert (found.labels == LABELS).all()
    assert (found.expected == np.eye(CLASSES)).all()


def test_at_its_default_it_does_something(item: Item) -> None:
    assert 0.1 < (made(item).labels != LABELS).mean() < 0.3
