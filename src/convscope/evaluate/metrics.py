"""How right is a set of predictions?

Counts, not averages of averages: every accuracy is an exact ratio of two
integers, whatever the batch size.

    N  images      K  classes
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.core.errors import ConfigError, UnknownName
from convscope.core.intervals import wilson

HIGHER_IS_BETTER = {"accuracy": True, "balanced_accuracy": True, "top5": True, "loss": False}
"""The measures by which weights can be chosen, and the direction of each."""


def is_better(measure: str, new: float, old: float) -> bool:
    """Whether a value of this measure is better than another; equal is not better.

    Raises:
        UnknownName: no such measure.
    """
    if measure not in HIGHER_IS_BETTER:
        raise UnknownName("measure", measure, HIGHER_IS_BETTER)
    return new > old if HIGHER_IS_BETTER[measure] else new < old


@dataclass(frozen=True)
class Scores:
    """What N predictions got right."""

    images: int
    correct: int
    """Images whose label has the largest logit."""
    correct_top5: int
    """Images whose label is among the five largest logits (all, if there are at most five classes)."""
    loss: float
    """Mean cross-entropy, nats per image; may be infinite or nan when the network diverged."""
    confusion: tuple[tuple[int, ...], ...]
    """(K, K): images by true class (row) and by the class with the largest logit (column)."""

    @property
    def accuracy(self) -> float:
        """Top-1 accuracy, a fraction."""
        return self.correct / self.images

    @property
    def top5(self) -> float:
        """Top-5 accuracy, a fraction (S3.16)."""
        return self.correct_top5 / self.images

    @property
    def class_images(self) -> tuple[int, ...]:
        """Images of each class, (K,)."""
        return tuple(map(sum, self.confusion))

    @property
    def class_correct(self) -> tuple[int, ...]:
        """Of those, the correct ones, (K,)."""
        return tuple(row[k] for k, row in enumerate(self.confusion))

    @property
    def balanced_accuracy(self) -> float:
        """The mean of the accuracies within the classes that have images, a fraction."""
        within = [accuracy for accuracy in self.class_accuracy if accuracy is not None]
        return sum(within) / len(within)

    @property
    def class_accuracy(self) -> tuple[float | None, ...]:
        """Accuracy within each class; None where the split has no image of it."""
        return tuple(
            right / count if count else None
            for right, count in zip(self.class_correct, self.class_images, strict=True)
        )

    def interval(self) -> tuple[float, float]:
        """Wilson 95 % interval of the top-1 accuracy: what counting N images leaves open."""
        return wilson(self.correct, self.images)

    def as_table(self, classes: Sequence[str]) -> dict[str, Any]:
        """Plain values for result.json, with the accuracy spelled out and classes by name."""
        return {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "images": self.images,
            "correct": self.correct,
            "correct_top5": self.correct_top5,
            "loss": self.loss,
            "classes": {
                name: {"images": count, "correct": right}
                for name, count, right in zip(classes, self.class_images, self.class_correct, strict=True)
            },
            "confusion": {
                "rows": "true class",
                "columns": "predicted class",
                "counts": [list(row) for row in self.confusion],
            },
        }


def score(logits: Tensor, labels: Tensor) -> Scores:
    """Count what is right.

    Ties go to the lower class index, as in `argmax`.

    Args:
        logits: (N, K), any float type.
        labels: int64, (N,), in 0..K-1.

    Raises:
        ConfigError: no images, or images without labels.
    """
    count, classes = logits.shape
    unlabelled = int((labels < 0).sum())
    if count == 0 or unlabelled:
        what = "no images" if count == 0 else f"{unlabelled} images without a label"
        raise ConfigError(f"There is nothing to score: {what} among {count}. Accuracy needs labelled images.")
    predicted = logits.argmax(1)
    pairs = torch.bincount(labels * classes + predicted, minlength=classes * classes)
    # Counted, not taken from `topk`, which breaks ties in any order: of ten equal logits, top-1 may be right and
    # top-5 wrong there.
    own = logits.gather(1, labels[:, None])
    earlier = torch.arange(classes, device=logits.device) < labels[:, None]
    ahead = (logits > own) | ((logits == own) & earlier)
    top5 = ahead.sum(1) < 5
    return Scores(
        images=count,
        correct=int((predicted == labels).sum()),
        correct_top5=int(top5.sum()),
        loss=float(F.cross_entropy(logits.double(), labels, reduction="sum")) / count,
        confusion=tuple(map(tuple, pairs.view(classes, classes).tolist())),
    )
