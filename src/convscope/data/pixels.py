"""How do computed values become the pixels of a batch again?

As bytes, to the nearest, and in the memory order the batch came in:
channels-last stays channels-last.
"""

import numpy as np
import torch
from torch import Tensor


def rounded(values: Tensor, into: Tensor) -> Tensor:
    """Write computed values as bytes, to the nearest, halves to the even.

    Args:
        values: float32, in [0, 255] but for rounding, as many elements as `into`; may be overwritten.
        into: uint8; what is in it is lost.

    Returns:
        `into`.
    """
    values = values.view(into.shape)
    if into.device.type == "cpu":
        # In one pass: 1.6 million values take 0.4 ms on one core, torch's rounding and conversion 1.2 ms.
        np.rint(values.numpy(), out=into.numpy(), casting="unsafe")
        return into
    return into.copy_(values.round_())


def in_order_of(images: Tensor, changed: Tensor) -> Tensor:
    """`changed` in the memory order of `images`, of the same shape."""
    if changed.stride() == images.stride():
        return changed
    return torch.empty_like(images).copy_(changed)
