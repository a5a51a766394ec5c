"""Runs that older versions wrote are read for ever: row B7 of the fault matrix.

One folder per release in tests/golden/releases, never rewritten.  Each holds a finished run of ResNet-20 with one
channel on ten synthetic images, and in expected.json what its release said about it.
"""

import json
from pathlib import Path

import pytest

import convscope
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
