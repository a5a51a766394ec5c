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

Runs of one seed share split, initial weights, order and augmentation in all
arms, because each of these is a function of the seed alone (core/streams.py);
an arm varies what it names and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from itertools import product
from typing import Any, Literal

from convscope.core import config as configs
from convscope.core.config import DataConfig, Recipe, RunConfig
from convscope.core.errors import ConfigError, UnknownName, nearest

from . import measures

Form = Literal["greater", "less", "equal", "different"]
FORMS: tuple[Form, ...] = ("greater", "less", "equal", "different")
LARGEST_FAMILY = 6
"""Comparisons in one table; more need a reason, for each takes power from the others (Holm)."""
FIRST_TRIAL_SEED = 1_000_000
"""Seeds of the runs that choose a learning rate: none of those by which arms are then compared."""


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
class Arm:
    """One recipe of a study, trained once per seed."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    """What differs from the study: `lr`, `optimizer`, `model.norm`, `data.label_noise`, `data` ..."""
    published: Published | None = None
    confused: Confused | None = None
    levels: Mapping[str, str] = field(default_factory=dict)
    """Factor -> level, if the arm is a cell of a factorial."""
    tries: tuple[Mapping[str, Any], ...] = ()
    """Changes of which the best on validation is taken, by runs of their own: the arm's budget."""


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


def greater(arm: str, than: str, source: str, by: float | None = None, measure: str = "") -> Comparison:
    """The claim that `arm` has more of the measure than another arm, published as `by` more."""
    return Comparison(arm, "greater", than, source, by, measure=measure)


def less(arm: str, than: str, source: str, by: float | None = None, measure: str = "") -> Comparison:
    """The claim that `arm` has less of the measure than another arm; `by` is then negative."""
    return Comparison(arm, "less", than, source, by, measure=measure)


def equal(arm: str, than: str, source: str, within: float, measure: str = "") -> Comparison:
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
    axis: str = ""
    """The change that is an axis of the figure, where arms are a sweep: `lr`."""
    inspect: tuple[str, ...] = ()
    """Diagnostics that look while each run learns."""
    inspect_every: str = "1 epoch"
    sd: float = 0.005
    """Assumed standard deviation of a difference between two arms, for the plan until there are runs."""
    trial_seeds: int = 1
    """Runs with which each of an arm's `tries` is judged."""
    why_many: str = ""
    """Why there are more than six comparisons."""

    def __post_init__(self) -> None:
        _check(self)

    def arm(self, name: str) -> Arm:
        """The arm of this name."""
        return next(arm for arm in self.arms if arm.name == name)

    @property
    def measures(self) -> tuple[str, ...]:
        """All that is recorded: the study's own first."""
        named = (self.measure, *self.also, *(comparison.measure for comparison in self.comparisons))
        return tuple(dict.fromkeys(name for name in named if name))

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
        table = {part: dict(self.base.get(part, {})) for part in ("model", "data", "recipe")}
        where = f"study {self.name}, arm {arm.name!r}"
        for key, value in arm.changes.items():
            _change(table, key, value, where)
        compute = {"threads": threads, "inspect": list(self.inspect), "inspect_every": self.inspect_every}
        return configs.from_table({**table, "seed": seed, "compute": compute}, where)

    def with_base(self, changes: Mapping[str, Any]) -> Study:
        """The same study with other values for what all arms share, such as fewer epochs."""
        table = {part: dict(self.base.get(part, {})) for part in ("model", "data", "recipe")}
        for key, value in changes.items():
            _change(table, key, value, f"study {self.name}")
        return replace(self, base=table)


def _change(table: dict[str, dict[str, Any]], key: str, value: Any, where: str) -> None:
    """`lr` and `recipe.lr`; `model` and `model.norm`; `data` and `data.label_noise`."""
    part, dot, rest = key.partition(".")
    if not dot and key in ("model", "data"):
        table[key] = _as_table(key, value)
    elif not dot and key in Recipe.model_fields:
        table["recipe"][key] = value
    elif dot and part in table and (part == "model" or rest in _FIELDS[part]):
        table[part][rest] = value
    else:
        known = ["model", "data", *Recipe.model_fields, *(f"data.{name}" for name in DataConfig.model_fields)]
        raise ConfigError(
            f"{where}: {key!r} is nothing that an arm can change.{nearest(key, known)} It is a field of the recipe "
            f"(`convscope list options`), model, model.OPTION, data, or data.FIELD."
        )


_FIELDS = {"data": DataConfig.model_fields, "recipe": Recipe.model_fields}


def _as_table(part: str, value: Any) -> dict[str, Any]:
    """`simplenn:norm=batch` or a table -> a table with the options beside the name."""
    if part == "data":
        return {"source": value} if isinstance(value, str) else dict(value)
    choice = configs.choice(value) if isinstance(value, str) else configs.Choice.model_validate(value)
    return {"name": choice.name, **choice.options}


def arm(
    name: str,
    changes: Mapping[str, Any] | None = None,
    *,
    published: Published | None = None,
    confused: Confused | None = None,
    tries: Mapping[str, Iterable[Any]] | None = None,
    **more: Any,
) -> Arm:
    """An arm of a study.

    Args:
        name: for tables; unique in the study.
        changes: by key, for those with a dot: {"model.norm": "batch"}.
        published: the number somebody printed for it.
        confused: the pairs of classes somebody printed for it.
        tries: one key with the values to try, {"lr": [0.001, 0.01, 0.1]}: the one with the best mean on
            validation, over runs with seeds of their own, is then compared.
        more: changes whose key is a word: lr=0.05, optimizer="adam".
    """
    candidates = [{key: value} for key, values in (tries or {}).items() for value in values]
    return Arm(name, {**(changes or {}), **more}, published, confused, tries=tuple(candidates))


def factorial(
    factors: Mapping[str, Mapping[str, Mapping[str, Any]]],
    published: Mapping[tuple[str, ...], Published] | None = None,
) -> Iterator[Arm]:
    """An arm for every combination of levels; its effects and interactions are reported (stats.py).

    Args:
        factors: factor -> level -> changes: {"dropout": {"0": {}, "0.5": {"model.dropout": 0.5}}, "l2": ...}.
        published: levels, in the order of the factors -> the number printed for that arm.
    """
    for cell in product(*(levels.items() for levels in factors.values())):
        names = tuple(level for level, _ in cell)
        changes = {key: value for _, part in cell for key, value in part.items()}
        levels = dict(zip(factors, names, strict=True))
        name = ", ".join(f"{factor} {level}" for factor, level in levels.items())
        yield Arm(name, changes, (published or {}).get(names), levels=levels)


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
        measure: of measures.py: final_accuracy, best_accuracy, `activations.dead` ...
        recipe: fields of `Recipe` that all arms share; the rest is the model's default recipe.
        name: absent: the function's, with dashes.
        options: further fields of `Study`.

    Returns:
        A decorator; the decorated function gives the `Study`, and is called without arguments.
    """

    def decorate(function: Callable[[], Iterable[Arm | Comparison]]) -> Callable[[], Study]:
        @wraps(function)
        def build() -> Study:
            base = {
                "model": _as_table("model", model),
                "data": _as_table("data", data),
                "recipe": dict(recipe or {}),
            }
            own = name or function.__name__.replace("_", "-")
            title = (function.__doc__ or own).strip().partition("\n")[0].rstrip(".")
            return made(
                function(), name=own, title=title, question=question, expectation=expectation, base=base,
                baseline=baseline, measure=measure, **options,
            )  # fmt: skip

        build.__annotations__ = {"return": Study}
        return build

    return decorate


def made(parts: Iterable[Arm | Comparison], **options: Any) -> Study:
    """A study of what a function yielded or a file listed; without comparisons, each arm against the baseline."""
    listed = tuple(parts)
    arms = tuple(part for part in listed if isinstance(part, Arm))
    comparisons = tuple(part for part in listed if isinstance(part, Comparison))
    if not comparisons and not any(arm.levels for arm in arms):
        others = [arm.name for arm in arms if arm.name != options["baseline"]]
        comparisons = tuple(Comparison(name, "different", options["baseline"]) for name in others)
    return Study(arms=arms, comparisons=comparisons, **options)


def _check(study: Study) -> None:
    """Refuse what cannot be run or must not be concluded, before any data are read."""
    where = f"study {study.name}"
    names = [arm.name for arm in study.arms]
    if len(names) < 2:
        raise ConfigError(
            f"{where} has {len(names)} arm{'s' * (len(names) != 1)}; a comparison needs at least two."
        )
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ConfigError(f"{where}: two arms are called {twice[0]!r}. Give each its own name.")
    for name in (study.baseline, *(name for c in study.comparisons for name in (c.arm, c.than))):
        if name not in names:
            raise UnknownName(f"arm of {where}", name, names)
    for name in study.measures:
        measures.check(name)
    if study.seeds < 1:
        raise ConfigError(
            f"{where}: seeds cannot be {study.seeds}; at least 1 is needed, and 3 for a verdict."
        )
    for text, what in ((study.question, "question"), (study.expectation, "expectation")):
        if not text.strip():
            raise ConfigError(f"{where} has no {what}. Write it down before anything runs.")
    _check_arms(study, where)
    _check_comparisons(study, where)


def _check_arms(study: Study, where: str) -> None:
    seen: dict[str, str] = {}
    budgets = {len(arm.tries) for arm in study.arms if arm.tries}
    if len(budgets) > 1:
        raise ConfigError(
            f"{where}: the arms try {', '.join(map(str, sorted(budgets)))} values. A fair comparison gives each the "
            f"same number of tries (S3.66)."
        )
    for arm in study.arms:
        if arm.published and not arm.published.source.strip():
            raise ConfigError(
                f"{where}, arm {arm.name!r}: the published value {arm.published.value:g} has no source. Say where it "
                f"was printed, e.g. Published({arm.published.value:g}, 'S1.43')."
            )
        spelled = configs.spelled_out(study.config(arm, 0))
        same = f"{configs.identity(spelled, '')} {spelled.data.source} {arm.tries}"
        if same in seen:
            raise ConfigError(
                f"{where}: the arms {seen[same]!r} and {arm.name!r} are the same run. Leave one of them out."
            )
        seen[same] = arm.name


def _check_comparisons(study: Study, where: str) -> None:
    said = [(c.arm, c.than, c.measure or study.measure) for c in study.comparisons]
    for comparison, key in zip(study.comparisons, said, strict=True):
        if comparison.arm == comparison.than:
            raise ConfigError(f"{where}: {comparison.arm!r} is compared with itself.")
        if said.count(key) > 1:
            raise ConfigError(f"{where}: {comparison.arm!r} is compared with {comparison.than!r} twice.")
        if comparison.form not in FORMS:
            raise UnknownName(f"form of a comparison in {where}", comparison.form, FORMS)
        if (comparison.form == "equal") != (comparison.within is not None):
            raise ConfigError(
                f"{where}: {comparison}: `within`, the largest difference that counts as none, belongs to the form "
                f"equal, and to no other."
            )
        if comparison.by is not None and not comparison.source.strip():
            raise ConfigError(
                f"{where}: {comparison}: the published difference {comparison.by:g} has no source."
            )
    if len(said) > LARGEST_FAMILY and not study.why_many.strip():
        raise ConfigError(
            f"{where} makes {len(said)} comparisons, and each takes power from the others. Make at most "
            f"{LARGEST_FAMILY}, or say why there are more: why_many = '...'."
        )
