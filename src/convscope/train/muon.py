"""How does a convolution take a step of the same size in every direction?

Muon replaces the momentum of a filter bank by the nearest matrix whose
singular values are all about 1.  Directions that the gradient hardly shows
are learned as fast as those it shows strongly, which saves a third of the
epochs of ResNet-20 (results/foundation.md).  Everything that is not a
convolution weight takes steps of gradient descent with Nesterov momentum.

    O  filters      I  input channels      K  height and width of a filter
"""

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

Fraction = Annotated[float, Field(ge=0, lt=1)]

# Quintic that lifts every singular value in (0, 1] to between about 0.7 and 1.2 in three rounds;
# it does not converge to 1, and need not.
A, B, C = 3.4445, -4.7750, 2.0315
ROUNDS = 3


def muon(
    groups: list[dict[str, Any]],
    lr: float,
    momentum: Fraction = 0.6,
    others_lr: Annotated[float, Field(gt=0)] = 1.6,
    others_momentum: Fraction = 0.9,
    fix_norm: bool = True,
) -> torch.optim.Optimizer:
    """Orthogonalised momentum for convolutions, gradient descent with Nesterov momentum for the rest.

    Args:
        groups: tables with `params` and `weight_decay`.
        lr: length of a convolution's step: every singular value of the step is about lr.
        momentum: of convolutions.
        others_lr: learning rate of everything else, as a multiple of lr.
        others_momentum: of everything else.
        fix_norm: keep each filter bank at Frobenius norm sqrt(O). Only for networks that standardise what
            a convolution puts out, where the norm has no effect; weight decay then has none either.  Without
            it, convolutions decay beside the step, by lr x weight_decay, and the rest in the gradient.

    Reference:
        Jordan et al. (2024), Muon; the recipe of airbench94_muon for keeping norms fixed.
        Differs: computed in float32, one matrix after the other.  torch.optim.Muon takes matrices only.
    """
    options = {
        "momentum": momentum,
        "others_lr": others_lr,
        "others_momentum": others_momentum,
        "fix_norm": fix_norm,
    }
    return Muon(groups, {"lr": lr, "weight_decay": 0.0, **options})


class Muon(torch.optim.Optimizer):
    """See `muon`."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if parameter.ndim == 4:
                    self._convolution(parameter, group)
                else:
                    self._other(parameter, group)

    def keeps_norm(self, parameter: Tensor) -> bool:
        """Whether a parameter's norm is what it is whatever decays."""
        return parameter.ndim == 4 and bool(self.defaults["fix_norm"])

    def _nesterov(self, parameter: Tensor, gradient: Tensor, momentum: float) -> Tensor:
        """v <- momentum v + g; returns g + momentum v."""
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        buffer.mul_(momentum).add_(gradient)
        return gradient.add(buffer, alpha=momentum)

    def _convolution(self, parameter: Tensor, group: dict[str, Any]) -> None:
        direction = self._nesterov(parameter, parameter.grad, group["momentum"])  # type: ignore[arg-type]
        if group["fix_norm"]:
            parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
        else:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
        step = orthogonalised(direction.flatten(1)).view(parameter.shape)
        parameter.add_(step, alpha=-group["lr"])

    def _other(self, parameter: Tensor, group: dict[str, Any]) -> None:
        gradient = parameter.grad.add(parameter, alpha=group["weight_decay"])  # type: ignore[union-attr]
        step = self._nesterov(parameter, gradient, group["others_momentum"])
        parameter.add_(step, alpha=-group["lr"] * group["others_lr"])


def orthogonalised(matrix: Tensor) -> Tensor:
    """The same singular vectors, singular values of about 1.  (O, I K K) -> (O, I K K).

    Newton-Schulz iteration in three rounds; the matrix is scaled by its norm first.
    """
    found = matrix / (matrix.norm() + 1e-7)
    tall = len(found) > found.shape[1]
    if tall:
        found = found.T
    for _ in range(ROUNDS):
        gram = found @ found.T
        found = A * found + (B * gram + C * gram @ gram) @ found
    result: Tensor = found.T if tall else found
    return result
