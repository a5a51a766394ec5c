"""How right does the network stay when the images are disturbed?

In: a network and labelled images.  Out: its accuracy under noise, and under a
small step of every pixel in the direction that hurts, at stated levels.

    N  images      A, B  levels of noise and of steps
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from convscope.core.errors import ConfigError
from convscope.core.intervals import wilson
from convscope.evaluate.subject import Result, Subject

from .recording import Count, Split, input_gradient, parts, refuse_unlabelled

Levels = tuple[Annotated[float, Field(ge=0, le=255)], ...]


@dataclass(frozen=True)
class Robustness(Result):
    """Accuracy by disturbance."""

    subject: str
    split: str
    images: int
    noise: tuple[float, ...]
    """Standard deviations of Gaussian noise, in pixel values of 0 to 255, from 0, (A,)."""
    noise_correct: tuple[int, ...]
    """Images that are still right, (A,)."""
    steps: tuple[float, ...]
    """Sizes of the gradient's step, in pixel values of 0 to 255, from 0, (B,)."""
    steps_correct: tuple[int, ...]
    """Images that are still right, (B,)."""
    accuracy: float
    """Of the images as they are."""
    noise_accuracy: float
    """At the largest noise."""
    steps_accuracy: float
    """At the largest step."""

    def interval(self, correct: int) -> tuple[float, float]:
        """Wilson 95 % interval of an accuracy: what counting N images leaves open."""
        return wilson(correct, self.images)

    @property
    def sentence(self) -> str:
        """What was found."""
        return (
            f"{self.subject}: {self.accuracy:.1%} right as they are, {self.noise_accuracy:.1%} under noise of deviation "
            f"{self.noise[-1]:g}, {self.steps_accuracy:.1%} after one gradient step of {self.steps[-1]:g} (pixel values "
            f"of 0 to 255; {self.images} images of {self.split})."
        )


def robustness(
    *,
    subject: Subject,
    split: Split = "val",
    images: Count = 500,
    noise: Levels = (0, 4, 8, 16, 32),
    steps: Levels = (0, 1, 2, 4, 8),
) -> Robustness:
    """Accuracy under Gaussian noise, and under the fast gradient sign method.

    Disturbed pixels are cut to 0..255 and not rounded.  All levels of noise are multiples of the same draw.  The
    step is `size * sign(d loss / d pixel)`, one step for the true class: an upper bound on the accuracy that a
    stronger attack would leave.

    Args:
        split: val or train.
        images: evenly spread over the split; 0: all.
        noise: standard deviations in pixel values, 0..255; 0 is added if it is missing.
        steps: sizes of the step in pixel values, 0..255; 0 is added if it is missing.

    Raises:
        ConfigError: no levels at all, or images without labels.

    Reference:
        Goodfellow, Shlens, Szegedy (2015), Explaining and Harnessing Adversarial Examples, section 4.
        https://arxiv.org/abs/1412.6572
        Noise: Hendrycks, Dietterich (2019), Benchmarking Neural Network Robustness to Common Corruptions and
        Perturbations; differs: Gaussian noise alone, at levels of your own.
    """
    if not noise and not steps:
        raise ConfigError("Give levels of noise, of steps, or both: noise=[8,16], steps=[2,4].")
    chosen = subject.images(split, images)
    refuse_unlabelled(chosen, "accuracy")
    deviations, sizes = _from_zero(noise), _from_zero(steps)
    right_noise, right_steps = [0] * len(deviations), [0] * len(sizes)
    rng, start = subject.streams.generator("inspect"), 0
    for inputs, labels in parts(subject, chosen):
        pixels = chosen.batch(torch.arange(start, start + len(inputs))).to(inputs.device).float()
        start += len(inputs)
        drawn = torch.from_numpy(rng.standard_normal(tuple(pixels.shape), dtype="float32")).to(inputs.device)
        _count(subject, right_noise, deviations, pixels, drawn, labels)
        loss = partial(F.cross_entropy, target=labels, reduction="sum")
        gradient, _ = input_gradient(subject.model, inputs, loss)
        _count(subject, right_steps, sizes, pixels, gradient.sign(), labels)
    return Robustness(
        subject=subject.name,
        split=split,
        images=len(chosen),
        noise=deviations,
        noise_correct=tuple(right_noise),
        steps=sizes,
        steps_correct=tuple(right_steps),
        accuracy=right_noise[0] / len(chosen),
        noise_accuracy=right_noise[-1] / len(chosen),
        steps_accuracy=right_steps[-1] / len(chosen),
    )


def _from_zero(levels: Sequence[float]) -> tuple[float, ...]:
    return tuple(sorted({0.0, *map(float, levels)}))


@torch.no_grad()
def _count(
    subject: Subject,
    right: list[int],
    levels: Sequence[float],
    pixels: Tensor,
    direction: Tensor,
    labels: Tensor,
) -> None:
    """Add the images that are right at each level to `right`."""
    for i, level in enumerate(levels):
        disturbed = (pixels + level * direction).clamp(0, 255)
        right[i] += int((subject.model(subject.normalise(disturbed)).argmax(1) == labels).sum())
