"""Which classes does the network take for which?

In: a network and labelled images.  Out: how many images of each class were
given to which, the pairs confused most often with examples, whether a pair is
confused as often as its reverse, and the errors of which it was surest.

    N  images      K  classes      P  pairs      E  examples of a pair      M  errors shown      C, H, W  pixels
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from convscope.core import files
from convscope.core.intervals import wilson
from convscope.data import ImageSet
from convscope.evaluate.metrics import score
from convscope.evaluate.subject import Result, Subject

from .outputs import answers
from .recording import AtLeastOne, Count, Split
from .symmetry import bowker, p_drawn, reverse_correlation


@dataclass(frozen=True)
class Shown:
    """An image that was taken for something else."""

    position: int
    """In the split, counted from 0."""
    id: str
    """Its file, or its position."""
    truth: str
    predicted: str
    probability: float
    """Of the predicted class, in (0, 1]."""


@dataclass(frozen=True)
class Pair:
    """Images of one class that were taken for another."""

    truth: str
    predicted: str
    count: int
    share: float
    """Of the images of the true class."""
    low: float
    """Lower end of the share's Wilson 95 % interval."""
    high: float
    examples: tuple[Shown, ...]
    """Those of which the network was surest, at most E."""


@dataclass(frozen=True)
class Confusion(Result):
    """Counts of true against predicted class, and what stands out in them."""

    subject: str
    data: str
    split: str
    images: int
    which: str
    """16 hexadecimal digits that stand for these images, with their labels and order."""
    rows: str
    """What a row of the matrices is: the true class."""
    columns: str
    """What a column is: the predicted class."""
    classes: tuple[str, ...]
    """Names of the rows and of the columns, (K,)."""
    counts: np.ndarray
    """int64, (K, K)."""
    by_truth: np.ndarray
    """Shares of each row: recalls on the diagonal; nan in the row of a class without images, (K, K)."""
    by_prediction: np.ndarray
    """Shares of each column: precisions on the diagonal; nan in a column without images, (K, K)."""
    precision: np.ndarray
    """Share of the images given to a class that belong to it; nan where none were given to it, (K,)."""
    recall: np.ndarray
    """Share of the images of a class that were given to it; nan where there are none, (K,)."""
    f1: np.ndarray
    """2 right / (images + predictions) of a class; nan where there is neither, (K,)."""
    accuracy: float
    macro_precision: float
    """Means over the classes for which they are defined."""
    macro_recall: float
    macro_f1: float
    symmetry: float
    """Bowker's statistic; nan without errors."""
    symmetry_df: int
    symmetry_p: float
    """By the chi-square distribution, which is rough where pairs have few images."""
    symmetry_p_drawn: float
    """By tossing a coin for each confused image: the errors of a pair and of its reverse keep their sum."""
    reverse_correlation: float
    """Spearman's, of the counts of all ordered pairs with those of their reverses; nan for two classes."""
    pairs: tuple[Pair, ...]
    """The most frequent, (P,)."""
    pair_pixels: np.ndarray
    """Of their examples, uint8, (P, E, C, H, W); black where a pair has fewer."""
    errors: tuple[Shown, ...]
    """Those with the largest probability of the wrong class, (M,)."""
    error_pixels: np.ndarray
    """uint8, (M, C, H, W)."""

    @property
    def sentence(self) -> str:
        """What was found."""
        right = int(np.trace(self.counts))
        start = (
            f"{self.subject}: {right} of {self.images} images of {self.split} are right ({self.accuracy:.2%})"
        )
        if not self.pairs:
            return f"{start}; no class is taken for another."
        named = "; ".join(
            f"{pair.truth} as {pair.predicted}, {pair.count} times ({pair.share:.1%} [{pair.low:.1%}, {pair.high:.1%}])"
            for pair in self.pairs
        )
        differ = (
            "differ by more than chance" if self.symmetry_p_drawn < 0.05 else "differ no more than by chance"
        )
        return (
            f"{start}; confused most often: {named}. Pairs and their reverses {differ} (Bowker {self.symmetry:.1f}, "
            f"df {self.symmetry_df}, p = {self.symmetry_p_drawn:.2g} by drawing)."
        )

    def save(self, stem: Path) -> list[Path]:
        """As every result, and the matrix scaled by row as text: DATA_conf.txt, e.g. mnist_conf.txt (S4.19)."""
        written = super().save(stem)
        # `confusion` is the data's name; what a hook calls confusion-00000100 keeps its step.
        name = (
            f"{self.data}{stem.name.removeprefix('confusion')}"
            if stem.name.startswith("confusion")
            else stem.name
        )
        path = stem.with_name(f"{name}_conf.txt")
        files.write(path, self.text().encode())
        return [*written, path]

    def text(self) -> str:
        """The matrix scaled by row, in columns that `numpy.loadtxt` reads; never in scientific notation."""
        head = [
            f"{self.subject}, {self.split}, {self.images} images: share of each true class by predicted class",
            "rows: true class; columns: predicted class; each row sums to 1 (nan: no image of that class)",
            *(f"{k}: {' '.join(name.split())}" for k, name in enumerate(self.classes)),
        ]
        body = (" ".join(f"{share:8.6f}" for share in row) for row in self.by_truth)
        return "".join([*(f"# {line}\n" for line in head), *(f"{line}\n" for line in body)])


def confusion(
    *,
    subject: Subject,
    split: Split = "val",
    images: Count = 0,
    top: AtLeastOne = 3,
    examples: AtLeastOne = 4,
    errors: Count = 8,
) -> Confusion:
    """Count what is taken for what.

    The prediction is the class with the largest logit, the lowest of those that tie.  The `symmetry` statistic asks
    whether the images of class i taken for j are as many as those of j taken for i:

        sum over i < j of (n_ij - n_ji)^2 / (n_ij + n_ji)        over the pairs with errors, which are its df

    Args:
        split: val or train.
        images: evenly spread over the split; 0: all.
        top: how many ordered pairs to name (S4.20: three).
        examples: images shown of each.
        errors: how many of the surest errors to show.

    Raises:
        ConfigError: images without labels, or a network with another number of outputs than classes.
        Diverged: an output that is not finite.

    Reference:
        S4.18-24; Bowker (1948), A Test for Symmetry in Contingency Tables.
        Differs: pairs without errors are not among the degrees of freedom, and a p by drawing stands beside that of
        the chi-square distribution, since most pairs of a good network have fewer than five errors.
    """
    chosen, logits = answers(subject, split, images, "a confusion")
    counts = np.array(score(logits, chosen.labels).confusion, dtype=np.int64)
    given, predicted = counts.sum(1), counts.sum(0)
    right = np.diag(counts)
    precision, recall = _ratio(right, predicted), _ratio(right, given)
    f1 = _ratio(2 * right, given + predicted)
    statistic, df, p = bowker(counts)
    look = _Looker(subject.images(split), chosen, logits)
    pairs = tuple(
        Pair(
            chosen.classes[i],
            chosen.classes[j],
            int(counts[i, j]),
            float(counts[i, j] / given[i]),
            *wilson(int(counts[i, j]), int(given[i])),
            look.surest(examples, (chosen.labels == i) & (look.predicted == j)),
        )
        for i, j in most_frequent(counts, top)
    )
    surest = look.surest(errors, look.predicted != chosen.labels)
    return Confusion(
        subject=subject.name,
        data=subject.data.name,
        split=split,
        images=len(chosen),
        which=_fingerprint(subject, chosen),
        rows="true class",
        columns="predicted class",
        classes=chosen.classes,
        counts=counts,
        by_truth=_ratio(counts, given[:, None]),
        by_prediction=_ratio(counts, predicted[None, :]),
        precision=precision,
        recall=recall,
        f1=f1,
        accuracy=float(right.sum() / len(chosen)),
        macro_precision=float(np.nanmean(precision)),
        macro_recall=float(np.nanmean(recall)),
        macro_f1=float(np.nanmean(f1)),
        symmetry=statistic,
        symmetry_df=df,
        symmetry_p=p,
        symmetry_p_drawn=p_drawn(counts, subject.streams.generator("inspect")),
        reverse_correlation=reverse_correlation(counts),
        pairs=pairs,
        pair_pixels=np.stack(
            [look.pixels(pair.examples, examples) for pair in pairs] or [look.pixels((), examples)]
        )[: len(pairs)],
        errors=surest,
        error_pixels=look.pixels(surest, len(surest)),
    )


def most_frequent(counts: np.ndarray, top: int) -> list[tuple[int, int]]:
    """The ordered pairs of different classes with the largest values above 0, (row, column); ties in their order."""
    off = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    order = np.argsort(-off, axis=None, kind="stable")[:top]
    return [divmod(int(cell), len(counts)) for cell in order if off.flat[cell] > 0]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole as float64; nan where the whole is 0."""
    shape = np.broadcast_shapes(part.shape, whole.shape)
    ratio: np.ndarray = np.divide(
        part, whole, out=np.full(shape, np.nan), where=np.broadcast_to(whole > 0, shape)
    )
    return ratio


def _fingerprint(subject: Subject, chosen: ImageSet) -> str:
    digest = hashlib.sha256(f"{subject.data.hash}/{chosen.classes}".encode())
    digest.update(chosen.rows.numpy().tobytes() + chosen.labels.numpy().tobytes())
    return digest.hexdigest()[:16]


class _Looker:
    """Finds the surest of some images, and their pixels."""

    def __init__(self, whole: ImageSet, chosen: ImageSet, logits: Tensor) -> None:
        self.whole, self.chosen = whole, chosen
        self.probability, _ = logits.softmax(1).max(1)
        self.predicted = logits.argmax(1)

    def surest(self, most: int, among: Tensor) -> tuple[Shown, ...]:
        """Those of `among` (N,) whose prediction is surest, ties in the images' order."""
        places = among.nonzero()[:, 0]
        order = torch.argsort(self.probability[places], descending=True, stable=True)[:most]
        return tuple(map(self._shown, places[order].tolist()))

    def _shown(self, place: int) -> Shown:
        position = int((self.whole.rows == self.chosen.rows[place]).nonzero()[0, 0])
        return Shown(
            position,
            self.whole.files[position] if self.whole.files else str(position),
            self.chosen.classes[int(self.chosen.labels[place])],
            self.chosen.classes[int(self.predicted[place])],
            float(self.probability[place]),
        )

    def pixels(self, shown: Sequence[Shown], room: int) -> np.ndarray:
        """uint8, (room, C, H, W): the images, then black."""
        found = np.zeros((room, *self.whole.shape), np.uint8)
        if shown:
            found[: len(shown)] = self.whole.batch(torch.tensor([one.position for one in shown])).numpy()
        return found
