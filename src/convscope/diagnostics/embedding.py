"""Do images of a class lie together where the network separates them?

In: a network and images.  Out: what enters its last layer, laid into the
plane, and two figures that say how far the plane may be believed.

    N  images      F  features
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from sklearn.neighbors import NearestNeighbors

from convscope.core.errors import ConfigError
from convscope.evaluate.subject import Result, Subject

from .recording import AtLeastOne, Split, penultimate, refuse_unlabelled

PERPLEXITY = 30.0


@dataclass(frozen=True)
class Embedding(Result):
    """Images in the plane."""

    subject: str
    split: str
    layer: str
    """Whose input the features are."""
    method: str
    images: int
    features: int
    """F."""
    points: np.ndarray
    """float64, (N, 2)."""
    labels: np.ndarray
    """int64, (N,)."""
    classes: tuple[str, ...]
    neighbours: int
    agreement: float
    """Share of an image's nearest neighbours among all F features that have its label, mean over the images."""
    agreement_plane: float
    """The same in the plane."""
    chance: float
    """The same if neighbours were drawn at random."""
    trust: float
    """Trustworthiness: 1 if no neighbour in the plane was far away among the features."""
    explained: float
    """PCA: share of the variance that the plane holds; t-SNE: nan."""

    @property
    def sentence(self) -> str:
        """What was found."""
        held = f", which holds {self.explained:.0%} of the variance" if self.method == "pca" else ""
        return (
            f"{self.subject}: of the {self.neighbours} nearest neighbours of an image, {self.agreement:.1%} have its "
            f"label among the {self.features} features before {self.layer} and {self.agreement_plane:.1%} in the plane "
            f"of {_SPELT[self.method]}{held}; {self.chance:.1%} by chance (trustworthiness {self.trust:.3f}, "
            f"{self.images} images of {self.split})."
        )


_SPELT = {"pca": "PCA", "t-sne": "t-SNE"}


def embedding(
    *,
    subject: Subject,
    split: Split = "val",
    images: AtLeastOne = 500,
    method: Literal["pca", "t-sne"] = "pca",
    neighbours: AtLeastOne = 10,
) -> Embedding:
    """The features before the last layer in two dimensions.

    Args:
        split: val or train.
        images: evenly spread over the split.
        method: pca: the two directions of largest variance, each turned (by scikit-learn) so that its largest
            coefficient is positive; t-sne: neighbourhoods, from a start by PCA, perplexity 30 or a third of the images.
        neighbours: nearest ones whose labels are compared; fewer than half of the images.

    Raises:
        ConfigError: too few images, or images without labels.

    Reference:
        van der Maaten, Hinton (2008), Visualizing Data using t-SNE.
        Venna, Kaski (2001), Neighborhood Preservation in Nonlinear Projection Methods (trustworthiness).
    """
    chosen = subject.images(split, images)
    refuse_unlabelled(chosen, "the agreement of neighbours")
    if neighbours >= len(chosen) / 2:
        raise ConfigError(
            f"neighbours={neighbours} of {len(chosen)} images are too many to be near: choose fewer than half."
        )
    found, layer = penultimate(subject, chosen)
    features, labels = found.double().numpy(), chosen.labels.numpy()
    points, explained = _plane(features, method, subject.streams.torch_seed("inspect") % 2**32)
    counts = np.bincount(labels)
    return Embedding(
        subject=subject.name,
        split=split,
        layer=layer,
        method=method,
        images=len(chosen),
        features=features.shape[1],
        points=points,
        labels=labels,
        classes=chosen.classes,
        neighbours=neighbours,
        agreement=agreement(features, labels, neighbours),
        agreement_plane=agreement(points, labels, neighbours),
        chance=float((counts * (counts - 1)).sum() / (len(labels) * (len(labels) - 1))),
        trust=float(trustworthiness(features, points, n_neighbors=neighbours)),
        explained=explained,
    )


def agreement(points: np.ndarray, labels: np.ndarray, neighbours: int) -> float:
    """Share of the nearest neighbours of a point, itself left out, that have its label: (N, F), (N,)."""
    nearest = NearestNeighbors(n_neighbors=neighbours).fit(points).kneighbors(return_distance=False)
    return float((labels[nearest] == labels[:, None]).mean())


def _plane(features: np.ndarray, method: str, seed: int) -> tuple[np.ndarray, float]:
    if features.shape[1] < 2:
        raise ConfigError("One feature cannot be laid into a plane: there must be two or more.")
    made = PCA(2, svd_solver="full").fit(features)
    points = made.transform(features)
    if method == "pca":
        return points, float(made.explained_variance_ratio_.sum())
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    start = points / max(points[:, 0].std(), 1e-30) * 1e-4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        laid = TSNE(2, perplexity=perplexity, init=start, random_state=seed, n_jobs=1).fit_transform(features)
    return laid.astype(np.float64), float("nan")
