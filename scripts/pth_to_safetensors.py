"""Turn weights that torch.save wrote into a safetensors file, without running anything in them.

    python scripts/pth_to_safetensors.py resnet50.pth resnet50.safetensors

The file may hold a state dict, or a dict with one under `state_dict` or
`model`.  `module.`, which DataParallel puts before every name, is taken away;
tensors that share memory are written once each.  Outside the package, since
nothing in the package unpickles: here torch's restricted reader does it, which
builds tensors and plain containers and refuses everything else.
"""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

WRAPPER = "module."
WANTED = "Save it as one, or as a dict with one under `state_dict` or `model`: torch.save(model.state_dict(), ...)."


def main(arguments: Sequence[str]) -> int:
    """Convert one file; returns the exit code."""
    if len(arguments) != 2 or not arguments[1].endswith(".safetensors"):
        print("usage: python scripts/pth_to_safetensors.py FILE.pth FILE.safetensors", file=sys.stderr)
        return 2
    source, target = map(Path, arguments)
    try:
        tensors = state_dict(read(source), source)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 3
    data = save(tensors)
    temporary = target.with_name(target.name + ".part")
    temporary.write_bytes(data)
    temporary.replace(target)
    print(f"{target}: {len(tensors)} tensors, {sum(t.numel() for t in tensors.values()):,} numbers")
    print(f"SHA-256 {hashlib.sha256(data).hexdigest()}")
    return 0


def read(path: Path) -> Any:
    """What torch's restricted reader makes of a file, on the CPU.

    Raises:
        ValueError: there is no such file, or it holds more than tensors and plain containers.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from None
    # What else torch raises of bytes that are none of its files.
    except (UnpicklingError, RuntimeError, EOFError, LookupError, ValueError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{path} was not opened: it is no file of torch.save, or it holds more than tensors, which could run "
            f"programs ({reason}). Save it again as a state dict: torch.save(model.state_dict(), ...)."
        ) from None


def state_dict(found: Any, path: Path) -> dict[str, Tensor]:
    """The tensors by name, each with memory of its own.

    Raises:
        ValueError: it is no state dict.
    """
    for key in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping) or not found:
        raise ValueError(f"{path} holds no state dict but a {type(found).__name__}. {WANTED}")
    odd = [
        str(name)
        for name, value in found.items()
        if not (isinstance(name, str) and isinstance(value, Tensor))
    ]
    if odd:
        raise ValueError(
            f"{path} holds no state dict: {', '.join(odd[:3])} are not tensors by name. {WANTED}"
        )
    wrapped = all(name.startswith(WRAPPER) for name in found)
    return {
        name.removeprefix(WRAPPER) if wrapped else name: tensor.detach().clone(
            memory_format=torch.contiguous_format
        )
        for name, tensor in found.items()
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
