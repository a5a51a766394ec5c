"""What must be kept so that a run continues as if it had never stopped?

Weights and buffers, their average, the optimizer's state, and a few numbers: the step, the
best so far, the running sums.  No random state: every draw is a function of
seed, purpose and step.
"""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from convscope.core.errors import DamagedFile, Diverged
from convscope.core.records import RunPaths, rewind
from convscope.core.snapshot import Snapshot, keep, keep_newest, manifests, save, step_of
from convscope.evaluate.runs import load_tensors, model_tensors, plain_name, tensors_of

from .finite import first_bad_tensor
from .loop import Session, Tally

KEPT = 2
"""Checkpoints kept: if the newest is damaged, the one before it is there."""


def session_tensors(session: Session) -> dict[str, Tensor]:
    """All tensors of a run, as `model/NAME`, `ema/NAME` and `optimizer/NAME/KEY`."""
    found = {f"model/{name}": tensor for name, tensor in model_tensors(session.model).items()}
    if session.ema:
        found |= {f"ema/{name}": tensor for name, tensor in model_tensors(session.ema.model).items()}
    for name, parameter in session.model.named_parameters():
        for key, value in session.optimizer.state.get(parameter, {}).items():
            if value is not None:
                found[f"optimizer/{plain_name(name)}/{key}"] = value
    return found


def write_checkpoint(session: Session, paths: RunPaths, card: dict[str, Any]) -> None:
    """Commit the state at this moment; the older of two earlier checkpoints goes once the new one is safe.

    Raises:
        Diverged: something to be written is not finite; nothing is written.
        NoSpace: the disk is full; the earlier checkpoints are intact.
    """
    tensors = session_tensors(session)
    refuse_unless_finite(tensors, session.step)
    state = {
        "card": card,
        "tally": asdict(session.tally),
        "best": session.best,
        "seconds": session.seconds,
        "parts": session.parts,
    }
    save(paths.checkpoints, session.step, tensors, state)
    keep_newest(paths.checkpoints, KEPT)
    keep_best(session, paths)


def keep_best(session: Session, paths: RunPaths) -> None:
    """Drop the weights that were the best once; only when a checkpoint that knows the new best is safe."""
    best = session.best["step"] if session.best else None
    keep(paths.best, lambda step: step == best)


def write_best(session: Session, paths: RunPaths, card: dict[str, Any]) -> None:
    """Commit the weights that are the best so far.

    Raises:
        Diverged, NoSpace: as for a checkpoint.
    """
    tensors = {f"model/{name}": tensor for name, tensor in model_tensors(session.shown).items()}
    refuse_unless_finite(tensors, session.step)
    save(paths.best, session.step, tensors, {"card": card})


def refuse_unless_finite(tensors: dict[str, Tensor], step: int) -> None:
    """No checkpoint ever holds a value that is not finite."""
    bad = first_bad_tensor(tensors)
    if bad:
        raise Diverged(
            f"Step {step}: {bad} is not finite, so no checkpoint was written; the one before is intact. "
            f"Try a smaller --lr or a longer --warmup."
        )


def restore(session: Session, found: Snapshot, paths: RunPaths) -> None:
    """Put a run back into the state of a checkpoint, and its directory too.

    Lines of metrics and best weights written after the checkpoint go: the run will write them again.

    Raises:
        DamagedFile: the tensors do not fit the network or the optimizer.
    """
    load_tensors(session.model, tensors_of(found, "model"), str(found.path))
    if session.ema:
        load_tensors(session.ema.model, tensors_of(found, "ema"), str(found.path))
    saved = tensors_of(found, "optimizer")
    parameters = {plain_name(name): parameter for name, parameter in session.model.named_parameters()}
    for full_name, tensor in saved.items():
        name, _, key = full_name.rpartition("/")
        if name not in parameters:
            raise DamagedFile(
                f"{found.path} holds optimizer state of {name}, which the network does not have."
            )
        value = tensor if tensor.ndim == 0 else _like(parameters[name], tensor)
        session.optimizer.state[parameters[name]][key] = value
    state = found.state
    session.step = found.step
    session.tally = Tally(**state["tally"])
    session.best = state["best"]
    session.seconds = state["seconds"]
    session.parts = state.get("parts", 1)
    rewind(paths.metrics, session.step)
    rewind(paths.inspections, session.step)
    keep(paths.best, lambda step: step < session.step)
    kept = {step_of(path) for path in manifests(paths.best)}
    if session.best and session.best["step"] not in kept:
        # A damaged newer checkpoint had replaced these weights by better ones, which the run will meet again.
        session.best = None


def _like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """The tensor on the parameter's device and in its memory order, as the optimizer had made it."""
    return torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
