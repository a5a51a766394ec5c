"""Does every window of a network fit into the map that it gets?

A window of F pixels that moves S pixels at a time over a map of W pixels with
P of padding on each side stops at (W - F + 2P)/S + 1 places, rounded down
(S3.5).  Where that is none, the network cannot take the image; where it is
rounded, the last rows and columns may never be looked at.

The network is walked with a batch of no images at all: torch checks every
shape and computes nothing, and nothing has to be imported for it, as it would
be for torch's meta device (1.7 s).  ResNet-20 takes 5 ms, with the copy that is
walked in its place.

    W  pixels of a map      F  of a window      S  of a step      P  of padding
"""

import copy
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from convscope.compute.fences import seeded
from convscope.core.errors import ConfigError

LARGEST = 2**14
"""Pixels per side up to which an image that fits is looked for."""
_NEAR = 32
_WINDOWED = nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d


@dataclass(frozen=True)
class Window:
    """How a convolution or a pool moves along one side of its map."""

    kernel: int
    """Pixels it looks at."""
    stride: int
    before: int = 0
    """Pixels of padding at the beginning."""
    after: int = 0
    """Pixels of padding at the end."""
    dilation: int = 1
    """From one pixel it looks at to the next."""
    ceil: bool = False
    """The last place may reach beyond the padding."""

    @property
    def extent(self) -> int:
        """F: from the first pixel it looks at to the last."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def least(self) -> int:
        """The smallest W that leaves it one place."""
        slack = self.stride - 1 if self.ceil else 0
        return max(1, self.extent - self.before - self.after - slack)

    def lost(self, pixels: int) -> int:
        """How many of W pixels, the last ones, are never looked at.

        Padding that is not looked at is no loss, nor is what lies between two places of a window that is smaller
        than its step, as in the shortcuts of residual networks.
        """
        if self.ceil:
            return 0
        remainder = (pixels + self.before + self.after - self.extent) % self.stride
        return max(0, remainder - self.after - max(0, self.stride - self.extent))


def windows(module: nn.Module) -> tuple[Window, Window] | None:
    """The window of a convolution or a pool down and across its map; None for any other layer."""
    if not isinstance(module, _WINDOWED):
        return None
    if isinstance(module, nn.Conv2d):
        left, right, top, bottom = module._reversed_padding_repeated_twice
        kernel, stride, dilation = map(_pair, (module.kernel_size, module.stride, module.dilation))
        return (
            Window(kernel[0], stride[0], top, bottom, dilation[0]),
            Window(kernel[1], stride[1], left, right, dilation[1]),
        )
    kernel, stride, padding = map(_pair, (module.kernel_size, module.stride, module.padding))
    dilation = _pair(getattr(module, "dilation", 1))
    rows, columns = (
        Window(kernel[i], stride[i], padding[i], padding[i], dilation[i], module.ceil_mode) for i in (0, 1)
    )
    return rows, columns


@dataclass(frozen=True)
class Look:
    """One call of a convolution or a pool."""

    layer: str
    windows: tuple[Window, Window]
    """Down and across."""
    map: tuple[int, int]
    """Height and width of what it gets."""

    @property
    def fits(self) -> bool:
        """Whether there is a place for the window."""
        return all(side >= window.least for side, window in zip(self.map, self.windows, strict=True))

    @property
    def lost(self) -> tuple[int, int]:
        """Rows and columns that are never looked at."""
        rows, columns = (w.lost(side) for side, w in zip(self.map, self.windows, strict=True))
        return rows, columns


def looks(network: nn.Module, shape: Sequence[int]) -> list[Look]:
    """Every call of a convolution or a pool, in order, up to the first whose window does not fit.

    Args:
        network: any; it is neither changed nor moved.
        shape: (C, H, W) of one image.

    Returns:
        What could be seen.  A network whose own code fails without images is seen up to that point.
    """
    seen: list[Look] = []
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    dtype = next((p.dtype for p in network.parameters()), torch.float32)
    # On the meta device an image costs nothing, and code that divides by the number of images works.
    nothing = torch.empty(int(device.type == "meta"), *shape, device=device, dtype=dtype)
    with warnings.catch_warnings(), torch.no_grad(), seeded(0):  # a user's own code may draw
        warnings.simplefilter("ignore")
        # It may raise anything as well, and will say so to the first real batch.
        with suppress(Exception):
            _watched(network, seen)(nothing)
    return seen


class _DoesNotFit(Exception):
    """Ends the walk."""


def _watched(network: nn.Module, seen: list[Look]) -> nn.Module:
    """A copy in evaluation mode that shares the weights and writes down what its windows get."""
    memo: dict[int, Any] = {id(parameter): parameter for parameter in network.parameters()}
    memo |= {id(module): _twin(module) for module in network.modules() if _is_simple(module)}
    walked = without_hooks(copy.deepcopy(network, memo))
    for name, module in walked.named_modules():
        found = windows(module)
        if found is not None:
            module.register_forward_pre_hook(_watcher(name, found, seen))
    return walked


def _is_simple(module: nn.Module) -> bool:
    """One of torch's own layers, which in evaluation mode changes nothing of what it holds."""
    return type(module).__module__.startswith("torch.nn.modules.") and not module._modules


def _twin(module: nn.Module) -> nn.Module:
    """The same layer with hooks and a mode of its own; ten times as fast as a deep copy, which goes through all."""
    twin: nn.Module = module.__new__(type(module))
    twin.__dict__.update(module.__dict__)
    twin._forward_hooks, twin._forward_pre_hooks = OrderedDict(), OrderedDict()
    return twin


def _watcher(name: str, found: tuple[Window, Window], seen: list[Look]) -> Callable[..., None]:
    def watch(module: nn.Module, inputs: Sequence[Any]) -> None:
        height, width = inputs[0].shape[-2:]
        seen.append(Look(name, found, (height, width)))
        if not seen[-1].fits:
            raise _DoesNotFit

    return watch


def without_numbers(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose tensors have shapes only, and no hooks."""
    # deepcopy takes what it finds under an object's id for its copy, so no number is ever copied.
    memo: dict[int, Any] = {}
    for parameter in network.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
    for buffer in network.buffers():
        memo[id(buffer)] = buffer.to("meta")
    return without_hooks(copy.deepcopy(network, memo))


def without_hooks(network: nn.Module) -> nn.Module:
    """The same network, in evaluation mode, without the hooks that were copied along with it."""
    for module in network.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
        module._backward_hooks.clear()
    return network.eval()


def refuse_misfits(
    network: nn.Module, name: str, shape: tuple[int, int, int], rebuilt: Callable[[int], nn.Module]
) -> None:
    """Make sure that every window fits.

    Args:
        network: as built for these images.
        name: the model's, for the sentence.
        shape: (C, H, W) of one image.
        rebuilt: the same network for another size of images; only called if something does not fit.

    Raises:
        ConfigError: with the first layer whose window does not fit, and the smallest images that work.
    """
    seen = looks(network, shape)
    if not seen or seen[-1].fits:
        return
    last, (channels, height, width) = seen[-1], shape
    least = _times([window.least for window in last.windows])
    kernel = _times([window.extent for window in last.windows])
    layer = last.layer if least == kernel else f"{last.layer}, a window of {kernel},"
    sentence = (
        f"{name} cannot take {width}x{height} images: {layer} needs at least {least} pixels and gets "
        f"{_times(last.map)}."
    )
    smallest = _smallest(rebuilt, channels, max(height, width))
    if smallest:
        sentence += f" The smallest images that work are {smallest}x{smallest}."
    raise ConfigError(sentence)


def _smallest(rebuilt: Callable[[int], nn.Module], channels: int, too_small: int) -> int | None:
    """Pixels per side; a larger image never fits worse, so doubling and halving finds them."""

    def works(size: int) -> bool:
        try:
            with torch.device("meta"):
                network = rebuilt(size)
        except ConfigError:  # the model's own refusal
            return False
        seen = looks(network, (channels, size, size))
        return bool(seen) and seen[-1].fits

    low, high = too_small, 2 * too_small
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layers without a single input
            while not works(high):
                low, high = high, 2 * high
                if high > LARGEST:
                    return None
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if works(middle) else (middle, high)
    except (RuntimeError, TypeError, ValueError):  # it cannot be built without numbers
        return None
    return high


def lost(network: nn.Module, shape: tuple[int, int, int]) -> tuple[str, ...]:
    """A sentence for each layer that never looks at some rows or columns of its map; mostly none.

    Args:
        network: any that takes such images; it is not changed.
        shape: (C, H, W) of one image.
    """
    seen = looks(network, shape)
    losing = [look for look in seen if look.fits and any(look.lost)]
    if not losing:
        return ()
    advice = _advice(network, shape, len(seen))
    return tuple(_loss(look) + advice for look in losing)


def _loss(look: Look) -> str:
    rows, columns = look.lost
    if rows == columns:
        what = "row and column" if rows == 1 else f"{rows} rows and columns"
    else:
        parts = ((rows, "row"), (columns, "column"))
        what = " and ".join(f"{n} {part}{'s' * (n > 1)}" for n, part in parts if n)
    window = _times([window.extent for window in look.windows])
    stride = _times([window.stride for window in look.windows])
    stride = stride.split("x")[0] if len({w.stride for w in look.windows}) == 1 else stride
    return f"{look.layer} ({window}, stride {stride}) never looks at the last {what} of its {_times(look.map)} map."


def _advice(network: nn.Module, shape: tuple[int, int, int], calls: int) -> str:
    """The nearest sizes, below and above, at which nothing is lost; linear layers may then need other sizes."""
    channels, height, width = shape
    if height != width:
        return ""

    def fits(size: int) -> bool:
        seen = looks(network, (channels, size, size))
        return len(seen) == calls and all(look.fits and not any(look.lost) for look in seen)

    sides = (range(height - 1, max(0, height - _NEAR), -1), range(height + 1, height + _NEAR))
    found = [next(filter(fits, side), None) for side in sides]
    sizes = " or ".join(f"{size}x{size}" for size in found if size)
    return f" Images of {sizes} fit." if sizes else ""


def _pair(value: Any) -> tuple[int, int]:
    """Torch keeps what was written: one number for both sides, or two."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _times(sides: Sequence[int]) -> str:
    return "x".join(map(str, sides))
