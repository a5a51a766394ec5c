"""LeNet-5 by the numbers of its paper; each odd layer against a slow one, or by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convscope.core.errors import ConfigError
from convscope.models import build
from convscope.models.blocks import ScaledTanh
from convscope.models.lenet import CONNECTIONS, PartialConv2d, RadialBasis, Subsampling

# Table I of the paper: rows are maps of S2, columns maps of C3.
TABLE = [
    "X...XXX..XXXX.XX",
    "XX...XXX..XXXX.X",
    "XXX...XXX..X.XXX",
    ".XXX..XXXX..X.XX",
    "..XXX..XXXX.XX.X",
    "...XXX..XXXX.XXX",
]


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def trainable(net: nn.Module) -> dict[str, int]:
    counts: dict[str, int] = {}
    for key, parameter in net.named_parameters():
        layer = key.split(".")[0]
        counts[layer] = counts.get(layer, 0) + parameter.numel()
    return counts


def test_parameters_of_the_original_are_the_papers() -> None:
    counts = trainable(build("lenet5", classes=10, channels=1, version="original"))
    assert counts == {
        "c1": 156,
        "s2": 12,
        "c3": 1_516,
        "s4": 32,
        "c5": 48_120,
        "f6": 10_164,
    }
    assert sum(counts.values()) == 60_000


@pytest.mark.parametrize(
    ("channels", "size", "parameters"), [(1, 32, 61_706), (1, 28, 61_706), (3, 32, 62_006)]
)
def test_parameters_of_the_modern_form(channels: int, size: int, parameters: int) -> None:
    """X3.1."""
    net = build("lenet5", classes=10, channels=channels, size=size)
    assert sum(trainable(net).values()) == parameters


def test_the_connections_are_the_papers_table() -> None:
    table = ["".join("X" if source in sources else "." for sources in CONNECTIONS) for source in range(6)]
    assert table == TABLE
    assert sum(map(len, CONNECTIONS)) == 60


def test_a_partial_convolution_equals_one_map_at_a_time(rng: torch.Generator) -> None:
    layer = PartialConv2d(CONNECTIONS, 5).double()
    images = torch.randn(3, 6, 14, 14, generator=rng, dtype=torch.float64)
    slow, row = [], 0
    for to, sources in enumerate(CONNECTIONS):
        total = layer.bias[to]
        for source in sources:
            total = total + F.conv2d(images[:, source : source + 1], layer.weight[row][None, None])
            row += 1
        slow.append(total)
    torch.testing.assert_close(layer(images), torch.cat(slow, 1))


def test_gradients_of_a_partial_convolution(rng: torch.Generator) -> None:
    layer = PartialConv2d(((0, 1), (1,)), 2).double()
    images = torch.randn(2, 2, 3, 3, generator=rng, dtype=torch.float64, requires_grad=True)

    def run(images, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, images)

    assert torch.autograd.gradcheck(run, (images, layer.weight, layer.bias))


def test_subsampling_by_hand() -> None:
    layer = Subsampling(2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([2.0, -1.0]))
        layer.bias.copy_(torch.tensor([0.5, 0.0]))
    image = torch.tensor([[[1.0, 2.0], [3.0, 6.0]], [[4.0, 4.0], [4.0, 0.0]]])
    assert layer(image[None]).flatten().tolist() == [2 * 3 + 0.5, -3]


def test_radial_basis_by_hand() -> None:
    layer = RadialBasis(84, 10)
    distances = -layer(layer.codes)
    differing = (layer.codes[:, None] != layer.codes).sum(2)
    # Two codes that differ in d places are 4d apart, squared.
    assert torch.equal(distances, 4.0 * differing)
    assert layer(torch.zeros(1, 84)).tolist() == [[-84.0] * 10]


def test_codes_are_signs_of_equal_chance_and_no_two_classes_share_one() -> None:
    codes = RadialBasis(84, 1000).codes
    assert codes.unique().tolist() == [-1, 1]
    assert codes.mean().item() == pytest.approx(0, abs=4 / (84_000**0.5))
    assert len(codes.unique(dim=0)) == 1000


def test_codes_depend_on_neither_the_seed_nor_the_number_of_classes() -> None:
    nets = [
        build("lenet5", classes=classes, channels=1, seed=seed, version="original")
        for classes, seed in ((10, 0), (10, 1), (4, 2))
    ]
    codes = [net.output.codes for net in nets]
    assert torch.equal(codes[0], codes[1])
    assert torch.equal(codes[0][:4], codes[2])
    assert "output.codes" in nets[0].state_dict()
    assert list(nets[0].output.parameters()) == []


def test_the_original_squashes_after_every_layer_up_to_f6() -> None:
    net = build("lenet5", classes=10, channels=1, version="original")
    kinds = [type(module) for name, module in net.named_children() if name.startswith("act")]
    assert kinds == [ScaledTanh] * 6
    chosen = build("lenet5", classes=10, channels=1, version="original", activation="elu")
    assert type(chosen.act2) is nn.ELU


def test_the_modern_form_is_what_x3_1_says(rng: torch.Generator) -> None:
    net = build("lenet5", classes=10, channels=1, size=28, seed=1).eval()
    theirs = nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2, 2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2, 2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )
    theirs.load_state_dict(dict(zip(theirs.state_dict(), net.state_dict().values(), strict=True)))
    images = torch.randn(4, 1, 28, 28, generator=rng)
    torch.testing.assert_close(net(images), theirs(images))


@pytest.mark.parametrize("version", ["modern", "original"])
def test_a_28_pixel_image_is_the_32_pixel_image_with_a_black_frame(
    version: str, rng: torch.Generator
) -> None:
    small, large = (
        build("lenet5", classes=10, channels=1, size=size, version=version).eval() for size in (28, 32)
    )
    images = torch.randn(4, 1, 28, 28, generator=rng)
    torch.testing.assert_close(small(images), large(F.pad(images, (2, 2, 2, 2))))


@pytest.mark.parametrize("version", ["modern", "original"])
@pytest.mark.parametrize("size", [1, 8, 27, 31, 33, 48])
def test_any_size_works(size: int, version: str) -> None:
    net = build("lenet5", classes=3, channels=2, size=size, version=version)
    assert net(torch.zeros(2, 2, size, size)).shape == (2, 3)
    if size <= 33:
        assert net.c5.in_features == 400


def test_dropout_acts_on_the_inputs_of_f6_and_output() -> None:
    net = build("lenet5", classes=3, dropout=0.5)
    assert [name for name, module in net.named_modules() if isinstance(module, nn.Dropout)] == [
        "drop5",
        "drop6",
    ]


def test_the_original_has_no_norm() -> None:
    with pytest.raises(ConfigError) as caught:
        build("lenet5", classes=10, version="original", norm="batch")
    assert str(caught.value) == (
        "lenet5 as published in 1998 has no normalisation, so norm cannot be 'batch'. "
        "Leave norm out, or choose version 'modern'."
    )


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        build("lenet5", classes=10, version="2024")
    assert str(caught.value) == (
        "The option 'version' of the model 'lenet5' cannot be '2024': Input should be 'modern' or 'original'."
    )
