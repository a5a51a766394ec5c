"""What every diagnostic promises.  A new one is tested here without a new test; a slow one gets a line in OPTIONS."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from convscope import plots, train
from convscope.core import catalog
from convscope.core.errors import ConfigError
from convscope.data import Data
from convscope.diagnostics import Result, inspect
from convscope.evaluate.runs import Run

NAMES = catalog.names("diagnostics")
# What is large by default.
OPTIONS: dict[str, dict[str, Any]] = {
    "embedding": {"neighbours": 5},
    "landscape": {"size": 3, "images": 16},
    "landscape-line": {"size": 3, "images": 16},
    "smoothness": {"lr": 0.05, "points": 2, "batches": 1, "batch": 16},
    "curvature": {"top": 1, "images": 16, "steps": 4, "probes": 2},
}
ONLY_IN_A_RUN = ("overfitting",)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """LeNet-5 with norms, trained for a second on 200 striped images."""
    root = tmp_path_factory.mktemp("inspected")
    source = {"source": "synthetic", "options": {"images": 200, "size": 16}}
    model = {"name": "lenet5", "norm": "batch", "dropout": 0.1}
    return train(
        model, source, root=root, cache_dir=root, epochs=2, batch_size=32, precision="float32", threads=1
    )


@pytest.fixture(scope="module")
def data(run: Run) -> Data:
    return run.data(cache_dir=run.root.parent.parent)


def looked(what: Any, name: str, data: Data) -> Result:
    return inspect(what, name, data=data, **OPTIONS.get(name, {}))


def state(model: torch.nn.Module) -> list[Any]:
    """Everything of a network that a diagnostic could leave changed, as bytes and flags."""
    return [
        {key: value.numpy().tobytes() for key, value in model.state_dict().items()},
        [(p.requires_grad, p.grad is None) for p in model.parameters()],
        [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()],
        torch.get_rng_state().numpy().tobytes(),
        np.random.get_state()[1].tobytes(),  # noqa: NPY002  # that it is left alone is the point
    ]


@pytest.mark.parametrize("name", NAMES)
def test_it_says_writes_and_draws_what_it_found(name: str, run: Run, data: Data, tmp_path: Path) -> None:
    result = looked(run, name, data)
    assert result.sentence.endswith(".") and any(digit in result.sentence for digit in "0123456789")
    written = result.save(tmp_path / "deep" / name)
    table = json.loads(written[0].read_text())
    assert table["sentence"] == result.sentence
    # What a study takes for a measure stands in the file too; `moments` adds numbers by the names of layers.
    numbers = {key: value if np.isfinite(value) else str(value) for key, value in result.scalars().items()}
    fields = {field.name for field in dataclasses.fields(result)}
    assert numbers and all(table[key] == numbers[key] for key in numbers.keys() & fields)
    assert numbers.keys() <= fields or name == "moments"
    for key, shape in table["arrays"].items():
        with np.load(written[1], allow_pickle=False) as arrays:
            assert list(arrays[key].shape) == shape
            np.testing.assert_array_equal(arrays[key], getattr(result, key))
    figure = plots.draw(name, result)
    assert isinstance(figure, Figure) and figure.axes
    first, second = (tmp_path / f"{name}-{i}.png" for i in (1, 2))
    plots.save(figure, first)
    plots.save(plots.draw(name, result), second)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ONLY_IN_A_RUN])
def test_the_network_comes_back_bit_for_bit_and_the_answer_again(name: str, run: Run, data: Data) -> None:
    model = run.model().train()
    model.requires_grad_(True)
    model.c1.weight.requires_grad_(False)
    before = copy.deepcopy(state(model))
    first, second = (looked(model, name, data) for _ in range(2))
    assert state(model) == before
    assert first.sentence == second.sentence
    assert first.scalars() == pytest.approx(second.scalars(), nan_ok=True, rel=0, abs=0)


def test_a_module_needs_images() -> None:
    with pytest.raises(ConfigError) as caught:
        inspect(torch.nn.Linear(2, 2), "confusion")
    assert str(caught.value) == (
        "A module alone cannot be looked into: give the images to show it, data=convscope.load(...)."
    )
