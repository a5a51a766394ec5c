"""Every model of the catalog as small as it can be: for all contracts that build networks."""

import re
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from convscope.core import catalog
from convscope.core.errors import ConfigError
from convscope.models import build

CLASSES = 5


class Case(NamedTuple):
    name: str
    channels: int
    size: int
    options: dict[str, Any]

    def build(self, seed: int = 0) -> nn.Module:
        """The model of this case."""
        shape = {"classes": CLASSES, "channels": self.channels, "size": self.size}
        return build(self.name, **shape, seed=seed, **self.options)

    def images(self, count: int = 8) -> Tensor:
        """Noise of the right shape, channels-last."""
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(count, self.channels, self.size, self.size, generator=generator)
        return noise.to(memory_format=torch.channels_last)


def smallest(name: str, **options: Any) -> Case:
    """One block a stage, two paths, few channels, and images of 8x8 or the smallest that the model takes."""
    offered = catalog.options(catalog.find("models", name))
    small = {"blocks": 1, "cardinality": 2, "out": 16, "width": 4}
    chosen = {key: value for key, value in small.items() if key in offered}
    if "width" in offered and isinstance(offered["width"].default, float):
        # Branches of one or two channels would be dead by chance.
        chosen["width"] = 1 / 4 if name.startswith("googlenet") else 1 / 8
    case = Case(name, 1 if name == "lenet5" else 3, 8, chosen | options)
    try:
        case.build()
    except ConfigError as error:
        size = re.search(r"The smallest images that work are (\d+)x", str(error))
        assert size, error
        return case._replace(size=int(size[1]))
    return case


# Networks that differ from a neighbour in the number of blocks only are the same with one block.
TWINS = re.compile(
    r"(resnet(32|44|56|110)|resnet(34|101|152)|resnet(34|101|152)-cifar|se-resnet(101|110|152)|resnext101)"
)
