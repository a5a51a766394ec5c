"""What is the loss as a function of the weights?

What landscape, smoothness and curvature share: the images they look at, the
loss of an image, what norms do meanwhile, and a network that may be moved and
comes back bit for bit.  The loss here is the mean over the images alone:
no decay, no penalty, and every image counts the same.

    n  images of a batch      N  images in all      K  classes      P  parameters
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.core import catalog, spelling
from convscope.evaluate.subject import Subject

Norm = Literal["running", "batch"]
Batch = tuple[Tensor, Tensor]
"""Normalised images (n, C, H, W), and labels (n,) or shares (n, K)."""

BATCH = 250
"""Images at a time.  ResNet-20 does as many a second with 50, 125 or 250 (one thread, within 10 %)."""

NORMS = {
    "running": "norms with stored statistics",
    "batch": f"norms with the statistics of batches of at most {BATCH}",
    "none": "no batch norms",
}


@dataclass(frozen=True)
class ImageLoss:
    """What an image costs."""

    text: str
    """As on the command line: `cross-entropy:smoothing=0.1`."""
    _function: Callable[..., Tensor]
    _options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits (n, K) and labels (n,) or shares (n, K) -> (n,)."""
        shares = F.one_hot(labels, logits.shape[1]).to(logits.dtype) if labels.ndim == 1 else labels
        return self._function(logits, shares, **self._options)


def loss_label(text: str) -> str:
    """For an axis: an `ImageLoss.text` with its unit."""
    return "loss (nats)" if text.startswith(("cross-entropy", "bce")) else f"loss ({text})"


def image_loss(subject: Subject, chosen: str) -> ImageLoss:
    """The loss by name; `auto` is what the subject's run was trained with, else cross-entropy.

    Raises:
        UnknownName, ConfigError: no such loss, or no such option of it.
    """
    name, given = spelling.read(chosen)
    if chosen == "auto" and subject.recipe is not None:
        name, given = subject.recipe.loss.name, subject.recipe.loss.options
    elif chosen == "auto":
        name = "cross-entropy"
    options = catalog.resolve("losses", name, given)
    return ImageLoss(spelling.write(name, given), catalog.find("losses", name).load(), options)


def batches_of(subject: Subject, split: str, images: int) -> list[Batch]:
    """So many images of a split in batches of nearly the same size, on the network's device, without augmentation."""
    chosen = subject.images(split, images)
    device = next(subject.model.parameters()).device
    parts = torch.arange(len(chosen)).tensor_split(-(-len(chosen) // BATCH))
    return [
        (subject.normalise(chosen.batch(part).to(device)), chosen.labels[part].to(device)) for part in parts
    ]


def norms_of(model: nn.Module) -> list[nn.Module]:
    """Its modules that keep statistics of what they saw."""
    return [module for module in model.modules() if getattr(module, "running_mean", None) is not None]


def norm_mode(model: nn.Module, norm: Norm) -> str:
    """`running`, `batch`, or `none` where there is no norm with stored statistics."""
    return norm if norms_of(model) else "none"


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Inside, norms use the statistics of the batch they get, in training and evaluation mode alike.

    The stored ones are put aside, so no step changes them, not even one that is not finite.
    """
    stored: list[Any] = [
        (norm, norm.running_mean, norm.running_var, getattr(norm, "track_running_stats", None))
        for norm in norms_of(model)
    ]
    try:
        for norm, *_ in stored:
            norm.running_mean = norm.running_var = None
            norm.track_running_stats = False
        yield
    finally:
        for norm, mean, variance, tracks in stored:
            norm.running_mean, norm.running_var = mean, variance
            norm.track_running_stats = tracks


@contextmanager
def borrowed(model: nn.Module, norm: Norm = "running") -> Iterator[dict[str, Tensor]]:
    """Lend the network for moving its weights; every number and mode is put back.

    Yields:
        What its parameters are, by name: copies.
    """
    modes = {module: module.training for module in model.modules()}
    parameters = {name: p.detach().clone() for name, p in model.named_parameters()}
    buffers = {name: b.detach().clone() for name, b in model.named_buffers()}
    try:
        with batch_statistics(model) if norm == "batch" else nullcontext():
            yield parameters
    finally:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(parameters[name])
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
        model.zero_grad(set_to_none=True)
        for module, training in modes.items():
            module.training = training


@torch.no_grad()
def losses_at(model: nn.Module, batches: Sequence[Batch], loss: ImageLoss) -> tuple[Tensor, float]:
    """The loss of every image, float64 (N,) on the CPU, and the share that is classified correctly."""
    losses, right = [], 0
    for images, labels in batches:
        logits = model(images).float()
        losses.append(loss(logits, labels).double().cpu())
        right += int((logits.argmax(1) == (labels if labels.ndim == 1 else labels.argmax(1))).sum())
    every = torch.cat(losses)
    return every, right / len(every)


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """One vector (P,) of all numbers."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def unflat(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The inverse of `flat`: views of the vector, shaped like the tensors."""
    parts = torch.split(vector, [tensor.numel() for tensor in like])
    return [part.view(tensor.shape) for part, tensor in zip(parts, like, strict=True)]
