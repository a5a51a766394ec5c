"""`convscope evaluate`: score a run on images that are not sealed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro
from pydantic import BaseModel, ConfigDict, Field

from convscope.core.errors import ConfigError

from . import parse

DESCRIPTION = """\
Score a run's weights: accuracy top-1 and top-5, loss, and accuracy per class.

examples:
  convscope evaluate runs/lenet5-digits-0123456789/seed-0
  convscope evaluate runs/lenet5-digits-0123456789/seed-0 --split train --weights last
  convscope evaluate runs/resnet20-folder-0123456789/seed-0 --on folder:more-photos
  convscope evaluate runs/resnet20-cifar10-0123456789/seed-0 --views flip
  convscope evaluate runs/lenet5-digits-0123456789/seed-0 --dropout-samples 20

With --on, all labelled images outside a test folder are scored; classes are matched by name.

--views, --dropout-samples and --norm-statistics each add a figure of the same weights used in another way, beside
the plain one, with what it cost in passes and how many images it won and lost.\
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
    views: Literal["flip", "shift", "ten-crop"] | None = None
    """Also the mean over several views of each image: mirrored; moved in four directions; both, into corners."""
    pixels: int | None = Field(None, ge=1)
    """How far --views moves an image; absent: a fourteenth of its shorter side (2 of 32)."""
    dropout_samples: int = Field(0, ge=0)
    """Also the mean over so many passes with dropout on."""
    seed: int = Field(0, ge=0)
    """Seed of --dropout-samples."""
    norm_statistics: Literal["layers", "batches"] | None = None
    """Also with the batch norms' statistics taken from the whole training split: layer by layer, which costs half a
    pass over it per batch norm, or batch by batch in one pass."""
    data_dir: Path | None = None
    """Where named data sets are looked for first."""
    cache_dir: Path | None = None
    """Where decoded pixels are kept."""


def main(arguments: Sequence[str]) -> int:
    """Score and print."""
    flags = parse.parse(Flags, None, arguments, "convscope evaluate", DESCRIPTION)
    if flags.pixels and flags.views not in ("shift", "ten-crop"):
        raise ConfigError(
            "--pixels says how far --views shift and --views ten-crop move an image: give one of them."
        )
    from convscope.evaluate.runs import open_run
    from convscope.evaluate.scoring import source_images, split_images
    from convscope.evaluate.variants import variants
    from convscope.train.run import command_line

    run = open_run(flags.run)
    where = {"data_dir": flags.data_dir, "cache_dir": flags.cache_dir}
    data = run.data(**where) if flags.norm_statistics or not flags.on else None
    if flags.on:
        images, split = source_images(run, flags.on, weights=flags.weights, **where), flags.on
    else:
        images = split_images(run, flags.split, data)
        split = {"val": "validation", "train": "training"}[flags.split]
    found = variants(
        run,
        images=images,
        weights=flags.weights,
        views=flags.views,
        pixels=flags.pixels,
        dropout_samples=flags.dropout_samples,
        seed=flags.seed,
        norm_statistics=flags.norm_statistics,
        data=data,
    )
    scores = found.plain.scores
    print_scores(scores, run.card(flags.weights).classes)
    if found.others:
        print_figures("the same weights, used as", found.plain, [found.plain, *found.others])
    if found.sampled:
        print_spread(found.sampled)
    print(run.claim(scores.correct, scores.images, split, run.chosen(flags.weights)))
    for other in found.others:
        made = run.claim(other.scores.correct, other.scores.images, split, run.chosen(flags.weights))
        print(other.labelled(made, command_line()))
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


def print_figures(title, plain, figures, weights=()) -> None:  # type: ignore[no-untyped-def]  # Figure needs torch
    """A table: a line per way of predicting, and what it wins and loses against a plain one on the same images.

    Args:
        title: over the names.
        plain: what all are held against.
        figures: the lines, among them `plain`.
        weights: weights of the first lines in a mean; none: no such column.
    """
    width = max(len(title), *(len(made.name) for made in figures))
    shown = [f"{weight:.3f}" for weight in weights] + [""] * (len(figures) - len(weights))
    heading = "  weight" if weights else ""
    print(f"\n{title:<{width}}{heading}  passes  accuracy  95 % interval       loss  won  lost  points")
    for made, weight in zip(figures, shown, strict=True):
        low, high = made.scores.interval()
        column = f"  {weight:>6}" if weights else ""
        line = f"{made.name:<{width}}{column}  {made.passes:6}  {made.scores.accuracy:8.2%}"
        line += f"  {f'[{low:.2%}, {high:.2%}]':<16}  {made.scores.loss:6.4f}"
        print(line if made is plain else line + _won(made.against(plain)))


def _won(difference) -> str:  # type: ignore[no-untyped-def]
    """Images won and lost, and the difference in percentage points with its interval."""
    low, high = difference.interval()
    points = f"{100 * difference.value:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
    return f"  {difference.gained:3}  {difference.lost:4}  {points}"


def print_spread(sampled) -> None:  # type: ignore[no-untyped-def]
    """How far the samples of dropout are apart, and whether that tells right from wrong."""
    right = sampled.right
    lowest, highest = (end(sampled.correct) / len(right) for end in (min, max))
    means = {"right": sampled.spread[right], "wrong": sampled.spread[~right]}
    parts = [
        f"{float(values.mean()):.3f} where it is {name}" for name, values in means.items() if len(values)
    ]
    print(
        f"single samples of dropout: accuracy {lowest:.2%} to {highest:.2%}; their standard deviation of the"
    )
    print(f"preferred class's probability: {', '.join(parts)}")
