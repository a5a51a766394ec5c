"""What stands between a configuration and its first step?

Build the network, the batches and the optimizer; decide the precision; write
down what the machine adds, or compare it with what the run began on; take up
the newest intact checkpoint.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convscope.compute import environment
from convscope.compute import precision as precisions
from convscope.compute.device import Placement, pick, place, usable_cores
from convscope.compute.selftest import layer_shapes
from convscope.core import config as configs
from convscope.core import files, records, snapshot
from convscope.core.config import RunConfig
from convscope.core.errors import ConfigChanged, ConfigError, DamagedFile, NoSpace, UsageError
from convscope.core.records import RunPaths
from convscope.core.streams import Streams
from convscope.data import Batches, Data, user_cache
from convscope.data.augmenting import enlarged
from convscope.evaluate.predict import in_evaluation_mode
from convscope.evaluate.runs import Card
from convscope.models import build
from convscope.models.geometry import lost

from . import optim, weights
from .checkpoint import KEPT, restore, session_tensors
from .ema import Ema
from .events import Prepared, Watch
from .freeze import body, freeze
from .loop import Session, shrunk
from .objective import Objective
from .preflight import preflight

SMALL_STEP = 120e6
"""Operations of a forward pass, two per multiply-add, below which a second thread waits more than it works.

LeNet-5 with 64 images has 53 million: faster on one core, and much faster where others want the second."""


@dataclass(frozen=True)
class Place:
    """Where things are found and put; none of it decides a number."""

    root: Path = Path("runs")
    """Results root: runs and the ledger of test openings."""
    data_dir: Path | None = None
    cache_dir: Path | None = None
    allow_different: bool = False
    """Continue although the machine, the versions or the code differ; the record says so."""
    command: str = ""
    """What the user typed, for the record."""


@dataclass(frozen=True)
class Job:
    """One run to be done in one directory."""

    config: RunConfig
    """Resolved: nothing is left at `auto`."""
    data: Data
    paths: RunPaths
    place: Place
    threads: int


def prepare(job: Job, watch: Watch) -> tuple[Session, Card]:
    """A session in the state of the newest intact checkpoint, and the card its snapshots will carry.

    Raises:
        UsageError: the run cannot be continued bit for bit here.
        NoSpace: there is no room for its checkpoints.
        DamagedFile: checkpoints without the record of what they belong to.
    """
    device = pick(job.config.compute.device)
    found, refused = snapshot.newest(job.paths.checkpoints)
    session, placement, card = build_session(job.config, job.data, device, begun=found is not None)
    if found and not job.paths.environment.exists():
        raise DamagedFile(
            f"{job.paths.root} has checkpoints but no environment.json, so nobody knows what they continue. "
            f"Put the file back, or remove the directory to begin anew."
        )
    table = lower(session, job.config, job.place, _precision_before(job) if found else None)
    marks = _environment(job, table, device, begun=found is not None)
    if found:
        restore(session, found, job.paths)
    else:
        records.rewind(job.paths.metrics, 0)
        records.rewind(job.paths.inspections, 0)
    _refuse_full_disk(session, job.paths)
    watch(
        Prepared(
            root=job.paths.root,
            config=job.config,
            parameters=sum(parameter.numel() for parameter in session.model.parameters()),
            images=(len(job.data.train), len(job.data.val), len(job.data.test)),
            notes=(*job.data.notes, *lost(session.model, job.data.shape), *session.notes, *refused, *marks),
            decay=_decay(session),
            preflight=preflight(session, placement, str(table), len(job.data.classes)),
            start=session.step,
            total=session.total,
        )
    )
    return session, card


def _decay(session: Session) -> tuple[str, ...]:
    """What decays, in words."""
    return tuple(map(str, optim.acting(optim.groups(session.model, session.recipe), session.optimizer)))


def threads_for(config: RunConfig, data: Data) -> int:
    """CPU threads of a run: what was asked for; else all cores, or one where a step is too small to share.

    The rule counts operations and measures nothing, so the same run gets the same number every time.
    """
    if config.compute.threads:
        return config.compute.threads
    channels, height, _ = data.shape
    shape = {"classes": len(data.classes), "channels": channels, "size": height}
    network = build(config.model.name, **shape, **config.model.options)
    calls = layer_shapes(network, torch.zeros(1, *data.shape)).values()
    work = config.recipe.batch_size * sum(shape.flops for shapes in calls for shape in shapes)
    return 1 if work < SMALL_STEP else usable_cores()


def build_session(
    config: RunConfig, data: Data, device: torch.device, *, begun: bool = False
) -> tuple[Session, Placement, Card]:
    """Everything a step needs, at step 0, in float32.

    With `begun`, a checkpoint will replace all weights, and those to start from are not even looked for.
    """
    card = _card(config, data)
    streams, recipe = Streams(config.seed), config.recipe
    augment = () if isinstance(recipe.augment, str) else recipe.augment
    train = enlarged(data.train, augment, recipe.enlarge, streams) if recipe.enlarge else data.train
    model = build(
        config.model.name,
        classes=len(data.classes),
        channels=card.channels,
        size=card.height,
        seed=config.seed,
        **config.model.options,
    )
    if recipe.progressive:
        _refuse_fixed_size(model, config.model.name, data.shape)
    notes = weights.start(model, config, data) if recipe.weights and not begun else ()
    freeze(model, recipe.train_only)
    waiting = body(model, len(data.classes), recipe)
    placement = place(model, device)
    batches = Batches(
        train,
        batch_size=recipe.batch_size,
        augment=() if recipe.enlarge else augment,
        normalise=card.normalise,
        streams=streams,
        device=device,
    )
    total = max(1, round(recipe.epochs * batches.per_epoch))
    optimizer = optim.build(recipe, optim.groups(model, recipe, waiting))
    session = Session(
        model,
        optimizer,
        batches,
        recipe,
        streams,
        total,
        lowered=_as_it_is,
        objective=Objective(recipe, data.train),
        ema=Ema(model, recipe.ema) if recipe.ema else None,
        parts=recipe.accumulate,
        body=waiting,
        notes=notes,
    )
    return session, placement, card


def _refuse_fixed_size(model: nn.Module, name: str, shape: tuple[int, int, int]) -> None:
    """Raises: ConfigError: the network does not take the smaller images of a progressive run."""
    small = shrunk(torch.zeros(1, *shape))
    try:
        with in_evaluation_mode(model), torch.no_grad():
            model(small)
    except RuntimeError:
        _, height, width = shape
        raise ConfigError(
            f"With --progressive the run begins with images of {small.shape[-1]}x{small.shape[-2]} pixels, and "
            f"{name} takes {width}x{height} only. Leave --progressive out, or choose a network that averages "
            f"over the whole map, such as resnet20."
        ) from None


def _as_it_is(model: nn.Module) -> AbstractContextManager[None]:
    return nullcontext()


def _card(config: RunConfig, data: Data) -> Card:
    channels, height, width = data.shape
    if height != width:
        raise ConfigError(
            f"The images are {width} wide and {height} high; networks here take squares. Give --size, e.g. "
            f"--size {min(height, width)}."
        )
    return Card(
        model={"name": config.model.name, **config.model.options},
        classes=data.classes,
        channels=channels,
        height=height,
        width=width,
        mean=data.mean,
        std=data.std,
        data={"kind": config.data.kind, "hash": data.hash, "size": config.data.size, "fit": config.data.fit},
        versions={"torch": torch.__version__},
    )


def lower(
    session: Session, config: RunConfig, place: Place, known: precisions.Table | None = None
) -> precisions.Table:
    """Let each layer compute in what is known, else in what this machine was measured to do right and faster."""
    images, _ = session.batches.at(0)
    cache = precisions.table_file(place.cache_dir or user_cache(), session.batches.device)
    table = precisions.resolve(session.model, images, config.compute.precision, cache, known)
    session.lowered = partial(precisions.lowered, table=table)
    return table


def _precision_before(job: Job) -> precisions.Table | None:
    """What a run that is continued computed in; None where it may change."""
    if job.place.allow_different:
        return None
    return precisions.Table.model_validate(records.read_json(job.paths.environment)["precision"])


def refuse_changed_config(job: Job) -> None:
    """What decides numbers must be what the run began with.

    Raises:
        ConfigChanged: with every field that differs.
    """
    if not job.paths.environment.exists():
        return
    record = records.read_json(job.paths.environment)
    began = configs.from_table(record["config"], str(job.paths.environment))
    changes = configs.differences(began, job.config)
    if changes:
        listed = "".join(f"\n  {change}" for change in changes)
        raise ConfigChanged(
            f"{job.paths.root} was begun with another configuration:{listed}\n"
            f"Put config.toml back, or train the new configuration as a run of its own: "
            f"convscope train {job.paths.config}"
        )


def _environment(job: Job, table: precisions.Table, device: torch.device, *, begun: bool) -> tuple[str, ...]:
    """Write down what this machine adds, or compare it with what the run began on.

    A run without a checkpoint has nothing to continue: it begins anew, here.

    Raises:
        UsageError: something that bit-identity needs differs.
    """
    now: dict[str, Any] = {
        **environment.fingerprint(job.threads, table, job.data.hash, device),
        "command": job.place.command,
        "config": configs.as_table(job.config),
    }
    if not begun:
        files.write(job.paths.config, configs.to_toml(job.config).encode())
        records.write_json(job.paths.environment, {**now, "bit_exact": True, "changes": []})
        return ()
    began = records.read_json(job.paths.environment)
    changes = environment.comparable(began, now)
    if changes and not job.place.allow_different:
        raise UsageError(
            f"{job.paths.root} cannot be continued bit for bit here. {' '.join(changes)} "
            f"Continue where it began, or accept another result with --allow-different."
        )
    if changes:
        record = {**began, "bit_exact": False, "changes": [*began["changes"], *changes]}
        records.write_json(job.paths.environment, record)
        return ("Not bit-exact from here on: " + " ".join(changes),)
    return () if began["bit_exact"] else ("Not bit-exact since an earlier continuation.",)


def _refuse_full_disk(session: Session, paths: RunPaths) -> None:
    """Before any work: there must be room for one checkpoint more than are kept."""
    one = sum(tensor.nbytes for tensor in session_tensors(session).values())
    one += sum(p.nbytes for p in session.model.parameters()) * 2  # the optimizer's state is empty at first
    needed, free = one * (KEPT + 1), files.free_bytes(paths.root)
    if free < needed:
        raise NoSpace(
            f"There are {free:,} bytes free for {paths.root}, and {needed:,} are needed for {KEPT + 1} "
            f"checkpoints. Nothing was started; free some space or choose another place with --root."
        )
