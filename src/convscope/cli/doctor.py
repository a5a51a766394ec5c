"""`convscope doctor`: is this machine set up right, and how fast is it?"""

import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from . import parse

DESCRIPTION = """\
Look at the machine: versions, cores, memory, where data sets are found, which kernels torch uses, in what
precision layers would compute, and how fast a step of LeNet-5 and of ResNet-20 is.

examples:
  convscope doctor
  convscope doctor --device cpu --threads 1 --data-dir /data\
"""


class Flags(BaseModel):
    """What `doctor` understands."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps ..."""
    threads: int = 0
    """CPU threads; 0 is all cores this process may use."""
    batch_size: int = 128
    """Images per step in the measurements."""
    data_dir: Path | None = None
    """Where named data sets are looked for first."""


def main(arguments: Sequence[str]) -> int:
    """Print what there is, then measure."""
    flags = parse.parse(Flags, None, arguments, "convscope doctor", DESCRIPTION)
    from convscope.compute import environment, fences
    from convscope.compute.device import keep_freed_memory, memory_report, pick, usable_cores
    from convscope.core import files
    from convscope.data import user_cache

    device, threads = pick(flags.device), flags.threads or usable_cores()
    keep_freed_memory()
    with fences.training_state(threads):
        machine = environment.machine(device)
        _say("processor", f"{machine['processor']}; {machine['kernels']}")
        _say("threads", f"{threads} of {usable_cores()} usable cores; denormals {fences.denormals()}")
        _say("device", machine["device"])
        _say("memory", str(memory_report(device)))
        _say("versions", _versions())
        _say("cache", f"{user_cache()}: {files.free_bytes(user_cache()) / 1e9:.1f} GB free")
        _say_data(flags.data_dir)
        _say_kernels()
        for model, size in (("lenet5", 28), ("resnet20", 32)):
            _say_speed(model, size, flags.batch_size, device)
    return 0


def _say(what: str, text: str) -> None:
    print(f"{what:<10} {text}", flush=True)


def _versions() -> str:
    import platform

    import torch

    import convscope
    from convscope.compute.environment import onednn_version

    return (
        f"convscope {convscope.__version__}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"oneDNN {onednn_version() or 'absent'}"
    )


def _say_data(data_dir: Path | None) -> None:
    """Which named sets would be found; nothing is decoded or downloaded."""
    from convscope.data import whereabouts

    for name in ("mnist", "fashion-mnist", "cifar10", "cifar100"):
        _say("data", f"{name}: {whereabouts(name, data_dir) or 'not found on this machine'}")


def _say_kernels() -> None:
    from convscope.compute.kernels import implementations, is_reference

    found = implementations()
    slow = [way for way, name in found.items() if is_reference(name)]
    text = ", ".join(f"{way} {name}" for way, name in found.items()) or "oneDNN is not used or does not tell"
    _say("kernels", text)
    if slow:
        _say("WARNING", f"oneDNN's slow reference code is used for: {', '.join(slow)}.")


def _say_speed(model: str, size: int, batch_size: int, device: object) -> None:
    """Images per second of forward and backward, in the precision the self-test chose."""
    import torch

    from convscope.compute import precision
    from convscope.models import build

    assert isinstance(device, torch.device)  # from `pick`
    channels = 1 if size == 28 else 3
    network = build(model, classes=10, channels=channels, size=size).to(device)
    images = torch.randn(batch_size, channels, size, size, device=device)
    images = images.to(memory_format=torch.channels_last)
    table = precision.resolve(network, images, "auto")
    for sentence in table.refusals():
        _say("precision", f"{model}: {sentence}")
    _say("precision", f"{model}: {table}")
    with precision.lowered(network, table):
        times = []
        for _ in range(6):
            start = time.perf_counter()
            network(images).float().logsumexp(1).mean().backward()
            times.append(time.perf_counter() - start)
    _say(
        "speed",
        f"{model}: {batch_size / sorted(times[1:])[2]:,.0f} images/s, forward and backward, batch {batch_size}",
    )
