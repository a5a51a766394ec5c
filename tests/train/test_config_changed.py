"""A run goes on only under the configuration it began with: row A7."""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tiny
import tomli_w

from convscope.core.errors import ConfigChanged, ConvscopeError
from convscope.train import run
from convscope.train.events import Saved

# Dotted key, new value, and how the message shows the change.
MUTATIONS: list[tuple[str, Any, str]] = [
    ("seed", 4, "seed: 3 -> 4"),
    ("model.dropout", 0.3, "model.dropout: 0.2 -> 0.3"),
    ("model.norm", "none", "model.norm: batch -> none"),
    ("model.activation", "relu", "model.activation: auto -> relu"),
    ("model.init", "xavier", "model.init: torch -> xavier"),
    ("data.split_seed", 1, "data.split_seed: 0 -> 1"),
    ("data.validation", 0.2, "data.validation: 0.1 -> 0.2"),
    ("data.test", 0.3, "data.test: 0.2 -> 0.3"),
    ("data.fit", "pad", "data.fit: crop -> pad"),
    ("data.skip_bad", True, "data.skip_bad: False -> True"),
    ("data.options.images", 301, "data.options.images: 300 -> 301"),
    ("data.options.noise", 0.5, "data.options.noise: 0.4 -> 0.5"),
    ("data.options.seed", 1, "data.options.seed: 0 -> 1"),
    ("data.options.unlearnable", True, "data.options.unlearnable: False -> True"),
    ("data.options.classes", 5, "data.options.classes: 4 -> 5"),
    ("data.options.channels", 3, "data.options.channels: 1 -> 3"),
    ("recipe.epochs", 2.0, "recipe.epochs: 1.3 -> 2.0"),
    ("recipe.batch_size", 16, "recipe.batch_size: 32 -> 16"),
    ("recipe.lr", 0.051, "recipe.lr: 0.05 -> 0.051"),
    ("recipe.warmup", 0.0, "recipe.warmup: 0.3 -> 0.0"),
    ("recipe.weight_decay", 0.0, "recipe.weight_decay: 0.0005 -> 0.0"),
    ("recipe.decay", "all", "recipe.decay: weights -> all"),
    ("recipe.validate_every", "6 steps", "recipe.validate_every: 5 steps -> 6 steps"),
    ("recipe.optimizer.momentum", 0.8, "recipe.optimizer.momentum: 0.9 -> 0.8"),
    ("recipe.optimizer.nesterov", True, "recipe.optimizer.nesterov: False -> True"),
    ("recipe.schedule.end", 0.1, "recipe.schedule.end: 0.0 -> 0.1"),
    ("recipe.schedule.name", "cosine", "recipe.schedule.name: linear -> cosine"),
    (
        "recipe.augment.0.padding",
        3,
        "recipe.augment: [{'name': 'crop', 'padding': 2}, {'name': 'flip', 'p': 0.5}] -> "
        "[{'name': 'crop', 'padding': 3}, {'name': 'flip', 'p': 0.5}]",
    ),
    (
        "recipe.augment",
        [],
        "recipe.augment: [{'name': 'crop', 'padding': 2}, {'name': 'flip', 'p': 0.5}] -> []",
    ),
    ("data.size", 28, "data.size: absent -> 28"),
]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that died after its first checkpoint."""
    root = tmp_path_factory.mktemp("begun")

    def die(event: object) -> None:
        if event == Saved(4):
            raise tiny.Crash

    with tiny.cheap(), pytest.raises(tiny.Crash):
        tiny.go(root, watch=die, **tiny.SHORTER)
    return root


@contextmanager
def edited(path: Path, key: str, value: Any) -> Iterator[None]:
    """config.toml with one value changed by hand."""
    before = path.read_text()
    table = tomllib.loads(before)
    *outer, last = key.split(".")
    inner: Any = table
    for part in outer:
        inner = inner[int(part)] if isinstance(inner, list) else inner.setdefault(part, {})
    inner[last] = value
    path.write_text(tomli_w.dumps(table))
    assert path.read_text() != before
    try:
        yield
    finally:
        path.write_text(before)


def test_there_are_thirty() -> None:
    assert len(MUTATIONS) == len({key for key, _, _ in MUTATIONS}) == 30


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(("key", "value", "said"), MUTATIONS, ids=[key for key, _, _ in MUTATIONS])
def test_an_edited_field_is_refused_and_named(
    begun: Path, tmp_path: Path, key: str, value: Any, said: str
) -> None:
    where = tiny.directory(begun)
    checkpoints = tiny.of_snapshot(where / "checkpoints")
    with edited(where / "config.toml", key, value), pytest.raises(ConvscopeError) as error:
        run.resume(where, cache_dir=begun / "cache")
    assert error.value.exit_code in (2, 3)
    if isinstance(error.value, ConfigChanged):
        assert str(error.value) == (
            f"{where} was begun with another configuration:\n  {said}\n"
            f"Put config.toml back, or train the new configuration as a run of its own: "
            f"convscope train {where / 'config.toml'}"
        )
    else:
        # The data refuse it before the run can.
        assert key == "data.size"
    assert tiny.of_snapshot(where / "checkpoints") == checkpoints


@pytest.mark.usefixtures("cheap")
def test_several_changes_are_listed_one_per_line(begun: Path) -> None:
    where = tiny.directory(begun)
    with (
        edited(where / "config.toml", "recipe.lr", 0.1),
        edited(where / "config.toml", "seed", 9),
        pytest.raises(
            ConfigChanged, match=r"configuration:\n  recipe\.lr: 0\.05 -> 0\.1\n  seed: 3 -> 9\nPut"
        ),
    ):
        run.resume(where, cache_dir=begun / "cache")


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(
    ("key", "value"), [("compute.checkpoint_every", "3 steps"), ("compute.device", "auto")]
)
def test_what_decides_no_number_may_change(
    begun: Path, straight: dict[str, str], tmp_path: Path, key: str, value: Any
) -> None:
    import shutil

    import torch

    if torch.cuda.is_available() and key == "compute.device":
        pytest.skip("`auto` is another device here")
    root = tmp_path / "run"
    shutil.copytree(begun, root)
    where = tiny.directory(root)
    with edited(where / "config.toml", key, value):
        run.resume(where, cache_dir=begun / "cache")
    found = tiny.digest(root)
    assert {k: found[k] for k in ("last", "best", "metrics", "result")} == {
        k: straight[k] for k in ("last", "best", "metrics", "result")
    }


@pytest.mark.usefixtures("cheap")
def test_a_changed_command_makes_another_run(begun: Path, tmp_path: Path) -> None:
    """Through `train` a change cannot hit an old run: it has another name."""
    from convscope.core.config import identity
    from convscope.data import load_config

    data = load_config(tiny.config().data)
    names = {
        identity(run.resolve(tiny.config(**changes), data), data.hash)
        for changes in ({}, {"lr": 0.2}, {"epochs": 4}, {"batch_size": 30}, {"augment": "none"})
    }
    assert len(names) == 5
    same = {
        identity(run.resolve(tiny.config(**changes), data), data.hash)
        for changes in ({}, {"seed": 7}, {"threads": 2}, {"checkpoint_every": "1 seconds"}, {"epochs": 3.0})
    }
    assert len(same) == 1
