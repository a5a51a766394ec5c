"""By hand, against SciPy and published tables, by laws, and by what a test promises: 1,000 studies of nothing."""

import math
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from convscope.studies.stats import (
    Paired,
    Summary,
    counting_error,
    detectable,
    effects,
    equivalence,
    holm,
    holm_levels,
    one_more,
    paired,
    power,
    power_of_equivalence,
    seeds_needed,
    summary,
    t_test,
)

POINTS = [2.0, 4.0, 3.0, 1.0, 5.0, 3.0]
"""Six differences, worked through on paper in the first test."""

finite = st.floats(-100, 100).map(lambda value: round(value, 6))
differences = st.lists(finite, min_size=2, max_size=9)


def sample(count: int, size: int, mean: float = 0.0, sd: float = 1.0, key: int = 0) -> np.ndarray:
    """`count` studies of `size` differences each."""
    return np.random.Generator(np.random.Philox(key=key)).normal(mean, sd, (count, size))


def near(share: float, count: int) -> tuple[float, float]:
    """Three standard deviations around a share of `count` trials."""
    reach = 3 * math.sqrt(share * (1 - share) / count)
    return share - reach, share + reach


# Means and paired differences ---------------------------------------------------------------------------------


def test_six_differences_by_hand() -> None:
    """2, 4, 3, 1, 5, 3: mean 18 / 6 = 3; deviations -1, 1, 0, -2, 2, 0, squares 10, variance 10 / 5 = 2.

    Standard error sqrt(2 / 6) = 1 / sqrt 3 = 0.57735.  t(0.975, 5) = 2.57058, reach 1.48413.
    t = 3 sqrt 3 = 5.19615.  With 5 degrees of freedom Student's integral is elementary: with tan a = t / sqrt 5,
    p = 1 - 2/pi (a + sin a (cos a + 2/3 cos^3 a)).  Here tan a = sqrt 5.4, a = 1.16442, cos a = 0.39528,
    sin a = 0.91856, cos^3 a = 0.06176: p = 1 - 0.63662 x (1.16442 + 0.91856 x 0.43646) = 1 - 0.99652 = 0.00348.
    All six are positive, so of 64 sign patterns only all + and all - are as far out: 2 / 64.
    """
    found = paired(POINTS)
    assert (found.n, found.mean) == (6, 3.0)
    assert found.sd == pytest.approx(math.sqrt(2), rel=1e-12)
    assert (found.low, found.high) == pytest.approx((1.51587, 4.48413), abs=5e-6)
    assert found.p == pytest.approx(0.00348, abs=5e-6)
    assert found.p_flip == 2 / 64
    assert summary(POINTS) == Summary(6, 3.0, found.sd, found.low, found.high)


@pytest.mark.parametrize("count", [2, 3, 8, 25])
def test_the_paired_test_is_scipys(count: int) -> None:
    ours, theirs = sample(2, count, 0.9, 0.01, key=count)
    known = stats.ttest_rel(ours, theirs)
    interval = known.confidence_interval(0.95)
    found = paired(list(ours - theirs))
    assert found.p == pytest.approx(known.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.sd == pytest.approx(np.std(ours - theirs, ddof=1), rel=1e-9)
    assert found.p == pytest.approx(stats.ttest_1samp(ours - theirs, 0).pvalue, rel=1e-9)
    assert found.p == t_test(list(ours - theirs))


def test_one_value_has_a_mean_and_nothing_else() -> None:
    assert paired([0.5]) == Paired(1, 0.5, None, None, None, None, None)
    assert summary([0.5]) == Summary(1, 0.5, None, None, None)


@pytest.mark.parametrize(
    ("values", "p", "p_flip"),
    [
        ([0.0] * 3, 1.0, None),
        ([0.0] * 6, 1.0, 1.0),
        ([-0.1] * 3, 0.0, None),
        ([82_030.0 - 81_792.0] * 6, 0.0, 2 / 64),
        ([0.9 - 0.8999, 0.5 - 0.4999, 0.1001 - 0.1], 0.0, None),  # equal but for rounding in the last digits
    ],
)
def test_equal_differences_have_the_limits(values: list[float], p: float, p_flip: float | None) -> None:
    found = paired(values)
    assert (found.sd, found.p, found.p_flip) == (0.0, p, p_flip)
    assert found.low == found.high == found.mean == pytest.approx(values[0])


@given(differences)
@settings(max_examples=60, deadline=None)
def test_swapping_the_arms_swaps_the_signs(values: list[float]) -> None:
    one, other = paired(values), paired([-value for value in values])
    assert other.mean == -one.mean
    assert (other.sd, other.p, other.p_flip) == (one.sd, one.p, one.p_flip)
    assert one.low is not None and one.high is not None
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low))


# Sign flips ---------------------------------------------------------------------------------------------------


def test_darwins_maize_is_fishers() -> None:
    """Fisher (1935, chapter III): 15 pairs in eighths of an inch, t = 2.148; of 32,768 patterns 863 give a sum of
    314 or more, and as many -314 or less: 5.27 %, beside 4.97 % of the t test."""
    maize = [49.0, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    found = paired(maize)
    assert found.p_flip == 2 * 863 / 32_768
    assert found.p == pytest.approx(0.0497, abs=5e-5)
    assert found.sd is not None
    assert found.mean / (found.sd / math.sqrt(15)) == pytest.approx(2.148, abs=5e-4)


@pytest.mark.parametrize("count", [6, 9, 12])
def test_exact_sign_flips_are_scipys(count: int) -> None:
    values = sample(1, count, 0.5, key=count)[0].round(1)  # rounded, so that there are ties
    known = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert paired(list(values)).p_flip == pytest.approx(known.pvalue, abs=1e-12)


def test_ties_are_counted_although_sums_are_rounded() -> None:
    """0.1 x six with one sign turned: |sum| = 0.4 for 2 x 6 patterns, 0.6 for 2."""
    assert paired([0.1, 0.1, 0.1, 0.1, 0.1, -0.1]).p_flip == 14 / 64


def test_there_are_no_flips_below_six() -> None:
    assert paired([1.0, 2, 3, 4, 5]).p_flip is None


def test_twenty_seeds_are_still_exact() -> None:
    values = list(range(1, 21))
    values[10] = -11
    assert paired([float(value) for value in values]).p_flip == exact(values)


def test_more_than_twenty_are_drawn_and_draw_the_same_again() -> None:
    values = [1, -2, 3, 4, -5, 6, 7, -8, 9, 10, -11, 12, 13, -14, 15, 16, -17, 18, 19, -20, 21, 22]
    known = exact(values)
    found = paired([float(value) for value in values]).p_flip
    assert found is not None and abs(found - known) <= 3 * math.sqrt(known * (1 - known) / 200_000)
    assert found == (GOLDEN_FLIPS + 1) / 200_001
    assert paired([1.0] * 60).p_flip == 1 / 200_001  # never 0


GOLDEN_FLIPS = 22_522
"""Patterns as far out, of those that our key draws for the test above."""


def exact(values: list[int]) -> float:
    """The same p of whole numbers, from the distribution of the signed sum: one convolution per number."""
    total = sum(map(abs, values))
    ways = np.zeros(2 * total + 1, dtype=np.int64)  # sums -total ... total
    ways[total] = 1
    for value in values:
        ways = np.roll(ways, value) + np.roll(ways, -value)
    sums = np.abs(np.arange(-total, total + 1))
    return float(ways[sums >= abs(sum(values))].sum() / 2 ** len(values))


# Families, equivalence ----------------------------------------------------------------------------------------


def test_holm_by_hand() -> None:
    """Ordered 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1 are 0.02, 0.03, 0.06, 0.04, and the last is raised to 0.06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.4]) == [0.8, 0.8]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_the_level_at_which_each_p_is_tested() -> None:
    """0.04 is held by 0.03, times two; 1.6 is what two times 0.8 would be, and not the 1 that is shown."""
    assert holm_levels([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.05 / 3, 0.05 / 1.5, 0.025, 0.0125])
    assert holm_levels([0.9, 0.8]) == pytest.approx([0.05 * 0.9 / 1.6, 0.025])
    assert holm_levels([0.0, 0.0, 0.2], level=0.06) == pytest.approx([0.02, 0.03, 0.06])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_never_helps(ps: list[float]) -> None:
    adjusted = holm(ps)
    assert all(raw <= new <= 1 for raw, new in zip(ps, adjusted, strict=True))
    by_raw = [new for _, new in sorted(zip(ps, adjusted, strict=True))]
    assert by_raw == sorted(by_raw)
    assert min(adjusted) == min(1.0, len(ps) * min(ps))
    # Of each pair of hypotheses rejected one by one at 0.05, as Holm (1979) describes it.
    rejected = 0
    for rank, p in enumerate(sorted(ps)):
        if p * (len(ps) - rank) > 0.05:
            break
        rejected += 1
    assert sum(new <= 0.05 for new in adjusted) == rejected


def test_equivalence_by_hand() -> None:
    """The six differences and +-5: (5 - 3) sqrt 3 = 3.46410 and (3 + 5) sqrt 3, of which the first decides.

    tan a = 3.46410 / sqrt 5 = sqrt 2.4, a = 0.99757, cos a = 0.54233, sin a = 0.84017, cos^3 a = 0.15951:
    one-sided p = (1 - 0.63662 x (0.99757 + 0.84017 x 0.64867)) / 2 = 0.00898.  Turned round, it is the same.
    """
    assert equivalence(POINTS, 5) == pytest.approx(0.00898, abs=1e-5)
    assert equivalence([-value for value in POINTS], 5) == pytest.approx(0.00898, abs=1e-5)
    assert equivalence(POINTS, 3) == pytest.approx(0.5)
    assert equivalence([0.0, 0.0, 0.0], 0.01) == 0.0
    assert equivalence([0.02, 0.02, 0.02], 0.01) == 1.0


@given(differences, st.floats(0.1, 50))
@settings(max_examples=60, deadline=None)
def test_equivalence_is_two_one_sided_tests_of_scipys(values: list[float], within: float) -> None:
    if np.ptp(values) < 1e-3:
        values = [*values, values[0] + 1]
    above = stats.ttest_1samp(values, -within, alternative="greater").pvalue
    below = stats.ttest_1samp(values, within, alternative="less").pvalue
    assert equivalence(values, within) == pytest.approx(max(above, below), rel=1e-6, abs=1e-12)


# Power --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_the_pairs_needed_are_those_of_the_tables(size: float, pairs: int) -> None:
    """Two-sided paired t test, level 0.05, power 0.8, by standardised difference: as G*Power 3 prints it."""
    assert seeds_needed(size, 1.0) == pairs
    assert seeds_needed(-0.01 * size, 0.01) == pairs
    assert power(pairs, size, 1.0) >= 0.8 > power(pairs - 1, size, 1.0)


def by_quadrature(n: int, noncentrality: float, alpha: float) -> float:
    """Power as a mean over the chi distribution of the estimated spread, on a grid of its logarithm."""
    df, bound = n - 1, stats.t.isf(alpha / 2, n - 1)
    log = np.linspace(-30, 4, 60_001) if df < 30 else np.linspace(-1.5, 1, 20_001)
    spread = np.exp(log)
    weight = np.exp(
        math.log(2) + df / 2 * math.log(df / 2) - math.lgamma(df / 2) + df * log - df * spread**2 / 2
    )
    rejected = special.ndtr(noncentrality - bound * spread) + special.ndtr(-noncentrality - bound * spread)
    return float((weight * rejected).sum() * (log[1] - log[0]))


@pytest.mark.parametrize("n", [2, 3, 8, 20, 200])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_power_is_an_integral_also_where_scipy_gives_nan(n: int, alpha: float) -> None:
    for noncentrality in (0, 0.5, 2, 4, 7.6, 12, 36.4, 44, 60, 1e4):
        expected = by_quadrature(n, noncentrality, alpha)
        assert power(n, noncentrality / math.sqrt(n), 1.0, alpha) == pytest.approx(expected, abs=1e-7)


def test_the_chance_to_find_nothing_is_the_level() -> None:
    assert power(5, 0.0, 1.0) == pytest.approx(0.05)
    assert power(5, 0.0, 1.0, alpha=0.01) == pytest.approx(0.01)


@given(st.integers(2, 60), st.floats(0.05, 3), st.floats(0.1, 10))
@settings(max_examples=60, deadline=None)
def test_more_seeds_and_larger_differences_are_found_more_often(n: int, size: float, sd: float) -> None:
    here = power(n, size * sd, sd)
    assert here <= power(n + 1, size * sd, sd) + 1e-9
    assert here <= power(n, 1.1 * size * sd, sd) + 1e-9
    assert here == pytest.approx(power(n, -size * sd, sd))
    assert here == pytest.approx(power(n, size, 1.0))


@given(st.integers(2, 200), st.floats(1e-4, 10), st.floats(0.1, 0.99), st.sampled_from([0.05, 0.01]))
@settings(max_examples=60, deadline=None)
def test_detectable_inverts_power(n: int, sd: float, chance: float, alpha: float) -> None:
    assert power(n, detectable(n, sd, chance, alpha), sd, alpha) == pytest.approx(chance, abs=1e-6)


@given(st.floats(0.15, 3))
@settings(max_examples=30, deadline=None)
def test_the_seeds_needed_are_enough_and_one_less_is_not(size: float) -> None:
    needed = seeds_needed(size, 1.0)
    assert needed is not None
    assert power(needed, size, 1.0) >= 0.8
    assert needed == 2 or power(needed - 1, size, 1.0) < 0.8
    assert detectable(needed, 1.0) <= size + 1e-9
    assert seeds_needed(size, 1.0, most=needed) == needed
    assert seeds_needed(size, 1.0, most=needed - 1) is None


@pytest.mark.parametrize(
    ("n", "within", "alpha", "difference"),
    [
        (3, 2.0, 0.05, 0.0), (5, 2.0, 0.05, 0.0), (5, 2.0, 0.05 / 6, 0.0), (20, 0.5, 0.05, 0.0),
        (9, 1.0, 0.05, 0.4), (9, 1.0, 0.05, -0.4), (5, 2.0, 0.025, 1.9),
    ],
)  # fmt: skip
def test_the_chance_of_an_equality_is_that_of_drawn_studies(
    n: int, within: float, alpha: float, difference: float
) -> None:
    """20,000 studies with this difference: the share whose two one-sided p stay below the level, +- 4 sd."""
    drawn = np.random.Generator(np.random.Philox(key=7)).normal(difference, size=(20_000, n))
    mean, error = drawn.mean(1), drawn.std(1, ddof=1) / math.sqrt(n)
    shown = float(np.mean(stats.t.sf((within - np.abs(mean)) / error, n - 1) <= alpha))
    chance = power_of_equivalence(n, within, 1.0, alpha, difference)
    assert chance == pytest.approx(shown, abs=4 * math.sqrt(chance * (1 - chance) / 20_000))


def test_one_more_run_lies_where_it_should() -> None:
    """Of 4,000 sets of five values and a sixth, 95 % +- 4 sd; and by hand: 1, 2, 3 give 2 +- 4.303 sqrt(4 / 3)."""
    drawn = np.random.Generator(np.random.Philox(key=8)).normal(3.0, 2.0, size=(4_000, 6))
    ends = [one_more(summary(list(row[:5]))) for row in drawn]
    inside = [end is not None and end[0] <= row[5] <= end[1] for end, row in zip(ends, drawn, strict=True)]
    assert np.mean(inside) == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 4_000))
    assert one_more(summary([1.0, 2.0, 3.0])) == pytest.approx((2 - 4.96825, 2 + 4.96825), abs=1e-4)
    assert one_more(summary([1.0])) is None


def test_one_more_run_on_other_images_lies_where_it_should() -> None:
    """Five runs on 5,000 images, and a sixth on others: a set shares its luck, whose sd is 0.5 at a spread of 0.4."""
    chance = np.random.Generator(np.random.Philox(key=9))
    inside = []
    for _ in range(4_000):
        ours, theirs = chance.normal(70.0, 0.5, size=2)
        ends = one_more(summary(list(chance.normal(ours, 0.4, size=5))), counting=0.5)
        inside.append(ends is not None and ends[0] <= chance.normal(theirs, 0.4) <= ends[1])
    # Squares that are added are an approximation: 94 to 97 %, where without the counts it is 85.
    assert 0.94 < np.mean(inside) < 0.97
    # 2 +- sqrt(4.96825^2 + (1.959964 sqrt 2)^2)
    assert one_more(summary([1.0, 2.0, 3.0]), 1.0) == pytest.approx((2 - 5.68915, 2 + 5.68915), abs=1e-4)


def test_without_difference_or_spread() -> None:
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(0.0, 0.0) is None
    assert seeds_needed(0.001, 1.0) is None
    assert seeds_needed(0.1, 0.0) == 2
    assert (seeds_needed(11.6, 1.0), seeds_needed(11.5, 1.0)) == (2, 3)  # detectable with two: 11.55
    assert (power(3, 0.1, 0.0), power(3, 0.0, 0.0), detectable(3, 0.0)) == (1.0, 0.0, 0.0)


def test_the_table_of_the_documentation_is_this() -> None:
    text = (Path(__file__).parents[2] / "docs/statistics.md").read_text()
    seeds, found = (
        re.findall(r"[\d.]+", line)
        for line in text.splitlines()
        if re.match(r"\| (seeds|difference) \|", line)
    )
    assert found == [f"{detectable(int(n), 1.0):.2f}" for n in seeds]
    assert f"{detectable(5, 0.5):.2f}" == "0.84" and "less than 0.84 points" in text


def test_counting_error_by_hand() -> None:
    """sqrt(0.9 x 0.1 / 5,000) = sqrt(0.000018) = 0.0042426; and as drawn from 5,000 images 4,000 times."""
    assert counting_error(0.9, 5_000) == pytest.approx(0.0042426, abs=5e-8)
    assert counting_error(1.0, 10) == 0.0
    drawn = np.random.Generator(np.random.Philox(key=1)).binomial(5_000, 0.9, 4_000) / 5_000
    # The standard deviation of a standard deviation of 4,000 draws is 1 / sqrt 8,000 of it: 1.1 %.
    assert drawn.std() == pytest.approx(counting_error(0.9, 5_000), rel=0.034)


# Factorials ---------------------------------------------------------------------------------------------------

TWO = {"dropout": ["0", "0.5"], "l2": ["0", "1e-4"]}
CELLS = {
    ("0", "0"): {0: 70.0, 1: 71.0, 2: 69.0},
    ("0", "1e-4"): {0: 72.0, 1: 72.0, 2: 71.0},
    ("0.5", "0"): {0: 71.0, 1: 73.0, 2: 70.0},
    ("0.5", "1e-4"): {0: 69.0, 1: 70.0, 2: 68.0},
}


def test_dropout_and_l2_by_hand() -> None:
    """Seed 0: dropout (71 - 70 + 69 - 72) / 2 = -1, l2 (72 - 70 + 69 - 71) / 2 = 0, both (69 - 72) - (71 - 70) = -4.

    Seed 1: (2 - 2) / 2 = 0, (1 - 3) / 2 = -1, -2 - 2 = -4.  Seed 2: (1 - 3) / 2 = -1, (2 - 2) / 2 = 0, -3 - 1 = -4.
    """
    found = effects(CELLS, TWO)
    assert [(effect.factors, effect.levels) for effect in found] == [
        (("dropout",), ("0.5",)),
        (("l2",), ("1e-4",)),
        (("dropout", "l2"), ("0.5", "1e-4")),
    ]
    assert [effect.paired for effect in found] == [
        paired([-1.0, 0.0, -1.0]),
        paired([0.0, -1.0, 0.0]),
        paired([-4.0, -4.0, -4.0]),
    ]


def test_three_factors_are_means_over_the_others() -> None:
    factors = {"a": ["a0", "a1", "a2"], "b": ["b0", "b1"], "c": ["c0", "c1", "c2"]}
    table = np.random.Generator(np.random.Philox(key=3)).normal(size=(3, 2, 3, 5))
    values = {
        tuple(f"{letter}{level}" for letter, level in zip("abc", at, strict=True)): dict(enumerate(table[at]))
        for at in product(range(3), range(2), range(3))
    }
    found = {effect.levels: effect.paired for effect in effects(values, factors)}
    assert len(found) == (2 + 1 + 2) + (2 + 4 + 2)
    assert found[("a2",)].mean == pytest.approx((table[2] - table[0]).mean())
    assert found[("b1",)].sd == pytest.approx((table[:, 1] - table[:, 0]).mean(axis=(0, 1)).std(ddof=1))
    both = (table[1, :, 2] - table[1, :, 0] - table[0, :, 2] + table[0, :, 0]).mean(axis=0)
    assert found[("a1", "c2")].mean == pytest.approx(both.mean())
    assert found[("a1", "c2")].p == pytest.approx(stats.ttest_1samp(both, 0).pvalue)


def test_a_failed_run_costs_its_seed_where_it_is_needed() -> None:
    factors = {"rate": ["0.01", "0.1", "1"], "decay": ["no", "yes"]}
    values = {cell: {0: 1.0, 1: 2.0, 2: 4.0} for cell in product(*factors.values())}
    values["1", "yes"] = {0: 1.0, 2: 3.0}
    found = {effect.levels: effect.paired.n for effect in effects(values, factors)}
    assert found == {("0.1",): 3, ("1",): 2, ("yes",): 2, ("0.1", "yes"): 3, ("1", "yes"): 2}
    del values["1", "yes"]
    assert [effect.levels for effect in effects(values, factors)] == [("0.1",), ("0.1", "yes")]


@given(st.lists(st.tuples(*[st.floats(0, 1)] * 4), min_size=2, max_size=5))
@settings(max_examples=60, deadline=None)
def test_what_adds_up_does_not_interact(seeds: list[tuple[float, ...]]) -> None:
    """Nor does rounding make it: 0.1 + 0.2 - 0.3 is 6e-17, alike for every seed and therefore without spread."""
    factors = {"a": ["0", "1"], "b": ["0", "1", "2"]}
    values = {
        (str(a), str(b)): {seed: base + a * one + (0, two, three)[b] for seed, (base, one, two, three) in enumerate(seeds)}
        for a, b in product(range(2), range(3))
    }  # fmt: skip
    found = {effect.levels: effect.paired for effect in effects(values, factors)}
    for levels in (("1", "1"), ("1", "2")):
        assert (found[levels].mean, found[levels].p) == (0.0, 1.0)
    assert effects(values, factors)[0].paired.mean == pytest.approx(np.mean([one for _, one, _, _ in seeds]))


# What 1,000 studies show --------------------------------------------------------------------------------------


def test_the_interval_covers_and_null_differences_are_found_as_often_as_promised() -> None:
    found = [paired(list(row)) for row in sample(1_000, 8, key=11)]
    low, high = near(0.95, 1_000)
    assert low <= np.mean([one.low <= 0 <= one.high for one in found]) <= high  # type: ignore[operator]
    low, high = near(0.05, 1_000)
    assert low <= np.mean([one.p <= 0.05 for one in found]) <= high  # type: ignore[operator]
    # Of 128 pairs of patterns the 6 outermost are 0.047: the largest multiple of 2 / 256 below 0.05.
    assert (
        near(12 / 256, 1_000)[0] <= np.mean([one.p_flip <= 0.05 for one in found]) <= near(12 / 256, 1_000)[1]
    )  # type: ignore[operator]


@pytest.mark.parametrize(("n", "size"), [(3, 2.0), (5, 1.0), (8, 1.0)])
def test_differences_are_found_as_often_as_planned(n: int, size: float) -> None:
    rows = sample(4_000, n, size, key=12 + n)
    bound = math.sqrt(n) * np.abs(rows.mean(1)) / rows.std(1, ddof=1)
    ps = [paired(list(row)).p for row in rows[:200]]
    assert [p <= 0.05 for p in ps] == list(bound[:200] >= stats.t.isf(0.025, n - 1))  # type: ignore[operator]
    low, high = near(power(n, size, 1.0), 4_000)
    assert low <= np.mean(bound >= stats.t.isf(0.025, n - 1)) <= high


def test_a_difference_of_just_the_margin_is_called_none_one_time_in_twenty() -> None:
    rows = sample(1_000, 8, mean=1.0, sd=0.3, key=13)
    low, high = near(0.05, 1_000)
    assert low <= np.mean([equivalence(list(row), 1.0) <= 0.05 for row in rows]) <= high


# What is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda: paired([]), "there are no values"),
        (lambda: summary([]), "there are no values"),
        (
            lambda: paired([0.1, math.nan]),
            "nan cannot be averaged; leave out the seeds without a number",
        ),
        (lambda: holm([0.1, 1.5]), "a p-value lies in [0, 1], got 1.5"),
        (lambda: holm([math.nan]), "a p-value lies in [0, 1], got nan"),
        (lambda: t_test([0.1]), "a paired t test needs at least 2 differences, got 1"),
        (lambda: equivalence([0.1], 1), "a test of equivalence needs at least 2 differences, got 1"),
        (lambda: equivalence(POINTS, 0), "a margin of equivalence is positive, got 0"),
        (lambda: power(1, 1.0, 1.0), "a paired t test needs at least 2 seeds, got 1"),
        (lambda: power(3, 1.0, -1.0), "a standard deviation cannot be -1.0"),
        (lambda: power(3, 1.0, 1.0, alpha=0), "the level of a test lies in (0, 1), got 0"),
        (lambda: detectable(1, 1.0), "a paired t test needs at least 2 seeds, got 1"),
        (lambda: detectable(3, 1.0, power=1), "a power lies between the level 0.05 and 1, got 1"),
        (lambda: seeds_needed(1.0, -1.0), "a standard deviation cannot be -1.0"),
        (lambda: seeds_needed(1.0, 1.0, power=0.04), "a power lies between the level 0.05 and 1, got 0.04"),
        (lambda: counting_error(1.1, 10), "a share of 1.1 of 10 images cannot be"),
        (lambda: counting_error(0.5, 0), "a share of 0.5 of 0 images cannot be"),
        (
            lambda: effects({("0.5",): {}}, TWO),
            "('0.5',) is no combination of the levels of dropout, l2",
        ),
    ],
)
def test_what_cannot_be_is_refused(act: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError) as error:
        act()
    assert str(error.value) == sentence
