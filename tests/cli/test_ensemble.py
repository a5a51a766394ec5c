"""`convscope ensemble`, and the flags of `evaluate` that use a run in another way."""

import shutil
from pathlib import Path

import pytest

from convscope.evaluate.ensemble import ensemble
from convscope.evaluate.runs import Run


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> list[Path]:
    """The trained run under two names, in a results root of their own."""
    root = tmp_path / "results"
    found = [root / name / "seed-0" for name in ("one", "two")]
    for place in found:
        shutil.copytree(trained, place)
    return found


def test_a_line_for_each_way_and_what_it_says_of_itself(command, runs) -> None:
    code, told, watched = command("ensemble", *runs, "--weights", "last", "--average")
    assert (code, watched) == (0, "")
    found = ensemble([Run(root) for root in runs], weights="last", average=True)
    lines = told.splitlines()
    count = found.uniform.scores.images
    assert lines[0] == f"2 runs on the {count} validation images of synthetic"
    assert " ".join(lines[2].split()) == "member weight passes accuracy 95 % interval loss won lost points"
    names = ["one/seed-0", "two/seed-0", "the mean of probabilities", "the fitted mean, cross-fitted"]
    for name, made, line in zip(names, [*found.members, *found.together], lines[3:], strict=False):
        low, high = made.scores.interval()
        assert line.startswith(name)
        assert f"  {made.scores.accuracy:.2%}  [{low:.2%}, {high:.2%}]" in line
        assert f"  {made.scores.loss:.4f}" in line
    assert lines[3].split()[1:3] == ["0.500", "1"] and len(lines[3].split()) == 7
    # The same network twice: nothing won, nothing lost.
    assert lines[5].split()[-5:-2] == ["0", "0", "+0.00"]
    assert lines[7].startswith("the mean of weights, one network")
    assert lines[9:13] == [
        "Won, lost and points are counted from the best member, one/seed-0, picked on these images.",
        "The weights shown are fitted on all of these images. The fitted figure is not: each half of the images was "
        "scored",
        "with weights fitted on the other half.",
        "The test split was not opened.",
    ]
    claims = [line for line in lines[13:] if "validation split)" in line]
    assert len(claims) == 3 and all(f"n = {count} images, 2 runs" in line for line in claims)
    assert not (runs[0].parent.parent / "test-openings.jsonl").exists()


def test_uniform_shows_no_weights(command, runs) -> None:
    code, told, _ = command("ensemble", *runs, "--how", "uniform")
    assert code == 0 and "fitted" not in told and "weight" not in told


def test_without_runs(command) -> None:
    assert command("ensemble") == (
        2,
        "",
        "convscope: An ensemble needs runs: name the directories of one or more.\n",
    )


def test_views_stand_beside_the_plain_figure(command, trained) -> None:
    code, plain, _ = command("evaluate", trained)
    assert code == 0 and "the same weights" not in plain
    code, told, _ = command("evaluate", trained, "--views", "ten-crop", "--pixels", "1")
    assert code == 0
    *_, last = plain.splitlines()
    for line in plain.splitlines():
        assert line in told.splitlines() or line == last  # the claims' commands are the same, too
    table = told[told.index("the same weights, used as") :].splitlines()
    assert table[0].split()[-8:] == ["accuracy", "95", "%", "interval", "loss", "won", "lost", "points"]
    assert table[1].split()[:2] == ["plain", "1"]
    assert table[2].startswith("ten-crop, mean of 10 views  ") and table[2].split()[5] == "10"
    assert "accuracy of the best weights, ten-crop, mean of 10 views: " in told
    assert ", 10 passes per image, validation split)" in told


def test_batch_norms_and_dropout_that_are_not_there(command, trained) -> None:
    code, told, watched = command("evaluate", trained, "--dropout-samples", "20")
    assert (code, told) == (2, "")
    assert watched.startswith("convscope: This network has no dropout to sample from: ")
    code, told, watched = command("evaluate", trained, "--norm-statistics", "layers")
    assert (code, told) == (2, "")
    assert (
        watched == f"convscope: {trained} has no batch norm, so there are no statistics to estimate again.\n"
    )


def test_pixels_need_views_that_move(command, trained) -> None:
    for views in ([], ["--views", "flip"]):
        assert command("evaluate", trained, *views, "--pixels", "2") == (
            2,
            "",
            "convscope: --pixels says how far --views shift and --views ten-crop move an image: give one of them.\n",
        )
