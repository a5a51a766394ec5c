"""What is frozen stays to the bit, and what is not named is frozen."""

from pathlib import Path

import pytest
import tiny
import torch

from convscope.core.errors import ConfigError
from convscope.models import build
from convscope.train.freeze import freeze, learn


def learning(pattern: tuple[str, ...], **options: str) -> list[str]:
    model = build("simplenn", classes=10, **options)
    freeze(model, pattern)
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def test_patterns_name_what_learns() -> None:
    assert learning(("fc*",)) == [
        "fc1.weight",
        "fc1.bias",
        "fc2.weight",
        "fc2.bias",
        "fc3.weight",
        "fc3.bias",
    ]
    assert learning(("conv?.bias", "fc3.weight")) == ["conv1.bias", "conv2.bias", "fc3.weight"]
    assert learning(("norms",), norm="batch") == ["norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"]
    assert len(learning(("all",))) == 10


def test_a_pattern_without_a_parameter_is_refused() -> None:
    with pytest.raises(ConfigError) as error:
        learning(("fc4.weight",))
    assert str(error.value) == (
        "train_only: no parameter fits 'fc4.weight'. Did you mean 'fc3.weight' or 'fc2.weight'? Layers: "
        "conv1, conv2, fc1, fc2, fc3. Allowed: all, norms, or names of parameters with * and ?, such as fc3.*."
    )
    with pytest.raises(ConfigError, match="no parameter fits 'norms'"):
        learning(("norms",))


def test_a_frozen_norm_keeps_its_statistics_and_uses_them() -> None:
    model = build("simplenn", classes=10, norm="batch")
    freeze(model, ("fc*", "norm2.bias"))
    learn(model)
    x = torch.randn(4, 3, 32, 32)
    model(x)
    assert not model.norm1.training and model.norm1.running_mean.abs().sum() == 0
    # One of its two parameters learns, so this one works as in training.
    assert model.norm2.training and model.norm2.running_mean.abs().sum() > 0


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "muon"])
def test_a_run_changes_nothing_else(tmp_path: Path, optimizer: str) -> None:
    """S3.85: only the norms learn."""
    run = tiny.go(tmp_path, "resnet", optimizer=optimizer, train_only=["norms"], epochs=1)
    shape = {"classes": 4, "channels": 1, "size": 16}
    start = build("resnet20", **shape, seed=run.config.seed, **run.config.model.options).state_dict()
    end = run.model("last").state_dict()
    for name, tensor in end.items():
        is_norm = "bn" in name or "running" in name or "num_batches" in name
        assert torch.equal(tensor, start[name]) != is_norm, name


@pytest.mark.usefixtures("cheap")
def test_nothing_to_learn_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from convscope.train import optim

    with pytest.raises(ConfigError) as error:
        optim.build(tiny.config().recipe, [])
    assert str(error.value) == "Every parameter of the network is frozen, so there is nothing to train."
