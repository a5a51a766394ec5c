"""What can be watched while a run happens?

`train` reports by calling one function with these; it prints nothing itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from convscope.core.config import RunConfig
from convscope.core.records import Record

from .preflight import Preflight


@dataclass(frozen=True)
class Prepared:
    """The run is about to start or continue."""

    root: Path
    config: RunConfig
    """Resolved: nothing is left at `auto`."""
    parameters: int
    images: tuple[int, int, int]
    """For training, for validation, and sealed for the test."""
    notes: tuple[str, ...]
    """What the data and the machine have to say."""
    decay: tuple[str, ...]
    """Which parameters decay and by how much, a sentence per group."""
    preflight: Preflight
    start: int
    """Steps made before."""
    total: int


@dataclass(frozen=True)
class Progressed:
    """Some steps were made."""

    step: int
    total: int
    epoch: float
    images_per_s: float
    """A moving average; validation and checkpoints are included."""
    remaining_s: float


@dataclass(frozen=True)
class Validated:
    """The validation split was scored."""

    record: Record
    is_best: bool


@dataclass(frozen=True)
class Saved:
    """A checkpoint was written."""

    step: int


Event = Prepared | Progressed | Validated | Saved
Watch = Callable[[Event], None]


def unwatched(event: Event) -> None:
    """Nobody looks."""
