"""`convscope resume`: continue a run in its directory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import BaseModel, ConfigDict

from . import parse
from .train import report

DESCRIPTION = """\
Continue a run exactly where its last checkpoint left it; it ends as if it had never stopped.

examples:
  convscope resume runs/resnet20-cifar10-0123456789/seed-3
  convscope resume moved/seed-3 --data-dir /data
  convscope resume runs/resnet20-cifar10-0123456789/seed-3 --allow-different   on another machine

Only where and how it runs may change (device, threads, precision, checkpoints); what decides numbers not.\
"""


class Flags(BaseModel):
    """What `resume` understands."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    run: tyro.conf.Positional[Path]
    """The run's directory."""
    data_dir: Path | None = None
    """Where named data sets are looked for first."""
    cache_dir: Path | None = None
    """Where decoded pixels and self-test results are kept."""
    allow_different: bool = False
    """Continue although machine, versions or code differ; the record says so."""
    device: str | None = None
    """Another device; needs --allow-different."""
    threads: int | None = None
    """Another number of CPU threads; needs --allow-different."""
    checkpoint_every: Annotated[str | None, tyro.conf.arg(metavar="'60 seconds'")] = None
    """Another interval between checkpoints."""


def main(arguments: Sequence[str]) -> int:
    """Continue, then report as `train` does."""
    flags = parse.parse(Flags, None, arguments, "convscope resume", DESCRIPTION)
    from convscope.train.run import resume

    from .show import Display

    changes = {key: getattr(flags, key) for key in ("device", "threads", "checkpoint_every")}
    display = Display()
    try:
        finished = resume(
            flags.run,
            data_dir=flags.data_dir,
            cache_dir=flags.cache_dir,
            allow_different=flags.allow_different,
            watch=display,
            **{key: value for key, value in changes.items() if value is not None},
        )
    finally:
        display.close()
    report(finished.root)
    return 0
