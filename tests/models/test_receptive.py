"""Receptive fields by hand, and against the pixels that a gradient reaches."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.models import build
from convscope.models.graph import Graph, trace
from convscope.models.receptive import Field


def sizes(graph: Graph) -> dict[str, int | str | None]:
    """Side of each node's receptive field."""
    found: dict[str, int | str | None] = {}
    for node in graph.nodes:
        if isinstance(node.sees, Field):
            rows, columns = node.sees.size
            assert rows == columns
            found[node.name] = rows
        else:
            found[node.name] = node.sees
    return found


# 5; a pool adds one pixel at step 1; 4 pixels at step 2; one at step 2.
LENET = {"c1": 5, "s2": 6, "c3": 14, "s4": 16, "c5": "all", "output": "all"}


@pytest.mark.parametrize("version", ["modern", "original"])
def test_lenet_by_hand(version: str) -> None:
    """The original's subsampling and connection table are layers of our own, looked into for this."""
    net = build("lenet5", classes=10, channels=1, version=version)
    assert LENET.items() <= sizes(trace(net, (1, 32, 32))).items()


# A convolution adds 2 pixels at the step of its input: 3 + 6 x 2 = 15; 15 + 2 + 5 x 4 = 37; 37 + 4 + 5 x 8 = 81.
# A shortcut alone sees what the stage before saw.
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_resnet20_by_hand(shortcut: str) -> None:
    found = sizes(trace(build("resnet20", classes=10, shortcut=shortcut), (3, 32, 32)))
    assert [found[f"layer{stage}.2.add"] for stage in (1, 2, 3)] == [15, 37, 81]
    assert found["layer2.0.conv1"] == 17
    assert found["layer3.0.downsample" if shortcut == "A" else "layer3.0.downsample.0"] == 37
    assert found["fc"] == "all"


def vgg16() -> nn.Sequential:
    layers: list[nn.Module] = []
    into = 1
    for convolutions in (2, 2, 3, 3, 3):
        for _ in range(convolutions):
            layers += [nn.Conv2d(into, 1, 3, padding=1), nn.ReLU(inplace=True)]
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def test_vgg16_by_hand() -> None:
    """Stage by stage 2, 2, 3, 3, 3 convolutions at steps 1, 2, 4, 8, 16, and a pool each."""
    pools = [node.sees for node in trace(vgg16(), (1, 224, 224)).nodes if node.kind == "MaxPool2d"]
    assert [pool.size for pool in pools] == [(6, 6), (16, 16), (44, 44), (100, 100), (212, 212)]
    assert [pool.step for pool in pools] == [(2, 2), (4, 4), (8, 8), (16, 16), (32, 32)]


# --- against gradients --------------------------------------------------------------------------------------


class Fork(nn.Module):
    """Two branches that do not look at the same place: the field holds both."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(1, 1, (1, 3), padding=(0, 1))
        self.right = nn.Conv2d(1, 1, (5, 1), padding=(2, 0))
        self.last = nn.Conv2d(1, 1, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.left(x) + F.pad(self.right(x)[:, :, :, :-1], (1, 0)))


class Joined(nn.Module):
    """Operations instead of layers, channels joined and split."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 2, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([F.avg_pool2d(x, 3, 1, 1), x.clone()], 1)
        x = F.conv2d(x, self.weight, padding=2, dilation=2)
        one, other = x.chunk(2, 1)
        x = one * 2 + other.abs()
        return F.max_pool2d(x, 2)[:, :, 1::2, ::2].reshape(x.size(0), 1, 4, 4) * x.size(2)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 2, 3, stride=2, padding=1),
            nn.BatchNorm2d(2),
            nn.Softplus(),
            nn.Conv2d(2, 2, 3, padding=1),
        )
        self.shortcut = nn.Conv2d(2, 2, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x).add_(self.shortcut(x))
        return F.softplus(x)


NETWORKS = {
    "convolution": nn.Sequential(nn.Conv2d(1, 1, 3, padding=1)),
    "rectangle, dilated": nn.Sequential(nn.Conv2d(1, 1, (3, 2), dilation=(2, 3), padding=(1, 0))),
    "three": nn.Sequential(nn.Conv2d(1, 2, 5), nn.Tanh(), nn.AvgPool2d(3, 2), nn.Conv2d(2, 1, 3)),
    "adaptive": nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.AdaptiveAvgPool2d(4)),
    "blocks": nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), Block(), Block()),
    "fork": Fork(),
    "joined": Joined(),
}


def reached(net: nn.Module, row: int, column: int) -> tuple[int, int, int, int]:
    """First and last row, first and last column that a place depends on."""
    net = net.eval()
    image = torch.ones(1, 1, 32, 32, requires_grad=True)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(0.1)
    net(image)[0, 0, row, column].backward()
    rows, columns = image.grad[0, 0].nonzero(as_tuple=True)
    return rows.min().item(), rows.max().item(), columns.min().item(), columns.max().item()


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "joined"])
def test_a_field_is_what_a_gradient_reaches(name: str) -> None:
    graph = trace(NETWORKS[name], (1, 32, 32))
    seen = graph.nodes[graph.outputs[0]]
    place = (seen.output[1] // 2, seen.output[2] // 2)
    first = [a + at * step for a, at, step in zip(seen.sees.first, place, seen.sees.step, strict=True)]
    last = [b + at * step for b, at, step in zip(seen.sees.last, place, seen.sees.step, strict=True)]
    expected = (max(0, first[0]), min(31, last[0]), max(0, first[1]), min(31, last[1]))
    assert reached(NETWORKS[name], *place) == expected


def test_operations_by_hand() -> None:
    """Pool 3, dilated 3x3 over five pixels more, pool 2 at step 1; then every second row from the second on."""
    graph = trace(NETWORKS["joined"], (1, 16, 16))
    assert graph.nodes[graph.outputs[0]].sees == Field((-3 + 2, -3), (3 + 1 + 2, 3 + 1), (4, 4))
    assert [node.kind for node in graph.nodes] == [
        *(
            "image",
            "avg_pool2d",
            "clone",
            "cat",
            "conv2d",
            "chunk",
            "getitem",
            "getitem",
            "mul",
            "abs",
            "add",
        ),
        *("max_pool2d", "getitem", "reshape", "mul"),
    ]


class Squeezed(nn.Module):
    """A gate that looks at the whole map, as in squeeze-and-excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.gate = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * self.gate(x.mean((2, 3)))[:, :, None, None].sigmoid()


def test_a_gate_sees_the_whole_image_and_all_that_follows_it() -> None:
    assert sizes(trace(Squeezed(), (1, 9, 9))) == {
        **{"image": 1, "conv": 3},
        **dict.fromkeys(("mean", "gate", "getitem", "sigmoid", "mul"), "all"),
    }


@pytest.mark.parametrize(
    "layer",
    [
        nn.Softmax(3),
        nn.Upsample(scale_factor=2),
        nn.PixelShuffle(1),
        nn.AdaptiveAvgPool2d(3),
        nn.Linear(8, 8),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_nothing_is_said_of_what_is_not_known(layer: nn.Module) -> None:
    graph = trace(nn.Sequential(layer, nn.ReLU()), (1, 8, 8))
    assert [node.sees for node in graph.nodes[1:]] == [None, None]
