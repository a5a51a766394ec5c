"""The search: the same trials for the same seed, killed or not; pruned, diverged, best; and the test split shut."""

import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_study
import torch

from convscope.compute import environment
from convscope.core import config as configs
from convscope.core import files, records
from convscope.core.errors import ConfigError, DamagedFile, UsageError
from convscope.data.images import Sealed
from convscope.studies import conduct, proposals, space, tune
from convscope.studies.proposals import Proposals
from convscope.studies.space import Choices, Range
from convscope.studies.tune import Found, Search, Trial
from convscope.train.events import Event, Validated

import tiny  # isort: skip

SPACE = (Range("lr", 0.003, 0.3, log=True), Choices("batch_size", (16, 32)))
SEARCH = Search(
    {
        "model": {"name": "lenet5", "norm": "batch"},
        "data": {"source": "synthetic", "options": {"images": 60, "size": 16, "classes": 3, "noise": 0.1}},
        "recipe": {"epochs": 3, "augment": "none"},
    },
    SPACE,
)


@pytest.fixture(autouse=True)
def shut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is done here, nobody opens a test split."""

    def opened(self: Sealed, record: object) -> None:
        raise AssertionError("a test split was opened")

    monkeypatch.setattr(Sealed, "open", opened)


@contextmanager
def checkpointed() -> Iterator[None]:
    """With a checkpoint at every step, so that a resume is seen; and cheap."""
    original = Search.config

    def config(self: Search, *given: Any) -> Any:
        found = original(self, *given)
        compute = {"checkpoint_every": "1 steps", "precision": "float32", "device": "cpu"}
        return found.model_copy(update={"compute": found.compute.model_copy(update=compute)})

    Search.config = config  # type: ignore[method-assign]
    try:
        with tiny.cheap():
            yield
    finally:
        Search.config = original  # type: ignore[method-assign]


def go(folder: Path, trials: int = 3, search: Search = SEARCH, **options: Any) -> Found:
    with checkpointed():
        return tune.carry_out(search, folder / "tune", tiny_study.place(folder), trials, **options)


def table(folder: Path) -> str:
    return (folder / "tune" / "trials.csv").read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of three trials that nothing disturbed, with hopeless ones ended after the first two that finished."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proposals, "STARTUP", 2)
        go(folder)
    return folder


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "STARTUP", 2)


def at_validation(trial: int, number: int) -> Callable[[int, Event], None]:
    """Die when a trial was validated so many times."""
    seen: list[Event] = []

    def watch(current: int, event: Event) -> None:
        if current == trial and isinstance(event, Validated):
            seen.append(event)
            if len(seen) == number:
                raise KeyboardInterrupt

    return watch


def test_killed_in_a_trial_and_resumed_the_table_is_the_same(
    whole: Path, tmp_path: Path, strict: None
) -> None:
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, watch=at_validation(2, 2))
    assert len(table(tmp_path).splitlines()) == 3
    told: list[int] = []
    go(tmp_path, told=lambda trial: told.append(trial.number))
    assert table(tmp_path) == table(whole)
    assert told == [2], "what had ended was made again"
    assert reports(tmp_path) == reports(whole)


def reports(folder: Path) -> list[dict[int, float]]:
    """What each trial that ended reported before it did."""
    opened = Proposals(folder / "tune" / tune.JOURNAL, SPACE, higher=True, judged=True, seed=0)
    return [trial.intermediate_values for trial in opened._study.trials if trial.state.name != "FAIL"]


def test_killed_between_a_run_and_its_record_the_table_is_the_same(
    whole: Path, tmp_path: Path, strict: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Proposals.tell

    def tell(self: Proposals, proposal: Any, told: Any, value: Any) -> None:
        if told["number"] == 2:
            raise KeyboardInterrupt
        original(self, proposal, told, value)

    monkeypatch.setattr(Proposals, "tell", tell)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path)
    monkeypatch.setattr(Proposals, "tell", original)
    go(tmp_path)
    assert table(tmp_path) == table(whole)


def test_the_table_by_its_columns(whole: Path) -> None:
    head, *rows = (line.split(",") for line in table(whole).splitlines())
    assert head == ["trial", "status", "lr", "batch_size", "final_accuracy", "epoch", "val_accuracy"]
    assert [row[0] for row in rows] == ["0", "1", "2"]
    for row in rows:
        assert (
            row[1] == "finished" and row[5] == "3.0" and row[4] == row[6] or row[1] == "pruned" and not row[4]
        )


def test_what_there_is_counts_and_the_best_is_a_file_to_train(whole: Path) -> None:
    told: list[Trial] = []
    found = go(whole, 2, told=told.append)
    assert told == [] and len(found.trials) == 3
    assert found.best is not None
    config = configs.read_toml(whole / "tune" / "best.toml")
    assert config.recipe.lr == found.best.changes["lr"]
    assert config.recipe.batch_size == found.best.changes["batch_size"]
    assert config.recipe.epochs == 3 and config.seed == 0


HOPELESS = replace(SEARCH, space=(Choices("lr", (0.1, 1e-9)),))


def test_a_hopeless_trial_is_ended_early_and_leaves_nothing_locked(tmp_path: Path, strict: None) -> None:
    threads, handler = torch.get_num_threads(), signal.getsignal(signal.SIGINT)
    found = go(tmp_path, 6, HOPELESS)
    pruned = [trial for trial in found.trials if trial.status == "pruned"]
    assert pruned and {trial.changes["lr"] for trial in pruned} == {1e-9}
    assert all(trial.value is None and trial.epoch == 2 for trial in pruned)
    assert f"{pruned[0].number},pruned,1e-09,,2.0,{pruned[0].accuracy}\n" in table(tmp_path)
    assert found.best is not None and found.best.changes["lr"] == 0.1
    assert (torch.get_num_threads(), signal.getsignal(signal.SIGINT)) == (threads, handler)
    (root,) = (path.parent for path in (tmp_path / "runs").glob("*/*/config.toml") if not ended(path.parent))
    with files.held(root):
        pass


def ended(root: Path) -> bool:
    return (root / "result.json").exists()


def test_a_diverged_trial_is_told_and_is_never_the_best(tmp_path: Path) -> None:
    # The smallest loss is the best, so that one without a number must not count as zero.
    found = go(tmp_path, 4, replace(SEARCH, space=(Choices("lr", (0.1, 1e30)),), measure="final_loss"))
    diverged = [trial for trial in found.trials if trial.changes["lr"] == 1e30]
    assert diverged and {trial.status for trial in diverged} == {"diverged"}
    assert all(trial.value is None and "--lr" in trial.message for trial in diverged)
    assert found.best is not None and found.best.changes["lr"] == 0.1
    assert ",diverged,1e+30,," in table(tmp_path)


def test_a_run_that_fails_is_a_row_and_the_search_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: object) -> None:
        raise RuntimeError("shapes\ndo not fit")

    monkeypatch.setattr(tune.training, "in_directory", fails)
    found = go(tmp_path, 2)
    assert [(trial.status, trial.message) for trial in found.trials] == [
        ("failed", "RuntimeError: shapes do not fit")
    ] * 2
    assert found.best is None
    assert not (tmp_path / "tune" / "best.toml").exists()
    opened = Proposals(tmp_path / "tune" / tune.JOURNAL, SPACE, higher=True, judged=True, seed=0)
    assert [trial.state.name for trial in opened._study.trials] == ["FAIL"] * 2
    assert go(tmp_path, 2).trials == found.trials


def trial(number: int, value: float | None, **changes: Any) -> Trial:
    return Trial(number, changes, "pruned" if value is None else "finished", value)


@pytest.mark.parametrize(("measure", "wanted"), [("final_accuracy", 1), ("final_loss", 3), ("gap", 3)])
def test_the_best_is_the_first_of_the_best_in_the_measures_own_direction(measure: str, wanted: int) -> None:
    trials = (trial(0, None), trial(1, 0.9), trial(2, 0.9), trial(3, 0.2), trial(4, 0.5))
    found = Found(replace(SEARCH, measure=measure), trials, {})
    assert found.best is not None and found.best.number == wanted


def test_the_comparison_has_seeds_that_no_trial_had(tmp_path: Path) -> None:
    found = Found(SEARCH, (trial(0, 0.5, lr=0.01), trial(1, 0.7, lr=0.05, batch_size=16)), {})
    study = tune.comparison(found, 1)
    assert study is not None
    with tiny.cheap():
        outcome = conduct.conduct(study, tmp_path / "tune", tiny_study.place(tmp_path))
    seeds = {cell.seed for cell in outcome.cells}
    assert seeds == {0} and SEARCH.run_seed not in seeds and replace(SEARCH, seed=1).run_seed not in seeds
    assert all(cell.line is not None and cell.line.status == "finished" for cell in outcome.cells)
    assert [study.config(arm, 0).recipe.lr for arm in study.arms] == [0.02, 0.05]
    assert str(study.comparisons[0]) == "tuned > default"
    assert not list(tmp_path.rglob(records.OPENINGS))


def test_all_trials_have_one_seed_of_their_own(whole: Path) -> None:
    assert {path.name for path in (whole / "runs").glob("*/seed-*")} == {"seed-1000000"}
    assert not list(whole.rglob(records.OPENINGS))


def test_where_less_is_better_the_comparison_says_so() -> None:
    study = tune.comparison(Found(replace(SEARCH, measure="final_loss"), (trial(0, 0.2, lr=0.01),), {}), 3)
    assert study is not None and str(study.comparisons[0]) == "tuned < default"
    assert study.expectation == "Yes, but by less than in the search, where it was picked for its 0.2."
    study = tune.comparison(Found(SEARCH, (trial(0, 0.91, lr=0.01),), {}), 3)
    assert study is not None and study.expectation.endswith("it was picked for its 91.00 %.")


def test_a_best_trial_that_is_the_default_is_compared_with_nothing() -> None:
    assert tune.comparison(Found(SEARCH, (trial(0, 0.2, lr=0.02),), {}), 3) is None
    assert tune.comparison(Found(SEARCH, (trial(0, None, lr=0.2),), {}), 3) is None


OPTIONS = "It is a field of the recipe (`convscope list options`), model, model.OPTION, data, or data.FIELD."


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"space": space.read(["lrr=0.1..1"])},
            f"--space: 'lrr' is nothing that an arm can change. Did you mean 'lr'? {OPTIONS}",
        ),
        (
            {"space": space.read(["lr=-1..1"])},
            "--space: recipe.lr cannot be -1: Input should be greater than 0.",
        ),
        (
            {"space": space.read(["batch_size=16,x"])},
            "--space: recipe.batch_size cannot be 'x': Input should be a valid integer, unable to parse string as an "
            "integer.",
        ),
        (
            {"space": space.read(["schedule=constant,cosin"])},
            "No schedule is called 'cosin'. Did you mean 'cosine'?",
        ),
        ({"space": space.read(["model.nrom=none,batch"])}, "The model 'lenet5' has no option 'nrom'."),
        (
            {"measure": "test_accuracy"},
            "'test_accuracy' cannot be a measure: a study chooses, and whoever chooses must not see test images.",
        ),
        (
            {"measure": "weights/total_l2"},
            "More of 'weights/total_l2' is neither better nor worse, so nothing can be chosen by it.",
        ),
        (
            {"base": {**SEARCH.base, "data": {"source": "digits", "refit": True}}},
            "tune: Runs are judged on one set of validation images, and data.refit trains on them.",
        ),
        (
            {"base": {**SEARCH.base, "data": {"source": "digits", "folds": 5}}},
            "tune: Runs are judged on one set of validation images, and data.folds without data.fold takes each part in "
            "turn.",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_runs(
    tmp_path: Path, changes: Mapping[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError) as refused:
        go(tmp_path, 4, replace(SEARCH, **changes))
    # What the catalog knows is listed behind some of these; its own tests have the lists.
    assert str(refused.value).startswith(sentence)
    assert list(tmp_path.iterdir()) == []


def test_another_search_in_the_same_folder_is_refused(whole: Path) -> None:
    with pytest.raises(UsageError) as refused:
        go(whole, 4, replace(SEARCH, seed=1))
    assert str(refused.value) == (
        f"{whole / 'tune'} holds another search: its seed differs. Give this one another --name, or none."
    )


def test_trials_made_under_other_conditions_are_not_pooled(
    whole: Path,
) -> None:
    path = whole / "tune" / "search.json"
    before = records.read_json(path)
    changed = {**before["environment"], "data": "0" * 64, "optuna": "4.5.0"}
    records.write_json(path, {**before, "environment": changed})
    try:
        with pytest.raises(UsageError) as refused:
            go(whole)
        now, version = before["environment"]["data"], before["environment"]["optuna"]
        assert str(refused.value) == (
            f"The trials in {whole / 'tune'} were made under other conditions. The data differ: {'0' * 64} then, {now} "
            f"now. The Optuna version differs: 4.5.0 then, {version} now. Begin another search with another --root, or go "
            f"on with --allow-mixed."
        )
        assert len(go(whole, allow_mixed=True).trials) == 3
    finally:
        records.write_json(path, before)


def test_trials_of_a_network_that_has_been_changed_since_are_not_pooled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in one table, nor does a run of the network as it was answer for the new one."""
    monkeypatch.setattr(tune, "own_code", lambda items: {"models/mine": "1"})
    go(tmp_path, 1)
    assert len(list(tmp_path.glob("runs/*-own-*/seed-*"))) == 1
    monkeypatch.setattr(tune, "own_code", lambda items: {"models/mine": "2"})
    with pytest.raises(
        UsageError, match=r"other conditions\. The code of models/mine differs\. Begin another"
    ):
        go(tmp_path, 2)
    go(tmp_path, 2, allow_mixed=True)
    assert len(list(tmp_path.glob("runs/*-own-*/seed-*"))) == 2


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("search.json", "{}", "{path} tells of no search."),
        (
            "optuna.log",
            '{"op_code": 0\n{"op_code": 1}\n',
            "{path} is damaged: Expecting ',' delimiter: line 2 column 1",
        ),
    ],
)
def test_a_damaged_search_is_refused_in_a_sentence(
    whole: Path, tmp_path: Path, name: str, content: str, sentence: str
) -> None:
    shutil.copytree(whole / "tune", tmp_path / "tune")
    path = tmp_path / "tune" / name
    path.write_text(content)
    with pytest.raises(DamagedFile) as refused:
        go(tmp_path)
    said = str(refused.value)
    assert said.startswith(sentence.format(path=path))
    assert said.endswith(f"Remove {path.parent}: runs that ended are found again.")


def test_a_trial_of_another_version_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DamagedFile) as refused:
        tune._known({"number": 0, "changes": {}, "status": "finished", "colour": "red"}, tmp_path)
    assert str(refused.value) == (
        f"{tmp_path / 'optuna.log'} holds a trial that this version does not know: got an unexpected keyword argument "
        f"'colour'. Remove {tmp_path}: runs that ended are found again."
    )


def test_runs_of_another_search_are_taken_over_only_if_they_were_made_as_these_would_be(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole / "runs", tmp_path / "runs")
    now = {**environment.surroundings(1), "code": "1" * 64}
    monkeypatch.setattr(environment, "surroundings", lambda *given: now)
    with pytest.raises(UsageError) as refused:
        go(tmp_path)
    said = str(refused.value)
    assert said.startswith(f"The run of a trial, {tmp_path / 'runs' / 'lenet5-synthetic-'}")
    assert said.endswith(
        f", was made under other conditions. The code that decides numbers differs: {'0' * 40} then, {'1' * 64} now. "
        f"Begin another search with another --root, or go on with --allow-mixed."
    )


def test_another_search_has_another_name() -> None:
    assert SEARCH.name.startswith("lenet5-synthetic-")
    others = [
        replace(SEARCH, seed=1),
        replace(SEARCH, space=SPACE[:1]),
        replace(SEARCH, measure="final_loss"),
    ]
    assert len({SEARCH.name, *(other.name for other in others)}) == 4


def test_what_is_set_for_all_is_checked() -> None:
    assert tune.based(SEARCH.base, {"epochs": 7, "model.norm": "batch"})["recipe"]["epochs"] == 7
    with pytest.raises(ConfigError) as refused:
        tune.based(SEARCH.base, {"epoch": 7})
    assert (
        str(refused.value)
        == f"--set: 'epoch' is nothing that an arm can change. Did you mean 'epochs'? {OPTIONS}"
    )
