"""Networks whose answers are written into the images, for tests of what is made of answers."""

from typing import Any

import numpy as np
import torch
from torch import nn

from convscope.data import Data, ImageSet, Normaliser
from convscope.data.images import Sealed
from convscope.evaluate.subject import Subject, subject_of

CLASSES = ("ant", "bee", "cow")


def seen(
    labels: Any,
    logits: Any,
    *,
    classes: tuple[str, ...] = CLASSES,
    files: tuple[str, ...] = (),
    hash: str = "h",
) -> Subject:
    """A network that answers with an image's pixels: image n of K channels, 1x1, has the logits (K,)."""
    pixels = torch.tensor(np.asarray(logits), dtype=torch.uint8)[:, :, None, None]
    # Stored backwards, so that a row of the store is not a position in the split.
    rows = torch.arange(len(pixels)).flip(0)
    images = ImageSet(pixels.flip(0), rows, torch.tensor(np.asarray(labels)), classes, files)
    channels = pixels.shape[1]
    data = Data("insects", classes, images, images, Sealed(0, lambda: images), (0.0,), (1.0,), hash)
    linear = nn.Linear(channels, channels)
    with torch.no_grad():
        linear.weight.copy_(torch.eye(channels))
        linear.bias.copy_(torch.zeros(channels))
    model = nn.Sequential(nn.Flatten(), linear)
    return subject_of(model, data, Normaliser((0.0,) * channels, (1 / 255,) * channels), "a net on insects")


def told(counts: Any, **more: Any) -> Subject:
    """A network that confuses exactly so; the n-th image of a cell is n + 1 logits surer than a tie."""
    labels, logits = [], []
    for (i, j), count in np.ndenumerate(np.asarray(counts)):
        for n in range(int(count)):
            labels.append(i)
            logits.append([n + 1 if k == j else 0 for k in range(len(counts))])
    return seen(labels, logits, **more)
