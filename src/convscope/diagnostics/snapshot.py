"""What are the weights at this moment?

Attached to a run (`train --inspect snapshot:every=...`), it keeps what the
trajectory of a landscape is drawn from; four bytes a parameter and moment.

    P  parameters      L  tensors of them
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from convscope.core.errors import ConfigError, DamagedFile, DataMissing
from convscope.evaluate.subject import Result, Subject

from .weightspace import flat, unflat


@dataclass(frozen=True)
class Snapshot(Result):
    """The parameters of a network."""

    name: str
    """The network and its data."""
    parameters: np.ndarray
    """(L,): the names of the tensors, in the order of the network."""
    sizes: np.ndarray
    """int64, (L,): how many numbers each has; adds up to P."""
    weights: np.ndarray
    """float32, (P,): all numbers, one tensor after the other."""
    norm: float
    """Length of the vector of all numbers."""

    @property
    def sentence(self) -> str:
        """How many numbers there are, and how long their vector is."""
        return (
            f"{self.name}: {len(self.weights):,} parameters in {len(self.sizes)} tensors, together a vector of "
            f"length {self.norm:.4g}."
        )


def snapshot(*, subject: Subject) -> Snapshot:
    """The weights as they are.

    Args:
        subject: the network.
    """
    named = dict(subject.model.named_parameters())
    weights = flat([p.detach().float().cpu() for p in named.values()]).numpy()
    return Snapshot(
        name=subject.name,
        parameters=np.array(list(named)),
        sizes=np.array([p.numel() for p in named.values()], dtype=np.int64),
        weights=weights,
        norm=math.sqrt(float(np.square(weights, dtype=np.float64).sum())),
    )


def read_snapshots(folder: Path, model: nn.Module) -> list[dict[str, Tensor]]:
    """The parameters at each moment kept in a folder, in the order of the file names, shaped like the network's.

    Raises:
        DataMissing: there is no snapshot.
        DamagedFile: a file that is none.
        ConfigError: of another network.
    """
    paths = sorted(folder.glob("snapshot-*.npz"))
    if not paths:
        raise DataMissing(
            f"There is no snapshot of the weights in {folder}. Train with --inspect snapshot:every=..., or name "
            f"the folder where they are, snapshots=PATH."
        )
    return [_read(path, model) for path in paths]


def _read(path: Path, model: nn.Module) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as kept:
            names, sizes, weights = (kept[key] for key in ("parameters", "sizes", "weights"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DamagedFile(f"{path} is not a snapshot of weights: {error}.") from None
    own = dict(model.named_parameters())
    fits = names.tolist() == list(own) and sizes.tolist() == [p.numel() for p in own.values()]
    if not fits or len(weights) != sum(sizes.tolist()):
        raise ConfigError(
            f"{path} holds the weights of another network: {len(names)} tensors with {len(weights):,} numbers, "
            f"while this one has {len(own)} with {sum(p.numel() for p in own.values()):,}, or other names."
        )
    return dict(zip(own, unflat(torch.from_numpy(weights), list(own.values())), strict=True))
