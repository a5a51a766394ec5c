"""How sure may we be of a difference that a few seeds show?

In: one number per seed, or one difference per seed that two arms share.  Out:
means with intervals, p-values, their adjustment for a family, effects of a
factorial, and how many seeds a question needs.  Knows nothing of runs or
arms; verdict.py puts these numbers into words.

    n  seeds      d  differences, one per seed      t  mean / (sd / sqrt n)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from statistics import fmean

import numpy as np
from scipy import optimize, special

from convscope.core.intervals import student

FEWEST_FLIPS = 6
"""Seeds from which sign flips can give p <= 0.05: their smallest p is 2 / 2^n, and 2 / 2^5 = 0.0625."""
MOST_EXACT = 20
"""Seeds up to which every sign pattern is counted, 2^20 at most; above, `DRAWN` patterns are drawn."""
DRAWN = 200_000
POWER = 0.8
"""The chance with which a difference should be found: four of five studies (Cohen 1988)."""
STEPS = 10_000
"""Quantiles of an estimated standard deviation over which a chance is averaged: four digits."""
_FLIP_KEY = 0x666C6970  # "flip"; fixed, so that the same differences have the same p everywhere
_ROUNDING = 1e-9
"""A spread below this share of the largest value is rounding: 0.9 - 0.8999 is off by about 1e-12 of itself."""


@dataclass(frozen=True)
class Summary:
    """The values of one arm over its seeds."""

    n: int
    mean: float
    sd: float | None
    """With n - 1; None below two values."""
    low: float | None
    """Of the 95 % t interval of the mean; None below two values."""
    high: float | None


@dataclass(frozen=True)
class Paired:
    """The differences of two arms on shared seeds, and what they say of the mean difference."""

    n: int
    mean: float
    sd: float | None
    """Of the differences, with n - 1; None below two, as the next three."""
    low: float | None
    """Of the 95 % t interval of the mean difference."""
    high: float | None
    p: float | None
    """Of the two-sided paired t test, before any adjustment."""
    p_flip: float | None
    """Of the two-sided sign-flip test; None below six, where it cannot reach 0.05."""


@dataclass(frozen=True)
class Effect:
    """What one level of a factor changes, or one level each of two factors beyond what each changes alone."""

    factors: tuple[str, ...]
    """One: a main effect; two: an interaction."""
    levels: tuple[str, ...]
    """The level of each, against the first level of its factor."""
    paired: Paired
    """The effect of each seed, as if it were a difference."""


def summary(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and 95 % interval of one number per seed.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    mean, sd = _moments(values)
    return Summary(len(values), mean, sd, *_interval(values, mean, sd))


def paired(differences: Sequence[float]) -> Paired:
    """Test whether differences on shared seeds are centred on zero.

    The t test takes them for normal; the sign-flip test beside it only for
    symmetric about zero where there is no effect, so that each d could as well
    have been -d.

    Equal differences have no spread, and p is the limit for a spread that
    vanishes: 0 if they are not zero, as for a number of parameters, and 1 if
    they are, as there is then nothing to explain.

    Args:
        differences: arm minus other, one per seed that both finished.

    Raises:
        ValueError: no differences, or one that is not finite.

    Reference:
        Student (1908), The Probable Error of a Mean; Fisher (1935), The Design of Experiments, chapter III.
    """
    mean, sd = _moments(differences)
    n = len(differences)
    p = None if sd is None else _two_sided(mean, sd, n)
    return Paired(n, mean, sd, *_interval(differences, mean, sd), p, _sign_flips(differences))


def one_more(found: Summary, counting: float = 0.0) -> tuple[float, float] | None:
    """Where one more value of the same kind lies with 95 %; None below two values.

        mean +- sqrt((t sd)^2 (1 + 1/n) + 2 (1.96 c)^2)

    Without c sqrt(n + 1) times as wide as the interval of the mean, and the one
    to hold a single printed run against.

    Args:
        found: the values that are there.
        counting: c, the `counting_error` of an accuracy, where the one more counts other images, as many as ours.

    Reference:
        Hahn, Meeker (1991), Statistical Intervals, chapter 4; Zou, Donner (2008), Construction of Confidence Limits about
        Effect Measures, for adding the squares of half widths.
    """
    if found.sd is None:
        return None
    seeds = -float(special.stdtrit(found.n - 1, 0.025)) * found.sd * math.sqrt(1 + 1 / found.n)
    half = math.hypot(seeds, -float(special.ndtri(0.025)) * math.sqrt(2) * counting)
    return found.mean - half, found.mean + half


def t_test(differences: Sequence[float]) -> float:
    """The p of `paired` alone, at a tenth of its time; at least 2 differences.

    Raises:
        ValueError: fewer than two differences, or one that is not finite.
    """
    mean, sd = _moments(differences)
    if sd is None:
        raise ValueError("a paired t test needs at least 2 differences, got 1")
    return _two_sided(mean, sd, len(differences))


def holm(ps: Sequence[float]) -> list[float]:
    """P-values of one family, adjusted so that 0.05 bounds the chance of even one false positive among them.

    The smallest is multiplied by their number m, the next by m - 1, and so on;
    none becomes smaller than one before it, nor larger than 1.

    Args:
        ps: raw p-values, in [0, 1]; they need not be independent.

    Returns:
        In the order given.

    Raises:
        ValueError: a value outside [0, 1].

    Reference:
        Holm (1979), A Simple Sequentially Rejective Multiple Test Procedure.
    """
    for p in ps:
        _check(0 <= p <= 1, f"a p-value lies in [0, 1], got {p!r}")
    adjusted = [0.0] * len(ps)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = highest
    return adjusted


def holm_levels(ps: Sequence[float], level: float = 0.05) -> list[float]:
    """The level at which each p-value of a family is tested: the family's over the factor that `holm` takes p times.

    Other than level x p / adjusted p, also where the adjusted one is cut off at 1.

    Args:
        ps: raw p-values, as for `holm`.
        level: of the whole family.

    Returns:
        In the order given.
    """
    levels = [level] * len(ps)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        left = len(ps) - rank
        highest = max(highest, left * ps[place])
        levels[place] = level * ps[place] / highest if highest else level / left
    return levels


def equivalence(differences: Sequence[float], within: float) -> float:
    """Test whether the mean difference lies inside +-within: two one-sided t tests, the larger p.

    At most 0.05 exactly if the 90 % t interval lies inside.

    Args:
        differences: arm minus other, one per seed that both finished; at least 2.
        within: the largest difference that counts as none, above 0.

    Raises:
        ValueError: fewer than two differences, one that is not finite, or a margin that is not positive.

    Reference:
        Schuirmann (1987), A Comparison of the Two One-Sided Tests Procedure and the Power Approach for
        Assessing the Equivalence of Average Bioavailability.
    """
    mean, sd = _moments(differences)
    _check(0 < within < math.inf, f"a margin of equivalence is positive, got {within!r}")
    if sd is None:
        raise ValueError("a test of equivalence needs at least 2 differences, got 1")
    return max(_beyond(mean + within, sd, len(differences)), _beyond(within - mean, sd, len(differences)))


def power(n: int, difference: float, sd: float, alpha: float = 0.05) -> float:
    """The chance that the two-sided paired t test finds a difference of this size.

    Args:
        n: seeds, at least 2.
        difference: the true mean difference.
        sd: the true standard deviation of the differences.  Without spread, any difference is found: 1, and 0
            without a difference.
        alpha: the level of the test, in (0, 1).

    Raises:
        ValueError: a value outside these.

    Reference:
        Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, chapter 2.
    """
    _check(n >= 2, f"a paired t test needs at least 2 seeds, got {n}")
    _check(sd >= 0, f"a standard deviation cannot be {sd!r}")
    _check(0 < alpha < 1, f"the level of a test lies in (0, 1), got {alpha!r}")
    if sd == 0:
        return float(difference != 0)
    return _rejects(n, abs(difference) / sd * math.sqrt(n), alpha)


def power_of_equivalence(
    n: int, within: float, sd: float, alpha: float = 0.05, difference: float = 0.0
) -> float:
    """The chance that two one-sided tests place a true difference inside +-within.

    A mean over what the standard deviation may be estimated as: with s, the mean
    difference must lie within +-(within - t s / sqrt n), which it does
    independently of s.

    Args:
        n: seeds, at least 2.
        within: the margin, above 0.
        sd: the true standard deviation of the differences; without spread the chance is 1 inside, and else 0.
        alpha: the level of each one-sided test, in (0, 1).
        difference: the true mean difference.

    Raises:
        ValueError: a value outside these.

    Reference:
        Phillips (1990), Power of the Two One-Sided Tests Procedure in Bioequivalence.
    """
    _check(n >= 2, f"a test of equivalence needs at least 2 seeds, got {n}")
    _check(sd >= 0, f"a standard deviation cannot be {sd!r}")
    _check(0 < within < math.inf, f"a margin of equivalence is positive, got {within!r}")
    _check(0 < alpha < 1, f"the level of a test lies in (0, 1), got {alpha!r}")
    if sd == 0:
        return float(abs(difference) < within)
    margin, away = (size / sd * math.sqrt(n) for size in (within, difference))
    bound = -float(special.stdtrit(n - 1, alpha))
    # The share of s / sd in equal steps of probability: its square times n - 1 is chi-square with n - 1.
    estimated = np.sqrt(special.chdtri(n - 1, 1 - (np.arange(STEPS) + 0.5) / STEPS) / (n - 1))
    room = np.maximum(0.0, margin - bound * estimated)
    return float(np.mean(special.ndtr(room - away) - special.ndtr(-room - away)))


def detectable(n: int, sd: float, power: float = POWER, alpha: float = 0.05) -> float:
    """The smallest true difference that n seeds find with this chance; in the unit of sd.

    Raises:
        ValueError: fewer than two seeds, a negative sd, or not 0 < alpha < power < 1.
    """
    _check(n >= 2, f"a paired t test needs at least 2 seeds, got {n}")
    _check(sd >= 0, f"a standard deviation cannot be {sd!r}")
    _check(0 < alpha < power < 1, f"a power lies between the level {alpha!r} and 1, got {power!r}")
    far = 1.0
    while _rejects(n, far, alpha) < power:
        far *= 2
    away = optimize.brentq(lambda distance: _rejects(n, distance, alpha) - power, 0, far, xtol=1e-12)
    return float(away) * sd / math.sqrt(n)


def seeds_needed(
    difference: float, sd: float, power: float = POWER, alpha: float = 0.05, most: int = 1000
) -> int | None:
    """The fewest seeds that find a true difference with this chance; None: more than `most`, or there is none.

    Raises:
        ValueError: a negative sd, or not 0 < alpha < power < 1.
    """
    _check(sd >= 0, f"a standard deviation cannot be {sd!r}")
    _check(0 < alpha < power < 1, f"a power lies between the level {alpha!r} and 1, got {power!r}")
    if difference == 0:
        return None
    if sd == 0:
        return 2
    size = abs(difference) / sd
    return fewest(lambda n: _rejects(n, size * math.sqrt(n), alpha) >= power, most)


def counting_error(share: float, images: int) -> float:
    """Standard deviation of an accuracy that counting so many images leaves, whatever the seeds do.

    Args:
        share: the accuracy, in [0, 1].
        images: that were counted, at least 1.

    Raises:
        ValueError: a share or a number of images that cannot be.
    """
    _check(images >= 1 and 0 <= share <= 1, f"a share of {share!r} of {images} images cannot be")
    return math.sqrt(share * (1 - share) / images)


def effects(
    values: Mapping[tuple[str, ...], Mapping[int, float]], factors: Mapping[str, Sequence[str]]
) -> list[Effect]:
    """Main effects and two-factor interactions of a full factorial, each computed per seed and tested over seeds.

    A main effect is level minus first level, averaged over the combinations of
    the other factors.  An interaction is a difference of differences, (both -
    one alone) - (the other alone - neither), averaged over the remaining
    factors: 0 where the two add up.  A seed counts if every run that the effect
    needs has a value; an effect without such a seed is left out.

    Args:
        values: levels in the order of `factors` -> seed -> value.
        factors: factor -> its levels, the reference first.

    Returns:
        Main effects in the order of factors and levels, then interactions.

    Raises:
        ValueError: a key that is no combination of the levels.

    Reference:
        Fisher (1935), The Design of Experiments, chapter VI.  S1.5, S1.55.
        Differs: textbooks of two-level designs halve the difference of differences; we do not, so an interaction
        is what the sum of the two separate effects misses.
    """
    cells = set(product(*factors.values()))
    for cell in values:
        _check(cell in cells, f"{cell!r} is no combination of the levels of {', '.join(factors)}")
    names = list(factors)
    chosen = [
        tuple(zip(part, levels, strict=True))
        for size in (1, 2)
        for part in combinations(names, size)
        for levels in product(*(factors[name][1:] for name in part))
    ]
    found = []
    for named in chosen:
        signs = {cell: sign for cell in cells if (sign := _sign(cell, names, factors, named))}
        if contrasts := _contrasts(values, signs, 2 ** len(named)):
            which = tuple(name for name, _ in named)
            found.append(Effect(which, tuple(level for _, level in named), paired(contrasts)))
    return found


def effects_asked(factors: Mapping[str, Sequence[str]]) -> int:
    """How many main effects and interactions of two factors there are."""
    counts = [len(levels) - 1 for levels in factors.values()]
    return sum(counts) + sum(first * second for first, second in combinations(counts, 2))


def _sign(
    cell: tuple[str, ...],
    names: Sequence[str],
    factors: Mapping[str, Sequence[str]],
    named: Sequence[tuple[str, str]],
) -> int:
    """+1 or -1 for a cell that enters the effect, 0 for one that does not."""
    sign = 1
    for name, level in named:
        own = cell[names.index(name)]
        sign *= 1 if own == level else -1 if own == factors[name][0] else 0
    return sign


def _contrasts(
    values: Mapping[tuple[str, ...], Mapping[int, float]], signs: Mapping[tuple[str, ...], int], corners: int
) -> list[float]:
    """The effect of each seed that has all cells: signed sum over the number of combinations of the other factors."""
    seeds = set.intersection(*(set(values.get(cell, {})) for cell in signs))
    found = []
    for seed in sorted(seeds):
        found.append(
            signed_sum([sign * values[cell][seed] for cell, sign in signs.items()]) / (len(signs) / corners)
        )
    return found


def signed_sum(terms: Sequence[float]) -> float:
    """Their sum, and 0 where what is left of them is rounding.

    0.3 - 0.2 and 0.2 - 0.1 differ by 3e-17: the same for every seed, and so without spread and "significant".
    """
    total = math.fsum(terms)
    return total if abs(total) > 1e-12 * max(map(abs, terms)) else 0.0


def fewest(enough: Callable[[int], bool], most: int) -> int | None:
    """The smallest n from 2 to `most` that is enough, where more always is; None if `most` is not."""
    if most < 2 or not enough(most):
        return None
    low, high = 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _moments(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and standard deviation with n - 1 if there are two values."""
    _check(len(values) > 0, "there are no values")
    for value in values:
        _check(math.isfinite(value), f"{value!r} cannot be averaged; leave out the seeds without a number")
    mean = fmean(values)
    if len(values) < 2:
        return mean, None
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return mean, sd if sd > _ROUNDING * max(map(abs, values)) else 0.0


def _interval(values: Sequence[float], mean: float, sd: float | None) -> tuple[float | None, float | None]:
    if sd is None:
        return None, None
    return student(values) if sd > 0 else (mean, mean)


def _two_sided(mean: float, sd: float, n: int) -> float:
    return min(1.0, 2 * _beyond(abs(mean), sd, n))


def _beyond(distance: float, sd: float, n: int) -> float:
    """P(T >= distance / (sd / sqrt n)) of Student's t; without spread its limit, 0 or 1, and 1 at distance 0."""
    if sd == 0:
        return 0.0 if distance > 0 else 1.0
    return float(special.stdtr(n - 1, -distance / sd * math.sqrt(n)))


def _rejects(n: int, noncentrality: float, alpha: float) -> float:
    """The chance that the two-sided test at this level rejects."""
    bound = -special.stdtrit(n - 1, alpha / 2)
    # SciPy 1.17 gives nan where such a tail is below about 1e-12, e.g. for 3 seeds and 10 sd: that tail is 0.
    below, other_way = np.nan_to_num(special.nctdtr(n - 1, noncentrality, np.array([bound, -bound])))
    return min(1.0, float(1 - below + other_way))


def _sign_flips(differences: Sequence[float]) -> float | None:
    """The share of sign patterns whose sum is at least as far from zero as the one that was seen."""
    d = np.abs(np.asarray(differences, dtype=float))
    if len(d) < FEWEST_FLIPS:
        return None
    seen = abs(math.fsum(differences)) - 1e-12 * d.sum()  # ties must survive rounding
    if len(d) <= MOST_EXACT:
        totals = d[:1]  # the first keeps its sign: a pattern and its mirror image are equally far out
        for value in d[1:]:
            totals = np.concatenate([totals + value, totals - value])
        return float(np.mean(np.abs(totals) >= seen))
    # Raw bits: those of a Philox key are fixed, whereas NumPy may change how its generators use them.
    source, block = np.random.Philox(key=_FLIP_KEY), 8_000
    count = 0
    for _ in range(DRAWN // block):
        bits = np.unpackbits(source.random_raw(block * len(d) // 64).astype("<u8").view(np.uint8))
        sums = (1.0 - 2.0 * bits.reshape(block, len(d))) @ d
        count += int(np.count_nonzero(np.abs(sums) >= seen))
    # The pattern that was seen is one of them, so p is never 0.
    return (count + 1) / (DRAWN + 1)


def _check(holds: bool, sentence: str) -> None:
    if not holds:
        raise ValueError(sentence)
