"""Whatever operation on files is the last one, the run goes on and ends identically: rows A2, B1, B2 and E1.

The directory of a process that dies is what the directory was at that moment.  So the cheap form of A2 copies
it before every operation of one run and continues each copy; the slow forms raise a `Crash` there, and kill a
real process there.
"""

import errno
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny

from convscope.core import files, records, snapshot
from convscope.core.errors import NoSpace
from convscope.core.records import RunPaths
from convscope.train.events import Prepared, Saved


def trace(root: Path) -> list[tuple[str, str]]:
    """Name and file of every operation of the short run."""
    found: list[tuple[str, str]] = []
    with tiny.cheap(), tiny.operations(lambda operation, path: found.append((operation, path.name))):
        tiny.go(root, **tiny.SHORTER)
    return found


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    return trace(tmp_path_factory.mktemp("traced"))


def first_two_checkpoints(traced: list[tuple[str, str]]) -> range:
    """The operations from the first of the first checkpoint to the last of the second."""
    begin = traced.index(("mkdir", "checkpoints"))
    committed = traced.index(("replace", "step-00000008.json"))
    return range(begin, committed + 2)


def test_the_operations_of_a_commit_are_these(traced: list[tuple[str, str]]) -> None:
    begin = traced.index(("open", "step-00000008.json.part"))
    temporary, final = "step-00000008.json.part", "step-00000008.json"
    assert traced[begin : begin + 7] == [
        ("open", temporary),
        ("write", temporary),
        ("write", temporary),
        ("fsync", temporary),
        ("read back", temporary),
        ("replace", final),
        ("fsync directory", "checkpoints"),
    ]


def states_at_death(root: Path, wanted: range, copies: Path) -> list[Path]:
    """One copy of the run's directory for each different state in which it can be found after a death."""
    number = -1
    known: dict[str, Path] = {}

    def note(operation: str, path: Path) -> None:
        nonlocal number
        number += 1
        if number not in wanted:
            return
        content = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        key = str(sorted((name, hash(data)) for name, data in content.items()))
        if key not in known:
            known[key] = copies / f"{number:03d}"
            shutil.copytree(root, known[key])

    with tiny.operations(note):
        tiny.go(root, **tiny.SHORTER)
    return list(known.values())


@pytest.mark.usefixtures("cheap")
def test_death_before_every_operation_of_the_first_two_checkpoints(
    straight: dict[str, str], traced: list[tuple[str, str]], tmp_path: Path
) -> None:
    """A2: every state there is, half-written files among them; all of them end identically."""
    copies = states_at_death(tmp_path / "run", first_two_checkpoints(traced), tmp_path / "copies")
    assert len(copies) >= 20
    # Half of the tensors are on the disk, under the temporary name.
    sizes = {p.stat().st_size for copy in copies for p in copy.rglob("*.safetensors.part")}
    assert len(sizes) >= 5
    for copy in copies:
        assert tiny.of_snapshot(tiny.directory(copy) / "checkpoints") != straight["last"]
        tiny.go(copy, **tiny.SHORTER)
        assert tiny.digest(copy) == straight, copy.name


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
def test_death_before_every_operation_of_a_whole_run(
    straight: dict[str, str], traced: list[tuple[str, str]], tmp_path: Path
) -> None:
    """A2 for all operations, by an exception that no `except` may swallow."""
    for number in range(len(traced)):
        root = tmp_path / f"{number}"
        with tiny.operations(tiny.crash_at(number)), pytest.raises(tiny.Crash):
            tiny.go(root, **tiny.SHORTER)
        tiny.go(root, **tiny.SHORTER)
        assert tiny.digest(root) == straight, traced[number]


@pytest.mark.slow
def test_a_real_death_before_every_operation_of_the_first_two_checkpoints(
    nursery: tiny.Nursery, straight: dict[str, str], traced: list[tuple[str, str]], tmp_path: Path
) -> None:
    """A2 with processes: what only a process that is alive could have held back is lost."""
    for number in first_two_checkpoints(traced):
        root = tmp_path / f"{number}"
        assert nursery.wait(nursery.start(root, die_at=number, **tiny.SHORTER)) == -9
        nursery.finish(root, **tiny.SHORTER)
        assert tiny.digest(root) == straight, traced[number]


# Damage ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def half_done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that died at step 10, with checkpoints of steps 4 and 8."""
    root = tmp_path_factory.mktemp("half done") / "run"

    def die(event: object) -> None:
        if event == Saved(8):
            raise tiny.Crash

    with tiny.cheap(), pytest.raises(tiny.Crash):
        tiny.go(root, watch=die, **tiny.SHORTER)
    return root


Damage = Callable[[Path], None]


def flip_a_bit(path: Path, dice: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    path.write_bytes(data)


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


DAMAGES: dict[str, Damage] = {
    "a bit of the tensors": lambda p: flip_a_bit(p / "step-00000008.safetensors", random.Random(1)),
    "a bit of the manifest": lambda p: flip_a_bit(p / "step-00000008.json", random.Random(2)),
    "tensors cut short": lambda p: cut(p / "step-00000008.safetensors", 1000),
    "no byte of the tensors": lambda p: cut(p / "step-00000008.safetensors", 0),
    "manifest cut short": lambda p: cut(p / "step-00000008.json", 1000),
    "no byte of the manifest": lambda p: cut(p / "step-00000008.json", 0),
    "tensors gone": lambda p: (p / "step-00000008.safetensors").unlink(),
    "manifest gone": lambda p: (p / "step-00000008.json").unlink(),
    "another step under its name": lambda p: (p / "step-00000008.json").write_bytes(
        (p / "step-00000004.json").read_bytes()
    ),
}

# Nothing is left that could be called damaged: without its own manifest a snapshot does not exist.
SILENT = ("manifest gone", "another step under its name")


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    half_done: Path, straight: dict[str, str], tmp_path: Path, damage: str
) -> None:
    """B1, B2: it is noticed and said, the one before is used, and the end is the same."""
    root = tmp_path / "run"
    shutil.copytree(half_done, root)
    DAMAGES[damage](tiny.directory(root) / "checkpoints")
    events: list[Any] = []
    tiny.go(root, watch=events.append, **tiny.SHORTER)
    (prepared,) = [event for event in events if isinstance(event, Prepared)]
    assert prepared.start == 4
    assert len(prepared.notes) == (0 if damage in SILENT else 1)
    assert tiny.digest(root) == straight


@pytest.mark.usefixtures("cheap")
def test_when_every_checkpoint_is_damaged_the_run_starts_anew_and_says_so(
    half_done: Path, straight: dict[str, str], tmp_path: Path
) -> None:
    root = tmp_path / "run"
    shutil.copytree(half_done, root)
    folder = tiny.directory(root) / "checkpoints"
    for path in folder.glob("*.safetensors"):
        flip_a_bit(path, random.Random(3))
    events: list[Any] = []
    tiny.go(root, watch=events.append, **tiny.SHORTER)
    (prepared,) = [event for event in events if isinstance(event, Prepared)]
    assert prepared.start == 0
    assert prepared.notes == tuple(
        f"{folder / f'step-{step:08d}.safetensors'} does not agree with the SHA-256 in its manifest."
        for step in (8, 4)
    )
    assert tiny.digest(root) == straight


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 10))])
def test_damage_to_a_checkpoint_never_costs_the_best_weights(tmp_path: Path, seed: int) -> None:
    """G2 after B1: best weights that a damaged checkpoint had replaced are found again."""
    root = tmp_path / "run"
    tiny.go(tmp_path / "straight", seed=seed, **tiny.SHORTER)

    def die(event: object) -> None:
        if event == Saved(12):
            raise tiny.Crash

    with pytest.raises(tiny.Crash):
        tiny.go(root, seed=seed, watch=die, **tiny.SHORTER)
    flip_a_bit(tiny.directory(root) / "checkpoints" / "step-00000012.safetensors", random.Random(seed))
    tiny.go(root, seed=seed, **tiny.SHORTER)
    assert tiny.digest(root) == tiny.digest(tmp_path / "straight")


# A full disk ------------------------------------------------------------------------------------------------

WRITING = ("open", "write", "fsync", "append", "mkdir", "replace")


def full_at(number: int) -> tuple[Callable[[str, Path], None], list[str]]:
    """The disk is full from the operation of that number on, among those that need room."""
    fired: list[str] = []
    seen = 0

    def note(operation: str, path: Path) -> None:
        nonlocal seen
        if operation not in WRITING:
            return
        seen += 1
        if seen > number:
            fired.append(operation)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    return note, fired


def writes(traced: list[tuple[str, str]]) -> int:
    return sum(operation in WRITING for operation, _ in traced)


def check_full_disk(root: Path, number: int, straight: dict[str, str]) -> None:
    note, fired = full_at(number)
    with tiny.operations(note), pytest.raises(NoSpace) as error:
        tiny.go(root, **tiny.SHORTER)
    assert fired and error.value.exit_code == 5
    assert str(error.value).startswith("The disk is full: ") and " bytes. What was written" in str(
        error.value
    )
    # Whatever there was before is intact, and no half file is in the way.
    for folder in root.glob("*/seed-*/checkpoints"):
        for manifest in snapshot.manifests(folder):
            snapshot.load(manifest)
    tiny.go(root, **tiny.SHORTER)
    assert tiny.digest(root) == straight, number


@pytest.mark.usefixtures("cheap")
def test_a_full_disk_at_some_writes(
    straight: dict[str, str], traced: list[tuple[str, str]], tmp_path: Path
) -> None:
    """E1: at every sixteenth write."""
    for number in range(0, writes(traced), 16):
        check_full_disk(tmp_path / f"{number}", number, straight)


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
def test_a_full_disk_at_every_write(
    straight: dict[str, str], traced: list[tuple[str, str]], tmp_path: Path
) -> None:
    """E1, exhaustive."""
    for number in range(writes(traced)):
        check_full_disk(tmp_path / f"{number}", number, straight)


@pytest.mark.usefixtures("cheap")
def test_a_run_does_not_start_without_room_for_three_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "free_bytes", lambda path: 1_234_567)
    with pytest.raises(NoSpace) as error:
        tiny.go(tmp_path, **tiny.SHORTER)
    from convscope.models import build

    model = build("lenet5", classes=4, channels=1, size=28, norm="batch")
    numbers = [sum(t.nbytes for t in model.state_dict().values()), sum(p.nbytes for p in model.parameters())]
    needed = 3 * (numbers[0] + 2 * numbers[1])
    assert str(error.value) == (
        f"There are 1,234,567 bytes free for {tiny.directory(tmp_path)}, and {needed:,} are needed for 3 "
        f"checkpoints. Nothing was started; free some space or choose another place with --root."
    )
    assert not (tiny.directory(tmp_path) / "checkpoints").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 4 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("this process may not mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.usefixtures("cheap")
def test_a_real_full_disk(
    small_disk: Path, straight: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E1: another program has filled the disk meanwhile; once it makes room, the run ends identically."""
    ballast = small_disk / "ballast"

    def fill(event: object) -> None:
        if event == Saved(4):
            free = files.free_bytes(small_disk)
            ballast.write_bytes(bytes(free - 300_000))

    with pytest.raises(NoSpace):
        tiny.go(small_disk, watch=fill, **tiny.SHORTER)
    folder = tiny.directory(small_disk) / "checkpoints"
    assert [snapshot.load(manifest).step for manifest in snapshot.manifests(folder)] == [4]
    assert not list(small_disk.rglob("*" + files.TEMPORARY))
    ballast.unlink()
    tiny.go(small_disk, **tiny.SHORTER)
    assert tiny.digest(small_disk) == straight


# A poor machine -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_without_shared_memory_home_or_a_writable_data_folder(tmp_path: Path) -> None:
    """E4: no worker processes, so /dev/shm is not needed; the cache's place is the only thing written."""
    import sys

    data = tmp_path / "data"
    data.mkdir(mode=0o555)
    code = (
        "import sys, socket, multiprocessing.shared_memory as m, torch.multiprocessing\n"
        "def no(*a, **k): raise OSError('none here')\n"
        "m.SharedMemory.__init__ = socket.socket.connect = no\n"
        "torch.multiprocessing.Process.start = no\n"
        "from convscope.train.run import train\n"
        "r = train('lenet5', {'source': 'synthetic', 'options': {'images': 60}}, root=sys.argv[1],"
        " data_dir=sys.argv[2], cache_dir=sys.argv[3], epochs=1, threads=1, precision='float32', device='cpu')\n"
        "assert r.result['status'] == 'finished'\n"
    )
    environ = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME", "USER", "LOGNAME")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "runs"), str(data), str(tmp_path / "cache")],
        env=environ, capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not list(data.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == ["data", "runs"]
    assert records.read_json(RunPaths(tiny.directory(tmp_path / "runs")).environment)["bit_exact"] is True
