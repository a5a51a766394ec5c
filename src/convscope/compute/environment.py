"""What, besides the configuration, decides the last bit of a number?

`fingerprint` writes it down for a run's `environment.json`; `comparable` says
in sentences what differs between two of them.  Bit-identity is promised where
nothing differs, and runs are pooled only there.  The commit is recorded, never
compared: the hash of the modules that decide numbers is.
"""

import ast
import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .fences import denormals

if TYPE_CHECKING:
    from .precision import Table

PACKAGE = Path(__file__).parent.parent
DECIDING = ("core", "compute", "models", "data", "evaluate", "train")
"""The parts of the package whose code can change a number."""

TEXT_ONLY = ("core/entries.py", "core/errors.py")
"""Modules of these parts that cannot: a default recipe from entries.py is written out in every configuration."""

LIMITS = (
    "ATEN_CPU_CAPABILITY",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA",
)
"""Environment variables with which a user chooses other kernels than the processor's best."""


def fingerprint(
    threads: int, table: "Table", data_hash: str, device: torch.device | None = None
) -> dict[str, Any]:
    """Everything that bit-identity needs, as plain values; call it inside `fences.training_state`.

    Args:
        threads: CPU threads of the run.
        table: the precision of its layers.
        data_hash: content hash of its data.
        device: absent: the CPU.
    """
    return {
        **surroundings(threads, device),
        "denormals": denormals(),
        "precision": table.model_dump(mode="json"),
        "dtypes": table.dtypes(),
        "data": data_hash,
    }


def surroundings(threads: int, device: torch.device | None = None) -> dict[str, Any]:
    """What of a fingerprint is known before there is a network: versions, machine, threads, code."""
    return {
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "pillow": importlib.metadata.version("pillow"),
            "onednn": onednn_version(),
            "convscope": importlib.metadata.version("convscope"),
        },
        "machine": machine(device or torch.device("cpu")),
        "platform": platform.platform(),
        "threads": threads,
        "code": code_hash(),
        "commit": commit(),
    }


def comparable(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """A sentence for each difference that makes bit-identity impossible; none: identical is promised.

    Not compared: the commit, the platform's name, the version of convscope (its code is), and what the
    precision self-test measured (what it decided is).
    """
    found = []
    for what, path in _COMPARED.items():
        before, after = _look_up(old, path), _look_up(new, path)
        if before != after:
            found.append(f"The {what} differ{_s(what)}: {_said(before)} then, {_said(after)} now.")
    before, after = old.get("dtypes") or {}, new.get("dtypes") or {}
    layers = [layer for layer in sorted({*before, *after}) if before.get(layer) != after.get(layer)]
    if layers:
        first = layers[0]
        found.append(
            f"The precision of {len(layers)} layer{'s' if len(layers) > 1 else ''} differs, first of "
            f"{first}: {_said(before.get(first))} then, {_said(after.get(first))} now."
        )
    return found


_COMPARED = {
    "Python version": "versions.python",
    "torch version": "versions.torch",
    "NumPy version": "versions.numpy",
    "Pillow version": "versions.pillow",
    "oneDNN version": "versions.onednn",
    "device": "machine.device",
    "processor": "machine.processor",
    "processor's flags": "machine.flags",
    "choice of kernels": "machine.kernels",
    "number of threads": "threads",
    "treatment of denormals": "denormals",
    "data": "data",
    "code that decides numbers": "code",
}


def _s(what: str) -> str:
    return "" if what in ("processor's flags", "data") else "s"


def _said(value: Any) -> str:
    return "not recorded" if value is None else str(value)


def _look_up(values: Any, path: str) -> Any:
    for key in path.split("."):
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def machine(device: torch.device) -> dict[str, str]:
    """The processor, a hash of its flags, which of its instructions torch is allowed, and the device."""
    processor, flags = _processor(Path("/proc/cpuinfo"))
    capability = torch.backends.cpu.get_cpu_capability()
    limits = [f"{name}={os.environ[name]}" for name in LIMITS if name in os.environ]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return {
        "device": f"{device.type} ({name})" if name else device.type,
        "processor": processor,
        "flags": hashlib.sha256((flags or capability).encode()).hexdigest()[:12],
        "kernels": " ".join([capability, *limits]),
    }


def _processor(cpuinfo: Path) -> tuple[str, str]:
    """Name with family, model and stepping; sorted flags.  Of the first processor listed."""
    try:
        first = cpuinfo.read_text().partition("\n\n")[0]
    except OSError:
        return platform.processor() or platform.machine(), ""
    values = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in first.splitlines())}
    # ARM lists no name, but an implementer and a part.
    named = ("cpu family", "model", "stepping", "CPU implementer", "CPU part", "CPU revision")
    numbers = ", ".join(f"{key} {values[key]}" for key in named if key in values)
    name = values.get("model name", platform.machine())
    flags = values.get("flags", values.get("Features", ""))
    return f"{name} ({numbers})" if numbers else name, " ".join(sorted(flags.split()))


def onednn_version() -> str:
    """The version of the library with most CPU kernels, as torch reports it; empty if it has none."""
    found = re.search(r"(?:MKL-DNN|oneDNN) v(\S+)", torch.__config__.show())
    return found[1] if found else ""


@cache
def code_hash(package: Path = PACKAGE) -> str:
    """SHA-256 over names and syntax of the modules that decide numbers; comments and docstrings do not count.

    So a study of several days may be pooled although a sentence was mended meanwhile.
    """
    total = hashlib.sha256()
    paths = [path for part in DECIDING for path in (package / part).rglob("*.py")]
    for name, path in sorted((path.relative_to(package).as_posix(), path) for path in paths):
        if name not in TEXT_ONLY:
            syntax = hashlib.sha256(_syntax(path.read_text(encoding="utf-8")).encode()).hexdigest()
            total.update(f"{name} {syntax}\n".encode())
    return total.hexdigest()


def _syntax(text: str) -> str:
    """The code's syntax tree as text, without strings that stand alone, such as docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [line for line in body if not _is_text(line)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(line: ast.stmt) -> bool:
    return (
        isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    )


def commit(package: Path = PACKAGE) -> str:
    """The commit of the checkout the package runs from, with `+dirty` if it was changed since.

    Empty if it does not run from a checkout: an installed package may lie below somebody else's.
    """
    if not _git(package, "ls-files", "__init__.py"):
        return ""
    dirty = _git(package, "status", "--porcelain", "--", ".")
    return _git(package, "rev-parse", "HEAD") + ("+dirty" if dirty else "")


def _git(folder: Path, *arguments: str) -> str:
    """What git says; empty if it is not there, refuses, or takes longer than 5 s."""
    # A question must not write the index: another git may be at work.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True, text=True, timeout=5, env=environment, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
