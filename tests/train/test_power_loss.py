"""When the power fails, what was not yet synced may be gone: row A6.

The trace of one run is replayed on a model of a disk that keeps no more than it must: a file's content is
safe after fsync, a name (created, renamed or deleted) after fsync of its directory.  Everything else may have
happened or not, each for itself, and unsynced content may be there in part.
"""

import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import tiny

from convscope.core import files


@dataclass(eq=False)
class Inode:
    """Content as the system shows it, and as it certainly is on the disk."""

    shown: bytes = b""
    safe: bytes = b""


@dataclass
class Disk:
    """Names and contents; `pending` holds, for each folder, the changes of names not yet synced, in order."""

    shown: dict[Path, Inode] = field(default_factory=dict)
    safe: dict[Path, Inode] = field(default_factory=dict)
    pending: dict[Path, list[tuple[Path, Inode | None, Path | None]]] = field(default_factory=dict)

    def name(self, path: Path, inode: Inode | None, old: Path | None = None) -> None:
        """`path` now means `inode` (None: deleted); with `old`, it was renamed from there."""
        self.pending.setdefault(path.parent, []).append((path, inode, old))
        _apply(self.shown, path, inode, old)

    def sync_folder(self, folder: Path) -> None:
        for change in self.pending.pop(folder, []):
            _apply(self.safe, *change)

    def after_power_loss(self, dice: random.Random) -> dict[Path, bytes]:
        """One of the states in which the disk may be found."""
        names = dict(self.safe)
        for changes in self.pending.values():
            for change in changes:
                if dice.random() < 0.5:
                    _apply(names, *change)
        return {path: self._content(inode, dice) for path, inode in names.items()}

    def _content(self, inode: Inode, dice: random.Random) -> bytes:
        if inode.shown == inode.safe:
            return inode.safe
        some = inode.shown[: dice.randint(0, len(inode.shown))]
        # A hole: the length arrived, the content did not.
        return dice.choice([inode.safe, inode.shown, some, some + bytes(len(inode.shown) - len(some))])


def _apply(names: dict[Path, Inode], path: Path, inode: Inode | None, old: Path | None) -> None:
    if old is not None:
        names.pop(old, None)
    if inode is None:
        names.pop(path, None)
    else:
        names[path] = inode


class Recorder:
    """Follows a run's operations on files and keeps a disk that knows what is safe."""

    def __init__(self, root: Path, wanted: range, dice: random.Random) -> None:
        self.root, self.wanted, self.dice = root, wanted, dice
        self.disk, self.number = Disk(), -1
        self.states: list[dict[Path, bytes]] = []
        self.lost = 0
        self._last: tuple[str, Path] | None = None

    def __call__(self, operation: str, path: Path) -> None:
        """Called before an operation: first settle what the one before it did."""
        self._settle()
        self.number += 1
        if self.number in self.wanted:
            state = self.disk.after_power_loss(self.dice)
            shown = {name: inode.shown for name, inode in self.disk.shown.items()}
            self.lost += state != shown
            self.states.append(state)
        self._last = (operation, path)

    def _settle(self) -> None:
        if self._last is None:
            return
        operation, path = self._last
        disk = self.disk
        match operation:
            case "open" | "append":
                if path not in disk.shown:
                    disk.name(path, Inode())
                disk.shown[path].shown = path.read_bytes() if path.exists() else b""
            case "write":
                disk.shown[path].shown = path.read_bytes()
            case "fsync":
                disk.shown[path].shown = disk.shown[path].safe = path.read_bytes()
            case "replace":
                temporary = path.with_name(path.name + files.TEMPORARY)
                disk.name(path, disk.shown[temporary], temporary)
            case "unlink":
                disk.name(path, None)
            case "fsync directory":
                disk.sync_folder(path)


def power_loss_states(root: Path, count: int, seed: int) -> list[dict[Path, bytes]]:
    """`count` states of the disk, at operations spread over the whole run."""
    operations: list[str] = []
    with tiny.operations(lambda operation, path: operations.append(operation)):
        tiny.go(root / "counted", **tiny.SHORTER)
    dice = random.Random(seed)
    states: list[dict[Path, bytes]] = []
    lost = 0
    for number in range(-(-count // len(operations))):
        share = min(count - len(states), len(operations))
        place = root / f"traced {number}"
        recorder = Recorder(place, range(0), dice)
        recorder.wanted = _Chosen(dice.sample(range(2, len(operations)), min(share, len(operations) - 2)))
        with tiny.operations(recorder):
            tiny.go(place, **tiny.SHORTER)
        states += [{path.relative_to(place): data for path, data in s.items()} for s in recorder.states]
        lost += recorder.lost
    # Most states differ from what a process that only died would have left.
    assert lost > count / 3
    return states


class _Chosen:
    """Some numbers, with `in`."""

    def __init__(self, numbers: list[int]) -> None:
        self._numbers = set(numbers)

    def __contains__(self, number: int) -> bool:
        return number in self._numbers


def recover(root: Path, state: dict[Path, bytes]) -> dict[str, str]:
    for path, data in state.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    tiny.go(root, **tiny.SHORTER)
    return tiny.digest(root)


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_a_run_recovers_from_power_loss(straight: dict[str, str], tmp_path: Path, count: int) -> None:
    """A6: every state recovers, and ends identically."""
    states = power_loss_states(tmp_path, count, seed=count)
    assert len(states) >= count - 5
    for number, state in enumerate(states):
        assert recover(tmp_path / f"{number}", state) == straight, number


def test_the_model_of_a_disk_forgets_what_was_not_synced() -> None:
    """By hand: a rename without fsync of the directory may be lost, and then the old content is back."""
    old, new = Inode(b"old", b"old"), Inode(b"new", b"new")
    folder = Path("folder")
    names = {folder / "a": old, folder / "a.part": new}
    disk = Disk(dict(names), dict(names))
    disk.name(folder / "a", new, folder / "a.part")
    found = {str(sorted(disk.after_power_loss(random.Random(seed)).items())) for seed in range(20)}
    renamed = [(folder / "a", b"new")]
    before = [(folder / "a", b"old"), (folder / "a.part", b"new")]
    assert found == {str(renamed), str(before)}
    disk.sync_folder(folder)
    assert disk.after_power_loss(random.Random(0)) == {folder / "a": b"new"}
    new.shown = b"newer"
    contents = {disk.after_power_loss(random.Random(seed))[folder / "a"] for seed in range(200)}
    assert {b"new", b"newer", b"", b"ne", b"ne\0\0\0"} <= contents
