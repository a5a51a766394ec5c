"""May this study be run, and may anything be concluded from it?

Everything that can be known without data is asked here, when a study is made:
a run that would fail after hours is refused in the first second, and so is a
comparison that would not be fair.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from convscope.core import config as configs
from convscope.core.config import RunConfig
from convscope.core.errors import ConfigError, UnknownName, UsageError, nearest

from . import measures, stats
from .axis import swept
from .design import FORMS, LARGEST_FAMILY, Arm, Comparison, Confused, Curve, Form, Published, Study

WIDEST = 0.25
"""A margin of equality so wide, of a share, was meant in points."""


LONGEST_NAME = 200
"""Bytes of a study's name, which is a folder's too; file systems end at 255."""


MOST_SEEDS = 10_000
"""Of a study: nobody runs more, and seeds from 1,000,000 on are those of budgets (design.FIRST_TRIAL_SEED)."""


ADAPTERS: dict[type, dict[str, TypeAdapter[Any]]] = {
    # Of a claim's form, _comparisons says which there are.
    kind: {key: TypeAdapter(str if hint == Form else hint) for key, hint in get_type_hints(kind).items()}
    for kind in (Study, Arm, Comparison, Published, Confused, Curve)
}
"""What checks each field of what a study is made of."""


PRINTED: dict[str, tuple[type, str]] = {
    "published": (Published, "Published(0.74, 'S1.38')"),
    "confused": (Confused, "Confused(('4-9',), 'S4.20')"),
    "curve": (Curve, "Curve((0.926, 0.975), 'S4.10')"),
}
"""What somebody printed for an arm, and how it is written: never without where."""


class Refusal(ConfigError):
    """Why a study is refused, and by which of its parts: ("arm", 1, "lr"), ("claim", 0, "within"), ("seeds",)."""

    line: int | None = None
    """In which a function yields that part."""

    def __init__(self, message: str, *place: str | int) -> None:
        super().__init__(message)
        self.place = place


def review(study: Study) -> None:
    """Refuse what cannot be run or must not be concluded, before any data are read.

    Raises:
        Refusal: with one sentence, or two, and the place.
    """
    where = f"study {study.name}"
    for ask in (
        _types, _words, _numbers, _names, _measures, _looks, _base, _arms, _cells, _published, _tries, _axis,
        _comparisons, _family,
    ):  # fmt: skip
        ask(study, where)


def _types(study: Study, where: str) -> None:
    """What Python does not ask: `published=0.5` would fail hours later, in the middle of a table."""
    for texts, what in ((study.also, "also"), (study.inspect, "inspect"), (study.remarks, "remarks")):
        if isinstance(texts, str):
            raise Refusal(f"{where}: {what} is a list: [{texts!r}], not {texts!r}.", what)
    _typed(study, where)
    for number, arm in enumerate(study.arms):
        for key, (kind, example) in PRINTED.items():
            value = getattr(arm, key)
            if not isinstance(value, kind | None):
                raise Refusal(
                    f"{where}, arm {arm.name!r}: {key} cannot be {value!r}; it says where it was printed too: {example}.",
                    "arm", number, key,
                )  # fmt: skip
            if value:
                _typed(value, f"{where}, arm {arm.name!r}, {key}", "arm", number, key)
        _typed(arm, f"{where}, arm {arm.name!r}", "arm", number)
        for changes in (arm.changes, *arm.tries):
            _plain(changes, f"{where}, arm {arm.name!r}", "arm", number)
    for number, comparison in enumerate(study.comparisons):
        _typed(comparison, f"{where}, claim {number + 1}", "claim", number)


def _typed(part: object, what: str, *place: str | int) -> None:
    for key, adapter in ADAPTERS[type(part)].items():
        value = getattr(part, key)
        try:
            # A list where a tuple is meant does no harm.
            adapter.validate_python(tuple(value) if isinstance(value, list) else value, strict=True)
        except ValidationError as error:
            raise Refusal(
                f"{what}: {key} cannot be {value!r}: {error.errors()[0]['msg']}.", *place, key
            ) from None


def _plain(changes: Mapping[str, Any], what: str, *place: str | int) -> None:
    """An arm's values are written into study.json: `np.int64(7)` would train, and fail there."""
    for key, value in changes.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise Refusal(
                f"{what}: {key} cannot be {value!r} ({type(value).__name__}). Give a plain number, text or list, as in "
                f"a TOML file; of a NumPy number its .item().",
                *place, key,
            ) from None  # fmt: skip


def _words(study: Study, where: str) -> None:
    if not study.name.strip() or study.name.startswith(".") or {"/", "\\"} & set(study.name):
        raise Refusal(f"{study.name!r} cannot name a study: it also names the folder of its results.", "name")
    if len(study.name.encode()) > LONGEST_NAME:
        raise Refusal(
            f"{study.name[:20]!r}... cannot name a study: it also names a folder, and has more than {LONGEST_NAME} bytes.",
            "name",
        )
    for text, what in ((study.question, "question"), (study.expectation, "expectation")):
        if not text.strip():
            raise Refusal(f"{where} has no {what}. Write it down before anything runs.", what)


def _numbers(study: Study, where: str) -> None:
    for count, what in ((study.seeds, "seeds"), (study.trial_seeds, "trial_seeds")):
        if not 1 <= count <= MOST_SEEDS:
            advice = "; a verdict needs 3" if what == "seeds" else ""
            raise Refusal(f"{where}: {what} cannot be {count:,}: it is 1 to {MOST_SEEDS:,}{advice}.", what)
    if not (study.sd > 0 and math.isfinite(study.sd)):
        raise Refusal(f"{where}: sd cannot be {study.sd:g}: a standard deviation is above 0.", "sd")


def _names(study: Study, where: str) -> None:
    names = [arm.name for arm in study.arms]
    if len(names) < 2:
        raise Refusal(
            f"{where} has {len(names)} arm{'s' * (len(names) != 1)}; a comparison needs at least two."
        )
    for number, name in enumerate(names):
        if not name.strip():
            raise Refusal(f"{where}: arm {number + 1} of {len(names)} has no name.", "arm", number, "name")
        if name in names[:number]:
            raise Refusal(
                f"{where}: two arms are called {name!r}. Give each its own name.", "arm", number, "name"
            )
    asked: list[tuple[str, tuple[str | int, ...]]] = [(study.baseline, ("baseline",))]
    for number, c in enumerate(study.comparisons):
        asked += [(c.arm, ("claim", number, "arm")), (c.than, ("claim", number, "than"))]
    for name, place in asked:
        if name not in names:
            raise Refusal(str(UnknownName(f"arm of {where}", name, names)), *place)


def _measures(study: Study, where: str) -> None:
    asked: list[tuple[str, tuple[str | int, ...]]] = [(study.measure, ("measure",))]
    asked += [(name, ("also", number)) for number, name in enumerate(study.also)]
    asked += [(c.measure, ("claim", i, "measure")) for i, c in enumerate(study.comparisons) if c.measure]
    for name, place in asked:
        try:
            measures.check(name)
        except UsageError as error:
            raise Refusal(f"{where}: {error}", *place) from None


def _looks(study: Study, where: str) -> None:
    """What looks while a run learns exists, and each diagnostic looks in one way only."""
    ways: dict[str, tuple[str, str]] = {}
    for text in (*study.inspect, *measures.looked(study.measures)):
        try:
            choice = configs.choice(text)
            full = choice.resolved("diagnostics").spelled()
        except UsageError as error:
            raise Refusal(f"{where}: inspect: {error}", "inspect") from None
        known, first = ways.setdefault(choice.name, (full, text))
        if known != full:
            raise Refusal(
                f"{where}: {choice.name} would look with two sets of options, {first} and {text}, and looks are told "
                f"apart by name alone. Write the same options in `inspect` and in every measure over time.",
                "inspect",
            )


def _base(study: Study, where: str) -> None:
    """What all arms share can be run, whatever the arms change."""
    model = study.base.get("model", {})
    for part in ("model", "data", "recipe"):
        whole = study.base.get(part, {})
        for key in whole:
            asked = {
                "model": model,
                part: {name: whole[name] for name in ("name", "source", key) if name in whole},
            }
            try:
                configs.spelled_out(configs.from_table(asked, where))
            except UsageError as error:
                raise Refusal(_prefixed(error, where), part, key) from None
    try:
        study.config(Arm("", {}), 0)
    except UsageError as error:
        raise Refusal(str(error).replace(", arm ''", ""), "inspect_every") from None


def _arms(study: Study, where: str) -> None:
    seen: dict[str, str] = {}
    for number, arm in enumerate(study.arms):
        runs = [_run(study, arm, number, where)]
        for changes in arm.tries:
            tried = Arm(arm.name, {**arm.changes, **changes})
            run = _run(study, tried, number, where, "tries")
            if run in runs[1:]:
                raise Refusal(
                    f"{where}, arm {arm.name!r}: {_said(changes)} is tried twice.", "arm", number, "tries"
                )
            runs.append(run)
        same = " ".join(runs[1:] or runs)
        if same in seen:
            raise Refusal(
                f"{where}: the arms {seen[same]!r} and {arm.name!r} are the same run. Leave one of them out.",
                "arm", number,
            )  # fmt: skip
        seen[same] = arm.name


def _cells(study: Study, where: str) -> None:
    """Effects are of complete factorials: of one with a hole nothing would be concluded, without a word."""
    cells = [arm for arm in study.arms if arm.levels]
    if cells and not study.factors:
        over = [arm.name for arm in study.arms if not arm.levels]
        why = (
            f"{over[0]!r} is none of its cells. Make a study of its own of it"
            if over
            else f"it has {len(cells)} cells, not one for every combination of levels. Yield all of `factorial`"
        )
        raise Refusal(f"{where}: its arms are no complete factorial: {why}.", "arm")


def _run(study: Study, arm: Arm, number: int, where: str, blamed: str = "") -> str:
    """What names the run of an arm, as far as it is known without data.

    Raises:
        Refusal: it cannot be configured.
    """
    where = f"{where}, arm {arm.name!r}"
    try:
        config = configs.spelled_out(study.config(arm, 0))
    except UsageError as error:
        key = blamed or _to_blame(study, arm)
        raise Refusal(_prefixed(error, where), "arm", number, *([key] if key else [])) from None
    if wrong := no_validation(config):
        raise Refusal(f"{where}: {wrong}", "arm", number)
    # Two of a kind at different places are different data; weights from elsewhere are another start.
    return f"{configs.identity(config, config.data.source)} {config.recipe.weights}"


def no_validation(config: RunConfig) -> str:
    """Why a run gives no number on one set of validation images; empty if it does."""
    if config.data.refit:
        return "Runs are judged on one set of validation images, and data.refit trains on them."
    if config.data.folds and config.data.fold is None:
        return "Runs are judged on one set of validation images, and data.folds without data.fold takes each part in turn."
    return ""


def _to_blame(study: Study, arm: Arm) -> str:
    """The first change that cannot be made alone, or with the network or data that the arm changes too."""
    whole = {key: arm.changes[key] for key in ("model", "data") if key in arm.changes}
    for key, value in arm.changes.items():
        try:
            configs.spelled_out(study.config(Arm(arm.name, {**whole, key: value}), 0))
        except UsageError:
            return key
    return ""


def _prefixed(error: UsageError, where: str) -> str:
    """The catalog does not know who asks; the configuration has been told."""
    return str(error) if str(error).startswith(where) else f"{where}: {error}"


def _said(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in changes.items())


def _published(study: Study, where: str) -> None:
    for number, arm in enumerate(study.arms):
        if arm.confused and not arm.confused.source.strip():
            raise Refusal(
                f"{where}, arm {arm.name!r}: the confused pairs have no source. Say where they were printed.",
                "arm", number, "confused",
            )  # fmt: skip
        if arm.curve:
            _curve(arm.curve, f"{where}, arm {arm.name!r}: the printed curve", ("arm", number, "curve"))
        if not arm.published:
            continue
        value, place = arm.published.value, ("arm", number, "published")
        if not arm.published.source.strip():
            raise Refusal(
                f"{where}, arm {arm.name!r}: the published value {value:g} has no source. Say where it was printed, "
                f"e.g. S1.43, or a paper and its table.",
                *place,
            )
        _refuse_value(f"{where}, arm {arm.name!r}: the published value", value, study.measure, place)


def _curve(curve: Curve, what: str, place: tuple[str | int, ...]) -> None:
    if not curve.source.strip():
        raise Refusal(f"{what} has no source. Say where it was printed.", *place)
    if not curve.means or (curve.sds and len(curve.sds) != len(curve.means)):
        raise Refusal(
            f"{what} has {len(curve.means)} means and {len(curve.sds)} standard deviations. It needs a mean for each of "
            f"the first epochs, and as many deviations or none.",
            *place,
        )
    for value in (*curve.means, *curve.sds, *([] if curve.best is None else [curve.best])):
        _refuse_value(what, value, "final_accuracy", place)


def _refuse_value(what: str, value: float, measure: str, place: Iterable[str | int]) -> None:
    if not math.isfinite(value):
        raise Refusal(f"{what} is {value:g}, which is no number to compare with.", *place)
    if measures.is_share(measure) and abs(value) > 1:
        raise Refusal(
            f"{what} is {value:g}, and {measure} is a fraction. Write {value / 100:.6g} if {value:g} % is meant.",
            *place,
        )


def _tries(study: Study, where: str) -> None:
    counts = {arm.name: len(arm.tries) for arm in study.arms}
    most = max(counts.values())
    if not most:
        return
    for number, (name, count) in enumerate(counts.items()):
        if count != most:
            other = next(other for other, tried in counts.items() if tried == most)
            raise Refusal(
                f"{where}: the arm {other!r} tries {_values(most)} and {name!r} {_values(count)}. A fair comparison gives "
                f"each arm the same number of tries (S3.66, E2.6).",
                "arm", number, "tries",
            )  # fmt: skip
    try:
        measures.higher_is_better(study.measure)
    except ConfigError as error:
        raise Refusal(f"{where}: {error}", "measure") from None


def _values(count: int) -> str:
    return f"{count or 'no'} value{'s' * (count != 1)}"


def _axis(study: Study, where: str) -> None:
    known = list(dict.fromkeys([*(key for arm in study.arms for key in arm.changes), *study.factors]))
    if study.axis and study.axis not in known:
        raise Refusal(
            f"{where}: the axis {study.axis!r} is nothing in which its arms differ.{nearest(study.axis, known)} It is a "
            f"key that arms change or a factor: {', '.join(known) or 'none here'}.",
            "axis",
        )
    if study.axis:
        try:
            swept(study)
        except ConfigError as error:
            raise Refusal(str(error), "axis") from None


def _comparisons(study: Study, where: str) -> None:
    said: list[tuple[frozenset[str], str]] = []
    for number, c in enumerate(study.comparisons):
        measure = c.measure or study.measure
        if c.arm == c.than:
            raise Refusal(f"{where}: {c.arm!r} is compared with itself.", "claim", number, "than")
        if (frozenset((c.arm, c.than)), measure) in said:
            raise Refusal(f"{where}: {c.arm!r} is compared with {c.than!r} twice.", "claim", number)
        said.append((frozenset((c.arm, c.than)), measure))
        if c.form not in FORMS:
            text = str(UnknownName(f"form of a comparison in {where}", c.form, FORMS))
            raise Refusal(text, "claim", number, "form")
        for sentence, key in _wrong(c):
            raise Refusal(f"{where}: {c}: {sentence}", "claim", number, key)
        for value, key in ((c.by, "by"), (c.within, "within")):
            if value is not None:
                _refuse_value(f"{where}: {c}: `{key}`", value, measure, ("claim", number, key))
        if c.within is not None and c.within >= WIDEST and measures.is_share(measure):
            raise Refusal(
                f"{where}: {c}: `within` of {c.within:g} is {100 * c.within:g} points, and arms that far apart are not "
                f"equal. Write {c.within / 100:.6g} if {c.within:g} points are meant.",
                "claim", number, "within",
            )  # fmt: skip


def _wrong(c: Comparison) -> Iterator[tuple[str, str]]:
    """What is wrong with a comparison by itself, and which of its keys says so."""
    if c.form == "equal" and c.within is None:
        yield (
            "the form equal needs `within`, the largest difference that counts as none, e.g. within = 0.01.",
            "form",
        )
    if c.form != "equal" and c.within is not None:
        yield (
            "`within`, the largest difference that counts as none, belongs to the form equal alone.",
            "within",
        )
    if c.within is not None and c.within <= 0:
        yield f"`within` cannot be {c.within:g}: two arms are never exactly equal.", "within"
    if c.by is not None and not c.source.strip():
        yield f"the published difference {c.by:g} has no source. Say where it was printed.", "by"
    if c.by is not None and ((c.form == "greater" and c.by <= 0) or (c.form == "less" and c.by >= 0)):
        yield f"the published difference {c.by:g}, arm minus `than`, says the opposite.", "by"


def _family(study: Study, where: str) -> None:
    for count, what in (
        (len(study.comparisons), "comparisons"),
        (stats.effects_asked(study.factors), "effects of its factors"),
    ):
        if count > LARGEST_FAMILY and not study.why_many.strip():
            raise Refusal(
                f"{where} asks about {count} {what}, and each takes power from the others. Ask at most "
                f"{LARGEST_FAMILY}, or say why there are more: why_many = '...'.",
                "why_many",
            )
