"""Does this machine compute a layer right in bfloat16, and is that faster?

In: the shape of a call to a convolution or linear layer.  Out: the error and
the speed of bfloat16 against float32, over forward, input gradient and weight
gradient together.  Decides nothing; `precision` does.

There are kernels that are wrong (pytorch#163347, #169688) and kernels that are
slower than float32 (pytorch#183815), and which ones depends on the processor,
the version and the shape.  docs/precision.md has what was measured.

    N  images or rows      C  channels in      H, W  pixels
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from .fences import seeded

ERROR = 0.02
"""Above this relative error a kernel is wrong.  Right ones were seen at 0.27 to 0.39 %."""
REPEATS = 7
"""Alternating timings of one shape, at most."""
BUDGET_S = 0.15
"""No further repeat is begun after this time; seven shapes of a ResNet-20 then take about 1.5 s."""
FLOPS = 4e9
"""A forward pass of the test stays below this by using fewer images: 0.1 s per repeat on two cores."""


@dataclass(frozen=True)
class Shape:
    """One kind of call to a layer: everything that decides which kernel runs."""

    kind: Literal["conv2d", "linear"]
    input: tuple[int, ...]
    """(N, C, H, W), or (N, ..., features)."""
    weight: tuple[int, ...]
    bias: bool = False
    stride: tuple[int, ...] = (1, 1)
    padding: tuple[int, ...] | str = (0, 0)
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1
    channels_last: bool = False

    @property
    def key(self) -> str:
        """A name that is equal for equal shapes, readable in a record."""
        words = [self.kind, _times(self.input), "by", _times(self.weight)]
        if self.kind == "conv2d":
            words += ["stride", _times(self.stride), "padding", _times(self.padding)]
            words += ["dilation", _times(self.dilation), "groups", str(self.groups)]
            words += ["channels-last" if self.channels_last else "channels-first"]
        return " ".join([*words, "with bias"] if self.bias else words)

    def forward(self, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The call itself, as the layer makes it."""
        if self.kind == "linear":
            return F.linear(images, weight, bias)
        return F.conv2d(images, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    @property
    def flops(self) -> float:
        """Additions and multiplications of a forward pass, per image."""
        inside = self.input[2:] if self.kind == "conv2d" else self.input[1:-1]
        return 2 * math.prod(self.weight) * math.prod(inside) / math.prod(self.stride)

    @property
    def test_batch(self) -> int:
        """How many of the N images the test uses."""
        return max(1, min(self.input[0], int(FLOPS / self.flops)))


def _times(sizes: tuple[int, ...] | str) -> str:
    return sizes if isinstance(sizes, str) else "x".join(map(str, sizes))


class Measurement(BaseModel):
    """What the test of one shape found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    error: float | None
    """Largest difference to float32 over the largest float32 value, of the worst result; None: not judged."""
    speed: float | None
    """Median time in float32 over median time in bfloat16.  None: not measured, since it is wrong."""
    failure: str = ""
    """What went wrong, if it failed."""


def layer_shapes(model: nn.Module, example: Tensor) -> dict[str, tuple[Shape, ...]]:
    """The distinct calls of each Conv2d and Linear in one forward pass, by the layer's name in the model.

    The pass is in evaluation mode and without gradients, so nothing in the model changes.

    Args:
        example: a batch as in training: size, memory format and device matter, the values do not.
    """
    found: dict[str, dict[Shape, None]] = {}

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            found.setdefault(name, {})[_shape(layer, inputs[0])] = None

        return hook

    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    handles = [layer.register_forward_pre_hook(note(name)) for name, layer in layers]
    try:
        with _evaluating(model), torch.no_grad(), seeded(0):
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return {name: tuple(shapes) for name, shapes in found.items()}


def conv_shapes(model: nn.Module, example: Tensor) -> list[Shape]:
    """Every distinct Conv2d and Linear call of one forward pass, in the order of first use."""
    calls = layer_shapes(model, example).values()
    return list(dict.fromkeys(shape for shapes in calls for shape in shapes))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _shape(layer: nn.Module, images: Tensor) -> Shape:
    if isinstance(layer, nn.Linear):
        return Shape("linear", tuple(images.shape), tuple(layer.weight.shape), layer.bias is not None)
    assert isinstance(layer, nn.Conv2d)
    size, padding = tuple(images.shape), layer.padding
    if layer.padding_mode != "zeros":
        # Such a layer pads by itself and calls the kernel without padding.
        left, right, top, bottom = layer._reversed_padding_repeated_twice
        size, padding = (*size[:2], size[2] + top + bottom, size[3] + left + right), (0, 0)
    last = torch.channels_last
    return Shape(
        kind="conv2d",
        input=size,
        weight=tuple(layer.weight.shape),
        bias=layer.bias is not None,
        stride=tuple(layer.stride),
        padding=padding if isinstance(padding, str) else tuple(padding),
        dilation=tuple(layer.dilation),
        groups=layer.groups,
        # Torch's own rule: either operand decides; what is contiguous in both ways (C = 1) does not count.
        channels_last=any(
            tensor.is_contiguous(memory_format=last) and not tensor.is_contiguous()
            for tensor in (images, layer.weight)
        ),
    )


def self_test(shape: Shape, device: torch.device | None = None) -> Measurement:
    """Run one shape in both precisions and compare.

    Only the kernel is judged, not the format: inputs, weights and incoming gradients are rounded to
    bfloat16 first, and float32 computes on the same rounded values.  What a right kernel then loses is
    the rounding of its result, at most 2^-8 = 0.39 % of each value.  The times include what autocast adds
    in training, a cast of the weights and of their gradient; activations arrive in the precision that is
    measured, as they do between two lowered layers.

    Args:
        device: where; absent: the CPU.
    """
    try:
        case = _Case(shape, device or torch.device("cpu"))
        error = _worst(exact=case.run(torch.float32), tried=case.run(torch.bfloat16))
        if error is None:
            return Measurement(error=None, speed=None, failure="it gave values that are not finite")
        if error > ERROR:
            return Measurement(error=error, speed=None)
        speed = ratio(
            lambda: case.run(torch.float32), lambda: case.run(torch.bfloat16), case.weight.device, BUDGET_S
        )
        return Measurement(error=error, speed=speed)
    # What torch raises for a kernel that is missing, out of memory or broken.
    except (RuntimeError, ValueError, TypeError) as problem:
        reason = str(problem).strip().partition("\n")[0]
        return Measurement(error=None, speed=None, failure=f"it failed: {type(problem).__name__}: {reason}")


class _Case:
    """One shape with normal numbers that bfloat16 can hold; they are a function of the shape."""

    def __init__(self, shape: Shape, device: torch.device) -> None:
        seed = int.from_bytes(hashlib.blake2b(shape.key.encode(), digest_size=7).digest(), "big")
        generator = torch.Generator().manual_seed(seed)

        def normal(size: tuple[int, ...], spread: float = 1.0) -> Tensor:
            drawn = (torch.randn(size, generator=generator) * spread).bfloat16().float().to(device)
            return drawn.contiguous(memory_format=torch.channels_last) if shape.channels_last else drawn

        fan_in = math.prod(shape.weight[1:])
        images = normal((shape.test_batch, *shape.input[1:]))
        self.shape = shape
        self.weight = normal(shape.weight, 1 / math.sqrt(fan_in)).requires_grad_()
        self.bias = torch.zeros(shape.weight[0], device=device).requires_grad_() if shape.bias else None
        with torch.no_grad():
            incoming = normal(tuple(shape.forward(images, self.weight, self.bias).shape))
        precisions = (torch.float32, torch.bfloat16)
        self.images = {dtype: images.detach().to(dtype).requires_grad_() for dtype in precisions}
        self.incoming = {dtype: incoming.to(dtype) for dtype in precisions}

    def run(self, dtype: torch.dtype) -> list[Tensor]:
        """The output and the gradients with respect to input, weight and bias, computed in `dtype`."""
        lowered = dtype is torch.bfloat16
        images = self.images[dtype]
        sources = [tensor for tensor in (images, self.weight, self.bias) if tensor is not None]
        with torch.enable_grad(), torch.autocast(images.device.type, torch.bfloat16, enabled=lowered):
            output = self.shape.forward(images, self.weight, self.bias)
        return [output.detach(), *torch.autograd.grad(output, sources, self.incoming[dtype])]


def _worst(exact: list[Tensor], tried: list[Tensor]) -> float | None:
    """The largest |tried - exact| / max |exact| of any result; None if something is not finite."""
    worst = 0.0
    for right, other in zip(exact, tried, strict=True):
        if not (right.isfinite().all() and other.isfinite().all()):
            return None
        scale = right.abs().max().item()
        worst = max(worst, (other.float() - right).abs().max().item() / (scale or 1.0))
    return worst


def ratio(
    float32: Callable[[], object], bfloat16: Callable[[], object], device: torch.device, budget_s: float
) -> float:
    """Best time of the one over best time of the other, in turns, so that both meet the same load.

    The best, not the median: other processes only ever add time.  On two busy cores medians of the same
    shape gave 0.41 and 0.05, and found one faster that is 0.66 times as fast in a quiet moment.
    """
    slow: list[float] = []
    fast: list[float] = []
    while not slow or (len(slow) < REPEATS and sum(slow) + sum(fast) < budget_s):
        slow.append(_seconds(float32, device))
        fast.append(_seconds(bfloat16, device))
    return min(slow) / min(fast)


def _seconds(action: Callable[[], object], device: torch.device) -> float:
    _finish(device)
    started = time.perf_counter()
    action()
    _finish(device)
    return time.perf_counter() - started


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
