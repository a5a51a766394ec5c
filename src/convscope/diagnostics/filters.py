"""What do the filters of the first layer look for?

In: a network.  Out: the weights of its first convolution, and how many of them
are faint or nearly the same.

    F  filters      C  channels of the image      h, w  pixels of a filter
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from convscope.core.errors import ConfigError
from convscope.evaluate.subject import Result, Subject

from .recording import layers

FAINT, ALIKE = 0.1, 0.95


@dataclass(frozen=True)
class Filters(Result):
    """The first convolution."""

    subject: str
    layer: str
    weights: np.ndarray
    """As they are, for normalised images, float32, (F, C, h, w)."""
    norms: tuple[float, ...]
    """Euclidean length of each filter, (F,)."""
    faint: int
    """Filters shorter than a tenth of the longest."""
    alike: tuple[tuple[int, int, float], ...]
    """Pairs of filters with |cosine| of at least 0.95, and the cosine; -1: one is the other's negative."""

    @property
    def sentence(self) -> str:
        """What was found."""
        count, _, height, width = self.weights.shape
        pairs = "1 pair is" if len(self.alike) == 1 else f"{len(self.alike)} pairs are"
        return (
            f"{self.subject}: of the {count} filters of {height}x{width} in {self.layer}, {self.faint} "
            f"{'is' if self.faint == 1 else 'are'} shorter than {FAINT:.0%} of the longest, and {pairs} nearly "
            f"parallel (|cosine| of at least {ALIKE})."
        )


def filters(*, subject: Subject) -> Filters:
    """The filters of the first layer with a 4-dimensional weight, as an image meets them.

    Raises:
        ConfigError: the network has no convolution.

    Reference:
        Krizhevsky, Sutskever, Hinton (2012), ImageNet Classification with Deep Convolutional Neural Networks,
        figure 3.
    """
    example = subject.inputs(subject.images("train", 1))
    for name, module in layers(subject.model, example).items():
        weight = getattr(module, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.dim() == 4:
            return _of(subject.name, name, weight.detach().float().cpu().numpy())
    raise ConfigError(f"{type(subject.model).__name__} has no convolution, so there are no filters to show.")


def _of(subject: str, layer: str, weights: np.ndarray) -> Filters:
    flat = weights.reshape(len(weights), -1).astype(np.float64)
    norms = np.linalg.norm(flat, axis=1)
    unit = flat / np.maximum(norms, 1e-30)[:, None]
    cosines = unit @ unit.T
    alike = tuple(
        (i, j, float(cosines[i, j]))
        for i, j in combinations(range(len(flat)), 2)
        if abs(cosines[i, j]) >= ALIKE
    )
    return Filters(
        subject=subject,
        layer=layer,
        weights=weights,
        norms=tuple(norms.tolist()),
        faint=int((norms < FAINT * norms.max()).sum()),
        alike=alike,
    )
