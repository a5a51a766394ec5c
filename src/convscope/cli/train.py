"""`convscope train`: the main job."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import parse

if TYPE_CHECKING:
    from convscope.evaluate.runs import Run

DESCRIPTION = """\
Train a network, or continue the same run where it stopped.

usage: convscope train [MODEL DATA | FILE.toml] [flags]; without names: lenet5 digits

examples:
  convscope train
  convscope train resnet20 cifar10 --epochs 30 --lr 0.1 --seed 3
  convscope train resnet20:shortcut=B folder:photos --size 32
  convscope train simplenn cifar10 --model.norm batch --schedule step --schedule.every 10
  convscope train runs/resnet20-cifar10-0123456789/seed-3/config.toml --seed 4
  convscope train lenet5 fashion-mnist --augment crop:padding=2 flip --ema 0.99 --label-noise symmetric:rate=0.2
  convscope train lenet5 digits --folds 5                a network for each fifth, none sees its own
  convscope train resnet50 folder:photos --size 224 --weights resnet50.safetensors --freeze-epochs 3 --body-lr 0.1
  convscope train resnet32 cifar10 --weights runs/resnet20-cifar10-0123456789/seed-3 --grow
  convscope train mynet digits --import mymodels

An option of the model, the data, the optimizer, the schedule or the loss is given as --model.KEY VALUE and so
on; those of an augmentation or a noise follow its name. `convscope list models resnet20` shows them. The run's
directory follows from the configuration, so the same command again continues the run or finds it finished.
--weights takes a safetensors file (from a .pth: scripts/pth_to_safetensors.py) or a run; its classes may be others.\
"""


def main(arguments: Sequence[str]) -> int:
    """Train, then show the curve, the claim and the diagnosis."""
    words = parse.take_apart(arguments)
    config, extras = parse.run_config(words, "convscope train", DESCRIPTION)
    from convscope.train.cross import cross_validate, holding_out
    from convscope.train.prepare import Place
    from convscope.train.run import command_line, run, try_one_batch

    from .show import Display

    place = Place(extras.root, extras.data_dir, extras.cache_dir, extras.allow_different, command_line())
    each = config.data.folds and config.data.fold is None
    if extras.overfit_one_batch:
        print(try_one_batch(holding_out(config, 0) if each else config, place), file=sys.stderr)
    display = Display()
    try:
        runs = cross_validate(config, place, display) if each else [run(config, place, display)]
    finally:
        display.close()
    if each:
        report_folds(runs)
    else:
        report(runs[0].root)
    return 0


def report_folds(runs: Sequence["Run"]) -> None:
    """What cross-validation prints: a line per part, and the mean."""
    from convscope.train.cross import accuracies

    print("fold  images  correct  accuracy  run")
    for fold, run in enumerate(runs):
        assert run.result is not None  # it has ended
        images, correct = run.result["final"]["images"], run.result["final"]["correct"]
        print(f"{fold:4}  {images:6,}  {correct:7,}  {correct / images:8.2%}  {run.root}")
    print(accuracies(runs))
    print(runs[0].claim(correct, images, "validation", "final").origin)


def best_sentence(best: Mapping[str, Any], measure: str) -> str:
    """Which weights are the best, and by what they were chosen."""
    accuracy = f"{best['val_accuracy']:.2%}"
    if measure == "accuracy":
        return f"Best on validation: {accuracy} at epoch {best['epoch']:g}."
    chosen = f"{best[f'val_{measure}']:.4f}" if measure == "loss" else f"{best[f'val_{measure}']:.2%}"
    return f"Best on validation by {measure.replace('_', ' ')}: {chosen} at epoch {best['epoch']:g}, accuracy {accuracy}."


def report(root: Path) -> None:
    """What a finished run prints: curve, claim, best, diagnosis, and what to do next."""
    from convscope.core import records
    from convscope.evaluate.runs import open_run

    from .show import curve, duration

    run = open_run(root)
    result = run.result
    assert result is not None  # the run has just ended
    if "final" in result:
        accuracies = [record["val_accuracy"] for record in run.metrics]
        print(curve(accuracies, "validation accuracy by epoch"))
        print(run.claim(result["final"]["correct"], result["final"]["images"], "validation", "final"))
        print(best_sentence(result["best"], run.config.recipe.select))
    if result.get("ended") == "early stop":  # runs before 0.1 do not say
        print(f"Stopped early, at epoch {result['epochs']:g}: no better weights for a while.")
    print(f"Time: {duration(result['seconds'])}.")
    looks = records.read(run.paths.inspections)
    if looks:
        names = ", ".join(dict.fromkeys(look["diagnostic"] for look in looks))
        cost = duration(sum(look["seconds"] for look in looks))
        print(f"Looked at {len(looks)} times ({names}), which took {cost} of it: {run.paths.inspections}")
    for sentence in result["diagnosis"]:
        print(sentence)
    print(f"The test split is sealed. Open it once, when all is decided: convscope test {root}")
