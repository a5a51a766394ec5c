"""What was asked for: read, written, refused in a sentence, resolved, named, compared."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.core import catalog, config
from convscope.core.catalog import Off
from convscope.core.config import Choice, ComputeConfig, DataConfig, Recipe, RunConfig
from convscope.core.errors import ConfigError, ConvscopeError, DataMissing, UnknownName

HASH = "0" * 64


def resolved(given: RunConfig) -> RunConfig:
    return config.resolve(given, (Choice(name="crop"),), 0.1, 0.2)


def name_of(given: RunConfig) -> str:
    return config.identity(resolved(given), HASH)


# Names -----------------------------------------------------------------------------------------------------


def test_golden_identities(golden: Callable[[str, str], None]) -> None:
    """Of each model's default run: a change here gives every run that exists another name."""
    found = {
        f"{model} {source}": name_of(config.default_config(model, source))
        for model in catalog.names("models")
        for source in ("digits", "cifar10")
    }
    golden("identities.json", json.dumps(found, indent=2) + "\n")


def test_equal_configurations_have_equal_names() -> None:
    """16 and 16.0 are equal; so is what is written out and what is left at its default."""
    base = RunConfig()
    for other in (
        RunConfig(recipe=Recipe(epochs=20)),
        RunConfig(recipe=Recipe(optimizer=Choice(name="sgd", options={"momentum": 0.9}))),
        RunConfig(recipe=Recipe(augment=(Choice(name="crop", options={"padding": 4}),))),
        RunConfig(seed=5),
        RunConfig(compute=ComputeConfig(threads=3, precision="float32")),
        RunConfig(data=DataConfig(validation=0.1)),
    ):
        assert name_of(other) == name_of(base)


def test_the_place_of_the_data_names_nothing() -> None:
    here, there = (RunConfig(data=DataConfig(source=f"folder:/{place}")) for place in "ab")
    assert name_of(here) == name_of(there)
    assert config.identity(resolved(here), "1" * 64) != name_of(here)


def test_weights_to_start_from_name_a_run_by_their_content() -> None:
    """The place names nothing and may change; without weights the name is what it was before there were any."""
    here, there = (
        RunConfig(recipe=Recipe(weights=f"/{place}.safetensors", weights_sha256="1" * 64)) for place in "ab"
    )
    assert name_of(here) == name_of(there) != name_of(RunConfig())
    assert config.differences(resolved(here), resolved(there)) == []
    other = RunConfig(recipe=Recipe(weights="/a.safetensors", weights_sha256="2" * 64))
    assert name_of(other) != name_of(here)
    assert config.differences(resolved(here), resolved(other)) == [
        f"recipe.weights_sha256: {'1' * 64} -> {'2' * 64}"
    ]


numbers = st.floats(1e-6, 100, allow_nan=False)
recipes = st.builds(
    Recipe,
    epochs=numbers | st.integers(1, 99),
    batch_size=st.integers(1, 9999),
    lr=numbers,
    warmup=st.just(0.0) | numbers,
    weight_decay=st.just(0) | numbers,
    decay=st.sampled_from(["weights", "all"]),
    schedule=st.sampled_from([Choice(name="cosine"), Choice(name="step", options={"every": 3})]),
)


@given(left=recipes, right=recipes)
@settings(max_examples=60, deadline=None, database=None)
def test_names_are_equal_exactly_where_configurations_are(left: Recipe, right: Recipe) -> None:
    one, two = (resolved(RunConfig(recipe=recipe)) for recipe in (left, right))
    assert (config.identity(one, HASH) == config.identity(two, HASH)) == (one == two)
    # The same through a file.
    again = config.from_table(config.as_table(one), "test")
    assert again == one and config.identity(again, HASH) == config.identity(one, HASH)


class LaterRecipe(Recipe):
    """The recipe of a later version, with one more field."""

    label_smoothing: Annotated[float, Off(0.0)] = 0.0
    """Off at 0."""


class CarelessRecipe(Recipe):
    """The same, by somebody who forgot to say at which value it is off."""

    label_smoothing: float = 0.0
    """Not marked."""


class LaterRun(RunConfig):
    """A run of that version."""

    recipe: Recipe = LaterRecipe()


def test_a_field_that_is_added_later_renames_nothing_while_it_is_off() -> None:
    base = name_of(RunConfig())
    assert name_of(LaterRun(recipe=LaterRecipe())) == base
    assert name_of(LaterRun(recipe=LaterRecipe(label_smoothing=0.1))) != base
    assert name_of(LaterRun(recipe=CarelessRecipe())) != base


def test_an_option_that_is_added_later_renames_nothing_while_it_is_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from convscope.train import optim

    base = name_of(RunConfig())

    def sgd(
        groups: list[dict[str, Any]],
        lr: float,
        momentum: float = 0.9,
        nesterov: bool = False,
        dampening: Annotated[float, Off(0.0)] = 0.0,
    ) -> None:
        """Of a later version."""

    monkeypatch.setattr(optim, "sgd", sgd)
    assert name_of(RunConfig()) == base
    choice = Choice(name="sgd", options={"dampening": 0.5})
    assert name_of(RunConfig(recipe=Recipe(optimizer=choice))) != base


# Sentences ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "kind", "sentence"),
    [
        (
            {"recipe": {"epoch": 3}},
            ConfigError,
            "f: recipe.epoch is not known. Did you mean 'epochs'? Known: accumulate, augment, batch_size, "
            "body_lr, class_weights, clip, decay, decoupled, early_stop, ema, enlarge, epochs, freeze_epochs, grow, l1, "
            "loss, lr, optimizer, progressive, schedule, select, train_only, validate_every, warmup, weight_decay, "
            "weights, weights_sha256.",
        ),
        (
            {"sede": 3},
            ConfigError,
            "f: sede is not known. Did you mean 'seed'? Known: compute, data, model, recipe, seed.",
        ),
        ({"recipe": {"lr": -1}}, ConfigError, "f: recipe.lr cannot be -1: Input should be greater than 0."),
        (
            {"recipe": {"epochs": "many"}},
            ConfigError,
            "f: recipe.epochs cannot be 'many': Input should be a valid number, unable to parse string as a number.",
        ),
        (
            {"recipe": {"epochs": float("inf")}},
            ConfigError,
            "f: recipe.epochs cannot be inf: Input should be a finite number.",
        ),
        (
            {"recipe": {"decay": "biases"}},
            ConfigError,
            "f: recipe.decay cannot be 'biases': Input should be 'weights' or 'all'.",
        ),
        (
            {"recipe": {"validate_every": "10 seconds"}},
            ConfigError,
            "f: recipe.validate_every cannot be '10 seconds': say how often as '10 steps' or '10 epochs', not "
            "'10 seconds'.",
        ),
        (
            {"compute": {"checkpoint_every": "0 steps"}},
            ConfigError,
            "f: compute.checkpoint_every cannot be '0 steps': say how often as '10 steps' or '10 seconds', not "
            "'0 steps'.",
        ),
        (
            {"data": {"size": 2}},
            ConfigError,
            "f: data.size cannot be 2: Input should be greater than or equal to 4.",
        ),
        (
            {"model": "resnet2"},
            UnknownName,
            None,
        ),
    ],
)
def test_what_is_not_allowed_is_named(
    table: dict[str, Any], kind: type[ConvscopeError], sentence: str | None
) -> None:
    with pytest.raises(kind) as error:
        config.from_table(table, "f")
    if sentence is None:
        assert str(error.value).startswith(
            "No model is called 'resnet2'. Did you mean 'resnet32' or 'resnet20'?"
        )
    else:
        assert str(error.value) == sentence


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    with pytest.raises(DataMissing) as missing:
        config.read_toml(path)
    assert str(missing.value) == (
        f"There is no file {path}. A configuration is a TOML file such as runs/*/*/config.toml."
    )
    path.write_text("a = ")
    with pytest.raises(ConfigError) as broken:
        config.read_toml(path)
    assert str(broken.value) == f"{path} is not TOML: Invalid value (at end of document)."
    path.write_text("[[arm]]\nname = 'a'\n")
    with pytest.raises(ConfigError) as study:
        config.read_toml(path)
    assert str(study.value) == f"{path} is a study, not the configuration of one run: convscope study {path}."
    path.write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match="is not TOML"):
        config.read_toml(path)


# Files and defaults ----------------------------------------------------------------------------------------


def test_a_file_survives_writing_and_reading(tmp_path: Path) -> None:
    original = RunConfig(
        model=Choice(name="resnet20", options={"shortcut": "B"}),
        data=DataConfig(source="cifar10", validation=0.2),
        recipe=Recipe(augment=(Choice(name="crop", options={"padding": 2}), Choice(name="flip"))),
        seed=3,
    )
    (tmp_path / "a.toml").write_text(config.to_toml(original))
    assert config.read_toml(tmp_path / "a.toml") == original


def test_keys_that_are_absent_get_the_defaults_of_the_model() -> None:
    found = config.from_table({"model": "resnet20"}, "f")
    item = catalog.find("models", "resnet20")
    assert found.recipe == Recipe(**item.recipe)
    assert found.recipe == config.default_config("resnet20").recipe
    assert config.from_table({"model": "resnet20", "recipe": {"lr": 9}}, "f").recipe.lr == 9


def test_a_choice_is_a_name_or_a_table() -> None:
    assert Choice.model_validate("step") == Choice.model_validate({"name": "step"}) == Choice(name="step")
    table = Choice.model_validate({"name": "step", "every": 3})
    assert table == Choice(name="step", options={"every": 3})
    assert table.model_dump() == {"name": "step", "every": 3}
    assert (str(table), str(Choice(name="step"))) == ("step(every=3)", "step")
    assert table.having(factor=0.5).options == {"every": 3, "factor": 0.5}


def test_every_field_has_its_help() -> None:
    for model in (RunConfig, DataConfig, Recipe, ComputeConfig):
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"


def test_configurations_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        RunConfig().seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "steps"),
    [("1 epoch", 9), ("0.5 epochs", 4), ("40 steps", 40), ("0.01 epochs", 1), ("1 step", 1)],
)
def test_validation_in_steps(text: str, steps: int) -> None:
    assert Recipe(validate_every=text).validation_steps(9) == steps


@pytest.mark.parametrize(
    ("text", "interval"), [("60 seconds", (60.0, "s")), ("2 s", (2.0, "s")), ("5 steps", (5.0, "step"))]
)
def test_checkpoint_intervals(text: str, interval: tuple[float, str]) -> None:
    assert ComputeConfig(checkpoint_every=text).checkpoint_interval() == interval


@pytest.mark.parametrize(("augment", "expected"), [("auto", ["crop"]), ("none", []), (["flip"], ["flip"])])
def test_resolving_leaves_nothing_open(augment: Any, expected: list[str]) -> None:
    found = resolved(RunConfig(recipe=Recipe(augment=augment)))
    assert not isinstance(found.recipe.augment, str)
    assert [choice.name for choice in found.recipe.augment] == expected
    assert found.recipe.optimizer.options == {"momentum": 0.9, "nesterov": False}
    assert (found.data.validation, found.data.test) == (0.1, 0.2)
    assert resolved(found) == found


def test_differences_are_listed_field_by_field() -> None:
    old = resolved(RunConfig())
    new = resolved(
        RunConfig(
            seed=2, recipe=Recipe(lr=0.2, schedule=Choice(name="step")), compute=ComputeConfig(threads=7)
        )
    )
    assert config.differences(old, new) == [
        "recipe.lr: 0.1 -> 0.2",
        "recipe.schedule.end: 0.0 -> absent",
        "recipe.schedule.every: absent -> 10.0",
        "recipe.schedule.factor: absent -> 0.1",
        "recipe.schedule.name: linear -> step",
        "seed: 0 -> 2",
    ]
    assert config.differences(old, old) == []


def test_an_option_that_an_older_record_lacks_is_no_difference_while_it_is_off() -> None:
    new = resolved(RunConfig(model=Choice(name="resnet20")))
    options = {key: value for key, value in new.model.options.items() if key != "conv_dropout"}
    old = new.model_copy(update={"model": Choice(name="resnet20", options=options)})
    assert config.identity(old, HASH) == config.identity(new, HASH)
    assert config.differences(old, new) == config.differences(new, old) == []
    on = new.model_copy(update={"model": new.model.having(conv_dropout=0.1)})
    assert config.identity(on, HASH) != config.identity(new, HASH)
    assert config.differences(old, on) == ["model.conv_dropout: absent -> 0.1"]
