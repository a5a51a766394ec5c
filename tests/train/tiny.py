"""A run so small that it can be killed a hundred times, and what it means that two runs are identical.

In one process: `go`.  In processes that can really be killed: `Nursery`, a
warm process that has imported torch (2 s) and forks.  Forking is reliable
there because the warm process has computed nothing: neither torch nor BLAS
has started a thread, so a child inherits no lock that nobody will release.
"""

import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from convscope.compute import environment
from convscope.core import files, records, snapshot
from convscope.core.config import RunConfig, from_table
from convscope.core.errors import ConvscopeError
from convscope.core.records import RunPaths
from convscope.data import load_config
from convscope.evaluate.runs import Run
from convscope.train import loop, preflight, prepare, run
from convscope.train.events import Watch, unwatched

AUGMENT = [{"name": "crop", "padding": 2}, {"name": "flip"}]
# Each has dropout or batch norm, and a momentum that a wrong resume would lose.
NETS: dict[str, dict[str, Any]] = {
    "lenet": {"model": {"name": "lenet5", "norm": "batch", "dropout": 0.2}, "recipe": {"lr": 0.05}},
    "resnet": {"model": {"name": "resnet20", "width": 4}, "recipe": {"optimizer": "adam", "lr": 0.01}},
    "muon": {
        "model": {"name": "lenet5", "norm": "batch", "dropout": 0.1},
        "recipe": {"optimizer": "muon", "lr": 0.06, "ema": 0.8, "schedule": {"name": "step", "every": 1}},
    },
}
STEPS = 27  # 270 training images, batches of 32 and one of 14: 9 steps per epoch, 3 epochs
SHORT = 12
# 12 steps; checkpoints at 4, 8, 12, validation at 5, 10, 12: so that best and last are written in turn.
SHORTER = {"epochs": 1.3, "checkpoint_every": "4 steps", "validate_every": "5 steps"}


def config(net: str = "lenet", seed: int = 3, **changes: Any) -> RunConfig:
    """The tiny run; `changes` are fields of the recipe and of compute, or `images`."""
    compute = {"device": "cpu", "threads": 1, "precision": "float32", "checkpoint_every": "5 steps"}
    compute |= {key: changes.pop(key) for key in ("inspect", "inspect_every") if key in changes}
    given = {key: changes.pop(key) for key in list(changes) if key in (*compute, "images", "data")}
    recipe = {
        "epochs": 3, "batch_size": 32, "weight_decay": 5e-4, "warmup": 0.3, "augment": AUGMENT,
        "validate_every": "4 steps", **NETS[net]["recipe"], **changes,
    }  # fmt: skip
    source = {"images": given.pop("images", 300), "size": 28 if net != "resnet" else 16, "noise": 0.4}
    data = given.pop("data", {"source": "synthetic", "options": source})
    table = {
        "model": NETS[net]["model"], "data": data, "recipe": recipe, "seed": seed,
        "compute": {**compute, **given},
    }  # fmt: skip
    return from_table(table, "tiny")


def session(net: str = "lenet", **changes: Any) -> loop.Session:
    """The tiny run before its first step, with nothing on disk."""
    asked = config(net, **changes)
    data = load_config(asked.data)
    made, _, _ = prepare.build_session(run.resolve(asked, data), data, torch.device("cpu"))
    return made


def go(root: Path, net: str = "lenet", *, watch: Watch = unwatched, **changes: Any) -> Run:
    """Start or continue the tiny run below `root`."""
    allow = changes.pop("allow_different", False)
    place = prepare.Place(root, cache_dir=root / "cache", command="tiny", allow_different=allow)
    return run.run(config(net, **changes), place, watch)


def directory(root: Path) -> Path:
    """The directory of the only run below `root`."""
    (found,) = root.glob("*/seed-*")
    return found


@contextmanager
def cheap() -> Iterator[None]:
    """Without what costs time and decides nothing here: fsync, git, hashing of code, and timing of steps.

    A process that dies leaves all it wrote to the system; fsync matters when the power fails, and
    test_power_loss.py keeps account of every call.
    """
    before = os.fsync, environment.commit, environment.code_hash, preflight.TIMED_S
    os.fsync, environment.commit, environment.code_hash = _no_fsync, _no_commit, _no_commit
    preflight.TIMED_S = 0.0
    try:
        yield
    finally:
        os.fsync, environment.commit, environment.code_hash, preflight.TIMED_S = before


def _no_fsync(descriptor: int) -> None:
    pass


def _no_commit(package: Path = Path()) -> str:
    return "0" * 40


# What makes two runs identical ------------------------------------------------------------------------


def of_tensors(tensors: Mapping[str, Any]) -> str:
    """SHA-256 over names, types, shapes and bytes."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        total.update(tensor.numpy().tobytes())
    return total.hexdigest()


def without_times(value: Any) -> Any:
    """The same value without what clocks say."""
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if key not in ("seconds", "crc")}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def of_snapshot(folder: Path) -> str:
    """SHA-256 of the newest valid snapshot: weights, buffers, optimizer state, step, best, sums."""
    found, _ = snapshot.newest(folder)
    if found is None:
        return "none"
    text = json.dumps(without_times(found.state), sort_keys=True)
    return hashlib.sha256(f"{found.step} {of_tensors(found.tensors)} {text}".encode()).hexdigest()


def digest(root: Path) -> dict[str, str]:
    """Everything that must be equal in a run that was killed and in one that was not."""
    paths = RunPaths(directory(root))
    metrics = [without_times(record) for record in records.read(paths.metrics)]
    result = without_times(records.read_json(paths.result)) if paths.result.exists() else None
    return {
        "last": of_snapshot(paths.checkpoints),
        "best": of_snapshot(paths.best),
        "metrics": json.dumps(metrics),
        "result": json.dumps(result, sort_keys=True),
        "kept": str(sorted(path.name for path in (*paths.checkpoints.glob("*"), *paths.best.glob("*")))),
        "left behind": str(sorted(path.name for path in paths.root.rglob("*" + files.TEMPORARY))),
    }


# What a run does --------------------------------------------------------------------------------------


@contextmanager
def traced(note: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Report every step that is made: which images, in what form, at which rate, with which weights."""
    original = loop.take_step

    def take_step(session: loop.Session) -> None:
        images, _ = session.batches.at(session.step)
        note(
            {
                "step": session.step,
                "which": session.batches.which(session.step).tolist(),
                "input": of_tensors({"": images}),
                "lr": session.rate(),
                "weights": of_tensors(session.model.state_dict()),
            }
        )
        original(session)

    loop.take_step = take_step
    try:
        yield
    finally:
        loop.take_step = original


@contextmanager
def operations(note: Callable[[str, Path], None]) -> Iterator[None]:
    """Call `note` before every operation on files."""
    before = files.on_operation
    files.on_operation = note
    try:
        yield
    finally:
        files.on_operation = before


class Crash(BaseException):
    """The process dies here; nothing may catch it."""


def crash_after(steps: int) -> Callable[[dict[str, Any]], None]:
    """For `traced`: die when this process has made so many steps and begins another."""
    made: list[int] = []

    def note(record: dict[str, Any]) -> None:
        if len(made) == steps:
            raise Crash(f"{steps} steps")
        made.append(record["step"])

    return note


def crash_at(number: int) -> Callable[[str, Path], None]:
    """Die before the operation of that number, counted from 0."""
    seen = 0

    def note(operation: str, path: Path) -> None:
        nonlocal seen
        seen += 1
        if seen == number + 1:
            raise Crash(f"{operation} {path.name}")

    return note


# Processes that can be killed -------------------------------------------------------------------------


class Nursery:
    """A warm process; each run is a fork of it."""

    def __init__(self) -> None:
        environ = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
        )

    def _ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, root: Path, net: str = "lenet", die_at: int | None = None, **changes: Any) -> int:
        """Start or continue the tiny run in a process of its own; gives its number."""
        pid: int = self._ask(do="start", root=str(root), net=net, die_at=die_at, changes=changes)
        return pid

    def wait(self, pid: int) -> int:
        """Wait for its end: the exit code, or minus the signal that killed it."""
        code: int = self._ask(do="wait", pid=pid)
        return code

    def killed_after(self, seconds: float, root: Path, net: str = "lenet", **changes: Any) -> int:
        """Start, kill -9 after some seconds, and wait."""
        pid = self.start(root, net, **changes)
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        return self.wait(pid)

    def finish(self, root: Path, net: str = "lenet", **changes: Any) -> None:
        """Continue to the end, which must succeed."""
        code = self.wait(self.start(root, net, **changes))
        assert code == 0, f"exit code {code}: {said(root)}"

    def close(self) -> None:
        """End the warm process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def said(root: Path, pid: int | None = None) -> str:
    """What the processes of a run complained about."""
    found = sorted(root.glob(f"said-{pid or '*'}"))
    return "\n".join(path.read_text() for path in found)


def log(root: Path) -> list[dict[str, Any]]:
    """Every step that any process made, in order."""
    return [json.loads(line) for line in (root / "steps").read_text().splitlines()]


def _child(request: dict[str, Any]) -> int:
    root = Path(request["root"])
    root.mkdir(exist_ok=True)
    steps = os.open(root / "steps", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(record: dict[str, Any]) -> None:
        os.write(steps, (json.dumps(record) + "\n").encode())

    if request["die_at"] is not None:
        files.on_operation = _kill_at(request["die_at"])
    # Not the code's hash either: who edits the package while its tests run must not see them fail.
    environment.commit, environment.code_hash, preflight.TIMED_S = _no_commit, _no_commit, 0.0
    complaint = root / f"said-{os.getpid()}"
    try:
        with traced(note):
            go(root, request["net"], **request["changes"])
    except ConvscopeError as error:
        complaint.write_text(str(error))
        return error.exit_code
    except BaseException as error:
        complaint.write_text(repr(error))
        raise
    return 0


def _kill_at(number: int) -> Callable[[str, Path], None]:
    seen = 0

    def note(operation: str, path: Path) -> None:
        nonlocal seen
        seen += 1
        if seen == number + 1:
            os.kill(os.getpid(), signal.SIGKILL)

    return note


def _serve() -> None:
    # What training would import first of all: 1.3 s of every child's life.
    importlib.import_module("torch._inductor.config")
    assert not Path("/proc/self/task").is_dir() or len(os.listdir("/proc/self/task")) == 1
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "wait":
            _, status = os.waitpid(request["pid"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                code = 70
                try:
                    code = _child(request)
                finally:
                    os._exit(code)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
