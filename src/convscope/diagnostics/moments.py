"""What are the mean and variance of what enters each layer, and of what leaves each batch norm?

In: a network and images.  Out: moments per channel over images and places,
summarised by layer.  Attached to a run, every so many steps, it shows how the
inputs of the layers wander (the first reading of internal covariate shift).

    N  images      L  layers      C  channels or features      T  channels of all layers together
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from convscope.core.errors import ConfigError
from convscope.evaluate.subject import Result, Subject

from .recording import Count, Norms, Split, is_norm, layers, parts, use_norms, watching, weighted


@dataclass(frozen=True)
class Moments(Result):
    """Inputs of convolutions, linear layers and batch norms; outputs of batch norms."""

    subject: str
    split: str
    images: int
    norms: str
    """What batch norms used: their running statistics, or those of the images."""
    layers: tuple[str, ...]
    """In the order of the calls, (L,)."""
    batch_norm: tuple[bool, ...]
    """Whether it is a batch norm, (L,)."""
    input_mean: tuple[float, ...]
    """Mean over the channels of the channels' means, (L,)."""
    input_spread: tuple[float, ...]
    """Root mean square over the channels of the channels' means, (L,)."""
    input_variance: tuple[float, ...]
    """Mean over the channels of the channels' variances, (L,)."""
    output_mean: tuple[float, ...]
    """As `input_mean`; nan where it is no batch norm, (L,)."""
    output_spread: tuple[float, ...]
    """As `input_spread`."""
    output_variance: tuple[float, ...]
    """As `input_variance`."""
    stale: tuple[float, ...]
    """Root mean square over the channels of (mean - running mean) / running deviation; nan if no batch norm, (L,)."""
    channel_layer: np.ndarray
    """Layer of each channel, int64, (T,)."""
    channel_input_mean: np.ndarray
    """float64, (T,)."""
    channel_input_variance: np.ndarray
    """float64, (T,)."""
    channel_output_mean: np.ndarray
    """float64, (T,); nan where it is no batch norm."""
    channel_output_variance: np.ndarray
    """float64, (T,); nan where it is no batch norm."""

    def scalars(self) -> dict[str, float]:
        """Every layer's moments by its name, e.g. `bn1.input_mean`: over training, one series each."""
        found: dict[str, float] = {"images": self.images}
        for i, (name, norm) in enumerate(zip(self.layers, self.batch_norm, strict=True)):
            found |= {
                f"{name}.input_mean": self.input_mean[i],
                f"{name}.input_variance": self.input_variance[i],
            }
            if norm:
                found |= {
                    f"{name}.output_mean": self.output_mean[i],
                    f"{name}.output_variance": self.output_variance[i],
                }
        return found

    @property
    def sentence(self) -> str:
        """What was found."""
        count = sum(self.batch_norm)
        chosen = [i for i, norm in enumerate(self.batch_norm) if norm] or list(range(len(self.layers)))
        entering = [self.input_variance[i] for i in chosen]
        what = (
            f"the {count} batch norms" if count else f"the {len(chosen)} layers with weights (no batch norms)"
        )
        said = (
            f"{self.subject}: the variance of what enters {what} lies between {min(entering):.3g} and "
            f"{max(entering):.3g}"
        )
        if count:
            leaving = [self.output_variance[i] for i in chosen]
            said += f", of what leaves them between {min(leaving):.3g} and {max(leaving):.3g}"
        return f"{said} ({self.images} images of {self.split}, {self.norms} statistics)."


def moments(
    *, subject: Subject, split: Split = "val", images: Count = 500, norms: Norms = "running"
) -> Moments:
    """Mean and variance per channel of what enters every layer, and of what leaves every batch norm.

    Args:
        split: val or train.
        images: evenly spread over the split; 0: all.
        norms: batch norms use their running statistics, as when the network is used, or those of up to 250
            images at a time, as in training.

    Raises:
        ConfigError: there is no convolution, linear layer or batch norm.

    Reference:
        Ioffe, Szegedy (2015), Batch Normalization: Accelerating Deep Network Training by Reducing Internal
        Covariate Shift, section 4.1; Santurkar et al. (2018), How Does Batch Normalization Help Optimization?,
        section 2.1; S3.84.  https://arxiv.org/abs/1805.11604
    """
    chosen = subject.images(split, images)
    model = subject.model
    all_layers = layers(model, subject.inputs(chosen.subset(torch.arange(1))))
    heavy = weighted(all_layers)
    found = {name: m for name, m in all_layers.items() if name in heavy or is_norm(m)}
    if not found:
        raise ConfigError(f"{type(model).__name__} has no convolution, linear layer or batch norm.")
    use_norms(model, norms)
    entering = {name: ChannelSums() for name in found}
    leaving = {name: ChannelSums() for name, m in found.items() if is_norm(m)}

    def see(name: str, entered: Tensor, output: Tensor) -> None:
        entering[name].add(entered)
        if name in leaving:
            leaving[name].add(output)

    with torch.no_grad(), watching(found, see):
        for inputs, _ in parts(subject, chosen):
            model(inputs)
    return _result(subject, split, len(chosen), norms, found, entering, leaving)


class ChannelSums:
    """Mean and variance per channel, part by part: sums of a map in float32, of the maps in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.total = torch.zeros(1, dtype=torch.float64)
        self.squares = torch.zeros(1, dtype=torch.float64)

    def add(self, value: Tensor) -> None:
        """(n, C, ...)."""
        seen, places = value.detach(), tuple(range(2, value.dim()))
        self.count += seen.numel() // seen.shape[1]
        self.total = self.total + _by_channel(seen, places)
        self.squares = self.squares + _by_channel(seen.square(), places)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance, (C,) each."""
        mean = self.total / self.count
        return mean.numpy(), (self.squares / self.count - mean.square()).clamp(min=0).numpy()


def _by_channel(value: Tensor, places: tuple[int, ...]) -> Tensor:
    each = value.sum(places) if places else value
    return each.double().sum(0).cpu()


def _result(
    subject: Subject,
    split: str,
    images: int,
    norms: str,
    found: Mapping[str, nn.Module],
    entering: Mapping[str, ChannelSums],
    leaving: Mapping[str, ChannelSums],
) -> Moments:
    inputs = [entering[name].moments() for name in found]
    nothing = [np.full_like(mean, np.nan) for mean, _ in inputs]
    outputs = [
        leaving[name].moments() if name in leaving else (none, none)
        for name, none in zip(found, nothing, strict=True)
    ]
    return Moments(
        subject=subject.name,
        split=split,
        images=images,
        norms=norms,
        layers=tuple(found),
        batch_norm=tuple(name in leaving for name in found),
        input_mean=tuple(float(mean.mean()) for mean, _ in inputs),
        input_spread=tuple(_rms(mean) for mean, _ in inputs),
        input_variance=tuple(float(variance.mean()) for _, variance in inputs),
        output_mean=tuple(float(mean.mean()) for mean, _ in outputs),
        output_spread=tuple(_rms(mean) for mean, _ in outputs),
        output_variance=tuple(float(variance.mean()) for _, variance in outputs),
        stale=tuple(_stale(module, mean) for module, (mean, _) in zip(found.values(), inputs, strict=True)),
        channel_layer=np.repeat(np.arange(len(inputs)), [len(mean) for mean, _ in inputs]),
        channel_input_mean=np.concatenate([mean for mean, _ in inputs]),
        channel_input_variance=np.concatenate([variance for _, variance in inputs]),
        channel_output_mean=np.concatenate([mean for mean, _ in outputs]),
        channel_output_variance=np.concatenate([variance for _, variance in outputs]),
    )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _stale(module: nn.Module, mean: np.ndarray) -> float:
    running, variance = getattr(module, "running_mean", None), getattr(module, "running_var", None)
    if not is_norm(module) or running is None or variance is None:
        return float("nan")
    eps = float(module.eps)  # type: ignore[arg-type]
    return _rms((mean - running.double().cpu().numpy()) / np.sqrt(variance.double().cpu().numpy() + eps))
