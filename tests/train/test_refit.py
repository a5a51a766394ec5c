"""A last run on training and validation images: nothing is held out, so nothing is chosen and nothing is claimed."""

from pathlib import Path

import pytest
import tiny

from convscope.cli import main as cli
from convscope.core.errors import ConfigError
from convscope.evaluate.scoring import evaluate
from convscope.evaluate.sealed import open_test

SOURCE = {"source": "synthetic", "options": {"images": 300, "size": 28, "noise": 0.4}}


@pytest.mark.usefixtures("cheap")
def test_a_refit_run_learns_from_all_and_ends_with_its_last_weights(tmp_path: Path) -> None:
    held, refit = (
        tiny.go(tmp_path, data={**SOURCE, "refit": refit}, epochs=1, validate_every="1 epoch")
        for refit in (False, True)
    )
    assert held.root != refit.root
    data = refit.data()
    assert len(data.val) == 0 and len(data.train) == len(held.data().train) + len(held.data().val)
    assert refit.result is not None
    assert "final" not in refit.result and "best" not in refit.result
    assert refit.result["diagnosis"][0].endswith(
        "% on training images; nothing was held out to compare with."
    )
    assert [sorted(record) for record in refit.metrics] == [
        ["epoch", "lr", "seconds", "step", "train_accuracy", "train_loss"]
    ]
    assert refit.chosen("best") == "last" and refit.snapshot("best").step == refit.result["steps"]
    scores, openings = open_test(refit, data)
    assert scores.images == len(data.test) and openings == 1
    assert refit.openings[0]["purpose"] == "score of the last weights"
    with pytest.raises(ConfigError) as error:
        evaluate(refit)
    assert str(error.value) == (
        f"{refit.root} holds no validation images out: it was trained on them too (--refit). Its training images "
        f"can be scored with --split train, and its test images once with `convscope test`."
    )


@pytest.mark.usefixtures("cheap")
def test_it_is_killed_and_ends_the_same(tmp_path: Path) -> None:
    data = {**SOURCE, "refit": True}
    tiny.go(tmp_path / "whole", data=data)
    with pytest.raises(tiny.Crash), tiny.traced(tiny.crash_after(17)):
        tiny.go(tmp_path / "killed", data=data)
    tiny.go(tmp_path / "killed", data=data)
    assert tiny.digest(tmp_path / "killed") == tiny.digest(tmp_path / "whole")


def test_the_command_says_that_nothing_was_held_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.main(
        ["train", "lenet5", "digits", "--epochs", "0.2", "--refit", "--root", str(tmp_path), "--threads", "1"]
    )
    out = capsys.readouterr().out
    assert code == 0
    assert "validation" not in out and "nothing was held out to compare with" in out
    assert "The test split is sealed. Open it once, when all is decided: convscope test " in out


@pytest.mark.parametrize(
    ("key", "value", "flag"), [("early_stop", 2.0, "--early-stop"), ("select", "loss", "--select")]
)
def test_nothing_is_chosen_where_nothing_is_held_out(
    tmp_path: Path, key: str, value: object, flag: str
) -> None:
    with pytest.raises(ConfigError) as error:
        tiny.go(tmp_path, data={**SOURCE, "refit": True}, **{key: value})
    assert str(error.value) == (
        f"{flag} chooses by validation images, and --refit trains on them too. Leave one of the two out; to end a refit "
        f"early, give the epochs that were chosen before: --epochs."
    )
