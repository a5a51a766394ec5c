"""How do words on the command line become a configuration?

`tyro` makes flags from typed classes.  Two things come before it: the names
in front (`resnet20 cifar10`, or a file) decide the defaults that `--help`
shows, and dotted flags (`--model.shortcut B`) are options of the things
picked by name, which only the catalog knows.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import tyro
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from tyro.conf import OmitArgPrefixes
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from convscope.core import config as configs
from convscope.core import files
from convscope.core.config import Choice, ComputeConfig, Recipe, RunConfig, choice
from convscope.core.errors import ConfigError, nearest
from convscope.core.spelling import plain

T = TypeVar("T")

DOTTED = ("model", "data", "optimizer", "schedule", "loss")
"""What takes dotted options."""

LISTED = {
    "augment": "crop:padding=2 flip:p=0.5",
    "label-noise": "symmetric:rate=0.2",
    "inspect": "landscape:size=11 weights",
}
"""What takes its options behind the name, with an example."""

REGISTRY = ConstructorRegistry()


@REGISTRY.primitive_rule
def _choice(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Choice | None] | None:
    optional = info.type == Choice | None
    if info.type is not Choice and not optional:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME",
        instance_from_str=lambda words: None if optional and words[0] == "None" else choice(words[0]),
        is_instance=lambda value: isinstance(value, Choice) or (optional and value is None),
        str_from_instance=lambda value: [value.spelled() if value else "None"],
    )


class RunFlags(BaseModel):
    """A run's configuration as flags."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    recipe: OmitArgPrefixes[Recipe]
    compute: OmitArgPrefixes[ComputeConfig]
    data: OmitArgPrefixes[configs.DataConfig]
    seed: int = 0
    """Seed of everything random: weights, order, augmentation, dropout."""


@dataclass(frozen=True)
class Words:
    """A command line, taken apart."""

    names: list[str]
    """What stands in front of the first flag."""
    dotted: dict[str, dict[str, Any]]
    """`--model.shortcut B` -> {"model": {"shortcut": "B"}}."""
    flags: list[str] = field(default_factory=list)
    """The rest, for tyro."""


def take_apart(arguments: Sequence[str]) -> Words:
    """Separate names, dotted options and ordinary flags; `--import MODULE` is done at once."""
    rest = list(arguments)
    names = []
    while rest and not rest[0].startswith("-"):
        names.append(rest.pop(0))
    words = Words(names, {})
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        kind, dot, key = name.removeprefix("--").partition(".")
        if dot and kind in LISTED:
            raise ConfigError(
                f"There is no flag {name}. Options follow the name they belong to: --{kind} {LISTED[kind]}."
            )
        if name == "--import":
            _import(value if equals else _value_of(name, rest))
        elif word.startswith("--") and dot and kind in DOTTED:
            given = value if equals else _value_of(name, rest)
            words.dotted.setdefault(kind, {})[key.replace("-", "_")] = plain(given)
        else:
            words.flags.append(word)
    return words


def pairs(texts: Sequence[str]) -> dict[str, Any]:
    """What `--set` was given: `epochs=2` -> {"epochs": 2}.

    Raises:
        ConfigError: a text without a key or without a value, or a key twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ConfigError(f"--set takes KEY=VALUE, e.g. --set epochs=2, not {text!r}.")
        if key in found:
            raise ConfigError(f"--set gives {key} twice, {found[key]} and {value}. Leave one of them out.")
        found[key] = plain(value)
    return found


def refuse_dotted(words: Words, also: str = "") -> None:
    """Refuse `--model.norm batch` to a verb that says such things with `--set`.

    Args:
        words: the command line.
        also: what else could be meant, with {name} for `model.norm`.

    Raises:
        ConfigError: always, if there is one.
    """
    for kind, options in words.dotted.items():
        for key, value in options.items():
            name = f"{kind}.{key}"
            more = also.format(name=name)
            raise ConfigError(f"There is no flag --{name} here. For all runs: --set {name}={value}{more}.")


def made_folder(folder: Path, flag: str) -> Path:
    """The folder, made if it is not there.

    Raises:
        ConfigError: it cannot be one.
    """
    try:
        files.make_directory(folder)
    except OSError as error:
        raise ConfigError(
            f"{flag}: {folder} cannot be made a folder: {error.strerror}. Name a folder that is there, or a new one."
        ) from None
    return folder


def _value_of(flag: str, rest: list[str]) -> str:
    if not rest:
        raise ConfigError(f"{flag} needs a value.")
    return rest.pop(0)


def _import(module: str) -> None:
    """Import a user's module, which registers models and other things; the working directory counts."""
    sys.path.insert(0, str(Path.cwd()))
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(f"--import {module}: {error}.") from None
    finally:
        sys.path.pop(0)


def run_config(words: Words, prog: str, description: str) -> tuple[RunConfig, "Extras"]:
    """The configuration of `convscope train`: a file or names, then flags on top.

    Raises:
        UnknownName, ConfigError: with the nearest names and what is allowed.
    """
    base = _base(words.names)
    extras = Extras()
    bare = base.data.model_copy(update={"options": {}})  # tyro would make flags of what is in it
    defaults = TrainFlags(recipe=base.recipe, compute=base.compute, data=bare, seed=base.seed, place=extras)
    given = parse(TrainFlags, defaults, words.flags, prog, description)
    recipe = given.recipe.model_copy(
        update={
            kind: getattr(given.recipe, kind).having(**words.dotted[kind])
            for kind in ("optimizer", "schedule", "loss")
            if kind in words.dotted
        }
    )
    data = given.data.model_copy(update={"options": {**base.data.options, **words.dotted.get("data", {})}})
    config = RunConfig(
        model=base.model.having(**words.dotted.get("model", {})),
        data=data,
        recipe=recipe,
        seed=given.seed,
        compute=given.compute,
    )
    return config, given.place


class Extras(BaseModel):
    """Where things are, and what else to do."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    root: Path = Path("runs")
    """Where runs are kept."""
    data_dir: Path | None = None
    """Where named data sets are looked for first; then $CONVSCOPE_DATA and the user cache."""
    cache_dir: Path | None = None
    """Where decoded pixels and self-test results are kept."""
    allow_different: bool = False
    """Continue a run although machine, versions or code differ; the record says so."""
    overfit_one_batch: bool = False
    """First see whether the network can learn one batch by heart."""


class TrainFlags(RunFlags):
    """Everything `train` understands."""

    place: OmitArgPrefixes[Extras]


def _base(names: Sequence[str]) -> RunConfig:
    if len(names) == 1 and names[0].endswith(".toml"):
        return configs.read_toml(Path(names[0]))
    if len(names) > 2:
        raise ConfigError(
            f"train takes a model and a data set, or one file; {len(names)} names were given: {', '.join(names)}."
        )
    return configs.default_config(*names)


def parse(kind: type[T], default: T | None, flags: Sequence[str], prog: str, description: str) -> T:
    """Let tyro read flags into a class; its `--help` and its own errors end the process with 0 and 2.

    Raises:
        ConfigError: an unknown flag, with the nearest ones, or a value out of range.
    """
    fields = flag_fields(kind)
    for position, flag in enumerate(flags):
        name, equals, value = flag.partition("=")
        if not name.startswith("--") or name == "--help":
            continue
        if name not in fields:
            raise ConfigError(
                f"There is no flag {name}.{nearest(name, fields, 0.75)} `{prog} --help` lists all."
            )
        owner, field = fields[name]
        lists = _anywhere(
            owner.model_fields[field].annotation, lambda part: get_origin(part) in (list, tuple)
        )
        if lists and name in (flag.partition("=")[0] for flag in flags[:position]):
            raise ConfigError(
                f"{name} is given twice, and the second would undo the first. Write {name} A B."
            )
        if words := [value] if equals else flags[position + 1 :]:
            _check(*fields[name], words)
    with REGISTRY:
        # mypy: tyro's types do not follow a generic default.
        return tyro.cli(  # type: ignore[return-value]
            kind, args=list(flags), default=default, prog=prog, description=description, use_underscores=False
        )


def _check(owner: type[BaseModel], field: str, words: Sequence[str]) -> None:
    """Say in one sentence what is wrong with the value of a flag, before tyro says it in a box.

    Args:
        owner: the class with the field.
        field: which the flag sets.
        words: what follows the flag: one value, or several up to the next flag.

    Raises:
        ConfigError: the value is not of the field's type or out of its range.
    """
    info, value = owner.model_fields[field], words[0]
    several = list(takewhile(lambda word: not word.startswith("--"), words))
    if _anywhere(info.annotation, lambda part: part is Choice):
        for word in several:
            choice(word)
        return
    if info.annotation is bool:
        return
    if _anywhere(info.annotation, lambda part: get_origin(part) is tuple):
        _check_several(owner, field, several)
        return
    try:
        if any(other.is_required() for other in owner.model_fields.values()):
            bounded: Any = Annotated[info.annotation, info]
            TypeAdapter(bounded).validate_python(value)
        else:
            owner.model_validate({field: None if value == "None" else value})
    except ValidationError as error:
        problem = error.errors()[0]
        reason = problem["msg"].removeprefix("Value error, ")
        raise ConfigError(f"--{field.replace('_', '-')} cannot be {value!r}: {reason}.") from None


def _check_several(owner: type[BaseModel], field: str, words: list[str]) -> None:
    """A single word may stand for itself (`balanced`) or for a list of one."""
    reasons: dict[str, None] = {}
    for value in [words[0], words] if len(words) == 1 else [words]:
        try:
            owner.model_validate({field: value})
        except ValidationError as error:
            # Of a value that is no list, pydantic says so too; here one word is a list.
            reasons |= {problem["msg"]: None for problem in error.errors() if problem["type"] != "tuple_type"}
        else:
            return
    raise ConfigError(
        f"--{field.replace('_', '-')} cannot be {' '.join(words)!r}: {'; or else: '.join(reasons)}."
    )


def _anywhere(annotation: Any, wanted: Callable[[Any], bool]) -> bool:
    return wanted(annotation) or any(_anywhere(inner, wanted) for inner in get_args(annotation))


def flag_fields(kind: Any) -> dict[str, tuple[type[BaseModel], str]]:
    """Every flag a class of options understands -> the class and field it sets."""
    found: dict[str, tuple[type[BaseModel], str]] = {}
    for name, info in kind.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel) and inner is not Choice:
            found |= flag_fields(inner)
        else:
            found[f"--{name.replace('_', '-')}"] = (kind, name)
            if inner is bool:
                found[f"--no-{name.replace('_', '-')}"] = (kind, name)
    return found
