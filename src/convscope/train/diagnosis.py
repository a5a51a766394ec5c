"""Too much fitted, too little, or about right, and what to try?

Plain rules over the accuracies of training and validation images, both
measured in evaluation mode without augmentation, and the course of the
validation loss.  S3.17 and S3.21; E3.14: a small gap alone does not mean
underfitting, so the level counts too.
"""

from collections.abc import Sequence

from convscope.core.records import Record

GAP = 0.05
"""Accuracy on training images minus accuracy on validation images from which we speak of overfitting."""
LOW = 0.90
"""Accuracy on training images below which there is more to be learned from them."""
RISE = 1.10
"""Final validation loss over the lowest, from which stopping earlier would have helped."""


def diagnose(train_accuracy: float, val_accuracy: float, history: Sequence[Record]) -> list[str]:
    """What the end of a run suggests, in sentences.

    Args:
        train_accuracy: fraction, on training images, without augmentation.
        val_accuracy: fraction, of the same weights.
        history: the run's validation records, in order.
    """
    gap = train_accuracy - val_accuracy
    seen = (
        f"{train_accuracy:.1%} on training images, {val_accuracy:.1%} on validation images: "
        f"a gap of {100 * gap:.1f} points."
    )
    advice = []
    if gap > GAP:
        advice.append(
            "Overfitting. Try augmentation, more data, a larger --weight-decay, --model.dropout, "
            "a smaller network, or fewer epochs."
        )
    if train_accuracy < LOW:
        advice.append(
            "The training images themselves are not learned: underfitting. Try more epochs, a larger "
            "network, a smaller --weight-decay, less dropout or less augmentation."
        )
    losses = [record["val_loss"] for record in history]
    if losses and losses[-1] > RISE * min(losses):
        best = history[losses.index(min(losses))]
        advice.append(
            f"The validation loss was lowest at epoch {best['epoch']:g} ({min(losses):.3f}) and ended at "
            f"{losses[-1]:.3f}: the network grew surer of its mistakes. Fewer epochs would do."
        )
    if not advice:
        advice.append("Neither over- nor underfitting stands out.")
    return [seen, *advice]
