"""The whole pipeline learns what can be learned, and nothing where nothing can be."""

from pathlib import Path

import pytest
import torch

import convscope
from convscope.core import catalog


@pytest.mark.parametrize(
    ("unlearnable", "low", "high"), [(False, 0.95, 1.0), (True, 0.0, 0.40)]
)  # chance is 0.25
def test_stripes_are_learned_only_when_labels_mean_something(unlearnable, low, high, tmp_path) -> None:
    data = {"source": "synthetic", "options": {"images": 1200, "size": 16, "unlearnable": unlearnable}}
    run = convscope.train(
        {"name": "lenet5", "norm": "batch"},
        data,
        epochs=4,
        lr=0.05,
        threads=1,
        precision="float32",
        root=tmp_path,
    )
    scores = convscope.evaluate(run, weights="last")
    assert low <= scores.accuracy <= high
    # The other half of the second case: the training images can be learned by heart, so training did happen.
    assert convscope.evaluate(run, split="train", weights="last").accuracy >= 0.25


def test_the_python_api_from_data_to_predictions(tmp_path) -> None:
    data = convscope.load("digits")
    network = convscope.build("lenet5", classes=len(data.classes), channels=1, size=32, seed=1)
    run = convscope.train("lenet5", "digits", epochs=1, seed=1, threads=1, precision="float32", root=tmp_path)
    again = convscope.open_run(run.root)
    found = convscope.predict(again, "val")
    right = sum(a == b for a, b in zip(found.labels, data.val.labels.tolist(), strict=True))
    assert right == convscope.evaluate(again).correct
    first = next(iter(network.parameters()))
    assert not torch.equal(first, next(iter(again.model().parameters())))
    assert found.probabilities.sum(1) == pytest.approx([1.0] * len(data.val), abs=1e-5)


def test_the_public_names_are_written_down() -> None:
    assert sorted(convscope.__all__) == [
        "Choice",
        "ComputeConfig",
        "ConvscopeError",
        "DataConfig",
        "Item",
        "Recipe",
        "RunConfig",
        "build",
        "ensemble",
        "evaluate",
        "fold",
        "grow",
        "inspect",
        "load",
        "open_run",
        "predict",
        "register",
        "resume",
        "run_study",
        "study",
        "train",
    ]
    assert all(callable(getattr(convscope, name)) for name in convscope.__all__)


def test_a_function_stays_a_function_when_the_package_of_its_name_is_imported() -> None:
    import convscope.evaluate.metrics
    import convscope.train.loop

    assert callable(convscope.train)
    assert callable(convscope.evaluate)


def test_a_model_of_ones_own_is_trained_by_name(tmp_path, monkeypatch) -> None:
    (tmp_path / "mymodels.py").write_text(
        '"""A network of my own."""\n'
        "from torch import nn\n"
        "import convscope\n\n"
        "def tinynet(*, classes: int, channels: int, size: int, width: int = 4) -> nn.Module:\n"
        '    """One convolution.  Reference: mine."""\n'
        "    return nn.Sequential(nn.Conv2d(channels, width, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),\n"
        "                         nn.Linear(16 * width, classes))\n\n"
        'convscope.register(convscope.Item("models", "tinynet", "mymodels:tinynet", "one convolution", "mine"))\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(catalog._CATALOG, "models", dict(catalog._CATALOG["models"]))  # for this test alone
    from convscope.cli.main import main

    words = ["train", "tinynet", "synthetic", "--import", "mymodels", "--data.images", "100", "--epochs", "1"]
    assert main([*words, "--model.width", "6", "--threads", "1", "--root", str(tmp_path / "runs")]) == 0
    run = convscope.open_run(next((tmp_path / "runs").glob("tinynet-*/seed-0")))
    assert run.config.model.options == {"width": 6}
    assert run.model()[0].out_channels == 6


@pytest.mark.real_data
def test_an_epoch_of_mnist_is_worth_95_percent(tmp_path: Path) -> None:
    recipe = {"epochs": 1, "batch_size": 128, "lr": 0.05, "augment": "none"}
    run = convscope.train("lenet5", "mnist", threads=1, root=tmp_path, **recipe)
    assert convscope.evaluate(run, weights="last").accuracy >= 0.95
