"""What is in a run's directory, as something to work with?

`open_run` reads; it never writes and never locks, so a run can be opened
while it trains.  Everything needed to use the weights elsewhere (classes,
input size, normalisation) lies in the snapshot beside them, the card.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from convscope.core import config as configs
from convscope.core import records, snapshot
from convscope.core.config import RunConfig
from convscope.core.errors import ClassMismatch, ConfigError, DamagedFile, DataMissing
from convscope.core.intervals import wilson
from convscope.core.records import Claim, Record, RunPaths
from convscope.data import Data, Normaliser, load_config
from convscope.models import build

Which = Literal["best", "last"]


@dataclass(frozen=True)
class Card:
    """What a set of weights needs to be used: written into every snapshot."""

    model: dict[str, Any]
    """The model's name and all its options."""
    classes: tuple[str, ...]
    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    data: dict[str, Any]
    """The kind of source, its content hash, and how images were brought to one size."""
    versions: dict[str, str]

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Card:
        """The card a snapshot carries.

        Raises:
            DamagedFile: it lacks something.
        """
        try:
            return cls(
                **{
                    **table,
                    "classes": tuple(table["classes"]),
                    "mean": tuple(table["mean"]),
                    "std": tuple(table["std"]),
                }
            )
        except (KeyError, TypeError) as error:
            raise DamagedFile(f"The snapshot's card is not complete: {error}.") from None

    @property
    def normalise(self) -> Normaliser:
        """Pixels to the input these weights were trained on."""
        return Normaliser(self.mean, self.std)

    def network(self) -> nn.Module:
        """The network, freshly initialised."""
        options = {key: value for key, value in self.model.items() if key != "name"}
        return build(
            self.model["name"],
            classes=len(self.classes),
            channels=self.channels,
            size=self.height,
            **options,
        )


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers by plain name: wrappers of compiling and of parallel training leave no trace.

    Raises:
        ConfigError: two names become one without the wrappers' prefixes.
    """
    state = model.state_dict()
    found = {plain_name(name): tensor for name, tensor in state.items()}
    if len(found) < len(state):
        raise ConfigError(
            "Some parameters of the network differ only by a part called 'module' or '_orig_mod' in their "
            "names, which are the names of torch's wrappers. Rename that part of the network."
        )
    return found


def plain_name(name: str) -> str:
    """A parameter's name without the prefixes that torch.compile and DistributedDataParallel add."""
    return ".".join(part for part in name.split(".") if part not in ("_orig_mod", "module"))


def load_tensors(model: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Copy tensors into a network; every name and shape must match, both ways.

    Raises:
        DamagedFile: something is missing, left over or of another shape; the network is unchanged.
    """
    own = model_tensors(model)
    problems = [f"{name} is missing" for name in own.keys() - tensors.keys()]
    problems += [f"{name} is not part of the network" for name in tensors.keys() - own.keys()]
    problems += [
        f"{name} has shape {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own.keys() & tensors.keys()
        if tensors[name].shape != own[name].shape or tensors[name].dtype != own[name].dtype
    ]
    if problems:
        shown = "; ".join(sorted(problems)[:5]) + (
            f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        )
        raise DamagedFile(f"The weights in {origin} do not fit the network: {shown}.")
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


@dataclass(frozen=True)
class Run:
    """A run on disk, finished or not."""

    root: Path

    @property
    def paths(self) -> RunPaths:
        """Where its parts lie."""
        return RunPaths(self.root)

    @cached_property
    def config(self) -> RunConfig:
        """What was asked for."""
        return configs.read_toml(self.paths.config)

    @property
    def environment(self) -> Record:
        """What the machine added."""
        return records.read_json(self.paths.environment)

    @property
    def metrics(self) -> list[Record]:
        """One record per validation so far."""
        return records.read(self.paths.metrics)

    @property
    def result(self) -> Record | None:
        """The result, or None while the run has not ended."""
        return records.read_json(self.paths.result) if self.paths.result.exists() else None

    @property
    def openings(self) -> list[Record]:
        """Every opening of this run's test split, by any run in the same results root."""
        data_hash = self.environment["data"]
        return [record for record in records.read(self.paths.openings) if record["data"] == data_hash]

    def chosen(self, which: Which) -> Which:
        """`best`, unless nothing was held out to tell which weights are the best."""
        return "last" if self.config.data.refit else which

    def snapshot(self, which: Which = "best") -> snapshot.Snapshot:
        """The best weights on validation, by `select`, or the last ones; a refit run has only the last.

        Raises:
            DataMissing: none has been written yet.
            DamagedFile: none of those written is intact.
        """
        which = self.chosen(which)
        directory = self.paths.best if which == "best" else self.paths.checkpoints
        found, refused = snapshot.newest(directory)
        if found is None and refused:
            raise DamagedFile(f"No intact snapshot in {directory}: {' '.join(refused)}")
        if found is None:
            raise DataMissing(
                f"{self.root} has no {which} weights yet: it has not reached its first validation."
            )
        return found

    def card(self, which: Which = "best") -> Card:
        """What the weights need to be used."""
        return Card.from_table(self.snapshot(which).state["card"])

    def model(self, which: Which = "best") -> nn.Module:
        """The network with its trained weights, in evaluation mode."""
        found = self.snapshot(which)
        network = Card.from_table(found.state["card"]).network()
        # Where the run keeps an average of the weights, the average is its result.
        part = "ema" if any(name.startswith("ema/") for name in found.tensors) else "model"
        load_tensors(network, tensors_of(found, part), str(found.path))
        return network.eval()

    def data(self, **where: Any) -> Data:
        """The data it was trained on, loaded again.

        Raises:
            ClassMismatch: the classes are not those the weights know.
        """
        data = load_config(self.config.data, **where)
        known = self.card().classes
        if data.classes != known:
            raise ClassMismatch(
                f"{self.config.data.source} has the classes {', '.join(data.classes)}; this run was trained "
                f"on {', '.join(known)}."
            )
        return data

    def claim(self, correct: int, images: int, split: str, weights: str) -> Claim:
        """The accuracy of one set of predictions as something that may be shown."""
        low, high = wilson(correct, images)
        environment = self.environment
        threads = environment["threads"]
        return Claim(
            what=f"{self.config.model.name} on {self.config.data.kind}, accuracy of the {weights} weights",
            value=correct / images,
            low=low,
            high=high,
            interval="Wilson 95 %",
            n=f"{images} images, 1 seed",
            split=split,
            device=f"{environment['machine']['processor']}, {threads} thread{'s' if threads > 1 else ''}",
            commit=_short(environment["commit"]),
            command=environment["command"],
        )


def _short(commit: str) -> str:
    """The first ten digits, and whether it was changed since."""
    digits, plus, dirty = commit.partition("+")
    return f"{digits[:10]}{plus}{dirty}" or "(not from a checkout)"


def tensors_of(found: snapshot.Snapshot, part: str) -> dict[str, Tensor]:
    """The tensors of one part (`model`, `optimizer`) of a snapshot, without the part's prefix."""
    prefix = f"{part}/"
    return {name.removeprefix(prefix): t for name, t in found.tensors.items() if name.startswith(prefix)}


def open_run(path: str | Path) -> Run:
    """Open a run's directory for reading.

    Args:
        path: the directory of one seed, e.g. `runs/lenet5-digits-0123456789/seed-0`, or the directory above
            it if that holds one seed only.

    Raises:
        DataMissing: there is no run there; the message names what is near.
    """
    root = Path(path)
    if not (root / "config.toml").is_file():
        seeds = sorted(inner.parent for inner in root.glob("seed-*/config.toml"))
        if len(seeds) == 1:
            return Run(seeds[0])
        if seeds:
            raise DataMissing(f"{root} holds {len(seeds)} runs; name one: {', '.join(map(str, seeds))}.")
        near = sorted(str(inner.parent) for inner in root.parent.glob("**/config.toml"))[:5]
        hint = f" Runs nearby: {', '.join(near)}." if near else " `convscope train` makes one."
        raise DataMissing(f"There is no run in {root}: it has no config.toml.{hint}")
    return Run(root)
