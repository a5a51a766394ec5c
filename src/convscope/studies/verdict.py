"""Do the runs support what was claimed?

In: a claim's form, the paired differences, and p after Holm.  Out: one word
and one line for people.  "Not distinguishable" is an answer, and comes with
the number of seeds that would have been needed; it is never called equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from convscope.core.errors import UnknownName

from . import stats
from .design import FORMS, Form
from .stats import Paired

LEAST_SEEDS = 3
"""Two give an interval 12.7 standard errors wide either way, and no idea of whether one of them is an outlier."""
LEVEL = 0.05
MOST_SEEDS = 1000
"""More are not counted: nobody would run them."""


@dataclass(frozen=True)
class Judgement:
    """What the runs say of a claim."""

    verdict: str
    """supported, contradicted, different, not distinguishable, diverged, or none."""
    sentence: str
    """One line with the numbers."""
    needed: str = ""
    """Seeds, where the verdict is open: `about 34`, `more than 1,000`."""


def p_of(form: Form, differences: Sequence[float], within: float | None = None) -> float:
    """The p-value of a claim that enters Holm's family: of the equivalence test for `equal`, else two-sided.

    Two-sided for `greater` and `less` too: the same p must be able to contradict
    a claim.  Below two differences it is 1.

    Raises:
        UnknownName: no such form.
        ValueError: `equal` without a margin, or another form with one.
    """
    _check(form, within)
    if len(differences) < 2:
        return 1.0
    return stats.t_test(differences) if within is None else stats.equivalence(differences, within)


def judge(
    form: Form,
    paired: Paired,
    p_adjusted: float,
    within: float | None,
    unit: Callable[[float], str],
    level: float = LEVEL,
) -> Judgement:
    """The verdict on one comparison.

        greater, less   p <= 0.05 and the sign as claimed: supported; the other sign: contradicted
        different       p <= 0.05: different
        equal           p <= 0.05: supported; the 95 % interval wholly outside +-within: contradicted
        otherwise       not distinguishable; from fewer than three seeds: none

    The seeds that would be needed are those that find a difference as large as
    the one seen, with the sd seen, in four of five studies, at the level that p
    had to reach in this family.  For `equal` they are those with which the
    interval would lie wholly on its side of the margin.  Both take what was seen
    for the truth, and are therefore rough.

    Args:
        form: of the claim.
        paired: differences, arm minus other.
        p_adjusted: what `p_of` gave, after Holm.
        within: the margin of `equal`; None for the other forms.
        unit: writes a difference with its sign, e.g. "+2.31 points"; what follows a space is left out in intervals.
        level: at which p is tested in its family, of `stats.holm_levels`.

    Raises:
        UnknownName: no such form.
        ValueError: `equal` without a margin, or another form with one.

    Reference:
        Hoenig, Heisey (2001), The Abuse of Power, on why a power computed from the difference that was seen says
        nothing that p does not: it is given as a number of seeds, and not as evidence.
    """
    _check(form, within)
    if paired.low is None or paired.high is None:
        return Judgement("none", f"no verdict from 1 seed ({LEAST_SEEDS} are needed): {unit(paired.mean)}")
    shown = f"{unit(paired.mean)} {interval(paired, unit)}"
    if paired.n < LEAST_SEEDS:
        return Judgement("none", f"no verdict from {paired.n} seeds ({LEAST_SEEDS} are needed): {shown}")
    if within is not None:
        return _equal(paired, p_adjusted, within, level, shown, _unsigned(within, unit))
    if p_adjusted > LEVEL:
        assert paired.sd is not None
        needed = stats.seeds_needed(paired.mean, paired.sd, alpha=level, most=MOST_SEEDS)
        return _open(paired, needed, f"{shown}, {in_words(p_adjusted)}")
    if form == "different":
        size = f"{_unsigned(paired.mean, unit)} {'more' if paired.mean > 0 else 'less'}"
        around = shown.removeprefix(unit(paired.mean))
        return Judgement("different", f"different: {size}{around}, {in_words(p_adjusted)}")
    word = "supported" if (paired.mean > 0) == (form == "greater") else "contradicted"
    return Judgement(word, f"{word}: {shown}, {in_words(p_adjusted)}")


def _equal(
    paired: Paired, p_adjusted: float, within: float, level: float, shown: str, margin: str
) -> Judgement:
    if p_adjusted <= LEVEL:
        return Judgement("supported", f"supported: {shown}, {in_words(p_adjusted)} for within ±{margin}")
    assert paired.low is not None and paired.high is not None
    if paired.low > within or paired.high < -within:
        return Judgement("contradicted", f"contradicted: {shown}, not within ±{margin}")
    needed = _seeds_for_margin(paired, within, level)
    return _open(paired, needed, f"{shown}, {in_words(p_adjusted)} for within ±{margin}")


def _open(paired: Paired, needed: int | None, numbers: str) -> Judgement:
    many = f"more than {MOST_SEEDS:,}" if needed is None else f"about {needed:,}"
    return Judgement(
        "not distinguishable",
        f"not distinguishable with {paired.n} seeds ({many} would be needed): {numbers}",
        many,
    )


def _seeds_for_margin(paired: Paired, within: float, level: float) -> int | None:
    """With which four of five studies would support the equality, or contradict it, if what was seen is the truth."""
    sd, mean = paired.sd, abs(paired.mean)
    assert sd is not None
    if mean >= within:  # it is contradicted by the 95 % interval, whatever the family
        return stats.seeds_needed(mean - within, sd, alpha=LEVEL, most=MOST_SEEDS)
    return stats.fewest(
        lambda n: stats.power_of_equivalence(n, within, sd, level, mean) >= stats.POWER, MOST_SEEDS
    )


def _check(form: Form, within: float | None) -> None:
    if form not in FORMS:
        raise UnknownName("form of a comparison", form, FORMS)
    if (form == "equal") != (within is not None):
        raise ValueError(f"`within` belongs to the form equal, and to no other; got {form} and {within!r}")


def _unsigned(value: float, unit: Callable[[float], str]) -> str:
    return unit(abs(value)).lstrip("+")


def interval(paired: Paired, unit: Callable[[float], str]) -> str:
    """`[-0.74, +1.74]`, without what follows a space in the unit; empty if there is none."""
    if paired.low is None or paired.high is None:
        return ""
    low, high = (unit(end).partition(" ")[0] for end in (paired.low, paired.high))
    return f"[{low}, {high}]"


def in_words(p: float) -> str:
    """`p = 0.0741`."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.3g}"
