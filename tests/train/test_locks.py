"""Only one process writes a run: row A9."""

import os
import time
from pathlib import Path

import pytest
import tiny

from convscope.core import files
from convscope.core.errors import RunBusy


@pytest.mark.parametrize("count", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_of_many_simultaneous_starts_one_trains(nursery: tiny.Nursery, tmp_path: Path, count: int) -> None:
    """The others end with exit code 2 and say which process holds the run."""
    root = tmp_path / "run"
    pids = [nursery.start(root, epochs=15, checkpoint_every="1000 steps") for _ in range(count)]
    codes = {pid: nursery.wait(pid) for pid in pids[1:]} | {pids[0]: nursery.wait(pids[0])}
    (winner,) = [pid for pid, code in codes.items() if code == 0]
    for pid in codes.keys() - {winner}:
        assert codes[pid] == 2
        where = tiny.directory(root)
        # A process that looks in the instant between lock and number sees no number.
        assert tiny.said(root, pid) in {
            f"{where} is being written by process {holder}. Wait for it, or stop it first."
            for holder in (winner, "(unknown)")
        }
    made = [record["step"] for record in tiny.log(root)]
    assert made == list(range(9 * 15))


@pytest.mark.usefixtures("cheap")
def test_the_second_one_is_refused_within_a_second(tmp_path: Path) -> None:
    tiny.go(tmp_path, **tiny.SHORTER)
    where = tiny.directory(tmp_path)
    with files.held(where):
        started = time.monotonic()
        with pytest.raises(RunBusy) as error:
            tiny.go(tmp_path, **tiny.SHORTER)
        assert time.monotonic() - started < 1
    assert str(error.value) == (
        f"{where} is being written by process {os.getpid()}. Wait for it, or stop it first."
    )
    tiny.go(tmp_path, **tiny.SHORTER)


def test_a_dead_process_holds_nothing(nursery: tiny.Nursery, tmp_path: Path) -> None:
    """The kernel lets go; the number of the dead process is still in the file."""
    assert nursery.wait(nursery.start(tmp_path, die_at=30)) == -9
    assert (tiny.directory(tmp_path) / ".lock").read_text().strip().isdigit()
    with files.held(tiny.directory(tmp_path)):
        pass
