"""`convscope evaluate`: score a run on images that are not sealed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro
from pydantic import BaseModel, ConfigDict

from . import parse

DESCRIPTION = """\
Score a run's weights: accuracy top-1 and top-5, loss, and accuracy per class.

examples:
  convscope evaluate runs/lenet5-digits-0123456789/seed-0
  convscope evaluate runs/lenet5-digits-0123456789/seed-0 --split train --weights last
  convscope evaluate runs/resnet20-folder-0123456789/seed-0 --on folder:more-photos

With --on, all labelled images outside a test folder are scored; classes are matched by name.\
"""


class Flags(BaseModel):
    """What `evaluate` understands."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    run: tyro.conf.Positional[Path]
    """The run's directory."""
    split: Literal["val", "train"] = "val"
    """Which images of the run's own data set."""
    weights: Literal["best", "last"] = "best"
    """Best on validation (by what --select said), or those of the last step."""
    on: str | None = None
    """Another data set: a name or a place, as for `train`."""
    data_dir: Path | None = None
    """Where named data sets are looked for first."""
    cache_dir: Path | None = None
    """Where decoded pixels are kept."""


def main(arguments: Sequence[str]) -> int:
    """Score and print."""
    flags = parse.parse(Flags, None, arguments, "convscope evaluate", DESCRIPTION)
    from convscope.evaluate.runs import open_run
    from convscope.evaluate.scoring import evaluate, evaluate_on

    run = open_run(flags.run)
    where = {"data_dir": flags.data_dir, "cache_dir": flags.cache_dir}
    if flags.on:
        scores, split = evaluate_on(run, flags.on, weights=flags.weights, **where), flags.on
    else:
        scores = evaluate(run, split=flags.split, weights=flags.weights, data=run.data(**where))
        split = {"val": "validation", "train": "training"}[flags.split]
    print_scores(scores, run.card(flags.weights).classes)
    print(run.claim(scores.correct, scores.images, split, run.chosen(flags.weights)))
    return 0


def print_scores(scores, classes: Sequence[str]) -> None:  # type: ignore[no-untyped-def]  # Scores needs torch
    """A table: a line per class, then the whole."""
    width = max(8, *map(len, classes))
    print(f"{'class':<{width}}  images  correct  accuracy")
    counts = zip(classes, scores.class_images, scores.class_correct, scores.class_accuracy, strict=True)
    for name, images, correct, accuracy in counts:
        share = f"{accuracy:8.2%}" if accuracy is not None else "       -"
        print(f"{name:<{width}}  {images:6}  {correct:7}  {share}")
    print(f"{'all':<{width}}  {scores.images:6}  {scores.correct:7}  {scores.accuracy:8.2%}")
    print(f"{'balanced':<{width}}  {'':6}  {'':7}  {scores.balanced_accuracy:8.2%}")
    print(f"top-5 {scores.top5:.2%} ({scores.correct_top5} of {scores.images}), loss {scores.loss:.4f}")
