"""Runs on a Ray cluster: which addresses are refused and how fast; and, on two real nodes, the same lines as here."""

import errno
import importlib
import importlib.util
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from convscope.core import files, snapshot
from convscope.core.errors import ConfigError, MissingExtra, NoSpace, UsageError
from convscope.core.records import RunPaths
from convscope.studies import cluster, conduct
from convscope.studies.cluster import Cluster
from convscope.studies.design import Study, arm, made
from convscope.studies.journal import Line
from convscope.studies.task import Task, key_of
from convscope.train.prepare import Place
from convscope.train.run import located

HTTP = b"HTTP/1.1 400 Bad Request\r\n\r\n"
SETTINGS = b"\0\0\6\4\0\0\0\0\0\0\4\0\x3f\xff\xff"


def study(seeds: int = 2, epochs: float = 2) -> Study:
    """Two arms of the smallest network on 300 synthetic images."""
    return made(
        [arm("slow", lr=0.01), arm("fast", lr=0.05)],
        name="tiny", title="tiny", question="?", expectation="!", baseline="slow", seeds=seeds,
        base={
            "model": {"name": "lenet5"},
            "data": {"source": "synthetic", "options": {"images": 300, "size": 28, "noise": 0.4}},
            "recipe": {"epochs": epochs, "batch_size": 32},
        }, measure="final_accuracy", precision="float32",  # what is faster, each node would find out for itself
    )  # fmt: skip


def without_provenance(outcome: conduct.Outcome) -> list[Line | None]:
    return [cell.line and replace(cell.line, provenance={}) for cell in outcome.cells]


# Addresses --------------------------------------------------------------------------------------------


@contextmanager
def server(answer: bytes) -> Iterator[str]:
    """Somebody who takes one connection and says this, or nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    connection.sendall(answer)
                    while connection.recv(1024):  # until the other side has gone
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        thread.join(5)


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray is not installed: what is said before that has not needed it."""
    monkeypatch.setitem(sys.modules, "ray", None)


@pytest.mark.parametrize(
    "address",
    ["auto", "ray://10.0.0.5:10001", "http://10.0.0.5:8265", "10.0.0.5", ":6379", "10.0.0.5:", "10.0.0.5:0"]
    + [
        "10.0.0.5:65536",
        "10.0.0.5:six",
        "10.0.0.5:\u00b2",
        "::1:6379",
        "[]:6379",
        "me@head:6379",
        " head:6379",
    ],
)
def test_what_is_no_address_is_refused(address: str, no_ray: None) -> None:
    with pytest.raises(ConfigError) as caught:
        Cluster(address)
    assert str(caught.value) == (
        f"--address {address!r} is not that of a Ray cluster: HOST:PORT as `ray start --head` prints it, such as "
        f"10.0.0.5:6379, or none for a Ray on this machine."
    )
    assert caught.value.exit_code == 2


def refusal(address: str) -> str:
    with pytest.raises(UsageError) as caught:
        Cluster(address)
    assert caught.value.exit_code == 2
    return str(caught.value)


def unreachable(address: str, why: str) -> str:
    return (
        f"No Ray cluster answers at {address} ({why}): start one there with `ray start --head`, or ask `ray status` "
        f"on a node of it for its address."
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_where_nobody_listens(host: str, no_ray: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"{host}:{free.getsockname()[1]}"
    began = time.monotonic()
    assert refusal(address) == unreachable(address, os.strerror(errno.ECONNREFUSED))
    assert time.monotonic() - began < 5


def test_a_host_without_a_name(no_ray: None) -> None:
    assert refusal("no-such-host.invalid:6379").startswith(
        "No Ray cluster answers at no-such-host.invalid:6379 ("
    )


def test_where_another_program_listens(no_ray: None) -> None:
    with server(HTTP) as address:
        assert refusal(address) == unreachable(address, "something else uses that port")


def test_where_nothing_is_said(no_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER_S", 0.2)
    with server(b"") as address:
        assert refusal(address) == unreachable(address, "no answer in 0.2 s")


@pytest.mark.parametrize("answer", [None, SETTINGS])
def test_without_ray_the_extra_is_named(answer: bytes | None, no_ray: None) -> None:
    """The second server opens HTTP/2 as gRPC does, so it is believed."""
    with server(answer) if answer else nullcontext() as address, pytest.raises(MissingExtra) as caught:
        Cluster(address or "")
    assert str(caught.value) == '--executor ray needs one more package: pip install "convscope[ray]"'


def test_keys_of_ray_are_not_asked_for(no_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Ray encrypts, only Ray can ask further than whether somebody listens."""
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with server(HTTP) as address, pytest.raises(MissingExtra):
        Cluster(address)


class FakeRay(ModuleType):
    """A Ray that refuses, as one of another version does."""

    exceptions = SimpleNamespace(RayError=LookupError)
    asked: dict[str, Any]
    environment: dict[str, str]

    def is_initialized(self) -> bool:
        return False

    def init(self, **asked: Any) -> None:
        self.asked, self.environment = asked, dict(os.environ)
        os.environ["RAY_LEFT"] = "behind"
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Exception("Version mismatch:\n    it has Ray 1.0")

    def shutdown(self) -> None:
        pass


@pytest.fixture
def fake_ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay("ray")
    fake.__spec__ = importlib.util.spec_from_loader("ray", None)
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    return fake


def a_task(root: Path, threads: int = 1) -> Task:
    config = study().config(study().arms[0], 0, threads)
    return Task(key_of(config), "slow", 0, config, ("final_accuracy",), Place(root, cache_dir=root / "cache"))


def silent(task: Task, share: float) -> None:
    pass


def test_a_cluster_that_refuses(fake_ray: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    before = dict(os.environ), signal.getsignal(signal.SIGTERM)
    with server(SETTINGS) as address:
        executor = Cluster(address)
    with pytest.raises(UsageError) as caught:
        next(executor([a_task(tmp_path)], silent))
    assert str(caught.value) == (
        f"The Ray cluster at {address} could not be used: Version mismatch: it has Ray 1.0"
    )
    assert fake_ray.asked["address"] == "auto" and fake_ray.environment["RAY_ADDRESS"] == address
    assert fake_ray.environment["RAY_USAGE_STATS_ENABLED"] == "0"
    assert "RAY_AUTH_TOKEN" not in fake_ray.environment
    assert (dict(os.environ), signal.getsignal(signal.SIGTERM)) == before


def test_a_local_ray_is_large_enough_and_locked(fake_ray: FakeRay, tmp_path: Path) -> None:
    """Enough CPUs for a run with 64 threads, which waited for ever else; a token that no other user knows."""
    with pytest.raises(UsageError, match="^Ray on this machine could not be used: Version mismatch"):
        next(Cluster("")([a_task(tmp_path, threads=64)], silent))
    assert fake_ray.asked["address"] == "local" and fake_ray.asked["num_cpus"] == 64
    assert len(fake_ray.environment["RAY_AUTH_TOKEN"]) == 64


def test_no_runs_need_no_ray(fake_ray: FakeRay) -> None:
    assert list(Cluster("")([], silent)) == []


def test_a_folder_that_the_nodes_do_not_see(tmp_path: Path) -> None:
    gone = tmp_path / "elsewhere"
    line = cluster._perform(a_task(tmp_path), str(gone), "")
    assert (line.status, line.message) == (
        "failed",
        f"Node {socket.gethostname()} cannot enter {gone} ({os.strerror(errno.ENOENT)}). All nodes of a cluster must "
        f"see the folder a study is started in.",
    )


class FullRay(FakeRay):
    """A Ray whose first run finds the disk full, as Ray says it: the error is the cause of its own."""

    def remote(self, function: Callable[..., Line]) -> Any:
        return SimpleNamespace(options=lambda **needs: SimpleNamespace(remote=lambda task, *places: task.key))

    def wait(self, waiting: list[str], **options: Any) -> tuple[list[str], list[str]]:
        return waiting[:1], waiting[1:]

    def get(self, key: str) -> Line:
        error = LookupError("a run")
        error.cause = NoSpace("The disk is full.")  # type: ignore[attr-defined]
        raise error

    def cancel(self, key: str) -> None:
        self.cancelled = key


def test_a_full_disk_ends_the_study(tmp_path: Path) -> None:
    """And what waits is dropped."""
    ray, task = FullRay("ray"), a_task(tmp_path)
    with pytest.raises(NoSpace, match=r"^The disk is full\.$"):
        list(cluster._made(ray, [task, replace(task, key="other")]))
    assert ray.cancelled == "other"


# Two nodes --------------------------------------------------------------------------------------------

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra `ray`")


def with_ray(test: Callable[..., None]) -> Callable[..., None]:
    marked: Callable[..., None] = pytest.mark.slow(needs_ray(test))
    return marked


def descendants(of: int) -> set[int]:
    """Processes begun by this one, or by those."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            children.setdefault(int(path.read_text().rpartition(")")[2].split()[1]), []).append(
                int(path.parent.name)
            )
    found, new = set[int](), {of}
    while new:
        new = {child for parent in new for child in children.get(parent, [])} - found
        found |= new
    return found


def living(processes: set[int]) -> set[int]:
    """Those that have not ended, after a while."""
    deadline = time.monotonic() + 10
    while (there := {pid for pid in processes if _lives(pid)}) and time.monotonic() < deadline:
        time.sleep(0.1)
    return there


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster of two nodes with a CPU each; nothing of it lives afterwards."""
    before = descendants(os.getpid())
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    started = importlib.import_module("ray.cluster_utils").Cluster(initialize_head=True)
    started.add_node()
    yield started
    processes = descendants(os.getpid()) - before
    started.shutdown()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert processes and not living(processes)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> conduct.Outcome:
    """The study by the serial executor."""
    folder = tmp_path_factory.mktemp("here")
    return conduct.conduct(study(), folder, Place(folder / "runs", cache_dir=folder / "cache"))


def on(address: str, asked: Study, folder: Path) -> conduct.Outcome:
    place = Place(folder / "runs", cache_dir=folder / "cache")
    return conduct.conduct(asked, folder, place, executor=Cluster(address))


def marked(folder: Path, deaths: dict[str, int]) -> Callable[[Task, str, str], Line]:
    """`_perform` that leaves its node's name, and dies in the middle of some runs for so many times."""
    original = cluster._perform

    def perform(task: Task, where: str, data: str) -> Line:
        # Ray sends this function by value, so that all it needs is imported here.
        context = importlib.import_module("ray").get_runtime_context()
        (folder / f"node-{context.get_node_id()}").touch()
        name = f"{task.arm}-{task.seed}"
        died = len(list(folder.glob(f"died-{name}-*")))
        operations = []

        def die(operation: str, path: Path) -> None:
            operations.append(operation)
            if len(operations) == 40:
                (folder / f"died-{name}-{died}").touch()
                os.kill(os.getpid(), signal.SIGKILL)

        files.on_operation = die if died < deaths.get(name, 0) else lambda operation, path: None
        return original(task, where, data)

    return perform


@with_ray
def test_two_nodes_give_the_lines_of_one_process(
    nodes: Any, here: conduct.Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker killed in mid-run is replaced; a run that kills all is a failed row, and the next launch makes it.

    Also from a relative path, twice on the same cluster, and with nothing changed in this process.
    """
    folder = tmp_path / "marks"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM), dict(os.environ)
    with monkeypatch.context() as patched:
        patched.setattr(cluster, "_perform", marked(folder, {"fast-0": 1, "slow-1": 9}))
        first = on(nodes.address, study(), Path("study"))
    failed = [cell.line for cell in first.cells if cell.line and cell.line.status != "finished"]
    assert [(line.status, line.message) for line in failed] == [
        ("failed", "Its worker died, 3 times in all.")
    ]
    assert sorted(path.name for path in folder.glob("died-*")) == [
        "died-fast-0-0", "died-slow-1-0", "died-slow-1-1", "died-slow-1-2",
    ]  # fmt: skip
    assert len(list(folder.glob("node-*"))) == 2
    assert without_provenance(on(nodes.address, study(), Path("study"))) == without_provenance(here)
    assert (signal.getsignal(signal.SIGTERM), dict(os.environ)) == before


@with_ray
def test_a_run_that_no_node_can_hold_is_refused(nodes: Any, tmp_path: Path) -> None:
    address = f"127.0.0.1:{nodes.address.rpartition(':')[2]}"
    with pytest.raises(UsageError) as caught:
        next(Cluster(address)([a_task(tmp_path, threads=2)], silent))
    assert str(caught.value) == (
        f"A run of this study needs 2 CPUs, and the Ray cluster at {address} has no node with as many. Take "
        f"fewer --threads, or add a node with `ray start --address=HOST:PORT --num-cpus=2`."
    )


@with_ray
def test_a_process_that_is_connected_already(nodes: Any, tmp_path: Path) -> None:
    ray = importlib.import_module("ray")
    ray.init(address=nodes.address, log_to_driver=False)
    try:
        with pytest.raises(UsageError) as caught:
            next(Cluster(nodes.address)([a_task(tmp_path)], silent))
        assert ray.is_initialized()
    finally:
        ray.shutdown()
    assert str(caught.value) == (
        "This process is connected to a Ray cluster already. Call ray.shutdown() before the study begins."
    )


@with_ray
def test_ctrl_c_leaves_checkpoints(nodes: Any, tmp_path: Path) -> None:
    """Two runs are under way and two wait when it comes."""
    asked = study(epochs=2000)
    directories = [
        located(asked.config(arm, 0, 1), Place(tmp_path / "runs", cache_dir=tmp_path / "cache"))[2]
        for arm in asked.arms
    ]

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not all(
            RunPaths(path).metrics.exists() for path in directories
        ):
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        on(nodes.address, asked, tmp_path)
    thread.join()
    for path in directories:
        found, _ = snapshot.newest(RunPaths(path).checkpoints)
        assert found is not None and 0 < found.step < 18_000
    assert len(list(tmp_path.glob("runs/*/seed-*"))) == 2


@with_ray
def test_a_ray_of_its_own_ends_with_the_study(
    nodes: Any, here: conduct.Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not the cluster that RAY_ADDRESS names, and stops with all it started."""
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    before = descendants(os.getpid())
    started = set[int]()

    def watch(task: Task, news: float | Line) -> None:
        started.update(descendants(os.getpid()) - before)

    place = Place(tmp_path / "runs", cache_dir=tmp_path / "cache")
    there = conduct.conduct(study(), tmp_path, place, executor=Cluster(""), watch=watch)
    assert without_provenance(there) == without_provenance(here)
    assert started and not living(started)
    assert os.environ["RAY_ADDRESS"] == nodes.address
