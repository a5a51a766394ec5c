"""How does a network get rid of its batch norms once it is trained?

In evaluation a batch norm multiplies each channel by a number and adds
another, which the convolution or linear layer before it can do as well:

    W' = W g / sqrt(v + eps)      b' = (b - m) g / sqrt(v + eps) + s

    m, v  running mean and variance      g, s  the norm's scale and shift      W, b  the layer's weight and bias
"""

import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any, TypeGuard

import torch
from torch import Tensor, fx, nn

from convscope.core.errors import ConfigError

from .graph import follow

Norm = nn.BatchNorm1d | nn.BatchNorm2d
Layer = nn.Conv2d | nn.Linear


def fold(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode without the batch norms that directly follow a convolution or linear layer.

    Such a norm becomes an `nn.Identity`, so all names stay; its numbers go into the layer, which gets a bias if
    it had none.  A norm stays where folding would change the result: if it has no running statistics, if its
    layer's output, weight or module is also used elsewhere, or if either of the two carries hooks or
    parametrisations, which would see other numbers.

    Args:
        model: any network that torch.fx can follow; unchanged.

    Returns:
        The copy, whose logits are those of the model in evaluation mode up to rounding: the new weights are
        computed in float64 and rounded once.  Parameters keep their dtype, device, memory format and
        `requires_grad`.

    Raises:
        ConfigError: torch.fx cannot follow the network's own code.  The copy raises one where a linear layer
            gives more than (N, features), since its norm worked on another axis than the layer.

    Reference:
        Jacob et al. (2018), Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference, section 3.2.  https://arxiv.org/abs/1712.05877
        S3.87.
    """
    folded = copy.deepcopy(model).eval()
    for layer, norm, name in list(_pairs(folded)):
        _absorb(layer, norm)
        flat = isinstance(layer, nn.Linear)
        folded.set_submodule(name, (_Features() if flat else nn.Identity()).eval())
    return folded


class _Features(nn.Identity):
    """In the place of a norm that was folded into a linear layer."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, features), as it is."""
        if input.dim() != 2:
            raise ConfigError(
                f"A batch norm was folded into a linear layer that gives {tuple(input.shape)}: only (N, features) can "
                f"be folded, since of anything larger the norm takes the second axis and the layer the last."
            )
        return input


def _pairs(network: nn.Module) -> Iterator[tuple[Layer, Norm, str]]:
    """A layer, the norm that can be folded into it, and the norm's name."""
    graph = follow(network)
    modules = {
        node: network.get_submodule(str(node.target)) for node in graph.nodes if node.op == "call_module"
    }
    calls = Counter(map(id, modules.values()))
    holders = Counter(id(p) for m in network.modules() for p in m.parameters(recurse=False))
    read = {id(_attribute(network, str(node.target))) for node in graph.nodes if node.op == "get_attr"}
    for node, norm in modules.items():
        before = _before(node, modules)
        layer = modules.get(before) if before else None
        if not (_is_layer(layer) and _is_norm(norm)):
            continue
        parts = [*layer.parameters(), *norm.parameters()]
        alone = (
            calls[id(layer)] == calls[id(norm)] == 1
            and all(holders[id(p)] == 1 and id(p) not in read for p in parts)
            and _plain(layer)
            and _plain(norm)
        )
        if alone and norm.running_mean is not None and norm.num_features == layer.weight.shape[0]:
            yield layer, norm, str(node.target)


def _is_layer(module: nn.Module | None) -> TypeGuard[Layer]:
    """Exactly one of these: a class of somebody's own may compute something else."""
    return type(module) in (nn.Conv2d, nn.Linear)


def _is_norm(module: nn.Module) -> TypeGuard[Norm]:
    return type(module) in (nn.BatchNorm1d, nn.BatchNorm2d)


def _before(node: fx.Node, modules: dict[fx.Node, nn.Module]) -> fx.Node | None:
    """What the node gets, past parts that are switched off; nothing if anybody else gets it as well."""
    while node.all_input_nodes:
        node = node.all_input_nodes[0]
        if len(node.users) > 1:
            return None
        if not isinstance(modules.get(node), nn.Identity):
            return node
    return None


def _plain(module: nn.Module) -> bool:
    """Nothing of torch's intervenes in what the module computes or shows it to somebody."""
    parametrised = "weight" not in module._parameters
    return not (parametrised or module._forward_hooks or module._forward_pre_hooks)


def _attribute(network: nn.Module, name: str) -> Any:
    found: Any = network
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _absorb(layer: Layer, norm: Norm) -> None:
    with torch.no_grad():
        zero = torch.zeros(norm.num_features)
        mean, variance = _exact(norm.running_mean, zero), _exact(norm.running_var, zero)
        scale = _exact(norm.weight, zero + 1) / (variance + norm.eps).sqrt()
        bias = (_exact(layer.bias, zero) - mean) * scale + _exact(norm.bias, zero)
        weight = _exact(layer.weight, zero) * scale.view(-1, *[1] * (layer.weight.dim() - 1))
        if layer.bias is None:
            empty = layer.weight.new_empty(norm.num_features)
            layer.bias = nn.Parameter(empty, layer.weight.requires_grad)
        # In place: strides stay, and with them the memory format.
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)


def _exact(tensor: Tensor | None, otherwise: Tensor) -> Tensor:
    """In float64, on the CPU, since not every device has it."""
    return (otherwise if tensor is None else tensor).to("cpu", torch.float64)
