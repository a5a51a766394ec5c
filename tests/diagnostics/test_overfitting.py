"""Turns of curves drawn by hand, slopes of scipy, Newcombe's own example, and a run's record read as it grows."""

import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from convscope.core.errors import ConfigError
from convscope.data import Data, ImageSet, Normaliser
from convscope.data.images import Sealed
from convscope.diagnostics.descents import slope
from convscope.diagnostics.overfitting import newcombe, overfitting
from convscope.evaluate.subject import Moment, Subject, subject_of

VAL = [1.0, 0.5, 0.6, 0.8, 0.7, 0.4, 0.42]
TRAIN = [1.2, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
ACCURACY = [0.3, 0.6, 0.7, 0.65, 0.7, 0.6, 0.5]


def record(epoch: int, **more: Any) -> dict[str, Any]:
    line = {
        "step": 10 * epoch,
        "epoch": float(epoch),
        "train_loss": TRAIN[epoch - 1],
        "train_accuracy": 0.9,
        "val_loss": VAL[epoch - 1],
        "val_accuracy": ACCURACY[epoch - 1],
        "val_images": 4,
    }
    return {**line, **more}


def a_run(
    lines: list[dict[str, Any]] | None = None,
    *,
    refit: bool = False,
    finished: bool = True,
    select: str = "accuracy",
) -> Any:
    recipe = SimpleNamespace(select=select, loss=SimpleNamespace(name="cross-entropy"))
    return SimpleNamespace(
        root=Path("runs/net/seed-3"),
        config=SimpleNamespace(seed=3, recipe=recipe, data=SimpleNamespace(refit=refit)),
        metrics=[record(epoch) for epoch in range(1, 8)] if lines is None else lines,
        result={} if finished else None,
        environment={"data": "hash"},
    )


def subject_with(run: Any, **more: Any) -> Subject:
    """A network that says 1 to every image: 5 of 8 training images and 1 of 4 validation images are of class 1."""
    pixels = torch.zeros(12, 1, 1, 2, dtype=torch.uint8)
    classes = ("no", "yes")
    train = ImageSet(pixels, torch.arange(8), torch.tensor([1, 1, 0, 1, 0, 1, 0, 1]), classes)
    val = ImageSet(pixels, torch.arange(8, 12), torch.tensor([0, 0, 1, 0]), classes)
    data = Data("dots", classes, train, val, Sealed(0, lambda: val), (0.0,), (1.0,), "hash")
    linear = nn.Linear(2, 2)
    with torch.no_grad():
        linear.bias.copy_(torch.tensor([0.0, 2.0]))
    model = nn.Sequential(nn.Flatten(), linear)
    return subject_of(model, data, Normaliser((0.0,), (1.0,)), "a net on dots", run=run, **more)


def test_curves_gaps_and_epochs() -> None:
    found = overfitting(subject=subject_with(a_run()), smooth=1)
    assert found.val_loss.tolist() == VAL
    assert found.train_loss.tolist() == TRAIN
    assert (found.best_epoch, found.lowest_loss_epoch, found.lowest_loss) == (
        3,
        6,
        0.4,
    )  # of equal ones the first
    assert [found.gap_accuracy, found.gap_loss] == pytest.approx([0.9 - 0.5, 0.42 - 0.1])
    assert [found.best_gap_accuracy, found.best_gap_loss] == pytest.approx([0.9 - 0.7, 0.6 - 0.5])
    assert (found.measured_train_accuracy, found.measured_val_accuracy, found.measured_gap) == (
        0.625,
        0.25,
        0.375,
    )
    right, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    assert found.measured_val_loss == pytest.approx((right + 3 * wrong) / 4, rel=1e-6)
    assert (found.seed, found.finished, found.epoch, found.tail) == (3, True, 7, 5)
    assert overfitting(subject=subject_with(a_run()), images=4).measured_images == 4


def test_weights_chosen_by_loss_are_best_where_it_is_lowest() -> None:
    assert overfitting(subject=subject_with(a_run(select="loss"))).best_epoch == 6


def test_newcombe_on_his_own_example() -> None:
    # Newcombe (1998), table II, contrast (a), 56/70 against 48/80, method 10.
    assert newcombe((56, 70), (48, 80)) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_sentence() -> None:
    found = overfitting(subject=subject_with(a_run(finished=False)), smooth=1)
    low, high = (100 * end for end in newcombe((5, 8), (1, 4)))
    trend, trend_low, trend_high = slope(np.arange(3.0, 8), np.array(VAL[2:]))
    assert found.sentence == (
        f"a net on dots, seed 3, epoch 7, still training: 62.5% right on 8 training images and 25.0% on 4 validation "
        f"images, a gap of 37.5 points [{low:.1f}, {high:.1f}]; best accuracy at epoch 3, lowest validation loss 0.400 "
        f"at epoch 6, last 0.420; over the last 5 validations the validation loss has no clear trend ({trend:+.4f} per "
        f"epoch [{trend_low:+.4f}, {trend_high:+.4f}]); it rises while the training loss falls at epochs 2 to 4, and "
        f"descends a second time from epoch 4."
    )
    assert found.second_descent_epoch == 4


def test_a_record_that_has_just_begun() -> None:
    lines = [record(1, train_loss=None, train_accuracy=None), {"step": 12, "epoch": 1.2, "train_loss": 1.0}]
    found = overfitting(subject=subject_with(a_run(lines)))
    assert found.epochs.tolist() == [1]
    assert math.isnan(found.gap_loss) and math.isnan(found.val_trend)
    assert found.sentence.endswith(
        "too few validations for a trend; it never rises while the training loss falls."
    )
    assert found.turns == ()


MOMENT = Moment(0, 0.0, 0.1, lambda step: (torch.zeros(1), torch.zeros(1)))
REFUSED = [
    (
        dict(run=None),
        "a net on dots is a network without a run, so there are no curves to look at. Give the run's directory instead of "
        "the module.",
    ),
    (
        dict(run=None, moment=MOMENT),
        "The overfitting picture is of a run's whole record, which grows by itself: it is not attached to a run, but "
        "drawn at any time, also while it trains, with `convscope inspect RUN overfitting`.",
    ),
    (
        dict(run=a_run(refit=True)),
        "runs/net/seed-3 holds no validation images out: it was trained on them too (--refit), so there is no gap to "
        "measure. Look at the run that chose its settings.",
    ),
    (dict(run=a_run([])), "runs/net/seed-3 has no validation yet: wait for the first one."),
]


@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        overfitting(subject=subject_with(**given))


def test_other_images_and_an_even_median_are_refused() -> None:
    other = a_run()
    other.environment = {"data": "another"}
    message = "The curves of runs/net/seed-3 are of its own images, not of dots: leave the data out."
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        overfitting(subject=subject_with(other))
    message = "A running median needs an odd number of validations, not smooth=4. Try 5."
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        overfitting(subject=subject_with(a_run()), smooth=4)
