"""What do several predictions say together, and how much should each of them count?

In: the logits of M members for the same N images.  Out: the logarithm of a weighted mean of their
probabilities, and weights that suit given labels.  A member may be a network, or one network that looked
several times.  Everything is computed in float64 and in logarithms: a mean of probabilities that float32
calls 0 would cost an infinite loss.

    M  members      N  images      K  classes
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from convscope.core.errors import ConfigError
from convscope.core.streams import Streams

TOLERANCE = 1e-7
"""How far the loss of fitted weights may be from the least possible one, in nats per image."""
_ROUNDS = 20_000


def mixture(members: Sequence[Tensor], weights: Sequence[float] | Tensor | None = None) -> Tensor:
    """The logarithm of the weighted mean of the members' probabilities.

    Args:
        members: M tensors of logits or log-probabilities, (N, K) each.
        weights: M numbers, none below zero and together 1; absent: all alike.

    Returns:
        Log-probabilities, float64, (N, K).

    Raises:
        ConfigError: no members, shapes that differ, or weights that are no weights.

    Reference:
        S3.89: M = sum of theta_k m_k; averaging the softmax outputs: S3.91.
    """
    logs = _logs(members)
    if weights is None:
        return logs.logsumexp(0) - math.log(len(logs))
    shares = torch.as_tensor(weights, dtype=torch.float64)
    if shares.shape != (len(logs),) or not (shares >= 0).all() or abs(float(shares.sum()) - 1) > 1e-6:
        raise ConfigError(
            f"{len(logs)} members need {len(logs)} weights, none below zero and together 1, not "
            f"{', '.join(f'{share:g}' for share in shares.flatten().tolist())}."
        )
    return (logs + shares.log()[:, None, None]).logsumexp(0)


def fit_weights(members: Sequence[Tensor], labels: Tensor) -> Tensor:
    """The weights with which the mean of the members' probabilities has the least cross-entropy.

    The loss is convex in the weights, so there are no others that are better.  Each round multiplies a
    member's weight by the mean of (its probability of the true class / the mixture's); the largest of those
    factors, minus 1, bounds how much better any weights could be, and at `TOLERANCE` the rounds end.  Members
    that are alike get weights that are alike.

    Args:
        members: M tensors of logits or log-probabilities, (N, K) each.
        labels: int64, (N,), in 0..K-1.

    Returns:
        float64, (M,), none below zero, sum 1.

    Raises:
        ConfigError: shapes that do not fit, images without labels, or logits that are not finite.

    Reference:
        S3.89.  Cover (1984), An Algorithm for Maximizing Expected Log Investment Return, IEEE Transactions on
        Information Theory 30: the rounds, that they converge, and the bound.
        Differs: S3.89 states its inequality for squared errors.  It holds for every convex loss and weights
        that are best for it, since one member alone is one choice of weights; we take the loss the networks
        were trained with.
    """
    logs = _logs(members)
    _check_labels(logs, labels)
    own = logs[:, torch.arange(len(labels)), labels]
    # Only ratios within an image count.  Divided by the best member's, no image is 0 for all members.
    shares = (own - own.amax(0)).exp()
    weights = torch.full((len(logs),), 1 / len(logs), dtype=torch.float64)
    for _ in range(_ROUNDS):
        factors = (shares / (weights @ shares)).mean(1)
        if float(factors.max()) - 1 <= TOLERANCE:
            break
        weights = weights * factors
    return weights / weights.sum()


def cross_fitted(members: Sequence[Tensor], labels: Tensor) -> Tensor:
    """A mixture in which no image is scored with weights that its own label helped to choose.

    The images are parted in two halves by a fixed draw; each half gets the weights fitted on the other.

    Args:
        members: M tensors of logits or log-probabilities, (N, K) each.
        labels: int64, (N,), in 0..K-1.

    Returns:
        Log-probabilities, float64, (N, K), in the order of the images.

    Raises:
        ConfigError: fewer than two images, or as for `fit_weights`.
    """
    logs = _logs(members)
    _check_labels(logs, labels)
    count = len(labels)
    if count < 2:
        raise ConfigError(
            "Weights are fitted on one half of the images and scored on the other: 1 is too few."
        )
    order = torch.from_numpy(Streams(0).generator("split").permutation(count))
    halves = order[: count // 2], order[count // 2 :]
    found = torch.empty_like(logs[0])
    for half, other in (halves, halves[::-1]):
        weights = fit_weights(list(logs[:, other]), labels[other])
        found[half] = mixture(list(logs[:, half]), weights)
    return found


def _logs(members: Sequence[Tensor]) -> Tensor:
    """Log-probabilities of all members, float64, (M, N, K)."""
    shapes = {tuple(member.shape) for member in members}
    if len(shapes) != 1:
        given = " and ".join(map(str, sorted(shapes))) or "none"
        raise ConfigError(f"Members must have predicted the same images and classes; shapes given: {given}.")
    return torch.stack([member.double().log_softmax(1) for member in members])


def _check_labels(logs: Tensor, labels: Tensor) -> None:
    _, count, classes = logs.shape
    if labels.shape != (count,) or count == 0 or int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise ConfigError(
            f"Weights are fitted to labels: {count:,} images need {count:,} labels in 0 to {classes - 1}."
        )
    bad = (~logs.isfinite().all(2)).nonzero()
    if len(bad):
        member, image = bad[0].tolist()
        raise ConfigError(
            f"Member {member + 1} of {len(logs)} gives image {image} an output that is not finite: leave it out."
        )
