"""What does the network answer to the labelled images of a split?

Shared by the diagnostics that judge answers, which refuse the same things.

    N  images      K  classes
"""

from __future__ import annotations

import torch
from torch import Tensor

from convscope.core.errors import ConfigError, Diverged
from convscope.data import ImageSet
from convscope.evaluate.predict import logits
from convscope.evaluate.subject import Subject

from .recording import refuse_unlabelled


def answers(subject: Subject, split: str, images: int, what: str) -> tuple[ImageSet, Tensor]:
    """The labelled images of a split, and the network's finite logits for them.

    Args:
        split: val or train.
        images: evenly spread over the split; 0: all.
        what: what needs the labels, for the message.

    Returns:
        The images, and float64 (N, K) on the CPU.

    Raises:
        ConfigError: no images, images without a label, or a network with another number of outputs than classes.
        Diverged: an output that is not finite.
    """
    chosen = subject.images(split, images)
    refuse_unlabelled(chosen, what)
    output = logits(subject.model, chosen, subject.normalise)
    classes = len(chosen.classes)
    if output.ndim != 2 or output.shape[1] != classes:
        raise ConfigError(
            f"{subject.name}: the network gives {' x '.join(map(str, output.shape[1:]))} numbers per image, and there "
            f"are {classes} classes. Give a network with one output per class."
        )
    broken = int((~torch.isfinite(output)).any(1).sum())
    if broken:
        raise Diverged(
            f"{subject.name}: the output is not finite for {broken} of {len(chosen)} images, so they have no answer. "
            f"Look at weights from before the run diverged."
        )
    return chosen, output.double()
