"""The advice at the end of a run, sentence by sentence."""

from typing import Any

import pytest

from convscope.train.diagnosis import diagnose

OVERFITTING = (
    "Overfitting. Try augmentation, more data, a larger --weight-decay, --model.dropout, a smaller network, or "
    "fewer epochs."
)
UNDERFITTING = (
    "The training images themselves are not learned: underfitting. Try more epochs, a larger network, a smaller "
    "--weight-decay, less dropout or less augmentation."
)
FINE = "Neither over- nor underfitting stands out."


def history(*losses: float) -> list[dict[str, Any]]:
    return [{"epoch": float(epoch), "val_loss": loss} for epoch, loss in enumerate(losses, 1)]


@pytest.mark.parametrize(
    ("train", "val", "losses", "advice"),
    [
        (0.99, 0.98, (0.5, 0.1), [FINE]),
        (0.999, 0.90, (0.5, 0.4), [OVERFITTING]),
        # E3.14: a small gap at a low level is underfitting.
        (0.60, 0.59, (1.0, 0.9), [UNDERFITTING]),
        (0.80, 0.60, (1.0, 0.9), [OVERFITTING, UNDERFITTING]),
        (0.95, 0.90, (1.0,), [FINE]),
        (0.90, 0.90, (), [FINE]),
        (
            0.99,
            0.98,
            (0.5, 0.2, 0.3),
            [
                "The validation loss was lowest at epoch 2 (0.200) and ended at 0.300: the network grew surer of its "
                "mistakes. Fewer epochs would do."
            ],
        ),
        (0.99, 0.98, (0.5, 0.2, 0.21), [FINE]),
    ],
)
def test_the_advice(train: float, val: float, losses: tuple[float, ...], advice: list[str]) -> None:
    found = diagnose(train, val, history(*losses))
    assert found[0] == (
        f"{train:.1%} on training images, {val:.1%} on validation images: a gap of {100 * (train - val):.1f} points."
    )
    assert found[1:] == advice
