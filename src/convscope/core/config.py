"""What was asked for, exactly?

Frozen pydantic models; the text under a field is its help on the command
line, in lists and in reports.  `RunConfig` holds everything: model, data,
recipe and seed decide the numbers and so name the run; `compute` says how the
machine does it and does not.

    [model]                      convscope train resnet20 cifar10 --model.shortcut B \\
    name = "resnet20"                --epochs 30 --lr 0.1 --schedule step --schedule.every 10 --seed 3
    shortcut = "B"

A thing picked by name is a `Choice`: `"step"`, `"step:every=10"`, or a table of
its name and options.
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

from . import catalog, spelling
from .catalog import Off, Source
from .errors import ConfigError, ConvscopeError, DataMissing, nearest

SCHEMA = 1
"""Raised when the meaning of an existing field changes, so that old names cannot be mistaken for new ones."""


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        validate_default=True,
        allow_inf_nan=False,
    )


class Choice(_Frozen):
    """A thing from the catalog and its options."""

    name: str
    options: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _from_text_or_table(cls, value: Any) -> Any:
        if isinstance(value, str):
            name, options = spelling.read(value)
            return {"name": name, "options": options}
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

    def brief(self) -> str:
        """The name and its options, without tables of numbers."""
        return str(
            type(self)(
                name=self.name, options={k: v for k, v in self.options.items() if not isinstance(v, tuple)}
            )
        )

    def spelled(self) -> str:
        """As one word, crop:padding=2: the inverse of `choice`."""
        return spelling.write(self.name, self.options)

    def __str__(self) -> str:
        inner = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.name}({inner})" if inner else self.name


def choice(text: str) -> Choice:
    """`crop:padding=2,mode=zero` -> a choice with options.

    Raises:
        ConfigError: the text is not of this form.
    """
    name, options = spelling.read(text)
    return Choice(name=name, options=options)


class DataConfig(_Frozen):
    """Which images, how they are brought to one size, and how they are split."""

    source: str = "digits"
    """A name (`convscope list sources`) or a place: folder:PATH, parquet:PATH, npz:PATH."""

    size: Annotated[int | None, Field(ge=4, le=4096), Source("convscope")] = None
    """Height and width in pixels to which images of differing sizes are brought."""

    fit: Annotated[Literal["crop", "pad", "stretch"], Source("convscope")] = "crop"
    """How: shorter side to `size` and centre crop; longer side to `size` and black bars; or distort."""

    validation: Annotated[float | None, Field(gt=0, lt=1), Source("S1.22")] = None
    """Share of the training images held out for validation, by class; absent: the set's own share."""

    test: Annotated[float | None, Field(gt=0, lt=1), Source("convscope")] = None
    """Share of all images sealed as test split where the set has none; absent: the set's own share."""

    split_seed: Annotated[int, Field(ge=0), Source("convscope")] = 0
    """Seed of the split; the same for all runs unless varied, so that runs are scored on the same images."""

    label_noise: Annotated[Choice | None, Off(None), Source("S4.25")] = None
    """Wrong labels put among the training images on purpose (`convscope list noises`)."""

    folds: Annotated[int, Field(ge=0), Off(0), Source("S4.5")] = 0
    """Parts for cross-validation; the validation images are then those of part `fold`; 0 is off."""

    fold: Annotated[int | None, Field(ge=0), Off(None), Source("S4.5")] = None
    """Which part is held out, from 0; absent with `folds`: each in turn, in a run of its own."""

    refit: Annotated[bool, Off(False), Source("He et al. (2016), 4.2")] = False
    """Train on the validation images too: for a last run, when everything has been chosen."""

    skip_bad: Annotated[bool, Source("convscope")] = False
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


def _in_steps(text: str, steps_per_epoch: int) -> int:
    """`0.5 epochs` -> steps, at least one."""
    value, unit = _interval(text, _STEPS, _EPOCHS)
    return max(1, round(value if unit == "step" else value * steps_per_epoch))


class Recipe(_Frozen):
    """How to train: everything but the model, the data and the seed."""

    epochs: Annotated[float, Field(gt=0), Source("S1.28")] = 20.0
    """Passes over the training split; 0.5 is half a pass."""

    batch_size: Annotated[int, Field(ge=1), Source("S1.2")] = 128
    """Images per step."""

    lr: Annotated[float, Field(gt=0), Source("S1.28")] = 0.1
    """Peak learning rate, per step, of the mean loss over a batch."""

    optimizer: Annotated[Choice, Source("S3.54-60")] = Choice(name="sgd")
    """What turns gradients into steps."""

    schedule: Annotated[Choice, Source("S3.63-65")] = Choice(name="linear")
    """The learning rate as a share of its peak, a function of the step."""

    warmup: Annotated[float, Field(ge=0), Source("Goyal et al. (2017), 2.2")] = 0.0
    """Epochs in which the rate rises in a straight line from zero, before the schedule starts."""

    weight_decay: Annotated[float, Field(ge=0), Source("S3.24-25, E3.6")] = 5e-4
    """Added to each gradient: weight_decay x weight, so the L2 penalty weight_decay/2 x |weights|^2."""

    decay: Annotated[Literal["weights", "all"], Source("Jia et al. (2018), 3.2")] = "weights"
    """What decays: the weights of convolutions and linear layers, or all (biases and norms too)."""

    decoupled: Annotated[bool, Off(False), Source("Loshchilov, Hutter (2019)")] = False
    """Decay beside the gradient instead of in it: weight - lr x weight_decay x weight, whatever the optimizer."""

    l1: Annotated[float, Field(ge=0), Off(0.0), Source("S1.46")] = 0.0
    """Factor of the sum of absolute values of the weights that decay, added to the loss; 0 is off."""

    loss: Annotated[Choice, Source("S1.24, S4.8")] = Choice(name="cross-entropy")
    """What is minimised."""

    class_weights: Annotated[
        Literal["none", "balanced"] | tuple[float, ...], Off("none"), Source("King, Zeng (2001)")
    ] = "none"
    """What an image counts in the loss, by its class: as any other, N/(K N_class), or one number per class."""

    clip: Annotated[float, Field(ge=0), Off(0.0), Source("Pascanu et al. (2013)")] = 0.0
    """Largest Euclidean norm of the gradient of all parameters together; a longer one is scaled; 0 is off."""

    accumulate: Annotated[int, Field(ge=1), Off(1), Source("Ott et al. (2018)")] = 1
    """Parts in which a batch is processed one after another, to save memory; norms see one part at a time."""

    ema: Annotated[float, Field(ge=0, lt=1), Off(0.0), Source("Polyak, Juditsky (1992)")] = 0.0
    """Share of the old in a moving average of the weights, which is what is scored and kept; 0 is off."""

    select: Annotated[
        Literal["accuracy", "balanced_accuracy", "top5", "loss"], Off("accuracy"), Source("S1.51")
    ] = "accuracy"
    """What on the validation split decides which weights are the best."""

    early_stop: Annotated[float, Field(ge=0), Off(0.0), Source("S3.22")] = 0.0
    """Epochs without better weights after which the run ends; 0 is off."""

    train_only: Annotated[tuple[str, ...], Off(("all",)), Source("S3.85; Frankle et al. (2021)")] = ("all",)
    """What learns: all, norms, or names of parameters with * and ?, e.g. *.bias; the rest stays as it starts."""

    weights: Annotated[str, Off(""), Source("Yosinski et al. (2014)")] = ""
    """Where the network starts: a safetensors file or the directory of a run, whose best weights are taken."""

    weights_sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$"), Off(""), Source("convscope")] = ""
    """What the file of `weights` must have; absent: whatever it has, and the run is named by it."""

    grow: Annotated[bool, Off(False), Source("S3.38, S3.46")] = False
    """The run of `weights` is of a shallower network: its layers go where they belong, the others start anew."""

    freeze_epochs: Annotated[float, Field(ge=0), Off(0.0), Source("Howard, Ruder (2018), 3.3")] = 0.0
    """Epochs, from the start, in which only the last layer learns; 0 is off."""

    body_lr: Annotated[float, Field(gt=0, le=1), Off(1.0), Source("Howard, Ruder (2018), 3.2")] = 1.0
    """Learning rate of all but the last layer, as a multiple of lr; 1 is off."""

    augment: Annotated[tuple[Choice, ...] | Literal["auto", "none"], Source("S1.33, S3.10")] = "auto"
    """Changes to each training image, in order; auto: what suits the data (no mirroring of digits)."""

    enlarge: Annotated[int, Field(ge=0), Off(0), Source("S3.11, option 1")] = 0
    """Changed copies of each image made once, before training, instead of changing images at every step."""

    progressive: Annotated[float, Field(ge=0, lt=1), Off(0.0), Source("Tan, Le (2021), 4")] = 0.0
    """Share of the run, from its start, in which images are shown at 3/4 of their height and width; 0 is off."""

    validate_every: Annotated[str, Source("S2.26")] = "1 epoch"
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
        return _in_steps(self.validate_every, steps_per_epoch)


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

    inspect: tuple[Choice, ...] = ()
    """Diagnostics that look at the network while it learns, such as `weights` (`convscope list diagnostics`)."""

    inspect_every: str = "1 epoch"
    """When they look: `1 epoch`, `100 steps`; at step 0 and at the end in any case."""

    @field_validator("checkpoint_every")
    @classmethod
    def _known_interval(cls, text: str) -> str:
        _interval(text, _STEPS, _SECONDS)
        return text

    @field_validator("inspect_every")
    @classmethod
    def _known_rhythm(cls, text: str) -> str:
        _interval(text, _STEPS, _EPOCHS)
        return text

    def checkpoint_interval(self) -> tuple[float, str]:
        """(60.0, 's') or (100.0, 'step')."""
        return _interval(self.checkpoint_every, _STEPS, _SECONDS)

    def inspection_steps(self, steps_per_epoch: int) -> int:
        """`inspect_every` in steps, at least one."""
        return _in_steps(self.inspect_every, steps_per_epoch)


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
    """A run of this model (a name, or name:key=value) on this data with the model's own default recipe."""
    chosen = choice(model)
    item = catalog.find("models", chosen.name)
    catalog.find("sources", source.partition(":")[0])
    return RunConfig(model=chosen, data=DataConfig(source=source), recipe=Recipe(**item.recipe))


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
    if problem["type"] == "extra_forbidden":
        known = _fields_at(model, path[:-1])
        key = ".".join(path)
        return f"{where}: {key} is not known.{nearest(path[-1], known)} Known: {', '.join(known)}."
    # Where a field may be of several types, pydantic names the one it tried too: tuple[Choice, ...].
    key = ".".join(part for part in path if "[" not in part)
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, ConvscopeError):
        return f"{where}: {key}: {cause}"
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
    if "arm" in values or "factors" in values:
        raise ConfigError(f"{path} is a study, not the configuration of one run: convscope study {path}.")
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

    The places of the data and of the weights are left out, since the hashes of their content are in. So are
    `compute`, and options added later while they are off (`Off`), so names given by older versions stay valid.
    """
    data = {
        key: _without_off(key, value)
        for key, value in as_table(config.data).items()
        if key not in ("source", "options") and not _is_off(config.data, key)
    }
    recipe = {
        key: _without_off(key, value)
        for key, value in as_table(config.recipe).items()
        if key != "weights" and not _is_off(config.recipe, key)
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
    "label_noise": "noises",
}


def switched_on(config: BaseModel) -> list[tuple[str, Any]]:
    """The options that are off by default and are not off here, with their values."""
    marked = [
        key
        for key, field in type(config).model_fields.items()
        if any(isinstance(m, Off) for m in field.metadata)
    ]
    return [(key, getattr(config, key)) for key in marked if not _is_off(config, key)]


def _is_off(config: BaseModel, key: str) -> bool:
    return Off(getattr(config, key)) in type(config).model_fields[key].metadata


def _without_off(key: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_without_off(key, inner) for inner in value]
    if key not in _KIND_OF or not isinstance(value, dict):
        return value
    options = catalog.options(catalog.find(_KIND_OF[key], value["name"]))
    return {k: v for k, v in value.items() if k not in options or not options[k].is_off(v)}


def spelled_out(config: RunConfig) -> RunConfig:
    """Every choice with all its options; what the data decide is left at `auto` or absent."""
    recipe, noise = config.recipe, config.data.label_noise
    augment = recipe.augment
    if not isinstance(augment, str):
        augment = tuple(choice.resolved("augmentations") for choice in augment)
    return config.model_copy(
        update={
            "model": config.model.resolved("models"),
            "data": config.data.model_copy(
                update={
                    "label_noise": noise.resolved("noises") if noise else None,
                    "options": catalog.resolve("sources", config.data.kind, config.data.options),
                }
            ),
            "recipe": recipe.model_copy(
                update={
                    "optimizer": recipe.optimizer.resolved("optimizers"),
                    "schedule": recipe.schedule.resolved("schedules"),
                    "loss": recipe.loss.resolved("losses"),
                    "augment": augment,
                }
            ),
        }
    )


def resolve(config: RunConfig, auto_augment: tuple[Choice, ...], validation: float, test: float) -> RunConfig:
    """Every choice with all its options, every `auto` replaced by what it means for these data."""
    named = {"auto": auto_augment, "none": ()}
    augment = config.recipe.augment
    chosen = named[augment] if isinstance(augment, str) else augment
    spelled = spelled_out(
        config.model_copy(update={"recipe": config.recipe.model_copy(update={"augment": chosen})})
    )
    # With folds or refit no share is held out: which images validate is decided without it.
    drawn = not (config.data.folds or config.data.refit)
    share = validation if config.data.validation is None else config.data.validation
    new_data = spelled.data.model_copy(
        update={
            "validation": share if drawn else None,
            "test": config.data.test if config.data.test is not None else test,
        }
    )
    return spelled.model_copy(update={"data": new_data})


def differences(old: RunConfig, new: RunConfig) -> list[str]:
    """Field by field: 'recipe.lr: 0.1 -> 0.2'.  `compute` and the place of the weights are not compared.

    An option that an older record lacks, since it was added later, does not differ while it is off.
    """
    return [
        f"{key}: {before} -> {after}"
        for key, before, after in _pairs(_in_use(old), _in_use(new), "")
        if before != after and not key.startswith("compute.") and key != "recipe.weights"
    ]


def _in_use(config: RunConfig) -> dict[str, Any]:
    """The nested tables, without those options of choices that are off."""
    table = as_table(config)
    for part in (table, table["data"], table["recipe"]):
        part.update({key: _without_off(key, value) for key, value in part.items()})
    return table


def _pairs(old: Any, new: Any, prefix: str) -> list[tuple[str, Any, Any]]:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [(prefix.removesuffix("."), old, new)]
    found = []
    for key in sorted({*old, *new}):
        found += _pairs(old.get(key, "absent"), new.get(key, "absent"), f"{prefix}{key}.")
    return found
