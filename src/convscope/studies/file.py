"""Which studies does a file hold?

In Python, functions decorated with `study`.  In TOML, one study:

    name = "norm"                                       [[arm]]
    question = "Does batch norm help?"                  name = "without"
    expectation = "Yes: S1 gained a point."             published = { value = 0.7286, source = "S1.38" }
    model = "simplenn"
    data = "cifar10"                                    [[arm]]
    baseline = "without"                                name = "batch norm"
    measure = "best_accuracy"                           model.norm = "batch"
    seeds = 8                                           lr = 0.05

    [recipe]                                            [[claim]]
    epochs = 30                                         arm = "batch norm"
    lr = 0.01                                           form = "greater"
                                                        than = "without"
                                                        source = "S1.38"

Every key of an arm but name, published, confused, curve and tries is a change.  For a
factorial, `[factors.FACTOR]` tables with a line for each level take the place
of the arms: "0.5" = { model.dropout = 0.5 }.  Whatever is refused is refused
with the file and the line.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tomllib
import traceback
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from itertools import product
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from convscope.core import catalog
from convscope.core.config import Recipe
from convscope.core.errors import ConfigError, ConvscopeError, UnknownName, nearest

from . import design
from .design import Arm, Comparison, Confused, Curve, Published, Study
from .review import Refusal

PRINTED = {
    "published": (Published, "{ value = 0.74, source = 'S1.38' }"),
    "confused": (Confused, "{ pairs = ['4-9'], source = 'S4.20' }"),
    "curve": (Curve, "{ means = [0.926, 0.975], source = 'S4.10' }"),
}
"""What somebody printed for an arm, and how it is written: never without where."""
ARM = ("name", *PRINTED, "tries")
"""Keys of an arm that are no change."""
OWN = {"base", "arms", "comparisons", "designed_seeds"}
"""Fields of `Study` that a file says in another way."""
PARTS = ("model", "data", "recipe", "arm", "claim", "factors")


def read(path: Path, name: str = "") -> list[Study]:
    """The studies of a file.

    Args:
        path: a .toml or .py file.
        name: of the one that is wanted: a function of the .py file, or the study's own name; absent: all.

    Raises:
        ConfigError: no such file, something wrong in it (with the line), or no study of this name.
    """
    if path.suffix not in (".toml", ".py"):
        raise ConfigError(f"{path} cannot hold a study: a study is a .toml or a .py file.")
    if not path.is_file():
        raise ConfigError(f"There is no file {path}. A study is a .toml or a .py file.")
    found = _from_toml(path) if path.suffix == ".toml" else _from_python(path, name)
    if name and path.suffix == ".toml" and name != found[0].name:
        raise UnknownName(f"study in {path}", name, [found[0].name])
    return found


# TOML ------------------------------------------------------------------------------------------------------

Place = tuple[str | int, ...]
"""A way down into nested tables and lists: ("arm", 1, "lr")."""


def _from_toml(path: Path) -> list[Study]:
    text, tables = _parsed(path)
    try:
        return [_study(tables, path)]
    except Refusal as error:
        place = _in_factors(tables, error.place) if "factors" in tables else error.place
        raise ConfigError(f"{path}, line {line_of(text, place)}: {error}") from None


def _parsed(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        text = raw.decode()
        return text, tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}, line {line}: this is not UTF-8, as TOML must be.") from None
    except tomllib.TOMLDecodeError as error:
        said = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", str(error))
        reason, line = (said[1], int(said[2] or len(text.splitlines()))) if said else (str(error), 1)
        # 0 = {} and then 0.5 = {}: to TOML the second is the key 5 of the first.
        if "immutable namespace" in reason:
            reason += '. A point divides keys: write each level in quotes, "0.5"'
        raise ConfigError(f"{path}, line {line}: this is not TOML: {reason}.") from None


def line_of(text: str, place: Place) -> int:
    """The line in which a TOML text says what is at a place, or the nearest table around it that it names.

    Where the first lines of the text are TOML by themselves, they end a statement; the statement that brings the place
    begins behind the one before.  So no second reader of TOML is needed; the texts are short, and nobody waits.
    """
    lines = text.splitlines()
    begun: dict[Place, int] = {}
    start = 1
    for end in range(1, len(lines) + 1):
        try:
            tables = tomllib.loads("\n".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue  # within a statement of several lines
        for known in _places(tables, ()):
            begun.setdefault(known, start)
        start = end + 1
    for length in range(len(place), 0, -1):
        wanted = place[:length]
        split = tuple(
            part for word in wanted for part in (word.split(".") if isinstance(word, str) else [word])
        )
        if line := begun.get(wanted) or begun.get(split):
            return line
    return 1


def _places(value: Any, here: Place) -> Iterator[Place]:
    yield here
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(inner, (*here, key))


def _in_factors(tables: Mapping[str, Any], place: Place) -> Place:
    """The arms of a factorial are written nowhere; the levels that they combine are."""
    if place[:1] != ("arm",):
        return place
    levels: list[Mapping[str, Any]] = list(tables["factors"].values())
    cell = list(product(*levels))[int(place[1])]
    for factor, level in zip(tables["factors"], cell, strict=True):
        if place[-1] in dict(_changes(tables["factors"][factor][level])):
            return ("factors", factor, level)
    return ("factors",)


def _study(tables: Mapping[str, Any], path: Path) -> Study:
    hints = {key: hint for key, hint in typing.get_type_hints(Study).items() if key not in OWN}
    own = {key: value for key, value in tables.items() if key not in PARTS}
    options = {"name": path.stem, "measure": "final_accuracy", **_typed(own, hints, (), "a study", PARTS)}
    for key in ("question", "expectation", "model", "data", "baseline"):
        if key not in tables:
            raise Refusal(f"study {options['name']} has no {key}. A study file must say it.")
    where = f"study {options['name']}"
    base = {}
    for part in ("model", "data"):
        with _at(part):
            base[part] = design.as_table(part, tables[part], where)
    base["recipe"] = _table(tables.get("recipe", {}), "recipe")
    parts: list[Arm | Comparison] = [*_arms(tables, where), *_claims(tables)]
    return design.made(parts, **{"title": options["name"], **options}, base=base)


@contextmanager
def _at(*place: str | int) -> Iterator[None]:
    """Where the file says what is refused inside."""
    try:
        yield
    except Refusal:
        raise
    except ConfigError as error:
        raise Refusal(str(error), *place) from None


def _arms(tables: Mapping[str, Any], where: str) -> Iterator[Arm]:
    if ("arm" in tables) == ("factors" in tables):
        given = "both" if "arm" in tables else "neither"
        raise Refusal(
            f"{where} has {given} of [[arm]] and [factors]; it needs the one or the other.", "factors"
        )
    if "factors" in tables:
        with _at("factors"):
            yield from design.factorial(_factors(tables["factors"]))
    for number, table in enumerate(_list(tables.get("arm", []), "arm")):
        place = ("arm", number)
        if not isinstance(table.get("name"), str):
            raise Refusal(f"Arm {number + 1} has no name: name = '...'.", *place)
        own = {key: value for key, value in table.items() if key in ARM}
        known: dict[str, Any] = {"name": str, "tries": dict[str, list[Any]]}
        values = _typed(own, {**known, **dict.fromkeys(PRINTED, Any)}, place, "an arm")
        for key, (kind, example) in PRINTED.items():
            if key in values and not isinstance(values[key], dict):
                raise Refusal(
                    f"{key} of an arm cannot be {values[key]!r}; it says where it was printed too: {key} = {example}.",
                    *place, key,
                )  # fmt: skip
            if key in values:
                values[key] = _made(kind, values[key], (*place, key), f"`{key}`")
        changes = {key: value for key, value in table.items() if key not in ARM}
        with _at(*place, "tries"):
            yield design.arm(values.pop("name"), dict(_changes(changes)), **values)


def _factors(tables: Any) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for factor, levels in _table(tables, "factors").items():
        found[factor] = {}
        for level, changes in _table(levels, "factors", factor).items():
            made = dict(_changes(_table(changes, "factors", factor, level)))
            if split := [key for key in made if key.isdigit()]:
                raise Refusal(
                    f"A point divides keys in TOML: write the level in quotes, \"{level}.{split[0]}\".",
                    "factors", factor, level,
                )  # fmt: skip
            found[factor][level] = made
    return found


def _changes(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """`model.norm = "batch"` is a table in a table for TOML; a whole network or data set has a name in it."""
    for key, value in table.items():
        whole = {"model": "name", "data": "source", "recipe": ""}.get(key)
        if isinstance(value, dict) and whole is not None and whole not in value:
            yield from ((f"{key}.{rest}", inner) for rest, inner in value.items())
        else:
            yield key, value


def _claims(tables: Mapping[str, Any]) -> Iterator[Comparison]:
    for number, table in enumerate(_list(tables.get("claim", []), "claim")):
        yield _made(Comparison, table, ("claim", number), "a claim")


M = typing.TypeVar("M")


def _made(kind: Callable[..., M], table: Mapping[str, Any], place: Place, what: str) -> M:
    """One of the dataclasses of design.py from a table."""
    hints = typing.get_type_hints(kind)
    values = _typed(table, hints, place, what)
    if missing := [key for key in hints if key not in values and not hasattr(kind, key)]:
        raise Refusal(f"{what[:1].upper()}{what[1:]} needs {missing[0]}.", *place)
    return kind(**values)


def _typed(
    table: Mapping[str, Any], hints: Mapping[str, Any], place: Place, what: str, also: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The values of a table, checked and typed.

    Raises:
        Refusal: an unknown key, with the nearest ones, or a value of another type.
    """
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key not in hints:
            known = sorted((*hints, *also))
            if what == "a study" and key in Recipe.model_fields:
                raise Refusal(f"{key!r} is a field of the recipe: write it under [recipe].", *place, key)
            raise Refusal(
                f"{key!r} is no key of {what}.{nearest(key, known)} Known: {', '.join(known)}.", *place, key
            )
        try:
            # Through `Form` a claim's form would be refused here, in words that are not ours; review.py does it.
            kind = str if hints[key] == design.Form else hints[key]
            given = tuple(value) if isinstance(value, list) else value
            found[key] = TypeAdapter(kind).validate_python(given, strict=True)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise Refusal(f"{key} of {what} cannot be {value!r}: {reason}.", *place, key) from None
    return found


def _table(value: Any, *place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refusal(f"{'.'.join(place)} must be a table, [{'.'.join(place)}], not {value!r}.", *place)
    return value


def _list(value: Any, key: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(inner, dict) for inner in value):
        raise Refusal(f"{key} must be a list of tables: write [[{key}]] above each.", key)
    return value


# Python ----------------------------------------------------------------------------------------------------


def _from_python(path: Path, name: str) -> list[Study]:
    """Run the file, and ask each of its decorated functions, or the named one, for its study."""
    with _imported(path) as module:
        makers = {
            key: value
            for key, value in vars(module).items()
            if design.is_study(value) and value.__module__ == module.__name__
        }
        if not makers:
            raise ConfigError(
                f"{path} holds no study: decorate a function that yields arms with @study, from convscope.studies.design."
            )
        if name and name not in makers:
            raise UnknownName(f"study in {path}", name, makers)
        return [_asked(maker, path) for key, maker in makers.items() if name in ("", key)]


def _asked(maker: Any, path: Path) -> Study:
    begins = maker.__wrapped__.__code__.co_firstlineno
    with _lines(path, lambda error: (isinstance(error, Refusal) and error.line) or begins):
        made: Study = maker()
        return made


@contextmanager
def _imported(path: Path) -> Iterator[ModuleType]:
    """The file as a module, which finds its neighbours; both are taken back afterwards, unless it registered something.

    What it registered, a network say, is looked up by the module's name, here and in workers.
    """
    folder = str(path.resolve().parent)
    name = _name(path)
    spec = spec_from_file_location(name, path, loader=_Fresh(name, str(path)))
    assert spec is not None and spec.loader is not None  # it is given
    module = module_from_spec(spec)
    before = set(sys.modules)
    sys.path.insert(0, folder)
    sys.modules[name] = module  # dataclasses look their module up while they are made
    try:
        with _lines(path, lambda _: 1):
            spec.loader.exec_module(module)
        yield module
    finally:
        items = (item for kind in catalog.kinds() for item in catalog.items(kind))
        if not any(item.target.startswith(f"{name}:") for item in items):
            _take_back(folder, before)


def _take_back(folder: str, before: set[str]) -> None:
    """The module itself, and its neighbours: another file may have others of the same name."""
    for added in sys.modules.keys() - before:
        if Path(getattr(sys.modules[added], "__file__", None) or "/").resolve().parent == Path(folder):
            del sys.modules[added]
    if folder in sys.path:
        sys.path.remove(folder)


def _name(path: Path) -> str:
    """Of the module: that of the file, as an import would have it, or a private one where that is another module's."""
    stem = path.stem
    if stem.isidentifier() and stem not in sys.modules:
        found = find_spec(stem)
        if found is None or found.origin == str(path.resolve()):
            return stem
    return f"_convscope_study_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:10]}"


class _Fresh(SourceFileLoader):
    """Reads the source every time, and leaves no compiled copy beside a user's file."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


@contextmanager
def _lines(path: Path, otherwise: Callable[[BaseException], int]) -> Iterator[None]:
    """Whatever the user's code raises carries the file and the last line of it that was reached, or else another.

    Raises:
        ConfigError: always one.
    """
    try:
        yield
    except SyntaxError as error:
        at = error.lineno if error.filename == str(path) else _reached(error, path)
        raise ConfigError(
            f"{path}, line {at or otherwise(error)}: this is not Python: {error.msg}."
        ) from error
    except ConvscopeError as error:
        raise ConfigError(f"{path}, line {_reached(error, path) or otherwise(error)}: {error}") from error
    # A user's program may raise anything; it must be told where.
    except (Exception, SystemExit) as error:  # noqa: BLE001
        said = f"{type(error).__name__}: {error}".rstrip(": ").rstrip(".")
        raise ConfigError(f"{path}, line {_reached(error, path) or otherwise(error)}: {said}.") from error


def _reached(error: BaseException, path: Path) -> int | None:
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)
