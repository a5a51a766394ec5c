"""What is compared with what, and what was expected before?

A study is a function that yields arms, and the comparisons that were
published or asked for:

    @study(
        question="Does decaying the learning rate help SimpleNN?",
        expectation="Yes, by about two points: one run of S1 gained 2.3.",
        model="simplenn", data="cifar10", recipe={"epochs": 30, "lr": 0.01},
        baseline="constant", measure="best_accuracy",
    )
    def decay() -> Iterator[Arm | Comparison]:
        yield arm("constant", published=Published(0.6570, "S1.28"))
        yield arm("every 10", schedule="step:every=10", published=Published(0.6802, "S1.29"))
        yield greater("every 10", than="constant", source="S1.29", by=0.0232)

Runs of one seed share initial weights, order and augmentation in all arms,
because each of these is a function of the seed alone (core/streams.py), and
all runs share the split, which has a seed of its own; an arm varies what it
names and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import wraps
from inspect import signature
from itertools import product
from types import GeneratorType
from typing import Any, Literal

from convscope.core import catalog
from convscope.core import config as configs
from convscope.core.config import DataConfig, Recipe, RunConfig
from convscope.core.errors import ConfigError, UnknownName, nearest

from . import measures

Form = Literal["greater", "less", "equal", "different"]
FORMS: tuple[Form, ...] = ("greater", "less", "equal", "different")
LARGEST_FAMILY = 6
"""Comparisons in one table; more need a reason, for each takes power from the others (Holm)."""
FIRST_TRIAL_SEED = 1_000_000
"""Seeds of the runs that choose among tries: none of those by which arms are then compared."""


@dataclass(frozen=True)
class Published:
    """A number somebody printed, and where."""

    value: float
    """In the unit of the measure: accuracies are fractions."""
    source: str
    """An item of the source documents such as S1.43, or a paper and its table."""


@dataclass(frozen=True)
class Confused:
    """The pairs of classes that somebody found to be confused most often, and where."""

    pairs: tuple[str, ...]
    """`true-predicted`, the most frequent first: `4-9`."""
    source: str


@dataclass(frozen=True)
class Curve:
    """Validation accuracy after the first, second, ... epoch that somebody printed, over several runs, and where."""

    means: tuple[float, ...]
    source: str
    sds: tuple[float, ...] = ()
    """Standard deviations over those runs, as many as means, if they were printed."""
    best: float | None = None
    """The best of all runs and epochs, if it was printed."""


@dataclass(frozen=True)
class Arm:
    """One recipe of a study, trained once per seed."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    """What differs from the study: `lr`, `optimizer`, `model.norm`, `data.label_noise`; `model` and `data` whole."""
    published: Published | None = None
    confused: Confused | None = None
    levels: Mapping[str, str] = field(default_factory=dict)
    """Factor -> level, if the arm is a cell of a factorial."""
    tries: tuple[Mapping[str, Any], ...] = ()
    """Changes of which the best on validation is taken, by runs of their own: the arm's budget."""
    curve: Curve | None = None


@dataclass(frozen=True)
class Comparison:
    """A statement about two arms that the runs will support, contradict or leave open."""

    arm: str
    form: Form
    than: str
    source: str = ""
    by: float | None = None
    """The published difference, arm minus `than`."""
    within: float | None = None
    """For `equal`: the largest difference that still counts as none."""
    measure: str = ""
    """Absent: the study's."""

    def __str__(self) -> str:
        said = {"greater": ">", "less": "<", "equal": "=", "different": "against"}.get(self.form, self.form)
        return f"{self.arm} {said} {self.than}" + (f" within {self.within:g}" if self.within else "")


def greater(arm: str, than: str, source: str = "", by: float | None = None, measure: str = "") -> Comparison:
    """The claim that `arm` has more of the measure than another arm: one's own, or published as `by` more."""
    return Comparison(arm, "greater", than, source, by, measure=measure)


def less(arm: str, than: str, source: str = "", by: float | None = None, measure: str = "") -> Comparison:
    """The claim that `arm` has less of the measure than another arm; `by` is then negative."""
    return Comparison(arm, "less", than, source, by, measure=measure)


def different(arm: str, than: str, source: str = "", measure: str = "") -> Comparison:
    """The question whether two arms differ, either way, where nobody claimed which."""
    return Comparison(arm, "different", than, source, measure=measure)


def equal(arm: str, than: str, source: str = "", *, within: float, measure: str = "") -> Comparison:
    """The claim that two arms differ by no more than `within`."""
    return Comparison(arm, "equal", than, source, within=within, measure=measure)


@dataclass(frozen=True)
class Study:
    """Arms x seeds, and what is asked of them."""

    name: str
    title: str
    """One line."""
    question: str
    expectation: str
    """Written before anything runs."""
    base: Mapping[str, Any]
    """model, data, recipe: what all arms share."""
    arms: tuple[Arm, ...]
    baseline: str
    measure: str
    comparisons: tuple[Comparison, ...]
    also: tuple[str, ...] = ()
    """Further measures, recorded and shown but in no family."""
    seeds: int = 5
    """Seeds 0 ... seeds - 1."""
    designed_seeds: int = 0
    """What the design says, if another number was asked for since; else 0."""
    axis: str = ""
    """The change that is an axis of the figure, where arms are a sweep: `lr`."""
    inspect: tuple[str, ...] = ()
    """Diagnostics that look while each run learns."""
    inspect_every: str = "1 epoch"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of all runs; auto lets each network take what is faster on the machine, so that arms may compute otherwise."""
    sd: float = 0.005
    """Assumed standard deviation of a difference between two arms, for the plan until there are runs."""
    trial_seeds: int = 1
    """Runs with which each of an arm's `tries` is judged."""
    why_many: str = ""
    """Why there are more than six comparisons."""
    remarks: tuple[str, ...] = ()
    """What else a reader of the numbers must know, such as in what the runs differ from those of the source."""

    def __post_init__(self) -> None:
        from .review import review  # which asks what this module defines

        review(self)

    def arm(self, name: str) -> Arm:
        """The arm of this name.

        Raises:
            UnknownName: there is none.
        """
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise UnknownName(f"arm of study {self.name}", name, [arm.name for arm in self.arms])

    @property
    def measures(self) -> tuple[str, ...]:
        """All that is recorded: the study's own first."""
        named = (self.measure, *self.also, *(comparison.measure for comparison in self.comparisons))
        return tuple(dict.fromkeys(name for name in named if name))

    @property
    def looks(self) -> tuple[str, ...]:
        """Diagnostics that look while each run learns: those of `inspect` and those of measures over time."""
        asked = map(configs.choice, (*self.inspect, *measures.looked(self.measures)))
        # A look is recorded under the diagnostic's name alone; review.py refuses one with two sets of options.
        return tuple({choice.name: choice.spelled() for choice in asked}.values())

    @property
    def factors(self) -> dict[str, list[str]]:
        """Factor -> its levels in order; empty if the arms are no complete factorial."""
        found: dict[str, list[str]] = {}
        for arm in self.arms:
            for factor, level in arm.levels.items():
                if level not in found.setdefault(factor, []):
                    found[factor].append(level)
        cells = {tuple(arm.levels.get(factor) for factor in found) for arm in self.arms}
        return found if found and cells == set(product(*found.values())) else {}

    def config(self, arm: Arm, seed: int, threads: int = 1) -> RunConfig:
        """The run of one arm and seed.

        Raises:
            ConfigError: a change names no field, or its value is not allowed.
        """
        where = f"study {self.name}, arm {arm.name!r}"
        compute = {
            "threads": threads, "precision": self.precision,
            "inspect": list(self.looks), "inspect_every": self.inspect_every,
        }  # fmt: skip
        table = changed(self.base, arm.changes, where)
        return configs.from_table({**table, "seed": seed, "compute": compute}, where)

    def with_seeds(self, seeds: int) -> Study:
        """The same study with another number of seeds, which its report will say."""
        return replace(self, seeds=seeds, designed_seeds=self.designed_seeds or self.seeds)

    def with_base(self, changes: Mapping[str, Any]) -> Study:
        """The same study with other values for what all arms share, such as fewer epochs."""
        return replace(self, base=changed(self.base, changes, f"study {self.name}"))


_PARTS = ("model", "data", "recipe")


def changed(base: Mapping[str, Any], changes: Mapping[str, Any], where: str) -> dict[str, dict[str, Any]]:
    """What all arms share, with an arm's changes: `lr` and `recipe.lr`; `model` and `model.norm`; `data` and `data.size`.

    A part that is replaced as a whole comes first, wherever it stands: else it would undo a change of its option.
    """
    table = {part: dict(base.get(part, {})) for part in _PARTS}
    for key, value in sorted(changes.items(), key=lambda item: item[0] not in _PARTS):
        part, dot, rest = key.partition(".")
        if key in ("model", "data"):
            table[key] = as_table(key, value, where)
        elif key in Recipe.model_fields:
            table["recipe"][key] = value
        elif dot and rest and (part == "model" or rest in _FIELDS.get(part, ())):
            table[part][rest] = value
        else:
            raise ConfigError(
                f"{where}: {key!r} is nothing that an arm can change.{_meant(key, table)} {_CHANGES}"
            )
    return table


_FIELDS = {"data": DataConfig.model_fields, "recipe": Recipe.model_fields}
_CHANGES = "It is a field of the recipe (`convscope list options`), model, model.OPTION, data, or data.FIELD."


def _meant(key: str, table: Mapping[str, Mapping[str, Any]]) -> str:
    """The nearest changes; above all the one that lacks its part: `norm` for `model.norm`."""
    model = table["model"].get("name")
    options = catalog.options(catalog.find("models", model)) if model in catalog.names("models") else {}
    known = ["model", "data", "published", "confused", "curve", "tries", *Recipe.model_fields]
    known += [f"data.{name}" for name in DataConfig.model_fields] + [f"model.{name}" for name in options]
    same = [name for name in known if name.partition(".")[2] == key.rpartition(".")[2]]
    return f" Did you mean {same[0]!r}?" if same else nearest(key.removeprefix("recipe."), known)


def as_table(part: str, value: Any, where: str) -> dict[str, Any]:
    """`simplenn:norm=batch` or a table -> a table with the options beside the name."""
    key = "source" if part == "data" else "name"
    if isinstance(value, Mapping) and isinstance(value.get(key), str):
        return dict(value)
    if not isinstance(value, str):
        raise ConfigError(f"{where}: {part} cannot be {value!r}. Give a name, or a table with {key} = '...'.")
    if part == "data":
        return {"source": value}
    choice = configs.choice(value)
    return {"name": choice.name, **choice.options}


def arm(
    name: str,
    changes: Mapping[str, Any] | None = None,
    *,
    published: Published | None = None,
    confused: Confused | None = None,
    curve: Curve | None = None,
    tries: Mapping[str, Iterable[Any]] | None = None,
    **more: Any,
) -> Arm:
    """An arm of a study.

    Args:
        name: for tables; unique in the study.
        changes: by key, for those with a dot: {"model.norm": "batch"}.
        published: the number somebody printed for it.
        confused: the pairs of classes somebody printed for it.
        curve: the accuracies by epoch somebody printed for it.
        tries: one key with the values to try, {"lr": [0.001, 0.01, 0.1]}: the one with the best mean on
            validation, over runs with seeds of their own, is then compared.
        more: changes whose key is a word: lr=0.05, optimizer="adam".

    Raises:
        ConfigError: no mapping, several keys to try, or one without values.
    """
    for given, what in ((changes or {}, "changes"), (tries or {}, "tries")):
        if not isinstance(given, Mapping):
            raise ConfigError(
                f"arm {name!r}: {what} cannot be {given!r}: a mapping by key, such as {{'lr': "
                f"{0.1 if what == 'changes' else [0.01, 0.1]}}}."
            )
    if len(tries or {}) > 1:
        raise ConfigError(
            f"arm {name!r} tries {' and '.join(tries or {})}; one key can be tried, such as the rate."
        )
    for key, values in (tries or {}).items():
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise ConfigError(f"arm {name!r} tries {key}, but {values!r} is no list of values.")
    candidates = [{key: value} for key, values in (tries or {}).items() for value in values]
    if tries and not candidates:
        raise ConfigError(f"arm {name!r} tries {next(iter(tries))}, but no value of it is given.")
    return Arm(name, {**(changes or {}), **more}, published, confused, tries=tuple(candidates), curve=curve)


def factorial(
    factors: Mapping[str, Mapping[str, Mapping[str, Any]]],
    published: Mapping[tuple[str, ...], Published] | None = None,
) -> Iterator[Arm]:
    """An arm for every combination of levels; its effects and interactions are reported (stats.py).

    Args:
        factors: factor -> level -> changes: {"dropout": {"0": {}, "0.5": {"model.dropout": 0.5}}, "l2": ...}.
        published: levels, in the order of the factors -> the number printed for that arm.

    Raises:
        ConfigError: a factor with fewer than two levels, two that change the same, or a number for no arm.
    """
    _refuse_factors(factors, published or {})
    for cell in product(*(levels.items() for levels in factors.values())):
        names = tuple(level for level, _ in cell)
        changes = {key: value for _, part in cell for key, value in part.items()}
        levels = dict(zip(factors, names, strict=True))
        name = ", ".join(f"{factor} {level}" for factor, level in levels.items())
        yield Arm(name, changes, (published or {}).get(names), levels=levels)


def _refuse_factors(
    factors: Mapping[str, Mapping[str, Mapping[str, Any]]], published: Mapping[tuple[str, ...], Published]
) -> None:
    changed: dict[str, str] = {}
    for factor, levels in factors.items():
        if len(levels) < 2:
            raise ConfigError(
                f"The factor {factor!r} has {len(levels)} level{'s' * (len(levels) != 1)}; an effect needs two."
            )
        for key in {key: None for level in levels.values() for key in level}:
            if changed.setdefault(key, factor) != factor:
                raise ConfigError(
                    f"The factors {changed[key]!r} and {factor!r} both change {key}, so the one would undo the other. "
                    f"Make one factor of them, with a level for each combination."
                )
    for cell in published.keys() - set(product(*factors.values())):
        raise ConfigError(
            f"A number is published for {cell}, which is no combination of levels of {', '.join(factors)}, in this order."
        )


def study(
    *,
    question: str,
    expectation: str,
    model: str | Mapping[str, Any],
    data: str | Mapping[str, Any],
    baseline: str,
    measure: str = "final_accuracy",
    recipe: Mapping[str, Any] | None = None,
    name: str = "",
    **options: Any,
) -> Callable[[Callable[[], Iterable[Arm | Comparison]]], Callable[[], Study]]:
    """Make a study of a function that yields arms and comparisons.

    Args:
        question: what is asked.
        expectation: what is expected and why, written before anything runs.
        model: a name, name:key=value, or a table.
        data: a source, or a table of the fields of `DataConfig`.
        baseline: the arm that the others are compared with where no comparison is yielded.
        measure: of measures.py: final_accuracy, best_accuracy, `activations/dead_share` ...
        recipe: fields of `Recipe` that all arms share; the rest is the model's default recipe.
        name: absent: the function's, with dashes.
        options: further fields of `Study`.

    Returns:
        A decorator; the decorated function gives the `Study`, and is called without arguments.
    """

    def decorate(function: Callable[[], Iterable[Arm | Comparison]]) -> Callable[[], Study]:
        own = name or function.__name__.replace("_", "-")
        where = f"study {own}"
        _refuse_design(where, function, options)

        @wraps(function)
        def build() -> Study:
            base = {
                "model": as_table("model", model, where),
                "data": as_table("data", data, where),
                "recipe": dict(recipe or {}),
            }
            title = (function.__doc__ or own).strip().partition("\n")[0].rstrip(".")
            return made(
                function(), name=own, question=question, expectation=expectation, base=base, baseline=baseline,
                measure=measure, **{"title": title, **options},
            )  # fmt: skip

        build.__annotations__ = {"return": Study}
        return build

    return decorate


def _refuse_design(where: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    for needed in signature(function).parameters.values():
        if needed.default is needed.empty and needed.kind not in (needed.VAR_POSITIONAL, needed.VAR_KEYWORD):
            raise ConfigError(
                f"{where}: its function is called without arguments, and needs {needed.name!r}."
            )
    for key, value in options.items():
        if key in Recipe.model_fields:
            raise ConfigError(f"{where}: {key} is a field of the recipe: recipe={{{key!r}: {value!r}}}.")
        if key not in OPTIONS:
            raise ConfigError(
                f"{where}: {key} is not known.{nearest(key, OPTIONS)} Known: {', '.join(OPTIONS)}."
            )


OPTIONS = (
    "title",
    *(own.name for own in fields(Study) if own.default is not MISSING and own.name != "designed_seeds"),
)
"""What a study may say beside what it must."""


def is_study(thing: object) -> bool:
    """Whether it is a function that `study` decorated."""
    return hasattr(thing, "__wrapped__") and getattr(thing, "__annotations__", {}).get("return") is Study


def made(parts: Iterable[Arm | Comparison], **options: Any) -> Study:
    """A study of what a function yielded or a file listed; without comparisons, each arm against the baseline.

    Raises:
        ConfigError: something else was yielded, or the study must be refused (review.py).
    """
    from .review import Refusal  # which asks what this module defines

    where = f"study {options['name']}"
    if not isinstance(parts, Iterable):
        raise ConfigError(f"{where} gives {parts!r}; its function must yield arms and comparisons.")
    arms: list[Arm] = []
    comparisons: list[Comparison] = []
    lines: dict[tuple[str | int, ...], int] = {}
    for part in parts:
        place = ("arm", len(arms)) if isinstance(part, Arm) else ("claim", len(comparisons))
        if isinstance(parts, GeneratorType) and parts.gi_frame:
            lines[place] = parts.gi_frame.f_lineno
        if isinstance(part, Arm):
            arms.append(part)
        elif isinstance(part, Comparison):
            comparisons.append(part)
        else:
            raise ConfigError(f"{where} yields {part!r}, which is neither an arm nor a comparison.")
    if not comparisons and not any(arm.levels for arm in arms):
        others = [arm.name for arm in arms if arm.name != options["baseline"]]
        comparisons = [Comparison(name, "different", options["baseline"]) for name in others]
    try:
        return Study(arms=tuple(arms), comparisons=tuple(comparisons), **options)
    except Refusal as error:
        error.line = lines.get(error.place[:2])
        raise
