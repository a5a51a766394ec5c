"""Activations against their formulas in plain Python; a part that is off leaves every name in place."""

import math

import pytest
import torch
from torch import nn

from convscope.compute.fences import seeded
from convscope.core import catalog
from convscope.core.errors import ConfigError, UnknownName
from convscope.models import build, summarise
from convscope.models.blocks import (
    GlobalAvgPool2d,
    Parts,
    Separable,
    make_activation,
    make_conv,
    make_conv_dropout,
    make_dropout,
    make_norm,
)

POINTS = (-3.0, -0.5, 0.0, 0.25, 2.0)

FORMULAS = {
    "relu": lambda x: max(0.0, x),
    "leaky-relu": lambda x: x if x > 0 else 0.01 * x,
    "elu": lambda x: x if x > 0 else math.exp(x) - 1,
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "swish": lambda x: x / (1 + math.exp(-x)),
    "mish": lambda x: x * math.tanh(math.log(1 + math.exp(x))),
    "tanh": lambda x: (math.exp(x) - math.exp(-x)) / (math.exp(x) + math.exp(-x)),
    "scaled-tanh": lambda x: 1.7159 * math.tanh(2 * x / 3),
}


def test_every_activation_of_the_catalog_has_a_formula_here() -> None:
    assert list(FORMULAS) == catalog.names("activations")


@pytest.mark.parametrize("name", FORMULAS)
def test_an_activation_by_its_formula(name: str) -> None:
    given = torch.tensor(POINTS, dtype=torch.float64)
    found = make_activation(Parts(activation=name))(given.clone())
    assert found.tolist() == pytest.approx([FORMULAS[name](x) for x in POINTS], rel=1e-12)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_gradient_of_an_activation_is_its_slope(name: str) -> None:
    given = torch.tensor([x for x in POINTS if x], dtype=torch.float64, requires_grad=True)
    layer = make_activation(Parts(activation=name))
    # `* 1`: the activations that work in place may not overwrite a leaf.
    assert torch.autograd.gradcheck(lambda x: layer(x * 1), given)


def test_scaled_tanh_keeps_one_and_minus_one() -> None:
    found = make_activation(Parts(activation="scaled-tanh"))(torch.tensor([1.0, -1.0]))
    assert found.tolist() == pytest.approx([1, -1], abs=1e-4)


@pytest.mark.parametrize("name", ["relu", "leaky-relu", "elu"])
def test_the_input_is_overwritten_only_where_nobody_needs_it(name: str) -> None:
    kept, given = torch.full((3,), -1.0), torch.full((3,), -1.0)
    made = make_activation(Parts(activation=name), may_overwrite=False)(kept)
    assert kept.tolist() == [-1, -1, -1]
    assert make_activation(Parts(activation=name))(given).data_ptr() == given.data_ptr()
    assert torch.equal(given, made)


def test_auto_is_the_networks_own_activation() -> None:
    assert type(make_activation(Parts(activation="auto"), own="tanh")) is nn.Tanh
    assert type(make_activation(Parts(activation="elu"), own="tanh")) is nn.ELU


def test_what_is_off_is_an_identity() -> None:
    off = Parts(norm="none", dropout=0.0)
    assert type(make_norm(off, 4)) is nn.Identity
    assert type(make_dropout(off)) is nn.Identity
    assert type(make_conv_dropout(off)) is nn.Identity
    both = Parts(dropout=0.25, conv_dropout=0.5)
    assert (make_dropout(both).p, make_conv_dropout(both).p) == (0.25, 0.5)
    assert make_norm(Parts(), 4).num_features == 4
    assert type(make_norm(Parts(), 4, nn.BatchNorm1d)) is nn.BatchNorm1d


def test_a_convolution_has_a_bias_only_without_a_norm() -> None:
    assert make_conv(Parts(norm="batch"), 3, 4, 5).bias is None
    assert make_conv(Parts(norm="none"), 3, 4, 5).bias.shape == (4,)


# Seen red with `if parts.dropout: layers.append(...)` in a Sequential: the index of the last layer moved.
@pytest.mark.parametrize("name", ["simplenn", "lenet5", "resnet20"])
def test_no_option_renames_a_weight(name: str) -> None:
    def keys(**options: object) -> set[str]:
        state = build(name, classes=3, norm="batch", **options).state_dict()
        return set(state)

    plain = keys()
    assert keys(dropout=0.5) == keys(activation="swish") == keys(init="xavier") == plain
    assert keys(conv_dropout=0.5) == plain
    without = set(build(name, classes=3, norm="none").state_dict())
    norms = {key for key in plain - without if "norm" in key or "bn" in key}
    assert plain - without == norms
    assert all(key.endswith(".bias") for key in without - plain)


def test_a_misspelt_activation_is_corrected() -> None:
    with pytest.raises(UnknownName) as caught:
        catalog.resolve("models", "resnet20", {"activation": "scaled_tanh"})
    assert str(caught.value) == (
        "No activation is called 'scaled_tanh'. Did you mean 'scaled-tanh'? "
        "Known: elu, gelu, leaky-relu, mish, relu, scaled-tanh, swish, tanh."
    )


def test_a_misspelt_initialisation_is_corrected() -> None:
    with pytest.raises(UnknownName) as caught:
        catalog.resolve("models", "resnet20", {"init": "kaming"})
    assert str(caught.value) == (
        "No initialisation is called 'kaming'. Did you mean 'kaiming'? Known: dirac, kaiming, lecun, normal, "
        "orthogonal, torch, truncated-normal, uniform, xavier."
    )


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("dropout", 1.0, "Input should be less than 1"),
        ("dropout", -0.1, "Input should be greater than or equal to 0"),
        ("dropout", float("nan"), "Input should be less than 1"),
        ("conv_dropout", 1.0, "Input should be less than 1"),
        ("norm", "layer", "Input should be 'batch' or 'none'"),
    ],
)
def test_a_value_out_of_range_is_refused_before_anything_is_built(
    key: str, value: object, reason: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        catalog.resolve("models", "simplenn", {key: value})
    assert str(caught.value) == f"The option {key!r} of the model 'simplenn' cannot be {value!r}: {reason}."


def test_parts_made_by_hand_are_refused_too() -> None:
    with pytest.raises(ConfigError) as caught:
        make_norm(Parts(norm="layer"), 4)
    assert str(caught.value) == "norm must be 'batch' or 'none', not 'layer'."


def test_every_shared_option_explains_itself() -> None:
    options = catalog.options(catalog.find("models", "resnet20"))
    assert {name for name, option in options.items() if not option.text} == set()
    assert sorted(options) == [
        *(
            "activation",
            "blocks",
            "conv_dropout",
            "dropout",
            "init",
            "norm",
            "separable",
            "shortcut",
            "version",
        ),
        "width",
    ]


def test_an_activation_that_is_no_module_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        catalog._CATALOG["activations"], "odd", catalog.Item("activations", "odd", "builtins:dict", "odd")
    )
    monkeypatch.setattr(catalog.Item, "load", lambda item: lambda: 3)
    with pytest.raises(ConfigError) as caught:
        make_activation(Parts(activation="odd"))
    assert str(caught.value) == "The activation 'odd' must return a torch.nn.Module, not int."


# Dropout ---------------------------------------------------------------------------------------------------

MAPS = ["simplenn", "lenet5", "lenet5:version=original", "resnet20:width=4", "resnet20:width=4,version=2"]


def dropped(module: nn.Module, x: torch.Tensor, seed: int = 0) -> torch.Tensor:
    with seeded(seed):
        return module.train()(x)


def test_dropout_keeps_the_mean() -> None:
    """S3.27: zero with probability p, else h / (1 - p)."""
    found = dropped(make_dropout(Parts(dropout=0.3)), torch.full((100_000,), 7.0))
    kept = found[found != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 10.0))
    # Four standard errors of a share of 100,000.
    assert len(kept) / 100_000 == pytest.approx(0.7, abs=4 * math.sqrt(0.21 / 100_000))


def test_dropout_is_a_mask_in_training_and_nothing_in_evaluation() -> None:
    """S3.28: the direct implementation, with the same draws."""
    x = torch.randn(50, 20, generator=torch.Generator().manual_seed(0))
    layer = make_dropout(Parts(dropout=0.4))
    with seeded(0):
        mask = torch.empty_like(x).bernoulli_(0.6)
    torch.testing.assert_close(dropped(layer, x), x * mask / 0.6)
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize("name", FORMULAS)
def test_dropout_and_activation_change_places_exactly_where_a_scale_passes_through(name: str) -> None:
    """S3.30: for ReLU and leaky ReLU, which are nonnegative homogeneous, and for no other."""
    x = torch.randn(500, generator=torch.Generator().manual_seed(0))
    drop = make_dropout(Parts(dropout=0.5))
    act = make_activation(Parts(activation=name), may_overwrite=False)
    before, after = act(dropped(drop, x)), dropped(drop, act(x))
    assert torch.allclose(before, after) == (name in ("relu", "leaky-relu"))


@pytest.mark.parametrize("name", MAPS)
def test_dropout_of_convolutions_acts_in_training_only(name: str) -> None:
    shape = {"classes": 3, "channels": 1, "size": 32}
    plain, net = build(name, **shape), build(name, **shape, conv_dropout=0.4)
    images = torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(plain.eval()(images), net.eval()(images))
    assert not torch.equal(dropped(net, images, 1), dropped(net, images, 2))
    assert torch.equal(dropped(plain, images, 1), dropped(plain, images, 2))


@pytest.mark.parametrize("name", MAPS)
def test_dropout_of_convolutions_acts_on_what_an_activation_made_of_one(name: str) -> None:
    """Convolution, norm, activation, dropout, and then the pool or the next convolution."""
    # tanh makes no zeros of its own.
    activation = "auto" if "original" in name else "tanh"
    net = build(name, classes=3, channels=1, size=32, conv_dropout=0.4, activation=activation)
    calls: list[tuple[str, float]] = []
    for module in net.modules():
        if not list(module.children()) and not isinstance(module, nn.Identity | nn.BatchNorm2d):
            module.register_forward_hook(
                lambda m, inputs, output: calls.append(
                    (type(m).__name__, (output == 0).float().mean().item())
                )
            )
    dropped(net, torch.randn(16, 1, 32, 32, generator=torch.Generator().manual_seed(0)))
    kinds = [kind for kind, _ in calls]
    places = [i for i, kind in enumerate(kinds) if kind == "Dropout"]
    assert len(places) == (9 if "resnet" in name else 2)
    assert {kinds[i - 2] for i in places} <= {"Conv2d", "PartialConv2d"}
    assert {kinds[i - 1] for i in places} <= {"Tanh", "ScaledTanh"}
    assert {kinds[i + 1] for i in places} <= (
        {"Conv2d"} if "resnet" in name else {"MaxPool2d", "Subsampling"}
    )
    assert all(calls[i][1] == pytest.approx(0.4, abs=0.05) for i in places)


def test_dropout_of_convolutions_is_an_option_that_was_added_later() -> None:
    option = catalog.options(catalog.find("models", "resnet20"))["conv_dropout"]
    assert option.is_off(0.0)
    assert not option.is_off(0.1)
    # Of a whole number too, as TOML may hold it.
    assert option.is_off(0)


# Separable convolutions ------------------------------------------------------------------------------------


def test_a_separable_convolution_costs_what_the_formulas_say() -> None:
    """S1.8 with M = 4, N = 6 and a map of 5x5: 9 x 4 x 25 + 4 x 6 x 25 instead of 9 x 4 x 6 x 25 multiply-adds."""
    separable, plain = (make_conv(Parts(separable=on), 4, 6, 3, padding=1) for on in (True, False))
    costs = [summarise(net, (4, 5, 5)) for net in (separable, plain)]
    assert [cost.parameters for cost in costs] == [9 * 4 + 4 * 6, 9 * 4 * 6]
    assert [cost.macs for cost in costs] == [9 * 4 * 25 + 4 * 6 * 25, 9 * 4 * 6 * 25]


def test_a_separable_convolution_is_a_convolution_whose_kernels_are_products() -> None:
    """The kernel from channel m to channel n is the depthwise kernel of m times a number."""
    separable = make_conv(Parts(separable=True, norm="none"), 4, 6, 3, stride=2, padding=1)
    plain = make_conv(Parts(norm="none"), 4, 6, 3, stride=2, padding=1)
    products = separable.pointwise.weight * separable.depthwise.weight[:, 0]
    plain.load_state_dict({"weight": products, "bias": separable.pointwise.bias})
    images = torch.randn(2, 4, 7, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(separable(images), plain(images))


def test_only_kernels_of_3x3_that_see_all_channels_become_separable() -> None:
    parts = Parts(separable=True)
    kinds = [
        type(make_conv(parts, 4, 4, kernel, groups=groups))
        for kernel, groups in ((3, 1), (5, 1), (1, 1), (3, 2))
    ]
    assert kinds == [Separable, nn.Conv2d, nn.Conv2d, nn.Conv2d]


@pytest.mark.parametrize("on", [True, "yes", "on", "1"])
def test_a_network_without_one_says_so(on: object) -> None:
    with pytest.raises(ConfigError) as caught:
        build("lenet5", classes=10, separable=on)
    assert str(caught.value) == (
        "lenet5 has no 3x3 convolution that sees all channels, so there is nothing to make separable. Leave "
        "separable out."
    )


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_mean_of_a_map_is_torchs_and_its_gradient_channels_last(size: int) -> None:
    images = torch.randn(3, 4, size, size, generator=torch.Generator().manual_seed(0))
    images = images.to(memory_format=torch.channels_last).requires_grad_()
    ours, theirs = GlobalAvgPool2d()(images), nn.AdaptiveAvgPool2d(1)(images)
    torch.testing.assert_close(ours, theirs)
    (gradient,) = torch.autograd.grad(ours.square().sum(), images)
    torch.testing.assert_close(gradient, torch.autograd.grad(theirs.square().sum(), images)[0])
    assert gradient.is_contiguous(memory_format=torch.channels_last)
