"""`convscope inspect`: look into the network of a run."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Literal

import tyro
from pydantic import BaseModel, ConfigDict, Field

from convscope.core import catalog
from convscope.core.config import choice
from convscope.core.errors import ConfigError

from . import parse

DESCRIPTION = """\
Look into the network of a run with one diagnostic or several. Each says one sentence and leaves its numbers
(.json, .npz) and a figure in the run's directory, under inspect/.

examples:
  convscope inspect runs/lenet5-digits-0123456789/seed-0 confusion
  convscope inspect runs/resnet20-cifar10-0123456789/seed-0 landscape:size=11 curvature
  convscope inspect runs/resnet20-cifar10-0123456789/seed-0 weights --out figures --format svg
  convscope inspect runs/lenet5-mnist-0123456789/seed-0 confusion --over-seeds

Options follow the name; `convscope list diagnostics` and `convscope list diagnostics NAME` show what there is. The
images are the run's own, validation if the diagnostic does not say otherwise; the test split stays sealed.\
"""


class Flags(BaseModel):
    """What `inspect` understands."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    run: tyro.conf.Positional[Path]
    """The run's directory."""
    diagnostics: tyro.conf.Positional[list[str]]
    """Names, with options behind a colon."""
    data: str | None = None
    """Other images to show the network: a name or a place, as for `train`; by default the run's own."""
    weights: Literal["best", "last"] = "best"
    """Best on validation (by what --select said), or those of the last step."""
    seed: int = Field(0, ge=0)
    """Seed of what a diagnostic draws."""
    over_seeds: bool = False
    """Confusion only: also the mean over all seeds beside this run that have ended, with intervals."""
    out: Path | None = None
    """Where to write; by default inspect/ in the run's directory."""
    format: Literal["png", "svg", "pdf", "none"] = "png"
    """Of the figures; none: only numbers."""


def main(arguments: Sequence[str]) -> int:
    """Look, say, write."""
    flags = parse.parse(Flags, None, arguments, "convscope inspect", DESCRIPTION)
    if not flags.diagnostics:
        known = ", ".join(catalog.names("diagnostics"))
        raise ConfigError(f"Which diagnostic? Name one or more behind the run: {known}.")
    chosen = [choice(text) for text in flags.diagnostics]
    for one in chosen:  # a typo is answered before anything is loaded
        catalog.resolve("diagnostics", one.name, one.options)
    from convscope import plots
    from convscope.diagnostics import inspect
    from convscope.evaluate.runs import open_run

    run = open_run(flags.run)
    if flags.over_seeds and "confusion" not in [one.name for one in chosen]:
        raise ConfigError("--over-seeds is about the diagnostic confusion: name it too.")
    folder = parse.made_folder(flags.out or run.root / "inspect", "--out")
    for one in chosen:
        started = perf_counter()
        result = inspect(
            run, one.name, data=flags.data, weights=flags.weights, seed=flags.seed, **one.options
        )
        written = result.save(folder / one.name)
        if flags.format != "none":
            written.append(folder / f"{one.name}.{flags.format}")
            plots.save(plots.draw(one.name, result), written[-1])
        print(f"{one.name}: {result.sentence}")
        names = ", ".join(path.name for path in written)
        print(f"  {perf_counter() - started:.1f} s; in {folder}: {names}")
    if flags.over_seeds:
        over_seeds(run.root, flags, folder)
    return 0


def over_seeds(root: Path, flags: Flags, folder: Path) -> None:
    """What the seeds of one configuration confuse, together."""
    from convscope import plots
    from convscope.diagnostics import inspect
    from convscope.diagnostics.confusion import Confusion
    from convscope.diagnostics.confusion_seeds import over_seeds
    from convscope.evaluate.runs import open_run
    from convscope.plots.confusion import draw_over_seeds

    ended = [open_run(path) for path in sorted(root.parent.glob("seed-*")) if (path / "result.json").exists()]
    found = [inspect(run, "confusion", data=flags.data, weights=flags.weights) for run in ended]
    together = over_seeds([one for one in found if isinstance(one, Confusion)])
    written = together.save(folder / "confusion-seeds")
    if flags.format != "none":
        written.append(folder / f"confusion-seeds.{flags.format}")
        plots.save(draw_over_seeds(together), written[-1])
    print(f"confusion over seeds: {together.sentence}")
    print(f"  in {folder}: {', '.join(path.name for path in written)}")
