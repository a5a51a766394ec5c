"""What turns gradients into steps, and which parameters decay?

An optimizer is a function of parameter groups, the learning rate and its own
options; the loop sets the rate before every step.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from convscope.core import catalog
from convscope.core.catalog import Off
from convscope.core.config import Recipe
from convscope.core.errors import ConfigError

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Group:
    """Parameters that share a weight decay and a learning rate."""

    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]
    weight_decay: float
    share: float = 1.0
    """Their learning rate, as a multiple of the run's."""

    def __str__(self) -> str:
        numbers = sum(parameter.numel() for parameter in self.parameters)
        shown = ", ".join(self.names[:3]) + (", ..." if len(self.names) > 3 else "")
        amount = f"{self.weight_decay:g}" if self.weight_decay else "none"
        tensors = f"{len(self.names)} tensor{'s' if len(self.names) > 1 else ''}"
        return f"{amount} on {numbers:,} numbers in {tensors} ({shown})"


def groups(model: nn.Module, recipe: Recipe, body: Collection[str] = ()) -> list[Group]:
    """The parameters, split by whether they decay and how fast they learn; a group without members is left out.

    With `decay = "weights"` the weights of convolutions and linear layers decay, which have two axes or
    more; biases and the scales and shifts of norms, which have one, do not.  Which parameters decay is the
    question users ask most often of other tools, so the answer is printed before every run.

    Args:
        model: what of it learns is taken.
        recipe: its `weight_decay`, `decay` and `body_lr` count.
        body: names of the parameters that learn at `body_lr` times the rate.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decay = {name for name, _ in decaying(model, recipe)}
    slow = set(body) if recipe.body_lr != 1 else set()
    found = []
    for wanted, amount in ((True, recipe.weight_decay), (False, 0.0)):
        for slowed, share in ((False, 1.0), (True, recipe.body_lr)):
            members = [pair for pair in named if (pair[0] in decay, pair[0] in slow) == (wanted, slowed)]
            if members:
                found.append(Group(tuple(n for n, _ in members), tuple(p for _, p in members), amount, share))
    return found


def acting(parameter_groups: Sequence[Group], optimizer: torch.optim.Optimizer) -> list[Group]:
    """The groups by what decay does in the end: none to a parameter whose norm the optimizer keeps fixed."""
    keeps_norm = getattr(optimizer, "keeps_norm", lambda parameter: False)
    members = [
        (name, parameter, 0.0 if keeps_norm(parameter) else group.weight_decay)
        for group in parameter_groups
        for name, parameter in zip(group.names, group.parameters, strict=True)
    ]
    found = []
    for amount in sorted({amount for _, _, amount in members}, reverse=True):
        names, parameters, _ = zip(*(member for member in members if member[2] == amount), strict=True)
        found.append(Group(names, parameters, amount))
    return found


def decaying(model: nn.Module, recipe: Recipe) -> list[tuple[str, nn.Parameter]]:
    """The parameters that learn and decay, by name."""
    return [
        (name, parameter)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and (recipe.decay == "all" or parameter.ndim > 1)
    ]


def build(recipe: Recipe, parameter_groups: Sequence[Group]) -> torch.optim.Optimizer:
    """The recipe's optimizer over these groups, which clips and decays before each of its steps if asked to.

    Raises:
        ConfigError: there is nothing to learn.
    """
    if not parameter_groups:
        raise ConfigError("Every parameter of the network is frozen, so there is nothing to train.")
    coupled = 0.0 if recipe.decoupled else 1.0
    tables = [
        {
            "params": list(g.parameters),
            "weight_decay": coupled * g.weight_decay,
            "decoupled": g.weight_decay,
            "share": g.share,
        }
        for g in parameter_groups
    ]
    optimizer: torch.optim.Optimizer = catalog.call(
        "optimizers", recipe.optimizer.name, recipe.optimizer.options, groups=tables, lr=recipe.lr
    )
    if recipe.clip:
        optimizer.register_step_pre_hook(partial(_clip, norm=recipe.clip))
    if recipe.decoupled:
        optimizer.register_step_pre_hook(_decay)
    return optimizer


def _clip(optimizer: torch.optim.Optimizer, *_: Any, norm: float) -> None:
    """Scale the gradient of all parameters together down to this Euclidean norm, if it is longer.

    Reference:
        Pascanu, Mikolov, Bengio (2013), On the Difficulty of Training Recurrent Neural Networks, algorithm 1.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    nn.utils.clip_grad_norm_(parameters, norm, foreach=True)


@torch.no_grad()
def _decay(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """weight <- (1 - lr x weight_decay) weight, before the step; what is frozen at the moment stays.

    Reference:
        Loshchilov, Hutter (2019), Decoupled Weight Decay Regularization, algorithm 1, in AdamW's form.
    """
    for group in optimizer.param_groups:
        learning = [parameter for parameter in group["params"] if parameter.requires_grad]
        if group["decoupled"] and learning:
            torch._foreach_mul_(learning, 1 - group["lr"] * group["decoupled"])


def sgd(
    groups: list[dict[str, Any]], lr: float, momentum: Fraction = 0.9, nesterov: bool = False
) -> torch.optim.Optimizer:
    """Gradient descent with momentum: v <- momentum v + g; weight <- weight - lr v.

    With `nesterov`, the step is g + momentum v instead of v.  The decay is added to g first, so it equals
    an L2 penalty exactly (E3.6).

    Args:
        groups: tables with `params` and `weight_decay`.
        lr: of the first step; the loop sets it before each.
        momentum: share of v that is kept; 0 is plain gradient descent.
        nesterov: look ahead, by the step above; without momentum it changes nothing.

    Reference:
        S3.54; Sutskever, Martens, Dahl, Hinton (2013), On the importance of initialization and momentum.
        Differs: the rate multiplies v, as in torch, not the gradient that enters v.
    """
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov and momentum > 0, foreach=True)


def rmsprop(
    groups: list[dict[str, Any]],
    lr: float,
    beta2: Fraction = 0.99,
    eps: Positive = 1e-8,
    momentum: Fraction = 0.0,
) -> torch.optim.Optimizer:
    """Steps divided by a running root mean square of the gradient.

    m <- beta2 m + (1 - beta2) g^2; weight <- weight - lr g / (sqrt(m) + eps).  With `momentum`, the quotient
    is collected as in `sgd` before it is multiplied by lr.  Nothing corrects that m starts at zero: the first
    step is lr/sqrt(1 - beta2), ten times the rate, so begin with a warm-up.

    Args:
        groups: tables with `params` and `weight_decay`.
        lr: of the first step; the loop sets it before each.
        beta2: share of the old in the running mean of the squared gradient; alpha in torch.
        eps: added to the root of that mean.
        momentum: share of the collected quotient that is kept; 0 is none.

    Reference:
        S3.56; Tieleman, Hinton (2012), lecture 6.5.
        Differs: eps stands outside the square root, as in torch (E3.10).  Where sqrt(m) is 1e-4, the form
        printed with eps = 1e-8 inside takes 0.71 of our step; where it is 1e-2 or more, they agree to 5e-5.
    """
    return torch.optim.RMSprop(groups, lr=lr, alpha=beta2, eps=eps, momentum=momentum, foreach=True)


def adam(
    groups: list[dict[str, Any]],
    lr: float,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    eps: Positive = 1e-8,
    amsgrad: Annotated[bool, Off(False)] = False,
) -> torch.optim.Optimizer:
    """Steps scaled by running estimates of the gradient's mean and its mean square.

    Both estimates start at zero and are divided by what a constant gradient would have made of them
    (S3.58), so the first step has the length lr.  With `amsgrad`, the largest mean square so far is taken
    instead of the present one.

    Args:
        groups: tables with `params` and `weight_decay`.
        lr: of the first step; the loop sets it before each.
        beta1: share of the old in the running mean of the gradient.
        beta2: share of the old in the running mean of its square.
        eps: added to the root of the mean square.
        amsgrad: never let the mean square that divides a step become smaller.

    Reference:
        S3.57; Kingma, Ba (2015), Adam, algorithm 1.
        S3.59; Reddi, Kale, Kumar (2018), On the Convergence of Adam and Beyond, algorithm 2.
        Differs: eps stands outside the square root, as in the paper and in torch (E3.10).  At gradients of
        1e-4 the form printed in the lecture, eps = 1e-8 inside, takes 0.71 of our step; at 1e-2 and above
        they agree to 5e-5.  AMSGrad's largest value is corrected for the start too, as in torch.
    """
    return torch.optim.Adam(groups, lr=lr, betas=(beta1, beta2), eps=eps, amsgrad=amsgrad, foreach=True)


def adamw(
    groups: list[dict[str, Any]],
    lr: float,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    eps: Positive = 1e-8,
) -> torch.optim.Optimizer:
    """Adam whose weight decay stands beside the gradient, so no running estimate sees it.

    weight <- (1 - lr weight_decay) weight, then Adam's step on g alone.  The same as `adam` with `decoupled`.

    Args:
        groups: tables with `params` and `weight_decay`.
        lr: of the first step; the loop sets it before each.
        beta1: share of the old in the running mean of the gradient.
        beta2: share of the old in the running mean of its square.
        eps: added to the root of the mean square.

    Reference:
        Loshchilov, Hutter (2019), Decoupled Weight Decay Regularization, algorithm 2.
        Differs: the decay is multiplied by the learning rate too, as in torch.
    """
    return torch.optim.AdamW(groups, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=0.0, foreach=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group: its share of the run's."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("share", 1.0)
