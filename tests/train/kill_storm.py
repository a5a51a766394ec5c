"""`python tests/train/kill_storm.py 50`: kill -9 at random times, and count the runs that end identically.

Each kill is followed by a launch that finishes the run; one kill in five hits while a checkpoint is written.
"""

import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import tiny

# Of the tiny run's operations on files, these belong to the writing of checkpoints or of the best weights.
INSIDE = (20, 21, 27, 36, 52, 60, 67, 75, 84, 99)
KILLED = -9


def storm(kills: int, root: Path, seed: int = 0) -> tuple[int, int]:
    """How many of that many kills ended identically, and how many hit the writing of a checkpoint."""
    nursery, dice = tiny.Nursery(), random.Random(seed)
    identical = inside = number = 0
    wanted, seconds = {}, {}
    try:
        for net in tiny.NETS:
            nursery.finish(root / f"straight {net}", net)
            started = time.perf_counter()
            nursery.finish(root / f"timed {net}", net)
            seconds[net] = time.perf_counter() - started
            wanted[net] = tiny.digest(root / f"straight {net}")
        while number < kills:
            net = dice.choice(list(tiny.NETS))
            place = root / f"{number}"
            at = dice.choice(INSIDE) if number % 5 == 0 else None
            if at is None:
                code = nursery.killed_after(dice.uniform(0.05, seconds[net]), place, net)
            else:
                code = nursery.wait(nursery.start(place, net, at))
            if code == KILLED:
                nursery.finish(place, net)
                identical += tiny.digest(place) == wanted[net]
                inside += at is not None
                number += 1
            shutil.rmtree(place)
    finally:
        nursery.close()
    return identical, inside


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    with tempfile.TemporaryDirectory() as folder:
        same, within = storm(count, Path(folder))
    print(f"{same} of {count} identical ({within} killed while writing a checkpoint)")
    sys.exit(same != count)
