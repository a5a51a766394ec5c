"""Counts are compared with arithmetic, and the rounding with a slow version; refusals are read whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.core.errors import DataError
from convscope.core.streams import Streams
from convscope.data.splits import stratified


def draw(seed: int = 0) -> np.random.Generator:
    return Streams(seed).generator("split")


def names(count: int) -> list[str]:
    return [f"class {k}" for k in range(count)]


def test_cifar10_gives_45000_and_5000_with_500_of_each_class() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 5_000))
    kept, held = stratified(labels, 0.1, draw(), names(10))
    assert len(kept) == 45_000
    assert np.bincount(labels[held]).tolist() == [500] * 10


def test_the_sum_is_exact_and_the_largest_remainders_are_rounded_up() -> None:
    # Wanted round(0.25 x 23) = 6; exact parts 6 x (10, 7, 6) / 23 = 2.61, 1.83, 1.57.
    labels = np.repeat([0, 1, 2], [10, 7, 6])
    _, held = stratified(labels, 0.25, draw(), names(3))
    assert np.bincount(labels[held]).tolist() == [3, 2, 1]


def test_ties_go_to_the_first_class() -> None:
    labels = np.repeat(np.arange(100), 5)
    _, held = stratified(labels, 0.3, draw(), names(100))
    assert np.bincount(labels[held]).tolist() == [2] * 50 + [1] * 50


def test_a_small_class_is_on_both_sides_and_the_sum_stays_exact() -> None:
    labels = np.repeat([0, 1, 2], [100, 100, 2])
    for share, each in ((0.1, [10, 9, 1]), (0.9, [91, 90, 1])):
        _, held = stratified(labels, share, draw(), names(3))
        assert np.bincount(labels[held]).tolist() == each


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(2, 60), min_size=1, max_size=12),
    st.floats(0.05, 0.95),
    st.integers(0, 5),
)
def test_every_split_keeps_its_promises(counts: list[int], share: float, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    wanted = round(share * len(labels))
    if not len(counts) <= wanted <= len(labels) - len(counts):
        with pytest.raises(DataError):
            stratified(labels, share, draw(seed), names(len(counts)))
        return
    kept, held = stratified(labels, share, draw(seed), names(len(counts)))
    assert sorted([*kept, *held]) == list(range(len(labels)))
    assert kept.tolist() == sorted(kept)
    assert held.tolist() == sorted(held)
    assert len(held) == wanted
    each = np.bincount(labels[held], minlength=len(counts))
    assert (each >= 1).all()
    assert (each < counts).all()
    exact = np.array(counts) * wanted / len(labels)
    free = (exact >= 1) & (exact <= np.array(counts) - 1)
    if free.all():
        assert (np.abs(each - exact) < 1).all()


def test_the_seed_decides_which_images() -> None:
    labels = np.repeat([0, 1], 50)
    first, again, other = (stratified(labels, 0.2, draw(seed), names(2))[1].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_each_image_is_held_out_equally_often() -> None:
    labels = np.repeat([0, 1], [10, 30])
    held = np.zeros(40)
    for seed in range(1_000):
        held[stratified(labels, 0.2, draw(seed), names(2))[1]] += 1
    # 200 expected, standard deviation 12.6.
    assert np.abs(held - 200).max() < 5 * 12.7


def test_a_split_is_pinned() -> None:
    # If this changes, old runs were validated on other images than new ones of the same name.
    labels = np.arange(20) % 2
    assert stratified(labels, 0.3, draw(7), names(2))[1].tolist() == [0, 6, 7, 9, 10, 11]


def refusal(labels: list[int], share: float, classes: list[str]) -> str:
    with pytest.raises(DataError) as caught:
        stratified(np.array(labels, np.int64), share, draw(), classes)
    return str(caught.value)


def test_a_class_with_one_image_is_refused_by_name() -> None:
    assert refusal([0, 0, 0, 1], 0.25, ["cat", "dog"]) == (
        "To hold out images of every class, each class needs at least 2 images. Too few have: 'dog' (1). "
        "Add images of these classes or take the classes out."
    )


def test_ten_thousand_classes_of_one_image_are_refused_briefly() -> None:
    assert refusal(list(range(10_000)), 0.2, names(10_000)) == (
        "To hold out images of every class, each class needs at least 2 images. Too few have: 'class 0' (1), "
        "'class 1' (1), 'class 2' (1), 'class 3' (1), 'class 4' (1) and 9,995 more. "
        "Add images of these classes or take the classes out."
    )


def test_a_share_that_cannot_reach_every_class_is_refused_with_one_that_can() -> None:
    labels = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert refusal(labels, 0.2, names(3)) == (
        "A share of 0.2 of 9 images is 2, but with 3 classes at least 3 must be on either side, one of each "
        "class. Hold out a share from 0.34 to 0.66, or add images."
    )
    assert len(stratified(np.array(labels), 0.34, draw(), names(3))[1]) == 3
    assert len(stratified(np.array(labels), 0.66, draw(), names(3))[1]) == 6


def test_two_images_in_each_of_ten_thousand_classes_can_be_halved() -> None:
    labels = np.repeat(np.arange(10_000), 2)
    kept, held = stratified(labels, 0.5, draw(), names(10_000))
    assert labels[kept].tolist() == labels[held].tolist() == list(range(10_000))
