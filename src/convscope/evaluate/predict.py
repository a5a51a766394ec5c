"""What does a network say about images?

Always in float32, whatever precision it was trained in, and always in
evaluation mode, so that an image gets the same answer alone or in company,
today or from the file in another process.

    N  images      C  channels      H, W  pixels      K  classes
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from convscope.data import ImageSet, Normaliser

BATCH = 500


@contextmanager
def in_evaluation_mode(model: nn.Module) -> Iterator[nn.Module]:
    """Lend the model in evaluation mode; every module gets its own mode back."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield model.eval()
    finally:
        for module, training in modes.items():
            module.training = training


def logits(
    model: nn.Module,
    images: ImageSet,
    normalise: Normaliser,
    *,
    batch: int = BATCH,
    check: Callable[[], None] = lambda: None,
) -> Tensor:
    """The network's output for every image of a split, in order.

    Args:
        model: its parameters say on which device the work happens.
        images: a split of N images.
        normalise: the one the model was trained with.
        batch: images at a time; the result differs at most in rounding.
        check: called before each batch; may raise to stop early.

    Returns:
        float32, (N, K), on the CPU.
    """
    device = next(model.parameters()).device
    found = []
    with in_evaluation_mode(model), torch.no_grad(), torch.autocast(device.type, enabled=False):
        for part in torch.split(torch.arange(len(images)), batch):
            check()
            found.append(model(normalise(images.batch(part).to(device))).float().cpu())
    return torch.cat(found)
