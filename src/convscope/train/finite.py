"""Where did a number stop being one?

A loss or gradient that is not finite ends the run in the step in which it
appears, before it reaches the weights: with the step, the first layer that
is not finite, and the learning rate.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from convscope.core.errors import Diverged

if TYPE_CHECKING:
    from .loop import Session


def stop_unless_finite(session: Session, loss: float, images: Tensor) -> None:
    """Look at the loss, all gradients and all weights: one norm over them costs under 1 % of a step.

    The weights too, because ReLU hides a bias of minus infinity from the loss.

    Args:
        session: after the backward pass and before the update.
        loss: of this step.
        images: (n, C, H, W), the input of this step, to find the layer.

    Raises:
        Diverged: something is not finite.
    """
    weights = [parameter.detach() for parameter in session.model.parameters()]
    gradients = [p.grad for p in session.model.parameters() if p.grad is not None]
    norm = float(torch.nn.utils.get_total_norm([*weights, *gradients], foreach=True))
    # The sum of squares overflows from 2e19 on, which is no fault yet.
    finite = math.isfinite(norm) or all(bool(torch.isfinite(t).all()) for t in (*weights, *gradients))
    if math.isfinite(loss) and finite:
        return
    raise Diverged(
        f"Step {session.step} (epoch {session.epoch:.2f}): the loss is {loss:g}; "
        f"{_culprit(session.model, images)}. The learning rate is {session.rate():g}. "
        f"Nothing that is not finite was written. Try a smaller --lr, a longer --warmup, or --model.norm batch."
    )


def _culprit(model: nn.Module, images: Tensor) -> str:
    """The first thing that is not finite: a weight, a layer's output, or a gradient."""
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            return f"the weight {name} is not finite"
    layer = first_bad_output(model, images)
    if layer:
        return f"the first output that is not finite is that of {layer}"
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            return f"the gradient of {name} is not finite"
    return "every weight, output and gradient is finite, only the loss is not"


def first_bad_output(model: nn.Module, images: Tensor) -> str | None:
    """The first leaf module, in the order of the forward pass, whose output is not finite."""
    found: list[str] = []

    def look(name: str) -> object:
        def hook(module: nn.Module, given: object, output: Tensor) -> None:
            if not found and not bool(torch.isfinite(output).all()):
                found.append(name)

        return hook

    handles = [
        module.register_forward_hook(look(name))
        for name, module in model.named_modules()
        if not list(module.children())
    ]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def first_bad_tensor(tensors: dict[str, Tensor]) -> str | None:
    """The name of the first tensor that holds a value that is not finite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            return name
    return None
