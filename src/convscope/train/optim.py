"""What turns gradients into steps, and which parameters decay?

An optimizer is a function of parameter groups, the learning rate and its own
options; the loop sets the rate before every step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from convscope.core import catalog
from convscope.core.config import Recipe

Fraction = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class Group:
    """Parameters that share a weight decay."""

    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]
    weight_decay: float

    def __str__(self) -> str:
        numbers = sum(parameter.numel() for parameter in self.parameters)
        shown = ", ".join(self.names[:3]) + (", ..." if len(self.names) > 3 else "")
        amount = f"{self.weight_decay:g}" if self.weight_decay else "none"
        return f"{amount} on {numbers:,} numbers in {len(self.names)} tensors ({shown})"


def groups(model: nn.Module, recipe: Recipe) -> list[Group]:
    """The parameters, split by whether they decay; a group without members is left out.

    With `decay = "weights"` the weights of convolutions and linear layers decay, which have two axes or
    more; biases and the scales and shifts of norms, which have one, do not.  Which parameters decay is the
    question users ask most often of other tools, so the answer is printed before every run.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decays = [recipe.decay == "all" or parameter.ndim > 1 for _, parameter in named]
    found = []
    for wanted, amount in ((True, recipe.weight_decay), (False, 0.0)):
        members = [pair for pair, decay in zip(named, decays, strict=True) if decay == wanted]
        if members:
            found.append(Group(tuple(n for n, _ in members), tuple(p for _, p in members), amount))
    return found


def build(recipe: Recipe, parameter_groups: Sequence[Group]) -> torch.optim.Optimizer:
    """The recipe's optimizer over these groups."""
    tables = [{"params": list(g.parameters), "weight_decay": g.weight_decay} for g in parameter_groups]
    optimizer: torch.optim.Optimizer = catalog.call(
        "optimizers", recipe.optimizer.name, recipe.optimizer.options, groups=tables, lr=recipe.lr
    )
    return optimizer


def sgd(
    groups: list[dict[str, Any]], lr: float, momentum: Fraction = 0.9, nesterov: bool = False
) -> torch.optim.Optimizer:
    """Gradient descent with momentum: v <- momentum v + g; weight <- weight - lr v.

    With `nesterov`, the step is g + momentum v instead of v.  The decay is added to g first, so it equals
    an L2 penalty exactly (E3.6).

    Reference:
        S3.54; Sutskever, Martens, Dahl, Hinton (2013), On the importance of initialization and momentum.
        Differs: the rate multiplies v, as in torch, not the gradient that enters v.
    """
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov and momentum > 0, foreach=True)


def adam(
    groups: list[dict[str, Any]],
    lr: float,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    eps: Annotated[float, Field(gt=0)] = 1e-8,
) -> torch.optim.Optimizer:
    """Steps scaled by running estimates of the gradient's mean and its mean square.

    Reference:
        S3.57; Kingma, Ba (2015), Adam, algorithm 1.
        Differs: eps stands outside the square root, as in torch (E3.10).
    """
    return torch.optim.Adam(groups, lr=lr, betas=(beta1, beta2), eps=eps, foreach=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
