"""On what do we compute, and what is in its memory?

In: a device's name as the user wrote it.  Out: the device, or a sentence that
says which ones there are.  `place` moves a model and shows that it arrived:
the memory in use before and after, and where each byte of the model lies.
"""

import ctypes
import math
import os
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from convscope.core.errors import ConfigError, UnknownName

KINDS = ("cpu", "cuda", "mps")
_MALLOPT_TRIM_THRESHOLD = -1
_MALLOPT_MMAP_THRESHOLD = -3


def available() -> list[str]:
    """The devices of this machine that torch can use, the best one first."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cuda = [f"cuda:{index}" for index in range(count)]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def pick(name: str) -> torch.device:
    """The device of that name; `auto` is the first CUDA device, else mps, else the CPU.

    Raises:
        UnknownName: not the name of a device.
        ConfigError: a device, but not one of this machine.
    """
    present = available()
    if name == "auto":
        return torch.device(present[0])
    kind, colon, index = name.partition(":")
    if kind not in KINDS or (colon and not index.isdecimal()):
        raise UnknownName("device", name, {"auto", *present, *KINDS})
    if _full_name(kind, index) not in present:
        raise ConfigError(
            f"The device {name!r} is not there: torch {torch.__version__} finds {', '.join(present)} "
            f"on this machine. Try --device auto."
        )
    return torch.device("cpu" if kind == "cpu" else name)


def _full_name(kind: str, index: str) -> str:
    """('cuda', '') -> 'cuda:0'; ('cpu', '0') -> 'cpu'."""
    if kind == "cuda":
        return f"cuda:{int(index or 0)}"
    return kind if int(index or 0) == 0 else f"{kind}:{index}"


def usable_cores() -> int:
    """How many cores this process may use: its affinity, and the quota of its container; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _quota(Path("/sys/fs/cgroup/cpu.max"))))


def _quota(path: Path) -> int:
    """Cores a control group grants, rounded up; a very large number where there is no limit."""
    unlimited = sys.maxsize
    try:
        quota, period = path.read_text().split()
    except (OSError, ValueError):
        return unlimited
    return unlimited if quota == "max" else math.ceil(int(quota) / int(period))


@dataclass(frozen=True)
class Memory:
    """Memory of one device, in bytes; None where the system does not tell."""

    device: str
    used: int
    """By this process: tensors allocated on an accelerator, or the resident set on a CPU."""
    free: int | None
    total: int | None

    def __str__(self) -> str:
        known = [("free", self.free), ("in all", self.total)]
        rest = "".join(f", {_mib(size)} {word}" for word, size in known if size is not None)
        return f"{self.device}: {_mib(self.used)} in use by this process{rest}"


@dataclass(frozen=True)
class Placement:
    """Where a model lies after it was moved."""

    device: str
    model_bytes: dict[str, int]
    """Device -> bytes of parameters and buffers that lie there."""
    before: Memory
    after: Memory

    @property
    def complete(self) -> bool:
        """Whether every parameter and buffer is on the device."""
        return set(self.model_bytes) <= {self.device}

    def __str__(self) -> str:
        where = ", ".join(f"{_mib(size)} on {device}" for device, size in sorted(self.model_bytes.items()))
        return (
            f"Model: {where or 'no parameters'}. In use on {self.device}: {_mib(self.before.used)} before, "
            f"{_mib(self.after.used)} after."
        )


def place(model: nn.Module, device: torch.device) -> Placement:
    """Move a model to a device, in place, and measure that it is there."""
    before = memory_report(device)
    model.to(device)
    where: Counter[str] = Counter()
    for tensor in (*model.parameters(), *model.buffers()):
        where[str(tensor.device)] += tensor.nbytes
    return Placement(before.device, dict(where), before, memory_report(device))


def memory_report(device: torch.device) -> Memory:
    """What this process uses on a device now, and what is free there."""
    name = _full_name(device.type, "" if device.index is None else str(device.index))
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return Memory(name, torch.cuda.memory_allocated(device), free, total)
    if device.type == "mps":
        used, total = torch.mps.current_allocated_memory(), torch.mps.recommended_max_memory()
        return Memory("mps:0", used, total - used, total)
    machine = _kibibytes(Path("/proc/meminfo"))
    used = _kibibytes(Path("/proc/self/status")).get("VmRSS", _largest_resident_set())
    return Memory(name, used, machine.get("MemAvailable"), machine.get("MemTotal"))


def _kibibytes(path: Path) -> dict[str, int]:
    """The `Name:  123 kB` lines of a file under /proc, in bytes; nothing where there is no such file."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if words[-1:] == ["kB"]}


def _largest_resident_set() -> int:
    """Bytes, at the process's peak; the best to be had without /proc.  0 on Windows."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def keep_freed_memory() -> bool:
    """Have the C library keep freed memory for the next step instead of giving it back to the system.

    By default glibc gets every large activation from the system and returns it at once, so each step
    pays for its page faults again.  Measured on a 2-core Xeon, ResNet-20, batch 128: 571 -> 692 images/s.
    Holds for the whole process from now on, changes no result, and cannot be undone.

    Returns:
        Whether it took effect; False where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # Older versions of glibc refuse more than 32 MiB for the first.
    mapped = mallopt(_MALLOPT_MMAP_THRESHOLD, 1 << 30) or mallopt(_MALLOPT_MMAP_THRESHOLD, 32 << 20)
    trimmed = mallopt(_MALLOPT_TRIM_THRESHOLD, 2**31 - 1)
    return bool(mapped and trimmed)
