"""Every draw is a function of seed, purpose and index, and of nothing else: row C9."""

import hashlib

import numpy as np
import pytest

from convscope.core.errors import UnknownName
from convscope.core.streams import PURPOSES, Streams


def test_a_key_by_hand() -> None:
    digest = hashlib.blake2b(b"7/order/3", digest_size=16, person=b"convscope").digest()
    assert Streams(7).key("order", 3) == int.from_bytes(digest, "big")


def test_golden_draws() -> None:
    """Changing these would change every run there is."""
    assert Streams(0).generator("order").permutation(8).tolist() == [3, 2, 0, 7, 1, 6, 5, 4]
    assert Streams(0).torch_seed("dropout", 1) == 468028435360892572


def test_the_same_key_gives_the_same_draws_at_any_time() -> None:
    streams = Streams(3)
    first = streams.generator("augment", 5).random(4).tolist()
    streams.generator("order", 5).random(99)
    assert streams.generator("augment", 5).random(4).tolist() == first
    assert Streams(3).generator("augment", 5).random(4).tolist() == first


@pytest.mark.parametrize("count", [2_000, pytest.param(60_000, marks=pytest.mark.slow)])
def test_no_two_keys_are_equal(count: int) -> None:
    """C9: over seeds, purposes and indices; a million in the slow form."""
    keys = {
        Streams(seed).key(purpose, index)
        for seed in (0, 1, 2**32)
        for purpose in PURPOSES
        for index in range(count)
    }
    assert len(keys) == 3 * len(PURPOSES) * count
    seeds = {key >> 65 for key in keys}
    assert len(seeds) == len(keys) and max(seeds) < 2**63


@pytest.mark.parametrize("draws", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_no_stream_repeats_a_piece_of_another(draws: int) -> None:
    """C9: as 64-bit draws, of 1,000 neighbouring streams; chance alone makes 3e-8 pairs in a million."""
    each = draws // 1000
    streams = Streams(1)
    drawn = np.concatenate(
        [streams.generator("augment", step).integers(2**63, size=each) for step in range(1000)]
    )
    assert len(np.unique(drawn)) == len(drawn) == draws


def test_a_thousand_images_are_augmented_otherwise_in_the_next_epoch() -> None:
    """C9: crops and flips of step s against those of step s + 1."""
    streams = Streams(0)
    one, two = (streams.generator("augment", step).integers(9, size=(1000, 2)) for step in (7, 8))
    equal = (one == two).all(axis=1).mean()
    assert 0 < equal < 0.04  # one in 81 by chance


def test_one_purpose_can_be_varied_alone() -> None:
    pinned = Streams(7, order=8)
    assert pinned.key("order", 2) == Streams(8).key("order", 2)
    for purpose in set(PURPOSES) - {"order"}:
        assert pinned.key(purpose, 2) == Streams(7).key(purpose, 2)


def test_an_unknown_purpose_is_refused() -> None:
    sentence = (
        "No purpose of randomness is called 'ordre'. Did you mean 'order'? "
        "Known: augment, dropout, init, inspect, noise, order, split."
    )
    for act in (lambda: Streams(0).key("ordre"), lambda: Streams(0, ordre=1)):
        with pytest.raises(UnknownName) as error:
            act()
        assert str(error.value) == sentence
