"""What does a run leave behind, and how is it read while it is still being written?

A run is a directory:

    runs/resnet20-cifar10-e83adfed16/       model, data and the identity of the configuration
        seed-3/
            config.toml                     everything that was asked for, every value written out
            environment.json                everything the machine added
            metrics.jsonl                   one line per validation; the last key of a line is its CRC-32
            inspections.jsonl               one line per look of an attached diagnostic, if there are any
            checkpoints/  best/             snapshots (core/snapshot.py)
            result.json                     written once, at the end
    runs/test-openings.jsonl                one line each time a sealed test split was opened

Lines are only ever appended, and each carries its own checksum, so a reader
needs no lock: a torn last line is one that is still being written.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import files
from .errors import DamagedFile

Record = dict[str, Any]

OPENINGS = "test-openings.jsonl"


@dataclass(frozen=True)
class RunPaths:
    """Where the parts of a run lie."""

    root: Path

    @property
    def config(self) -> Path:
        """What was asked for."""
        return self.root / "config.toml"

    @property
    def environment(self) -> Path:
        """What the machine added."""
        return self.root / "environment.json"

    @property
    def metrics(self) -> Path:
        """One line per validation."""
        return self.root / "metrics.jsonl"

    @property
    def inspections(self) -> Path:
        """One line per look of an attached diagnostic; what it found lies in the folder of the same name."""
        return self.root / "inspections.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Snapshots to continue from."""
        return self.root / "checkpoints"

    @property
    def best(self) -> Path:
        """The snapshot with the highest validation accuracy."""
        return self.root / "best"

    @property
    def result(self) -> Path:
        """Present once the run has ended."""
        return self.root / "result.json"

    @property
    def openings(self) -> Path:
        """The ledger of test openings: in the results root, two levels up, shared by all runs there."""
        return self.root.resolve().parent.parent / OPENINGS


def line(record: Mapping[str, Any]) -> str:
    """One line of JSON whose last key, `crc`, is the CRC-32 of the line without it."""
    body = json.dumps(record, allow_nan=False)
    return f'{body[:-1]}, "crc": "{zlib.crc32(body.encode()):08x}"}}'


def _parse(text: str) -> Record | None:
    """The record of one line, or None if the line is not intact."""
    body, separator, crc = text.rpartition(', "crc": "')
    if not separator or f"{zlib.crc32((body + '}').encode()):08x}" != crc.removesuffix('"}'):
        return None
    record: Record = json.loads(body + "}")
    return record


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Add one record, durably.  A torn line left by a crash is cut off first."""
    if path.exists():
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            files.write(path, whole)
    files.append(path, line(record))


def read(path: Path) -> list[Record]:
    """All records; a torn last line is left out, for it is still being written.

    Raises:
        DamagedFile: a line before the last does not agree with its checksum.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    found = []
    for number, raw in enumerate(lines[:-1], 1):
        record = _parse(raw.decode(errors="replace"))
        if record is None:
            if number == len(lines) - 1:
                break
            raise DamagedFile(
                f"{path}, line {number}: the content does not agree with its checksum. The lines before it, "
                f"{number - 1} in all, are intact."
            )
        found.append(record)
    return found


def rewind(path: Path, step: int) -> None:
    """Drop the records from `step` on: a run that continues at `step` writes them again, identically."""
    records = read(path)
    kept = [record for record in records if record["step"] < step]
    if len(kept) < len(records):
        files.write(path, "".join(line(record_without_crc) + "\n" for record_without_crc in kept).encode())


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """A JSON file for people and programs, all or nothing."""
    files.write(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Record:
    """A JSON file.

    Raises:
        DamagedFile: it is not JSON.
    """
    try:
        value: Record = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DamagedFile(f"{path} is not JSON: {error}.") from None
    return value


@dataclass(frozen=True)
class Claim:
    """A number that may be shown: with interval, n, split, device, commit and the command that makes it."""

    what: str
    value: float
    """A fraction."""
    low: float
    high: float
    """Ends of the interval named in `interval`."""
    interval: str
    """What the interval is, e.g. 'Wilson 95 %'."""
    n: str
    """What was counted, e.g. '359 images, 1 seed'."""
    split: str
    device: str
    commit: str
    command: str

    def __str__(self) -> str:
        return (
            f"{self.what}: {self.value:.2%} [{self.low:.2%}, {self.high:.2%}] "
            f"({self.interval}, n = {self.n}, {self.split} split)\n{self.origin}"
        )

    @property
    def origin(self) -> str:
        """What made it, in a line."""
        return f"  {self.device}, commit {self.commit}: {self.command}"
