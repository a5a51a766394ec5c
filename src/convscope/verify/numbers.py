"""From which numbers are statements computed, and how far apart are two results?

In: a key, or two tensors.  Out: float64 tensors that depend on the key alone,
or the largest difference.  Knows nothing of any statement.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

ROUNDING = 1e-10
"""Below this two results in float64 are one.

The largest differences that were seen are 1e-13: networks of 34 layers, whose numbers are of the order of one.
"""


def drawn(key: int, *shape: int) -> Tensor:
    """Standard normal numbers in float64, the same for the same key and shape."""
    generator = np.random.Generator(np.random.Philox(key=key))
    return torch.from_numpy(np.asarray(generator.standard_normal(shape)))


def apart(one: Tensor, other: Tensor) -> float:
    """The largest difference between two tensors; infinite where shapes differ or a number is none."""
    if one.shape != other.shape:
        return math.inf
    largest = float((one - other).detach().abs().max())
    return math.inf if math.isnan(largest) else largest


def experienced(network: nn.Module, key: int) -> nn.Module:
    """The same network in float64 and evaluation mode, its norms as if it had learned; changed in place.

    A fresh norm changes almost nothing in evaluation, so much would be equal that is not.
    """
    for i, module in enumerate(network.double().eval().modules()):
        if isinstance(module, _BatchNorm):
            mean, variance, scale, shift = drawn(1000 * key + i, 4, module.num_features)
            state = {"running_mean": mean / 4, "running_var": 1 + variance.tanh() / 2}
            module.load_state_dict(state | {"weight": 1 + scale / 4, "bias": shift / 4}, strict=False)
    return network
