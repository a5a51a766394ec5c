"""When the network says 90 %, is it right nine times in ten?

In: a network and labelled images.  Out: how far confidence and accuracy lie
apart, by confidence and in one number, and what one temperature changes.

    N  images      K  classes      M  bins
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from convscope.core.errors import ConfigError
from convscope.core.intervals import wilson
from convscope.evaluate.subject import Result, Subject

from .outputs import answers
from .recording import Count, Split

LOWEST, HIGHEST = 0.1, 10.0
"""Temperatures that are looked at; one at an end means that the best lies beyond."""
DRAWS = 200
"""Perfectly calibrated networks drawn, for what the error would be by chance."""

Binning = Literal["width", "mass"]


@dataclass(frozen=True)
class Calibration(Result):
    """Confidence against accuracy.  Confidence is the probability of the predicted class."""

    subject: str
    split: str
    images: int
    binning: str
    """`width`: bins of equal width on (0, 1]; `mass`: bins of equally many images."""
    edges: np.ndarray
    """Of the bins, (M + 1,); a bin holds its upper edge.  Of `mass`: the confidences where one bin ends, and 0, 1."""
    bin_images: np.ndarray
    """int64, (M,)."""
    bin_confidence: np.ndarray
    """Mean confidence of a bin's images; nan for an empty bin, (M,)."""
    bin_correct: np.ndarray
    """Images of a bin that are right, int64, (M,)."""
    scaled_images: np.ndarray
    """The same after temperature scaling, (M,)."""
    scaled_confidence: np.ndarray
    scaled_correct: np.ndarray
    accuracy: float
    confidence: float
    """Mean over the images."""
    ece: float
    """Expected calibration error: mean over the images of |accuracy - confidence| of their bin, in [0, 1]."""
    mce: float
    """Maximum calibration error: the largest such difference of a bin with images, in [0, 1]."""
    ece_chance: float
    """Mean error of networks with these confidences that are perfectly calibrated: bins of few images are noisy."""
    ece_chance_high: float
    """What 95 % of those stay below."""
    brier: float
    """Mean over the images of the squared distance of the probabilities from the truth, in [0, 2]."""
    nll: float
    """Mean negative logarithm of the true class's probability, nats per image."""
    temperature: float
    """That minimises the negative log-likelihood of all these images: by it a user would divide the logits."""
    temperature_halves: tuple[float, float]
    """Those of the two halves, each of which is used on the other."""
    scaled_ece: float
    """After temperature scaling: each image with the temperature of the half that it is not in."""
    scaled_mce: float
    scaled_brier: float
    scaled_nll: float
    scaled_accuracy: float
    """The same as `accuracy`: dividing all logits of an image by a number above 0 leaves their order."""

    def intervals(self) -> np.ndarray:
        """Wilson 95 % intervals of the bins' accuracies, (M, 2); nan for an empty bin."""
        return np.array(
            [
                wilson(int(right), int(count)) if count else (np.nan, np.nan)
                for right, count in zip(self.bin_correct, self.bin_images, strict=True)
            ]
        )

    @property
    def sentence(self) -> str:
        """What was found."""
        apart = 100 * (self.confidence - self.accuracy)
        way = "too sure" if apart > 0 else "not sure enough"
        more = "more than" if self.ece > self.ece_chance_high else "no more than"
        end = ""
        if not LOWEST * 1.01 < self.temperature < HIGHEST / 1.01:
            end = f" The best temperature lies beyond those looked at, {LOWEST:g} to {HIGHEST:g}."
        return (
            f"{self.subject}: {self.confidence:.1%} sure on average and {self.accuracy:.1%} right, {abs(apart):.1f} "
            f"points {way}; calibration error (ECE, {len(self.bin_images)} bins of equal {self.binning}) {self.ece:.4f}, "
            f"{more} the {self.ece_chance_high:.4f} that chance explains; a temperature of {self.temperature:.2f} makes "
            f"it {self.scaled_ece:.4f}, and the negative log-likelihood {self.scaled_nll:.4f} instead of {self.nll:.4f} "
            f"({self.images} images of {self.split}).{end}"
        )


def calibration(
    *,
    subject: Subject,
    split: Split = "val",
    images: Count = 0,
    bins: Annotated[int, Field(ge=1)] = 15,
    binning: Binning = "width",
) -> Calibration:
    """Reliability diagram, calibration errors, and temperature scaling.

    Args:
        split: val or train.
        images: evenly spread over the split; 0: all.
        bins: of confidence.
        binning: `width`, bins of equal width on (0, 1]; `mass`, bins of equally many images.

    Raises:
        ConfigError: fewer than two images, images without labels, another number of outputs than classes.
        Diverged: an output that is not finite.

    Reference:
        Guo, Pleiss, Sun, Weinberger (2017), On Calibration of Modern Neural Networks, sections 2 and 4.2.
        Differs: the temperature is fitted on one half of the images and used on the other, and the other way round,
        so that every image counts and none was fitted on itself.
        Bins of equal mass: Nguyen, O'Connor (2015), Posterior calibration and exploratory analysis for natural
        language processing models.  Error by chance: Broecker, Smith (2007), Increasing the Reliability of
        Reliability Diagrams.  Brier (1950), Verification of Forecasts Expressed in Terms of Probability.
    """
    chosen, output = answers(subject, split, images, "calibration")
    if len(chosen) < 2:
        raise ConfigError(
            "A temperature is fitted on one half of the images and used on the other: give at least 2."
        )
    logits, labels = output.numpy(), chosen.labels.numpy()
    halves = np.array_split(subject.streams.generator("inspect").permutation(len(labels)), 2)
    fitted = [best_temperature(logits[half], labels[half]) for half in halves]
    scaled = np.empty_like(logits)
    for half, temperature in zip(halves, reversed(fitted), strict=True):
        scaled[half] = logits[half] / temperature
    before, after = _Measured(logits, labels, bins, binning), _Measured(scaled, labels, bins, binning)
    chance = _by_chance(before, subject.streams.generator("inspect", 1))
    return Calibration(
        subject=subject.name,
        split=split,
        images=len(labels),
        binning=binning,
        edges=before.edges,
        bin_images=before.images,
        bin_confidence=before.bin_confidence,
        bin_correct=before.correct,
        scaled_images=after.images,
        scaled_confidence=after.bin_confidence,
        scaled_correct=after.correct,
        accuracy=before.accuracy,
        confidence=float(before.confidence.mean()),
        ece=before.ece,
        mce=before.mce,
        ece_chance=float(chance.mean()),
        ece_chance_high=float(np.quantile(chance, 0.95)),
        brier=before.brier,
        nll=before.nll,
        temperature=best_temperature(logits, labels),
        temperature_halves=(fitted[0], fitted[1]),
        scaled_ece=after.ece,
        scaled_mce=after.mce,
        scaled_brier=after.brier,
        scaled_nll=after.nll,
        scaled_accuracy=after.accuracy,
    )


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature T in [0.1, 10] at which softmax(logits / T) gives the labels the largest likelihood.

    The negative log-likelihood is convex in 1 / T, so it has one minimum.

    Args:
        logits: (N, K), finite.
        labels: (N,), in 0..K-1.
    """
    from scipy.optimize import minimize_scalar

    # Then the likelihood grows without end as T falls, until rounding makes it flat.
    if (logits.argmax(1) == labels).all():
        return LOWEST
    found = minimize_scalar(
        lambda log: -_log_softmax(logits / np.exp(log))[np.arange(len(labels)), labels].mean(),
        bounds=(np.log(LOWEST), np.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


class _Measured:
    """Everything that is measured of one set of logits."""

    def __init__(self, logits: np.ndarray, labels: np.ndarray, bins: int, binning: Binning) -> None:
        logs = _log_softmax(logits)
        probabilities = np.exp(logs)
        self.bins = bins
        self.confidence = probabilities.max(1)
        self.right = logits.argmax(1) == labels
        self.accuracy = float(self.right.mean())
        self.edges, self.place = _places(self.confidence, bins, binning)
        self.images = np.bincount(self.place, minlength=bins)
        self.correct = np.bincount(self.place[self.right], minlength=bins)
        sums = np.bincount(self.place, weights=self.confidence, minlength=bins)
        self.bin_confidence = np.divide(sums, self.images, out=np.full(bins, np.nan), where=self.images > 0)
        gaps = np.abs(self.correct - sums)
        self.ece = float(gaps.sum() / len(labels))
        self.mce = float((gaps[self.images > 0] / self.images[self.images > 0]).max())
        truth = np.eye(logits.shape[1])[labels]
        self.brier = float(((probabilities - truth) ** 2).sum(1).mean())
        self.nll = float(-logs[np.arange(len(labels)), labels].mean())


def _places(confidence: np.ndarray, bins: int, binning: Binning) -> tuple[np.ndarray, np.ndarray]:
    """The edges (M + 1,) and the bin of each image (N,)."""
    if binning == "width":
        edges = np.arange(bins + 1) / bins
        # Rounding can make a probability 1 + 2e-16.
        return edges, np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    # By rank, so that equal confidences cannot empty a bin; of equal ones the earlier image comes first.
    groups = np.array_split(np.argsort(confidence, kind="stable"), bins)
    place = np.empty(len(confidence), dtype=np.int64)
    edges = np.zeros(bins + 1)
    for k, group in enumerate(groups):
        place[group] = k
        edges[k + 1] = confidence[group[-1]] if len(group) else edges[k]
    edges[-1] = 1.0
    return edges, place


def _by_chance(measured: _Measured, rng: np.random.Generator) -> np.ndarray:
    """The calibration errors of networks that are right exactly as often as they say, (DRAWS,)."""
    sums = np.bincount(measured.place, weights=measured.confidence, minlength=measured.bins)
    errors = []
    for _ in range(DRAWS):
        right = rng.random(len(measured.confidence)) < measured.confidence
        correct = np.bincount(measured.place[right], minlength=measured.bins)
        errors.append(np.abs(correct - sums).sum() / len(right))
    return np.array(errors)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(1, keepdims=True)
    logs: np.ndarray = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return logs
