"""`convscope ensemble`: several runs together, on their validation images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro
from pydantic import BaseModel, ConfigDict

from . import parse
from .evaluate import print_figures

DESCRIPTION = """\
Score several runs alone and together: the mean of their probabilities, and a mean with fitted weights.

examples:
  convscope ensemble runs/lenet5-digits-0123456789/seed-*
  convscope ensemble runs/resnet20-*/seed-0 runs/nin-*/seed-0 --how uniform
  convscope ensemble runs/lenet5-digits-0123456789/seed-0 runs/lenet5-digits-89abcdef01/seed-0 --average

All runs must have been validated on the same images. Everything here, fitted weights included, happens on these;
the test split stays sealed.\
"""


class Flags(BaseModel):
    """What `ensemble` understands."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    runs: tyro.conf.Positional[list[Path]]
    """The runs' directories."""
    how: Literal["uniform", "fitted"] = "fitted"
    """The plain mean alone, or also one with weights >= 0, together 1, that have the least loss on validation."""
    weights: Literal["best", "last"] = "best"
    """Of each run: best on validation (by what --select said), or those of the last step."""
    average: bool = False
    """Also one network with the mean of the runs' weights: for runs that went on from the same weights."""
    data_dir: Path | None = None
    """Where named data sets are looked for first."""
    cache_dir: Path | None = None
    """Where decoded pixels are kept."""


def main(arguments: Sequence[str]) -> int:
    """Combine, score and print."""
    flags = parse.parse(Flags, None, arguments, "convscope ensemble", DESCRIPTION)
    from convscope.evaluate.ensemble import ensemble
    from convscope.train.run import command_line

    found = ensemble(
        flags.runs,
        how=flags.how,
        weights=flags.weights,
        average=flags.average,
        data_dir=flags.data_dir,
        cache_dir=flags.cache_dir,
    )
    count = len(found.members)
    data = found.runs[0].config.data.source
    images = found.uniform.scores.images
    print(f"{count} run{'s' if count > 1 else ''} on the {images:,} validation images of {data}")
    weights = found.weights if found.fitted else ()
    print_figures("member", found.best, [*found.members, *found.together], weights)
    print()
    if count > 1:
        print(
            f"Won, lost and points are counted from the best member, {found.best.name}, picked on these images."
        )
    if found.fitted:
        print(
            "The weights shown are fitted on all of these images. The fitted figure is not: each half of the images "
            "was scored\nwith weights fitted on the other half."
        )
    print("The test split was not opened.\n")
    claims = [found.claim(made, command_line()) for made in found.together]
    for claim in claims:
        print(str(claim).partition("\n")[0])
    print(claims[0].origin)
    return 0
