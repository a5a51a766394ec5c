"""How do the runs of a study happen on a Ray cluster?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from convscope.core.errors import MissingExtra

from .journal import Line
from .task import Task


@dataclass(frozen=True)
class Cluster:
    """A task per run on a Ray cluster."""

    address: str

    def __call__(self, tasks: Sequence[Task], progress: object) -> Iterator[tuple[Task, Line]]:
        """See `Executor`."""
        raise MissingExtra("--executor ray", "ray")
