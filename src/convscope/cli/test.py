"""`convscope test`: open the sealed test split."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro
from pydantic import BaseModel, ConfigDict

from . import parse
from .evaluate import print_scores

DESCRIPTION = """\
Open the sealed test split and score it; the opening is written down before the first image is read.

examples:
  convscope test runs/lenet5-digits-0123456789/seed-0
  convscope test runs/lenet5-digits-0123456789/seed-0 --weights last

Do this once, when everything is decided. The count of openings covers all runs in the same results root.\
"""


class Flags(BaseModel):
    """What `test` understands."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    run: tyro.conf.Positional[Path]
    """The run's directory; the run must have ended."""
    weights: Literal["best", "last"] = "best"
    """Best on validation (by what --select said), or those of the last step."""
    data_dir: Path | None = None
    """Where named data sets are looked for first."""
    cache_dir: Path | None = None
    """Where decoded pixels are kept."""


def main(arguments: Sequence[str]) -> int:
    """Open, score and print."""
    flags = parse.parse(Flags, None, arguments, "convscope test", DESCRIPTION)
    from convscope.evaluate.runs import open_run
    from convscope.evaluate.sealed import open_test
    from convscope.train.run import command_line

    run = open_run(flags.run)
    data = run.data(data_dir=flags.data_dir, cache_dir=flags.cache_dir)
    scores, count = open_test(run, data, weights=flags.weights, command=command_line())
    print_scores(scores, data.classes)
    print(run.claim(scores.correct, scores.images, "test", run.chosen(flags.weights)))
    times = "once, by this command" if count == 1 else f"{count} times by now"
    print(f"The test split of {data.name} has been opened {times}; {run.paths.openings} lists it.")
    return 0
