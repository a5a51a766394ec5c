"""A file under its name is always whole, whatever goes wrong while it is written."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from convscope.core import files
from convscope.core.errors import NoSpace, RunBusy


class Died(BaseException):
    """The process is gone."""


@pytest.fixture
def trace(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(
        files, "on_operation", lambda operation, path: found.append(f"{operation} {path.name}")
    )
    return found


def failing(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> None:
    """Fail at the operation of that number, counted from 0."""
    count = iter(range(1000))

    def note(operation: str, path: Path) -> None:
        if next(count) == number:
            raise error

    monkeypatch.setattr(files, "on_operation", note)


def test_the_order_of_a_commit(trace: list[str], tmp_path: Path) -> None:
    files.write(tmp_path / "a", b"12", b"3")
    assert (tmp_path / "a").read_bytes() == b"123"
    assert trace == [
        "open a.part",
        *["write a.part"] * 4,
        "fsync a.part",
        "read back a.part",
        "replace a",
        f"fsync directory {tmp_path.name}",
    ]


@pytest.mark.parametrize("number", range(7))
def test_death_leaves_the_old_content_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    failing(monkeypatch, number, Died())
    with pytest.raises(Died):
        files.write(path, b"new and longer")
    # The operations: open, write, write, fsync, read back, replace; 6 is the fsync of the directory.
    assert path.read_bytes() == (b"old" if number < 6 else b"new and longer")


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    failing(monkeypatch, number, OSError(code, "full"))
    with pytest.raises(NoSpace) as error:
        files.write(path, b"x" * 12_345)
    assert str(error.value) == (
        f"The disk is full: {path} needs 12,345 bytes. What was written before is intact; free some space and "
        f"give the same command again."
    )
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_other_errors_pass_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, 1, OSError(errno.EIO, "broken"))
    with pytest.raises(OSError, match="broken") as error:
        files.write(tmp_path / "a", b"new")
    assert error.value.errno == errno.EIO
    assert not list(tmp_path.iterdir())


def test_a_disk_that_returns_other_bytes_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def corrupt(operation: str, where: Path) -> None:
        if operation == "read back":
            data = bytearray(where.read_bytes())
            data[1] ^= 4
            where.write_bytes(data)

    monkeypatch.setattr(files, "on_operation", corrupt)
    with pytest.raises(OSError, match="the disk gave back other bytes than were written"):
        files.write(path, b"new", b"er")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_leftover_of_a_crash_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"half of something much longer")
    files.write(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_every_new_directory_is_synced_into_its_parent(trace: list[str], tmp_path: Path) -> None:
    files.make_directory(tmp_path / "a" / "b")
    assert trace == ["mkdir a", f"fsync directory {tmp_path.name}", "mkdir b", "fsync directory a"]
    trace.clear()
    files.make_directory(tmp_path / "a" / "b")
    assert trace == []


def test_the_name_of_a_new_file_of_lines_is_synced_once(trace: list[str], tmp_path: Path) -> None:
    for text in ("one", "two"):
        files.append(tmp_path / "lines", text)
    assert (tmp_path / "lines").read_text() == "one\ntwo\n"
    assert trace == [
        *["append lines", "fsync lines", f"fsync directory {tmp_path.name}"],
        *["append lines", "fsync lines"],
    ]


@pytest.mark.parametrize(
    "act",
    [
        lambda path: files.append(path, "line"),
        files.make_directory,
        lambda path: files.held(path).__enter__(),
    ],
    ids=["append", "make_directory", "held"],
)
def test_a_full_disk_is_named_by_everything_that_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], object]
) -> None:
    failing(monkeypatch, 0, OSError(errno.ENOSPC, "full"))
    with pytest.raises(NoSpace) as error:
        act(tmp_path / "new")
    assert error.value.exit_code == 5


def test_partial_files_stay_and_are_resumed(tmp_path: Path) -> None:
    path = tmp_path / "big"
    with pytest.raises(Died), files.partial(path, 6) as file:
        file.write(b"abc")
        raise Died
    assert (tmp_path / "big.part").read_bytes() == b"abc"
    with files.partial(path, 6, resume=True) as file:
        file.write(b"def")
    assert not path.exists()
    files.commit(path)
    assert path.read_bytes() == b"abcdef"
    with files.partial(path, 1) as file:
        file.write(b"x")
    assert (tmp_path / "big.part").read_bytes() == b"x"


def test_removing_what_is_gone_is_no_error(tmp_path: Path) -> None:
    files.remove(tmp_path / "nothing")


def test_sha256(tmp_path: Path) -> None:
    """The value of FIPS 180-2, appendix B.1."""
    (tmp_path / "a").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256(tmp_path / "a") == known


def test_free_bytes_of_a_place_that_will_be(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    free = files.free_bytes(tmp_path / "not" / "there")
    assert abs(free - found.f_bavail * found.f_frsize) < 2**30


def test_a_held_directory_is_refused_and_released(tmp_path: Path) -> None:
    with files.held(tmp_path / "run"):
        with pytest.raises(RunBusy) as error, files.held(tmp_path / "run"):
            pass
        assert str(error.value) == (
            f"{tmp_path / 'run'} is being written by process {os.getpid()}. Wait for it, or stop it first."
        )
    with files.held(tmp_path / "run"):
        pass


def test_waiting_for_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = files.held(tmp_path)
    holder.__enter__()
    with pytest.raises(RunBusy), files.held_after_waiting(tmp_path, 0.02):
        pass
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            holder.__exit__(None, None, None)

    monkeypatch.setattr(files.time, "sleep", nap)
    with files.held_after_waiting(tmp_path, 60):
        pass
    assert len(naps) == 3


@pytest.fixture(autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0  # noqa: PTH208
    yield
    after = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0  # noqa: PTH208
    assert after <= before
