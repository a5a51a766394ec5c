"""Which network lies in the middle of several networks of one architecture?

In: networks whose tensors have the same names and shapes, such as two snapshots of a run or runs that went on
from the same weights.  Out: one with the mean of each weight: an ensemble at the price of a single network, if
the networks lie in one valley.  Networks from different random starts do not: between them the loss is high.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from convscope.core.errors import ConfigError


def average_weights(models: Sequence[nn.Module]) -> nn.Module:
    """A network whose weights are the mean of those of several networks.

    Means are taken in float64 and rounded once, so networks that are equal give themselves.  Whole numbers
    (how many batches a norm has seen) are the first network's.  The statistics of batch norms are averaged
    like all else and fit the new weights only roughly: `norms.reestimate` comes next.

    Args:
        models: at least one; unchanged.

    Returns:
        A copy of the first one, with the means, in evaluation mode.

    Raises:
        ConfigError: no networks, or tensors whose names or shapes differ.  That two networks compute the same
            from equal tensors (the same activations, say) is for the caller to know.

    Reference:
        Izmailov et al. (2018), Averaging Weights Leads to Wider Optima and Better Generalization, section 3.
        https://arxiv.org/abs/1803.05407
        Differs: they average along one run at a constant or cyclical rate; here the caller says what is averaged.
    """
    if not models:
        raise ConfigError("There are no networks to average.")
    states = [model.state_dict() for model in models]
    for number, state in enumerate(states[1:], 2):
        _refuse_another_architecture(states[0], state, number)
    found = copy.deepcopy(models[0]).eval()
    with torch.no_grad():
        for name, tensor in found.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.stack([state[name].double() for state in states]).mean(0))
    return found


def _refuse_another_architecture(first: dict[str, Tensor], other: dict[str, Tensor], number: int) -> None:
    shapes = [{name: tuple(tensor.shape) for name, tensor in state.items()} for state in (first, other)]
    for name in sorted(shapes[0].keys() | shapes[1].keys()):
        ours, theirs = shapes[0].get(name, "missing"), shapes[1].get(name, "missing")
        if ours != theirs:
            raise ConfigError(
                f"Weights can be averaged only between networks of one architecture: {name} is {ours} in network "
                f"1 and {theirs} in network {number}."
            )
