"""Devices by name, memory by the system's own books."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from convscope.compute import device
from convscope.compute.device import (
    Memory,
    Placement,
    available,
    keep_freed_memory,
    memory_report,
    pick,
    place,
    usable_cores,
)
from convscope.core.errors import ConfigError, UnknownName


@pytest.fixture
def only_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "available", lambda: ["cpu"])


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize("name", ["auto", "cpu", "cpu:0"])
def test_a_machine_without_accelerator_computes_on_its_cpu(only_a_cpu: None, name: str) -> None:
    assert pick(name) == torch.device("cpu")


def test_the_first_gpu_is_preferred_and_others_go_by_number(two_gpus: None) -> None:
    assert available() == ["cuda:0", "cuda:1", "cpu"]
    assert [pick(name) for name in ("auto", "cuda:1")] == [torch.device("cuda:0"), torch.device("cuda:1")]
    assert pick("cuda") == torch.device("cuda")


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there(only_a_cpu: None, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pick(name)
    assert str(caught.value) == (
        f"The device {name!r} is not there: torch {torch.__version__} finds cpu on this machine. Try --device auto."
    )


def test_a_gpu_too_many(two_gpus: None) -> None:
    with pytest.raises(ConfigError) as caught:
        pick("cuda:2")
    assert str(caught.value) == (
        f"The device 'cuda:2' is not there: torch {torch.__version__} finds cuda:0, cuda:1, cpu on this "
        f"machine. Try --device auto."
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [("cudo", " Did you mean 'cuda'?"), ("cuda:x", " Did you mean 'cuda'?"), ("", "")],
)
def test_a_name_that_is_no_device(only_a_cpu: None, name: str, hint: str) -> None:
    with pytest.raises(UnknownName) as caught:
        pick(name)
    assert str(caught.value) == f"No device is called {name!r}.{hint} Known: auto, cpu, cuda, mps."


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("50000 100000\n", 1),
        ("max 100000\n", sys.maxsize),
        ("?", sys.maxsize),
    ],
)
def test_a_containers_quota_by_hand(tmp_path: Path, text: str, cores: int) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(text)
    assert device._quota(path) == cores
    assert device._quota(tmp_path / "absent") == sys.maxsize


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_a_process_bound_to_one_core_has_one() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def test_where_the_model_is_and_that_it_got_there() -> None:
    model = nn.Sequential(nn.Linear(256, 256), nn.BatchNorm1d(256))
    placed = place(model, torch.device("cpu"))
    floats = 256 * 256 + 256 + 4 * 256
    assert placed.model_bytes == {"cpu": 4 * floats + 8}  # and one int64 counter
    assert placed.complete
    other = Placement("cuda:0", {"cpu": 4}, placed.before, placed.after)
    assert not other.complete


def test_the_placement_in_words() -> None:
    before = Memory("cuda:0", 0, 2203 * 2**20, 2203 * 2**20)
    after = Memory("cuda:0", 1171 * 2**20, 1032 * 2**20, 2203 * 2**20)
    assert str(Placement("cuda:0", {"cuda:0": 2**20}, before, after)) == (
        "Model: 1.0 MiB on cuda:0. In use on cuda:0: 0.0 MiB before, 1,171.0 MiB after."
    )
    assert str(after) == ("cuda:0: 1,171.0 MiB in use by this process, 1,032.0 MiB free, 2,203.0 MiB in all")
    assert str(Memory("cpu", 2**20, None, None)) == "cpu: 1.0 MiB in use by this process"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_the_resident_set_grows_by_what_is_allocated() -> None:
    before = memory_report(torch.device("cpu"))
    held = torch.ones(64 * 2**20)  # 256 MiB, written
    after = memory_report(torch.device("cpu"))
    # Some systems take other pages back meanwhile: up to 42 MiB were seen where others worked too.
    assert after.used - before.used == pytest.approx(held.nbytes, rel=0.25)
    assert before.total is not None and before.free is not None
    assert before.used < before.free < before.total


def test_without_proc_the_peak_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_kibibytes", lambda path: {})
    report = memory_report(torch.device("cpu"))
    assert (report.free, report.total) == (None, None)
    assert report.used > 50 * 2**20  # torch alone needs more


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_freed_memory_stays_with_the_process() -> None:
    # In a process of its own: the setting holds for good.
    code = """
import sys, torch
from convscope.compute.device import keep_freed_memory, memory_report
def growth():
    before = memory_report(torch.device("cpu")).used
    big = torch.ones(2**25)
    del big
    return (memory_report(torch.device("cpu")).used - before) / 2**27
plain = growth()
print(keep_freed_memory(), plain < 0.1, growth() > 0.9)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "True True True\n"


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
