"""What is known of runs that have ended, whatever became of their directories?

One file for all studies of a folder; a line per run, appended and synced
before the next begins, its last key a CRC-32 (core/records.py).  A line is
enough to never repeat a run: measures, curve, confusion, and what bit-identity
depends on.  Two studies that share a run share its line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from convscope.compute.environment import comparable
from convscope.core import files, records
from convscope.core.errors import DamagedFile
from convscope.core.records import Record

Status = Literal["finished", "diverged", "failed"]
FILE = "journal.jsonl"


@dataclass(frozen=True)
class Line:
    """One run."""

    key: str
    """The identity of the configuration without its data, and the seed: `0f3a91c2d4/3`."""
    config: str
    """In words, for people who read the file."""
    status: Status
    message: str = ""
    """Why it did not finish."""
    numbers: dict[str, float | None] = field(default_factory=dict)
    """Measure -> value."""
    curve: dict[str, list[float | None]] = field(default_factory=dict)
    """`epoch`, `val_accuracy`, `val_loss`, `train_accuracy`, `train_loss`: one entry per validation."""
    looks: list[Record] = field(default_factory=list)
    """What attached diagnostics found while it learned."""
    classes: list[str] = field(default_factory=list)
    images: int = 0
    """Validation images."""
    confusion: list[list[int]] = field(default_factory=list)
    """Validation images by true class (row) and predicted class, after the last step."""
    environment: Record = field(default_factory=dict)
    """What bit-identity depends on; empty if the run did not get that far."""
    provenance: Record = field(default_factory=dict)
    """Seconds, commit, device, when: decides nothing."""

    @property
    def is_final(self) -> bool:
        """Whether the run need not be tried again: what diverged diverges again, what failed may not."""
        return self.status != "failed"

    @property
    def precision(self) -> str:
        """`float32`, or `bfloat16 in 19 of 20 layers`; empty if the run did not get that far."""
        dtypes = list(self.environment.get("dtypes", {}).values())
        lowered = len(dtypes) - dtypes.count("float32")
        return f"bfloat16 in {lowered} of {len(dtypes)} layers" if lowered else "float32" if dtypes else ""


class Journal:
    """The lines of a folder, by run.

    Raises:
        DamagedFile: a line was changed, or written by a newer version.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._ended: dict[str, list[Line]] = {}
        """Final lines: one for each of the conditions under which a run was made."""
        self._failed: dict[str, Line] = {}
        """The last failure of runs that have not succeeded since."""
        try:
            known = records.read(self.path)
        except DamagedFile as error:
            raise DamagedFile(
                f"{error} Remove the line that is not: its run is then made again, or found in its directory."
            ) from None
        self._ends_damaged = self.path.exists() and len(known) < self.path.read_bytes().count(b"\n")
        for number, record in enumerate(known, 1):
            try:
                line = Line(**record)
            except TypeError as error:
                what = str(error).partition("() ")[2]
                raise DamagedFile(
                    f"{self.path}, line {number} is no run that this version knows: {what}."
                ) from None
            self._take(line)

    def _take(self, line: Line) -> None:
        if not line.is_final:
            self._failed[line.key] = line
            return
        known = self._ended.setdefault(line.key, [])
        self._failed.pop(line.key, None)
        for place, before in enumerate(known):
            if before.status == line.status and _agree(before.environment, line.environment):
                # Another study asked for other measures of the same run.
                known[place] = replace(line, numbers={**before.numbers, **line.numbers})
                return
        known.append(line)

    def append(self, line: Line) -> None:
        """Add a line, durably."""
        if self._ends_damaged:
            self._cut_off_last_line()
        records.append(self.path, vars(line))
        self._take(line)

    def _cut_off_last_line(self) -> None:
        """A power failure may leave one that ends and yet is not whole: followed by another, it would damage the file."""
        content = self.path.read_bytes()
        files.write(self.path, content[: content.rfind(b"\n", 0, content.rfind(b"\n")) + 1])
        self._ends_damaged = False

    def find(self, key: str, measures: Iterable[str] = ()) -> Line | None:
        """The run's line, if it tells all these measures or why there are none.

        The first that does: a run that another study had made again elsewhere, for more measures, leaves tables as they
        were.
        """
        wanted = set(measures)
        for line in self._ended.get(key, ()):
            if line.status == "diverged" or wanted <= set(line.numbers):
                return line
        return self._failed.get(key)


def _agree(old: Record, new: Record) -> bool:
    """Whether numbers of the same run may stand in one line: by the same code, that of diagnostics included."""
    beside = new.get("beside", {})
    return not comparable(old, new) and all(
        beside.get(name) == code for name, code in old.get("beside", {}).items()
    )


def decisive(environment: Record) -> Record:
    """What of a run's environment.json decides the last bit: without measurements, paths and the configuration."""
    kept = ("versions", "machine", "threads", "denormals", "dtypes", "data", "code")
    found = {key: environment[key] for key in kept if key in environment}
    # Of a run that was begun as these say, and continued otherwise because that was allowed.
    return {**found, "changes": environment["changes"]} if environment.get("changes") else found
