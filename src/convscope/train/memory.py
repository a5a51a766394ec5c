"""What happens when the device has no memory left for a batch?

Without batch norm, the batch is processed in twice as many parts and the sum
of their gradients is the same.  A batch norm would see smaller batches, which
is another training: then the run stops and says so, unless `--accumulate`
allowed it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from convscope.core.errors import NoMemory

if TYPE_CHECKING:
    from .loop import Session

T = TypeVar("T")


def sparing(session: Session, work: Callable[[], T]) -> T:
    """Do the work; while memory runs out, in twice as many parts.

    Args:
        session: its `parts` is raised, for all later steps too.
        work: leaves nothing behind when it fails and starts over when it is called again.

    Raises:
        NoMemory: one image alone does not fit, or the parts would change what a norm sees.
    """
    while True:
        try:
            return work()
        except torch.OutOfMemoryError as error:
            _refuse_unless_divisible(session, str(error))
        session.parts *= 2


def _refuse_unless_divisible(session: Session, reason: str) -> None:
    size, said = session.recipe.batch_size, reason.partition("\n")[0]
    normed = any(isinstance(module, _BatchNorm) and module.training for module in session.model.modules())
    if normed and session.recipe.accumulate == 1:
        raise NoMemory(
            f"Step {session.step}: {session.batches.device} has no memory for a batch of {size} images ({said}). "
            f"The network's batch norms see a whole batch at a time, so processing it in parts is another "
            f"training: allow it with --accumulate 2, or choose a smaller --batch-size."
        )
    if session.parts >= size:
        raise NoMemory(
            f"Step {session.step}: {session.batches.device} has no memory for a single image ({said}). Choose a "
            f"smaller network or smaller images (--size)."
        )
