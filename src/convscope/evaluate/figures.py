"""What does one way of predicting score, and is it better than another on the same images?

In: logits or log-probabilities of N images, and their labels.  Out: a `Figure`, which can be held against
another of the same images: two accuracies that share their images differ by far less chance than their own
intervals suggest.  Knows nothing of runs, ensembles or views.

    N  images      K  classes
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

from torch import Tensor

from convscope.core.errors import ConfigError
from convscope.core.records import Claim

from .metrics import Scores, score


@dataclass(frozen=True)
class Difference:
    """How one figure compares with another on the same images."""

    gained: int
    """Images that are right now and were wrong."""
    lost: int
    """Images that are wrong now and were right."""
    images: int
    """N."""

    @property
    def value(self) -> float:
        """Difference of the two accuracies, a fraction in [-1, 1]."""
        return (self.gained - self.lost) / self.images

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Between which bounds the difference lies, as far as counting N images can tell.

        Half an image is added to each of the four cells (both right, gained, lost, both wrong).  Without it,
        an interval of 50 images of which a tenth is gained and a fiftieth lost holds the truth in 93.2 % of
        all draws, with it in 95.3 %; and where nothing is gained or lost it would have no width.

        Args:
            confidence: in (0, 1).

        Reference:
            Agresti, Min (2005), Simple Improved Confidence Intervals for Comparing Matched Proportions,
            Statistics in Medicine 24, section 2.
        """
        gained, lost, images = self.gained + 0.5, self.lost + 0.5, self.images + 2
        centre = (gained - lost) / images
        spread = math.sqrt(gained + lost - (gained - lost) ** 2 / images) / images
        reach = NormalDist().inv_cdf(0.5 + confidence / 2) * spread
        return max(-1.0, centre - reach), min(1.0, centre + reach)


@dataclass(frozen=True, eq=False)
class Figure:
    """What one way of predicting scored."""

    name: str
    """The way, in words, e.g. `flip, mean of 2 views`."""
    passes: int
    """How often an image went through a network for it: what it costs."""
    scores: Scores
    right: Tensor
    """bool, (N,): the images whose label got the largest logit."""

    def against(self, other: Figure) -> Difference:
        """This figure minus another one of the same images.

        Raises:
            ConfigError: the other one counts another number of images.
        """
        if len(self.right) != len(other.right):
            raise ConfigError(
                f"{self.name!r} was scored on {len(self.right):,} images and {other.name!r} on "
                f"{len(other.right):,}: only figures of the same images can be compared image by image."
            )
        gained = int((self.right & ~other.right).sum())
        return Difference(gained, int((other.right & ~self.right).sum()), len(self.right))

    def labelled(self, claim: Claim, command: str) -> Claim:
        """A claim of this figure's accuracy that says how it came about.

        Args:
            claim: the run's claim of this accuracy.
            command: what the user typed to get this figure.
        """
        cost = f", {self.passes} passes per image" if self.passes > 1 else ""
        return replace(claim, what=f"{claim.what}, {self.name}", n=claim.n + cost, command=command)


def figure(name: str, logits: Tensor, labels: Tensor, *, passes: int = 1) -> Figure:
    """Score one way of predicting.

    Args:
        name: the way, in words.
        logits: logits or log-probabilities, (N, K).
        labels: int64, (N,), in 0..K-1.
        passes: how often an image went through a network for it.

    Raises:
        ConfigError: no images, or images without labels.
    """
    return Figure(name, passes, score(logits, labels), logits.argmax(1) == labels)
