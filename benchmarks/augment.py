"""How long does it take to change a batch?

    python benchmarks/augment.py [--repeats 200] [--force]

512 images of 3x32x32, one thread, as `Batches` calls it: each augmentation of
the catalog alone with its default options, crop and flip together, one of each
kind, and all of them one after the other, which nobody would.  Reading the
batch out of the set and normalising it are not in the times.  Median and
quickest of the repeats, in turns, so that all meet the same machine.  Exit code
2 and nothing measured if the machine is busy.

    N  images      C  channels      H, W  pixels
"""

import argparse
import os
import platform
import statistics
import sys
import time

import numpy as np
import torch

from convscope.compute import fences
from convscope.compute.device import keep_freed_memory, usable_cores
from convscope.compute.environment import machine
from convscope.core import catalog
from convscope.core.config import Choice
from convscope.core.streams import Streams
from convscope.data.augmenting import Augmenter

SHAPE = (512, 3, 32, 32)
CLASSES = 10
TOGETHER = {
    "crop + flip": ("crop", "flip"),
    "one of each kind": ("crop", "flip", "rotate", "jitter", "cutout", "mixup"),
}
"""A kind: moves by whole pixels, mirrors, interpolates, changes colours, covers, mixes."""
PROMISED_MS = {"crop + flip": 2.0, "one of each kind": 12.0}
# Of the last minute, per core. Above it another process takes a part of the machine.
QUIET = 0.25


def milliseconds(repeats: int) -> dict[str, list[float]]:
    """How long each augmentation, and each combination, took at each repeat."""
    names = catalog.names("augmentations")
    wanted = {**{name: (name,) for name in names}, **TOGETHER, "all": names}
    made = {label: Augmenter([Choice(name=name) for name in some]) for label, some in wanted.items()}
    generator = np.random.Generator(np.random.Philox(key=0))
    images = torch.from_numpy(generator.integers(0, 256, SHAPE, dtype=np.uint8))
    shares = torch.eye(CLASSES)[torch.arange(SHAPE[0]) % CLASSES]
    which, streams = torch.from_numpy(generator.permutation(50_000)[: SHAPE[0]]), Streams(0)
    times: dict[str, list[float]] = {label: [] for label in made}
    for step in range(-3, repeats):  # the first three pay for set-up
        for label, augmenter in made.items():
            started = time.perf_counter()
            augmenter(images, shares, which=which, epoch=step // 98, step=abs(step), streams=streams)
            if step >= 0:
                times[label].append((time.perf_counter() - started) * 1e3)
    return times


def main() -> int:
    """Measure and print; 2 if the machine is busy."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=200, help="batches changed by each (200)")
    parser.add_argument("--force", action="store_true", help="measure although the machine is busy")
    asked = parser.parse_args()
    load, limit = os.getloadavg()[0], QUIET * usable_cores()
    if load > limit and not asked.force:
        print(
            f"The machine is busy: its load over the last minute is {load:.2f}, and above {limit:.2f} times are "
            f"not to be trusted. Wait until it is quiet, or give --force and say so beside the numbers.",
            file=sys.stderr,
        )
        return 2
    keep_freed_memory()  # as `convscope train` does
    with fences.training_state(threads=1):
        times = milliseconds(asked.repeats)
    what = machine(torch.device("cpu"))
    count, channels, height, width = SHAPE
    print(
        f"{what['processor']}, {what['kernels']}, one thread, {platform.system()}; torch {torch.__version__}"
    )
    print(f"load before: {load:.2f}{' (busy: --force was given)' if load > limit else ''}")
    print(f"ms per {count} images of {channels}x{height}x{width}, {asked.repeats} batches of each")
    print(f"{'':22}{'median':>8} {'quickest':>9} {'promised':>9}")
    for label, found in times.items():
        promised = f"{PROMISED_MS[label]:.0f}" if label in PROMISED_MS else ""
        print(f"{label:22}{statistics.median(found):8.2f} {min(found):9.2f} {promised:>9}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
