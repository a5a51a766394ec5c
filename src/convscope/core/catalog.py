"""What can a user pick by name?

One line per thing in entries.py: its name, where the code is, one sentence,
and the source; `tests/contracts/test_catalog.py` compares every line with the
code.  The options of a thing are the keyword parameters of its function:

    Parameter("every", float, 10)   ->   --schedule.every 5, step:every=5,  every = 5 in TOML

Two rules widen that: a parameter whose default is a dataclass is spread into
its fields (the networks share activation, norm, dropout, init), and a
parameter without a default is filled in by convscope, not by the user.
"""

import dataclasses
import importlib
import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from .entries import ENTRIES
from .errors import ConfigError, ConvscopeError, UnknownName, nearest


@dataclasses.dataclass(frozen=True)
class Item:
    """One thing a user can pick."""

    kind: str
    name: str
    target: str
    """`module:function`, relative to `convscope`, or absolute for a user's own."""
    line: str
    """One sentence for lists and help."""
    source: str = ""
    """Where it comes from: paper, section, or the document it serves."""
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Models only: the recipe fields in which its default recipe differs from `Recipe()`."""
    size: int = 32
    """Models only: height and width in pixels of the images it was published for."""

    def load(self) -> Callable[..., Any]:
        """Import and return the function."""
        module, _, function = self.target.partition(":")
        found = importlib.import_module(module)
        return typing.cast(Callable[..., Any], getattr(found, function))


@dataclasses.dataclass(frozen=True)
class Off:
    """Marks an option added after runs existed: at this value it does nothing and names no run.

    `Annotated[float, Off(0.0)]` on a config field or an option keeps every older run's name valid.
    """

    value: Any


@dataclasses.dataclass(frozen=True)
class Source:
    """Marks where a config field comes from: a paper, or an item of the source documents."""

    text: str


@dataclasses.dataclass(frozen=True)
class Option:
    """One keyword of a thing: its name, type, default and help."""

    name: str
    type: Any
    default: Any
    text: str = ""

    def is_off(self, value: Any) -> bool:
        """Whether the option was added later and is not in use."""
        return Off(value) in getattr(self.type, "__metadata__", ())


_CATALOG: dict[str, dict[str, Item]] = {}


def kinds() -> list[str]:
    """All kinds of things, sorted."""
    return sorted(_CATALOG)


def names(kind: str) -> list[str]:
    """The names of one kind, in catalog order."""
    if kind not in _CATALOG:
        raise UnknownName("kind of thing", kind, _CATALOG)
    return list(_CATALOG[kind])


def items(kind: str) -> Iterator[Item]:
    """The items of one kind, in catalog order."""
    names(kind)
    yield from _CATALOG[kind].values()


def find(kind: str, name: str) -> Item:
    """Look a name up.

    Raises:
        UnknownName: with the nearest names and all that are known.
    """
    if name not in names(kind):
        raise UnknownName(_SINGULAR.get(kind, kind), name, _CATALOG[kind])
    return _CATALOG[kind][name]


def register(item: Item) -> None:
    """Register a thing; another of the same kind and name is an error, the same once more, as a notebook does, is not."""
    known = _CATALOG.setdefault(item.kind, {})
    if known.get(item.name, item) != item:
        raise ConvscopeError(
            f"Two {item.kind} are called {item.name!r}: {known[item.name].target} and {item.target}."
        )
    known[item.name] = item


def options(item: Item) -> dict[str, Option]:
    """What the user may set, by name: keyword parameters with a default, shared dataclasses spread out.

    Raises:
        ConfigError: a parameter has no type, so no text could be read as its value.
    """
    function = item.load()
    hints = typing.get_type_hints(function, include_extras=True)
    found: dict[str, Option] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is inspect.Parameter.empty:
            continue
        if dataclasses.is_dataclass(parameter.default):
            shared = parameter.default
            shared_hints = typing.get_type_hints(type(shared), include_extras=True)
            for field in dataclasses.fields(shared):
                text = field.metadata.get("text", "")
                found[field.name] = Option(
                    field.name, shared_hints[field.name], getattr(shared, field.name), text
                )
        elif parameter.name not in hints:
            raise ConfigError(
                f"{item.target}: the option {parameter.name!r} has no type, so nothing that is given for it can be read. "
                f"Write one behind its name, such as `{parameter.name}: int = 8`."
            )
        else:
            text = _explained(function, parameter.name)
            found[parameter.name] = Option(parameter.name, hints[parameter.name], parameter.default, text)
    return found


def literals(annotation: Any) -> tuple[Any, ...]:
    """The values that a type names one by one: of every `Literal` in it."""
    if typing.get_origin(annotation) is typing.Literal:
        return typing.get_args(annotation)
    return tuple(value for inner in typing.get_args(annotation) for value in literals(inner))


def _explained(function: Callable[..., Any], parameter: str) -> str:
    """What the docstring says of a parameter under `Args:`, in one line."""
    args = re.search(r"^Args:\n((?:    .*\n|\n)*)", f"{inspect.getdoc(function)}\n", re.MULTILINE)
    entry = re.search(
        rf"^    {parameter}: ((?:.*\n)(?:        .*\n)*)", args[1] if args else "", re.MULTILINE
    )
    return " ".join(entry[1].split()) if entry else ""


def asked(item: Item) -> tuple[str, ...]:
    """What convscope fills in: the parameters without a default, in order."""
    parameters = inspect.signature(item.load()).parameters.values()
    return tuple(p.name for p in parameters if p.default is inspect.Parameter.empty)


def resolve(kind: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a thing: what was given, typed and checked, and the defaults for the rest.

    Raises:
        UnknownName: no such thing.
        ConfigError: no such option, or a value of the wrong type.
    """
    item = find(kind, name)
    allowed = options(item)
    label = f"{_SINGULAR.get(kind, kind)} {name!r}"
    for key in given:
        if key not in allowed:
            listed = ", ".join(sorted(allowed)) or "none"
            raise ConfigError(f"The {label} has no option {key!r}.{nearest(key, allowed)} Options: {listed}.")
    resolved = {key: option.default for key, option in allowed.items()}
    for key, value in given.items():
        try:
            resolved[key] = TypeAdapter(allowed[key].type).validate_python(value)
        except ValidationError as error:
            problem = error.errors()[0]
            cause = problem.get("ctx", {}).get("error")
            if isinstance(cause, ConfigError):  # of something inside the value: its own sentence says it
                raise cause from None
            reason = problem["msg"]
            raise ConfigError(f"The option {key!r} of the {label} cannot be {value!r}: {reason}.") from None
    return resolved


def call(kind: str, name: str, given: Mapping[str, Any], **supplied: Any) -> Any:
    """Call a thing with the user's options and the parameters convscope supplies."""
    values = resolve(kind, name, given)
    function = find(kind, name).load()
    arguments: dict[str, Any] = dict(supplied)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is inspect.Parameter.empty:
            continue
        if dataclasses.is_dataclass(parameter.default):
            shared: Any = parameter.default
            fields = dataclasses.fields(shared)
            arguments[parameter.name] = dataclasses.replace(
                shared, **{field.name: values[field.name] for field in fields}
            )
        else:
            arguments[parameter.name] = values[parameter.name]
    return function(**arguments)


_SINGULAR = {
    "models": "model",
    "sources": "data set",
    "augmentations": "augmentation",
    "optimizers": "optimizer",
    "schedules": "schedule",
    "losses": "loss",
    "activations": "activation",
    "inits": "initialisation",
    "noises": "noise",
    "diagnostics": "diagnostic",
    "topics": "topic",
    "studies": "study",
}


for _kind, (_package, _lines) in ENTRIES.items():
    for _name, _target, _line, _source, *_rest in _lines:
        register(Item(_kind, _name, f"convscope.{_package}.{_target}", _line, _source, *_rest))
