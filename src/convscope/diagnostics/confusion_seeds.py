"""What do runs that differ in their seed confuse, all of them?

S  runs      K  classes      P  pairs
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from convscope.core.errors import ConfigError
from convscope.evaluate.subject import Result

from .confusion import Confusion, most_frequent
from .recording import AtLeastOne


@dataclass(frozen=True)
class PairOverSeeds:
    """An ordered pair of classes, over several runs."""

    truth: str
    predicted: str
    counts: tuple[int, ...]
    """Images of the true class that were taken for the other, in each run, (S,)."""
    shares: tuple[float, ...]
    """Of the images of the true class, in each run, (S,)."""
    share: float
    """Their mean."""
    low: float
    """Lower end of the mean's Student 95 % interval."""
    high: float
    named_by: int
    """Runs in which the pair is among the P most frequent."""


@dataclass(frozen=True)
class ConfusionOverSeeds(Result):
    """Means over runs, with Student 95 % intervals; nan where a share is not defined in every run."""

    subject: str
    split: str
    images: int
    runs: int
    rows: str
    columns: str
    classes: tuple[str, ...]
    """(K,)."""
    counts: np.ndarray
    """int64, (S, K, K): true class on rows, predicted class on columns."""
    share: np.ndarray
    """Mean share of each true class by predicted class, (K, K)."""
    share_interval: np.ndarray
    """Its ends, (2, K, K), each cell for itself, not all cells at once; cut to [0, 1]."""
    precision: np.ndarray
    """(3, K): mean, and the ends of its interval cut to [0, 1]."""
    recall: np.ndarray
    """(3, K)."""
    f1: np.ndarray
    """(3, K)."""
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    pairs: tuple[PairOverSeeds, ...]
    """By their mean count, (P,)."""

    @property
    def sentence(self) -> str:
        """What was found."""
        start = (
            f"{self.subject}, {self.runs} runs, {self.images} images of {self.split}: {self.accuracy:.2%} "
            f"[{self.accuracy_low:.2%}, {self.accuracy_high:.2%}] right"
        )
        if not self.pairs:
            return f"{start}; no class is taken for another in any run."
        named = "; ".join(
            f"{pair.truth} as {pair.predicted} {pair.share:.1%} [{pair.low:.1%}, {pair.high:.1%}] (among the first "
            f"{len(self.pairs)} in {pair.named_by} of {self.runs} runs)"
            for pair in self.pairs
        )
        return f"{start}; confused most often: {named}. Intervals: Student 95 % over the runs."


def over_seeds(results: Sequence[Confusion], top: AtLeastOne = 3) -> ConfusionOverSeeds:
    """Mean and interval of every cell, class and pair over runs that were shown the same images.

    Args:
        results: one confusion per run, of the same images.
        top: how many ordered pairs to name.

    Raises:
        ConfigError: fewer than two, or of different images.
    """
    if len(results) < 2:
        raise ConfigError(
            f"An interval over seeds needs the confusions of at least 2 runs, got {len(results)}."
        )
    first = results[0]
    for other in results[1:]:
        if (other.which, other.split) != (first.which, first.split):
            raise ConfigError(
                f"Confusions can be averaged only over the same images: {first.subject} saw {first.images} of "
                f"{first.data} {first.split}, {other.subject} saw {other.images} of {other.data} {other.split}"
                f"{' under another split' if other.images == first.images else ''}. Use runs that share data and "
                f"split_seed."
            )
    counts = np.stack([result.counts for result in results])
    shares = np.stack([result.by_truth for result in results])
    share = student_ends(shares)
    named = [set(most_frequent(result.counts, top)) for result in results]
    accuracy = student_ends(np.array([result.accuracy for result in results]))
    names = list(dict.fromkeys(result.subject for result in results))
    return ConfusionOverSeeds(
        subject=", ".join(names),
        split=first.split,
        images=first.images,
        runs=len(results),
        rows=first.rows,
        columns=first.columns,
        classes=first.classes,
        counts=counts,
        share=share[0],
        share_interval=share[1:],
        precision=student_ends(np.stack([result.precision for result in results])),
        recall=student_ends(np.stack([result.recall for result in results])),
        f1=student_ends(np.stack([result.f1 for result in results])),
        accuracy=float(accuracy[0]),
        accuracy_low=float(accuracy[1]),
        accuracy_high=float(accuracy[2]),
        pairs=tuple(
            PairOverSeeds(
                truth=first.classes[i],
                predicted=first.classes[j],
                counts=tuple(counts[:, i, j].tolist()),
                shares=tuple(shares[:, i, j].tolist()),
                share=float(share[0, i, j]),
                low=float(share[1, i, j]),
                high=float(share[2, i, j]),
                named_by=sum((i, j) in pairs for pairs in named),
            )
            for i, j in most_frequent(counts.sum(0), top)
        ),
    )


def student_ends(values: np.ndarray) -> np.ndarray:
    """Mean, lower and upper end of its Student 95 % interval, cut to [0, 1]: (S, ...) -> (3, ...).

    As `core.intervals.student`, for all cells at once; a cell with a nan gives nan.
    """
    from scipy.stats import t

    count = len(values)
    mean = values.mean(0)
    reach = t.ppf(0.975, count - 1) * values.std(0, ddof=1) / np.sqrt(count)
    return np.stack([mean, (mean - reach).clip(0, 1), (mean + reach).clip(0, 1)])
