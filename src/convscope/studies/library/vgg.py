"""VGG-A with and without batch norm over the four rates of S2: accuracy, and how far it depends on the rate.

S2 prints 0.83 with batch norm and 0.78 without (S2.26), and says neither at which rate nor after how many epochs.  The
scaffold that it is made with trains with Adam for 20 epochs in batches of 128, without augmentation or decay (X2.1).
So no arm has a published value; the printed difference of 0.05 stands beside the comparisons of the network at full width
alone.

The scores of every 40 steps (S2.26) and the training loss between them are in the record: their band over rates is
S2.28's figure.  Weights start as in He et al. (2015): as the framework draws them, VGG-A without a norm does not begin
to learn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..design import Arm, Comparison, factorial, greater, study

_RATES = ("1e-4", "5e-4", "1e-3", "2e-3")
_RECIPE = {
    "epochs": 20, "batch_size": 128, "optimizer": "adam", "schedule": "constant", "weight_decay": 0.0,
    "augment": "none", "validate_every": "40 steps",
}  # fmt: skip
_ASKED: dict[str, Any] = {
    "data": "cifar10",
    "baseline": "norm none, rate 1e-3",
    "axis": "lr",
    "seeds": 3,
    "why_many": "beside four claims, the effects of a factorial are asked together",
    "also": ("best_accuracy", "mean_accuracy", "train_accuracy"),
    "remarks": (
        "S2 says neither at which rate nor after how many epochs it found 0.83 and 0.78, so no arm stands beside a "
        "printed number. Weights start as in He et al. (2015): as the framework draws them, the network does not begin to "
        "learn without a norm.",
        "How far the accuracy depends on the rate (S2.35), the interactions ask against 1e-4 alone; the spread over all "
        "four rates is to be read off the figure and has no test.",
    ),
}


def _norm_by_rate(by: float | None = None) -> Iterator[Arm | Comparison]:
    yield from factorial(
        {
            "norm": {norm: {"model.norm": norm} for norm in ("none", "batch")},
            "rate": {rate: {"lr": float(rate)} for rate in _RATES},
        }
    )
    for rate in _RATES:
        yield greater(f"norm batch, rate {rate}", f"norm none, rate {rate}", "S2.26", by=by)


@study(
    question="Is VGG-A at a quarter of its width better with batch norm at each of four rates, and less dependent on "
    "the rate?",
    expectation="Better at each rate, as in a pilot of two epochs and one seed (results/vgg_norm.md) and as S2.26 prints "
    "for full width; the spread over rates is smaller too (S2.35), which is the interaction of norm and rate.",
    model="vgg11-cifar:width=0.25", recipe={**_RECIPE, "epochs": 4},
    **{**_ASKED, "remarks": ("A quarter of the width and 4 epochs, where S2 trains for 20.", *_ASKED["remarks"])},
)  # fmt: skip
def vgg_norm_rates() -> Iterator[Arm | Comparison]:
    """VGG-A at a quarter of its width, batch norm by learning rate."""
    yield from _norm_by_rate()


@study(
    question="Is VGG-A better with batch norm at each of four rates, and less dependent on the rate?",
    expectation="Better at each rate, 0.83 and 0.78 being printed (S2.26); the spread over rates is smaller too (S2.35), "
    "which is the interaction of norm and rate.",
    model="vgg11-cifar", recipe=_RECIPE, precision="float32", **_ASKED,
)  # fmt: skip
def vgg_norm_rates_full() -> Iterator[Arm | Comparison]:
    """VGG-A, batch norm by learning rate."""
    yield from _norm_by_rate(by=0.05)
