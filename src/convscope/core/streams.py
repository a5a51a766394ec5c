"""Where does each random number come from?

From its key.  A generator is a pure function of (run seed, purpose, index):
nothing is saved and nothing is restored, so a run continued at step 1,234
draws exactly what the uninterrupted run draws there.  One purpose can be
varied alone: `Streams(7, order=8)` is run 7 with the data order of run 8.

The draws come from NumPy's Philox, a counter-based generator with a 128-bit
key.  torch's CPU generator keeps only 32 bits of its seed, so a million keys
would collide about a hundred times there.

Reference:
    Salmon, Moraes, Dror, Shaw (2011), Parallel Random Numbers: As Easy as 1, 2, 3.
"""

import hashlib
from typing import Final

import numpy as np

from .errors import UnknownName

PURPOSES: Final = ("init", "split", "order", "augment", "dropout", "noise", "inspect")


class Streams:
    """All randomness of a run, split by purpose.

    Args:
        seed: the run's seed.
        pinned: purpose -> another seed for that purpose alone.
    """

    def __init__(self, seed: int, **pinned: int) -> None:
        for purpose in pinned:
            _check(purpose)
        self.seed = seed
        self.pinned = pinned

    def key(self, purpose: str, index: int = 0) -> int:
        """The 128-bit key of one stream."""
        _check(purpose)
        text = f"{self.pinned.get(purpose, self.seed)}/{purpose}/{index}"
        digest = hashlib.blake2b(text.encode(), digest_size=16, person=b"convscope").digest()
        return int.from_bytes(digest, "big")

    def generator(self, purpose: str, index: int = 0) -> np.random.Generator:
        """A fresh generator for this purpose and index (an epoch or a step)."""
        return np.random.Generator(np.random.Philox(key=self.key(purpose, index)))

    def torch_seed(self, purpose: str, index: int = 0) -> int:
        """A 63-bit seed for what in torch knows only the global generator: init and dropout."""
        return self.key(purpose, index) >> 65


def _check(purpose: str) -> None:
    if purpose not in PURPOSES:
        raise UnknownName("purpose of randomness", purpose, PURPOSES)
