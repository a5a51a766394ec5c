"""Which starting weights keep the size of activations and of gradients through depth?

Networks of linear layers and activations are started by the package's own
functions, in float64, and their variances measured layer by layer beside what
the derivation says.  What is random is measured on widths at which its spread
is far below the bounds.

    N  inputs      n_in, n_out  fans of a layer      L  layers
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from convscope.compute.fences import seeded
from convscope.models import init

from . import Finding
from .numbers import drawn

WIDTH, DEPTH, N = 400, 12, 64
KEPT = (0.6, 1.6)
"""Variance by depth, of the input's, that counts as kept; widths of 400 spread by a fifth over 12 layers."""
TAPER = (1024, 768, 576, 432, 324, 243)
"""Widths of a network that becomes narrower by 3/4 from layer to layer."""

Draw = Callable[[nn.Module], object]


def initialisation() -> Iterator[Finding]:
    """LeCun, Xavier and Kaiming by layer and by depth, fans of convolutions, biases, and the size of the input."""
    yield _one_layer()
    yield _lecun_depth()
    yield _lecun_saturates()
    yield _backward_needs_the_other_fan()
    yield _harmonic_mean()
    yield _xavier_between()
    yield _kaiming_forward()
    yield _kaiming_backward()
    yield _lecun_under_relu()
    yield _torch_default()
    yield _drawn_variances()
    yield _truncated()
    yield _fans_of_convolutions()
    yield _fans_of_strides()
    yield _convolutions_keep()
    yield _random_biases()
    yield _input_size()
    yield _loader_scales()


def network(
    widths: Sequence[int], draw: Draw, activation: Callable[[], nn.Module], key: int = 0
) -> nn.Sequential:
    """Linear layers of these widths, each followed by the activation, started by `draw`; float64."""
    with seeded(key):
        pairs = zip(widths, widths[1:], strict=False)
        layers = [module for into, out in pairs for module in (nn.Linear(into, out), activation())]
        made = nn.Sequential(*layers)
        draw(made)
    return made.double()


def forward_variances(made: nn.Sequential, size: float = 1.0, key: int = 1) -> list[float]:
    """Mean square of what each linear layer puts out, as a share of the input's."""
    value = size * drawn(key, N, _inputs(made))
    start, found = float(value.square().mean()), []
    with torch.no_grad():
        for module in made:
            value = module(value)
            if isinstance(module, nn.Linear):
                found.append(float(value.square().mean()) / start)
    return found


def backward_variances(made: nn.Sequential, key: int = 1) -> list[float]:
    """Mean square of the gradient at the input of each linear layer from the last to the first, as a share of that
    of the gradient at the end, which is noise.
    """
    value = drawn(key, N, _inputs(made)).requires_grad_()
    inputs = []
    for module in made:
        if isinstance(module, nn.Linear):
            inputs.append(value)
        value = module(value)
    arriving = drawn(key + 1, *value.shape)
    gradients = torch.autograd.grad(value, inputs, arriving)
    start = float(arriving.square().mean())
    return [float(gradient.square().mean()) / start for gradient in reversed(gradients)]


def _inputs(made: nn.Sequential) -> int:
    first = made[0]
    assert isinstance(first, nn.Linear)  # as `network` makes them
    return first.in_features


@dataclass(frozen=True)
class Started:
    """A network by its weights' variance and its activation."""

    words: str
    draw: Draw
    activation: Callable[[], nn.Module]
    size: float = 1.0
    """Of the inputs."""

    def forward(self, widths: Sequence[int] = (WIDTH,) * (DEPTH + 1)) -> list[float]:
        """Through equal widths, from the first layer to the last."""
        return forward_variances(network(widths, self.draw, self.activation), self.size)

    def backward(self) -> list[float]:
        """Through narrower and narrower widths, from the last layer to the first."""
        return backward_variances(network(TAPER, self.draw, self.activation))


def _kept(variances: Sequence[float]) -> bool:
    return KEPT[0] < min(variances) and max(variances) < KEPT[1]


def _range(variances: Sequence[float]) -> str:
    return f"between {min(variances):.2f} and {max(variances):.2f}"


# Linear layers -----------------------------------------------------------------------------------------------------


def _fan_out(module: nn.Module) -> None:
    """Variance 1/n_out, the other one of S3.69."""
    init.kaiming(module, fan="out")
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.div_(math.sqrt(2))


def _named(text: str) -> Draw:
    """A start of the catalog, looked up when it is needed."""
    return lambda module: init.initialise(module, text)


@torch.no_grad()
def _without_biases(module: nn.Module) -> None:
    """torch's own weights: uniform, of variance 1/(3 n_in)."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            layer.bias.zero_()


LECUN_SMALL_TANH = Started("tanh, 1/n_in (LeCun), inputs of size 0.01", _named("lecun"), nn.Tanh, size=0.01)
LECUN_TANH = Started("tanh, 1/n_in (LeCun)", _named("lecun"), nn.Tanh)
LECUN_RELU = Started("ReLU, 1/n_in (LeCun)", _named("lecun"), nn.ReLU)
LECUN_LINEAR = Started("linear, 1/n_in (LeCun)", _named("lecun"), nn.Identity)
FAN_OUT_LINEAR = Started("linear, 1/n_out", _fan_out, nn.Identity)
XAVIER_LINEAR = Started("linear, 2/(n_in + n_out) (Xavier)", _named("xavier"), nn.Identity)
KAIMING_IN_RELU = Started("ReLU, 2/n_in (Kaiming)", _named("kaiming:fan=in"), nn.ReLU)
KAIMING_OUT_RELU = Started("ReLU, 2/n_out (Kaiming)", _named("kaiming:fan=out"), nn.ReLU)
TORCH_LINEAR = Started("linear, 1/(3 n_in) (torch)", _without_biases, nn.Identity)


def _one_layer() -> Finding:
    """100,000 outputs of one input; the spread of a variance from so many is 0.45 %."""
    inputs, outputs, weight_variance, bias_variance = 50, 100_000, 0.07, 0.3
    given = drawn(1, inputs)
    given = (given - given.mean()) / given.std(correction=0)
    weights = drawn(2, outputs, inputs) * math.sqrt(weight_variance)
    found = weights @ given + drawn(3, outputs) * math.sqrt(bias_variance)
    wanted = inputs * weight_variance + bias_variance
    mean, variance = float(found.mean()), float(found.var())
    return Finding(
        "If x has mean 0 and variance 1, Ax + b has mean 0 and variance n_in s_A^2 + s_b^2.",
        "S3.68",
        f"{outputs:,} outputs of {inputs} inputs with s_A^2 = {weight_variance}, s_b^2 = {bias_variance} have mean "
        f"{mean:.4f} and variance {variance:.3f}, where {wanted:.3f} is said.",
        abs(mean) < 5 * math.sqrt(wanted / outputs) and abs(variance / wanted - 1) < 0.025,
    )


def _lecun_depth() -> Finding:
    small = LECUN_SMALL_TANH.forward()
    return Finding(
        "With variance 1/n_in the variance stays about 1 through depth where tanh is linear.",
        "S3.68, S3.72",
        f"Inputs of size 0.01 keep their variance through {DEPTH} layers of tanh: it is {_range(small)} of the input's.",
        _kept(small),
    )


def _lecun_saturates() -> Finding:
    variances = LECUN_TANH.forward()
    return Finding(
        "With variance 1/n_in and inputs of variance 1, what tanh layers put out keeps variance 1.",
        "S3.68 without its linear approximation",
        f"Before the second tanh the variance is {variances[1]:.2f} (tanh makes 0.394 of 1), before the {DEPTH}th "
        f"{variances[-1]:.2f}: tanh is not linear at 1.",
        _kept(variances),
        true=False,
    )


def _backward_needs_the_other_fan() -> Finding:
    right, wrong = FAN_OUT_LINEAR.backward(), LECUN_LINEAR.backward()
    wanted = TAPER[-1] / TAPER[0]
    return Finding(
        "With variance 1/n_out the gradient keeps its variance on the way back; with 1/n_in it changes by n_out/n_in at "
        "each layer.",
        "S3.69",
        f"Through widths {TAPER[0]} to {TAPER[-1]} it is {_range(right)} with 1/n_out, and ends at {wrong[-1]:.3f} with "
        f"1/n_in, where {wanted:.3f} is said.",
        _kept(right) and abs(wrong[-1] / wanted - 1) < 0.2,
    )


def _harmonic_mean() -> Finding:
    """In fractions, so without rounding; then the package's own variance."""
    pairs = [(a, b) for a in range(1, 31) for b in range(1, 31)]
    off = sum(2 / (1 / Fraction(1, a) + 1 / Fraction(1, b)) != Fraction(2, a + b) for a, b in pairs)
    return Finding(
        "2/(n_in + n_out) is the harmonic mean of 1/n_in and 1/n_out.",
        "S3.69",
        f"It is for all but {off} of {len(pairs):,} pairs of fans up to 30, computed in fractions.",
        off == 0,
    )


def _xavier_between() -> Finding:
    there, back = XAVIER_LINEAR.forward(TAPER)[-1], XAVIER_LINEAR.backward()[-1]
    pairs = list(zip(TAPER, TAPER[1:], strict=False))
    says = [math.prod(2 * pair[end] / sum(pair) for pair in pairs) for end in (0, 1)]
    return Finding(
        "Xavier's variance lets outputs grow by 2 n_in/(n_in + n_out) and gradients by 2 n_out/(n_in + n_out) a layer.",
        "S3.69",
        f"Through widths {TAPER[0]} to {TAPER[-1]} outputs end at {there:.2f} (said: {says[0]:.2f}) and gradients at "
        f"{back:.2f} (said: {says[1]:.2f}).",
        abs(there / says[0] - 1) < 0.2 and abs(back / says[1] - 1) < 0.2,
    )


def _kaiming_forward() -> Finding:
    """Of a layer under ReLU the mean square that goes on is half of what came in, hence the 2."""
    variances = KAIMING_IN_RELU.forward()
    linear = [variance / 2 for variance in variances]  # the first layer sees the input, not a ReLU
    return Finding(
        "With variance 2/n_in outputs keep their size through depth under ReLU.",
        "S3.70, S3.72",
        f"Through {DEPTH} layers the variance before the ReLU is {_range(linear)} of the first one's.",
        _kept(linear),
    )


def _kaiming_backward() -> Finding:
    right, wrong = KAIMING_OUT_RELU.backward(), KAIMING_IN_RELU.backward()
    return Finding(
        "With variance 2/n_out gradients keep their size on the way back under ReLU, with 2/n_in only where fans are "
        "equal.",
        "S3.70",
        f"Through widths {TAPER[0]} to {TAPER[-1]} they are {_range(right)} with 2/n_out and end at {wrong[-1]:.2f} with "
        "2/n_in.",
        _kept(right) and wrong[-1] < KEPT[0],
    )


def _lecun_under_relu() -> Finding:
    variances = LECUN_RELU.forward()
    variances = [
        variance / variances[0] for variance in variances
    ]  # the first layer sees the input, not a ReLU
    return Finding(
        "With variance 1/n_in outputs keep their size through depth under ReLU.",
        "counterpart of S3.70",
        f"After {DEPTH} layers {variances[-1]:.1e} of the first one's variance is left: a half at each ReLU, "
        f"2^-{DEPTH - 1} = {0.5 ** (DEPTH - 1):.1e}.",
        _kept(variances),
        true=False,
    )


def _torch_default() -> Finding:
    variances = TORCH_LINEAR.forward()
    return Finding(
        "torch's own start keeps the size of outputs through linear layers.",
        "counterpart of S3.68, S3.73",
        f"Its weights are uniform with variance 1/(3 n_in): after {DEPTH} layers {variances[-1]:.1e} is left, and 3^-"
        f"{DEPTH} = {3.0**-DEPTH:.1e}.",
        _kept(variances),
        true=False,
    )


def _drawn_variances() -> Finding:
    """A weight of 300,000 numbers, whose variance spreads by 0.26 % when it is normal."""
    n_in, n_out = 600, 500
    wanted = {"lecun": 1 / n_in, "xavier": 2 / (n_in + n_out), "kaiming": 2 / n_in}
    worst, where = 0.0, ""
    for name, variance in wanted.items():
        for distribution in ("normal", "uniform"):
            with seeded(5):
                layer = nn.Linear(n_in, n_out)
                init.initialise(layer, f"{name}:distribution={distribution}")
            off = abs(float(layer.weight.detach().double().var()) / variance - 1)
            if off >= worst:
                worst, where = off, f"{name}, {distribution}"
    return Finding(
        "LeCun's, Xavier's and Kaiming's weights have variance 1/n_in, 2/(n_in + n_out) and 2/n_in, normal or uniform.",
        "S3.68-70",
        f"In layers of {n_in * n_out:,} weights drawn by the package the largest relative error is {worst:.2%} ({where}).",
        worst < 0.015,
    )


def _truncated() -> Finding:
    """Variance of a normal within +-2: 1 - 2 x 2 phi(2)/(Phi(2) - Phi(-2))."""
    density, mass = math.exp(-2) / math.sqrt(2 * math.pi), math.erf(math.sqrt(2))
    wanted = math.sqrt(1 - 4 * density / mass)
    with seeded(6):
        layer = nn.Linear(600, 500)
        init.truncated_normal(layer, std=1.0)
    found, furthest = float(layer.weight.detach().std()), float(layer.weight.detach().abs().max())
    return Finding(
        "A normal cut at two deviations is left with 0.88 of its deviation.",
        "S4.12",
        f"The integral is {wanted:.4f}; 300,000 weights have {found:.4f}, the furthest at {furthest:.4f}.",
        abs(wanted - 0.88) < 0.005 and abs(found / wanted - 1) < 0.01 and furthest <= 2,
    )


# Convolutions ------------------------------------------------------------------------------------------------------


def counted_fans(layer: nn.Conv2d, size: int = 24) -> tuple[float, float]:
    """How many numbers reach one output, and how many one input reaches: counted on a map, away from its border."""
    ones = torch.ones_like(layer.weight, dtype=torch.float64)
    given = torch.ones(1, layer.in_channels, size, size, dtype=torch.float64, requires_grad=True)
    made = F.conv2d(given, ones, None, layer.stride, layer.padding, groups=layer.groups)
    (reached,) = torch.autograd.grad(made.sum(), given)
    middle = made.shape[-1] // 2
    inside = slice(size // 4, size // 4 + 12)
    return float(made[0, 0, middle, middle].detach()), float(reached[0, 0, inside, inside].mean())


def _convolution(into: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """One whose weights nobody reads, made without drawing from the caller's generator."""
    with seeded(0):
        return nn.Conv2d(into, out, kernel, stride, padding=kernel // 2, groups=groups)


CONVOLUTIONS: tuple[tuple[int, int, int, int], ...] = (
    (3, 16, 3, 1), (16, 8, 5, 1), (4, 4, 1, 1), (8, 12, 3, 4), (6, 6, 3, 6)
)  # fmt: skip
"""Channels in, channels out, kernel, groups."""


def _fans_of_convolutions() -> Finding:
    shown, off = [], 0.0
    for into, out, kernel, groups in CONVOLUTIONS:
        layer = _convolution(into, out, kernel, groups=groups)
        counted, said = counted_fans(layer), init._fans(layer)
        off = max(off, *(abs(float(c) - float(s)) for c, s in zip(counted, said, strict=True)))
        shown.append(f"{counted[0]:.0f} and {counted[1]:.0f}")
    return Finding(
        "Of a convolution of stride 1, n_in = C_in f1 f2 reach one output and one input reaches n_out = C_out f1 f2 "
        "(C divided by the groups).",
        "S3.71",
        f"Counted on a map for {len(CONVOLUTIONS)} kernels: {', '.join(shown)}; the package's fans differ by at most "
        f"{off:.0e}.",
        off < 1e-9,
    )


def _fans_of_strides() -> Finding:
    layer = _convolution(4, 8, 3, stride=2)
    counted, said = counted_fans(layer)[1], 8 * 9
    return Finding(
        "One input of a convolution of stride 2 reaches C_out f1 f2 outputs too.",
        "S3.71, which does not say for which stride",
        f"With 8 filters of 3x3 it reaches {counted:g} on average, not {said}: a quarter.",
        abs(counted - said) < 1e-9,
        true=False,
    )


def _convolutions_keep() -> Finding:
    """Without padding, since zeros around a map take part of the variance at its border."""
    with seeded(7):
        layers = [nn.Conv2d(32, 32, 3, bias=False) for _ in range(5)]
        init.lecun(nn.Sequential(*layers).double())
    value = drawn(8, 4, 32, 24, 24)
    variances = []
    with torch.no_grad():
        for layer in layers:
            value = layer(value)
            variances.append(float(value.var()))
    return Finding(
        "Convolutions with variance 1/(C_in f1 f2) keep the variance of maps.",
        "S3.71",
        f"Through five 3x3 convolutions of 32 channels it is {_range(variances)} of the input's.",
        _kept(variances),
    )


# Biases and inputs -------------------------------------------------------------------------------------------------


def _random_biases() -> Finding:
    with seeded(9):
        layers: tuple[nn.Linear, nn.Conv2d] = nn.Linear(100, 2000), nn.Conv2d(4, 2000, 5)
    largest = [float(layer.bias.detach().abs().max()) for layer in layers if layer.bias is not None]
    return Finding(
        "torch starts the biases of linear layers and convolutions at random, where the papers have zero.",
        "S3.73",
        f"With 100 inputs each, the largest of 2,000 biases are {largest[0]:.4f} and {largest[1]:.4f}: uniform up to "
        "1/sqrt(n_in) = 0.1.",
        all(0.09 < value <= 0.1 for value in largest),
    )


def _input_size() -> Finding:
    made = network((64, 100, 100, 10), lambda module: init.kaiming(module, fan="in"), nn.ReLU)
    pixels = torch.randint(0, 256, (20, 64), generator=torch.Generator().manual_seed(2)).double()
    with torch.no_grad():
        ratio = made(pixels) / made(pixels / 255)
    ratio = ratio[torch.isfinite(ratio)]
    off = float((ratio / 255 - 1).abs().max())
    return Finding(
        "Inputs in [0, 255] instead of [0, 1] make everything 255 times as large in a network without biases under ReLU.",
        "S3.74",
        f"All outputs of a network of three layers are; the largest relative error is {off:.1e}.",
        off < 1e-10,
    )


def _loader_scales() -> Finding:
    images = torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8)
    # With a generator of its own: without one, it draws from the caller's.
    loader = DataLoader(TensorDataset(images), batch_size=4, generator=torch.Generator())
    (batch,) = next(iter(loader))
    return Finding(
        "PyTorch's DataLoader scales pixels to [0, 1].",
        "S3.74 as printed, E3.15",
        f"It gives back {batch.dtype} between {int(batch.min())} and {int(batch.max())}, every number as it was: "
        f"{bool(torch.equal(batch, images))}. A transform scales, if one is asked for.",
        float(batch.max()) <= 1,
        true=False,
    )
