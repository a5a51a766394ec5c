"""How much do a network's answers depend on which of its units are there?

Dropout stays on while the network predicts, again and again; everything else, batch norm above all, is as in
evaluation.  Each time another of the networks that share these weights answers: their mean is an ensemble, and
how far they are apart says how sure it is.

    T  samples      N  images      K  classes
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from convscope.compute.fences import seeded
from convscope.core.errors import ConfigError
from convscope.core.streams import Streams
from convscope.data import ImageSet, Normaliser

from .predict import logits


@dataclass(frozen=True, eq=False)
class Sampled:
    """What T networks that share their weights say."""

    samples: int
    """T."""
    logs: Tensor
    """Logarithm of the mean of their probabilities, float64, (N, K)."""
    spread: Tensor
    """Standard deviation, over the T samples, of the probability of the class the mean prefers; (N,)."""
    right: Tensor
    """bool, (N,): the images whose label is the class the mean prefers."""
    correct: tuple[int, ...]
    """How many of the labelled images each sample alone has right, (T,)."""


class _Sampling(nn.Module):
    """A network in evaluation mode, but for its dropout."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.train(False)

    def train(self, mode: bool = True) -> _Sampling:
        super().train(mode)
        for layer in dropouts(self.model):
            layer.training = True
        return self

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.model(images)
        return output


def dropouts(model: nn.Module) -> list[nn.Module]:
    """The layers that drop something in training."""
    return [module for module in model.modules() if isinstance(module, _DropoutNd) and module.p > 0]


def sample_dropout(
    model: nn.Module,
    images: ImageSet,
    normalise: Normaliser,
    *,
    samples: int = 20,
    seed: int = 0,
) -> Sampled:
    """Predict T times with dropout, and once from all of that.

    Sample t is a function of the seed and t: more samples begin with the same ones.  torch's own generators
    and the modes of the model's layers are afterwards as they were.

    Args:
        model: a network with dropout layers (`nn.Dropout` and its relatives; what calls
            `nn.functional.dropout` itself is not seen).
        images: a split of N images.
        normalise: the one the model was trained with.
        samples: T, at least 2.
        seed: of what is dropped.

    Raises:
        ConfigError: nothing is dropped in this network, or fewer than two samples.

    Reference:
        Gal, Ghahramani (2016), Dropout as a Bayesian Approximation, section 4.
        https://arxiv.org/abs/1506.02142
        S3.31: dropout as an ensemble of networks that share weights; that document doubts how far this goes.
    """
    if samples < 2:
        raise ConfigError(
            f"Samples of dropout are compared with each other: 2 are the fewest, not {samples}."
        )
    if not dropouts(model):
        raise ConfigError(
            "This network has no dropout to sample from: every pass would be the same. Train one with "
            "--model.dropout 0.5, for example."
        )
    before = {module: module.training for module in model.modules()}
    try:
        return _sample(_Sampling(model), images, normalise, samples, Streams(seed))
    finally:
        for module, training in before.items():
            module.training = training


def _sample(
    model: nn.Module,
    images: ImageSet,
    normalise: Normaliser,
    samples: int,
    streams: Streams,
) -> Sampled:
    mean, squares, total, correct = torch.zeros(()), torch.zeros(()), torch.zeros(()), []
    for number in range(samples):
        with seeded(streams.torch_seed("dropout", number)):
            logs = logits(model, images, normalise).double().log_softmax(1)
        correct.append(int((logs.argmax(1) == images.labels).sum()))
        total = logs if number == 0 else torch.logaddexp(total, logs)
        # Welford: one pass, and no difference of large squares.
        offset = logs.exp() - mean
        mean = mean + offset / (number + 1)
        squares = squares + offset * (logs.exp() - mean)
    deviations = (squares / (samples - 1)).sqrt()
    preferred = total.argmax(1)
    spread = deviations.gather(1, preferred[:, None])[:, 0]
    logs = total - math.log(samples)
    return Sampled(samples, logs, spread, preferred == images.labels, tuple(correct))
