"""`convscope summary`: the layers of a model, and its picture."""

import sys
from collections.abc import Sequence
from pathlib import Path

import tyro
from pydantic import BaseModel, ConfigDict, Field

from convscope.core import catalog, files
from convscope.core.config import choice
from convscope.core.errors import ConfigError

from . import parse

DESCRIPTION = """\
Layers, output shapes, weights, parameters, multiply-adds and receptive fields (`field`, in pixels of the image;
all: something before looks at the whole map) of a model, how convolutions and linear layers share them, and where
between the first map and the last the work lies. Nothing is computed: the network is walked without numbers.

examples:
  convscope summary simplenn
  convscope summary lenet5 --channels 1 --size 28
  convscope summary resnet56 --classes 100 --model.shortcut B
  convscope summary resnet20 --svg resnet20.svg\
"""


class Flags(BaseModel):
    """What `summary` understands."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    model: tyro.conf.Positional[str]
    """A model of `convscope list models`."""
    classes: int | None = Field(None, ge=1)
    """Number of classes; absent: 1000 for a network for ImageNet, else 10."""
    channels: int = Field(3, ge=1)
    """Channels of the images."""
    size: int | None = Field(None, ge=1)
    """Height and width of the images; absent: those the network was published for."""
    svg: Path | None = None
    """Draw the structure into this file, which is overwritten."""


def main(arguments: Sequence[str]) -> int:
    """Build, print the tables, draw."""
    words = parse.take_apart(arguments)
    flags = parse.parse(Flags, None, [*words.names, *words.flags], "convscope summary", DESCRIPTION)
    chosen = choice(flags.model).having(**words.dotted.get("model", {}))
    item = catalog.find("models", chosen.name)
    size = flags.size or item.size
    classes = flags.classes or (1000 if item.size == 224 else 10)
    from convscope.models import build, summarise
    from convscope.models.diagram import svg
    from convscope.models.geometry import lost

    if flags.svg is not None:
        parse.made_folder(flags.svg.parent, "--svg")
        if flags.svg.is_dir():
            raise ConfigError(
                f"--svg: {flags.svg} is a folder. Name a file in it, e.g. {flags.svg / item.name}.svg."
            )
    shape = (flags.channels, size, size)
    network = build(chosen.name, classes=classes, channels=flags.channels, size=size, **chosen.options)
    summary = summarise(network, shape)
    print(summary)
    for sentence in lost(network, shape):
        print(sentence)
    if flags.svg is not None:
        files.write(flags.svg, svg(network, summary, chosen.spelled()).encode())
        print(f"The structure is drawn in {flags.svg}.", file=sys.stderr)
    return 0
