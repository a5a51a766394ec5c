"""What was asked for, exactly?

Frozen pydantic models; the text under a field is its help on the command
line, in lists and in reports.  `RunConfig` holds everything: model, data,
recipe and seed decide the numbers and so name the run; `compute` says how the
machine does it and does not.

    [model]                      convscope train resnet20 cifar10 --model.shortcut B \\
    name = "resnet20"                --epochs 30 --lr 0.1 --schedule step --schedule.every 10 --seed 3
    shortcut = "B"

A thing picked by name is a `Choice`: `"step"`, or a table of its name and
options.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from . import catalog
from .catalog import Off
from .errors import ConfigError, DataMissing, nearest

SCHEMA = 1
"""Raised when the meaning of an existing field changes, so that old names cannot be mistaken for new ones."""


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )


class Choice(_Frozen):
    """A thing from the catalog and its options."""

    name: str
    options: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _from_name_or_table(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping) and "options" not in value:
            return {"name": value.get("name"), "options": {k: v for k, v in value.items() if k != "name"}}
        return value

    @model_serializer
    def _as_table(self) -> dict[str, Any]:
        return {"name": self.name, **self.options}

    def resolved(self, kind: str) -> Self:
        """The same choice with every option present and checked."""
        return type(self)(name=self.name, options=catalog.resolve(kind, self.name, self.options))

    def having(self, **options: Any) -> Self:
        """The same choice with some options changed."""
        return type(self)(name=self.name, options={**self.options, **options})

    def __str__(self) -> str:
        inner = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.name}({inner})" if inner else self.name


class DataConfig(_Frozen):
    """Which images, how they are brought to one size, and how they are split."""

    source: str = "digits"
    """A name (`convscope list sources`) or a place: folder:PATH, parquet:PATH, npz:PATH."""

    size: int | None = Field(None, ge=4, le=4096)
    """Height and width in pixels to which images of differing sizes are brought."""

    fit: Literal["crop", "pad", "stretch"] = "crop"
    """How: shorter side to `size` and centre crop; longer side to `size` and black bars; or distort."""

    validation: float | None = Field(None, gt=0, lt=1)
    """Share of the training images held out for validation, by class; absent: the set's own share."""

    test: float | None = Field(None, gt=0, lt=1)
    """Share of all images sealed as test split where the set has none; absent: the set's own share."""

    split_seed: int = Field(0, ge=0)
    """Seed of the split; the same for all runs unless varied, so that runs are scored on the same images."""

    skip_bad: bool = False
    """Leave unusable files out, and record which, instead of stopping."""

    options: dict[str, Any] = {}
    """Options of the source itself, e.g. the number of classes of `synthetic`."""

    @property
    def kind(self) -> str:
        """The source's name without its place."""
        return self.source.partition(":")[0]


_STEPS = ("step", "steps")
_EPOCHS = ("epoch", "epochs")
_SECONDS = ("s", "seconds")


def _interval(text: str, *units: tuple[str, ...]) -> tuple[float, str]:
    """('40 steps') -> (40.0, 'step')."""
    number, _, unit = str(text).strip().partition(" ")
    for names in units:
        if unit.strip() in names:
            try:
                value = float(number)
            except ValueError:
                break
            if value > 0:
                return value, names[0]
    allowed = " or ".join(f"'10 {names[-1]}'" for names in units)
    raise ValueError(f"say how often as {allowed}, not {text!r}")


class Recipe(_Frozen):
    """How to train: everything but the model, the data and the seed."""

    epochs: float = Field(20.0, gt=0)
    """Passes over the training split; 0.5 is half a pass."""

    batch_size: int = Field(128, ge=1)
    """Images per step."""

    lr: float = Field(0.1, gt=0)
    """Peak learning rate, per step, of the mean loss over a batch."""

    optimizer: Choice = Choice(name="sgd")
    """What turns gradients into steps."""

    schedule: Choice = Choice(name="linear")
    """The learning rate as a share of its peak, a function of the step."""

    warmup: float = Field(0.0, ge=0)
    """Epochs in which the rate rises in a straight line from zero, before the schedule starts."""

    weight_decay: float = Field(5e-4, ge=0)
    """Added to each gradient: weight_decay x weight, so the L2 penalty weight_decay/2 x |weights|^2."""

    decay: Literal["weights", "all"] = "weights"
    """What decays: the weights of convolutions and linear layers, or all (biases and norms too)."""

    loss: Choice = Choice(name="cross-entropy")
    """What is minimised."""

    augment: tuple[Choice, ...] | Literal["auto", "none"] = "auto"
    """Changes to each training image, in order; auto: what suits the data (no mirroring of digits)."""

    progressive: Annotated[float, Field(ge=0, lt=1), Off(0.0)] = 0.0
    """Share of the run, from its start, in which images are shown at 3/4 of their height and width; 0 is off."""

    validate_every: str = "1 epoch"
    """When to measure on the validation split: `1 epoch`, `0.5 epochs`, `40 steps`."""

    @field_validator("augment", mode="after")
    @classmethod
    def _single_word(cls, value: Any) -> Any:
        """`--augment none` arrives as a list of one name."""
        if isinstance(value, tuple) and [choice.name for choice in value] in (["auto"], ["none"]):
            return value[0].name
        return value

    @field_validator("validate_every")
    @classmethod
    def _known_interval(cls, text: str) -> str:
        _interval(text, _STEPS, _EPOCHS)
        return text

    def validation_steps(self, steps_per_epoch: int) -> int:
        """`validate_every` in steps, at least one."""
        value, unit = _interval(self.validate_every, _STEPS, _EPOCHS)
        return max(1, round(value if unit == "step" else value * steps_per_epoch))


class ComputeConfig(_Frozen):
    """How the machine does it.  None of this is part of a run's name."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps ..."""

    threads: int = Field(0, ge=0)
    """CPU threads; 0 is all cores this process may use, or one where a step is too small to share."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 where this machine was found to compute it right and at least 10 % faster."""

    checkpoint_every: str = "60 seconds"
    """When to write a checkpoint: `60 seconds`, `100 steps`."""

    @field_validator("checkpoint_every")
    @classmethod
    def _known_interval(cls, text: str) -> str:
        _interval(text, _STEPS, _SECONDS)
        return text

    def checkpoint_interval(self) -> tuple[float, str]:
        """(60.0, 's') or (100.0, 'step')."""
        return _interval(self.checkpoint_every, _STEPS, _SECONDS)


class RunConfig(_Frozen):
    """Everything about one run."""

    model: Choice = Choice(name="lenet5")
    """The network."""

    data: DataConfig = DataConfig()
    """The images."""

    recipe: Recipe = Recipe()
    """The training."""

    seed: int = Field(0, ge=0)
    """Seed of everything random: weights, order, augmentation, dropout."""

    compute: ComputeConfig = ComputeConfig()
    """The machine."""


def default_config(model: str = "lenet5", source: str = "digits") -> RunConfig:
    """A run of this model on this data with the model's own default recipe."""
    item = catalog.find("models", model)
    catalog.find("sources", source.partition(":")[0])
    return RunConfig(model=Choice(name=model), data=DataConfig(source=source), recipe=Recipe(**item.recipe))


M = TypeVar("M", bound=BaseModel)


def validated(model: type[M], values: Mapping[str, Any], where: str) -> M:
    """Build a config, or say in one sentence what is wrong with which key.

    Raises:
        ConfigError: an unknown key, with the nearest known ones, or a bad value, with what is allowed.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_sentence(model, error.errors()[0], where)) from None


def _sentence(model: type[BaseModel], problem: Any, where: str) -> str:
    path = [str(part) for part in problem["loc"]]
    key = ".".join(path)
    if problem["type"] == "extra_forbidden":
        known = _fields_at(model, path[:-1])
        return f"{where}: {key} is not known.{nearest(path[-1], known)} Known: {', '.join(known)}."
    reason = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {key} cannot be {problem['input']!r}: {reason}."


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        inner = model.model_fields[part].annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return sorted(model.model_fields)


def read_toml(path: Path) -> RunConfig:
    """A configuration file; keys that are absent get the default of the model it names.

    Raises:
        DataMissing: no such file.
        ConfigError: not TOML, an unknown key, a bad value.
    """
    if not path.is_file():
        raise DataMissing(
            f"There is no file {path}. A configuration is a TOML file such as runs/*/*/config.toml."
        )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from None
    return from_table(values, str(path))


class _OnlyModel(_Frozen):
    model: Choice


def from_table(values: Mapping[str, Any], where: str) -> RunConfig:
    """A configuration from nested tables, as TOML holds them."""
    model = validated(_OnlyModel, {"model": values.get("model", "lenet5")}, where).model
    item = catalog.find("models", model.name)
    filled = {**values, "model": model}
    if isinstance(values.get("recipe", {}), Mapping):
        filled["recipe"] = {**item.recipe, **values.get("recipe", {})}
    return validated(RunConfig, filled, where)


def to_toml(config: RunConfig) -> str:
    """The whole configuration, every value written out."""
    return tomli_w.dumps(as_table(config))


def as_table(config: BaseModel) -> dict[str, Any]:
    """Nested tables of plain values; what is absent (None) is left out, as TOML has no null."""
    table: dict[str, Any] = config.model_dump(mode="json", exclude_none=True)
    return table


def identity(config: RunConfig, data_hash: str) -> str:
    """Ten hexadecimal digits that name a resolved configuration on this data; the seed is not in it.

    The place of the data is left out, since the hash of its content is in. So are `compute`, and options
    added later while they are off (`Off`), so names given by older versions stay valid.
    """
    data = {
        key: value
        for key, value in as_table(config.data).items()
        if key not in ("source", "options") and not _is_off(config.data, key)
    }
    recipe = {
        key: _without_off(key, value)
        for key, value in as_table(config.recipe).items()
        if not _is_off(config.recipe, key)
    }
    wanted = {
        "schema": SCHEMA,
        "data": {**data, "kind": config.data.kind, "options": config.data.options, "hash": data_hash},
        "model": _without_off("model", as_table(config.model)),
        "recipe": recipe,
    }
    text = json.dumps(wanted, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


_KIND_OF = {
    "model": "models",
    "optimizer": "optimizers",
    "schedule": "schedules",
    "loss": "losses",
    "augment": "augmentations",
}


def _is_off(config: BaseModel, key: str) -> bool:
    return Off(getattr(config, key)) in type(config).model_fields[key].metadata


def _without_off(key: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_without_off(key, inner) for inner in value]
    if key not in _KIND_OF or not isinstance(value, dict):
        return value
    options = catalog.options(catalog.find(_KIND_OF[key], value["name"]))
    return {k: v for k, v in value.items() if k == "name" or not options[k].is_off(v)}


def resolve(config: RunConfig, auto_augment: tuple[Choice, ...], validation: float, test: float) -> RunConfig:
    """Every choice with all its options, every `auto` replaced by what it means for these data."""
    recipe = config.recipe
    named = {"auto": auto_augment, "none": ()}
    chosen = named[recipe.augment] if isinstance(recipe.augment, str) else recipe.augment
    new_recipe = recipe.model_copy(
        update={
            "optimizer": recipe.optimizer.resolved("optimizers"),
            "schedule": recipe.schedule.resolved("schedules"),
            "loss": recipe.loss.resolved("losses"),
            "augment": tuple(choice.resolved("augmentations") for choice in chosen),
        }
    )
    new_data = config.data.model_copy(
        update={
            "validation": config.data.validation if config.data.validation is not None else validation,
            "test": config.data.test if config.data.test is not None else test,
            "options": catalog.resolve("sources", config.data.kind, config.data.options),
        }
    )
    return config.model_copy(
        update={"model": config.model.resolved("models"), "data": new_data, "recipe": new_recipe}
    )


def differences(old: RunConfig, new: RunConfig) -> list[str]:
    """Field by field: 'recipe.lr: 0.1 -> 0.2'.  `compute` is not compared."""
    return [
        f"{key}: {before} -> {after}"
        for key, before, after in _pairs(as_table(old), as_table(new), "")
        if before != after and not key.startswith("compute.")
    ]


def _pairs(old: Any, new: Any, prefix: str) -> list[tuple[str, Any, Any]]:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [(prefix.removesuffix("."), old, new)]
    found = []
    for key in sorted({*old, *new}):
        found += _pairs(old.get(key, "absent"), new.get(key, "absent"), f"{prefix}{key}.")
    return found
