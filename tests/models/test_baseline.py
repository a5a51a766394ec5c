"""The baselines by hand, against scikit-learn and NumPy, and in a run in which only the last layer learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

import convscope
from convscope.core.config import Recipe
from convscope.core.errors import ConfigError
from convscope.models import build, summarise
from convscope.train import optim


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=0))


def count(net: nn.Module, *, learning: bool = False) -> int:
    return sum(p.numel() for p in net.parameters() if p.requires_grad or not learning)


# Counts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "size", "parameters"), [(3, 32, 30_730), (1, 28, 7_850)])
def test_parameters_of_logistic_regression(channels: int, size: int, parameters: int) -> None:
    assert count(build("logistic", classes=10, channels=channels, size=size)) == parameters


@pytest.mark.parametrize(("width", "parameters"), [(1, 805), (50, 39_760), (51, 40_555), (128, 101_770)])
def test_parameters_of_the_perceptron_of_the_double_descent(width: int, parameters: int) -> None:
    """S3.18: (d + 1) H + (H + 1) K with d = 784 and K = 10; nK = 40,000 lies between H = 50 and H = 51."""
    net = build("mlp", classes=10, channels=1, size=28, width=width)
    assert count(net) == parameters == 785 * width + (width + 1) * 10


@pytest.mark.parametrize(
    ("options", "all_of_them", "learning"),
    [
        ({"hidden": 3}, 785 * 20 + 2 * 21 * 20 + 21 * 10, 785 * 20 + 2 * 21 * 20 + 21 * 10),
        # S3.19: the hidden weights are there and do not learn.
        ({"fixed": True}, 785 * 20 + 21 * 10, 21 * 10),
        ({"hidden": 2, "fixed": True}, 785 * 20 + 21 * 20 + 21 * 10, 21 * 10),
        ({"norm": "batch"}, 785 * 20 + 2 * 20 + 21 * 10, 785 * 20 + 2 * 20 + 21 * 10),
    ],
)
def test_parameters_by_hand(options: dict[str, object], all_of_them: int, learning: int) -> None:
    net = build("mlp", classes=10, channels=1, size=28, width=20, **options)
    assert (count(net), count(net, learning=True)) == (all_of_them, learning)
    assert summarise(net, (1, 28, 28)).parameters == all_of_them


def test_no_option_renames_a_weight() -> None:
    plain = {"hidden.fc1.weight", "hidden.fc1.bias", "output.weight", "output.bias"}
    for options in ({}, {"dropout": 0.5}, {"fixed": True}, {"init": "dirac"}, {"activation": "swish"}):
        assert set(build("mlp", classes=3, **options).state_dict()) == plain
    normed = set(build("mlp", classes=3, norm="batch", hidden=2).state_dict())
    assert {name.split(".")[1] for name in normed if name.startswith("hidden")} == {
        "fc1",
        "fc2",
        "norm1",
        "norm2",
    }
    assert set(build("logistic", classes=3, dropout=0.5).state_dict()) == {"output.weight", "output.bias"}


# What they compute -----------------------------------------------------------------------------------------


def test_logistic_regression_is_scikit_learns(rng: np.random.Generator) -> None:
    images = rng.normal(size=(60, 3, 4, 4))
    labels = rng.integers(4, size=60)
    theirs = LogisticRegression(C=0.1).fit(images.reshape(60, -1), labels)
    ours = build("logistic", classes=4, channels=3, size=4).double()
    with torch.no_grad():
        ours.output.weight.copy_(torch.from_numpy(theirs.coef_))
        ours.output.bias.copy_(torch.from_numpy(theirs.intercept_))
    logits = ours(torch.from_numpy(images))
    expected = theirs.decision_function(images.reshape(60, -1))
    np.testing.assert_allclose(logits.detach().numpy(), expected, rtol=1e-10)
    np.testing.assert_allclose(
        logits.softmax(1).detach().numpy(), theirs.predict_proba(images.reshape(60, -1)), rtol=1e-10
    )


@pytest.mark.parametrize(("norm", "fixed"), [("none", False), ("none", True), ("batch", False)])
def test_the_perceptron_in_numpy(norm: str, fixed: bool, rng: np.random.Generator) -> None:
    net = build(
        "mlp", classes=3, channels=2, size=5, width=7, hidden=2, norm=norm, activation="tanh", fixed=fixed
    )
    weights = {key: value.numpy() for key, value in net.double().state_dict().items()}
    images = rng.normal(size=(9, 2, 5, 5))
    x = images.reshape(9, 50)
    for i in (1, 2):
        x = x @ weights[f"hidden.fc{i}.weight"].T + weights[f"hidden.fc{i}.bias"]
        if norm == "batch":
            x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
        x = np.tanh(x)
    x = x @ weights["output.weight"].T + weights["output.bias"]
    np.testing.assert_allclose(net.train()(torch.from_numpy(images)).detach().numpy(), x, rtol=1e-10)


def test_the_perceptron_has_a_relu_and_no_norm_unless_it_is_told_otherwise() -> None:
    net = build("mlp", classes=3)
    kinds = [type(module) for module in net.hidden]
    assert kinds == [nn.Linear, nn.Identity, nn.ReLU, nn.Identity]
    told = build("mlp", classes=3, activation="gelu", norm="batch", dropout=0.25)
    assert [type(module) for module in told.hidden] == [nn.Linear, nn.BatchNorm1d, nn.GELU, nn.Dropout]


def test_dropout_acts_on_the_inputs_of_the_layers() -> None:
    """Of logistic regression on the pixels, which are all it has; of the perceptron on what follows them."""
    images = torch.ones(64, 1, 10, 10)
    seen: dict[str, float] = {}
    for model, layer in (("logistic", "output"), ("mlp", "hidden.fc1"), ("mlp", "output")):
        net = build(model, classes=3, channels=1, size=10, dropout=0.5)
        if model == "mlp":
            # No activation of its own is zero.
            net.hidden.act1 = nn.Softplus()
        net.get_submodule(layer).register_forward_pre_hook(
            lambda module, inputs, name=f"{model} {layer}": seen.update(
                {name: (inputs[0] == 0).float().mean().item()}
            )
        )
        with torch.random.fork_rng(devices=[]):
            net.train()(images)
    assert seen["logistic output"] == pytest.approx(0.5, abs=0.03)
    assert seen["mlp hidden.fc1"] == 0
    assert seen["mlp output"] == pytest.approx(0.5, abs=0.03)


# Hidden layers that stay random ----------------------------------------------------------------------------


def test_fixed_layers_start_as_they_would_otherwise() -> None:
    fixed, free = (build("mlp", classes=3, seed=4, fixed=value, init="lecun") for value in (True, False))
    assert all(torch.equal(a, b) for a, b in zip(fixed.parameters(), free.parameters(), strict=True))


def test_fixed_layers_are_in_no_group_of_the_optimizer() -> None:
    net = build("mlp", classes=3, hidden=2, fixed=True)
    names = [name for group in optim.groups(net, Recipe()) for name in group.names]
    assert names == ["output.weight", "output.bias"]


def test_fixed_layers_are_the_same_after_a_run_and_the_last_is_not(tmp_path: Path) -> None:
    """S3.19."""
    run = convscope.train(
        "mlp:width=16,hidden=2,fixed=true",
        {"source": "synthetic", "options": {"images": 160, "size": 16}},
        epochs=2,
        batch_size=32,
        threads=1,
        precision="float32",
        seed=3,
        root=tmp_path,
        cache_dir=tmp_path,
    )
    trained = run.model("last")
    fresh = build("mlp", classes=4, channels=1, size=16, width=16, hidden=2, fixed=True, seed=3)
    before = dict(fresh.named_parameters())
    changed = {name for name, p in trained.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {"output.weight", "output.bias"}


# Refusals --------------------------------------------------------------------------------------------------


def test_the_perceptron_has_no_convolution_to_drop() -> None:
    with pytest.raises(ConfigError) as caught:
        build("mlp", classes=3, conv_dropout=0.1)
    assert str(caught.value) == (
        "The model 'mlp' has no option 'conv_dropout'. Did you mean 'dropout'? Options: activation, dropout, fixed, "
        "hidden, init, norm, width."
    )


def test_fixed_layers_have_no_norm_that_could_not_learn() -> None:
    with pytest.raises(ConfigError) as caught:
        build("mlp", classes=3, fixed=True, norm="batch")
    assert str(caught.value) == (
        "mlp cannot have norm 'batch' in hidden layers that are fixed: a norm that does not learn keeps the "
        "statistics it starts with and changes nothing. Leave out norm or fixed."
    )


def test_logistic_regression_has_nothing_to_activate_or_normalise() -> None:
    with pytest.raises(ConfigError) as caught:
        build("logistic", classes=3, activation="tanh")
    assert str(caught.value) == "The model 'logistic' has no option 'activation'. Options: dropout, init."


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"width": 0}, "The option 'width' of the model 'mlp' cannot be 0: Input should be greater than or equal to 1."),
        ({"hidden": 0}, "The option 'hidden' of the model 'mlp' cannot be 0: Input should be greater than or equal to 1."),
    ],
)  # fmt: skip
def test_a_perceptron_without_a_hidden_unit_is_refused(options: dict[str, int], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("mlp", classes=3, **options)
    assert str(caught.value) == sentence
