"""`convscope audit`: what should be known about a data set before training."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro
from pydantic import BaseModel, ConfigDict, Field

from convscope.core.config import DataConfig, RunConfig, choice, default_config, validated
from convscope.core.errors import BadImages, ConfigError

from . import parse

if TYPE_CHECKING:
    from convscope.data.audit import Audit, Where
    from convscope.data.images import Raw

DESCRIPTION = """\
Look at every image of a data set before anything is trained: bad files, images per class, copies within and
across the splits, images that look alike, and labels that are probably wrong. Nothing is changed, and the
labels of the test images are neither used nor shown.

examples:
  convscope audit cifar10
  convscope audit folder:photos --size 32 --out audit.json
  convscope audit cifar10 --folds 4 --model simplenn     suspicious labels too: trains 4 networks
  convscope audit npz:big.npz --no-near                  without comparing every image with every other

Suspicious labels are those that networks contradict which never saw the image: with --folds K, each of K
networks is trained without one part of the images, as `convscope train --folds K` does.\
"""
_CLASSES_SHOWN = 100


class Flags(BaseModel):
    """What `audit` understands."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    data: tyro.conf.Positional[str]
    """A name of `convscope list sources`, or a place: folder:PATH, parquet:PATH, npz:PATH."""
    size: int | None = Field(None, ge=4, le=4096)
    """Height and width in pixels to which images of differing sizes are brought."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """How, as for `train`."""
    validation: float | None = Field(None, gt=0, lt=1)
    """Share of the training images held out for validation; absent: the set's own share."""
    test: float | None = Field(None, gt=0, lt=1)
    """Share of all images sealed as test split where the set has none; absent: the set's own share."""
    split_seed: int = Field(0, ge=0)
    """Seed of the split, as for `train`."""
    near: bool = True
    """Compare every image with every other; the time grows with the square of their number."""
    alike: float = Field(0.99, gt=0, lt=1)
    """Cosine of two thumbnails from which on two images look alike."""
    folds: int = Field(0, ge=0)
    """Networks to train for suspicious labels, each without one part of the images; 0: none."""
    model: str = "lenet5"
    """The network for suspicious labels, with its default recipe."""
    epochs: float | None = Field(None, gt=0)
    """Epochs of each network; absent: those of its recipe."""
    seed: int = Field(0, ge=0)
    """Seed of the networks."""
    show: int = Field(20, ge=0)
    """How many pairs and labels are listed here; --out lists all."""
    out: Path | None = None
    """A file for everything that was found, as JSON."""
    root: Path = Path("runs")
    """Where the networks for suspicious labels are kept."""
    data_dir: Path | None = None
    """Where named data sets are looked for first."""
    cache_dir: Path | None = None
    """Where decoded pixels are kept."""


def main(arguments: Sequence[str]) -> int:
    """Look, print, and write the file."""
    words = parse.take_apart(arguments)
    flags = parse.parse(Flags, None, [*words.names, *words.flags], "convscope audit", DESCRIPTION)
    for kind in words.dotted.keys() - {"data"}:
        raise ConfigError(
            f"audit has no options --{kind}.KEY, only --data.KEY. Options of the network for suspicious labels follow "
            f"its name, such as --model resnet20:width=8."
        )
    config = _config(flags, words.dotted.get("data", {}))
    from convscope.core import catalog

    catalog.find("sources", config.kind)
    from convscope.core import records
    from convscope.data import user_cache
    from convscope.data.audit import audit

    if flags.folds:
        from convscope.train.cross import refuse_unfoldable

        refuse_unfoldable(_networks(config, flags))

    raw, config = _readable(config, flags)
    found = audit(raw, config, flags.cache_dir or user_cache(), near=flags.near, threshold=flags.alike)
    table: dict[str, Any] = {**found.as_table(), "notes": list(raw.notes)}
    print(*_lines(found, flags.show), sep="\n")
    print(*raw.notes, *found.sentences(), sep="\n")
    if flags.folds:
        table["labels"] = _suspicious(config, flags)
    if flags.out:
        records.write_json(flags.out, table)
        print(f"Everything is in {flags.out}.")
    return 0


def _config(flags: Flags, options: Mapping[str, Any]) -> DataConfig:
    given = {key: getattr(flags, key) for key in ("size", "fit", "validation", "test", "split_seed")}
    return validated(DataConfig, {"source": flags.data, **given, "options": dict(options)}, "audit")


def _readable(config: DataConfig, flags: Flags) -> tuple["Raw", DataConfig]:
    """The source; where files are bad, without them, and they are among its notes."""
    from convscope.data import read_source

    read = partial(read_source, data_dir=flags.data_dir, cache_dir=flags.cache_dir)
    try:
        return read(config), config
    except BadImages:
        without = config.model_copy(update={"skip_bad": True})
        return read(without), without


def _lines(found: "Audit", show: int) -> list[str]:
    """Everything that was counted, and what was found by name, as far as `show`."""
    train, val, test = (found.images[part] for part in ("train", "val", "test"))
    lines = [
        f"{found.name}: {train:,} training, {val:,} validation, {test:,} test images (labels sealed)",
        "",
    ]
    if len(found.classes) <= _CLASSES_SHOWN:
        lines += [*_per_class(found), ""]
    # Those with more than one label first: they are wrong somewhere.
    groups = sorted(found.exact, key=lambda group: group not in found.conflicting)
    lines += ["images of a row that are equal to another of a column", *_crossings(found.exact_crossings)]
    lines += ["  " + " = ".join(map(_named, group)) for group in groups[:show]]
    if found.near is not None:
        pairs = sorted(found.near, key=lambda pair: -pair[2])
        lines += ["", "images of a row that look like another of a column", *_crossings(found.near_crossings)]
        lines += [f"  {cosine:.4f}  {_named(one)}  {_named(other)}" for one, other, cosine in pairs[:show]]
    return [*lines, ""]


def _per_class(found: "Audit") -> list[str]:
    width = max(5, *map(len, found.classes))
    rows = zip(found.classes, found.balance["train"], found.balance["val"], strict=True)
    return [
        f"{'class':<{width}}   train     val",
        *(f"{name:<{width}} {train:7,} {val:7,}" for name, train, val in rows),
    ]


def _crossings(table: Mapping[str, Mapping[str, int]]) -> list[str]:
    return [
        f"{'':<5} " + " ".join(f"{part:>7}" for part in table),
        *(f"{part:<5} " + " ".join(f"{count:7,}" for count in row.values()) for part, row in table.items()),
    ]


def _named(image: "Where") -> str:
    return f"{image.name} ({image.label})" if image.label else image.name


def _suspicious(config: DataConfig, flags: Flags) -> dict[str, Any]:
    """Train the networks, list the labels that they contradict, and give everything as a table."""
    from convscope.evaluate.suspicious import suspicious
    from convscope.train.cross import accuracies, cross_validate, out_of_fold
    from convscope.train.prepare import Place
    from convscope.train.run import command_line

    from .show import Display

    display = Display()
    try:
        place = Place(flags.root, flags.data_dir, flags.cache_dir, command=command_line())
        runs = cross_validate(_networks(config, flags), place, display)
    finally:
        display.close()
    pool = out_of_fold(runs, data_dir=flags.data_dir, cache_dir=flags.cache_dir)
    found = suspicious(pool.probabilities, pool.images.labels.numpy(), pool.images.classes)
    names = pool.names
    print(accuracies(runs))
    print(f"\n{'margin':>7}  {'label':<16} {'it seems':<16} image")
    for suspect in found.suspects[: flags.show]:
        print(f"{suspect.margin:7.3f}  {suspect.given:<16} {suspect.suggested:<16} {names[suspect.position]}")
    print(
        f"\n{len(found.suspects):,} of {found.images:,} labels ({found.rate:.2%}) are contradicted by a network that "
        f"never saw the image. Look at the first: the list holds images that are merely difficult, too."
    )
    return found.as_table(names)


def _networks(config: DataConfig, flags: Flags) -> RunConfig:
    model = choice(flags.model)
    base = default_config(model.name, config.source)
    recipe = base.recipe.model_copy(update={"epochs": flags.epochs} if flags.epochs else {})
    data = config.model_copy(update={"folds": flags.folds, "validation": None})
    return base.model_copy(update={"model": model, "data": data, "recipe": recipe, "seed": flags.seed})
