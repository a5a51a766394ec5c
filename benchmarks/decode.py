"""How long until CIFAR-10 can be used, the first time and every other time?

    CONVSCOPE_DATA=... python benchmarks/decode.py [--repeats 5]

Each load happens in a fresh process.  First time: `convscope.load("cifar10")`
with an empty cache folder, so all 60,000 images are decoded and written.
Afterwards: the same call, which then finds them there.  Starting Python and
importing torch and convscope are not in the times.  The operating system's page cache is
warm in both cases: on a machine whose disk is slow, add the time to read the
files.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

import convscope
from convscope.compute.environment import machine
from convscope.core.errors import DataMissing


def load_once(cache: Path) -> None:
    """In a process of its own: print the seconds, and the process's CPU seconds, of one load."""
    load = convscope.load  # imported here, before the clock starts
    wall, cpu = time.perf_counter(), time.process_time()
    data = load("cifar10", cache_dir=cache, download=False)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    images = len(data.train) + len(data.val) + len(data.test)
    print(f"{wall} {cpu} {images}")


def in_fresh_process(cache: Path) -> tuple[float, float, int]:
    """Wall seconds, CPU seconds and the number of images."""
    command = [sys.executable, __file__, "--once", str(cache)]
    words = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return float(words[0]), float(words[1]), int(words[2])


def main() -> int:
    """Measure and print; 3 if there is no CIFAR-10."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5, help="loads from the cache; the first time is once")
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.once:
        load_once(asked.once)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            convscope.load("cifar10", cache_dir=Path(folder) / "look", download=False)
        except DataMissing as error:
            print(error, file=sys.stderr)
            return error.exit_code
        cache = Path(folder) / "cache"
        first, first_cpu, images = in_fresh_process(cache)
        again = [in_fresh_process(cache)[:2] for _ in range(asked.repeats)]
    wall, cpu = (statistics.median(column) for column in zip(*again, strict=True))
    print(f"{machine(torch.device('cpu'))['processor']}, load {os.getloadavg()[0]:.2f}")
    print(f"first time, {images:,} images: {first:6.2f} s  ({first_cpu:.2f} s of CPU)")
    print(f"from the cache:              {wall:6.3f} s  ({cpu:.3f} s of CPU), median of {asked.repeats}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
