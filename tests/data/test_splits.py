"""Counts are compared with arithmetic, and the rounding with a slow version; refusals are read whole.

D8: copies stay together.  D11: few images, many classes.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.core.errors import DataError
from convscope.core.streams import Streams
from convscope.data.splits import folds, stratified


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
        "For validation, a share of 0.2 of 9 images is 2, but with 3 classes at least 3 must be on either side, one of "
        "each class. Hold out a share from 0.34 to 0.66 (--validation), or add images."
    )
    assert refusal([0, 0, 1, 1], 0.2, names(2)).endswith(
        " Hold out a share of 0.5 (--validation), or add images."
    )
    assert len(stratified(np.array(labels), 0.34, draw(), names(3))[1]) == 3
    assert len(stratified(np.array(labels), 0.66, draw(), names(3))[1]) == 6


def test_two_images_in_each_of_ten_thousand_classes_can_be_halved() -> None:
    labels = np.repeat(np.arange(10_000), 2)
    kept, held = stratified(labels, 0.5, draw(), names(10_000))
    assert labels[kept].tolist() == labels[held].tolist() == list(range(10_000))


# Copies ------------------------------------------------------------------------------------------------------


def grouped(rng: np.random.Generator, images: int, groups: int) -> list[np.ndarray]:
    """Disjoint groups of two or three images."""
    order, found = rng.permutation(images).tolist(), []
    for _ in range(groups):
        size = int(rng.integers(2, 4))
        found.append(np.sort(np.array(order[:size])))
        order = order[size:]
    return found


def test_without_copies_nothing_changes_and_with_some_the_other_classes_do_not() -> None:
    labels = np.arange(300) % 3
    pairs = [np.array([3 * i, 3 * i + 30]) for i in range(8)]  # all of class 0
    for seed in range(20):
        plain = stratified(labels, 0.2, draw(seed), names(3))[1]
        assert stratified(labels, 0.2, draw(seed), names(3), [])[1].tolist() == plain.tolist()
        together = stratified(labels, 0.2, draw(seed), names(3), pairs)[1]
        assert together[labels[together] > 0].tolist() == plain[labels[plain] > 0].tolist()
        assert len(together) == len(plain) == 60


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(0, 12), st.floats(0.1, 0.9))
def test_copies_are_on_one_side_and_every_class_on_both(
    seed: int, classes: int, groups: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(60) % classes)
    copies = grouped(rng, 60, groups)
    kept, held = stratified(labels, share, draw(seed), names(classes), copies)
    assert sorted([*kept, *held]) == list(range(60))
    assert set(labels[kept]) == set(labels[held]) == set(range(classes))
    # With an image outside the groups in each class no group has to be parted.
    outside = np.bincount(np.delete(labels, np.concatenate([*copies, []]).astype(int)), minlength=classes)
    if (outside >= 1).all():
        sides = np.isin(np.arange(60), held)
        assert all(len(set(sides[group])) == 1 for group in copies)


def test_a_pair_is_held_out_as_often_as_an_image() -> None:
    """Else the validation images would be mostly copies, or none."""
    labels = np.zeros(60, np.int64)
    labels[40:] = 1
    pairs = [np.array([i, i + 10]) for i in range(10)]
    held = np.zeros(60)
    for seed in range(2_000):
        held[stratified(labels, 0.25, draw(seed), names(2), pairs)[1]] += 1
    # 500 expected.  A pair that comes last and finds room for one image is passed over: one time in ten.
    assert 420 < held[:20].mean() < 510
    assert 490 < held[20:40].mean() < 580
    assert np.abs(held[:10] - held[10:20]).max() == 0
    assert np.abs(held[40:] - 500).max() < 5 * 19.4


def test_two_pairs_of_a_class_go_to_both_sides() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    pairs = [np.array([0, 1]), np.array([2, 3])]
    for seed in range(20):
        kept, _ = stratified(labels, 0.25, draw(seed), names(2), pairs)
        assert len({0, 1} & set(kept.tolist())) in (0, 2)
        assert len({2, 3} & set(kept.tolist())) in (0, 2)
        assert (labels[kept] == 0).sum() == 2


def test_copies_of_one_image_alone_are_parted_as_if_they_were_none() -> None:
    """A class of one picture, and a set of one picture; the copies of other classes stay together."""
    labels = np.repeat([0, 1], [4, 20])
    for seed in range(10):
        plain = stratified(labels, 0.25, draw(seed), names(2))[1]
        torn = stratified(labels, 0.25, draw(seed), names(2), [np.arange(4)])[1]
        assert torn.tolist() == plain.tolist()
        everything = stratified(labels, 0.25, draw(seed), names(2), [np.arange(24)])[1]
        assert everything.tolist() == plain.tolist()
        _, held = stratified(labels, 0.25, draw(seed), names(2), [np.arange(4), np.array([10, 20])])
        assert len({10, 20} & set(held.tolist())) in (0, 2)


# Folds -------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(5, 40), min_size=1, max_size=8), st.integers(2, 5), st.integers(0, 5))
def test_every_image_is_in_one_part_and_every_part_is_like_the_others(
    counts: list[int], parts: int, seed: int
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    part = folds(labels, parts, draw(seed), names(len(counts)))
    assert part.shape == labels.shape
    assert set(part.tolist()) == set(range(parts))
    assert np.ptp(np.bincount(part)) <= 1
    for k in range(len(counts)):
        assert np.ptp(np.bincount(part[labels == k], minlength=parts)) <= 1


def test_folds_are_pinned_and_the_seed_decides() -> None:
    labels = np.arange(12) % 2
    found = [folds(labels, 3, draw(seed), names(2)).tolist() for seed in (7, 7, 8)]
    assert found[0] == found[1] != found[2]
    assert found[0] == [1, 2, 2, 0, 1, 1, 2, 1, 0, 0, 0, 2]


def test_each_image_is_in_each_part_equally_often() -> None:
    labels = np.repeat([0, 1], [9, 15])
    counts = np.zeros((24, 3))
    for seed in range(900):
        counts[np.arange(24), folds(labels, 3, draw(seed), names(2))] += 1
    # 300 expected, standard deviation 14.1.
    assert np.abs(counts - 300).max() < 5 * 14.2


def test_copies_are_in_one_part() -> None:
    rng = np.random.default_rng(1)
    labels = rng.permutation(np.arange(90) % 3)
    for seed in range(20):
        copies = grouped(rng, 90, 10)
        part = folds(labels, 4, draw(seed), names(3), copies)
        assert all(len(set(part[group])) == 1 for group in copies)
        plain = folds(labels, 4, draw(seed), names(3))
        alone = np.delete(np.arange(90), np.concatenate(copies))
        assert part[alone].tolist() == plain[alone].tolist()


def test_copies_without_which_a_class_or_a_part_would_be_empty_are_parted() -> None:
    labels = np.repeat([0, 1], [4, 20])
    plain = folds(labels, 2, draw(), names(2))
    assert folds(labels, 2, draw(), names(2), [np.arange(4)]).tolist() == plain.tolist()
    halves = [np.arange(0, 24, 2), np.arange(1, 24, 2)]
    three = folds(labels, 3, draw(), names(2), halves)
    assert three.tolist() == folds(labels, 3, draw(), names(2)).tolist()


def test_more_folds_than_images_of_a_class_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        folds(np.array([0, 0, 0, 0, 1, 1]), 3, draw(), ["cat", "dog"])
    assert str(caught.value) == (
        "For 3 folds each class needs at least 3 images. Too few have: 'dog' (2). Add images of these classes or "
        "take the classes out, or ask for fewer folds."
    )
