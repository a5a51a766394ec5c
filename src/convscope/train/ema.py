"""What is the average of the weights over the last steps?

A second network whose every number follows the first's slowly.  It is the one
that is scored, kept and used later; the first alone learns.
"""

import copy

import torch
from torch import nn


class Ema:
    """An exponential moving average of a network.

    Args:
        model: the network that learns; it is copied.
        decay: share of the old average in the new, in [0, 1), once some steps are made.

    Reference:
        Polyak, Juditsky (1992), Acceleration of Stochastic Approximation by Averaging.
        Differs: the average forgets exponentially, as everywhere today, and the running statistics of
        norms are averaged too.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Follow the network after step `step` (from 0).

        In the first steps the share of the old is (1 + step) / (10 + step) at most, so that the random
        start is forgotten.
        """
        kept = min(self.decay, (1 + step) / (10 + step))
        old, new = self.model.state_dict().values(), model.state_dict().values()
        floats = [(a, b) for a, b in zip(old, new, strict=True) if a.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in floats], [b for _, b in floats], 1 - kept)
        for a, b in zip(old, new, strict=True):
            if not a.is_floating_point():
                a.copy_(b)
