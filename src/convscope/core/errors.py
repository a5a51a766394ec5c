"""What can go wrong, as one tree, and which exit code each branch has.

    ConvscopeError                      1
    |- UsageError                       2   a name, an option, a value or a file that is not allowed
    |  |- UnknownName                       no such model, data set, option ...; carries the nearest names
    |  |- ConfigError                       a value out of range, a key nobody knows
    |  |- ConfigChanged                     a run is resumed with another configuration
    |  |- SealedSplit                       the test split is closed
    |  |- RunBusy                           another process holds the run
    |  `- MissingExtra                      an optional package is not installed
    |- DataError                        3   the images or labels cannot be used
    |  |- DataMissing                       a set was not found, and how to get it
    |  |- BadImages                         unreadable files, every one named
    |  |- ClassMismatch                     classes differ between splits or at prediction
    |  |- DownloadFailed                    no mirror gave the right bytes
    |  `- DamagedFile                       a checkpoint, model or cache file that must not be trusted
    |- Diverged                         4   a loss, gradient or weight is not finite
    |- NoSpace                          5   the disk is full
    |- NoMemory                         5   the device's memory is full
    `- Interrupted                130, 143  a signal arrived; the checkpoint is written

A message is one or more sentences: what was wrong, what was given, what is
allowed, what to try.  The tests compare whole messages.
"""

import difflib
import signal
from collections.abc import Iterable
from pathlib import Path


class ConvscopeError(Exception):
    """The root: everything convscope raises on purpose."""

    exit_code = 1


class UsageError(ConvscopeError):
    """The request itself is wrong; nothing was started."""

    exit_code = 2


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """' Did you mean ...?' with up to two close names, or nothing."""
    close = difflib.get_close_matches(name.lower(), list(known), n=2, cutoff=cutoff)
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""


class UnknownName(UsageError, LookupError):
    """A name that is not in the list it was looked up in."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        super().__init__(f"No {kind} is called {name!r}.{nearest(name, known)} Known: {', '.join(known)}.")


class ConfigError(UsageError, ValueError):
    """A configuration value that is not allowed."""


class ConfigChanged(UsageError):
    """A run cannot go on under another configuration."""


class SealedSplit(UsageError):
    """The test split is not readable here."""


class RunBusy(UsageError):
    """Another process is writing this run."""

    def __init__(self, directory: Path, pid: str) -> None:
        super().__init__(f"{directory} is being written by process {pid}. Wait for it, or stop it first.")


class MissingExtra(UsageError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f'{what} needs one more package: pip install "convscope[{extra}]"')


class DataError(ConvscopeError):
    """The data cannot be used as they are."""

    exit_code = 3


class DataMissing(DataError):
    """A data set was not found."""


class BadImages(DataError):
    """Some files are not usable images; `problems` names every one."""

    def __init__(self, problems: dict[str, str], advice: str) -> None:
        self.problems = problems
        count = f"{len(problems)} file is" if len(problems) == 1 else f"{len(problems)} files are"
        lines = "".join(f"\n  {path}: {reason}" for path, reason in problems.items())
        super().__init__(f"{count} not usable. Nothing was changed.{lines}\n{advice}")


class ClassMismatch(DataError):
    """Class names differ where they must agree."""


class DownloadFailed(DataError):
    """No source delivered the expected bytes."""


class DamagedFile(DataError):
    """A file whose content does not agree with its checksum or its format."""


class Diverged(ConvscopeError):
    """Training met a value that is not finite."""

    exit_code = 4


class NoSpace(ConvscopeError):
    """There is no room for a file that must be written."""

    exit_code = 5


class NoMemory(ConvscopeError):
    """The device has no memory for what must be done at once."""

    exit_code = 5


class Interrupted(ConvscopeError):
    """A signal asked the run to stop, and it stopped at a checkpoint."""

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        self.exit_code = 128 + number
        super().__init__(message)
