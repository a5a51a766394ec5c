"""How far into the image does a place in a map see?

A receptive field is the part of the image that one place can depend on.  It
is carried from step to step as an interval per side: what place 0 sees, and
by how many pixels the next place sees further.  Padding counts, so that it is
the same in the middle of the map and at its edge.  The rules here are those
of single layers and operations; `graph.trace` applies them one after another.

    Reference: Araujo, Norris, Sim (2019), Computing Receptive Fields of Convolutional Neural Networks, section 2.
    https://doi.org/10.23915/distill.00021
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from .geometry import Window, windows
from .response import ResponseNorm

Pair = tuple[int, int]


@dataclass(frozen=True)
class Field:
    """The receptive field of one place in a map, down and across."""

    first: Pair
    """Row and column of the first pixel that place (0, 0) depends on; negative in the padding."""
    last: Pair
    """The last one."""
    step: Pair
    """Pixels of the image from one place to the next."""

    @property
    def size(self) -> Pair:
        """Pixels of the image, down and across."""
        rows, columns = (b - a + 1 for a, b in zip(self.first, self.last, strict=True))
        return rows, columns

    def through(self, passed: tuple[Window, Window]) -> "Field":
        """What a window over this map sees."""
        sides = list(zip(self.first, self.last, self.step, passed, strict=True))
        return Field(
            _pair(a - w.before * step for a, _, step, w in sides),
            _pair(b + (w.extent - 1 - w.before) * step for _, b, step, w in sides),
            _pair(w.stride * step for _, _, step, w in sides),
        )


Sees = Field | Literal["all"] | None
"""`all`: something before it looks at the whole map.  None: it cannot be told."""

PIXEL = Field((0, 0), (0, 0), (1, 1))
"""What the image sees of itself."""


_POINTWISE_LAYERS = (nn.Identity, _BatchNorm, _DropoutNd, nn.LocalResponseNorm, ResponseNorm, nn.Flatten)
_GLOBAL_LAYERS = (nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm2d)
_ADAPTIVE_LAYERS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
# fmt: off
_POINTWISE = frozenset((
    "add", "sub", "rsub", "mul", "div", "truediv", "neg", "pow", "abs", "exp", "sqrt", "square", "clamp",
    "maximum", "minimum", "relu", "relu6", "elu", "selu", "celu", "gelu", "silu", "mish", "tanh", "sigmoid",
    "softplus", "leaky_relu", "hardtanh", "hardswish", "hardsigmoid", "dropout", "dropout2d", "batch_norm",
    "local_response_norm", "cat", "concat", "concatenate", "chunk", "split", "contiguous", "clone", "to", "float",
    "double",
))
# fmt: on


def of_layer(
    module: nn.Module, seen: list[Sees], args: tuple[Any, ...], value: Any, inside: Callable[[], Sees]
) -> Sees:
    """What the output of a layer sees.

    Args:
        module: the layer.
        seen: what each of its inputs sees.
        args: the inputs.
        value: the output.
        inside: called for a layer of somebody's own, to look at its operations.
    """
    passed = windows(module)
    if passed is not None:
        return _slid(seen[0], passed)
    if isinstance(module, _ADAPTIVE_LAYERS):
        return _adaptive(seen[0], args[0], value)
    if isinstance(module, _GLOBAL_LAYERS) or (isinstance(module, nn.Linear) and value.dim() == 2):
        return "all"
    if isinstance(module, _POINTWISE_LAYERS) or _is_activation(module):
        return joined(seen)
    return None if type(module).__module__.startswith("torch.nn") else inside()


def _is_activation(module: nn.Module) -> bool:
    kind = type(module)
    apart = (nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.MultiheadAttention)
    return kind.__module__ == "torch.nn.modules.activation" and not issubclass(kind, apart)


def of_operation(
    name: str, seen: list[Sees], args: tuple[Any, ...], kwargs: dict[str, Any], value: Any
) -> Sees:
    """What the result of an operation such as `add` or `max_pool2d` sees; arguments as for `of_layer`."""
    rule = _RULES.get(name)
    if rule is not None:
        return rule(seen[0], args, kwargs, value)
    return joined(seen) if name in _POINTWISE else None


def joined(seen: Sequence[Sees]) -> Sees:
    """The smallest field that holds all of them, where they move along together."""
    fields = [each for each in seen if isinstance(each, Field)]
    if len(fields) < len(seen) or len({field.step for field in fields}) > 1:
        return None
    first = _pair(min(field.first[i] for field in fields) for i in (0, 1))
    last = _pair(max(field.last[i] for field in fields) for i in (0, 1))
    return Field(first, last, fields[0].step)


def _slid(seen: Sees, passed: tuple[Window, Window]) -> Sees:
    return seen.through(passed) if isinstance(seen, Field) else seen


def _adaptive(seen: Sees, given: Tensor, value: Tensor) -> Sees:
    """A pool told how many places it has: the same window everywhere, if their number divides the pixels."""
    sides = list(zip(given.shape[-2:], value.shape[-2:], strict=True))
    if all(places == 1 for _, places in sides) and math.prod(given.shape[-2:]) > 1:
        return "all"
    if any(pixels % places and pixels > 1 for pixels, places in sides):
        return None
    widths = [max(1, pixels // places) for pixels, places in sides]
    return _slid(seen, (Window(widths[0], widths[0]), Window(widths[1], widths[1])))


def _reshaped(seen: Sees, args: tuple[Any, ...], kwargs: dict[str, Any], value: Tensor) -> Sees:
    """The same map with other channels, or a vector of its numbers."""
    same = value.dim() >= 4 and value.shape[-2:] == args[0].shape[-2:]
    return seen if same or value.dim() == 2 else None


def _transposed(seen: Sees, args: tuple[Any, ...], kwargs: dict[str, Any], value: Tensor) -> Sees:
    """Of the channels among themselves, as in a channel shuffle."""
    dims = [*args[1:], *kwargs.values()]
    return seen if all(isinstance(d, int) and 0 <= d < value.dim() - 2 for d in dims) else None


def _averaged(seen: Sees, args: tuple[Any, ...], kwargs: dict[str, Any], value: Tensor) -> Sees:
    dims = args[1] if len(args) > 1 else kwargs.get("dim")
    given = args[0].dim()
    over = {d % given for d in ((dims,) if isinstance(dims, int) else dims or range(given))}
    if over >= {given - 2, given - 1}:
        return "all"
    return None if over & {given - 2, given - 1} else seen


def _padded(seen: Sees, args: tuple[Any, ...], kwargs: dict[str, Any], value: Tensor) -> Sees:
    pad = [*(args[1] if len(args) > 1 else kwargs["pad"]), 0, 0, 0, 0]
    return _slid(seen, (Window(1, 1, before=pad[2]), Window(1, 1, before=pad[0])))


def _indexed(seen: Sees, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any) -> Sees:
    """Part of a tuple, of the channels, or every so many rows and columns."""
    given, index = args
    if not isinstance(given, Tensor):
        return seen
    index = index if isinstance(index, tuple) else (index,)
    if any(isinstance(each, EllipsisType | Tensor) or each is None for each in index) or given.dim() != 4:
        return None
    sides = [*index[2:], slice(None), slice(None)][:2]
    if not all(isinstance(side, slice) and (side.start or 0) >= 0 for side in sides):
        return None
    rows, columns = (Window(1, side.step or 1, before=-(side.start or 0)) for side in sides)
    return _slid(seen, (rows, columns))


def _convolved(seen: Sees, args: tuple[Any, ...], kwargs: dict[str, Any], value: Tensor) -> Sees:
    names = ("input", "weight", "bias", "stride", "padding", "dilation")
    given = dict(zip(names, args, strict=False)) | kwargs
    if isinstance(given.get("padding", 0), str):
        return None
    kernel = given["weight"].shape[-2:]
    stride, padding, dilation = (
        _twice(given.get(n, d)) for n, d in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    rows, columns = (Window(kernel[i], stride[i], padding[i], padding[i], dilation[i]) for i in (0, 1))
    return _slid(seen, (rows, columns))


def _pooled(*names: str) -> Callable[[Sees, tuple[Any, ...], dict[str, Any], Tensor], Sees]:
    def rule(seen: Sees, args: tuple[Any, ...], kwargs: dict[str, Any], value: Tensor) -> Sees:
        given = dict(zip(names, args, strict=False)) | kwargs
        kernel = _twice(given["kernel_size"])
        stride = _twice(given.get("stride") or kernel)
        padding, dilation = _twice(given.get("padding", 0)), _twice(given.get("dilation", 1))
        rows, columns = (Window(kernel[i], stride[i], padding[i], padding[i], dilation[i]) for i in (0, 1))
        return _slid(seen, (rows, columns))

    return rule


_RULES: dict[str, Callable[[Sees, tuple[Any, ...], dict[str, Any], Any], Sees]] = {
    **dict.fromkeys(("flatten", "view", "reshape", "squeeze"), _reshaped),
    **dict.fromkeys(("transpose", "swapaxes"), _transposed),
    **dict.fromkeys(("mean", "sum", "amax"), _averaged),
    **dict.fromkeys(
        ("adaptive_avg_pool2d", "adaptive_max_pool2d"),
        lambda seen, args, kwargs, value: _adaptive(seen, args[0], value),
    ),
    "linear": lambda seen, args, kwargs, value: "all" if value.dim() == 2 else None,
    "pad": _padded,
    "getitem": _indexed,
    "conv2d": _convolved,
    "avg_pool2d": _pooled("input", "kernel_size", "stride", "padding"),
    "max_pool2d": _pooled("input", "kernel_size", "stride", "padding", "dilation"),
}


def _twice(value: Any) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _pair(values: Any) -> Pair:
    rows, columns = values
    return rows, columns
