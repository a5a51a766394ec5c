"""How do the weights start?

Functions that change a freshly built network in place.  Each sets the weights
of all convolutions and linear layers by its own rule, and all norms to weight
1 and bias 0.  Biases become zero, as in the papers, or stay as the framework
drew them (S3.73).  They draw from torch's global generator, so `build` calls
them behind a fence.

    n_in   inputs that reach one output      n_out  outputs that one input reaches

For a convolution n_in = C_in/groups x kernel area, n_out = C_out/groups x kernel area (S3.71).
"""

import math
from collections.abc import Callable
from typing import Annotated, Literal, Protocol, TypeVar, get_args, runtime_checkable

import torch
from pydantic import Field
from torch import Tensor, nn

from convscope.core import catalog, spelling
from convscope.core.errors import ConfigError

M = TypeVar("M", bound=nn.Module)
Number = float | Tensor
Positive = Annotated[float, Field(gt=0)]
Distribution = Literal["normal", "uniform"]
Fan = Literal["auto", "in", "out"]
Biases = Literal["zero", "torch"]


@runtime_checkable
class Fans(Protocol):
    """A layer of our own that knows how many inputs and outputs its weights connect."""

    weight: nn.Parameter
    bias: nn.Parameter | None

    def fans(self) -> tuple[Tensor, Tensor]:
        """(n_in, n_out), each broadcastable to the weight."""


Layer = nn.Conv2d | nn.Linear | Fans


def initialise(network: M, text: str) -> M:
    """Apply `kaiming` or `kaiming:fan=in,distribution=uniform`; gives the same network back.

    Raises:
        UnknownName: no such initialisation.
        ConfigError: an option it does not have, or a value that cannot be.
    """
    name, options = spelling.read(text)
    catalog.call("inits", name, options, module=network)
    return network


def torch_default(module: nn.Module) -> None:
    """Leave the network as the framework built it: weights and biases uniform, bound 1/sqrt(n_in)."""


def uniform(module: nn.Module, bound: Positive = 0.05, biases: Biases = "zero") -> None:
    """Uniform between -bound and bound in every layer, whatever its size.

    Args:
        module: changed in place.
        bound: largest absolute value.
        biases: zero, or as the framework drew them.

    Reference:
        S4.10, whose network was built with Keras: RandomUniform, with the same bound by default.
    """
    _each(module, lambda layer: layer.weight.uniform_(-bound, bound), biases)


def normal(module: nn.Module, std: Positive = 0.05, biases: Biases = "zero") -> None:
    """Normal with mean zero and the same standard deviation in every layer.

    Args:
        module: changed in place.
        std: standard deviation.
        biases: zero, or as the framework drew them.

    Reference:
        Keras: RandomNormal, with the same deviation by default.  Krizhevsky, Sutskever, Hinton (2012),
        ImageNet Classification with Deep Convolutional Neural Networks, section 5, have std=0.01.
    """
    _each(module, lambda layer: layer.weight.normal_().mul_(std), biases)


def truncated_normal(module: nn.Module, std: Positive = 0.05, biases: Biases = "zero") -> None:
    """Normal with mean zero, without what is further out than two standard deviations.

    Args:
        module: changed in place.
        std: of the distribution before it is cut; what is left deviates by 0.88 std.
        biases: zero, or as the framework drew them.

    Reference:
        S4.12; Keras: TruncatedNormal, with the same deviation by default.
        Differs: drawn by inversion, where Keras draws again.
    """
    within = math.erf(2 / math.sqrt(2))  # the share of a normal distribution within two deviations, 0.954

    def draw(layer: Layer) -> None:
        # The last bit of the inverse may put a weight just outside of the cut.
        layer.weight.uniform_(-within, within).erfinv_().mul_(math.sqrt(2) * std).clamp_(-2 * std, 2 * std)

    _each(module, draw, biases)


def lecun(module: nn.Module, distribution: Distribution = "normal", biases: Biases = "zero") -> None:
    """Variance 1/n_in, which keeps the size of outputs where the activation is about linear.

    Args:
        module: changed in place.
        distribution: of the weights.
        biases: zero, or as the framework drew them.

    Reference:
        S3.68, S3.71; LeCun, Bottou, Orr, Mueller (1998), Efficient BackProp, section 4.6.
    """
    _scaled(module, lambda layer: 1 / _fans(layer)[0], distribution, biases)


def xavier(module: nn.Module, distribution: Distribution = "normal", biases: Biases = "zero") -> None:
    """Variance 2/(n_in + n_out), a compromise between the sizes of outputs and of gradients.

    Args:
        module: changed in place.
        distribution: of the weights.
        biases: zero, or as the framework drew them.

    Reference:
        S3.69; Glorot, Bengio (2010), Understanding the Difficulty of Training Deep Feedforward Neural
        Networks, section 4.2.
        Differs: theirs is uniform with the same variance.
    """

    def variance(layer: Layer) -> Number:
        n_in, n_out = _fans(layer)
        return 2 / (n_in + n_out)

    _scaled(module, variance, distribution, biases)


def kaiming(
    module: nn.Module, fan: Fan = "auto", distribution: Distribution = "normal", biases: Biases = "zero"
) -> None:
    """Variance 2/n_in, which keeps the size of outputs under ReLU, or 2/n_out, which keeps that of gradients.

    Args:
        module: changed in place.
        fan: in, out, or auto: out for convolutions and in for linear layers.  With 10 classes, 2/n_out would
            start ResNet-20 at a loss between 3.7 and 12 instead of about ln 10 = 2.3 (S1.25).
        distribution: of the weights.
        biases: zero, or as the framework drew them.

    Reference:
        S3.70; He, Zhang, Ren, Sun (2015), Delving Deep into Rectifiers, section 2.2.
        https://arxiv.org/abs/1502.01852
    """
    _refuse_unknown("fan", fan, Fan)

    def variance(layer: Layer) -> Number:
        n_in, n_out = _fans(layer)
        chosen = fan if fan != "auto" else "in" if isinstance(layer, nn.Linear) else "out"
        return 2 / (n_in if chosen == "in" else n_out)

    _scaled(module, variance, distribution, biases)


def orthogonal(module: nn.Module, gain: Positive = 1.0, biases: Biases = "zero") -> None:
    """Rows at right angles to each other, of length `gain`; columns, where there are more rows than columns.

    The weights of a convolution are taken as a matrix with a row per output channel.  A layer of our own
    that connects only some maps has no such matrix: its weights get variance gain^2/n_in, which gives its
    rows the same length on average.

    Args:
        module: changed in place.
        gain: 1 keeps the size of outputs without an activation, 1.41 under ReLU.
        biases: zero, or as the framework drew them.

    Reference:
        Saxe, McClelland, Ganguli (2014), Exact Solutions to the Nonlinear Dynamics of Learning in Deep
        Linear Neural Networks.  https://arxiv.org/abs/1312.6120
        Differs: theirs has linear layers only; ours takes convolutions as torch does.
    """

    def draw(layer: Layer) -> None:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.orthogonal_(layer.weight, gain)
        else:
            layer.weight.normal_().mul_(gain * (1 / _fans(layer)[0]) ** 0.5)

    _each(module, draw, biases)


def dirac(module: nn.Module, biases: Biases = "zero") -> None:
    """Let each layer pass on what it gets: output channel i of a convolution is input channel i.

    What cannot be an identity stays as the framework drew it: output channels beyond the number of input
    channels (as zeros they would stay zero for ever behind a ReLU), linear layers that are not square, and
    layers of our own that connect only some maps.

    Args:
        module: changed in place.
        biases: zero, or as the framework drew them.

    Reference:
        Zagoruyko, Komodakis (2017), DiracNets: Training Very Deep Neural Networks Without Skip-Connections.
        https://arxiv.org/abs/1706.00388
        Jordan (2024), 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, which draws the channels beyond.
        Differs: DiracNets keep the identity beside weights that learn; here it is where the weights start.
    """

    def pass_on(layer: Layer) -> None:
        if isinstance(layer, nn.Conv2d):
            identity = nn.init.dirac_(torch.zeros_like(layer.weight), layer.groups)
            passing = identity.flatten(1).any(1)
            layer.weight[passing] = identity[passing]
        elif isinstance(layer, nn.Linear) and layer.in_features == layer.out_features:
            nn.init.eye_(layer.weight)

    _each(module, pass_on, biases)


def _scaled(
    module: nn.Module, variance: Callable[[Layer], Number], distribution: Distribution, biases: Biases
) -> None:
    """Draw each layer's weights with mean zero and a variance of its own."""
    _refuse_unknown("distribution", distribution, Distribution)

    def draw(layer: Layer) -> None:
        if distribution == "normal":
            layer.weight.normal_().mul_(variance(layer) ** 0.5)
        else:
            layer.weight.uniform_(-1, 1).mul_((3 * variance(layer)) ** 0.5)

    _each(module, draw, biases)


@torch.no_grad()
def _each(module: nn.Module, change: Callable[[Layer], object], biases: Biases) -> None:
    """Change every layer that connects; make norms neutral, and biases zero if that is wanted."""
    _refuse_unknown("biases", biases, Biases)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.reset_parameters()
        elif isinstance(layer, nn.Conv2d | nn.Linear | Fans):
            change(layer)
            if biases == "zero" and layer.bias is not None:
                layer.bias.zero_()


def _refuse_unknown(option: str, value: str, allowed: object) -> None:
    known = get_args(allowed)
    if value not in known:
        raise ConfigError(f"{option} must be {' or '.join(map(repr, known))}, not {value!r}.")


def _fans(layer: Layer) -> tuple[Number, Number]:
    if isinstance(layer, nn.Conv2d):
        area = layer.kernel_size[0] * layer.kernel_size[1]
        return layer.in_channels * area / layer.groups, layer.out_channels * area / layer.groups
    if isinstance(layer, nn.Linear):
        return float(layer.in_features), float(layer.out_features)
    return layer.fans()
