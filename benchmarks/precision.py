"""Is bfloat16 right and faster here, layer by layer?

    python benchmarks/precision.py [--threads 1] [--repeats 7]

Prints the processor, the load, two open reports about torch replayed on this
machine, and the shapes of a ResNet-20 at batch 128.  Times are the best of
several repeats, taken in turns, of the process's CPU time: other processes
then delay a measurement, but hardly change it.  With two or more threads the
CPU time is summed over them, waiting included.
"""

import argparse
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from convscope.compute.environment import machine, onednn_version
from convscope.compute.fences import denormals, training_state
from convscope.compute.selftest import Shape, _Case, _worst

FLOAT32, BFLOAT16 = torch.float32, torch.bfloat16


def best(actions: list[Callable[[], object]], repeats: int) -> list[float]:
    """Best CPU time of each action in milliseconds, in turns; one run of each before the clock."""
    for action in actions:
        action()
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(repeats):
        for action, measured in zip(actions, times, strict=True):
            started = time.process_time()
            action()
            measured.append(1e3 * (time.process_time() - started))
    return [min(measured) for measured in times]


def wrong_values() -> None:
    """pytorch#163347: a 2x2 kernel of ones over ones must give 4; and every small kernel size beside it."""
    print("\npytorch#163347 (bfloat16 gave 1 where 4 is right)")
    both = [float(torch.conv2d(torch.ones(1, 1, 2, 2, dtype=d), torch.ones(1, 1, 2, 2, dtype=d))) for d in
            (FLOAT32, BFLOAT16)]  # fmt: skip
    print(f"  conv2d of ones, 2x2 by 2x2: float32 {both[0]:g}, bfloat16 {both[1]:g}, right is 4")
    errors = {}
    for channels, size, kernel, stride in itertools.product(
        (1, 3, 16), (1, 2, 3, 4, 8, 16), (1, 2, 3, 5, 7), (1, 2, 3)
    ):
        if kernel > size:
            continue
        for last in (False, True):
            shape = Shape("conv2d", (2, channels, size, size), (8, channels, kernel, kernel),
                          stride=(stride, stride), channels_last=last)  # fmt: skip
            case = _Case(shape, torch.device("cpu"))
            errors[shape.key] = _worst(case.run(FLOAT32), case.run(BFLOAT16))
    failed = {key: error for key, error in errors.items() if error is None or error > 0.02}
    worst = max(error for error in errors.values() if error is not None)
    print(
        f"  {len(errors)} small shapes, forward and gradients: {len(failed)} wrong, largest error {worst:.2%}"
    )
    for key, error in failed.items():
        print(f"    {key}: {error}")


def slow_shapes(repeats: int) -> None:
    """pytorch#183815: forward only, as reported there."""
    print("\npytorch#183815 (bfloat16 4 to 16 times slower), forward, CPU ms")
    print(f"  {'':58}float32  bfloat16  speed")
    last = torch.channels_last
    cases = [
        ("A: 8x16x112x112 by 32x16x7x7, dilation 2, NCHW", (8, 16, 112, 112), (32, 16, 7, 7), 2, 1, False),
        ("A without dilation", (8, 16, 112, 112), (32, 16, 7, 7), 1, 1, False),
        ("A with channels-last", (8, 16, 112, 112), (32, 16, 7, 7), 2, 1, True),
        ("B: 8x64x56x56 by 64x8x3x3, groups 8, channels-last", (8, 64, 56, 56), (64, 8, 3, 3), 1, 8, True),
        ("B with NCHW", (8, 64, 56, 56), (64, 8, 3, 3), 1, 8, False),
        ("depthwise: 8x64x56x56 by 64x1x3x3, channels-last", (8, 64, 56, 56), (64, 1, 3, 3), 1, 64, True),
        ("plain: 8x64x56x56 by 64x64x3x3, channels-last", (8, 64, 56, 56), (64, 64, 3, 3), 1, 1, True),
    ]
    for name, images, weight, dilation, groups, channels_last in cases:
        form = last if channels_last else torch.contiguous_format
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(images, generator=generator).contiguous(memory_format=form)
        w = torch.randn(weight, generator=generator).contiguous(memory_format=form)
        x16, w16 = x.bfloat16(), w.bfloat16()
        with torch.no_grad():
            slow, fast = best(
                [
                    lambda x=x, w=w, d=dilation, g=groups: F.conv2d(x, w, dilation=d, groups=g),
                    lambda x=x16, w=w16, d=dilation, g=groups: F.conv2d(x, w, dilation=d, groups=g),
                ],
                repeats,
            )
        print(f"  {name:56}{slow:9.2f} {fast:9.2f} {slow / fast:5.2f}x")


def resnet20(repeats: int) -> None:
    """Every distinct call of a CIFAR ResNet-20 at batch 128, forward alone and with both gradients."""
    print("\nResNet-20, batch 128, channels-last, CPU ms")
    print(f"  {'':32}error | forward: float32 bfloat16  speed | with gradients: float32 bfloat16  speed")
    for inputs, outputs, size, stride in [
        (3, 16, 32, 1), (16, 16, 32, 1), (16, 32, 32, 2), (32, 32, 16, 1), (32, 64, 16, 2), (64, 64, 8, 1),
    ]:  # fmt: skip
        shape = Shape("conv2d", (128, inputs, size, size), (outputs, inputs, 3, 3), stride=(stride, stride),
                      padding=(1, 1), channels_last=True)  # fmt: skip
        row(f"{inputs}->{outputs} 3x3 at {size}x{size} stride {stride}", shape, repeats)
    row("linear 64->10", Shape("linear", (128, 64), (10, 64), bias=True), repeats)


def row(name: str, shape: Shape, repeats: int) -> None:
    """One line of the table."""
    case = _Case(shape, torch.device("cpu"))
    error = _worst(case.run(FLOAT32), case.run(BFLOAT16))

    def forward(dtype: torch.dtype) -> None:
        with torch.no_grad(), torch.autocast("cpu", BFLOAT16, enabled=dtype is BFLOAT16):
            shape.forward(case.images[dtype], case.weight, case.bias)

    a, b = best([lambda: forward(FLOAT32), lambda: forward(BFLOAT16)], repeats)
    c, d = best([lambda: case.run(FLOAT32), lambda: case.run(BFLOAT16)], repeats)
    error_text = "failed" if error is None else f"{error:.2%}"
    print(f"  {name:30}{error_text:>7} | {a:16.2f} {b:8.2f} {a / b:5.2f}x | {c:23.2f} {d:8.2f} {c / d:5.2f}x")


def matmul(repeats: int) -> None:
    """The ceiling: a square product, 2 x 1024^3 operations."""
    x = torch.randn(1024, 1024, generator=torch.Generator().manual_seed(0))
    y = x.bfloat16()
    slow, fast = best([lambda: x @ x, lambda: y @ y], repeats)
    slow, fast = 2.147e6 / slow / 1e3, 2.147e6 / fast / 1e3
    print(f"\nmatmul 1024: float32 {slow:.0f}, bfloat16 {fast:.0f} GFLOP/s of CPU time")


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    for key, value in machine(torch.device("cpu")).items():
        print(f"{key}: {value}")
    flags = ("avx512f", "avx512_bf16", "amx_bf16")
    print(f"has: {', '.join(flag for flag in flags if has(flag)) or 'none of ' + ', '.join(flags)}")
    print(f"torch {torch.__version__}, oneDNN {onednn_version()}, {asked.threads} threads")
    print(f"load of the last minute: {os.getloadavg()[0]:.1f}")
    with training_state(asked.threads):
        print(f"denormals: {denormals()}")
        matmul(asked.repeats)
        wrong_values()
        slow_shapes(asked.repeats)
        resnet20(asked.repeats)


def has(flag: str) -> bool:
    """Whether the processor lists this instruction set."""
    info = Path("/proc/cpuinfo")
    return info.is_file() and f" {flag} " in info.read_text().replace("\n", " ")


if __name__ == "__main__":
    main()
