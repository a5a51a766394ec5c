"""Does the run learn its training images more than what they have in common with others?

In: the record of a run, finished or not, and its network.  Out: the curves,
the gap between training and validation, and where the validation loss turns.

    V  validations      T  turns of the validation loss
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from convscope.core.errors import ConfigError
from convscope.core.intervals import wilson
from convscope.core.records import Record
from convscope.evaluate.metrics import is_better, score
from convscope.evaluate.runs import Run
from convscope.evaluate.subject import Result, Subject

from .descents import Stretch, Turn, descent_marks, running_median, slope
from .outputs import answers
from .recording import AtLeastOne, Count


@dataclass(frozen=True)
class Overfitting(Result):
    """The course of a run."""

    subject: str
    seed: int
    finished: bool
    epoch: float
    """Of the last validation."""
    epochs: np.ndarray
    """Of the validations, (V,)."""
    train_loss: np.ndarray
    """Mean over the steps since the validation before: augmented images, dropout at work, the weights of each step,
    the run's own loss; nan where the record has none, (V,)."""
    train_accuracy: np.ndarray
    """Of the same, (V,)."""
    val_loss: np.ndarray
    """Cross-entropy, nats, (V,)."""
    val_accuracy: np.ndarray
    """(V,)."""
    val_images: int
    loss_name: str
    """What the training loss is."""
    select: str
    """The validation measure that says which weights are best."""
    best_epoch: float
    lowest_loss_epoch: float
    lowest_loss: float
    last_loss: float
    gap_accuracy: float
    """Training minus validation accuracy of the curves, last validation."""
    gap_loss: float
    """Validation minus training loss of the curves, last validation; comparable only where the loss is cross-entropy."""
    best_gap_accuracy: float
    """The same at the best epoch."""
    best_gap_loss: float
    measured_images: int
    """Training images that the network itself was shown, as they are and in evaluation mode."""
    measured_train_accuracy: float
    measured_val_accuracy: float
    """Of the same weights, all validation images."""
    measured_gap: float
    """Training minus validation accuracy, both in evaluation mode."""
    measured_gap_low: float
    """Lower end of its 95 % interval (Newcombe): what counting the images leaves open, not the seeds."""
    measured_gap_high: float
    measured_train_loss: float
    """Cross-entropy, nats."""
    measured_val_loss: float
    tail: int
    """Validations that the trends are taken over."""
    val_trend: float
    """Slope of the validation loss over the last validations, nats per epoch, by least squares."""
    val_trend_low: float
    """Lower end of its 95 % interval, as if the validations' deviations from a line were independent."""
    val_trend_high: float
    train_trend: float
    smooth: int
    turn: float
    turns: tuple[Turn, ...]
    """Lows and peaks in order, (T,); the first turn is a low."""
    stretches: tuple[Stretch, ...]
    """Where the validation loss rises."""
    second_descent_epoch: float
    """Of the first peak after which the validation loss falls again; nan if it never does."""

    @property
    def sentence(self) -> str:
        """What was found."""
        state = "" if self.finished else ", still training"
        gap, low, high = (
            100 * gap for gap in (self.measured_gap, self.measured_gap_low, self.measured_gap_high)
        )
        return (
            f"{self.subject}, seed {self.seed}, epoch {self.epoch:g}{state}: {self.measured_train_accuracy:.1%} right on "
            f"{self.measured_images} training images and {self.measured_val_accuracy:.1%} on {self.val_images} validation "
            f"images, a gap of {gap:.1f} points [{low:.1f}, {high:.1f}]; best {self.select} at epoch {self.best_epoch:g}, "
            f"lowest validation loss {self.lowest_loss:.3f} at epoch {self.lowest_loss_epoch:g}, last "
            f"{self.last_loss:.3f}; {self._trend()}; {self._marks()}."
        )

    def _trend(self) -> str:
        if math.isnan(self.val_trend_low):
            return "too few validations for a trend"
        way = (
            "falls"
            if self.val_trend_high < 0
            else "rises"
            if self.val_trend_low > 0
            else "has no clear trend"
        )
        return (
            f"over the last {self.tail} validations the validation loss {way} ({self.val_trend:+.4f} per epoch "
            f"[{self.val_trend_low:+.4f}, {self.val_trend_high:+.4f}])"
        )

    def _marks(self) -> str:
        alone = [stretch for stretch in self.stretches if stretch.train_change < 0]
        found = "it never rises while the training loss falls"
        if alone:
            named = ", ".join(f"{stretch.start:g} to {stretch.end:g}" for stretch in alone)
            found = f"it rises while the training loss falls at epochs {named}"
        if not math.isnan(self.second_descent_epoch):
            found += f", and descends a second time from epoch {self.second_descent_epoch:g}"
        return found


def overfitting(
    *,
    subject: Subject,
    images: Count = 2000,
    tail: Annotated[int, Field(ge=3)] = 5,
    smooth: AtLeastOne = 5,
    turn: Annotated[float, Field(gt=0)] = 0.05,
) -> Overfitting:
    """The picture of a run: curves, gap, best epoch, trend, and descent marks.

    The training curve is that of the steps, which saw augmented images with dropout at work; so the network is also
    shown training images as validation images are shown, and that gap is the one to judge by.

    Descent marks are turns of the validation loss after a running median: a low or a peak counts once the loss has
    moved away from it by the share `turn`.  A second descent is a fall after a rise; whether it goes below the first
    low, the marks tell.

    Args:
        images: of the training split, evenly spread, to measure the gap with; 0: all.
        tail: validations at the end whose trend is taken, at least 3.
        smooth: validations in the running median, odd; 1: none. A record no longer than this has no marks.
        turn: share by which the loss must move away from a low or a peak for it to count.

    Raises:
        ConfigError: a network without a run, a run without validation images or validations, data that are not the
            run's, an even `smooth`.

    Reference:
        S3.17, S3.20, S3.22; descents over epochs: Nakkiran et al. (2020), Deep Double Descent, section 6.
        Gap: Newcombe (1998), Interval estimation for the difference between independent proportions, method 10.
        Differs: the papers draw test curves; ours are of validation images.
    """
    if smooth % 2 == 0:
        raise ConfigError(
            f"A running median needs an odd number of validations, not smooth={smooth}. Try {smooth + 1}."
        )
    run, history = _history(subject)
    curves = _curves(history)
    epochs, val_loss, train_loss = curves["epochs"], curves["val_loss"], curves["train_loss"]
    gap_accuracy, gap_loss = curves["train_accuracy"] - curves["val_accuracy"], val_loss - train_loss
    best, lowest = _best(history, run.config.recipe.select), int(val_loss.argmin())
    trend, low, high = slope(epochs[-tail:], val_loss[-tail:])
    marks, stretches = descent_marks(
        epochs, running_median(val_loss, smooth), running_median(train_loss, smooth), turn
    )
    return Overfitting(
        subject=subject.name,
        seed=run.config.seed,
        finished=run.result is not None,
        epoch=float(epochs[-1]),
        epochs=epochs,
        train_loss=train_loss,
        train_accuracy=curves["train_accuracy"],
        val_loss=val_loss,
        val_accuracy=curves["val_accuracy"],
        val_images=int(history[-1]["val_images"]),
        loss_name=run.config.recipe.loss.name,
        select=run.config.recipe.select,
        best_epoch=float(epochs[best]),
        lowest_loss_epoch=float(epochs[lowest]),
        lowest_loss=float(val_loss[lowest]),
        last_loss=float(val_loss[-1]),
        gap_accuracy=float(gap_accuracy[-1]),
        gap_loss=float(gap_loss[-1]),
        best_gap_accuracy=float(gap_accuracy[best]),
        best_gap_loss=float(gap_loss[best]),
        **_measured(subject, images),
        tail=min(tail, len(history)),
        val_trend=trend,
        val_trend_low=low,
        val_trend_high=high,
        train_trend=slope(epochs[-tail:], train_loss[-tail:])[0],
        smooth=smooth,
        turn=turn,
        turns=marks,
        stretches=stretches,
        second_descent_epoch=next((mark.epoch for mark in marks if mark.kind == "peak"), math.nan),
    )


def _history(subject: Subject) -> tuple[Run, list[Record]]:
    """The run and its validations so far."""
    run = subject.run
    if run is None and subject.moment is not None:
        raise ConfigError(
            "The overfitting picture is of a run's whole record, which grows by itself: it is not attached to a run, "
            "but drawn at any time, also while it trains, with `convscope inspect RUN overfitting`."
        )
    if run is None:
        raise ConfigError(
            f"{subject.name} is a network without a run, so there are no curves to look at. Give the run's directory "
            f"instead of the module."
        )
    if run.config.data.refit:
        raise ConfigError(
            f"{run.root} holds no validation images out: it was trained on them too (--refit), so there is no gap to "
            f"measure. Look at the run that chose its settings."
        )
    if subject.data.hash != run.environment["data"]:
        raise ConfigError(
            f"The curves of {run.root} are of its own images, not of {subject.data.name}: leave the data out."
        )
    history = [record for record in run.metrics if "val_loss" in record]
    if not history:
        raise ConfigError(f"{run.root} has no validation yet: wait for the first one.")
    return run, history


def _curves(history: Sequence[Record]) -> dict[str, np.ndarray]:
    keys = {
        "epochs": "epoch",
        **{key: key for key in ("train_loss", "train_accuracy", "val_loss", "val_accuracy")},
    }
    return {
        name: np.array(
            [math.nan if record[key] is None else record[key] for record in history], dtype=np.float64
        )
        for name, key in keys.items()
    }


def _best(history: Sequence[Record], select: str) -> int:
    """The validation whose weights the run keeps: of equal ones the first."""
    best, values = 0, [record[f"val_{select}"] for record in history]
    for i, value in enumerate(values):
        if is_better(select, value, values[best]):
            best = i
    return best


def _measured(subject: Subject, images: int) -> dict[str, Any]:
    """What the network itself says of training and of validation images."""
    train, val = (
        score(logits, chosen.labels)
        for chosen, logits in (answers(subject, s, n, "the gap") for s, n in (("train", images), ("val", 0)))
    )
    low, high = newcombe((train.correct, train.images), (val.correct, val.images))
    return {
        "measured_images": train.images,
        "measured_train_accuracy": train.accuracy,
        "measured_val_accuracy": val.accuracy,
        "measured_gap": train.accuracy - val.accuracy,
        "measured_gap_low": low,
        "measured_gap_high": high,
        "measured_train_loss": train.loss,
        "measured_val_loss": val.loss,
    }


def newcombe(first: tuple[int, int], second: tuple[int, int]) -> tuple[float, float]:
    """95 % interval of the difference of two independent proportions, each (successes, trials); first - second.

    Reference:
        Newcombe (1998), Interval estimation for the difference between independent proportions, method 10.
    """
    p, q = first[0] / first[1], second[0] / second[1]
    (low_p, high_p), (low_q, high_q) = wilson(*first), wilson(*second)
    return p - q - math.hypot(p - low_p, high_q - q), p - q + math.hypot(high_p - p, q - low_q)
