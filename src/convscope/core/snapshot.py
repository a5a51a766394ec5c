"""How are tensors and the state beside them kept so that damage is always noticed?

A snapshot is two files of one step: `step-00000120.safetensors` and its
manifest `step-00000120.json`, which holds the plain state, the SHA-256 of the
tensors, and a SHA-256 of itself.  The manifest is written last, so a snapshot
without one does not exist.  Reading checks every hash before anything is
parsed; safetensors has no checksum of its own and torch does not check the
ones it stores (pytorch#126952).  Nothing is ever unpickled.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import files
from .errors import DamagedFile

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1


@dataclass(frozen=True)
class Snapshot:
    """Tensors and plain state of one step, as read back."""

    path: Path
    step: int
    tensors: "dict[str, Tensor]"
    state: dict[str, Any]


def save(directory: Path, step: int, tensors: "Mapping[str, Tensor]", state: Mapping[str, Any]) -> Path:
    """Commit one snapshot; returns the manifest's path.

    Raises:
        NoSpace: the disk is full; every earlier snapshot is intact.
    """
    from safetensors.torch import save as to_bytes

    # safetensors wants plain contiguous tensors; convolution weights are channels-last in memory.
    data = to_bytes({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    stem = f"step-{step:08d}"
    body = {
        "format": FORMAT,
        "step": step,
        "tensors": {
            "file": f"{stem}.safetensors",
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        },
        "state": dict(state),
    }
    manifest = {**body, "seal": _seal(body)}
    files.write(directory / f"{stem}.safetensors", data)
    path = directory / f"{stem}.json"
    files.write(path, json.dumps(manifest, allow_nan=False).encode())
    return path


def _seal(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def load(manifest: Path) -> Snapshot:
    """Read one snapshot.

    Raises:
        DamagedFile: a file is missing, cut short, altered, or of another format.
    """
    try:
        content = json.loads(manifest.read_bytes())
        body = {key: content[key] for key in ("format", "step", "tensors", "state")}
        intact = content["seal"] == _seal(body) and content["format"] == FORMAT
        tensors_path = manifest.parent / body["tensors"]["file"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedFile(f"{manifest} is not a snapshot's manifest ({type(error).__name__}).") from None
    if not intact:
        raise DamagedFile(f"{manifest} does not agree with its own checksum.")
    return Snapshot(manifest, body["step"], _read_tensors(tensors_path, body["tensors"]), body["state"])


def _read_tensors(path: Path, expected: Mapping[str, Any]) -> "dict[str, Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedFile(f"{path} cannot be read: {error.strerror}.") from None
    if hashlib.sha256(data).hexdigest() != expected["sha256"]:
        raise DamagedFile(f"{path} does not agree with the SHA-256 in its manifest.")
    try:
        found: dict[str, Tensor] = from_bytes(data)
    except SafetensorError as error:
        raise DamagedFile(f"{path} is not a safetensors file: {error}.") from None
    return found


def manifests(directory: Path) -> list[Path]:
    """Manifests in a directory, newest step first."""
    # By length first: the name of a step beyond eight digits is longer.
    return sorted(directory.glob("step-*.json"), key=lambda path: (len(path.name), path.name), reverse=True)


def newest(directory: Path) -> tuple[Snapshot | None, list[str]]:
    """The newest snapshot whose hashes verify, and a sentence for each newer one that was refused."""
    refused: list[str] = []
    for manifest in manifests(directory):
        try:
            return load(manifest), refused
        except DamagedFile as error:
            refused.append(str(error))
    return None, refused


def keep(directory: Path, wanted: Callable[[int], bool]) -> None:
    """Delete the snapshots of all steps that are not wanted, and what crashes left behind."""
    # ".json" sorts before ".safetensors": a manifest goes before its tensors, so none ever lacks them.
    committed = {path.stem for path in manifests(directory) if wanted(step_of(path))}
    for path in sorted(directory.glob("step-*")):
        if path.name.partition(".")[0] not in committed:
            files.remove(path)


def keep_newest(directory: Path, count: int) -> None:
    """Delete all but the newest `count` snapshots."""
    newest_steps = {step_of(path) for path in manifests(directory)[:count]}
    keep(directory, newest_steps.__contains__)


def step_of(manifest: Path) -> int:
    """The step in a manifest's name."""
    return int(manifest.stem.removeprefix("step-"))
