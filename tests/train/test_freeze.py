"""What is frozen stays to the bit, and what is not named is frozen."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import nn

from convscope.core.config import Recipe
from convscope.core.errors import ConfigError
from convscope.models import build
from convscope.train import freeze as freezing
from convscope.train import loop
from convscope.train.freeze import body, freeze, head, learn


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


# A body that waits ------------------------------------------------------------------------------------------

WAITING = {"freeze_epochs": 0.6, "body_lr": 0.1}
THAW = 5  # 0.6 epochs of 9 steps are 5.4


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("lenet5", "output"),
        ("simplenn", "fc3"),
        ("resnet20", "fc"),
        ("logistic", "output"),
        ("mlp", "output"),
    ],
)
def test_the_head_is_the_last_layer_with_an_output_for_each_class(name: str, last: str) -> None:
    assert head(build(name, classes=7, size=32), 7) == last


def test_the_head_may_be_a_convolution_with_a_norm() -> None:
    """As in networks that average class maps; the norm behind belongs to the head."""
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    assert head(model, 3) == "2"
    assert body(model, 3, Recipe(freeze_epochs=1)) == ("0.weight", "0.bias", "1.weight", "1.bias")
    assert body(model, 3, Recipe()) == ()
    with pytest.raises(ConfigError) as error:
        head(model, 4)
    assert str(error.value) == (
        "No linear layer or convolution of the network has 4 outputs, one for each class, so it is not known which of "
        "its layers is the head."
    )


OPTIMIZERS: list[dict[str, Any]] = [
    {"optimizer": "sgd"},
    {"optimizer": "sgd", "decoupled": True, "decay": "all", "weight_decay": 0.1, "clip": 0.5},
    {"optimizer": "adamw", "decay": "all", "weight_decay": 0.1, "l1": 1e-3},
    {"optimizer": "muon", "ema": 0.5},
    {"optimizer": "rmsprop", "accumulate": 2},
]


@pytest.mark.parametrize("options", OPTIMIZERS, ids=lambda options: "-".join(map(str, options.values())))
def test_the_body_waits_then_learns(options: dict[str, Any]) -> None:
    """Weights, statistics, the average of both, and nothing of it costs a gradient."""
    session = tiny.session("resnet", **{**WAITING, "lr": 0.01, **options})
    start = {name: tensor.clone() for name, tensor in session.model.state_dict().items()}
    for _ in range(THAW):
        loop.take_step(session)
        for name, parameter in session.model.named_parameters():
            assert (parameter.grad is None) == (not name.startswith("fc.")), name
    for model in (session.model, session.ema.model if session.ema else session.model):
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, start[name]) != name.startswith("fc."), name
    assert {name for name, p in session.model.named_parameters() if p in session.optimizer.state} == {
        "fc.weight",
        "fc.bias",
    }
    loop.take_step(session)
    for name, tensor in session.model.state_dict().items():
        assert not torch.equal(tensor, start[name]), name


def test_what_is_frozen_for_good_stays_when_the_body_thaws() -> None:
    """Together with --train-only: the norms wait, the head learns, the convolutions never do."""
    session = tiny.session("resnet", **WAITING, train_only=["norms", "fc.*"])
    start = {name: tensor.clone() for name, tensor in session.model.state_dict().items()}
    for _ in range(THAW + 1):
        loop.take_step(session)
    for name, tensor in session.model.state_dict().items():
        assert torch.equal(tensor, start[name]) == ("conv" in name), name


def test_the_body_learns_at_its_share_of_the_rate() -> None:
    """By hand: weight - lr g of the head, weight - lr g / 10 of the body, in one step of plain descent."""
    session = tiny.session(
        "lenet", body_lr=0.1, warmup=0, weight_decay=0, optimizer={"name": "sgd", "momentum": 0}, schedule="constant"
    )  # fmt: skip
    start = {name: p.detach().clone() for name, p in session.model.named_parameters()}
    loop.take_step(session)
    for name, p in session.model.named_parameters():
        assert p.grad is not None
        rate = 0.05 if name.startswith("output.") else 0.005
        torch.testing.assert_close(p.detach(), start[name] - rate * p.grad, rtol=1e-6, atol=1e-8)


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("net", ["lenet", "muon"])
def test_a_run_that_dies_around_the_thaw_ends_as_if_it_had_not(tmp_path: Path, net: str) -> None:
    """Bit for bit, with checkpoints before (4) and after (8) the step at which the body begins to learn (5)."""
    options = {**tiny.SHORTER, **WAITING}
    tiny.go(tmp_path / "straight", net, **options)
    wanted = tiny.digest(tmp_path / "straight")
    root = tmp_path / "killed"
    for steps in (THAW - 1, 1, 4):  # before the thaw; from 4: at it; from 4: the checkpoint at 8 is written
        with tiny.traced(tiny.crash_after(steps)), pytest.raises(tiny.Crash):
            tiny.go(root, net, **options)
    tiny.go(root, net, **options)
    assert tiny.digest(root) == wanted
    tiny.go(tmp_path / "free", net, **tiny.SHORTER)
    assert tiny.digest(tmp_path / "free")["last"] != wanted["last"]


def test_modes_are_set_when_something_changes_and_not_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    session = tiny.session("resnet", **WAITING)
    walks: list[int] = []
    original = freezing._set_modes
    monkeypatch.setattr(
        freezing, "_set_modes", lambda model: (walks.append(session.step), original(model))[1]
    )
    for _ in range(THAW + 3):
        loop.take_step(session)
    assert walks == [0, THAW]


def test_a_step_with_a_frozen_body_counts_as_a_third() -> None:
    session = tiny.session("lenet", epochs=3, freeze_epochs=1)
    assert session.work(0, 27) == pytest.approx(9 / 3 + 18)
    assert session.work(8, 11) == pytest.approx(1 / 3 + 2)
    both = tiny.session("resnet", epochs=3, freeze_epochs=1, progressive=2 / 3)
    assert both.work(0, 27) == pytest.approx(9 * 9 / 16 / 3 + 9 * 9 / 16 + 9)


@pytest.mark.parametrize(
    ("net", "options", "sentence"),
    [
        (
            "lenet",
            {"body_lr": 0.5, "train_only": ["output.*"]},
            "--body-lr is about what comes before the last layer (output), and none of that learns.",
        ),
        (
            "lenet",
            {"freeze_epochs": 1, "train_only": ["c1.*"]},
            "In the first 1 epochs only the last layer (output) would learn, and --train-only leaves it out. Leave "
            "out --freeze-epochs, or add output.* to --train-only.",
        ),
    ],
)
def test_a_body_that_cannot_wait_is_refused(net: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        tiny.session(net, **options)
    assert str(error.value) == sentence


def test_a_body_that_would_wait_for_ever_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        tiny.go(tmp_path, epochs=2, freeze_epochs=2)
    assert str(error.value) == (
        "freeze_epochs is 2 and the run has 2 epochs, so only the last layer would ever learn. For that name it, such "
        "as --train-only 'fc.*'; else give fewer --freeze-epochs."
    )
    assert not list(tmp_path.iterdir())
