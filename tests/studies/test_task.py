"""Whatever happens to a run, it gives a line: row E2."""

import hashlib
import linecache
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tiny_study

from convscope.core import catalog, files
from convscope.core.config import Choice
from convscope.core.errors import Interrupted, NoMemory
from convscope.core.records import RunPaths
from convscope.studies import task as tasks
from convscope.studies.design import arm
from convscope.studies.task import Task, perform, users_own
from convscope.train import run as training

PAIR = (arm("plain"), arm("adam", optimizer="adam", lr=0.003))


@pytest.fixture
def plain(tmp_path: Path) -> Task:
    return tiny_study.tasks(tmp_path, tiny_study.study(PAIR, seeds=1))[0]


def unwatched(share: float) -> None:
    """Nobody looks."""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError("12 GiB"), "MemoryError: 12 GiB"),
        (NoMemory("There is\nno room."), "There is no room."),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_a_run_that_raises_is_a_row(
    plain: Task, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fall(*given: Any) -> None:
        raise error

    monkeypatch.setattr(training, "in_directory", fall)
    line = perform(plain, unwatched)
    assert (line.status, line.message, line.is_final) == ("failed", message, False)
    assert (line.key, line.config) == (plain.key, "lenet5 on synthetic, plain, seed 0")


def test_an_interrupted_run_is_no_row(plain: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*given: Any) -> None:
        raise Interrupted("Stopped.", signal.SIGTERM)

    monkeypatch.setattr(training, "in_directory", stop)
    with pytest.raises(Interrupted, match=r"^Stopped\.$"):
        perform(plain, unwatched)


def test_a_run_that_another_process_holds_is_waited_for(plain: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker of a driver that was killed lets go within a second; who does not is told of."""
    with tiny_study.cheap():
        _, _, root = training.located(plain.config, plain.place)
        begun = time.monotonic()
        _held_for(root, 0.5, lambda: _finished(plain))
        assert time.monotonic() - begun >= 0.5
        other = replace(plain, config=plain.config.model_copy(update={"seed": 1}))
        _, _, root = training.located(other.config, other.place)
        monkeypatch.setattr(tasks, "BUSY_S", 0.2)
        with files.held(root):
            line = perform(other, unwatched)
    pid = (root / ".lock").read_text().strip()
    assert line.message == f"{root} is being written by process {pid}. Wait for it, or stop it first."


def test_a_directory_that_was_deleted_under_a_run_is_named(plain: Task) -> None:
    """It is made again without its record; else the run would fail again for ever, and nobody would know why."""
    with tiny_study.cheap():
        _finished(plain)
        (result,) = plain.place.root.glob("*/*/result.json")
        (result.parent / "environment.json").unlink()
        line = perform(plain, unwatched)
    assert (line.status, line.message) == (
        "failed",
        f"{result.parent} was damaged: it has a result and no environment.json. Remove it; the run is then made again.",
    )


def _finished(task: Task) -> None:
    assert perform(task, unwatched).status == "finished"


def _held_for(root: Path, seconds: float, meanwhile: Callable[[], None]) -> None:
    holding = threading.Event()

    def hold() -> None:
        with files.held(root):
            holding.set()
            time.sleep(seconds)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holding.wait(10)
    meanwhile()
    holder.join()


def test_progress_is_told_in_shares(plain: Task) -> None:
    shares: list[float] = []
    with tiny_study.cheap():
        perform(plain, shares.append)
    assert shares[0] == 0 and shares[-1] == 1 and shares == sorted(shares)


def test_a_run_that_is_looked_at_is_another_directory_of_the_same_results(plain: Task) -> None:
    """So that its test split has the same ledger."""
    looking = plain.config.compute.model_copy(update={"inspect": (Choice(name="weights"),)})
    looked = replace(plain, config=plain.config.model_copy(update={"compute": looking}))
    with tiny_study.cheap():
        assert {perform(task, unwatched).status for task in (plain, looked)} == {"finished"}
    found = [RunPaths(path.parent) for path in plain.place.root.glob("*/*/result.json")]
    assert len(found) == 2 and len({paths.openings for paths in found}) == 1


MINE = """\
from torch import nn


def flat(*, classes: int, channels: int, size: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, classes))
"""


REGISTERED = """

from convscope.core.catalog import Item, register

register(Item("models", "flat", "of_a_user:flat", "one linear layer"))
"""


@pytest.mark.parametrize(
    "source", [MINE, MINE + REGISTERED], ids=["registered elsewhere", "registers itself"]
)
def test_a_users_model_is_known_to_a_process_that_never_imported_it(
    source: str, plain: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker of `processes` or Ray: the driver's `--import` or `register` happened elsewhere."""
    (tmp_path / "of_a_user.py").write_text(source)
    monkeypatch.delitem(sys.modules, "of_a_user", raising=False)
    tasks._source_hash.cache_clear()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(catalog._CATALOG, "models", dict(catalog._CATALOG["models"]))
    item = catalog.Item("models", "flat", "of_a_user:flat", "one linear layer")
    config = plain.config.model_copy(update={"model": Choice(name="flat")})
    unknown = perform(replace(plain, config=config), unwatched)
    assert unknown.status == "failed" and unknown.message.startswith("No model is called 'flat'.")
    with tiny_study.tiny.cheap():
        line = perform(replace(plain, config=config, own=(item,)), unwatched)
    assert (line.status, line.message) == ("finished", "")
    own = {name: value for name, value in line.environment["beside"].items() if "/" in name}
    assert own == {"models/flat": hashlib.sha256(source.encode()).hexdigest()}
    # A run's identity knows the network's name alone: after a change its directory must not answer for the new one.
    monkeypatch.setattr(tasks, "_source_hash", lambda module: "changed")
    directories = set(plain.place.root.glob("*flat*/seed-0"))
    with tiny_study.tiny.cheap():
        perform(replace(plain, config=config, own=(item,)), unwatched)
    assert len(directories) == 1 and len(set(plain.place.root.glob("*flat*/seed-0"))) == 2
    assert item in users_own()


def test_code_without_a_file_is_no_reason_to_fail(plain: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook's cells have none, but their text is kept; of what stands behind `python -c` it is not."""
    module = ModuleType("a_notebook")
    monkeypatch.setitem(sys.modules, "a_notebook", module)
    mine = replace(plain, own=(catalog.Item("models", "mine", "a_notebook:mine", "of a cell"),))
    hashes = []
    for source in ("def mine(): return 1\n", "def mine(): return 2\n"):
        monkeypatch.setitem(linecache.cache, "<cell>", (len(source), None, source.splitlines(True), "<cell>"))
        exec(compile(source, "<cell>", "exec"), vars(module))
        hashes.append(tasks.own_code(mine.own))
        assert hashes[-1] == {"models/mine": hashlib.sha256(source.encode()).hexdigest()}
    exec("def mine(): return 3", vars(module))
    assert tasks.own_code(mine.own) == {"models/mine": ""}


def test_what_measures_is_hashed_as_it_was_loaded(plain: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """A diagnostic that is imported when the first run ends may be another by then."""
    assert set(tasks.code_beside(plain)) == {"convscope.studies.measures"}
    loaded: list[str] = []
    monkeypatch.setattr(catalog.Item, "load", lambda item: loaded.append(item.name))
    asked = replace(plain, measures=("weights:threshold=0.01/total_small", "smoothness/beta@max"))
    assert set(tasks.code_beside(asked)) == {"convscope.studies.measures", "convscope.diagnostics"}
    assert sorted(loaded) == ["smoothness", "weights"]


def test_what_was_seen_by_other_diagnostics_stays_apart(plain: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ended cannot be looked at again: its looks must not be told under the new diagnostics' hash."""
    compute = plain.config.compute.model_copy(update={"inspect": (Choice(name="weights"),)})
    looking = replace(plain, config=plain.config.model_copy(update={"compute": compute}))
    root = Path("runs/lenet5-digits-0123456789/seed-0")
    assert tasks.apart(root, plain.config, {}) == root
    before = tasks.apart(root, looking.config, {})
    monkeypatch.setattr(tasks, "_source_hash", lambda module: "changed")
    assert len({root, before, tasks.apart(root, looking.config, {})}) == 3


def test_a_run_is_named_by_all_that_its_identity_leaves_out(plain: Task) -> None:
    """Two places of the same kind of data, two files of weights: two runs."""

    def key(part: str, **changes: object) -> str:
        table = getattr(plain.config, part).model_copy(update=changes)
        return tasks.key_of(plain.config.model_copy(update={part: table}))

    keys = [key("data"), *(key("data", source=f"npz:{name}.npz", options={}) for name in "ab")]
    keys += [key("recipe", weights="a.safetensors"), key("recipe", weights="b.safetensors")]
    assert len(set(keys)) == 5


def test_a_users_studies_are_not_what_their_runs_need(monkeypatch: pytest.MonkeyPatch) -> None:
    item = catalog.Item("studies", "own", "of_a_user:own", "a study")
    monkeypatch.setitem(catalog._CATALOG, "studies", {**catalog._CATALOG["studies"], "own": item})
    assert item not in users_own()
