"""Everything that was traced is in the picture, and nothing else; text stays in its box; any name can be drawn."""

import functools
import re
import xml.etree.ElementTree as ET

import pytest
import torch
from torch import Tensor, nn

from convscope.models import Summary, build, summarise
from convscope.models.diagram import FONT, svg
from convscope.models.graph import trace

SVG = "{http://www.w3.org/2000/svg}"


class Branches(nn.Module):
    """A module of three branches, a gate, a layer that is called twice, and one with a name that XML minds."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 1)
        self.two = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1, groups=2))
        self.three = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(3, 4, 1))
        self.add_module("<&'\"", nn.Tanh())
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(12, 12, 1), nn.Sigmoid())
        self.down = nn.Conv2d(12, 12, (3, 2), stride=(2, 1), dilation=2)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.one(x), self.two(x), self.three(x)], 1)
        x = x * self.gate(x)
        x = self.get_submodule("<&'\"")(x) + x
        x = self.down(x)
        x = self.get_submodule("<&'\"")(x)
        return self.head(x.mean((2, 3)))


NETWORKS = {
    "branches": (Branches(), (3, 9, 9)),
    "resnet20": (build("resnet20", classes=10, shortcut="B"), (3, 32, 32)),
    "lenet5": (build("lenet5", classes=10, version="original"), (3, 32, 32)),
    "logistic": (build("logistic", classes=10), (3, 32, 32)),
}


@pytest.fixture(params=NETWORKS)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, tuple[int, int, int]]:
    return NETWORKS[request.param]


@functools.cache
def picture(net: nn.Module, shape: tuple[int, int, int], name: str = "net") -> ET.Element:
    return ET.fromstring(svg(net, summarise(net, shape), name))


traced = functools.cache(trace)


def texts(root: ET.Element) -> list[list[str]]:
    """Lines of each box."""
    return [[line.text or "" for line in box.findall(f"{SVG}text")] for box in boxes(root)]


def boxes(root: ET.Element) -> list[ET.Element]:
    return [group for group in root.iter(f"{SVG}g") if group.get("class") == "box"]


def number(element: ET.Element, key: str) -> float:
    return float(element.get(key, "0"))


def rectangle(box: ET.Element) -> tuple[float, float, float, float]:
    (rect,) = box.findall(f"{SVG}rect")
    x, y = number(rect, "x"), number(rect, "y")
    return x, y, x + number(rect, "width"), y + number(rect, "height")


def arrows(root: ET.Element) -> list[ET.Element]:
    return [path for path in root.iter(f"{SVG}path") if path.get("class") == "arrow"]


def test_every_layer_is_drawn_once_for_each_call(case: tuple[nn.Module, tuple[int, int, int]]) -> None:
    nodes = traced(*case).nodes
    drawn = [line.split(": ")[0] for lines in texts(picture(*case)) for line in lines[:-1]]
    assert sorted(drawn) == sorted(node.name for node in nodes)
    layers = [line for lines in texts(picture(*case)) for line in lines[:-1] if ": " in line]
    kinds = [re.match(r"\w+", line.split(": ")[1]).group() for line in layers]
    assert sorted(kinds) == sorted(node.kind for node in nodes if node.module is not None)


def test_every_connection_is_an_arrow_or_inside_a_box(case: tuple[nn.Module, tuple[int, int, int]]) -> None:
    """Counted: a box of n layers holds n - 1 connections."""
    nodes, root = traced(*case).nodes, picture(*case)
    inside = sum(len(lines) - 2 for lines in texts(root))
    assert len(arrows(root)) + inside == sum(len(node.inputs) for node in nodes)


def test_shapes_and_parameters_are_the_networks(case: tuple[nn.Module, tuple[int, int, int]]) -> None:
    net, shape = case
    last = [lines[-1] for lines in texts(picture(net, shape))]
    counts = [
        int(found[1].replace(",", "")) for line in last if (found := re.search(r"([\d,]+) parameters", line))
    ]
    assert sum(counts) == sum(p.numel() for p in net.parameters())
    assert last[0] == "x".join(map(str, shape))
    assert last[-1].split(",")[0] == str(net(torch.zeros(2, *shape)).shape[1])


def test_arrows_start_and_end_at_their_boxes(case: tuple[nn.Module, tuple[int, int, int]]) -> None:
    root = picture(*case)
    places = [rectangle(box) for box in boxes(root)]
    for arrow in arrows(root):
        numbers = [float(n) for n in re.findall(r"[\d.]+", arrow.get("d", ""))]
        left, _, right, bottom = places[int(number(arrow, "data-from"))]
        assert numbers[:2] == pytest.approx([(left + right) / 2, bottom], abs=0.2)
        left, top, right, _ = places[int(number(arrow, "data-to"))]
        assert numbers[-2:] == pytest.approx([(left + right) / 2, top], abs=0.2)


def test_text_fits_into_its_box_and_boxes_onto_the_page(case: tuple[nn.Module, tuple[int, int, int]]) -> None:
    """Letters of a monospaced font are 0.6 of its size wide, at most 0.61."""
    root = picture(*case)
    for box in boxes(root):
        left, top, right, bottom = rectangle(box)
        for line in box.findall(f"{SVG}text"):
            assert left < number(line, "x")
            assert number(line, "x") + 0.61 * FONT * len(line.text or "") < right
            assert top + FONT <= number(line, "y") <= bottom - 3
    page = root.find(f"{SVG}rect")
    outer = next(group for group in root.findall(f"{SVG}g"))
    across, down = map(float, re.findall(r"[\d.]+", outer.get("transform", "")))
    assert max(rectangle(box)[2] for box in boxes(root)) + across < number(page, "width")
    assert max(rectangle(box)[3] for box in boxes(root)) + down < number(page, "height")
    for line in [*root.findall(f"{SVG}text")]:
        size = number(line, "font-size") or FONT
        assert number(line, "x") + 0.61 * size * len(line.text or "") < number(page, "width")


def test_a_box_by_hand() -> None:
    """Branches: what is said of windows, and what is drawn together."""
    found = texts(picture(Branches(), (3, 9, 9)))
    assert found == [
        ["image", "3x9x9"],
        ["one: Conv2d 1x1", "4x9x9, 16 parameters"],
        ["two.0: Conv2d 1x1", "two.1: ReLU", "4x9x9, 16 parameters"],
        ["two.2: Conv2d 3x3, 2 groups", "4x9x9, 76 parameters"],
        ["three.0: MaxPool2d 3x3", "3x9x9"],
        ["three.1: Conv2d 1x1", "4x9x9, 16 parameters"],
        ["cat", "12x9x9"],
        ["gate.0: AdaptiveAvgPool2d", "12x1x1"],
        ["gate.1: Conv2d 1x1", "gate.2: Sigmoid", "12x1x1, 156 parameters"],
        ["mul", "12x9x9"],
        ["<&'\": Tanh", "12x9x9"],
        ["add", "12x9x9"],
        ["down: Conv2d 3x2, stride 2x1, dilation 2", "<&'\": Tanh", "12x3x7, 876 parameters"],
        ["mean", "12"],
        ["head: Linear", "5, 65 parameters"],
    ]


def test_another_network_is_another_picture() -> None:
    def drawn(**options: object) -> str:
        net = build("resnet20", classes=10, width=2, **options)
        return svg(net, Summary((3, 32, 32), ()), "net")

    assert drawn() == drawn(seed=1)
    pictures = [drawn(**options) for options in ({}, {"shortcut": "B"}, {"shortcut": "none"})]
    assert len(set(pictures)) == 3


def test_the_title_says_what_it_is() -> None:
    root = picture(*NETWORKS["resnet20"], name='a <net> & "co"')
    assert root.findtext(f"{SVG}title") == 'a <net> & "co"'
    assert root.findtext(f"{SVG}desc") == (
        "input 3x32x32, 272,474 parameters, 40,813,184 multiply-adds. From the image at the top to the logits at "
        "the bottom."
    )
    assert root.get("role") == "img"
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert set(root.get("aria-labelledby", "").split()) <= set(ids)
