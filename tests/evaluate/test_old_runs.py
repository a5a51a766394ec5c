"""Runs that older versions wrote are read for ever: row B7 of the fault matrix.

One folder per release in tests/golden/releases, written by the code of that release and never rewritten.  Each holds
a finished run of ResNet-20 with one channel on ten synthetic images, and in expected.json what its release said of it.
"""

import json
import shutil
from pathlib import Path

import pytest

import convscope
from convscope.cli.train import report
from convscope.evaluate.runs import open_run

RELEASES = sorted((Path(__file__).parents[1] / "golden" / "releases").iterdir())


@pytest.mark.parametrize("folder", RELEASES, ids=[path.name for path in RELEASES])
@pytest.mark.parametrize("weights", ["best", "last"])
def test_a_run_of_every_release_predicts_as_it_did(folder: Path, weights: str) -> None:
    run = open_run(folder / "run")
    expected = json.loads((folder / "expected.json").read_text())[weights]
    answers = convscope.predict(run, "val", weights=weights)  # type: ignore[arg-type]
    assert list(answers.ids) == expected["ids"]
    assert answers.names == tuple(expected["names"])
    for row, wanted in zip(answers.probabilities.tolist(), expected["probabilities"], strict=True):
        assert row == pytest.approx(wanted, abs=1e-5)
    assert run.result is not None
    assert convscope.evaluate(run, weights=weights).correct == expected["correct"]  # type: ignore[arg-type]


@pytest.mark.parametrize("folder", RELEASES, ids=[path.name for path in RELEASES])
def test_a_run_of_every_release_is_found_finished_and_reported(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "run"
    shutil.copytree(folder / "run", root)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    run = convscope.resume(root)
    report(run.root)
    assert run.result is not None
    assert (
        f"accuracy of the final weights: {run.result['final']['accuracy']:.2%} [" in capsys.readouterr().out
    )
    assert {
        path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name != ".lock"
    } == before
