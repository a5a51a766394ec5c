"""What happens when the device has no memory left for a batch?

Without batch norm, the batch is processed in twice as many parts and the sum
of their gradients is the same.  A batch norm would see smaller batches, which
is another training: then the run stops and says so, unless `--accumulate`
allowed it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from convscope.core.errors import NoMemory
from convscope.data.batches import batch_sizes

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
            _refuse_unless_divisible(session, _first_line(error))
        session.parts *= 2


def part_sizes(session: Session, images: int) -> list[int]:
    """The sizes of the parts in which a batch of so many images is processed.

    A batch norm cannot standardise one value per channel, so with one no part has a single image.
    """
    if session.parts == 1:  # nearly always: no look through the network at every step
        return [images]
    size = -(-images // session.parts)
    if _normed(session):
        return batch_sizes(images, max(size, 2))
    return [min(size, images - first) for first in range(0, images, size)]


@contextmanager
def told(session: Session) -> Iterator[None]:
    """Say what has no room where nothing can be done in parts.

    Raises:
        NoMemory: the device's memory ran out.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise NoMemory(
            f"Step {session.step}: {session.batches.device} has no memory for what a step needs besides the network "
            f"({_first_line(error)}). Choose a smaller network, a smaller --batch-size, or an --optimizer that "
            f"remembers less, such as sgd."
        ) from None


def _normed(session: Session) -> bool:
    return any(isinstance(module, _BatchNorm) and module.training for module in session.model.modules())


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _refuse_unless_divisible(session: Session, said: str) -> None:
    size = session.recipe.batch_size
    if _normed(session) and session.recipe.accumulate == 1:
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
