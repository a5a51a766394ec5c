"""What limits the numbers of a study is said beside them, and only where it holds."""

from made import diverged, line, outcome, study

from convscope.studies.design import arm, different, equal, greater
from convscope.studies.notes import notes, ranking
from convscope.studies.report import report

OLD, NEW = [0.50, 0.51, 0.52], [0.52, 0.55, 0.58]


def test_what_weighs_most_comes_first() -> None:
    """An equality that holds is no difference, and one that does not is."""
    design = study(
        arm("all"), arm("no x", lr=0.3), arm("no y", lr=0.4), arm("no z", lr=0.5), arm("v", lr=0.6), arm("w", lr=0.7),
        *(different(name, "all") for name in ("no x", "no y")),
        equal("no z", "all", within=0.01), equal("v", "all", within=0.01), different("w", "all"),
    )  # fmt: skip
    values = {
        "all": [0.9, 0.9, 0.9],
        "v": [0.9, 0.9, 0.9],
        "w": [0.9, 0.8, 0.95],
        "no x": [0.8, 0.8, 0.8],
        "no y": [0.6, 0.6, 0.6],
        "no z": [0.95, 0.95, 0.95],
    }
    assert ranking(report(outcome(design, values))) == (
        "Against all, the largest difference first: no y -30.00 points, no x -10.00 points, no z +5.00 points. "
        "Without a rank, since their verdicts show no difference: v, w."
    )


def test_a_ranking_names_what_diverged() -> None:
    design = study(arm("all"), *(arm(name, lr=0.3 + at / 10) for at, name in enumerate(("x", "y", "z", "w"))))
    values = {
        "all": OLD,
        "x": NEW,
        "y": [0.2, 0.21, 0.2],
        "z": [0.3, 0.31, 0.33],
        "w": [diverged(key) for key in "abc"],
    }
    found = report(outcome(design, values))
    assert ranking(found).endswith("Not ranked, since runs of them diverged: w.")
    assert found.comparisons[3].judgement.sentence.startswith(
        "different, without a p: 3 of 3 runs of 'w' diverged"
    )


def test_only_differences_from_the_baseline_in_the_measure_itself_are_ranked() -> None:
    """Of two seeds, of another measure, or of two other arms: not on one list with the rest."""
    names = ("w", "x", "y", "z")
    design = study(
        arm("all"), *(arm(name, lr=0.3 + at / 10) for at, name in enumerate(names)),
        *(greater(name, "all", "S1.1") for name in names),
        greater("x", "y", "S1.1"), greater("x", "all", "S1.1", measure="gap"),
    )  # fmt: skip
    both = {"final_accuracy": 0.5, "gap": 0.9}
    values = {"all": [line("x", numbers=both)] * 3, "w": [0.9, 0.9, None], "y": [0.6] * 3, "z": [0.2] * 3}
    told = report(outcome(design, {**values, "x": [line("x", numbers={**both, "gap": 0.1})] * 3}))
    assert ranking(told) == (
        "Against all, the largest difference first: z -30.00 points, y +10.00 points. Without a rank, since their "
        "verdicts show no difference: x."
    )


def test_another_number_of_seeds_than_designed_is_said() -> None:
    design = study(arm("old"), arm("new", lr=0.3), seeds=8)
    fewer = notes(report(outcome(design.with_seeds(3), {"old": OLD, "new": NEW})))
    assert "The design has 8 seeds; these are the first 3." in fewer
    more = notes(report(outcome(design.with_seeds(9), {"old": OLD * 3, "new": NEW * 3})))
    assert any(note.startswith("The design has 8 seeds: if the others") for note in more)


def test_optimizers_without_tries_of_their_own_are_no_fair_comparison() -> None:
    adam = arm("new", optimizer="adam")
    asked = study(arm("old"), adam)
    said = (
        "The arms differ in their optimizer, and each ran at the one learning rate it was given: a fair comparison gives "
        "each the same number of tries (S3.66, E2.6; `tries`)."
    )
    assert said in notes(report(outcome(asked, {"old": OLD, "new": NEW})))
    rates = {"lr": [0.1, 0.2]}
    asked = study(arm("old", tries=rates), arm("new", optimizer="adam", tries=rates))
    assert said not in notes(report(outcome(asked, {"old": OLD, "new": NEW})))


def test_runs_of_another_precision_are_told_apart() -> None:
    """Batch norm may tip the balance of a layer, so that one arm computes in bfloat16 where the other does not."""
    design = study(arm("old"), arm("new", lr=0.3))
    kinds = {"whole": {"a": "float32", "b": "float32"}, "half": {"a": "bfloat16", "b": "float32"}}
    made = {kind: line(kind, 0.5, environment={"dtypes": dtypes}) for kind, dtypes in kinds.items()}
    said = (
        "Not all runs computed alike, since each layer takes what is right and faster on the machine: bfloat16 in 1 of 2 "
        "layers: old; float32: new. What arms differ in by that is part of their differences."
    )
    assert said in notes(report(outcome(design, {"old": 3 * [made["half"]], "new": 3 * [made["whole"]]})))
    same = notes(report(outcome(design, {"old": 3 * [made["half"]], "new": 3 * [made["half"]]})))
    assert not any("computed alike" in note for note in same)


def test_an_interval_that_leaves_the_possible_is_explained() -> None:
    design = study(arm("old"), arm("new", lr=0.3))
    said = "A t interval that leaves 0 to 100 % tells that its seeds are too few, or that they end in two ways: runs.csv."
    assert said in notes(report(outcome(design, {"old": OLD, "new": [0.2, 0.99, 0.98]})))
    assert said not in notes(report(outcome(design, {"old": OLD, "new": NEW})))


def test_why_runs_failed_stands_below_the_table() -> None:
    design = study(arm("old"), arm("new", lr=0.3))
    lost = line("new/1", None, status="failed", message="MemoryError: 12 GiB.", numbers={})
    found = notes(report(outcome(design, {"old": [diverged(key) for key in "abc"], "new": [0.5, lost, 0.6]})))
    assert "old: with a number 0 of 3: 3 diverged." in found
    assert (
        "new: with a number 2 of 3: 1 failed; its mean and interval are of those; failed: MemoryError: 12 GiB."
    ) in found
