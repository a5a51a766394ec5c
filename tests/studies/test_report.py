"""What a study found, worked out on paper.

The arm `new` against `old` on seeds 0, 1, 2: 0.52 - 0.50, 0.55 - 0.51, 0.58 - 0.52 = 0.02, 0.04, 0.06: mean 0.04, sd 0.02,
standard error 0.02/sqrt 3 = 0.011547, t = 3.4641 with 2 degrees of freedom, two-sided p = 0.07418; t(0.975, 2) = 4.302653,
so the interval is 0.04 +- 0.049683.
"""

from typing import Any

import pytest
from made import diverged, line, outcome, study

from convscope.studies.design import (
    Comparison,
    Confused,
    Curve,
    Published,
    arm,
    different,
    equal,
    factorial,
    greater,
    less,
)
from convscope.studies.notes import notes
from convscope.studies.report import level, report, unit
from convscope.studies.tables import judged
from convscope.studies.verdict import Judgement

OLD, NEW = [0.50, 0.51, 0.52], [0.52, 0.55, 0.58]


def test_means_differences_and_counting_by_hand() -> None:
    design = study(
        arm("old"),
        arm("new", lr=0.3, published=Published(0.6, "S1.1")),
        greater("new", "old", "S1.1", by=0.1),
    )
    found = report(outcome(design, {"old": OLD, "new": NEW}))
    old, new = found.arms
    assert old.summary and new.summary and old.summary.mean == pytest.approx(0.51)
    assert new.summary.sd == pytest.approx(0.03)
    assert (old.runs, old.seconds) == ("3", 10.0)
    (row,) = found.comparisons
    assert row.paired and row.paired.mean == pytest.approx(0.04) and row.paired.sd == pytest.approx(0.02)
    assert row.paired.low == pytest.approx(0.04 - 0.049683, abs=1e-6)
    assert row.p == pytest.approx(0.07418, abs=1e-5)
    assert row.judgement.verdict == "not distinguishable"
    assert found.images == 200
    assert old.counting == pytest.approx((0.51 * 0.49 / 200) ** 0.5)
    assert new.counting == pytest.approx((0.55 * 0.45 / 200) ** 0.5)
    assert (
        "Every accuracy counts 200 validation images, the same for all runs: that alone leaves a standard deviation of "
        "3.52 to 3.53 points, which the intervals over seeds do not include."
    ) in notes(found)
    assert found.is_complete


def test_holm_counts_comparisons_that_lost_their_runs_too() -> None:
    """Two of p = 0.07418 and one without runs: each p triples, as if all had been made; the third has none."""
    design = study(
        arm("old"), arm("new", lr=0.3), arm("newer", lr=0.4), arm("never", lr=0.5),
        *(greater(name, "old", "S1.1") for name in ("new", "newer", "never")),
    )  # fmt: skip
    found = report(outcome(design, {"old": OLD, "new": NEW, "newer": NEW, "never": [None] * 3}))
    assert [row.p and round(row.p, 5) for row in found.comparisons] == [0.22254, 0.22254, None]
    needed = [
        row.judgement.sentence.partition("(")[2].partition(" would")[0] for row in found.comparisons[:2]
    ]
    assert needed == ["about 6"] * 2  # for 2 sd at 0.05 / 3; alone it would be 5
    said = found.comparisons[2].judgement.sentence
    assert said == "no seed of which both 'never' and 'old' gave a number"
    assert found.arms[3].runs == "0 of 3: 3 not run"
    assert not found.is_complete


def test_only_seeds_that_both_arms_finished_are_paired() -> None:
    design = study(arm("old"), arm("new", lr=0.3), greater("new", "old", "S1.1"))
    found = report(outcome(design, {"old": [0.5, None, 0.5], "new": [0.6, 0.9, 0.8]}))
    paired = found.comparisons[0].paired
    assert paired and paired.n == 2 and paired.mean == pytest.approx(0.2)
    assert found.comparisons[0].judgement.sentence == (
        "no verdict from 2 seeds (3 are needed): +20.00 points [-107.06, +147.06]"
    )


def test_what_is_left_of_an_arm_that_diverged_spends_no_place_in_the_family() -> None:
    """Seven survivors with a tiny p, and a claim of raw p 0.05 / 1.04: it must be doubled, as if the first had p = 1."""
    old = [0.50, 0.51, 0.52, 0.49, 0.50, 0.51, 0.48, 0.50]
    gains = [0.004, 0.006, 0.01, -0.002, 0.012, 0.001, 0.006, -0.002]
    design = study(
        arm("old"), arm("wild", lr=0.3), arm("new", lr=0.4),
        greater("wild", "old", "S1.1"), greater("new", "old", "S1.1"), seeds=8,
    )  # fmt: skip
    wild = [diverged("x/0"), *(value + 0.1 + 0.001 * seed for seed, value in enumerate(old[1:]))]
    new = [value + gain for value, gain in zip(old, gains, strict=True)]
    lost, kept = report(outcome(design, {"old": old, "wild": wild, "new": new})).comparisons
    assert lost.p is None and lost.paired and lost.paired.p is not None and lost.paired.p < 1e-6
    assert kept.paired and kept.paired.p == pytest.approx(0.04827, abs=1e-5)
    assert kept.p == pytest.approx(2 * kept.paired.p)
    assert kept.judgement.verdict == "not distinguishable"
    assert "sign-flip" not in judged(lost)


def test_the_exact_test_stands_beside_a_difference_and_says_that_it_is_not_adjusted() -> None:
    """Six times 0.01 to 0.06 more: of 64 patterns only two are as far out, whatever Holm does to p of the t test."""
    old, gains = [0.5] * 6, [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]
    design = study(
        arm("old"), arm("new", lr=0.3), arm("newer", lr=0.4),
        greater("new", "old", "S1.1"), equal("newer", "old", "S1.1", within=0.1), seeds=6,
    )  # fmt: skip
    new = [value + gain for value, gain in zip(old, gains, strict=True)]
    found = report(outcome(design, {"old": old, "new": new, "newer": new})).comparisons
    assert judged(found[0]).endswith("; sign-flip p = 0.0312 before Holm")
    assert judged(found[1]).endswith("for within ±10.00 points")


ALL_LOST = [diverged("x/0"), diverged("x/1"), diverged("x/2")]


@pytest.mark.parametrize(
    ("old", "new", "form", "said"),
    [
        (OLD, ALL_LOST, less, "as claimed, without a p: 3 of 3 runs of 'new' diverged, and none of 'old'"),
        (
            OLD,
            ALL_LOST,
            greater,
            "against the claim, without a p: 3 of 3 runs of 'new' diverged, and none of 'old'",
        ),
        (ALL_LOST, NEW, greater, "as claimed, without a p: 3 of 3 runs of 'old' diverged, and none of 'new'"),
        (
            [0.5, None, 0.5],
            ALL_LOST,
            less,
            "no verdict: 3 of 3 runs of 'new' diverged, and what the others reached decides nothing",
        ),
        (
            OLD,
            [0.9, diverged("x/1"), 0.9],
            greater,
            "no verdict: 1 of 3 runs of 'new' diverged, and what the others reached decides nothing",
        ),
        (
            ALL_LOST,
            ALL_LOST,
            less,
            "no verdict: 3 of 3 runs of 'new' diverged and 3 of 3 runs of 'old' diverged, and what the others "
            "reached decides nothing",
        ),
    ],
)
def test_runs_that_diverged_are_never_averaged_away(
    old: list[object], new: list[object], form: object, said: str
) -> None:
    design = study(arm("old"), arm("new", lr=0.3), form("new", "old", "S1.1"))  # type: ignore[operator]
    found = report(outcome(design, {"old": old, "new": new}))
    assert found.comparisons[0].judgement.sentence == said


@pytest.mark.parametrize(
    ("claim", "word"),
    [
        (less("new", "old", "S1.1", measure="final_loss"), "against the claim"),
        (greater("new", "old", "S1.1", measure="final_loss"), "as claimed"),
        (less("old", "new", "S1.1", measure="final_loss"), "as claimed"),
        (equal("new", "old", "S1.1", within=0.1), "against the claim"),
        (different("new", "old"), "different"),
    ],
    ids=str,
)
def test_what_divergence_says_of_losses_and_of_other_claims(claim: Comparison, word: str) -> None:
    """The loss of what diverged is the greatest there is."""
    design = study(arm("old"), arm("new", lr=0.3), claim)
    known = [
        line(f"old/{seed}", 0.5, numbers={"final_accuracy": 0.5, "final_loss": 1.0}) for seed in range(3)
    ]
    judged = report(outcome(design, {"old": known, "new": ALL_LOST})).comparisons[0].judgement
    assert (judged.verdict, judged.sentence.partition(",")[0]) == ("diverged", word)


@pytest.mark.parametrize("measure", ["activations/dead", "gap", "macs"])
def test_of_a_gap_or_a_count_nothing_follows_from_divergence(measure: str) -> None:
    design = study(arm("old"), arm("new", lr=0.3), greater("new", "old", "S1.1", measure=measure))
    known = [line(f"old/{seed}", 0.5, numbers={"final_accuracy": 0.5, measure: 0.1}) for seed in range(3)]
    found = report(outcome(design, {"old": known, "new": ALL_LOST}))
    assert found.comparisons[0].judgement.verdict == "none"


def test_effects_of_what_survived_have_no_p() -> None:
    design = study(
        *factorial({"a": {"0": {}, "1": {"lr": 0.3}}, "b": {"0": {}, "1": {"epochs": 2}}}), seeds=4
    )
    values = {arm.name: [0.1, 0.2, 0.3, 0.4] for arm in design.arms}
    assert all(row.p is not None for row in report(outcome(design, values)).effects)
    values["a 1, b 1"] = [0.1, 0.2, 0.3, diverged("x")]  # type: ignore[list-item]
    effects = report(outcome(design, values)).effects
    assert [row.effect.paired.n for row in effects] == [3, 3, 3]
    assert all(row.p is None for row in effects)


def test_effects_that_lost_their_runs_stay_in_the_family() -> None:
    """3 x 2: five effects. Without the last cell three of them are gone; the other two are still two of five."""
    levels = {"0": {}, "1": {"lr": 0.3}, "2": {"lr": 0.4}}
    design = study(*factorial({"a": levels, "b": {"0": {}, "1": {"epochs": 2}}}), seeds=4)
    values = {
        one.name: [
            0.1 + 0.01 * place * (seed + 1) + 0.001 * ((7 * seed + 3 * place) % 5) for seed in range(4)
        ]
        for place, one in enumerate(design.arms)
    }
    failed = [line("x", None, status="failed", numbers={})] * 4
    left = report(outcome(design, {**values, "a 2, b 1": failed})).effects
    assert [row.effect.levels for row in left] == [("1",), ("1", "1")]
    assert left[0].effect.paired.p is not None
    assert left[0].p == pytest.approx(5 * left[0].effect.paired.p)


def test_only_an_accuracy_has_an_error_of_counting() -> None:
    for measure, known in (
        ("final_accuracy", True),
        ("best_accuracy", True),
        ("final_loss", False),
        ("gap", False),
    ):
        design = study(arm("old"), arm("new", lr=0.3), measure=measure)
        lines = [line("x", numbers={measure: 0.5})] * 3
        (old, _) = report(outcome(design, {"old": lines, "new": lines})).arms
        assert (old.counting is not None) == known


def test_effects_of_two_seeds_have_no_p() -> None:
    design = study(*factorial({"a": {"0": {}, "1": {"lr": 0.3}}}), seeds=2)
    (row,) = report(outcome(design, {"a 0": [0.1, 0.2], "a 1": [0.3, 0.5]})).effects
    assert row.effect.paired.p is not None and row.p is None


def test_a_difference_of_rounding_is_none() -> None:
    """0.8 - 0.7 and 0.9 - 0.8 differ by 1e-16, for every seed alike: no spread, and yet no difference."""
    design = study(arm("old"), arm("new", lr=0.3), greater("new", "old", "S1.1"))
    (row,) = report(outcome(design, {"old": [0.9 - 0.8] * 3, "new": [0.8 - 0.7] * 3})).comparisons
    assert row.paired and (row.paired.mean, row.paired.p) == (0.0, 1.0)


def test_a_value_that_is_no_number_is_left_out_and_not_averaged() -> None:
    design = study(arm("old"), arm("new", lr=0.3))
    found = report(outcome(design, {"old": [0.5, None, 0.7], "new": [line("new/0", None), 0.6, 0.8]}))
    assert found.arms[1].summary and found.arms[1].summary.n == 2
    assert found.arms[1].summary.mean == pytest.approx(0.7)
    assert found.arms[1].runs == "2 of 3: 1 without a number"


def test_effects_of_a_factorial_per_seed() -> None:
    """No interaction by construction: a adds 0.1 and b 0.2, whatever the other and the seed."""
    design = study(*factorial({"a": {"0": {}, "1": {"lr": 0.3}}, "b": {"0": {}, "1": {"epochs": 2}}}))
    cells = {"a 0, b 0": 0.1, "a 1, b 0": 0.2, "a 0, b 1": 0.3, "a 1, b 1": 0.4}
    found = report(outcome(design, {name: [base, base + 0.01, base] for name, base in cells.items()}))
    means = {row.effect.factors: row.effect.paired.mean for row in found.effects}
    assert means == {
        ("a",): pytest.approx(0.1),
        ("b",): pytest.approx(0.2),
        ("a", "b"): pytest.approx(0, abs=1e-12),
    }


def test_pairs_over_seeds_by_hand() -> None:
    """a-b: 5 + 1, b-a: 4 + 3, c-a: 0 + 2, a-c: 1 + 0: b-a first by the sum, though a-b leads in one seed."""
    first = [[10, 5, 1], [4, 10, 0], [0, 0, 10]]
    second = [[10, 1, 0], [3, 10, 0], [2, 0, 10]]
    design = study(arm("old", confused=Confused(("a-b",), "S4.20")), arm("new", lr=0.3), seeds=2)
    lines = [line(f"old/{seed}", 0.5, confusion=counts) for seed, counts in enumerate((first, second))]
    (row,) = report(outcome(design, {"old": lines, "new": [0.5, 0.5]})).pairs
    assert row.pairs == (("b-a", 7, 2), ("a-b", 6, 2), ("c-a", 2, 1))
    assert row.seeds == 2
    lines = [line(f"old/{seed}", 0.5, confusion=[[10, 0, 0], [1, 9, 0], [0, 0, 10]]) for seed in range(2)]
    (row,) = report(outcome(design, {"old": lines, "new": [0.5, 0.5]})).pairs
    assert row.pairs == (("b-a", 2, 2),)  # and none that never happened


def test_curves_by_epoch_by_hand() -> None:
    """Epoch 1: 0.5 and 0.7, so 0.6; a validation after half an epoch is none; of epoch 3 nothing is known."""
    design = study(arm("old", curve=Curve((0.9, 0.8, 0.7), "S4.10", best=0.95)), arm("new", lr=0.3), seeds=2)
    courses = ({0.5: 0.1, 1.0: 0.5, 2.0: 0.81}, {0.5: 0.2, 1.0: 0.7, 2.0: None})
    lines = [
        line(f"old/{seed}", 0.5, curve={"epoch": list(course), "val_accuracy": list(course.values())})
        for seed, course in enumerate(courses)
    ]
    (row,) = report(outcome(design, {"old": lines, "new": [0.5, 0.5]})).curves
    assert [found and (found.n, pytest.approx(found.mean)) for found in row.epochs] == [
        (2, 0.6),
        (1, 0.81),
        None,
    ]
    assert row.best == 0.81


def test_equality_is_judged_by_two_one_sided_tests() -> None:
    design = study(arm("old"), arm("new", lr=0.3), equal("new", "old", "S1.57", within=0.05))
    near = [0.501, 0.512, 0.519]
    found = report(outcome(design, {"old": OLD, "new": near}))
    assert found.comparisons[0].judgement.verdict == "supported"


def test_numbers_are_written_in_their_unit() -> None:
    assert unit("final_accuracy")(0.0231) == "+2.31 points"
    assert unit("final_loss")(-0.0231) == "-0.0231"
    assert level("best_accuracy")(0.6802) == "68.02 %"
    assert unit("gap")(-0.0231) == "-2.31 points" and level("gap")(0.0231) == "2.31 points"
    assert level("macs")(40_551_424.0) == "40,551,424"
    assert level("final_loss")(0.52317) == "0.5232"


@pytest.mark.parametrize(
    ("changes", "images"), [({"data": "mnist"}, 200), ({"data.split_seed": 1}, 200), ({"data": "mnist"}, 100)]
)
def test_images_of_different_sets_or_splits_are_not_called_the_same(
    changes: dict[str, Any], images: int
) -> None:
    design = study(arm("old"), arm("new", changes))
    lines = [line(f"new/{seed}", 0.5, images=images) for seed in range(3)]
    found = report(outcome(design, {"old": OLD, "new": lines}))
    assert found.images == 0
    assert not any("counts" in note for note in notes(found))


def test_wrong_training_labels_leave_the_validation_images_the_same() -> None:
    design = study(arm("old"), arm("new", {"data.label_noise": "symmetric:rate=0.2"}))
    assert report(outcome(design, {"old": OLD, "new": NEW})).images == 200


def test_from_two_seeds_there_is_no_verdict_though_one_arm_diverged() -> None:
    design = study(arm("old"), arm("new", lr=0.3), greater("old", "new", "S1.1"), seeds=2)
    (row,) = report(outcome(design, {"old": OLD[:2], "new": [diverged("a"), diverged("b")]})).comparisons
    assert row.judgement == Judgement(
        "none", "no verdict from fewer than 3 seeds: 2 of 2 runs of 'new' diverged"
    )
