"""`convscope summary`: the layers of a model."""

from collections.abc import Sequence

import tyro
from pydantic import BaseModel, ConfigDict, Field

from convscope.core import catalog
from convscope.core.config import choice

from . import parse

DESCRIPTION = """\
Layers, output shapes, weights, parameters and multiply-adds of a model, and how convolutions and linear
layers share them. Nothing is computed: the network is walked without numbers.

examples:
  convscope summary simplenn
  convscope summary lenet5 --channels 1 --size 28
  convscope summary resnet56 --classes 100 --model.shortcut B\
"""


class Flags(BaseModel):
    """What `summary` understands."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    model: tyro.conf.Positional[str]
    """A model of `convscope list models`."""
    classes: int = Field(10, ge=1)
    """Number of classes."""
    channels: int = Field(3, ge=1)
    """Channels of the images."""
    size: int = Field(32, ge=1)
    """Height and width of the images."""


def main(arguments: Sequence[str]) -> int:
    """Build without numbers and print the table."""
    words = parse.take_apart(arguments)
    flags = parse.parse(Flags, None, [*words.names, *words.flags], "convscope summary", DESCRIPTION)
    chosen = choice(flags.model).having(**words.dotted.get("model", {}))
    catalog.find("models", chosen.name)
    from convscope.models import build, summarise

    shape = {"classes": flags.classes, "channels": flags.channels, "size": flags.size}
    print(summarise(build(chosen.name, **shape, **chosen.options), (flags.channels, flags.size, flags.size)))
    return 0
