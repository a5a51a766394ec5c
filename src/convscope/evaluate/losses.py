"""What does one image cost?

Functions of logits and shares that return one value per image; how images are
put together is not said here (train/objective.py).  The shares of an image say
how much of it belongs to each class, and add up to one: one-hot for a label,
anything for an image mixed from several.

All four are means over the classes, or a sum whose weights add up to one, so
none grows with their number; their sizes and slopes differ all the same, so a
learning rate found for one is not right for another.

    n  images      K  classes
"""

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from convscope.core.catalog import Off


def cross_entropy(
    logits: Tensor, shares: Tensor, smoothing: Annotated[float, Field(ge=0, lt=1), Off(0.0)] = 0.0
) -> Tensor:
    """-log softmax(logits), averaged over the classes with the shares as weights.

    Args:
        logits: (n, K), before any softmax.
        shares: (n, K), of each image's classes; a row adds up to one.
        smoothing: s in [0, 1): the shares are replaced by (1 - s) shares + s/K; 0 is off.

    Returns:
        (n,), in nats.  ln K at equal logits, whatever the shares; without smoothing 0 where a one-hot row is
        predicted for certain, otherwise never below the entropy of the (smoothed) shares.

    Reference:
        S1.24, S4.3.  The value at uniform prediction is ln K per image, without any sum (E1.6).
        Smoothing: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna (2016), Rethinking the Inception Architecture,
        section 7; torch's `label_smoothing`.
    """
    return F.cross_entropy(logits, shares, reduction="none", label_smoothing=smoothing)


def mse(logits: Tensor, shares: Tensor) -> Tensor:
    """Squared distance of the logits, without any softmax, to the shares, averaged over the classes.

    Args:
        logits: (n, K), here predictions of the shares themselves.
        shares: (n, K), of each image's classes; a row adds up to one.

    Returns:
        (n,); 1/K for a network that answers zero everywhere and an image of one class.

    Reference:
        S2.16, S4.8: on one-hot targets, with 1/n over all their elements, which is torch's MSELoss.
        Hui, Belkin (2021), Evaluation of Neural Architectures Trained with Square Loss, find the output
        without softmax as good as cross-entropy.
        Differs: their rescaling of the true class for many classes is left out.
    """
    return F.mse_loss(logits, shares, reduction="none").mean(1)


def bce(logits: Tensor, shares: Tensor) -> Tensor:
    """-(y log p + (1 - y) log(1 - p)) with p = sigmoid(logit) and y the share, averaged over the classes.

    Each class is a question of its own; that an image has one class is not used.

    Args:
        logits: (n, K), before any sigmoid: log(1 - p) would be lost to rounding at p near 1.
        shares: (n, K), of each image's classes; a row adds up to one.

    Returns:
        (n,), in nats; ln 2 where all logits are 0.

    Reference:
        S4.8, of one output; torch's BCEWithLogitsLoss.
    """
    return F.binary_cross_entropy_with_logits(logits, shares, reduction="none").mean(1)


def l1(logits: Tensor, shares: Tensor) -> Tensor:
    """Absolute distance of the logits, without any softmax, to the shares, averaged over the classes.

    Meant for comparison: of all constant predictions zero for every class costs least as long as no class
    has half of the images, and a network may well stay there.

    Args:
        logits: (n, K), here predictions of the shares themselves.
        shares: (n, K), of each image's classes; a row adds up to one.

    Returns:
        (n,); 1/K for a network that answers zero everywhere and an image of one class.

    Reference:
        S4.8, on one-hot targets; torch's L1Loss.
        Differs: S4.8 prints a sum, which is K times as large.
    """
    return F.l1_loss(logits, shares, reduction="none").mean(1)
