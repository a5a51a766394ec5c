"""How does a name become a network?

`build` resolves the options, constructs the network from a seed of its own,
and lays its weights out channels-last, which the convolutions prefer.  A
network knows the number of classes and the shape of an image, and nothing of
the data set they come from.
"""

import inspect
from typing import Any

import torch
from torch import nn

from convscope.compute.fences import seeded
from convscope.core import catalog, spelling
from convscope.core.errors import ConfigError
from convscope.core.streams import Streams

from .blocks import Separable
from .geometry import refuse_misfits
from .summary import Row, Stage, Summary, summarise

__all__ = ["Row", "Stage", "Summary", "build", "summarise"]


def build(
    name: str, *, classes: int, channels: int = 3, size: int = 32, seed: int = 0, **options: Any
) -> nn.Module:
    """A network by name, with weights that depend on nothing but the seed and the options.

    Args:
        name: a model of the catalog (`convscope list models`), or one registered with `catalog.register`;
            options may follow it, as in "resnet20:shortcut=B".
        classes: number of logits.
        channels: of the images.
        size: height and width of the images in pixels.
        seed: of the run; the weights use its `init` stream.
        options: of this model, such as activation="swish" or width=8.

    Returns:
        A network (N, channels, size, size) -> (N, classes) on the CPU, channels-last, in training mode.
        The caller's random state is untouched.

    Raises:
        UnknownName: no such model, activation or initialisation; with the nearest names.
        ConfigError: an option the model does not have or that is given twice, a value it cannot be, or images
            too small for one of its layers; with the layer and the smallest that work.
    """
    name, spelt = spelling.read(name)
    if twice := spelt.keys() & options.keys():
        raise ConfigError(f"The options of {name!r} give {min(twice)} twice: give each option once.")
    options = {**spelt, **options}
    shape = {"classes": classes, "channels": channels, "size": size}
    for what, value in shape.items():
        if value < 1:
            raise ConfigError(f"The model {name!r} needs {what} of at least 1, not {value!r}.")
    item = catalog.find("models", name)
    supplied = _asked_for(item, shape)

    def built(size: int) -> nn.Module:
        other = {**supplied, "size": size} if "size" in supplied else supplied
        with seeded(Streams(seed).torch_seed("init")):
            made = catalog.call("models", name, options, **other)
        if not isinstance(made, nn.Module):
            raise ConfigError(
                f"The model {name!r} ({item.target}) must return a torch.nn.Module, not {type(made).__name__}."
            )
        return made

    network = built(size)
    wanted = catalog.resolve("models", name, options).get("separable", False)
    if wanted and not any(isinstance(module, Separable) for module in network.modules()):
        raise ConfigError(
            f"{name} has no 3x3 convolution that sees all channels, so there is nothing to make separable. "
            f"Leave separable out."
        )
    refuse_misfits(network, name, (channels, size, size), built)
    # mypy: torch's declaration of `to` lacks the memory format.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _asked_for(item: catalog.Item, shape: dict[str, int]) -> dict[str, int]:
    """Those of classes, channels and size that the function takes; a user's own may need fewer."""
    supplied = {}
    for parameter in inspect.signature(item.load()).parameters.values():
        required = parameter.default is inspect.Parameter.empty
        if parameter.name in shape and required:
            supplied[parameter.name] = shape[parameter.name]
        elif parameter.name in shape or required:
            # A default would win over the data, and a parameter nobody fills would end in a TypeError.
            what = "may not have a default" if parameter.name in shape else "needs a default"
            raise ConfigError(
                f"The model {item.name!r} ({item.target}) cannot be built: its parameter {parameter.name!r} "
                f"{what}. convscope fills in classes, channels and size; all others are options."
            )
    return supplied
