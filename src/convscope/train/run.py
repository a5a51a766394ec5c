"""How does a configuration become a run on disk, started or continued?

    resolve -> load data -> name the directory -> lock it -> build, restore -> check -> loop -> result

The same function starts and continues: whatever the directory holds decides.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from convscope.compute import fences
from convscope.compute.device import keep_freed_memory, pick
from convscope.core import config as configs
from convscope.core import files, records, snapshot
from convscope.core.config import RunConfig, validated
from convscope.core.errors import ConfigError, Diverged
from convscope.core.records import RunPaths
from convscope.data import Data, load_config
from convscope.evaluate.metrics import Scores, score
from convscope.evaluate.predict import logits
from convscope.evaluate.runs import Card, Run, open_run

from . import signals, weights
from .checkpoint import KEPT, keep_best
from .diagnosis import diagnose
from .events import Watch, unwatched
from .freeze import refuse_waiting_forever
from .hooks import Checkpoints, EarlyStop, Progress, Stopwatch, Validation, every
from .inspecting import Inspection
from .loop import Hook, Session, train_steps
from .preflight import Overfit, overfit_one_batch
from .prepare import Job, Place, build_session, prepare, refuse_changed_config, threads_for

SEEN_WITHOUT_VALIDATION = 5_000
"""Training images scored at the end of a run that holds nothing out."""


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
    place = _place(root, data_dir, cache_dir, allow_different)
    return run(config or _config(model, data, seed, options), place, watch)


def _place(
    root: str | Path, data_dir: str | Path | None, cache_dir: str | Path | None, allow_different: bool
) -> Place:
    return Place(
        Path(root),
        Path(data_dir) if data_dir else None,
        Path(cache_dir) if cache_dir else None,
        allow_different,
        command_line(),
    )


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
    """What was typed, ready to be typed again, with the program's name instead of its path."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    return shlex.join([name, *sys.argv[1:]])


def run(config: RunConfig, place: Place, watch: Watch = unwatched) -> Run:
    """Train a configuration in the directory its identity names."""
    return in_directory(*located(config, place), place, watch)


def located(config: RunConfig, place: Place) -> tuple[RunConfig, Data, Path]:
    """The resolved configuration, its data, and the directory of its run, which need not be there."""
    catalogued(config)
    pick(config.compute.device)
    config = config.model_copy(update={"recipe": weights.pinned(config.recipe)})
    data = load_config(config.data, data_dir=place.data_dir, cache_dir=place.cache_dir)
    resolved = resolve(config, data)
    name = f"{resolved.model.name}-{resolved.data.kind}-{configs.identity(resolved, data.hash)}"
    return resolved, data, place.root / name / f"seed-{resolved.seed}"


def catalogued(config: RunConfig) -> None:
    """Look every name and option up before any data are read: a typo is answered at once."""
    config.model.resolved("models")
    config.recipe.optimizer.resolved("optimizers")
    config.recipe.schedule.resolved("schedules")
    config.recipe.loss.resolved("losses")
    if not isinstance(config.recipe.augment, str):
        for choice in config.recipe.augment:
            choice.resolved("augmentations")
    if config.data.label_noise:
        config.data.label_noise.resolved("noises")
    for choice in config.compute.inspect:
        choice.resolved("diagnostics")
    _refuse_choosing_without_validation(config)
    refuse_waiting_forever(config.recipe)
    weights.refuse_without_weights(config.recipe)


def _refuse_choosing_without_validation(config: RunConfig) -> None:
    """Raises: ConfigError: with --refit nothing is held out by which weights, or an end, could be chosen."""
    if not config.data.refit:
        return
    for key, flag in (("early_stop", "--early-stop"), ("select", "--select")):
        if key in dict(configs.switched_on(config.recipe)):
            raise ConfigError(
                f"{flag} chooses by validation images, and --refit trains on them too. Leave one of the two out; to "
                f"end a refit early, give the epochs that were chosen before: --epochs."
            )


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
    place = _place(root, data_dir, cache_dir, allow_different)
    data = load_config(config.data, data_dir=place.data_dir, cache_dir=place.cache_dir)
    return in_directory(config, data, found.root, place, watch)


def in_directory(config: RunConfig, data: Data, root: Path, place: Place, watch: Watch) -> Run:
    """Do what is left to do in one run's directory."""
    job = Job(config, data, RunPaths(root), place, threads_for(config, data))
    with ExitStack() as stack:
        stack.enter_context(files.held(root))
        refuse_changed_config(job)
        if job.paths.result.exists():
            _refuse_looking_too_late(job)
            return _ended(Run(root))
        keep_freed_memory()
        stack.enter_context(fences.training_state(job.threads))
        request = stack.enter_context(signals.noted())
        session, card = prepare(job, watch)
        try:
            _loop(session, job, card, request, watch)
        except Diverged as error:
            outcome = {"status": "diverged", "step": session.step, "message": str(error)}
            records.write_json(job.paths.result, outcome)
            raise
        _finish(session, job, card)
    return Run(root)


def _refuse_looking_too_late(job: Job) -> None:
    """Raises: ConfigError: a diagnostic that did not look while the run learned; it has ended."""
    looked = {record["diagnostic"] for record in records.read(job.paths.inspections)}
    late = [choice.spelled() for choice in job.config.compute.inspect if choice.name not in looked]
    if late:
        raise ConfigError(
            f"{job.paths.root} has ended, so nothing can look at it while it learns. Look at its weights with "
            f"`convscope inspect {job.paths.root} {' '.join(late)}`, or train with another --seed or --root."
        )


def _ended(found: Run) -> Run:
    result = found.result
    if result is not None and result["status"] == "diverged":
        raise Diverged(f"{found.root} ended before: {result['message']} The same run would diverge again.")
    return found


def _loop(session: Session, job: Job, card: Card, request: signals.Request, watch: Watch) -> None:
    interval, table = job.config.compute.checkpoint_interval(), asdict(card)
    checkpoints = Checkpoints(interval, job.paths, table, request, watch)
    validation = Validation(job.data, card.normalise, job.paths, table, checkpoints.stop_if_asked, watch)
    steps = job.config.recipe.validation_steps(session.batches.per_epoch)
    at_validation: list[Hook] = [validation]
    if job.config.recipe.early_stop:
        stop = EarlyStop(job.config.recipe.early_stop, checkpoints)
        at_validation = [stop.before, validation, stop]
    looking = [
        Inspection(
            choice, job.config.compute.inspection_steps(session.batches.per_epoch), job, card.normalise
        )
        for choice in job.config.compute.inspect
    ]
    train_steps(session, [Stopwatch(), checkpoints, *looking, every(steps, *at_validation), Progress(watch)])


def _finish(session: Session, job: Job, card: Card) -> None:
    """Score what the run reports, and write the result: from here on the run has ended."""
    history = records.read(job.paths.metrics)
    keep_best(session, job.paths)
    snapshot.keep_newest(job.paths.checkpoints, KEPT)  # tensors without a manifest that a power loss left
    seen = _seen(session, job.data, card)
    result: dict[str, Any] = {
        "status": "finished",
        "steps": session.step,
        "epochs": session.epoch,
        "ended": "early stop" if session.stopped else "last step",
        "seconds": round(session.seconds, 3),
        "train_sample": {"images": seen.images, "correct": seen.correct, "loss": seen.loss},
    }
    if len(job.data.val):
        last = score(logits(session.shown, job.data.val, card.normalise), job.data.val.labels)
        best = session.best or history[-1]
        result["final"] = last.as_table(job.data.classes)
        result["best"] = {
            key: value for key, value in best.items() if key in ("step", "epoch") or key.startswith("val_")
        }
        result["diagnosis"] = diagnose(seen.accuracy, last.accuracy, history)
    else:
        result["diagnosis"] = [
            f"{seen.accuracy:.1%} on training images; nothing was held out to compare with."
        ]
    if job.data.noise:
        result["label_noise"] = job.data.noise.as_table()
        result["diagnosis"].append(
            "Training images were scored by their true labels, not by those put there as noise."
        )
    records.write_json(job.paths.result, result)


def _seen(session: Session, data: Data, card: Card) -> Scores:
    """Scores of as many training images as there are for validation, evenly spread: enough to see a gap.

    By their true labels, as validation images: whether wrong labels were learned is another question.
    """
    count = len(data.val) or SEEN_WITHOUT_VALIDATION
    chosen = torch.arange(0, len(data.train), max(1, len(data.train) // count))
    labels = data.noise.true_labels if data.noise else data.train.labels
    return score(logits(session.shown, data.train.subset(chosen), card.normalise), labels[chosen])


def try_one_batch(config: RunConfig, place: Place) -> Overfit:
    """Whether the configured network can learn one batch by heart; nothing is written."""
    catalogued(config)
    data = load_config(config.data, data_dir=place.data_dir, cache_dir=place.cache_dir)
    with fences.training_state(threads_for(config, data)):
        session, _, _ = build_session(resolve(config, data), data, pick(config.compute.device))
        return overfit_one_batch(session)
