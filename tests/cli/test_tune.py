"""`convscope tune`: what a search prints, of trials made by hand and of a tiny one, and what it refuses."""

import sys
from pathlib import Path
from typing import Any

import pytest

from convscope.cli import tune
from convscope.core import records
from convscope.studies.space import Choices, Range
from convscope.studies.tune import Found, Search, Trial

SEARCH = Search(
    {"model": {"name": "lenet5"}, "data": {"source": "digits"}, "recipe": {"epochs": 3}},
    (Range("lr", 0.001, 1.0, log=True), Choices("model.norm", ("none", "batch"))),
)


def trial(number: int, status: Any = "finished", value: float | None = None, **more: Any) -> Trial:
    return Trial(number, {"lr": 0.05, "model.norm": "batch"}, status, value, **more)


TRIALS = (
    trial(0, value=0.9125, seconds=2.34),
    trial(1, "pruned", epoch=2.0, accuracy=0.1028, seconds=1.0),
    trial(2, "diverged", message="Step 3: the loss is inf.", seconds=0.2),
    trial(3, value=0.93, seconds=75.0),
)


@pytest.mark.parametrize(
    ("one", "wanted"),
    [
        (TRIALS[0], "   0  lr=0.05 model.norm=batch  final_accuracy 91.25 %  (2.3 s)"),
        (TRIALS[1], "   1  lr=0.05 model.norm=batch  pruned at epoch 2 with 10.28% on validation  (1.0 s)"),
        (TRIALS[2], "   2  lr=0.05 model.norm=batch  diverged: Step 3: the loss is inf.  (0.2 s)"),
        (TRIALS[3], "   3  lr=0.05 model.norm=batch  final_accuracy 93.00 %  (1 min 15 s)"),
    ],
)
def test_a_trial_in_a_line(one: Trial, wanted: str) -> None:
    assert tune.trial_line(one, SEARCH) == wanted


def test_what_was_found_in_words() -> None:
    best = "trial 3, lr=0.05 model.norm=batch, final_accuracy 93.00 %"
    first = f"best of 4 (2 finished, 1 pruned, 1 diverged): {best}"
    assert tune.conclusion(Found(SEARCH, TRIALS, {})) == first
    shares = {"model.norm": 0.8, "lr": 0.2}
    assert tune.conclusion(Found(SEARCH, TRIALS, shares)) == (
        f"{first}\nof what the keys explain alone among the finished trials (fANOVA): model.norm 80%, lr 20%"
    )


def test_what_is_about_to_be_searched_in_words() -> None:
    assert tune.heading(SEARCH, 20) == (
        "lenet5 on digits: 20 trials over lr=0.001..1.0:log, model.norm=none,batch\n"
        "Best is the highest final_accuracy: accuracy on the validation images after the last step.\n"
    )


def test_what_to_do_next_in_words() -> None:
    assert tune.farewell(Path("runs/tune/a/best.toml"), Path("runs")) == (
        "All this was seen on the validation images by which the search chose. When everything is decided, open the "
        "sealed test split once:\n  convscope train runs/tune/a/best.toml\n  convscope test RUN"
    )
    assert "train x/best.toml --root x\n" in tune.farewell(Path("x/best.toml"), Path("x"))


@pytest.fixture
def sourced(tmp_path: Path) -> Path:
    """A configuration of a run that takes no time."""
    path = tmp_path / "tiny.toml"
    path.write_text(
        '[model]\nname = "lenet5"\n[data]\nsource = "synthetic"\n'
        "[data.options]\nimages = 60\nsize = 16\nclasses = 3\n[recipe]\nepochs = 1\nbatch_size = 16\n"
    )
    return path


def test_a_search_its_comparison_and_its_folder(command, tmp_path: Path, sourced: Path) -> None:
    root = tmp_path / "runs"
    words = [
        "tune",
        sourced,
        "--space",
        "lr=0.001..0.1:log",
        "--trials",
        "2",
        "--seeds",
        "1",
        "--name",
        "mine",
    ]
    code, told, complained = command(*words, "--root", root)
    assert code == 0
    lines = told.splitlines()
    assert lines[0] == "lenet5 on synthetic: 2 trials over lr=0.001..0.1:log"
    assert lines[3].startswith("   0  lr=") and lines[4].startswith("   1  lr=")
    assert lines[6].startswith("best of 2 (2 finished): trial ")
    assert "Now both over 1 seed that no trial had:" in told
    assert "trial 1  epoch   1.00" in complained and "tuned, seed 0: " in complained
    folder = root / "tune" / "mine"
    assert f"in {folder}: trials.csv, best.toml\n" in told
    assert {path.name for path in (folder / "comparison").iterdir()} >= {
        "table.csv",
        "study.md",
        "intervals.png",
    }
    assert not list(root.rglob(records.OPENINGS))

    # The best is trained: its run is seed 0 of the comparison.
    code, told, _ = command("train", folder / "best.toml", "--root", root)
    assert code == 0 and "validation split" in told

    # And again: nothing is left to be done.
    code, told, complained = command(*words, "--root", root)
    assert code == 0 and "   0  lr=" not in told and "best of 2" in told and complained == ""


def test_where_nothing_finished_that_is_an_error(command, tmp_path: Path, sourced: Path) -> None:
    words = ["tune", sourced, "--space", "lr=1e30,1e31", "--trials", "1", "--root", tmp_path / "runs"]
    code, told, complained = command(*words)
    assert code == 1
    assert "   0  lr=1e+3" in told and "diverged: Step " in told
    assert complained.endswith(
        "convscope: No trial finished of 1, so none is the best: 1 diverged. Search another range.\n"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["a", "b", "c"], "tune takes a model and a data set, or one file; 3 names were given: a, b, c."),
        (["lenet5", "digits", "--space", "lr=1..0.1"],
         "--space lr: the range 1..0.1 is empty: the lower end stands first."),
        (["lenet5", "digits", "--set", "epochs"], "--set takes KEY=VALUE, e.g. --set epochs=2, not 'epochs'."),
        (["lenet5", "digits", "--model.norm", "batch"],
         "There is no flag --model.norm here. For all runs: --set model.norm=batch; to search it: --space "
         "model.norm=A,B."),
        (["lenet5", "digits", "--trials", "0"], "--trials cannot be '0': Input should be greater than or equal to 1."),
        (["lenet5", "digits", "--trails", "9"],
         "There is no flag --trails. Did you mean '--trials'? `convscope tune --help` lists all."),
        (["lenet5", "digits", "--address", "localhost:6379"],
         "--address belongs to --executor ray, not to serial."),
        (["lenet5", "digits", "--name", "../elsewhere"],
         r"--name cannot be '../elsewhere': String should match pattern '^(\w[\w.@-]*)?$'."),
    ],
)  # fmt: skip
def test_what_is_refused(command, tmp_path: Path, words: list[str], sentence: str) -> None:
    code, told, complained = command("tune", *words, "--root", tmp_path / "runs")
    assert (code, told, complained) == (2, "", f"convscope: {sentence}\n")
    assert not (tmp_path / "runs").exists()


def test_without_optuna_the_install_line_is_told(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, told, complained = command("tune", "lenet5", "digits")
    assert (code, told) == (2, "")
    assert complained == 'convscope: convscope tune needs one more package: pip install "convscope[tune]"\n'


def test_without_a_space_rate_and_decay_are_searched_and_what_is_set_holds() -> None:
    search = tune.asked(["lenet5", "digits"], tune.Flags(set=("lr=0.3", "model.norm=batch")))
    assert list(map(str, search.space)) == ["lr=0.01..9.0:log", "weight_decay=1e-05..0.01:log"]
    assert search.config({}, 0).model.options["norm"] == "batch"
