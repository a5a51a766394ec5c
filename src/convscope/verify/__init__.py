"""Which statements of the source documents hold?

A topic is a function without arguments that yields a `Finding` per
statement: what was said, where, what was found by computing it, and whether
it holds.  Nothing is trained for long and no data is needed; all topics
together take less than a minute on two cores.  `convscope verify` shows them.

Statements that are known to be wrong (the errata) are here too, with
`true=False`: then the finding is that they do not hold.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from convscope.core import catalog


@dataclass(frozen=True)
class Finding:
    """One statement and what computing it showed."""

    statement: str
    """One sentence, as the source has it or in its sense."""
    source: str
    """Items of the requirements: `S3.41`, `E3.8`."""
    evidence: str
    """What was computed and how large the error was, or a counter-example, in one sentence."""
    holds: bool
    """Whether it was found to hold."""
    true: bool = True
    """Whether it does hold, mathematically; False for errata and for the counterparts of a rule."""

    @property
    def as_expected(self) -> bool:
        """A finding that is not is a fault of this package, or of the machine."""
        return self.holds == self.true


def verify(topics: Iterable[str] = ()) -> Iterator[tuple[str, Finding]]:
    """Work through topics one by one.

    Args:
        topics: names of `convscope list topics`; none means all, in the order of the catalog.

    Yields:
        The topic's name and a finding, as soon as it is there.

    Raises:
        UnknownName: no such topic.
    """
    for item in [catalog.find("topics", name) for name in topics or catalog.names("topics")]:
        for finding in item.load()():
            yield item.name, finding
