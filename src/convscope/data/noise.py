"""Which training labels are wrong on purpose, and did they become so as asked?

In: true labels and a noise of the catalog.  Out: the labels to train with,
and a report that compares what was done with what was asked.  Only training
labels are ever changed; validation and test labels stay as they are.  Knows
nothing of images.

A noise is a function of the true labels, the number of classes, a generator
and its own options.  Three of the four decide for each image by a draw of its
own, so the images that are wrong at a rate of 0.2 are wrong at 0.4 too, in
the same way.

    N  images      K  classes
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import AfterValidator, BeforeValidator, Field
from torch import Tensor

from convscope.core import catalog
from convscope.core.config import Choice
from convscope.core.errors import ConfigError, DataError

Rate = Annotated[float, Field(ge=0, le=1)]
_ROUNDED = 1e-6
"""How far the sum of a row of probabilities may be from one."""
_FEW = 5.0
"""Expected count below which the distribution of chi-square is a rough guide (Cochran 1954)."""


@dataclass(frozen=True)
class Noisy:
    """What a noise makes of the labels."""

    labels: np.ndarray
    """int64, (N,), in 0..K-1."""
    expected: np.ndarray
    """float64, (K, K): the probability of each label, given the true one; rows are true and sum to one."""
    fixed: int = 0
    """How many sums of counts were fixed besides the number of images of each class."""


def symmetric(labels: np.ndarray, classes: int, generator: np.random.Generator, rate: Rate = 0.2) -> Noisy:
    """Give each image, with probability `rate`, one of the other labels, each with the same probability.

    Args:
        labels: int64, (N,), in 0..K-1.
        classes: K, at least 2.
        generator: decides for each image by itself.
        rate: epsilon, in [0, 1]: a label stays with probability 1 - epsilon and becomes any other with
            epsilon / (K - 1).  At (K - 1) / K the labels say nothing any more.

    Reference:
        S4.25.  Differs: there K is 10.
    """
    wrong = generator.random(len(labels)) < rate
    return Noisy(_moved(labels, wrong, classes, generator), _uniform(classes, rate))


def exact(labels: np.ndarray, classes: int, generator: np.random.Generator, rate: Rate = 0.2) -> Noisy:
    """Give exactly round(`rate` x N) images one of the other labels, each with the same probability.

    Args:
        labels: int64, (N,), in 0..K-1.
        classes: K, at least 2.
        generator: decides which images, and the new label of each.
        rate: share of the labels that become wrong, in [0, 1].

    Reference:
        The matrix of S4.25 with the number of wrong labels fixed, so that two seeds differ in one thing less.
    """
    count = round(rate * len(labels))
    wrong = np.zeros(len(labels), dtype=bool)
    wrong[generator.permutation(len(labels))[:count]] = True
    achieved = count / len(labels) if len(labels) else 0.0
    noisy = _moved(labels, wrong, classes, generator)
    return Noisy(noisy, _uniform(classes, achieved), fixed=int(0 < count < len(labels)))


def pair(labels: np.ndarray, classes: int, generator: np.random.Generator, rate: Rate = 0.2) -> Noisy:
    """Give each image, with probability `rate`, the label of the next class, which after the last is the first.

    Args:
        labels: int64, (N,), in 0..K-1.
        classes: K, at least 2.
        generator: decides for each image by itself.
        rate: in [0, 1]; above 0.5 the wrong label is the more frequent one.

    Reference:
        Han et al. (2018), Co-teaching, section 4: "pair flipping", wrong labels between similar classes.
        https://arxiv.org/abs/1804.06872
    """
    wrong = generator.random(len(labels)) < rate
    noisy = np.where(wrong, (labels + 1) % classes, labels)
    expected = (1 - rate) * np.eye(classes) + rate * np.roll(np.eye(classes), 1, axis=1)
    return Noisy(noisy, expected)


def _numbers(given: Any) -> Any:
    """A path becomes the numbers in its file: a run's record holds them whatever happens to the file."""
    if not isinstance(given, str | Path):
        return given
    path = Path(given).expanduser()
    if not path.is_file():
        raise ConfigError(f"There is no file {path} to take the noise 'matrix' from.")
    try:
        return np.loadtxt(path, delimiter=",", ndmin=2).tolist()
    except ValueError as error:
        raise ConfigError(
            f"{path} is no table of numbers separated by commas, a line for each true label: {error}."
        ) from None


def _stochastic(rows: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows):
            raise ConfigError(
                f"The matrix of the noise 'matrix' must be square: it has {len(rows)} rows, and row {number} is "
                f"of length {len(row)}."
            )
        if not all(0 <= share <= 1 for share in row) or abs(sum(row) - 1) > _ROUNDED:
            raise ConfigError(
                f"Row {number} of the noise 'matrix' is {', '.join(f'{share:g}' for share in row)}, which adds up "
                f"to {sum(row):g}. A row holds the probabilities of each label for one true label: from 0 to 1, "
                f"together 1."
            )
    return rows


Rows = Annotated[tuple[tuple[float, ...], ...], BeforeValidator(_numbers), AfterValidator(_stochastic)]


def matrix(labels: np.ndarray, classes: int, generator: np.random.Generator, rows: Rows = ()) -> Noisy:
    """Draw each image's label from the row of its true class.

    Args:
        labels: int64, (N,), in 0..K-1.
        classes: K.
        generator: decides for each image by itself.
        rows: K rows of K probabilities, in the order of the classes: row = true label, column = noisy label;
            each row sums to one.  As nested lists, or the path of a CSV file of such rows without a header.

    Raises:
        ConfigError: no rows, or as many as there are classes not.

    Reference:
        Patrini et al. (2017), Making Deep Neural Networks Robust to Label Noise, section 2: T.
        Differs from cleanlab, whose noise matrices have the true label in the columns (E4.1).
    """
    if len(rows) != classes:
        raise ConfigError(
            f"The noise 'matrix' has {len(rows)} rows for {classes} classes. Its option `rows` takes a row of "
            f"probabilities for each class, row = true label, column = noisy label: nested lists, or the path "
            f"of a CSV file."
        )
    expected = np.array(rows)
    reached = np.cumsum(expected, axis=1)
    reached /= reached[:, -1:]  # a last value of 0.9999999 would leave draws above it
    draws = generator.random(len(labels))
    noisy = labels.copy()
    for true in np.unique(labels):
        of_class = labels == true
        # The first class whose sum is above the draw, so never one of probability zero.
        noisy[of_class] = np.searchsorted(reached[true], draws[of_class], side="right")
    return Noisy(noisy, expected)


def _moved(labels: np.ndarray, wrong: np.ndarray, classes: int, generator: np.random.Generator) -> np.ndarray:
    """Where `wrong`, another label than the true one, uniformly."""
    steps = generator.integers(1, classes, size=len(labels))
    moved: np.ndarray = np.where(wrong, (labels + steps) % classes, labels)
    return moved


def _uniform(classes: int, rate: float) -> np.ndarray:
    """(K, K): 1 - rate on the diagonal, rate / (K - 1) beside it."""
    expected = np.full((classes, classes), rate / (classes - 1))
    np.fill_diagonal(expected, 1 - rate)
    return expected


@dataclass(frozen=True, eq=False)
class NoiseReport:
    """What became of the training labels, and whether that is what was asked for."""

    what: str
    """The noise and its options."""
    classes: tuple[str, ...]
    true_labels: Tensor
    """int64, (N,), in the order of the training split: what its labels were."""
    counts: np.ndarray
    """int64, (K, K): images by true label (row) and by the label they have now (column)."""
    expected: np.ndarray
    """float64, (K, K): the probability of each label, given the true one; rows sum to one."""
    fixed: int = 0
    """How many sums of counts were fixed besides the number of images of each class."""

    @property
    def images(self) -> int:
        """N."""
        return int(self.counts.sum())

    @property
    def changed(self) -> int:
        """Images whose label is wrong now."""
        return self.images - int(np.trace(self.counts))

    @property
    def rate(self) -> float:
        """Share of the labels that are wrong now, a fraction."""
        return self.changed / self.images

    @property
    def chi_square(self) -> tuple[float, int]:
        """The statistic against the matrix that was asked for, and its degrees of freedom."""
        statistic, degrees = chi_square(self.counts, self.expected)
        return statistic, max(0, degrees - self.fixed)

    @property
    def p(self) -> float:
        """Probability of a statistic at least as large for labels drawn as asked; 1 if nothing is random."""
        from scipy.special import gammaincc

        statistic, degrees = self.chi_square
        return float(gammaincc(degrees / 2, statistic / 2)) if degrees else 1.0

    @property
    def rough(self) -> bool:
        """Whether some cell expects fewer than five images, so that p is a rough guide only."""
        wanted = self.counts.sum(1, keepdims=True) * self.expected
        return self.chi_square[1] > 0 and bool((wanted[wanted > 0] < _FEW).any())

    def shares(self, given: Literal["true", "noisy"] = "true") -> np.ndarray:
        """(K, K), rows sum to one: P(noisy | true), or P(true | noisy) with the true label in the columns.

        A row without images is nan.
        """
        counts = self.counts if given == "true" else self.counts.T
        totals = counts.sum(1, keepdims=True)
        found: np.ndarray = np.where(totals > 0, counts / np.maximum(totals, 1), np.nan)
        return found

    def matrix(self, given: Literal["true", "noisy"] = "true") -> str:
        """`shares` as text with both axes labelled and the normalisation stated: E4.1 shows why."""
        other = "noisy" if given == "true" else "true"
        width = max(5, *map(len, self.classes))
        lines = [
            f"P({other} label | {given} label): each row is one {given} label and sums to 1, "
            f"columns are {other} labels"
        ]
        lines.append(
            " ".join([f"{given:<{width}}", *(f"{name:>{width}}" for name in self.classes), "images"])
        )
        totals = self.counts.sum(1 if given == "true" else 0)
        for name, row, total in zip(self.classes, self.shares(given), totals, strict=True):
            cells = (f"{share:{width}.3f}" if total else f"{'-':>{width}}" for share in row)
            lines.append(" ".join([f"{name:<{width}}", *cells, f"{total:6,}"]))
        return "\n".join(lines)

    def sentence(self) -> str:
        """What was done, and the check."""
        statistic, degrees = self.chi_square
        check = (
            f"chi-square {statistic:.1f} on {degrees} degrees of freedom against what was asked, p = {self.p:.2g}"
            f"{' (rough: some counts are expected below 5)' if self.rough else ''}"
            if degrees
            else "nothing of it was left to chance"
        )
        return (
            f"Label noise {self.what}: {self.changed:,} of {self.images:,} training labels ({self.rate:.2%}) are "
            f"wrong on purpose; {check}. Validation and test labels are as they were."
        )

    def as_table(self) -> dict[str, Any]:
        """Plain values for a record."""
        statistic, degrees = self.chi_square
        return {
            "noise": self.what,
            "images": self.images,
            "changed": self.changed,
            "rate": self.rate,
            "classes": list(self.classes),
            "rows": "true label",
            "columns": "noisy label",
            "counts": self.counts.tolist(),
            "expected_shares_of_row": self.expected.tolist(),
            "chi_square": statistic,
            "degrees_of_freedom": degrees,
            "p": self.p,
            "p_is_rough": self.rough,
        }


def inject(
    choice: Choice, labels: Tensor, classes: Sequence[str], generator: np.random.Generator
) -> tuple[Tensor, NoiseReport]:
    """Make training labels wrong as asked, and compare the outcome with the request (S4.26).

    Args:
        choice: a noise of the catalog.
        labels: int64, (N,), in 0..K-1; untouched.
        classes: K names.
        generator: decides everything.

    Returns:
        int64 (N,) new labels, and the report.

    Raises:
        DataError: fewer than two classes, or no labels.
        ConfigError: options that do not fit, or a noise that does what its own matrix rules out.
    """
    if len(classes) < 2 or not len(labels):
        raise DataError(
            f"Label noise needs labels and at least 2 classes (labels: {len(labels):,}, classes: {len(classes)})."
        )
    asked = choice.resolved("noises")
    noisy: Noisy = catalog.call(
        "noises",
        asked.name,
        asked.options,
        labels=labels.numpy().copy(),
        classes=len(classes),
        generator=generator,
    )
    pairs = labels.numpy() * len(classes) + noisy.labels
    counts = np.bincount(pairs, minlength=len(classes) ** 2).reshape(len(classes), -1)
    impossible = np.argwhere((counts > 0) & (noisy.expected <= 0))
    if len(impossible):
        before, after = (classes[k] for k in impossible[0])
        raise ConfigError(
            f"The noise {choice.name!r} made {after!r} of {before!r}, which its own matrix says cannot happen. "
            f"It must return the matrix by which it draws."
        )
    new = torch.from_numpy(np.asarray(noisy.labels, dtype=np.int64))
    report = NoiseReport(asked.brief(), tuple(classes), labels.clone(), counts, noisy.expected, noisy.fixed)
    return new, report


def chi_square(counts: np.ndarray, expected: np.ndarray) -> tuple[float, int]:
    """Pearson's statistic of counts against the distribution of each row, the sums of the rows given.

    Args:
        counts: (K, K), how often.
        expected: (K, K), probabilities; rows sum to one; where they are zero, so must the counts be.

    Returns:
        The statistic, and its degrees of freedom: in each row with images the possible cells less one.

    Reference:
        Pearson (1900), On the Criterion.  The distribution is that of chi-square where every expected count
        is 5 or more, nearly.
    """
    totals = counts.sum(1, keepdims=True)
    wanted = totals * expected
    possible = wanted > 0
    gaps = (counts - wanted)[possible] ** 2 / wanted[possible]
    return float(gaps.sum()), int((possible.sum(1) - 1).clip(min=0).sum())
