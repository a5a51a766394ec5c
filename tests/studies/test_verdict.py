"""Whole sentences for every verdict, worked out on paper; and 1,000 studies of arms that do not differ."""

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipys

from convscope.core.errors import UnknownName
from convscope.studies import stats
from convscope.studies.design import Form
from convscope.studies.stats import paired
from convscope.studies.verdict import Judgement, judge, p_of

POINTS = [2.0, 4.0, 3.0, 1.0, 5.0, 3.0]
"""Mean 3, interval [1.52, 4.48], p = 0.00348: on paper in tests/studies/test_stats.py."""
WIDE = [-0.5, -0.5, 0.5, 1.5, 1.5]
"""Mean 0.5, squares 1 + 1 + 0 + 1 + 1, sd 1: interval 0.5 +- 2.77645 / sqrt 5 = [-0.74, 1.74]."""


def points(value: float) -> str:
    return f"{value:+.2f} points"


def plain(value: float) -> str:
    return f"{value:+.3g}"


def judged(
    form: Form, differences: list[float], within: float | None = None, comparisons: int = 1
) -> Judgement:
    """As a study does it, for the smallest p of so many comparisons."""
    ps = [p_of(form, differences, within), *[1.0] * (comparisons - 1)]
    return judge(form, paired(differences), stats.holm(ps)[0], within, points, stats.holm_levels(ps)[0])


@pytest.mark.parametrize(
    ("form", "sign", "verdict", "sentence"),
    [
        ("greater", 1, "supported", "supported: +3.00 points [+1.52, +4.48], p = 0.00348"),
        ("greater", -1, "contradicted", "contradicted: -3.00 points [-4.48, -1.52], p = 0.00348"),
        ("less", -1, "supported", "supported: -3.00 points [-4.48, -1.52], p = 0.00348"),
        ("less", 1, "contradicted", "contradicted: +3.00 points [+1.52, +4.48], p = 0.00348"),
        ("different", 1, "different", "different: 3.00 points more [+1.52, +4.48], p = 0.00348"),
        ("different", -1, "different", "different: 3.00 points less [-4.48, -1.52], p = 0.00348"),
    ],
)
def test_a_difference_in_words(form: Form, sign: int, verdict: str, sentence: str) -> None:
    assert judged(form, [sign * value for value in POINTS]) == Judgement(verdict, sentence)


@pytest.mark.parametrize("form", ["greater", "less", "different"])
def test_what_is_open_says_how_many_seeds_would_decide(form: Form) -> None:
    """0.5 at sd 1 takes 34 pairs (G*Power 3); t = 0.5 sqrt 5 = 1.118, p = 0.326."""
    assert judged(form, WIDE) == Judgement(
        "not distinguishable",
        "not distinguishable with 5 seeds (about 34 would be needed): +0.50 points [-0.74, +1.74], p = 0.326",
        "about 34",
    )


def test_in_a_family_more_seeds_are_needed() -> None:
    """Mean 0.5, squares 0.09 + 0.04 + 0.04 + 0.16 + 0.01 = 0.34, sd sqrt 0.085 = 0.29155, t = 3.8348, p = 0.0185.

    Alone that is below 0.05; of six it is open, and what was missed is 0.05 / 6, for which 1.715 sd takes 8 pairs.
    """
    values, size, level = [0.2, 0.3, 0.7, 0.9, 0.4], 0.5 / math.sqrt(0.085), 0.05 / 6
    assert judged("greater", values).sentence == "supported: +0.50 points [+0.14, +0.86], p = 0.0185"
    found = [
        scipys.nct.sf(scipys.t.isf(level / 2, n - 1), n - 1, size * math.sqrt(n)) >= 0.8 for n in range(2, 10)
    ]
    assert found.index(True) + 2 == 8
    assert judged("greater", values, comparisons=6) == Judgement(
        "not distinguishable",
        "not distinguishable with 5 seeds (about 8 would be needed): +0.50 points [+0.14, +0.86], p = 0.111",
        "about 8",
    )


def test_in_a_family_an_equality_needs_more_seeds_too() -> None:
    """Half an sd from the margin, each one-sided test at 0.05 / 6; to the other end it is so far that nothing is lost."""
    shows = [
        scipys.nct.sf(scipys.t.isf(0.05 / 6, n - 1), n - 1, 0.5 * math.sqrt(n)) >= 0.8 for n in range(2, 60)
    ]
    assert judged("equal", WIDE, 1.0, comparisons=6).needed == f"about {shows.index(True) + 2}"


def test_the_family_counts_too_where_its_p_is_cut_off_at_1() -> None:
    """6 x 0.326 would be 1.96; 0.05 / 6 is what was missed all the same, for which half an sd takes 52 pairs."""
    found = [
        scipys.nct.sf(scipys.t.isf(0.05 / 12, n - 1), n - 1, 0.5 * math.sqrt(n)) >= 0.8 for n in range(2, 60)
    ]
    assert found.index(True) + 2 == 52
    assert judged("greater", WIDE, comparisons=6).sentence == (
        "not distinguishable with 5 seeds (about 52 would be needed): +0.50 points [-0.74, +1.74], p = 1"
    )


def test_more_seeds_than_anybody_would_run_are_not_counted() -> None:
    assert judged("greater", [-0.99, 0.01, 1.01]).sentence == (
        "not distinguishable with 3 seeds (more than 1,000 would be needed): +0.01 points [-2.47, +2.49], p = 0.988"
    )
    assert judged("different", [0.0] * 4).sentence == (
        "not distinguishable with 4 seeds (more than 1,000 would be needed): +0.00 points [+0.00, +0.00], p = 1"
    )


@pytest.mark.parametrize(
    ("values", "within", "verdict", "sentence"),
    [
        (
            POINTS,
            5.0,
            "supported",
            "supported: +3.00 points [+1.52, +4.48], p = 0.00898 for within ±5.00 points",
        ),
        (POINTS, 1.0, "contradicted", "contradicted: +3.00 points [+1.52, +4.48], not within ±1.00 points"),
        (
            [-value for value in POINTS],
            1.0,
            "contradicted",
            "contradicted: -3.00 points [-4.48, -1.52], not within ±1.00 points",
        ),
        # One-sided at 0.05, half an sd from the margin: noncentral t has 80 % from 27 pairs on.
        (
            WIDE,
            1.0,
            "not distinguishable",
            "not distinguishable with 5 seeds (about 27 would be needed): +0.50 points [-0.74, +1.74], "
            "p = 0.163 for within ±1.00 points",
        ),
        # Or outside: two-sided at 0.05, a quarter of an sd away: 128.
        (
            WIDE,
            0.25,
            "not distinguishable",
            "not distinguishable with 5 seeds (about 128 would be needed): +0.50 points [-0.74, +1.74], "
            "p = 0.697 for within ±0.25 points",
        ),
        (
            WIDE,
            0.5,
            "not distinguishable",
            "not distinguishable with 5 seeds (more than 1,000 would be needed): +0.50 points [-0.74, +1.74], "
            "p = 0.5 for within ±0.50 points",
        ),
        # At the margin without any spread: no number of seeds moves it off.
        (
            [1.0] * 3,
            1.0,
            "not distinguishable",
            "not distinguishable with 3 seeds (more than 1,000 would be needed): +1.00 points [+1.00, +1.00], "
            "p = 1 for within ±1.00 points",
        ),
    ],
)
def test_equality_in_words(values: list[float], within: float, verdict: str, sentence: str) -> None:
    found = judged("equal", values, within)
    assert (found.verdict, found.sentence) == (verdict, sentence)
    assert (f"({found.needed} would be needed)" in sentence) == (verdict == "not distinguishable")


@pytest.mark.parametrize("form", ["greater", "less", "different", "equal"])
def test_two_seeds_have_an_interval_and_no_verdict(form: Form) -> None:
    within = 5.0 if form == "equal" else None
    assert judged(form, [1.0, 1.0], within) == Judgement(
        "none", "no verdict from 2 seeds (3 are needed): +1.00 points [+1.00, +1.00]"
    )
    assert judged(form, [1.0], within) == Judgement(
        "none", "no verdict from 1 seed (3 are needed): +1.00 points"
    )
    assert judged(form, [1.0, 1.0, 1.0], within).verdict in ("supported", "contradicted", "different")


def test_units_without_a_word_and_very_small_p() -> None:
    values = [0.101, 0.1, 0.099, 0.1002, 0.0998, 0.1]
    found = judge("greater", paired(values), p_of("greater", values, None), None, plain)
    assert found.sentence == "supported: +0.1 [+0.0993, +0.101], p < 0.0001"


@given(
    st.lists(st.floats(-5, 5).map(lambda value: round(value, 3)), min_size=3, max_size=9),
    st.sampled_from(["greater", "less", "different", "equal"]),
    st.sampled_from([0.1, 1.0, 3.0]),
    st.integers(1, 6),
)
@settings(max_examples=80, deadline=None)
def test_a_verdict_and_its_mirror_image(
    values: list[float], form: Form, margin: float, comparisons: int
) -> None:
    """Turning all signs and the claim leaves the verdict; what is open needs more seeds than there are."""
    mirrored: dict[Form, Form] = {"greater": "less", "less": "greater"}
    within = margin if form == "equal" else None
    found = judged(form, values, within, comparisons)
    turned = judged(mirrored.get(form, form), [-value for value in values], within, comparisons)
    assert turned.verdict == found.verdict
    if found.verdict == "not distinguishable" and "about" in found.sentence:
        needed = int(found.needed.removeprefix("about ").replace(",", ""))
        assert needed > len(values)


# What p enters ------------------------------------------------------------------------------------------------


def test_the_p_of_each_form() -> None:
    two_sided = scipys.ttest_1samp(POINTS, 0).pvalue
    for form in ("greater", "less", "different"):
        assert p_of(form, POINTS, None) == pytest.approx(two_sided)
    assert p_of("equal", POINTS, 5.0) == stats.equivalence(POINTS, 5.0)
    assert p_of("greater", [0.1], None) == p_of("equal", [], 1.0) == 1.0


@pytest.mark.parametrize(("form", "within"), [("equal", None), ("greater", 1.0)])
def test_a_margin_belongs_to_equality(form: Form, within: float | None) -> None:
    for act in (lambda: p_of(form, POINTS, within), lambda: judge(form, paired(POINTS), 0.1, within, points)):
        with pytest.raises(ValueError) as error:
            act()
        assert (
            str(error.value)
            == f"`within` belongs to the form equal, and to no other; got {form} and {within!r}"
        )


@pytest.mark.parametrize(
    "act",
    [
        lambda: p_of("grater", POINTS, None),  # type: ignore[arg-type]
        lambda: judge("grater", paired(POINTS), 0.1, None, points),  # type: ignore[arg-type]
    ],
)
def test_a_form_that_nobody_knows(act: Callable[[], object]) -> None:
    with pytest.raises(UnknownName) as error:
        act()
    assert str(error.value) == (
        "No form of a comparison is called 'grater'. Did you mean 'greater'? Known: different, equal, greater, less."
    )


# 1,000 studies of arms that do not differ ---------------------------------------------------------------------

STUDIES = 1_000


def drawn(key: int, *shape: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=key)).normal(size=shape)


def limit(share: float) -> float:
    """Three standard deviations above a share of all studies."""
    return share + 3 * math.sqrt(share * (1 - share) / STUDIES)


def test_of_arms_that_do_not_differ_one_in_twenty_gets_a_verdict() -> None:
    claimed = Counter(judged("greater", list(row)).verdict for row in drawn(21, STUDIES, 8))
    assert claimed["supported"] + claimed["contradicted"] <= limit(0.05) * STUDIES
    assert claimed["supported"] <= limit(0.025) * STUDIES
    # And not fewer: a test that never decides would pass the above.
    assert claimed["supported"] >= (0.05 - limit(0.025)) * STUDIES > 0
    assert (
        sum(claimed.values())
        == STUDIES
        == claimed["not distinguishable"] + sum(claimed[word] for word in ("supported", "contradicted"))
    )


def test_of_four_comparisons_with_one_baseline_none_is_different_in_nineteen_studies_of_twenty() -> None:
    """Differences from one baseline are correlated, as in a study; without Holm, about 15 % have a verdict."""
    arms = drawn(22, STUDIES, 5, 8)
    wrong = 0
    for study in arms:
        differences = [list(arm - study[0]) for arm in study[1:]]
        adjusted = stats.holm([p_of("different", found, None) for found in differences])
        wrong += any(
            judge("different", paired(found), p, None, points).verdict == "different"
            for found, p in zip(differences, adjusted, strict=True)
            if p < 0.2  # the others are open, and to say how open takes as long again
        )
    assert 0.02 * STUDIES <= wrong <= limit(0.05) * STUDIES


def test_a_difference_of_just_the_margin_is_seldom_called_equal() -> None:
    found = Counter(judged("equal", list(1 + 0.3 * row), 1.0).verdict for row in drawn(23, STUDIES, 8))
    assert (0.1 - limit(0.05)) * STUDIES <= found["supported"] <= limit(0.05) * STUDIES
    assert found["contradicted"] <= limit(0.025) * STUDIES
