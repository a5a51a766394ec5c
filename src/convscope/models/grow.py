"""How does a trained network become the beginning of a deeper one?

Its layers go where the deeper network has the same: stage by stage, block by
block, in order.  What the deeper network has besides starts in one of two
ways.  A block with a shortcut starts as the identity, so the deeper network
computes exactly what the shallower one did (S3.46).  A layer without one
keeps its fresh weights, as when VGG was grown (S3.38).

Knows nothing of names of networks: `nn.Sequential`s are matched by position,
everything else by name.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.pooling import _AvgPoolNd, _MaxPoolNd

from convscope.core.errors import ConfigError

_LAYERS = (nn.Linear, nn.Conv2d)
_SIDE = 8
"""Pixels of the map on which a block is tried; any would do."""


@dataclass(frozen=True)
class Grown:
    """What became of the layers of the deeper network, by name."""

    copied: list[str] = field(default_factory=list)
    """They have the shallower network's weights and statistics."""
    identities: list[str] = field(default_factory=list)
    """Blocks that start as the identity."""
    fresh: list[str] = field(default_factory=list)
    """They keep the weights they had."""

    def __str__(self) -> str:
        parts = [f"{len(self.copied)} layers are those of the shallower network"]
        for names, what in (
            (self.identities, "blocks start as the identity"),
            (self.fresh, "layers start anew"),
        ):
            if names:
                shown = [*names[:3], "...", names[-1]] if len(names) > 4 else names
                parts.append(f"{len(names)} {what} ({', '.join(shown)})")
        return "; ".join(parts) + "."


def grow(deep: nn.Module, shallow: nn.Module) -> Grown:
    """Give a deeper network the weights of a shallower one of the same kind.

    Where all further layers are residual blocks, the logits of both are equal in evaluation mode: to the bit if
    the same kernels compute them.  There, the block's last norm gets scale and shift zero, or, where no norm
    stands behind it, the last convolution gets weights zero: of these two, the one that leaves x + 0 and still
    gets a gradient.  In VGG, convolutions go by stage, from each stage's first on; linear layers go by
    position, and where one has another shape than there, it starts anew.

    Args:
        deep: on the CPU; changed in place: its parameters and statistics only.
        shallow: unchanged.

    Returns:
        Which layers were copied, which blocks start as the identity, which layers start anew.

    Raises:
        ConfigError: the shallower network does not fit into the deeper one, or a further block cannot be the
            identity, for instance since its last activation changes twice what it changes once.  The deeper
            network is then partly filled: build it again.

    Reference:
        He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition, section 1: added layers that
        are identity mappings.  https://arxiv.org/abs/1512.03385
        Goyal et al. (2017), Accurate, Large Minibatch SGD, section 5.1: the zero in the last norm.
        https://arxiv.org/abs/1706.02677
        Simonyan, Zisserman (2015), Very Deep Convolutional Networks, section 3.1: VGG.
        https://arxiv.org/abs/1409.1556
        Differs: they take the first four convolutions and the three linear layers of configuration A; here
        every layer is taken that has a place.
    """
    grown = Grown()
    _match(deep, shallow, "", grown)
    return grown


def _match(deep: nn.Module, shallow: nn.Module, at: str, grown: Grown) -> None:
    ours, theirs = _children(deep), _children(shallow)
    _copy(deep, shallow, at, grown)
    if isinstance(deep, nn.Sequential) and any(map(_pools, deep)):
        _match_stages(deep, shallow, at, grown)
    elif isinstance(deep, nn.Sequential) and all(map(_is_block, ours.values())):
        _match_blocks(ours, theirs, at, grown)
    else:
        if ours.keys() != theirs.keys():
            names = ", ".join(_join(at, name) for name in sorted(ours.keys() ^ theirs.keys()))
            raise ConfigError(
                f"The shallower network does not fit into the deeper one: only one of them has {names}. Both must "
                f"be of the same family, with the same options."
            )
        for name, child in ours.items():
            _match(child, theirs[name], _join(at, name), grown)


def _match_blocks(ours: dict[str, nn.Module], theirs: dict[str, nn.Module], at: str, grown: Grown) -> None:
    """Block by block; those that are left over start as the identity."""
    if len(theirs) > len(ours) or not theirs:
        raise ConfigError(
            f"The shallower network does not fit into the deeper one: {at} has {len(theirs)} blocks there and "
            f"{len(ours)} here."
        )
    before = None
    pairs = list(theirs.values())
    for i, (name, block) in enumerate(ours.items()):
        if i < len(pairs):
            _match(block, pairs[i], _join(at, name), grown)
            before = block
        elif before is not None:
            _make_identity(block, before, _join(at, name))
            grown.identities.append(_join(at, name))


def _match_stages(deep: nn.Sequential, shallow: nn.Module, at: str, grown: Grown) -> None:
    """Stages end with a pool; in each, a layer and the norm behind it go together, in order."""
    ours, theirs = list(_stages(deep)), list(_stages(shallow))
    if len(ours) != len(theirs):
        raise ConfigError(
            f"The shallower network does not fit into the deeper one: {at} has {len(theirs)} stages there and "
            f"{len(ours)} here."
        )
    for number, (here, there) in enumerate(zip(ours, theirs, strict=True), 1):
        if len(there) > len(here):
            raise ConfigError(
                f"The shallower network does not fit into the deeper one: stage {number} of {at} has {len(there)} "
                f"layers there and {len(here)} here."
            )
        for unit, source in zip(here, there, strict=False):
            if len(unit) != len(source):
                raise ConfigError(
                    f"The shallower network does not fit into the deeper one: only one of them has a norm behind "
                    f"{_join(at, unit[0][0])}. Both must be of the same family, with the same options."
                )
            for (name, layer), (_, other) in zip(unit, source, strict=True):
                _match(layer, other, _join(at, name), grown)
        grown.fresh.extend(_join(at, name) for unit in here[len(there) :] for name, _ in unit)


Unit = list[tuple[str, nn.Module]]


def _stages(sequence: nn.Module) -> Iterator[list[Unit]]:
    """Lists of units, each a layer and what behind it has weights too; the last stage may lack a pool."""
    stage: list[Unit] = []
    for name, module in sequence.named_children():
        if _pools(module):
            yield stage
            stage = []
        elif isinstance(module, _BatchNorm) and stage:
            stage[-1].append((name, module))
        elif module.state_dict():
            stage.append([(name, module)])
    if stage:
        yield stage


def _copy(deep: nn.Module, shallow: nn.Module, at: str, grown: Grown) -> None:
    """Copy a module's own tensors, without those of its children."""
    ours, theirs = _own(deep), _own(shallow)
    if not ours and not theirs:
        return
    shapes = [{name: tuple(tensor.shape) for name, tensor in state.items()} for state in (ours, theirs)]
    if shapes[0] == shapes[1]:
        for name, tensor in ours.items():
            tensor.copy_(theirs[name])
        grown.copied.append(at)
    elif isinstance(deep, nn.Linear) and isinstance(shallow, nn.Linear):
        grown.fresh.append(at)
    else:
        raise ConfigError(
            f"The shallower network does not fit into the deeper one: {at} has {_said(shapes[1])} there and "
            f"{_said(shapes[0])} here. Both must have the same width, channels and options."
        )


def _own(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in module.state_dict().items() if "." not in name}


def _said(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "nothing"


def _children(module: nn.Module) -> dict[str, nn.Module]:
    """Those that hold a tensor."""
    return {name: child for name, child in module.named_children() if child.state_dict()}


def _is_block(module: nn.Module) -> bool:
    return bool(_children(module)) and not isinstance(module, nn.Sequential)


def _pools(module: nn.Module) -> bool:
    return isinstance(module, _MaxPoolNd | _AvgPoolNd)


def _join(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


@torch.no_grad()
def _make_identity(block: nn.Module, before: nn.Module, at: str) -> None:
    """Set the weights of one layer of the block to zero so that it gives back what it gets, and can learn.

    Raises:
        ConfigError: no layer does that.
    """
    x = _example(before)
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    convolutions = [module for module in block.modules() if isinstance(module, nn.Conv2d)]
    # Before the last norm comes a convolution, but in a block that begins with its norms none follows; there,
    # with a norm of zeros, no gradient would come through the ReLU behind it, ever.
    for layer in [*reversed(norms), *reversed(convolutions)]:
        kept = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
        for parameter in layer.parameters():
            parameter.zero_()
        if _is_identity(block, x) and _learns(block, layer, x):
            return
        layer.load_state_dict(kept)
    raise ConfigError(
        f"The block {at} cannot start as the identity, so the deeper network would not compute what the shallower "
        f"one does. That needs a shortcut and, behind the sum, no activation or one that changes nothing the second "
        f"time, such as relu."
    )


def _example(before: nn.Module) -> Tensor:
    """A map such as the block will get: what the block before it makes of waves."""
    into = next(module.in_channels for module in before.modules() if isinstance(module, nn.Conv2d))
    waves = torch.arange(2 * into * _SIDE * _SIDE).float().mul(0.7).cos().view(2, into, _SIDE, _SIDE)
    return _evaluated(before, waves)


def _evaluated(block: nn.Module, x: Tensor) -> Tensor:
    modes = {module: module.training for module in block.modules()}
    try:
        result: Tensor = block.eval()(x.clone())  # an activation may work in place
    finally:
        for module, training in modes.items():
            module.training = training
    return result


def _is_identity(block: nn.Module, x: Tensor) -> bool:
    return torch.equal(_evaluated(block, x), x)


def _learns(block: nn.Module, layer: nn.Module, x: Tensor) -> bool:
    """Whether the layer gets a gradient."""
    parameters = list(layer.parameters())
    with torch.enable_grad():
        out = _evaluated(block, x)
        weighted = (out * torch.arange(out.numel()).view(out.shape).sin()).sum()
        found = torch.autograd.grad(weighted, parameters, allow_unused=True)
    return any(gradient is not None and bool(gradient.any()) for gradient in found)
