"""`convscope predict`: a file of predictions."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import BaseModel, ConfigDict

from convscope.core.errors import ConfigError

from . import parse

DESCRIPTION = """\
Write predictions, one line per image: Id,Label.

examples:
  convscope predict runs/lenet5-digits-0123456789/seed-0 photos/ -o predictions.csv
  convscope predict runs/lenet5-digits-0123456789/seed-0 one.png two.jpg
  convscope predict runs/simplenn-cifar10-0123456789/seed-0 --split test --labels index

Files are listed by name in sorted order, images of a split by position from 0. Predicting the test split
opens it, and the opening is written down.\
"""


class Flags(BaseModel):
    """What `predict` understands."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    run: tyro.conf.Positional[Path]
    """The run's directory."""
    images: tyro.conf.Positional[list[Path]] = []
    """Image files and folders of them."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("predictions.csv")
    """The file to write."""
    split: Literal["train", "val", "test", "unlabelled"] | None = None
    """A split of the run's own data set instead of files."""
    labels: Literal["name", "index"] = "name"
    """Classes by name, or by position counted from 0."""
    probabilities: bool = False
    """Add a column per class with its probability."""
    weights: Literal["best", "last"] = "best"
    """Best on validation (by what --select said), or those of the last step."""
    data_dir: Path | None = None
    """Where named data sets are looked for first."""
    cache_dir: Path | None = None
    """Where decoded pixels are kept."""


def main(arguments: Sequence[str]) -> int:
    """Predict and write."""
    flags = parse.parse(Flags, None, arguments, "convscope predict", DESCRIPTION)
    if bool(flags.images) == bool(flags.split):
        raise ConfigError(
            "Say what to predict: image files or folders, or --split train|val|unlabelled|test, not both."
        )
    from convscope.evaluate.predicting import predict
    from convscope.evaluate.runs import open_run
    from convscope.export.predictions import write_predictions
    from convscope.train.run import command_line

    run = open_run(flags.run)
    data = run.data(data_dir=flags.data_dir, cache_dir=flags.cache_dir) if flags.split else None
    source = flags.split or flags.images
    found = predict(run, source, weights=flags.weights, data=data, command=command_line())
    write_predictions(
        flags.output,
        found.ids,
        found.names if flags.labels == "name" else found.labels,
        found.probabilities if flags.probabilities else None,
        found.classes,
    )
    print(f"{len(found.ids):,} predictions in {flags.output}", file=sys.stderr)
    return 0
