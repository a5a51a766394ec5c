"""What passes through the layers of a network while it looks at images?

Hooks that are gone afterwards, also after an error.  Whoever watches reduces
what it sees at once: 5,000 images times all maps of a ResNet-20 are 4 GB.  An
activation may later be overwritten in place (models/blocks.py), so what is kept
must be a copy, and the gradient of an output is taken by a hook on that tensor.

    N  images      n  images of one part      C  channels or features      H, W  pixels      K  classes
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from convscope.core.errors import ConfigError
from convscope.data import ImageSet
from convscope.evaluate.subject import Subject

PART = 250
"""Images at a time."""

Split = Literal["val", "train"]
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]
Positions = tuple[Annotated[int, Field(ge=0)], ...]
Norms = Literal["running", "batch"]

See = Callable[[str, Tensor, Tensor], Tensor | None]
"""Name of a module, its first input, its output -> nothing, or what is to be used instead of the output.

The input of a layer that works in place is overwritten already.
"""


@contextmanager
def watching(modules: Mapping[str, nn.Module], see: See) -> Iterator[None]:
    """Call `see` after every call of these modules that turns a tensor into a tensor."""

    def hook(name: str) -> Callable[[nn.Module, Any, Any], Tensor | None]:
        def called(module: nn.Module, inputs: Any, output: Any) -> Tensor | None:
            tensors = inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor)
            return see(name, inputs[0], output) if tensors else None

        return called

    handles = []
    try:
        for name, module in modules.items():
            handles.append(module.register_forward_hook(hook(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def called(model: nn.Module, example: Tensor) -> dict[str, tuple[int, ...]]:
    """Every module that an image goes through, in the order in which they finish.

    Args:
        model: in evaluation mode.
        example: a few normalised images, (n, C, H, W).

    Returns:
        Name -> shape of the output for one image.  A module that is called twice is listed once, where it
        first was.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def see(name: str, entered: Tensor, output: Tensor) -> None:
        shapes.setdefault(name, tuple(output.shape[1:]))

    with torch.no_grad(), watching({name: m for name, m in model.named_modules() if name}, see):
        model(example)
    return shapes


def layers(model: nn.Module, example: Tensor) -> dict[str, nn.Module]:
    """The layers that an image goes through, in their order: modules without parts or with parameters of their own.

    What does nothing is no layer.
    """
    modules = dict(model.named_modules())
    found = {name: modules[name] for name in called(model, example)}
    return {
        name: module
        for name, module in found.items()
        if not does_nothing(module)
        and (not list(module.children()) or list(module.parameters(recurse=False)))
    }


def does_nothing(module: nn.Module) -> bool:
    """In evaluation: `nn.Identity`, which marks a part that is switched off, and dropout."""
    return isinstance(module, nn.Identity | _DropoutNd)


def weighted(found: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Those of the layers that have weights of two dimensions or more: convolutions and linear layers."""
    return {
        name: module
        for name, module in found.items()
        if any(p.dim() >= 2 for p in module.parameters(recurse=False))
        or getattr(getattr(module, "weight", None), "ndim", 0) >= 2
    }


def is_norm(module: nn.Module) -> bool:
    """Whether it is a batch norm."""
    return isinstance(module, _BatchNorm)


def use_norms(model: nn.Module, norms: Norms) -> None:
    """Let batch norms use their running statistics, or those of the batch; the running ones stay as they are."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.train(norms == "batch")
            module.momentum = 0.0


def parts(subject: Subject, images: ImageSet, size: int = PART) -> Iterator[tuple[Tensor, Tensor]]:
    """Normalised images (n, C, H, W) and labels (n,), in order, in parts of about equal size, on the device."""
    for which in torch.arange(len(images)).tensor_split(-(-len(images) // size)):
        few = images.subset(which)
        inputs = subject.inputs(few)
        yield inputs, few.labels.to(inputs.device)


def refuse_unlabelled(images: ImageSet, what: str) -> None:
    """Refuse images without a label.

    Raises:
        ConfigError: with how many there are.
    """
    missing = int((images.labels < 0).sum())
    if missing:
        raise ConfigError(f"{missing} of {len(images)} images have no label, and {what} needs one.")


def at(subject: Subject, split: str, positions: Iterable[int]) -> ImageSet:
    """The images of a split at these positions.

    Raises:
        ConfigError: a position beyond its end.
    """
    whole, wanted = subject.images(split), list(positions)
    if not wanted or max(wanted) >= len(whole):
        given = ", ".join(map(str, wanted)) or "none"
        raise ConfigError(
            f"The split {split!r} has the images 0 to {len(whole) - 1}; positions={given} cannot be shown."
        )
    return whole.subset(torch.tensor(wanted))


def input_gradient(
    model: nn.Module, inputs: Tensor, value: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The gradient of a number with respect to the images.

    Args:
        model: in evaluation mode, so that no image's output depends on another's.
        inputs: (n, C, H, W).
        value: the network's output (n, K) -> one number, e.g. the sum of a logit over the images.

    Returns:
        The gradient (n, C, H, W), and the output (n, K).
    """
    with torch.enable_grad():
        leaf = inputs.detach().clone().requires_grad_(True)
        output = model(leaf.clone())  # a network may begin with a layer that works in place
        (found,) = torch.autograd.grad(value(output), leaf)
    return found, output.detach()


def penultimate(subject: Subject, images: ImageSet) -> tuple[Tensor, str]:
    """What enters the last layer with weights: the features of the images.

    A map is averaged over its places, as in networks that end with a convolution and a global average.

    Returns:
        Features (N, C), float32, on the CPU, and the layer's name.

    Raises:
        ConfigError: there is no layer with weights.
    """
    model = subject.model
    found = weighted(layers(model, subject.inputs(images.subset(torch.arange(1)))))
    if not found:
        raise ConfigError(
            f"{type(model).__name__} has no convolution or linear layer whose input could be taken."
        )
    name, module = list(found.items())[-1]
    kept: list[Tensor] = []

    def see(_: str, entered: Tensor, output: Tensor) -> None:
        averaged = entered.flatten(2).mean(2) if entered.dim() > 2 else entered
        kept.append(averaged.detach().float().cpu().clone())

    with torch.no_grad(), watching({name: module}, see):
        for inputs, _ in parts(subject, images):
            model(inputs)
    return torch.cat(kept), name
