"""How are a network's weights distributed?

In: a network.  Out: for each layer a histogram, both norms, and how many of
its weights are nothing or next to nothing.

    L  layers      B  bins of a histogram
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from convscope.core.errors import ConfigError
from convscope.evaluate.subject import Result, Subject

from .recording import AtLeastOne

Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Weights(Result):
    """The weights of each layer; biases and norms are left out."""

    subject: str
    layers: tuple[str, ...]
    """Names of the weights, in the order of the modules, (L,)."""
    sizes: tuple[int, ...]
    """Number of weights, (L,)."""
    l1: tuple[float, ...]
    """Sum of |w|, (L,)."""
    l2: tuple[float, ...]
    """Root of the sum of w^2, (L,)."""
    mean: tuple[float, ...]
    """(L,)."""
    std: tuple[float, ...]
    """Standard deviation, (L,)."""
    kurtosis: tuple[float, ...]
    """Excess kurtosis: 0 for a normal distribution, 3 for a Laplace one, -1.2 for a uniform one, (L,)."""
    zero: tuple[float, ...]
    """Share of weights that are exactly 0, (L,)."""
    small: tuple[float, ...]
    """Share of weights below `threshold` times the layer's root mean square, (L,)."""
    threshold: float
    counts: np.ndarray
    """Histogram, int64, (L, B)."""
    edges: np.ndarray
    """Limits of the bins, symmetric around 0, (L, B + 1)."""
    total: int
    """Weights of all layers."""
    total_l1: float
    total_l2: float
    total_zero: float
    """Share of all weights that are exactly 0."""
    total_small: float
    """Share of all weights that are small in their layer."""

    @property
    def sentence(self) -> str:
        """What was found."""
        peaked = max(range(len(self.layers)), key=lambda i: self.kurtosis[i])
        return (
            f"{self.subject}: {self.total:,} weights in {len(self.layers)} layers, L1 norm {self.total_l1:.4g}, L2 norm "
            f"{self.total_l2:.4g}; {self.total_zero:.1%} are zero and {self.total_small:.1%} below {self.threshold:g} of "
            f"their layer's root mean square (a normal distribution has {_normal_share(self.threshold):.1%}); the most "
            f"peaked layer is {self.layers[peaked]} with an excess kurtosis of {self.kurtosis[peaked]:.2f}."
        )


def weights(*, subject: Subject, bins: AtLeastOne = 61, threshold: Positive = 0.01) -> Weights:
    """Histograms, norms and sparsity of the weights of every layer.

    Args:
        bins: of each histogram, from minus to plus the layer's largest |w|.
        threshold: below which share of its layer's root mean square a weight counts as small.

    Raises:
        ConfigError: there is no convolution or linear layer.

    Reference:
        S1.47 (weight histograms under an L1 and an L2 penalty; `plots.weights.side_by_side` draws two results).
    """
    found = {
        name: p.detach().double().cpu().numpy().ravel()
        for name, p in subject.model.named_parameters()
        if p.dim() >= 2
    }
    if not found:
        raise ConfigError(f"{type(subject.model).__name__} has no convolution or linear layer with weights.")
    rows = [_row(w, bins, threshold) for w in found.values()]
    sizes = [w.size for w in found.values()]

    def column(key: str) -> tuple[float, ...]:
        return tuple(float(row[key]) for row in rows)

    def overall(key: str) -> float:
        return float(np.average(column(key), weights=sizes))

    return Weights(
        subject=subject.name,
        layers=tuple(name.removesuffix(".weight") for name in found),
        sizes=tuple(sizes),
        l1=column("l1"),
        l2=column("l2"),
        mean=column("mean"),
        std=column("std"),
        kurtosis=column("kurtosis"),
        zero=column("zero"),
        small=column("small"),
        threshold=threshold,
        counts=np.stack([row["counts"] for row in rows]),
        edges=np.stack([row["edges"] for row in rows]),
        total=sum(sizes),
        total_l1=float(np.sum(column("l1"))),
        total_l2=float(np.linalg.norm(column("l2"))),
        total_zero=overall("zero"),
        total_small=overall("small"),
    )


def _row(w: np.ndarray, bins: int, threshold: float) -> dict[str, np.ndarray]:
    largest = np.abs(w).max() or 1.0
    counts, edges = np.histogram(w, bins, (-largest, largest))
    centred = w - w.mean()
    variance = np.mean(centred**2)
    rms = np.sqrt(np.mean(w**2))
    return {
        "l1": np.abs(w).sum(),
        "l2": np.linalg.norm(w),
        "mean": w.mean(),
        "std": np.sqrt(variance),
        "kurtosis": np.mean(centred**4) / variance**2 - 3 if variance > 0 else np.float64("nan"),
        "zero": np.mean(w == 0),
        "small": np.mean(np.abs(w) < threshold * rms) if rms > 0 else np.float64(1.0),
        "counts": counts,
        "edges": edges,
    }


def _normal_share(threshold: float) -> float:
    from math import erf, sqrt

    return erf(threshold / sqrt(2))
