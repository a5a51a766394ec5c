"""Which labels do networks that never saw them contradict?

In: labels, and for each image the probabilities of a network that was not
trained on it (train/cross.py).  Out: the images whose label is probably
wrong, most suspicious first.  Knows nothing of images or networks.

    N  images      K  classes
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from convscope.core.errors import ConfigError

_SUM = 1e-3
"""How far the probabilities of an image may be from adding up to one; float32 softmax is within 1e-6."""


@dataclass(frozen=True)
class Suspect:
    """An image whose label is probably wrong."""

    position: int
    """0..N-1."""
    given: str
    """Its label."""
    suggested: str
    """The class it seems to be of."""
    margin: float
    """Probability of its label minus that of the likeliest other class, in [-1, 1]; -1 is a certain error."""


@dataclass(frozen=True, eq=False)
class Suspicions:
    """What the networks say about the labels."""

    classes: tuple[str, ...]
    suspects: tuple[Suspect, ...]
    """Smallest margin first; on equality in the order of the images."""
    joint: np.ndarray
    """int64, (K, K): images by label (row) and by the class they are confidently of (column)."""
    thresholds: np.ndarray
    """float64, (K,): mean probability of a class among the images that carry its label; nan without any."""
    images: int
    """N."""

    @property
    def rate(self) -> float:
        """Share of suspicious labels: an estimate of how many are wrong, a fraction."""
        return len(self.suspects) / self.images

    def as_table(self, names: Sequence[str]) -> dict[str, Any]:
        """Plain values for a file; N names of the images."""
        known = [None if np.isnan(value) else float(value) for value in self.thresholds]
        return {
            "images": self.images,
            "suspicious": len(self.suspects),
            "rate": self.rate,
            "classes": list(self.classes),
            "thresholds": known,
            "rows": "given label",
            "columns": "confident class",
            "joint": self.joint.tolist(),
            "suspects": [{"image": names[each.position], **vars(each)} for each in self.suspects],
        }


def suspicious(probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> Suspicions:
    """Find labels that contradict what networks confidently say of images they were not trained on.

    A network is confident that an image is of class j where it gives j at least the mean probability that it
    gives to j among the images labelled j: so a class that is always predicted with 0.6 needs 0.6, and one
    predicted with 0.99 needs 0.99. Of several such classes the likeliest counts. A label is suspicious where
    that class is another one.

    Args:
        probabilities: (N, K), out of fold: of a network that never saw the image; rows add up to one.
        labels: (N,), in 0..K-1.
        classes: K names.

    Returns:
        Suspects ranked by normalised margin, the probability of the label minus that of the likeliest other.

    Raises:
        ConfigError: shapes that do not fit, or rows that are no probabilities.

    Reference:
        Northcutt, Jiang, Chuang (2021), Confident Learning, section 3.1 (the confident joint, equations 1
        and 2) and 3.2, "C_confusion with normalised margin".  https://arxiv.org/abs/1911.00068
        Differs: counts are not calibrated to the class sizes, which changes estimates of rates and no image.
    """
    probabilities, labels = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    _check(probabilities, labels, len(classes))
    everyone, own = np.arange(len(labels)), probabilities[np.arange(len(labels)), labels]
    sizes = np.bincount(labels, minlength=len(classes))
    sums = np.bincount(labels, weights=own, minlength=len(classes))
    thresholds = np.where(sizes > 0, sums / np.maximum(sizes, 1), np.nan)
    # A class without a label has no threshold: nobody knows what confidence in it means.
    confident = probabilities >= np.where(sizes > 0, thresholds, np.inf)
    likeliest = np.where(confident, probabilities, -1).argmax(1)
    counted = confident.any(1)
    pairs = labels[counted] * len(classes) + likeliest[counted]
    joint = np.bincount(pairs, minlength=len(classes) ** 2).reshape(len(classes), -1)
    others = probabilities.copy()
    others[everyone, labels] = -1
    margins = own - others.max(1)
    wrong = np.flatnonzero(counted & (likeliest != labels))
    ranked = wrong[np.argsort(margins[wrong], kind="stable")]
    suspects = tuple(
        Suspect(int(i), classes[labels[i]], classes[likeliest[i]], float(margins[i])) for i in ranked
    )
    return Suspicions(tuple(classes), suspects, joint, thresholds, len(labels))


def _check(probabilities: np.ndarray, labels: np.ndarray, classes: int) -> None:
    if probabilities.shape != (len(labels), classes) or not len(labels):
        raise ConfigError(
            f"Probabilities of shape {probabilities.shape} do not fit {len(labels):,} labels and {classes} "
            f"classes: one row per image and one column per class are needed."
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ConfigError(
            f"Labels must be in 0 to {classes - 1}, and they go from {labels.min()} to {labels.max()}."
        )
    sums = probabilities.sum(1)
    if not (probabilities >= 0).all() or not (np.abs(sums - 1) <= _SUM).all():
        worst = int(np.nanargmax(np.abs(sums - 1)))
        raise ConfigError(
            f"The rows must be probabilities, none below zero and together 1; those of image {worst} add up to "
            f"{sums[worst]:g}. Take the softmax of logits first."
        )
