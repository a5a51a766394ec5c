"""Is weight decay the same as an L2 penalty, and what does an L1 penalty do instead?

Twenty steps on a small logistic regression in float64, with another batch at
each step, so that every optimizer gathers what it gathers.  Once the penalty
is part of the loss and is differentiated with it; once the optimizer is told
to decay.  Both ours, as the package builds them, and torch's classes walk.

    D  weights      N  images of a batch
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.core.config import Choice, Recipe
from convscope.train import optim

from . import Finding
from .numbers import apart, drawn

STEPS = 20
RATE = 0.05
DECAY = 0.1
D, N = 6, 8

Make = Callable[[nn.Parameter, float], torch.optim.Optimizer]
"""An optimizer of one parameter with this much decay."""

COUPLED: dict[str, tuple[Choice, type[torch.optim.Optimizer], dict[str, Any]]] = {
    "plain gradient descent": (Choice(name="sgd", options={"momentum": 0.0}), torch.optim.SGD, {}),
    "momentum": (Choice(name="sgd", options={"momentum": 0.9}), torch.optim.SGD, {"momentum": 0.9}),
    "Nesterov momentum": (
        Choice(name="sgd", options={"momentum": 0.9, "nesterov": True}),
        torch.optim.SGD,
        {"momentum": 0.9, "nesterov": True},
    ),
    "RMSProp": (Choice(name="rmsprop"), torch.optim.RMSprop, {}),
    "Adam": (Choice(name="adam"), torch.optim.Adam, {}),
    "AMSGrad": (Choice(name="adam", options={"amsgrad": True}), torch.optim.Adam, {"amsgrad": True}),
}
"""In words: how the package names it, torch's class and its options."""
ADAPTIVE = ("momentum", "RMSProp", "Adam")
SAME = 1e-12
"""Largest difference of weights of about 1 after 20 steps that is rounding."""


def weight_decay() -> Iterator[Finding]:
    """L2 penalties and weight decay, coupled and beside the gradient; L1 beside L2."""
    yield _printed_update()
    for words in COUPLED:
        yield _penalty_is_coupled_decay(words)
    yield _only_for_plain_descent()
    yield _decoupled_plain()
    for words in ADAPTIVE:
        yield _decoupled(words)
    yield _adamw()
    yield _strength_is_lost()
    yield from _who_selects()


def ours(choice: Choice, decoupled: bool = False) -> Make:
    """As the package builds it."""
    recipe = Recipe(lr=RATE, optimizer=choice, decoupled=decoupled)
    return lambda weight, decay: optim.build(recipe, [optim.Group(("w",), (weight,), decay)])


def theirs(kind: Callable[..., torch.optim.Optimizer], options: dict[str, Any]) -> Make:
    """torch's class."""
    return lambda weight, decay: kind([weight], lr=RATE, weight_decay=decay, **options)


def walk(make: Make, *, decay: float = 0.0, penalty: float = 0.0) -> Tensor:
    """The weights after each step, (STEPS, D), with `decay` in the optimizer and penalty/2 |w|^2 in the loss."""
    weight = nn.Parameter(drawn(1, D))
    optimizer = make(weight, decay)
    found = []
    for batch in drawn(2, STEPS, N, D):
        loss = F.softplus(batch @ weight).mean() + penalty / 2 * (weight * weight).sum()
        (weight.grad,) = torch.autograd.grad(loss, weight)
        optimizer.step()
        found.append(weight.detach().clone())
    return torch.stack(found)


def _printed_update() -> Finding:
    """theta <- (1 - a l) theta - a g, computed by hand beside the optimizer."""
    weight = drawn(1, D)
    found = []
    for batch in drawn(2, STEPS, N, D):
        gradient = batch.T @ torch.sigmoid(batch @ weight) / N
        weight = (1 - RATE * DECAY) * weight - RATE * gradient
        found.append(weight)
    choice, _, _ = COUPLED["plain gradient descent"]
    gap = apart(torch.stack(found), walk(ours(choice), decay=DECAY))
    return Finding(
        "Gradient descent with weight decay is theta <- (1 - alpha lambda) theta - alpha g.",
        "S3.25",
        f"The weights of {STEPS} steps by that line and by the package differ by at most {gap:.1e}.",
        gap < SAME,
    )


def _penalty_gap(words: str) -> tuple[float, float]:
    """How far a penalty in the loss and coupled decay come apart: with our optimizer, with torch's."""
    choice, kind, options = COUPLED[words]
    makes = (ours(choice), theirs(kind, options))
    mine, other = (apart(walk(make, decay=DECAY), walk(make, penalty=DECAY)) for make in makes)
    return mine, other


def _penalty_is_coupled_decay(words: str) -> Finding:
    mine, other = _penalty_gap(words)
    return Finding(
        f"For {words}, `weight_decay` is the same as an L2 penalty in the loss.",
        "S3.26" if words == "plain gradient descent" else "S3.26, E3.6",
        f"The weights of {STEPS} steps differ by at most {mine:.1e} (torch's class: {other:.1e}).",
        max(mine, other) < SAME,
    )


def _only_for_plain_descent() -> Finding:
    others = [words for words in COUPLED if words != "plain gradient descent"]
    gap = max(max(_penalty_gap(words)) for words in others)
    return Finding(
        "`weight_decay` and an L2 penalty are the same for plain gradient descent only.",
        "S3.26 as printed, E3.6",
        f"They are the same for {len(others)} other optimizers ({', '.join(others)}): the largest difference is "
        f"{gap:.1e}, because each adds lambda theta to the gradient before anything else.",
        gap > SAME,
        true=False,
    )


def _decoupled_gap(words: str) -> float:
    choice = COUPLED[words][0]
    return apart(walk(ours(choice, decoupled=True), decay=DECAY), walk(ours(choice), penalty=DECAY))


def _decoupled_plain() -> Finding:
    gap = _decoupled_gap("plain gradient descent")
    return Finding(
        "For plain gradient descent, decay beside the gradient is an L2 penalty too.",
        "S3.25",
        f"The weights of {STEPS} steps differ by at most {gap:.1e}.",
        gap < SAME,
    )


def _decoupled(words: str) -> Finding:
    gap = _decoupled_gap(words)
    return Finding(
        f"For {words}, decay beside the gradient (decoupled) is an L2 penalty.",
        "S3.26, E3.6",
        f"With lambda = {DECAY:g} the weights come {gap:.2g} apart within {STEPS} steps.",
        gap < SAME,
        true=False,
    )


def _adamw() -> Finding:
    adam = walk(ours(COUPLED["Adam"][0], decoupled=True), decay=DECAY)
    adamw = walk(ours(Choice(name="adamw"), decoupled=True), decay=DECAY)
    made = walk(theirs(torch.optim.AdamW, {}), decay=DECAY)
    gap = max(apart(adam, made), apart(adamw, made))
    return Finding(
        "Adam with decay beside the gradient is AdamW.",
        "E3.6; Loshchilov, Hutter (2019)",
        f"`adam` with `decoupled`, `adamw` and torch's AdamW differ by at most {gap:.1e} in {STEPS} steps.",
        gap < SAME,
    )


def _first_step(decay: float, decoupled: bool) -> float:
    """How far Adam moves a weight of 1 whose loss has no slope."""
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = ours(COUPLED["Adam"][0], decoupled)(weight, decay)
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    return float(1 - weight.detach())


def _strength_is_lost() -> Finding:
    """Why it matters which of the two is meant."""
    weak, strong = _first_step(1e-4, decoupled=False), _first_step(1e-1, decoupled=False)
    beside = _first_step(1e-1, decoupled=True)
    return Finding(
        "Under Adam, an L2 penalty shrinks a weight in proportion to lambda.",
        "E3.6",
        f"Where the loss has no slope, lambda = 1e-4 and lambda = 1e-1 both move a weight of 1 by {weak:.4g} and "
        f"{strong:.4g}, the learning rate; decoupled, 1e-1 moves it by {beside:.4g}.",
        abs(strong - 1000 * weak) < 1e-3 * strong,
        true=False,
    )


# L1 beside L2 ------------------------------------------------------------------------------------------------------


def _regression() -> tuple[np.ndarray, np.ndarray]:
    """60 noisy answers of which only 5 of 20 features say anything: (60, 20), (60,)."""
    draw = np.random.Generator(np.random.Philox(key=3))
    features = draw.normal(size=(60, 20))
    truth = np.r_[2.0, -1.5, 1.0, 0.8, -0.6, np.zeros(15)]
    return features, features @ truth + 0.3 * draw.normal(size=60)


def lasso(features: np.ndarray, answers: np.ndarray, strength: float) -> np.ndarray:
    """The minimum of |Xw - y|^2 / (2n) + strength |w|_1, by proximal gradient steps."""
    gram, pull = features.T @ features / len(answers), features.T @ answers / len(answers)
    step = 1 / np.linalg.eigvalsh(gram)[-1]
    weights = np.zeros(len(pull))
    for _ in range(3000):
        moved = weights - step * (gram @ weights - pull)
        weights = np.sign(moved) * np.maximum(np.abs(moved) - step * strength, 0)
    return np.asarray(weights)


def ridge(features: np.ndarray, answers: np.ndarray, strength: float) -> np.ndarray:
    """The minimum of |Xw - y|^2 / (2n) + strength/2 |w|_2^2."""
    gram, pull = features.T @ features / len(answers), features.T @ answers / len(answers)
    return np.asarray(np.linalg.solve(gram + strength * np.eye(len(pull)), pull))


def _who_selects() -> Iterator[Finding]:
    features, answers = _regression()
    strength = 0.2
    first, second = lasso(features, answers, strength), ridge(features, answers, strength)
    # Optimality of the first: the slope is -strength sign(w), and within +-strength where w is 0.
    slope = features.T @ (features @ first - answers) / len(answers)
    wrong = np.where(
        first != 0, np.abs(slope + strength * np.sign(first)), np.maximum(np.abs(slope) - strength, 0)
    )
    zeros, small = int((first == 0).sum()), int((second == 0).sum())
    shown = (
        f"Of 20 weights of a regression with 5 that matter, {zeros} are exactly zero at the minimum with L1 "
        f"(its conditions hold to {wrong.max():.0e}), {small} with L2, whose smallest is {np.abs(second).min():.1e}."
    )
    selects = zeros >= 10 and wrong.max() < 1e-9
    yield Finding("L1 makes a model sparser than L2.", "S1.6", shown, selects and zeros > small)
    yield Finding(
        "L2 selects features, whereas L1 merely shrinks their coefficients.",
        "S1.6 as printed, E1.2",
        shown,
        small > zeros,
        true=False,
    )
