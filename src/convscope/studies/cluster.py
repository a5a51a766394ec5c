"""How do the runs of a study happen on a Ray cluster?

    no address    a Ray on this machine alone, for as long as the runs last
    HOST:PORT     the cluster whose head is there, which is left as it was

In: the tasks of a study.  Out: each with its line, in the order in which the
runs end.  A run is one Ray task that asks for as many CPUs as it has threads;
all are submitted at once, and Ray decides which node takes which.

What a cluster must be like:

- This machine is one of its nodes, and every node has the same Python, Ray and convscope.
- Every node sees the folder the study was started in, the results root and the data under the same paths: a
  shared folder that can lock files.  Paths are taken as they were given, $CONVSCOPE_DATA is that of the driver.
- The nodes are equal machines.  Runs from different processors are not pooled unless that is allowed, as always.

Ray has no cheap way for a task to say how far it is, short of an actor that
takes a process of its own, so shares of runs are not reported, only their ends.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from convscope.compute.device import pick, usable_cores
from convscope.core.errors import ConfigError, Interrupted, MissingExtra, NoSpace, UsageError

from .journal import Line
from .task import Ended, Task, failed, in_words, perform

RETRIES = 2
"""How often Ray begins a run again whose worker died; it then goes on from its checkpoint."""
ANSWER_S = 3.0
"""How long the head of a cluster may take to answer. Ray itself tries for two minutes."""
STOP_S = 10.0
"""How long the runs under way may take to write a checkpoint when the study is stopped."""
STORE_BYTES = 100 * 2**20
"""Shared memory of a local Ray, which would else reserve 30 % of the machine; a line has some kilobytes."""


@dataclass(frozen=True)
class Cluster:
    """A task per run on a Ray cluster.

    A worker that dies, for want of memory or with its node, is replaced at most `RETRIES` times; then the run is a
    failed row. When the study is stopped, the runs under way write a checkpoint and those that wait are dropped.
    A driver that is killed takes its local Ray with it. If the head of a cluster is lost, Ray ends the driver after
    a minute; the journal holds what had ended.

    Args:
        address: HOST:PORT of the cluster's head, as `ray start --head` prints it; empty: a Ray of this study's own.

    Raises:
        ConfigError: not an address.
        UsageError: nobody answers there, or something that is no Ray.
        MissingExtra: Ray is not installed.
    """

    address: str

    def __post_init__(self) -> None:
        # The address first: it takes milliseconds, and importing Ray a second.
        if self.address:
            _ask(self.address)
        if importlib.util.find_spec("ray") is None:
            raise MissingExtra("--executor ray", "ray")

    def __call__(self, tasks: Sequence[Task], progress: object) -> Ended:
        """See `Executor`; `progress` hears nothing.

        Raises:
            UsageError: the cluster refuses, or has no node that is large enough for a run.
        """
        if not tasks:
            return
        with _connected(self.address, max(_cpus(task) for task in tasks)) as ray:
            for task in tasks:
                _refuse_too_large(ray, _needs(task), self.address)
            yield from _made(ray, tasks)


def _made(ray: Any, tasks: Sequence[Task]) -> Ended:
    """Submit all, and yield each as it ends.

    Raises:
        NoSpace: a node found the disk full.
    """
    remote = ray.remote(_perform)
    folder, data = str(Path.cwd()), os.environ.get("CONVSCOPE_DATA", "")
    waiting = {
        remote.options(name=in_words(task), max_retries=RETRIES, **_needs(task)).remote(
            task, folder, data
        ): task
        for task in tasks
    }
    try:
        while waiting:
            (ended,), _ = ray.wait(list(waiting), num_returns=1)
            task = waiting.pop(ended)
            try:
                line = ray.get(ended)
            except ray.exceptions.RayError as error:
                if isinstance(cause := getattr(error, "cause", None), NoSpace):
                    raise cause from None
                line = failed(task, _how_it_ended(error))
            yield task, line
    finally:
        if waiting:
            _cancel(ray, list(waiting))


def _cancel(ray: Any, waiting: list[Any]) -> None:
    """Drop what waits; a run under way takes it as Ctrl-C (train/signals.py)."""
    with suppress(ray.exceptions.RayError):
        for reference in waiting:
            ray.cancel(reference)
        ray.wait(waiting, num_returns=len(waiting), timeout=STOP_S)


def _perform(task: Task, folder: str, data: str) -> Line:
    """What a worker does: `task.perform` where the driver is; a line in any case."""
    try:
        os.chdir(folder)
    except OSError as error:
        return failed(
            task,
            f"Node {socket.gethostname()} cannot enter {folder} ({error.strerror}). All nodes of a cluster must "
            f"see the folder a study is started in.",
        )
    place = task.place
    if data and place.data_dir is None:
        place = replace(place, data_dir=Path(data).expanduser())
    try:
        return perform(replace(task, place=place), _unheard)
    except Interrupted as error:
        return failed(task, str(error))


def _unheard(share: float) -> None:
    """Nobody can be told."""


def _how_it_ended(error: Exception) -> str:
    """Why Ray has no line."""
    times = f"{RETRIES + 1} times in all"
    sentences = {
        "WorkerCrashedError": f"Its worker died, {times}.",
        "OutOfMemoryError": f"Its worker was ended because the memory of its node was full, {times}.",
        "NodeDiedError": f"Its node was lost, {times}.",
    }
    cause = getattr(error, "cause", None) or error
    return sentences.get(type(cause).__name__, f"{type(cause).__name__}: {cause}")


# What a run needs -------------------------------------------------------------------------------------


def _cpus(task: Task) -> int:
    return task.config.compute.threads or 1


def _needs(task: Task) -> dict[str, int]:
    """CPUs, and a GPU where runs take one: Ray would else send a run per CPU to the same GPU."""
    gpus = 1 if pick(task.config.compute.device).type == "cuda" else 0
    return {"num_cpus": _cpus(task), "num_gpus": gpus}


def _refuse_too_large(ray: Any, needs: Mapping[str, int], address: str) -> None:
    """Raises: UsageError: no node is large enough, and Ray would wait for one for ever."""
    there = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus, gpus = needs["num_cpus"], needs["num_gpus"]
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in there):
        wanted = f"{cpus} CPU{'s' * (cpus != 1)}" + (" and a GPU" if gpus else "")
        where = f"the Ray cluster at {address}" if address else "a Ray on this machine"
        raise UsageError(
            f"A run of this study needs {wanted}, and {where} has no node with as many. Take fewer --threads, or add "
            f"a node with `ray start --address=HOST:PORT --num-cpus={cpus}`."
        )


# Ray --------------------------------------------------------------------------------------------------


@contextmanager
def _connected(address: str, cpus: int) -> Iterator[Any]:
    """The module `ray`, connected; a local Ray has at least so many CPUs, and ends afterwards."""
    with _put_back(_settings(address)):
        # Here and not above: Ray reads its settings from the environment when it is imported.
        ray: Any = importlib.import_module("ray")
        if ray.is_initialized():
            raise UsageError(
                "This process is connected to a Ray cluster already. Call ray.shutdown() before the study begins."
            )
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        own = {
            "num_cpus": max(cpus, usable_cores()),
            "object_store_memory": STORE_BYTES,
            "include_dashboard": False,
        }
        try:
            # `auto` takes $RAY_ADDRESS, which is set here, and, other than an address, also the user's token.
            ray.init(address="auto", **quiet) if address else ray.init(address="local", **own, **quiet)
        # Ray raises whatever it likes here, a bare Exception where a machine is too busy for its 30 s to start.
        except Exception as error:
            ray.shutdown()
            where = f"The Ray cluster at {address}" if address else "Ray on this machine"
            # Some of what Ray says is a whole traceback, whose last line tells what it was.
            said = str(error.__cause__ or error).strip()
            said = said.splitlines()[-1] if "Traceback" in said else said
            raise UsageError(f"{where} could not be used: {' '.join(said.split())}") from error
    try:
        yield ray
    finally:
        with _put_back({}):
            ray.shutdown()


def _settings(address: str) -> dict[str, str]:
    """Environment variables under which Ray begins."""
    settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_task_oom_retries": str(RETRIES)}
    if address:
        return {**settings, "RAY_ADDRESS": address}
    # Without one, Ray writes a token into the user's home, and that changes how their own clusters start.
    return {**settings, "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN", _token())}


@cache
def _token() -> str:
    """Keeps other users of this machine and its network out of a local Ray; one per process, for Ray keeps it."""
    return secrets.token_hex(32)


@contextmanager
def _put_back(settings: Mapping[str, str]) -> Iterator[None]:
    """With these environment variables; the environment and the signal handlers are then as before."""
    before = dict(os.environ)
    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
        for number, handler in handlers.items() if main else ():
            signal.signal(number, handler)


# The address ------------------------------------------------------------------------------------------


def _ask(address: str) -> None:
    """Whether the head of a cluster answers there, in seconds and without Ray.

    Its port speaks gRPC, so HTTP/2 (RFC 9113, section 3.4): both sides begin with a SETTINGS frame, type 4.

    Raises:
        ConfigError: not HOST:PORT.
        UsageError: no answer, or another one.
    """
    host, port = _parsed(address)
    try:
        with socket.create_connection((host, port), timeout=ANSWER_S) as connection:
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                return  # only Ray has the keys
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            with connection.makefile("rb") as answer:
                is_head = answer.read(4)[3:] == b"\4"
    except TimeoutError:
        raise UsageError(_unreachable(address, f"no answer in {ANSWER_S:g} s")) from None
    except OSError as error:
        raise UsageError(_unreachable(address, error.strerror or str(error))) from None
    if not is_head:
        raise UsageError(_unreachable(address, "something else uses that port"))


def _parsed(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    has_port = port.isascii() and port.isdecimal() and 0 < int(port) < 2**16
    if not has_port or not bare or (":" in bare and bare == host) or set("/ @") & set(bare):
        raise ConfigError(
            f"--address {address!r} is not that of a Ray cluster: HOST:PORT as `ray start --head` prints it, such as "
            f"10.0.0.5:6379, or none for a Ray on this machine."
        )
    return bare, int(port)


def _unreachable(address: str, why: str) -> str:
    return (
        f"No Ray cluster answers at {address} ({why}): start one there with `ray start --head`, or ask "
        f"`ray status` on a node of it for its address."
    )
