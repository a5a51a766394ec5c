"""With which means and variances does batch norm work once training is over?

In: a network, and the inputs of its training split.  Out: a copy whose batch norms know the statistics of that
split, instead of the running averages that training left behind.  Weights are not touched, and nothing is
trained.

    N  images      C  channels      P, Q  pixels of a layer's input      L  batch norms of the network
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from convscope.core.errors import ConfigError
from convscope.data import ImageSet, Normaliser
from convscope.data.batches import batch_sizes

Statistics = Literal["layers", "batches"]


@dataclass(frozen=True)
class Inputs:
    """The images of a split as network input, batch by batch, as often as they are asked for.

    In their own order and without augmentation, like the images a network is later used on.  No batch has a
    single image, unless there is but one.
    """

    images: ImageSet
    normalise: Normaliser
    batch: int = 500

    def __iter__(self) -> Iterator[Tensor]:
        """float32, (n, C, H, W) each."""
        start = 0
        for size in batch_sizes(len(self.images), self.batch):
            which = torch.arange(start, start + size)
            start += size
            yield self.normalise(self.images.batch(which))


def reestimate(model: nn.Module, inputs: Iterable[Tensor], *, how: Statistics = "layers") -> nn.Module:
    """A copy whose batch norms have the statistics of these inputs.

    `layers` is exact.  The batch norms are taken in the order of the forward pass; each gets the mean and the
    variance of everything that reaches it from all N inputs while those before it already work with their new
    statistics: a later layer's input depends on how an earlier one normalises, so all at once would be wrong.
    The result is what training mode would use if the whole split were one batch.  It costs L passes over the
    inputs, each only as far as its layer: about L/2 whole ones.

    `batches` takes one pass.  Each batch is normalised with its own statistics, as in training, and these are
    averaged over the batches, by size.  What differs between batches is missing from such a variance, so the
    result depends on how the inputs are batched.

    Args:
        model: any network; unchanged.  Dropout is off, whatever its mode.
        inputs: network inputs, (n, C, H, W) each; they are run through several times, so a list or `Inputs`,
            not a generator.
        how: `layers` or `batches`.

    Returns:
        The copy in evaluation mode.  Batch norms that keep no running statistics, or that no input reaches (in a
        branch for training only), stay as they are; a network without any comes back as it is.

    Raises:
        ConfigError: no inputs, a generator that is used up, or one batch norm used twice in one pass: its two
            inputs would need statistics of their own.

    Reference:
        S3.82, strategies 1 (`layers`) and 2 (what torch leaves behind).  Ioffe, Szegedy (2015), Batch
        Normalization, algorithm 2, lines 8 to 12 (`batches`).  https://arxiv.org/abs/1502.03167
        Differs: `layers` divides by N P Q as the lecture does; torch's running variance, and `batches`, by one
        less.  torch.optim.swa_utils.update_bn counts a smaller last batch as a whole one and lets dropout drop.
    """
    if how not in ("layers", "batches"):
        raise ConfigError(f"Statistics are estimated by 'layers' or by 'batches', not by {how!r}.")
    found = copy.deepcopy(model).eval()
    device = next(found.parameters()).device
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        norms = _in_order(found, inputs, device)
        if how == "batches" and norms:
            _average(found, norms, inputs, device)
        elif how == "layers":
            for norm in norms:
                _set(norm, _reaching(found, norm, inputs, device))
    return found


class _Enough(Exception):
    """The layer in question has been reached; the rest of the network need not be computed."""


@dataclass
class _Moments:
    """Mean and sum of squared deviations per channel, over what has come so far."""

    count: int = 0
    mean: Tensor | float = 0.0
    squares: Tensor | float = 0.0

    def add(self, values: Tensor) -> None:
        """(n, C, ...) of any float type.  Chan, Golub, LeVeque (1983): parts are joined without cancellation."""
        others = [dimension for dimension in range(values.dim()) if dimension != 1]
        new = values.numel() // values.shape[1]
        variance, mean = torch.var_mean(values.double(), others, correction=0)
        total, offset = self.count + new, mean - self.mean
        self.mean = self.mean + offset * (new / total)
        self.squares = self.squares + variance * new + offset.square() * (self.count * new / total)
        self.count = total


def _in_order(model: nn.Module, inputs: Iterable[Tensor], device: torch.device) -> list[_BatchNorm]:
    """The batch norms with running statistics, in the order in which the first batch reaches them."""
    kept = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    reached: list[_BatchNorm] = []
    handles = [norm.register_forward_pre_hook(lambda norm, _: reached.append(norm)) for norm in kept]
    batch = next(iter(inputs), None)
    if batch is None or iter(inputs) is inputs:
        raise ConfigError(
            "Statistics need inputs that can be run through once per batch norm: give a list of batches or "
            "`Inputs`, not a generator, and not an empty split."
        )
    model(batch.to(device))
    for handle in handles:
        handle.remove()
    twice = [name for name, module in model.named_modules() if sum(module is norm for norm in reached) > 1]
    if twice:
        raise ConfigError(
            f"The batch norm {twice[0]!r} is used more than once in a pass: there is no order in which its "
            f"statistics could be estimated. Give each place a batch norm of its own."
        )
    return reached


def _reaching(model: nn.Module, norm: _BatchNorm, inputs: Iterable[Tensor], device: torch.device) -> _Moments:
    """The moments of everything that reaches a batch norm."""
    moments = _Moments()

    def look(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        moments.add(arguments[0])
        raise _Enough

    with norm.register_forward_pre_hook(look):
        for batch in inputs:
            try:
                model(batch.to(device))
            except _Enough:
                continue
    return moments


def _set(norm: _BatchNorm, moments: _Moments) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.copy_(torch.as_tensor(moments.mean))
    norm.running_var.copy_(torch.as_tensor(moments.squares) / moments.count)


def _average(
    model: nn.Module, norms: list[_BatchNorm], inputs: Iterable[Tensor], device: torch.device
) -> None:
    """Let torch average, with a momentum that gives every input the same share."""
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]  # type: ignore[union-attr]
    seen = 0
    for norm in norms:
        norm.train()
    for batch in inputs:
        seen += len(batch)
        for norm in norms:
            norm.momentum = len(batch) / seen
        model(batch.to(device))
    for norm, (momentum, tracked) in zip(norms, before, strict=True):
        norm.eval()
        norm.momentum, norm.num_batches_tracked = momentum, tracked
