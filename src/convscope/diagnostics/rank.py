"""How many directions do the weights and the features really use?

In: a network and images.  Out: singular values of every weight matrix and of
the features before the last layer, as two numbers each that stand for a rank.

    L  matrices      N  images
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convscope.core.errors import ConfigError
from convscope.evaluate.subject import Result, Subject

from .recording import Count, Split, penultimate


@dataclass(frozen=True)
class Rank(Result):
    """Ranks of the weight matrices and of the features."""

    subject: str
    split: str
    images: int
    layers: tuple[str, ...]
    """Names of the weights, in the order of the modules, (L,)."""
    full: tuple[int, ...]
    """The smaller side of the matrix: the rank that it can have, (L,)."""
    effective: tuple[float, ...]
    """Effective rank, in [1, full]; nan for a matrix of zeros, (L,)."""
    stable: tuple[float, ...]
    """Stable rank, in [1, full]; nan for a matrix of zeros, (L,)."""
    feature_layer: str
    """Whose input the features are."""
    feature_full: int
    feature_effective: float
    feature_stable: float
    feature_values: np.ndarray
    """Singular values of the centred features, largest first, float64."""
    used: float
    """Effective over full rank, mean over the weight matrices that are not zero."""

    @property
    def sentence(self) -> str:
        """What was found."""
        return (
            f"{self.subject}: the effective rank of a weight matrix is {self.used:.0%} of what it could be (mean of "
            f"{len(self.layers)}); of the {self.feature_full} possible directions of the features before "
            f"{self.feature_layer}, {self.feature_effective:.1f} are used (stable rank {self.feature_stable:.1f}; "
            f"{self.images} images of {self.split})."
        )


def rank(*, subject: Subject, split: Split = "val", images: Count = 1000) -> Rank:
    """Effective and stable rank of every weight matrix, and of the features before the last layer.

    A weight (out, ...) is the matrix with one row per output.  With singular values s and shares p = s / sum s,

        effective rank = exp(-sum p ln p)        stable rank = sum s^2 / max s^2

    Args:
        split: val or train, for the features.
        images: evenly spread over the split; 0: all.

    Raises:
        ConfigError: there is no convolution or linear layer.

    Reference:
        Roy, Vetterli (2007), The effective rank: a measure of effective dimensionality.
        Stable rank: Rudelson, Vershynin (2007), Sampling from large matrices, section 1.
        Differs: the features are centred, since what all images have in common is no direction between them.
    """
    chosen = subject.images(split, images)
    features, layer = penultimate(subject, chosen)
    matrices = {
        name.removesuffix(".weight"): p.detach().flatten(1).double().cpu().numpy()
        for name, p in subject.model.named_parameters()
        if p.dim() >= 2
    }
    if not matrices:
        raise ConfigError(f"{type(subject.model).__name__} has no convolution or linear layer with weights.")
    values = [np.linalg.svd(matrix, compute_uv=False) for matrix in matrices.values()]
    centred = features.double().numpy()
    centred = centred - centred.mean(0)
    seen = np.linalg.svd(centred, compute_uv=False)
    full = tuple(min(matrix.shape) for matrix in matrices.values())
    effective = tuple(map(effective_rank, values))
    shares = [e / f for e, f in zip(effective, full, strict=True) if not np.isnan(e)]
    return Rank(
        subject=subject.name,
        split=split,
        images=len(chosen),
        layers=tuple(matrices),
        full=full,
        effective=effective,
        stable=tuple(map(stable_rank, values)),
        feature_layer=layer,
        feature_full=min(centred.shape[1], len(chosen) - 1),
        feature_effective=effective_rank(seen),
        feature_stable=stable_rank(seen),
        feature_values=seen,
        used=float(np.mean(shares)) if shares else float("nan"),
    )


def effective_rank(values: np.ndarray) -> float:
    """The exponential of the entropy of the singular values; nan if all are zero."""
    if not values.sum() > 0:
        return float("nan")
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def stable_rank(values: np.ndarray) -> float:
    """The squared Frobenius over the squared spectral norm; nan if all are zero."""
    largest = values.max(initial=0.0)
    return float((values**2).sum() / largest**2) if largest > 0 else float("nan")
