"""Proposals: a search that is killed anywhere makes the same trials; what is hopeless by the median, by hand."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from convscope.core.errors import MissingExtra
from convscope.studies import proposals
from convscope.studies.proposals import Proposals
from convscope.studies.space import Choices, Range

AXES = (Range("lr", 0.001, 1.0, log=True), Range("depth", 1, 9), Choices("norm", ("none", "batch")))


def opened(folder: Path, seed: int = 0, *, higher: bool = True) -> Proposals:
    folder.mkdir(exist_ok=True)
    return Proposals(folder / "log", AXES, higher=higher, judged=True, seed=seed)


def searched(folder: Path, trials: int, die: Callable[[int], bool] = lambda number: False) -> list[object]:
    """Trials whose value is a formula; one in seven has none. It may die while a trial is under way."""
    search = opened(folder)
    while (number := len(search.ended())) < trials:
        proposal = search.ask(number)
        if die(number):
            return []
        one = proposal.changes
        value = None if number % 7 == 3 else -abs(one["lr"] - 0.05) - 0.01 * one["depth"]
        search.tell(proposal, {"number": number, **one, "value": value}, value)
    return search.ended()


def test_killed_anywhere_the_trials_are_the_same(tmp_path: Path) -> None:
    # Ten trials are drawn at random; from then on each depends on all before.
    whole = searched(tmp_path / "whole", 16)
    assert [record["number"] for record in whole] == list(range(16))  # type: ignore[index]
    for at in (0, 1, 11, 15):
        searched(tmp_path / "killed", 16, lambda number, at=at: number == at)  # type: ignore[misc]
    assert searched(tmp_path / "killed", 16) == whole
    states = [trial.state.name for trial in opened(tmp_path / "killed")._study.trials]
    assert states.count("FAIL") == 4 and "RUNNING" not in states, "what was left behind"


def test_it_learns_from_the_trials_before(tmp_path: Path) -> None:
    searched(tmp_path / "before", 16)
    assert opened(tmp_path / "before").ask(16).changes != opened(tmp_path / "none").ask(16).changes


def test_another_seed_or_number_proposes_other_values(tmp_path: Path) -> None:
    assert opened(tmp_path / "d").ask(0).changes != opened(tmp_path / "e").ask(1).changes
    assert opened(tmp_path / "a").ask(0).changes == opened(tmp_path / "b").ask(0).changes
    assert opened(tmp_path / "a").ask(0).changes != opened(tmp_path / "c", seed=1).ask(0).changes


@pytest.fixture
def judging(tmp_path: Path) -> Iterator[Callable[[bool], Proposals]]:
    """Five trials that finished, which reported n, n + 1, n + 2, with n = 0 ... 4."""

    def make(higher: bool) -> Proposals:
        search = opened(tmp_path, higher=higher)
        for number in range(5):
            proposal = search.ask(number)
            assert not any(proposal.is_hopeless(float(number + step)) for step in range(3))
            search.tell(proposal, {}, float(number + 2))
        return search

    yield make


@pytest.mark.parametrize(
    ("higher", "reports", "wanted"),
    [
        (True, [0.0, 2.9], [False, True]),  # the medians are 2, 3, 4; the first says too little
        (True, [0.0, 3.0, 3.9], [False, False, True]),
        (True, [5.0, 0.0, 0.0], [False, False, False]),  # its best so far counts
        (False, [9.0, 3.1], [False, True]),
        (False, [9.0, 3.0, 4.0], [False, False, False]),
    ],
)
def test_what_is_worse_than_the_median_is_hopeless(
    judging: Callable[[bool], Proposals], higher: bool, reports: list[float], wanted: list[bool]
) -> None:
    proposal = judging(higher).ask(5)
    assert [proposal.is_hopeless(value) for value in reports] == wanted


def test_at_the_last_validation_nothing_is_given_up(judging: Callable[[bool], Proposals]) -> None:
    proposal = judging(True).ask(5)
    proposal.is_hopeless(0.0)
    assert not proposal.is_hopeless(0.0, last=True)


def test_a_line_that_a_crash_left_unfinished_is_cut_off(tmp_path: Path) -> None:
    whole = searched(tmp_path, 3)
    log = tmp_path / "log"
    with log.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"x","stu')
    assert opened(tmp_path).ended() == whole
    assert len(searched(tmp_path, 5)) == 5
    assert len(opened(tmp_path).ended()) == 5


def test_the_key_that_decides_is_the_important_one(tmp_path: Path) -> None:
    search = opened(tmp_path)
    for number in range(proposals.ENOUGH):
        assert search.importance() == {}
        proposal = search.ask(number)
        search.tell(proposal, {}, float(proposal.changes["norm"] == "batch"))
    shares = search.importance()
    assert list(shares)[0] == "norm" and shares["norm"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)


def test_where_all_are_alike_no_key_is_important(tmp_path: Path) -> None:
    search = opened(tmp_path)
    for number in range(proposals.ENOUGH):
        search.tell(search.ask(number), {}, 0.5)
    assert search.importance() == {}


def test_without_optuna_the_install_line_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra) as refused:
        opened(tmp_path)
    assert str(refused.value) == 'convscope tune needs one more package: pip install "convscope[tune]"'
