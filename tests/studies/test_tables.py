"""What a study leaves behind: every file of one small study as golden files, and what differs when runs are repeated."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from made import line, outcome, study

from convscope.studies import tables
from convscope.studies.conduct import Outcome, Trial
from convscope.studies.design import Confused, Curve, Published, arm, equal, factorial, greater
from convscope.studies.journal import Line
from convscope.studies.report import report

LOST = "Step 7 (epoch 0.5): the loss is nan, with |inf| in front."


def small() -> Outcome:
    """Every kind of cell there is: published or not, confused, diverged, failed, missing, tuned, pooled."""
    design = study(
        arm(
            "old",
            published=Published(0.505, "S1.28"),
            confused=Confused(("b-a",), "S4.20"),
            curve=Curve((0.3, 0.5), "S4.10", (0.02, 0.01), best=0.51),
        ),
        arm("new", lr=0.3, published=Published(0.58, "S1.29")),
        arm("wild", lr=3.0),
        arm("tuned", lr=0.1),
        greater("new", "old", "S1.29", by=0.075),
        greater("wild", "old", "S1.30"),
        equal("tuned", "old", "S1.60", within=0.05),
        greater("new", "old", "S1.31", measure="gap"),
        also=("gap",),
    )
    counts = [[60, 4, 0], [9, 60, 0], [1, 0, 66]]
    lost = {"numbers": {}, "provenance": {}}
    values = {
        "old": [
            both(
                x,
                0.1 * seed,
                confusion=counts,
                curve={"epoch": [1.0, 2.0], "val_accuracy": [0.1 * (seed + 2), x]},
            )
            for seed, x in enumerate((0.50, 0.51, 0.52))
        ],
        "new": [both(x, 0.2) for x in (0.57, 0.585, 0.59)],
        "wild": [
            line("wild/0", status="diverged", message=LOST, **lost),
            0.1,
            line("wild/2", status="failed", message="It hung.", **lost),
        ],
        "tuned": [0.5, 0.512, None],
    }
    trials = (Trial("tuned", {"lr": 0.1}, 0.51, True), Trial("tuned", {"lr": 0.2}, None, False))
    return outcome(design, values, trials=trials, mixed=("The torch versions differ: 2.9 then, 2.13 now.",))


def both(accuracy: float, gap: float, **more: Any) -> Line:
    return line("x", numbers={"final_accuracy": accuracy, "gap": gap}, **more)


def test_the_page(golden: Callable[[str, str], None]) -> None:
    golden("study.md", tables.markdown(report(small()), "convscope study tiny", ["intervals.png"]))


def test_the_table(golden: Callable[[str, str], None], tmp_path: Path) -> None:
    tables.write(report(small()), tmp_path, "convscope study tiny")
    golden("study-table.csv", (tmp_path / "table.csv").read_text())
    golden("study-runs.csv", (tmp_path / "runs.csv").read_text())
    golden("study-provenance.csv", (tmp_path / "provenance.csv").read_text())


def test_the_page_of_a_factorial(golden: Callable[[str, str], None]) -> None:
    design = study(*factorial({"a": {"0": {}, "1": {"lr": 0.3}}, "b": {"0": {}, "1": {"epochs": 2}}}))
    values = {
        "a 0, b 0": [0.1, 0.12, 0.1],
        "a 1, b 0": [0.2, 0.2, 0.21],
        "a 0, b 1": [0.3, 0.31, 0.32],
        "a 1, b 1": [0.3, 0.33, 0.3],
    }
    golden("study-factorial.md", tables.markdown(report(outcome(design, values)), "convscope study tiny"))


def test_json_holds_every_number_to_the_last_digit(tmp_path: Path) -> None:
    found = small()
    tables.write(report(found), tmp_path, "convscope study tiny")
    told = json.loads((tmp_path / "study.json").read_text())
    assert [run["numbers"].get("final_accuracy") for run in told["runs"][:3]] == [0.50, 0.51, 0.52]
    assert told["comparisons"][0]["judgement"]["verdict"] == report(found).comparisons[0].judgement.verdict
    rows = list(csv.DictReader(io.StringIO((tmp_path / "runs.csv").read_text())))
    assert [float(row["final_accuracy"]) for row in rows[3:6]] == [0.57, 0.585, 0.59]
    assert rows[6]["message"] == LOST


def test_only_provenance_knows_when_where_and_how_long(tmp_path: Path) -> None:
    """The same runs, repeated elsewhere at another time: every file but one is the same, byte for byte."""
    later = {
        "seconds": 99.0,
        "steps": 100,
        "commit": "ffff",
        "device": "cuda",
        "processor": "q",
        "threads": 1,
        "ended": "later",
    }
    again = small()
    again = replace(
        again,
        cells=tuple(
            replace(cell, line=cell.line and replace(cell.line, provenance=later)) for cell in again.cells
        ),
    )
    for folder, found in ((tmp_path / "a", small()), (tmp_path / "b", again)):
        tables.write(report(found), folder, "convscope study tiny")
    same = {
        path.name: path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
        for path in (tmp_path / "a").iterdir()
    }
    assert same == {
        "table.csv": True, "runs.csv": True, "study.json": True,
        "provenance.csv": False, "study.md": False,  # people want to see the seconds
    }  # fmt: skip


def test_a_table_in_a_terminal_is_aligned() -> None:
    table = tables.Table(("arm", "mean"), (("a", "1.00 %"), ("longer", "22.00 %")))
    assert table.text() == ["arm        mean", "a        1.00 %", "longer  22.00 %"]
    mixed = tables.Table(("a|b", "said", "p"), (("x", "yes: 3", "< 0.0001"), ("y", "", "[1, 2]")))
    assert mixed.markdown()[:2] == ["| a\\|b | said | p |", "| --- | --- | ---: |"]


def test_prose_fits_a_terminal_and_is_one_line_elsewhere() -> None:
    """Tables keep their columns: a table that is cut is no table."""
    told = report(small())
    narrow, whole = tables.text(told, width=60), tables.text(told)
    assert "\n".join(line for line in narrow.splitlines() if len(line) > 60) == "\n".join(
        line
        for table in (tables.arms(told), tables.pairs(told), tables.curves(told))
        for line in table.text()
        if len(line) > 60
    )
    assert "tuned = old within 0.05: no verdict from 2 seeds (3 are\n  needed): +0.10 points" in narrow
    assert narrow.split() == whole.split()


def test_the_origin_adds_up_machines_commits_and_hours() -> None:
    """Three runs of 1,200 s are an hour; one of them elsewhere, from another commit, changed since; one ended nowhere.

    Two convolutions of the one elsewhere computed in bfloat16.
    """
    here = {"processor": "A", "device": "cpu", "threads": 1, "commit": "1234567890abcdef", "seconds": 1200.0}
    there = {**here, "processor": "B", "threads": 2, "commit": "fedcba0987654321+dirty"}
    lines = [line("x", 0.5, provenance=found) for found in (here, there, here, {})]
    lines[0] = replace(lines[0], environment={"dtypes": {"conv": "float32"}})
    lines[1] = replace(lines[1], environment={"dtypes": {"a": "bfloat16", "b": "bfloat16", "fc": "float32"}})
    lines[2] = replace(lines[2], environment=lines[0].environment)
    assert tables.origin(lines) == (
        "2 runs on A, cpu, 1 thread each, float32; 1 run on B, cpu, 2 threads each, bfloat16 in 2 of 3 layers; "
        "commits 1234567890, fedcba0987+dirty; 1.00 hours of training in all. Validation split."
    )
    assert tables.origin([]) == ""
