"""`convscope tune`: the best values on validation, and whether they beat the default over fresh seeds."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field
from tyro.conf import OmitArgPrefixes

from convscope.core import config as configs
from convscope.core.errors import ConfigError, ConvscopeError

from . import parse
from . import study as verb

if TYPE_CHECKING:
    from convscope.studies.tune import Found, Search, Trial
    from convscope.train.events import Event

DESCRIPTION = """\
Search for a better recipe on the validation images, then compare what was found with the default, over seeds that
no trial had: the best of many trials was picked for looking good, so its own number is too high.

usage: convscope tune [MODEL DATA | FILE.toml] [flags]; without names: lenet5 digits

examples:
  convscope tune lenet5 digits                           learning rate and weight decay, 20 trials
  convscope tune lenet5 digits --space lr=0.001..1:log batch_size=32,64,128 model.norm=none,batch --trials 40
  convscope tune resnet20 cifar10 --set epochs=10 schedule=cosine --space lr=0.01..1:log weight_decay=1e-5..1e-2:log
  convscope tune experiment.toml --measure final_loss --seeds 8 --executor processes
  convscope tune lenet5 digits --space 'optimizer=["sgd:momentum=0.9,nesterov=true","adam"]' --seeds 0

--space takes KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=A,B,C; a range is of whole numbers if both ends are written as
such. A key is a field of the recipe, model.OPTION, data.size, data.fit or data.label_noise; without --space, lr from
a thirtieth to thirty times its default, and weight_decay from 1e-5 to 1e-2. Trials run one after another, all with
one seed; only the runs of the comparison use --executor. A trial worse at a validation than the median of those
before is ended early. The same command again carries on where it stopped. No test split is opened.\
"""


class Flags(BaseModel):
    """What `tune` understands."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    space: tuple[str, ...] = ()
    """What is searched, e.g. lr=0.001..1:log batch_size=32,64; absent: lr and weight_decay."""
    set: tuple[str, ...] = ()
    """KEY=VALUE for all trials and for the default they are compared with, e.g. epochs=10 model.width=8."""
    trials: int = Field(20, ge=1)
    """How many trials in all; those made before count."""
    seeds: int = Field(5, ge=0)
    """Over how many fresh seeds the best is compared with the default; 0: no comparison."""
    measure: str = "final_accuracy"
    """What is best: final_accuracy, best_accuracy, mean_accuracy, final_loss ..."""
    seed: int = Field(0, ge=0)
    """Of the proposals and of all trials' runs; the comparison has others."""
    name: str = Field("", pattern=r"^(\w[\w.@-]*)?$")
    """Of the folder in tune/ in the root; absent: model, data and a hash of all that is asked for."""
    runs: OmitArgPrefixes[verb.Runs] = verb.Runs(executor="serial")


def main(arguments: Sequence[str]) -> int:
    """Search, then compare.

    Raises:
        UsageError: see studies/space.py and studies/tune.py; before anything runs.
        ConvscopeError: no trial finished, or a run of the comparison failed.
    """
    words = parse.take_apart(arguments)
    parse.refuse_dotted(words, "; to search it: --space {name}=A,B")
    flags = parse.parse(Flags, Flags(), words.flags, "convscope tune", DESCRIPTION)
    from convscope.studies import tune

    runs = flags.runs
    search = asked(words.names, flags)
    folder = runs.root / "tune" / (flags.name or search.name)
    runs.chosen()  # what is wrong with it is said now, and not after the search
    parse.made_folder(folder, "--root")
    print(heading(search, flags.trials), flush=True)
    display = Display(search)
    found = tune.carry_out(
        search,
        folder,
        runs.place(),
        flags.trials,
        allow_mixed=runs.allow_mixed,
        told=display.told,
        watch=display,
    )
    if found.best is None:
        raise ConvscopeError(
            f"No trial finished of {len(found.trials)}, so none is the best: {counted(found)}. Search another range."
        )
    print(f"\n{conclusion(found)}")
    if not flags.seeds:
        study = None
    elif (study := tune.comparison(found, flags.seeds)) is None:
        print("That is the default recipe, so there is nothing to compare it with.")
    failed = 0
    if study:
        print(f"\nNow both over {study.seeds} seed{'s' * (study.seeds > 1)} that no trial had:\n", flush=True)
        failed = verb.told(verb.made(study, folder, runs), folder / "comparison")
    print(f"\nin {folder}: {tune.TABLE}, {tune.BEST}")
    print(farewell(folder / tune.BEST, runs.root))
    if failed:
        raise ConvscopeError(verb.failures(failed))
    return 0


def asked(names: Sequence[str], flags: Flags) -> "Search":
    """What is searched, from the words in front and the flags.

    Raises:
        ConfigError, UnknownName: see studies/space.py and studies/tune.py.
    """
    from convscope.studies import space, tune

    base: Mapping[str, Any]
    if len(names) == 1 and names[0].endswith(".toml"):
        given = configs.as_table(configs.read_toml(Path(names[0])))
        base = {part: given[part] for part in ("model", "data", "recipe")}
    elif len(names) <= 2:
        config = configs.default_config(*names)
        base = {"model": configs.as_table(config.model), "data": {"source": config.data.source}, "recipe": {}}
    else:
        raise ConfigError(
            f"tune takes a model and a data set, or one file; {len(names)} names were given: {', '.join(names)}."
        )
    base = tune.based(base, parse.pairs(flags.set))
    axes = space.read(flags.space)
    whole = tune.Search(base, axes, flags.measure, flags.seed, flags.runs.threads)
    if not axes:
        axes = space.default(whole.config({}, 0, "--set").recipe)
        whole = tune.Search(base, axes, flags.measure, flags.seed, flags.runs.threads)
    tune.check(whole)
    return whole


def heading(search: "Search", trials: int) -> str:
    """What is about to be searched."""
    from convscope.studies.measures import EXPLAINED

    asked = search.config({}, 0)
    best = "highest" if search.higher else "lowest"
    return (
        f"{asked.model} on {asked.data.source}: {trials} trials over {', '.join(map(str, search.space))}\n"
        f"Best is the {best} {search.measure}: {EXPLAINED[search.measure]}.\n"
    )


class Display:
    """Prints every trial that has ended; on stderr, the validations of the one that runs."""

    def __init__(self, search: "Search") -> None:
        self.search = search

    def __call__(self, number: int, event: "Event") -> None:
        """Show a validation."""
        from convscope.train.events import Prepared, Validated

        from .show import validation_line

        match event:
            case Prepared() if event.start:
                text = f"continued at step {event.start:,} of {event.total:,}"
            case Validated():
                text = validation_line(event.record, event.is_best)
            case _:
                return
        print(f"trial {number}  {text}", file=sys.stderr, flush=True)

    def told(self, trial: "Trial") -> None:
        """Print a trial's line."""
        print(trial_line(trial, self.search), flush=True)


def trial_line(trial: "Trial", search: "Search") -> str:
    """Number, values, what came of it, and the time it took."""
    from .show import duration

    return f"{trial.number:4}  {_values(trial)}  {_outcome(trial, search)}  ({duration(trial.seconds)})"


def _values(trial: "Trial") -> str:
    from convscope.studies.space import word

    return " ".join(f"{key}={word(value)}" for key, value in trial.changes.items())


def _outcome(trial: "Trial", search: "Search") -> str:
    from convscope.studies.report import level

    if trial.value is not None:
        return f"{search.measure} {level(search.measure)(trial.value)}"
    if trial.status == "pruned":
        accuracy = "" if trial.accuracy is None else f" with {trial.accuracy:.2%} on validation"
        return f"pruned at epoch {trial.epoch:g}{accuracy}"
    return f"{trial.status}: {trial.message}"


def counted(found: "Found") -> str:
    """'17 finished, 2 pruned, 1 diverged'."""
    states = [trial.status for trial in found.trials]
    return ", ".join(f"{states.count(one)} {one}" for one in dict.fromkeys(states))


def conclusion(found: "Found") -> str:
    """The best trial, how many it is the best of, and which keys mattered."""
    best, search = found.best, found.search
    assert best is not None  # the caller asked
    lines = [
        f"best of {len(found.trials)} ({counted(found)}): trial {best.number}, {_values(best)}, "
        f"{_outcome(best, search)}"
    ]
    if found.importance:
        shares = ", ".join(f"{key} {share:.0%}" for key, share in found.importance.items())
        lines.append(f"of what the keys explain alone among the finished trials (fANOVA): {shares}")
    return "\n".join(lines)


def farewell(best: Path, root: Path) -> str:
    """What the numbers are not, and what to do next."""
    where = "" if root == Path("runs") else f" --root {root}"
    return (
        f"All this was seen on the validation images by which the search chose. When everything is decided, open the "
        f"sealed test split once:\n  convscope train {best}{where}\n  convscope test RUN"
    )
