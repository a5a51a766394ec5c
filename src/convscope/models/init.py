"""How do the weights start?

Functions that change a freshly built network in place.  Kaiming and Xavier
draw the weights of all convolutions and linear layers from a normal
distribution with mean zero, set all biases to zero, all norms to weight 1 and
bias 0, and differ in the variance.  They draw from torch's global generator,
so `build` calls them behind a fence.

    n_in   inputs that reach one output      n_out  outputs that one input reaches

For a convolution n_in = C_in/groups x kernel area, n_out = C_out/groups x kernel area.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from convscope.core import catalog

M = TypeVar("M", bound=nn.Module)
Number = float | Tensor


@runtime_checkable
class Fans(Protocol):
    """A layer of our own that knows how many inputs and outputs its weights connect."""

    weight: nn.Parameter
    bias: nn.Parameter | None

    def fans(self) -> tuple[Tensor, Tensor]:
        """(n_in, n_out), each broadcastable to the weight."""


def initialise(network: M, name: str) -> M:
    """Apply the named initialisation; gives the same network back.

    Raises:
        UnknownName: no such initialisation.
    """
    catalog.find("inits", name).load()(network)
    return network


def torch_default(module: nn.Module) -> None:
    """Leave the network as the framework built it: weights and biases uniform, bound 1/sqrt(n_in)."""


def kaiming(module: nn.Module) -> None:
    """Variance 2/n_out for convolutions, which keeps the size of gradients from layer to layer under ReLU.

    Linear layers get 2/n_in, which keeps the size of what they put out: with 10 classes, 2/n_out would
    start ResNet-20 at a loss between 3.7 and 12 instead of about ln 10 = 2.3 (S1.25).

    Reference:
        He, Zhang, Ren, Sun (2015), Delving Deep into Rectifiers, section 2.2.
        https://arxiv.org/abs/1502.01852
    """
    _normal(module, lambda n_in, n_out: 2 / n_out, linear=lambda n_in, n_out: 2 / n_in)


def xavier(module: nn.Module) -> None:
    """Variance 2/(n_in + n_out), a compromise between the sizes of outputs and of gradients.

    Reference:
        Glorot, Bengio (2010), Understanding the Difficulty of Training Deep Feedforward Neural
        Networks, section 4.2.
        Differs: theirs is uniform with the same variance.
    """
    _normal(module, lambda n_in, n_out: 2 / (n_in + n_out))


@torch.no_grad()
def _normal(
    module: nn.Module,
    variance: Callable[[Number, Number], Number],
    linear: Callable[[Number, Number], Number] | None = None,
) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
        elif isinstance(layer, nn.Conv2d | nn.Linear | Fans):
            of = linear if linear and isinstance(layer, nn.Linear) else variance
            layer.weight.normal_().mul_(of(*_fans(layer)) ** 0.5)
            if layer.bias is not None:
                layer.bias.zero_()


def _fans(layer: nn.Conv2d | nn.Linear | Fans) -> tuple[Number, Number]:
    if isinstance(layer, nn.Conv2d):
        area = layer.kernel_size[0] * layer.kernel_size[1]
        return layer.in_channels * area / layer.groups, layer.out_channels * area / layer.groups
    if isinstance(layer, nn.Linear):
        return float(layer.in_features), float(layer.out_features)
    return layer.fans()
