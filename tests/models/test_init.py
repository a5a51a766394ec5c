"""Initialisations against torch's own, their distributions, and the laws they were made for."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import scipy.stats
import torch
from torch import Tensor, nn

from convscope.compute.fences import seeded
from convscope.core import catalog
from convscope.core.errors import ConfigError, UnknownName
from convscope.models import build
from convscope.models.init import (
    Fans,
    dirac,
    initialise,
    kaiming,
    lecun,
    normal,
    orthogonal,
    torch_default,
    truncated_normal,
    uniform,
    xavier,
)
from convscope.models.lenet import CONNECTIONS, PartialConv2d

Init = Callable[..., None]


# Against torch, draw for draw ------------------------------------------------------------------------------


def test_kaiming_equals_torchs_with_fan_out() -> None:
    ours, theirs = nn.Conv2d(5, 7, 3), torch.empty(7, 5, 3, 3)
    with seeded(1):
        kaiming(ours)
    with seeded(1):
        nn.init.kaiming_normal_(theirs, mode="fan_out", nonlinearity="relu")
    torch.testing.assert_close(ours.weight.detach(), theirs, rtol=1e-6, atol=0)


def test_kaiming_of_a_linear_layer_equals_torchs_with_fan_in() -> None:
    ours, theirs = nn.Linear(50, 7), torch.empty(7, 50)
    with seeded(1):
        kaiming(ours)
    with seeded(1):
        nn.init.kaiming_normal_(theirs, mode="fan_in", nonlinearity="relu")
    torch.testing.assert_close(ours.weight.detach(), theirs, rtol=1e-6, atol=0)


@pytest.mark.parametrize("layer", [nn.Conv2d(5, 7, 3), nn.Linear(11, 4)], ids=["conv", "linear"])
@pytest.mark.parametrize("fan", ["in", "out"])
@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_kaiming_with_each_fan_and_distribution_equals_torchs(
    layer: nn.Module, fan: str, distribution: str
) -> None:
    theirs = torch.empty_like(layer.weight)
    with seeded(1):
        kaiming(layer, fan, distribution)
    with seeded(1):
        getattr(nn.init, f"kaiming_{distribution}_")(theirs, mode=f"fan_{fan}", nonlinearity="relu")
    torch.testing.assert_close(layer.weight.detach(), theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("layer", [nn.Conv2d(5, 7, 3), nn.Linear(11, 4)])
def test_xavier_equals_torchs(layer: nn.Module) -> None:
    for distribution in ("normal", "uniform"):
        theirs = torch.empty_like(layer.weight)
        with seeded(1):
            xavier(layer, distribution)
        with seeded(1):
            getattr(nn.init, f"xavier_{distribution}_")(theirs)
        torch.testing.assert_close(layer.weight.detach(), theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 3), (3, 8), (8, 3)], ids=str)
@pytest.mark.parametrize("groups", [1, 2])
def test_dirac_equals_torchs_where_that_passes_something_on(shape: tuple[int, int], groups: int) -> None:
    into, out = (groups * channels for channels in shape)
    with seeded(1):
        drawn = nn.Conv2d(into, out, 3, groups=groups)
    with seeded(1):
        ours = nn.Conv2d(into, out, 3, groups=groups)
        dirac(ours)
    theirs = nn.init.dirac_(torch.empty_like(ours.weight), groups)
    passing = theirs.flatten(1).any(1)
    assert int(passing.sum()) == min(into, out)
    assert torch.equal(ours.weight[passing], theirs[passing])
    # torch makes the others zero, which a ReLU would never let learn.
    assert torch.equal(ours.weight[~passing], drawn.weight[~passing])


# Weights of seed 0 of version 0.1 ---------------------------------------------------------------------------


@torch.no_grad()
def as_it_was(network: nn.Module, name: str) -> None:
    """Kaiming and Xavier as they were before they had options, in one loop."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            area = math.prod(layer.kernel_size)
            n_in, n_out = layer.in_channels * area, layer.out_channels * area
            variance = 2 / n_out if name == "kaiming" else 2 / (n_in + n_out)
        elif isinstance(layer, nn.Linear):
            n_in, n_out = layer.in_features, layer.out_features
            variance = 2 / n_in if name == "kaiming" else 2 / (n_in + n_out)
        elif isinstance(layer, Fans):
            n_in, n_out = layer.fans()
            variance = 2 / n_out if name == "kaiming" else 2 / (n_in + n_out)
        else:
            continue
        layer.weight.copy_(torch.empty_like(layer.weight).normal_() * variance**0.5)
        if layer.bias is not None:
            layer.bias.zero_()


@pytest.mark.parametrize("name", ["kaiming", "xavier"])
@pytest.mark.parametrize(
    ("model", "options"),
    [("simplenn", {}), ("lenet5", {}), ("lenet5", {"version": "original"}), ("resnet20", {"width": 4})],
    ids=["simplenn", "lenet5", "original", "resnet20"],
)
def test_what_had_no_options_before_still_draws_the_same_bits(
    name: str, model: str, options: dict[str, Any]
) -> None:
    net = build(model, classes=10, channels=1, **options)
    for parameter in net.parameters():
        parameter.data = parameter.data.contiguous()
    with seeded(5):
        initialise(net, name)
    new = [parameter.detach().clone() for parameter in net.parameters()]
    with seeded(5):
        as_it_was(net, name)
    assert all(torch.equal(a, b) for a, b in zip(new, net.parameters(), strict=True))


# Against their distributions -------------------------------------------------------------------------------


def gauss(variance: float) -> Any:
    return scipy.stats.norm(0, math.sqrt(variance))


def flat(variance: float) -> Any:
    bound = math.sqrt(3 * variance)
    return scipy.stats.uniform(-bound, 2 * bound)


LINEAR, CONV = (300, 400), (20, 30)  # n_in 300, n_out 400; with a 5x5 kernel n_in 500, n_out 750
DISTRIBUTIONS: list[tuple[Init, dict[str, Any], Any, Any]] = [
    # what, options, of a linear layer 300 -> 400, of a 5x5 convolution 20 -> 30
    (uniform, {}, scipy.stats.uniform(-0.05, 0.1), scipy.stats.uniform(-0.05, 0.1)),
    (uniform, {"bound": 0.2}, scipy.stats.uniform(-0.2, 0.4), scipy.stats.uniform(-0.2, 0.4)),
    (normal, {}, gauss(0.0025), gauss(0.0025)),
    (normal, {"std": 0.3}, gauss(0.09), gauss(0.09)),
    (truncated_normal, {}, scipy.stats.truncnorm(-2, 2, scale=0.05), None),
    (truncated_normal, {"std": 0.3}, None, scipy.stats.truncnorm(-2, 2, scale=0.3)),
    (lecun, {}, gauss(1 / 300), gauss(1 / 500)),
    (lecun, {"distribution": "uniform"}, flat(1 / 300), flat(1 / 500)),
    (xavier, {}, gauss(2 / 700), gauss(2 / 1250)),
    (xavier, {"distribution": "uniform"}, flat(2 / 700), flat(2 / 1250)),
    (kaiming, {}, gauss(2 / 300), gauss(2 / 750)),
    (kaiming, {"fan": "in"}, gauss(2 / 300), gauss(2 / 500)),
    (kaiming, {"fan": "out"}, gauss(2 / 400), gauss(2 / 750)),
    (kaiming, {"fan": "out", "distribution": "uniform"}, flat(2 / 400), flat(2 / 750)),
]
CASES = [
    pytest.param(init, options, kind, theory, id=f"{init.__name__} {options} {kind.__name__}")
    for init, options, *theories in DISTRIBUTIONS
    for kind, theory in zip((nn.Linear, nn.Conv2d), theories, strict=True)
    if theory is not None
]


# Each bound is four standard errors of what is measured: with other seeds one in 16,000 would be red.
@pytest.mark.parametrize(("init", "options", "kind", "theory"), CASES)
def test_weights_are_distributed_as_promised(
    init: Init, options: dict[str, Any], kind: type[nn.Module], theory: Any
) -> None:
    layer = nn.Linear(*LINEAR) if kind is nn.Linear else nn.Conv2d(*CONV, 5)
    with seeded(2):
        init(layer, **options)
    weights = layer.weight.detach().double().flatten().numpy()
    mean, variance, _, kurtosis = map(float, theory.stats("mvsk"))
    n = len(weights)
    assert abs(weights.mean() - mean) < 4 * math.sqrt(variance / n)
    assert abs(weights.var() / variance - 1) < 4 * math.sqrt((kurtosis + 2) / n)
    assert scipy.stats.kstest(weights, theory.cdf).pvalue > 1e-4
    low, high = theory.support()
    rounding = 1e-6 * math.sqrt(variance)
    assert low - rounding <= weights.min()
    assert weights.max() <= high + rounding


def test_fans_of_a_grouped_convolution_by_hand() -> None:
    # torch counts all output channels of a grouped convolution, though an input reaches only its own group's.
    layer = nn.Conv2d(8, 12, (3, 5), groups=4, bias=False)
    with seeded(1):
        kaiming(layer)
    with seeded(1):
        standard = torch.empty_like(layer.weight).normal_()
    # 12 / 4 outputs x 15 places
    torch.testing.assert_close(layer.weight.detach(), standard * math.sqrt(2 / 45))


def test_fans_of_a_partial_convolution_by_hand() -> None:
    n_in, n_out = PartialConv2d(CONNECTIONS, 5).fans()
    # The first map sees three inputs and the last all six; input 0 reaches 10 of the 16 maps.
    assert n_in[0].item() == 3 * 25
    assert n_in[-1].item() == 6 * 25
    assert n_out[0].item() == 10 * 25


@pytest.mark.parametrize(
    ("init", "options", "scale"),
    [
        (kaiming, {}, math.sqrt(2 / 250)),
        (kaiming, {"fan": "in"}, math.sqrt(2 / 75)),
        (lecun, {}, math.sqrt(1 / 75)),
        (xavier, {}, math.sqrt(2 / 325)),
        (normal, {"std": 0.3}, 0.3),
        (orthogonal, {"gain": 2.0}, 2 / math.sqrt(75)),
    ],
)
def test_a_partial_convolution_is_initialised_too(init: Init, options: dict[str, Any], scale: float) -> None:
    layer = PartialConv2d(CONNECTIONS, 5)
    with seeded(1):
        init(layer, **options)
    with seeded(1):
        standard = torch.empty_like(layer.weight).normal_()
    # The first kernel belongs to a map with three inputs, and comes from an input that reaches ten maps.
    torch.testing.assert_close(layer.weight[0].detach(), standard[0] * scale)
    assert layer.bias.tolist() == [0] * 16


# Laws ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gain", [1.0, 1.5])
@pytest.mark.parametrize(
    "layer", [nn.Linear(20, 12), nn.Linear(12, 20), nn.Conv2d(3, 8, 3), nn.Conv2d(2, 30, 3)], ids=str
)
def test_rows_or_columns_are_orthogonal(layer: nn.Module, gain: float) -> None:
    with seeded(1):
        orthogonal(layer, gain)
    matrix = layer.weight.detach().flatten(1).double()
    short = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wanted = gain**2 * torch.eye(len(short), dtype=torch.float64)
    torch.testing.assert_close(short @ short.T, wanted, rtol=0, atol=1e-5)


def test_thirty_orthogonal_layers_keep_every_length() -> None:
    net = nn.Sequential(*(nn.Linear(40, 40) for _ in range(30)))
    with seeded(1):
        orthogonal(net)
        x = torch.randn(5, 40)
    torch.testing.assert_close(net(x).norm(dim=1), x.norm(dim=1), rtol=1e-4, atol=0)


def test_dirac_passes_a_picture_through() -> None:
    conv = nn.Conv2d(3, 3, 5, padding=2)
    more = nn.Conv2d(3, 8, 3, padding=1)
    square, other = nn.Linear(6, 6), nn.Linear(6, 4)
    drawn = other.weight.detach().clone()
    with seeded(1):
        pictures, numbers = torch.randn(2, 3, 9, 9), torch.randn(4, 6)
    for layer in (conv, more, square, other):
        dirac(layer)
    assert torch.equal(conv(pictures), pictures)
    assert torch.equal(more(pictures)[:, :3], pictures)
    assert more(pictures)[:, 3:].any()
    assert torch.equal(square(numbers), numbers)
    assert torch.equal(other.weight, drawn)


def test_dirac_leaves_a_layer_of_our_own_as_it_was_built() -> None:
    layer = PartialConv2d(CONNECTIONS, 5)
    before = layer.weight.detach().clone()
    dirac(layer)
    assert torch.equal(layer.weight, before)


class Stack(nn.Module):
    """Ten layers in a row, each behind an activation; notes the mean square of what each puts out."""

    def __init__(self, layers: list[nn.Module], activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        sizes = []
        for layer in self.layers:
            x = layer(self.activation(x))
            sizes.append(x.square().mean())
        return torch.stack(sizes)


def straight(x: Tensor) -> Tensor:
    return x


def dense() -> tuple[list[nn.Module], Tensor]:
    return [nn.Linear(600, 600) for _ in range(10)], torch.randn(32, 600)


def maps() -> tuple[list[nn.Module], Tensor]:
    # Circular padding, so that every place has as many neighbours as the formula counts.
    def layer() -> nn.Module:
        return nn.Conv2d(64, 64, 3, padding=1, padding_mode="circular")

    return [layer() for _ in range(10)], torch.randn(2, 64, 12, 12)


# S3.72.  The size of an output is a product of ten factors, each off by about sqrt(2 / n_in) (linear) or
# sqrt(5 / n_in) (ReLU) for one image, less for several: together 0.18 and 0.29 in the logarithm.
@pytest.mark.parametrize("made", [dense, maps])
@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize(
    ("init", "activation", "steady"),
    [
        (lecun, straight, 1.0),
        # The mean square behind a ReLU is half of that before it.
        (lambda m, d: kaiming(m, "in", d), torch.relu, 1.0),
        (lecun, torch.relu, 0.5),
        (lambda m, d: kaiming(m, "in", d), straight, 2.0),
    ],
    ids=["lecun", "kaiming and relu", "lecun and relu", "kaiming"],
)
def test_the_size_of_outputs_from_layer_to_layer(
    made: Callable[[], Any], distribution: str, init: Init, activation: Any, steady: float
) -> None:
    with seeded(6):
        layers, x = made()
        net = Stack(layers, activation)
        init(net, distribution)
    with torch.no_grad():
        sizes = net(x)
    growth = (sizes[1:] / sizes[:-1]).log() - math.log(steady)
    assert growth.abs().max() < 4 * math.sqrt(5 / 576)
    assert abs(growth.sum()) < 4 * 0.29


# The law behind fan out (S3.70, S3.72): thirty ReLU layers neither blow gradients up nor drown them.
def test_kaiming_keeps_the_size_of_gradients_and_torchs_default_does_not() -> None:
    def growth(init) -> float:
        with seeded(3):
            layers = [nn.Linear(200, 200, bias=False) for _ in range(30)]
            images = torch.randn(64, 200)
            direction = torch.randn(64, 200)
        net = nn.Sequential(*(nn.Sequential(layer, nn.ReLU()) for layer in layers))
        with seeded(4):
            init(net)
        images.requires_grad_()
        (gradient,) = torch.autograd.grad((net(images) * direction).sum(), images)
        return (gradient.norm() / direction.norm()).item()

    assert 0.3 < growth(kaiming) < 3
    # Variance 1/(3 n_in) instead of 2/n_in: a factor of 1/sqrt(6) per layer.
    assert 0.1 < growth(torch_default) / 6**-15 < 10


# Biases and norms ------------------------------------------------------------------------------------------

OURS = [uniform, normal, truncated_normal, lecun, xavier, kaiming, orthogonal, dirac]


def filled() -> nn.Sequential:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2), nn.BatchNorm1d(2)
    )
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(5)
    return net


@pytest.mark.parametrize("init", OURS)
def test_biases_become_zero_and_norms_neutral(init: Init) -> None:
    net = filled()
    init(net)
    assert net[0].bias.tolist() == [0] * 4
    assert net[3].bias.tolist() == [0] * 2
    for norm in (net[1], net[4]):
        assert set(norm.weight.tolist()) == {1}
        assert set(norm.bias.tolist()) == {0}
    assert not (net[0].weight[:3] == 5).any()


@pytest.mark.parametrize("init", OURS)
def test_biases_can_stay_as_the_framework_drew_them(init: Init) -> None:
    """S3.73."""
    net, zeroed = filled(), filled()
    with seeded(1):
        init(net, biases="torch")
    with seeded(1):
        init(zeroed)
    assert net[0].bias.tolist() == [5] * 4
    assert net[3].bias.tolist() == [5] * 2
    assert torch.equal(net[0].weight, zeroed[0].weight)
    assert torch.equal(net[3].weight, zeroed[3].weight)


def test_torchs_default_changes_nothing() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    before = [parameter.detach().clone() for parameter in net.parameters()]
    torch_default(net)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


# By name ---------------------------------------------------------------------------------------------------


def test_a_text_with_options_means_the_function_with_them() -> None:
    ours, theirs = nn.Conv2d(5, 7, 3), nn.Conv2d(5, 7, 3)
    bias = ours.bias.detach().clone()
    with seeded(1):
        assert initialise(ours, "kaiming:fan=in,distribution=uniform,biases=torch") is ours
    with seeded(1):
        kaiming(theirs, "in", "uniform")
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.bias, bias)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("torch", "torch"),
        ("kaiming", "kaiming"),
        ("kaiming:fan=auto,distribution=normal", "kaiming"),
        ("kaiming:biases=torch,fan=in", "kaiming:fan=in,biases=torch"),
        ("normal:std=1", "normal:std=1.0"),
    ],
)
def test_equal_initialisations_have_equal_texts(text: str, canonical: str) -> None:
    """So that they give a run the same name."""
    assert catalog.resolve("models", "lenet5", {"init": text})["init"] == canonical
    assert catalog.resolve("models", "logistic", {"init": text})["init"] == canonical


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "kaiming:fn=in",
            "The initialisation 'kaiming' has no option 'fn'. Did you mean 'fan'? Options: biases, distribution, "
            "fan.",
        ),
        (
            "kaiming:fan=both",
            "The option 'fan' of the initialisation 'kaiming' cannot be 'both': Input should be 'auto', 'in' or "
            "'out'.",
        ),
        (
            "normal:std=0",
            "The option 'std' of the initialisation 'normal' cannot be 0: Input should be greater than 0.",
        ),
        ("torch:biases=zero", "The initialisation 'torch' has no option 'biases'. Options: none."),
        ("kaiming:in", "'kaiming:in' is not understood: write a name, or NAME:KEY=VALUE,KEY=VALUE."),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_built(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        catalog.resolve("models", "lenet5", {"init": text})
    assert str(caught.value) == sentence
    with pytest.raises(ConfigError) as caught:
        initialise(nn.Identity(), text)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda net: kaiming(net, fan="both"), "fan must be 'auto' or 'in' or 'out', not 'both'."),
        (lambda net: lecun(net, "cauchy"), "distribution must be 'normal' or 'uniform', not 'cauchy'."),
        (lambda net: dirac(net, biases="one"), "biases must be 'zero' or 'torch', not 'one'."),
    ],
)
def test_a_call_by_hand_is_refused_too(act: Callable[[nn.Module], None], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        act(nn.Linear(2, 2))
    assert str(caught.value) == sentence


def test_an_unknown_initialisation_is_corrected() -> None:
    with pytest.raises(UnknownName) as caught:
        initialise(nn.Identity(), "xavir")
    assert str(caught.value) == (
        "No initialisation is called 'xavir'. Did you mean 'xavier'? Known: dirac, kaiming, lecun, normal, "
        "orthogonal, torch, truncated-normal, uniform, xavier."
    )
