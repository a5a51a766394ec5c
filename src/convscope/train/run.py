"""How does a configuration become a run on disk, started or continued?

    resolve -> load data -> name the directory -> lock it -> build, restore -> check -> loop -> result

The same function starts and continues: whatever the directory holds decides.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convscope.compute import environment, fences
from convscope.compute import precision as precisions
from convscope.compute.device import keep_freed_memory, pick, place, usable_cores
from convscope.core import config as configs
from convscope.core import files, records, snapshot
from convscope.core.config import RunConfig, validated
from convscope.core.errors import ConfigChanged, ConfigError, Diverged, NoSpace, UsageError
from convscope.core.records import RunPaths
from convscope.core.streams import Streams
from convscope.data import Batches, Data, Normaliser, load_config, user_cache
from convscope.evaluate.metrics import score
from convscope.evaluate.predict import logits
from convscope.evaluate.runs import Card, Run, open_run
from convscope.models import build

from . import optim, signals
from .checkpoint import KEPT, keep_best, restore, session_tensors
from .diagnosis import diagnose
from .events import Prepared, Watch, unwatched
from .hooks import Checkpoints, Progress, Stopwatch, Validation, every
from .loop import Session, train_steps
from .preflight import Overfit, overfit_one_batch, preflight


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


def train(
    model: str | Mapping[str, Any] = "lenet5",
    data: str | Mapping[str, Any] = "digits",
    *,
    config: RunConfig | None = None,
    seed: int = 0,
    root: str | Path = "runs",
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    allow_different: bool = False,
    watch: Watch = unwatched,
    **options: Any,
) -> Run:
    """Train a network, or continue the same run where it stopped.

    Args:
        model: a name, or a table of a name and options: {"name": "resnet20", "shortcut": "B"}.
        data: a source, or a table of the fields of `DataConfig`.
        config: everything at once instead of `model`, `data`, `seed` and `options`.
        seed: of everything random in the run.
        root: where runs are kept.
        data_dir: where named data sets are looked for first.
        cache_dir: where decoded pixels and self-test results are kept.
        allow_different: continue a run on another machine or version, no longer bit-exact, and record that.
        watch: called with the events of train/events.py.
        options: fields of `Recipe` and `ComputeConfig`: epochs, lr, optimizer, device, threads ...

    Returns:
        The finished run. If it had finished before, nothing is trained.

    Raises:
        UsageError, DataError, Diverged, NoSpace, Interrupted: see core/errors.py.
    """
    place = Place(
        Path(root),
        Path(data_dir) if data_dir else None,
        Path(cache_dir) if cache_dir else None,
        allow_different,
        command_line(),
    )
    return run(config or _config(model, data, seed, options), place, watch)


def _config(
    model: str | Mapping[str, Any], data: str | Mapping[str, Any], seed: int, options: Mapping[str, Any]
) -> RunConfig:
    compute = {key: value for key, value in options.items() if key in configs.ComputeConfig.model_fields}
    recipe = {key: value for key, value in options.items() if key not in compute}
    table = {
        "model": model,
        "data": {"source": data} if isinstance(data, str) else data,
        "recipe": recipe,
        "seed": seed,
        "compute": compute,
    }
    return configs.from_table(table, "train")


def command_line() -> str:
    """What was typed, with the program's name instead of its path."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def run(config: RunConfig, place: Place, watch: Watch = unwatched) -> Run:
    """Train a configuration in the directory its identity names."""
    catalogued(config)
    pick(config.compute.device)
    data = load_config(config.data, data_dir=place.data_dir, cache_dir=place.cache_dir)
    resolved = resolve(config, data)
    name = f"{resolved.model.name}-{resolved.data.kind}-{configs.identity(resolved, data.hash)}"
    return _in_directory(resolved, data, place.root / name / f"seed-{resolved.seed}", place, watch)


def catalogued(config: RunConfig) -> None:
    """Look every name and option up before any data are read: a typo is answered at once."""
    config.model.resolved("models")
    config.recipe.optimizer.resolved("optimizers")
    config.recipe.schedule.resolved("schedules")
    config.recipe.loss.resolved("losses")
    if not isinstance(config.recipe.augment, str):
        for choice in config.recipe.augment:
            choice.resolved("augmentations")


def resolve(config: RunConfig, data: Data) -> RunConfig:
    """The configuration with everything written out that these data decide."""
    held_out = len(data.val) / (len(data.train) + len(data.val))
    return configs.resolve(config, data.augment, round(held_out, 6), 0.2)


def resume(
    root: str | Path,
    *,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    allow_different: bool = False,
    watch: Watch = unwatched,
    **compute: Any,
) -> Run:
    """Continue a run in its directory, wherever that has been moved to.

    Args:
        root: the run's directory.
        data_dir: where named data sets are looked for first.
        cache_dir: where decoded pixels and self-test results are kept.
        allow_different: continue although machine, versions or code differ; the record says so.
        watch: called with the events of train/events.py.
        compute: fields of `ComputeConfig`, the only ones that may change.

    Raises:
        ConfigChanged: config.toml was edited; the message names each field.
    """
    found = open_run(root)
    changed = found.config.compute.model_copy(update=compute)
    config = found.config.model_copy(
        update={"compute": validated(configs.ComputeConfig, changed.model_dump(), "resume")}
    )
    place = Place(
        Path(root),
        Path(data_dir) if data_dir else None,
        Path(cache_dir) if cache_dir else None,
        allow_different,
        command_line(),
    )
    data = load_config(config.data, data_dir=place.data_dir, cache_dir=place.cache_dir)
    return _in_directory(config, data, found.root, place, watch)


def _in_directory(config: RunConfig, data: Data, root: Path, place: Place, watch: Watch) -> Run:
    """Do what is left to do in one run's directory."""
    paths = RunPaths(root)
    with ExitStack() as stack:
        stack.enter_context(files.held(root))
        _refuse_changed_config(config, paths)
        if paths.result.exists():
            return _ended(Run(root))
        keep_freed_memory()
        threads = config.compute.threads or usable_cores()
        stack.enter_context(fences.training_state(threads))
        request = stack.enter_context(signals.noted())
        session, card = _prepare(config, data, paths, place, watch, threads)
        try:
            _loop(session, config, data, card, paths, request, watch)
        except Diverged as error:
            records.write_json(
                paths.result, {"status": "diverged", "step": session.step, "message": str(error)}
            )
            raise
        _finish(session, data, card, paths)
    return Run(root)


def _ended(found: Run) -> Run:
    result = found.result
    if result is not None and result["status"] == "diverged":
        raise Diverged(f"{found.root} ended before: {result['message']} The same run would diverge again.")
    return found


def _refuse_changed_config(config: RunConfig, paths: RunPaths) -> None:
    """What decides numbers must be what the run began with."""
    if not paths.environment.exists():
        return
    began = configs.from_table(records.read_json(paths.environment)["config"], str(paths.environment))
    changes = configs.differences(began, config)
    if changes:
        listed = "".join(f"\n  {change}" for change in changes)
        raise ConfigChanged(
            f"{paths.root} was begun with another configuration:{listed}\n"
            f"Put config.toml back, or train the new configuration as a run of its own: "
            f"convscope train {paths.config}"
        )


def _prepare(
    config: RunConfig, data: Data, paths: RunPaths, place: Place, watch: Watch, threads: int
) -> tuple[Session, Card]:
    """Build the session, put it where the newest checkpoint left it, and look before leaping."""
    device = pick(config.compute.device)
    session, placement, card = _session(config, data, device)
    table = _precision(session, config, paths, place)
    session.lowered = partial(precisions.lowered, table=table)
    marks = _environment(config, data, paths, place, threads, table, device)
    found, refused = snapshot.newest(paths.checkpoints)
    if found:
        restore(session, found, paths)
    elif paths.metrics.exists():
        records.rewind(paths.metrics, 0)
    _refuse_full_disk(session, paths)
    groups = optim.groups(session.model, config.recipe)
    watch(
        Prepared(
            root=paths.root,
            config=config,
            parameters=sum(parameter.numel() for parameter in session.model.parameters()),
            images=(len(data.train), len(data.val), len(data.test)),
            notes=(*data.notes, *refused, *marks),
            decay=tuple(map(str, groups)),
            preflight=preflight(session, placement, str(table), len(data.classes)),
            start=session.step,
            total=session.total,
        )
    )
    return session, card


def _session(config: RunConfig, data: Data, device: torch.device) -> tuple[Session, Any, Card]:
    channels, height, width = data.shape
    if height != width:
        raise ConfigError(
            f"The images are {width} wide and {height} high; networks here take squares. Give --size, e.g. "
            f"--size {min(height, width)}."
        )
    streams = Streams(config.seed)
    model = build(
        config.model.name,
        classes=len(data.classes),
        channels=channels,
        size=height,
        seed=config.seed,
        **config.model.options,
    )
    placement = place(model, device)
    normalise = Normaliser(data.mean, data.std)
    batches = Batches(
        data.train,
        batch_size=config.recipe.batch_size,
        augment=config.recipe.augment if not isinstance(config.recipe.augment, str) else (),
        normalise=normalise,
        streams=streams,
        device=device,
    )
    total = max(1, round(config.recipe.epochs * batches.per_epoch))
    optimizer = optim.build(config.recipe, optim.groups(model, config.recipe))
    session = Session(model, optimizer, batches, config.recipe, streams, total, lowered=_as_it_is)
    card = Card(
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
    return session, placement, card


def _as_it_is(model: nn.Module) -> AbstractContextManager[None]:
    return nullcontext()


def _precision(session: Session, config: RunConfig, paths: RunPaths, place: Place) -> precisions.Table:
    """In what each layer computes: as in the run's record, else as this machine was measured."""
    known = None
    if paths.environment.exists() and not place.allow_different:
        known = precisions.Table.model_validate(records.read_json(paths.environment)["precision"])
    images, _ = session.batches.at(0)
    cache = precisions.table_file(place.cache_dir or user_cache(), session.batches.device)
    return precisions.resolve(session.model, images, config.compute.precision, cache, known)


def _environment(
    config: RunConfig,
    data: Data,
    paths: RunPaths,
    place: Place,
    threads: int,
    table: precisions.Table,
    device: torch.device,
) -> tuple[str, ...]:
    """Write down what this machine adds, or compare it with what the run began on.

    Raises:
        UsageError: something that bit-identity needs differs.
    """
    now = {
        **environment.fingerprint(threads, table, data.hash, device),
        "command": place.command,
        "config": configs.as_table(config),
    }
    if not paths.environment.exists():
        files.write(paths.config, configs.to_toml(config).encode())
        records.write_json(paths.environment, {**now, "bit_exact": True, "changes": []})
        return ()
    began = records.read_json(paths.environment)
    changes = environment.comparable(began, now)
    if changes and not place.allow_different:
        raise UsageError(
            f"{paths.root} cannot be continued bit for bit here. {' '.join(changes)} "
            f"Continue where it began, or accept another result with --allow-different."
        )
    if changes:
        records.write_json(
            paths.environment, {**began, "bit_exact": False, "changes": [*began["changes"], *changes]}
        )
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


def _loop(
    session: Session,
    config: RunConfig,
    data: Data,
    card: Card,
    paths: RunPaths,
    request: signals.Request,
    watch: Watch,
) -> None:
    table = asdict(card)
    checkpoints = Checkpoints(config.compute.checkpoint_interval(), paths, table, request, watch)
    validation = Validation(data, card.normalise, paths, table, checkpoints.stop_if_asked, watch)
    steps = config.recipe.validation_steps(session.batches.per_epoch)
    train_steps(session, [Stopwatch(), checkpoints, every(steps, validation), Progress(watch)])


def _finish(session: Session, data: Data, card: Card, paths: RunPaths) -> None:
    """Score what the run reports, and write the result: from here on the run has ended."""
    history = records.read(paths.metrics)
    last = score(logits(session.model, data.val, card.normalise), data.val.labels)
    sample = data.train.subset(torch.arange(0, len(data.train), max(1, len(data.train) // len(data.val))))
    train_scores = score(logits(session.model, sample, card.normalise), sample.labels)
    keep_best(session, paths)
    snapshot.keep_newest(paths.checkpoints, KEPT)  # tensors without a manifest that a power loss left
    best = session.best or history[-1]
    records.write_json(
        paths.result,
        {
            "status": "finished",
            "steps": session.step,
            "epochs": session.epoch,
            "seconds": round(session.seconds, 3),
            "final": last.as_table(data.classes),
            "best": {key: best[key] for key in ("step", "epoch", "val_accuracy", "val_correct", "val_loss")},
            "train_sample": {
                "images": train_scores.images,
                "correct": train_scores.correct,
                "loss": train_scores.loss,
            },
            "diagnosis": diagnose(train_scores.accuracy, last.accuracy, history),
        },
    )


def try_one_batch(config: RunConfig, place: Place) -> Overfit:
    """Whether the configured network can learn one batch by heart; nothing is written."""
    catalogued(config)
    data = load_config(config.data, data_dir=place.data_dir, cache_dir=place.cache_dir)
    with fences.training_state(config.compute.threads or usable_cores()):
        session, _, _ = _session(resolve(config, data), data, pick(config.compute.device))
        return overfit_one_batch(session)
