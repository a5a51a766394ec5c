"""`convscope verify`: which statements of the source documents hold."""

import re
import shutil
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from pydantic import BaseModel, ConfigDict

from convscope.core import catalog
from convscope.core.errors import ConfigError, ConvscopeError

from . import parse

if TYPE_CHECKING:
    from convscope.verify import Finding

DESCRIPTION = """\
Compute what the source documents state: each statement with its item in docs/coverage.md, whether it holds,
and the largest error or a counter-example. Statements that are known to be wrong (docs/errata.md) are
computed too, and are fine when they are found wrong. No data are needed.

examples:
  convscope verify                         all topics, less than a minute
  convscope verify weight-decay autodiff
  convscope verify --figures pictures      the same, and a picture where one says more than a sentence
  convscope list topics

exit code: 0 if everything is as it must be, else 1.\
"""
_WIDEST = 120
"""Characters of a line: longer ones are hard to read."""


class Flags(BaseModel):
    """What `verify` understands."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    topics: tyro.conf.Positional[list[str]] = []
    """Names of `convscope list topics`; none: all."""
    figures: Path | None = None
    """A folder to write figures into, TOPIC.png for each of these topics that has one."""


def main(arguments: Sequence[str]) -> int:
    """Compute, and print each finding as soon as it is there.

    Raises:
        UnknownName: no such topic; before anything is computed.
        ConfigError: figures are wanted, and none of these topics has one; before anything is computed.
        ConvscopeError: something was not found as it must be.
    """
    flags = parse.parse(Flags, None, arguments, "convscope verify", DESCRIPTION)
    for name in flags.topics:
        catalog.find("topics", name)
    drawn = with_figures(flags.topics, flags.figures) if flags.figures else []
    from convscope.verify import verify

    from .show import duration

    width = min(shutil.get_terminal_size().columns, _WIDEST)
    started, last = time.perf_counter(), ""
    found: list[tuple[str, Finding]] = []
    for topic, finding in verify(flags.topics):
        if topic != last:
            print("\n" * bool(last) + f"{topic}: {catalog.find('topics', topic).line}\n")
        last = topic
        print(*lines(finding, width), sep="\n", flush=True)
        found.append((topic, finding))
    written = [draw(topic, flags.figures) for topic in drawn] if flags.figures else []
    print(f"\n{total([finding for _, finding in found])}; {duration(time.perf_counter() - started)}")
    if written:
        print(f"in {flags.figures}: {', '.join(written)}")
    if wrong := [(topic, finding) for topic, finding in found if not finding.as_expected]:
        raise ConvscopeError(complaint(wrong))
    return 0


def with_figures(topics: Sequence[str], folder: Path) -> list[str]:
    """Those of the topics, or of all, that have a figure; the folder is there afterwards.

    Raises:
        ConfigError: none has, or there can be no such folder.
    """
    from convscope.plots.topics import FIGURES

    found = [name for name in dict.fromkeys(topics or catalog.names("topics")) if name in FIGURES]
    if not found:
        raise ConfigError(
            f"--figures: none of these topics has one: {', '.join(topics)}. Those that do: {', '.join(FIGURES)}."
        )
    parse.made_folder(folder, "--figures")
    return found


def draw(topic: str, folder: Path) -> str:
    """Write a topic's figure; the file's name."""
    from convscope import plots
    from convscope.plots.topics import FIGURES

    path = folder / f"{topic}.png"
    plots.save(FIGURES[topic](), path)
    return path.name


def lines(finding: "Finding", width: int) -> list[str]:
    """A finding in lines of at most so many characters: mark, source and statement; indented, the evidence."""
    mark = "ok " if finding.as_expected else "NOT"
    said = {
        (True, True): "",
        (False, False): "false, as known: ",
        (False, True): "does not hold: ",
        (True, False): "holds, though known to be false: ",
    }[finding.holds, finding.true]
    first = f"{mark}  [{finding.source}] {said}{finding.statement}"
    # An error that is exactly zero.
    evidence = re.sub(r"(?<![\d.])0(?:\.0)?e\+00", "0", finding.evidence)
    return [
        *textwrap.wrap(first, width, subsequent_indent=" " * 5, break_on_hyphens=False),
        *textwrap.wrap(
            evidence, width, initial_indent=" " * 9, subsequent_indent=" " * 9, break_on_hyphens=False
        ),
    ]


def total(findings: Sequence["Finding"]) -> str:
    """'97 statements: 80 hold, 17 do not, as is known', and how many are not as they must be."""
    hold = sum(finding.holds and finding.true for finding in findings)
    false = sum(not finding.holds and not finding.true for finding in findings)
    wrong = len(findings) - hold - false
    text = f"{len(findings)} statements: {hold} hold, {false} do not, as is known"
    return text + (f", {wrong} not as expected" if wrong else "")


def complaint(wrong: Sequence[tuple[str, "Finding"]]) -> str:
    """Which findings are not as they must be, and whose fault that is."""
    named = "; ".join(f"{topic}, {finding.source}: {finding.statement}" for topic, finding in wrong)
    verb = "statement was" if len(wrong) == 1 else "statements were"
    return (
        f"{len(wrong)} {verb} not found to be as known: {named} That is a fault of convscope or of this machine; "
        "`convscope doctor` looks at the machine."
    )
