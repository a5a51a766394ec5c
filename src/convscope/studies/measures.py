"""What can a study measure, and which direction is better?

Of every run, from its validation images and its record:

    final_accuracy   best_accuracy   mean_accuracy   final_loss   train_accuracy   gap   parameters   macs

and any plain number of any diagnostic: `activations/dead` at the last step,
`weights:threshold=0.01/total_small` with options, `smoothness/beta@max` over the looks
that are then taken while the run learns (max, min, mean or last).  The test split is no measure.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Callable, Sequence
from statistics import fmean

from convscope.core import catalog, records
from convscope.core import config as configs
from convscope.core.errors import ConfigError, UnknownName
from convscope.data import Data
from convscope.evaluate.runs import Run
from convscope.evaluate.subject import Result

HIGHER_IS_BETTER: dict[str, bool] = {
    "final_accuracy": True,
    "best_accuracy": True,
    "mean_accuracy": True,
    "final_loss": False,
    "train_accuracy": True,
    "gap": False,
    "parameters": False,
    "macs": False,
}
EXPLAINED = {
    "final_accuracy": "accuracy on the validation images after the last step",
    "best_accuracy": "the highest validation accuracy of any epoch, chosen on the images it is scored on",
    "mean_accuracy": "validation accuracy averaged over the epochs: how fast it learned",
    "final_loss": "cross-entropy on the validation images after the last step, nats per image",
    "train_accuracy": "accuracy on training images, without augmentation, after the last step",
    "gap": "train_accuracy minus final_accuracy",
    "parameters": "numbers that the network learns",
    "macs": "multiply-adds of one image",
}
OVER_TIME: dict[str, Callable[[Sequence[float]], float]] = {
    "max": max,
    "min": min,
    "mean": fmean,
    "last": lambda values: values[-1],
}
"""How the looks of a diagnostic during a run become one number."""
Numbers = dict[str, float | None]


def check(name: str) -> None:
    """Whether there is such a measure.

    Raises:
        UnknownName: no such measure, diagnostic, number of it, or way to combine looks.
        ConfigError: the test split was asked for.
    """
    if name in HIGHER_IS_BETTER:
        return
    if name.startswith("test"):
        raise ConfigError(
            f"{name!r} cannot be a measure: a study chooses, and whoever chooses must not see test images. Take "
            f"final_accuracy; the test split is opened once, at the end, by `convscope test RUN`."
        )
    if "/" not in name:
        known = [*HIGHER_IS_BETTER, *(f"{item}/..." for item in catalog.names("diagnostics"))]
        raise UnknownName("measure", name, known)
    choice, number, when = _parts(name)
    choice.resolved("diagnostics")
    if when is not None and when not in OVER_TIME:
        raise UnknownName("way to combine looks", when, OVER_TIME)
    offered = _numbers_of(choice.name)
    if offered and number not in offered:
        raise UnknownName(f"number of the diagnostic {choice.name}", number, offered)


def higher_is_better(name: str) -> bool:
    """The direction of a measure.

    Raises:
        ConfigError: a diagnostic's number: more of it is neither better nor worse.
    """
    if name not in HIGHER_IS_BETTER:
        raise ConfigError(
            f"More of {name!r} is neither better nor worse, so nothing can be chosen by it. Choose by one of "
            f"{', '.join(HIGHER_IS_BETTER)}."
        )
    return HIGHER_IS_BETTER[name]


def is_share(name: str) -> bool:
    """Whether it is a fraction, shown in percent."""
    name = name.partition("@")[0]
    return name.endswith("accuracy") or name == "gap" or name.endswith(("share", "total_small", "total_zero"))


def is_bounded(name: str) -> bool:
    """Whether it lies between 0 and 1, as a t interval of it need not."""
    return is_share(name) and name != "gap"  # a difference of two shares


def label(name: str) -> str:
    """For axes and heads of tables: `final accuracy`, `activations: dead`."""
    return name.replace("/", ": ").replace("_", " ").replace("@", ", ")


def looked(names: Sequence[str], *, at_the_end: bool = False) -> tuple[str, ...]:
    """The diagnostics, with their options, that must look during the run for the measures over time among these.

    Or, with `at_the_end`, those that look once it has ended, for the others.
    """
    parts = [_parts(name) for name in names if "/" in name]
    return tuple(dict.fromkeys(choice.spelled() for choice, _, when in parts if (when is None) == at_the_end))


def measured(run: Run, names: Sequence[str], data: Data | None = None) -> Numbers:
    """These measures of a finished run, and all that cost nothing; None where one is not a finite number.

    Args:
        run: finished, not diverged.
        names: further measures.
        data: what it was trained on, if that is loaded already; absent: it is found again where data usually are.

    Raises:
        UnknownName: a diagnostic whose numbers depend on the network has no such number for this one.
    """
    found = _of_run(run)
    results: dict[str, Result] = {}
    for name in names:
        if name not in found:
            is_over_time = _parts(name)[2] is not None
            found[name] = _over_time(run, name) if is_over_time else _at_the_end(run, name, data, results)
    return {
        name: float(value) if value is not None and math.isfinite(value) else None
        for name, value in found.items()
    }


def _of_run(run: Run) -> Numbers:
    """All of `HIGHER_IS_BETTER`; None for what needs validation images where nothing was held out."""
    from convscope.models.summary import summarise

    result, card = run.result or {}, run.card("last")
    summary = summarise(card.network(), (card.channels, card.height, card.width))
    train = result["train_sample"]["correct"] / result["train_sample"]["images"]
    found: Numbers = dict.fromkeys(HIGHER_IS_BETTER)
    found |= {"train_accuracy": train, "parameters": summary.parameters, "macs": summary.macs}
    if final := result.get("final"):
        accuracies = [record["val_accuracy"] for record in run.metrics]
        found |= {
            "final_accuracy": final["accuracy"],
            "best_accuracy": max(accuracies),
            "mean_accuracy": fmean(accuracies),
            "final_loss": final["loss"],
            "gap": train - final["accuracy"],
        }
    return found


def _at_the_end(run: Run, name: str, data: Data | None, results: dict[str, Result]) -> float | None:
    from convscope.diagnostics import inspect

    choice, number, _ = _parts(name)
    key = choice.spelled()
    if key not in results:
        results[key] = inspect(run, choice.name, data=data, weights="last", **choice.options)
    scalars = results[key].scalars()
    if number not in scalars and not _numbers_of(choice.name):
        raise UnknownName(f"number of the diagnostic {choice.name}", number, scalars)
    return scalars.get(number)


def _over_time(run: Run, name: str) -> float | None:
    """One number of all looks that found one; None if none did, or the last did not and is asked for.

    Smoothness finds none where the learning rate is 0, as it is after the last step of most schedules.
    """
    choice, number, when = _parts(name)
    looks = [look for look in records.read(run.paths.inspections) if look["diagnostic"] == choice.name]
    values = [float(look[number]) for look in looks if number in look]
    if when != "last":
        values = [value for value in values if not math.isnan(value)]
    return float(OVER_TIME[when](values)) if when and values else None


def _parts(name: str) -> tuple[configs.Choice, str, str | None]:
    """`smoothness:batches=5/beta@max` -> (smoothness with its options, beta, max); without @, None at the end."""
    text, _, rest = name.rpartition("/")
    number, at, when = rest.partition("@")
    return configs.choice(text), number, when if at else None


def _numbers_of(diagnostic: str) -> tuple[str, ...]:
    """The plain numbers of a diagnostic's result; empty if only a result can tell."""
    result = typing.get_type_hints(catalog.find("diagnostics", diagnostic).load())["return"]
    if result.scalars is not Result.scalars:
        return ()
    hints = typing.get_type_hints(result)
    return tuple(field.name for field in dataclasses.fields(result) if hints[field.name] in (int, float))
