"""Counts by hand, and against torch's own counter of operations; the network comes back untouched."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from convscope.models import Row, Stage, Summary, build, googlenet, summarise


def test_the_assignments_sanity_check() -> None:
    """S1.16-20: shapes and weight counts, as worked out by hand there."""
    rows = {row.name: row for row in summarise(build("simplenn", classes=10), (3, 32, 32)).rows}
    assert [rows[name].weights for name in ("conv1", "conv2", "fc1", "fc2", "fc3")] == [
        *(600, 1152, 69120, 10080, 840)
    ]
    assert [rows[name].parameters for name in ("conv1", "conv2", "fc1", "fc2", "fc3")] == [
        *(608, 1168, 69240, 10164, 850)
    ]
    assert [rows[name].output for name in ("conv1", "pool1", "conv2", "pool2")] == [
        *((8, 28, 28), (8, 14, 14), (16, 12, 12), (16, 6, 6))
    ]


def test_macs_by_hand() -> None:
    net = nn.Sequential(
        nn.Conv2d(4, 6, (3, 5), stride=2, padding=1, groups=2), nn.Flatten(), nn.Linear(6 * 5 * 4, 7)
    )
    conv, _, linear = summarise(net, (4, 9, 9)).rows
    assert conv.output == (6, 5, 4)
    # Each of 6 x 5 x 4 outputs sums over 4 / 2 channels and a 3x5 window.
    assert conv.macs == 120 * 2 * 15
    assert linear.macs == 120 * 7


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("simplenn", {}),
        ("lenet5", {}),
        ("resnet20", {}),
        ("resnet32", {"shortcut": "B"}),
        ("resnet20", {"version": 2, "width": 5}),
    ],
)
def test_macs_agree_with_torchs_counter(name: str, options: dict[str, object]) -> None:
    net = build(name, classes=10, **options).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.to("meta")(torch.empty(1, 3, 32, 32, device="meta"))
    # torch counts a multiplication and an addition as two.
    assert 2 * summarise(net, (3, 32, 32)).macs == counter.get_total_flops()


def test_connections_of_the_original_lenet() -> None:
    """The paper counts each bias as a connection, we do not: 122,304 and 151,600 there."""
    net = build("lenet5", classes=10, channels=1, version="original")
    rows = {row.name: row for row in summarise(net, (1, 32, 32)).rows}
    assert rows["c1"].macs + 6 * 28 * 28 == 122_304
    assert rows["c3"].macs + 16 * 10 * 10 == 151_600
    assert rows["output"].macs == 840
    assert rows["output"].parameters == 0


def test_totals_are_the_networks_own() -> None:
    net = build("resnet20", classes=10)
    found = summarise(net, (3, 32, 32))
    assert found.parameters == sum(p.numel() for p in net.parameters()) == 269_722
    assert found.weights + found.biases == found.parameters
    groups = [found.of(group) for group in ("convolutions", "linear", "other")]
    assert groups[0] == (267_696, 40_550_400)
    assert groups[1] == (650, 640)
    assert tuple(map(sum, zip(*groups, strict=True))) == (found.parameters, found.macs)


class Odd(nn.Module):
    """A layer called twice, a weight that belongs to no layer, and a part that is off."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.twice = nn.Conv2d(3, 3, 1)
        self.off = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.off(self.twice(self.twice(x * self.scale[:, None, None])))


def test_every_parameter_is_counted_once_and_every_call_is_paid() -> None:
    found = summarise(Odd(), (3, 4, 4))
    assert found.rows == (
        Row("twice", "Conv2d", (3, 4, 4), 9, 3, 16 * 9, (1, 1)),
        Row("twice", "Conv2d", (3, 4, 4), 0, 0, 16 * 9, (1, 1)),
        Row("", "Odd", (3, 4, 4), 3, 0, 0, (1, 1)),
    )
    assert found.parameters == 15


def test_the_network_comes_back_untouched() -> None:
    net = build("simplenn", classes=10, norm="batch", dropout=0.5).train()
    called: list[str] = []
    net.fc1.register_forward_hook(lambda *_: called.append("after"))
    net.fc1.register_forward_pre_hook(lambda *_: called.append("before"))
    net.fc1.weight.grad = torch.ones_like(net.fc1.weight)
    state = {key: value.clone() for key, value in net.state_dict().items()}
    before = [id(p) for p in net.parameters()]
    summarise(net, (3, 32, 32))
    assert called == []
    assert [id(p) for p in net.parameters()] == before
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
    assert all(module.training for module in net.modules())
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()) == 2
    assert torch.equal(net.fc1.weight.grad, torch.ones_like(net.fc1.weight))


# 40 GB of weights and 16 GB of activations, if there were any.
def test_no_memory_is_needed() -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.Conv2d(3, 4000, 3), nn.Flatten(), nn.Linear(4000 * 30 * 30, 2800))
    assert summarise(net, (3, 32, 32)).weights == 3 * 9 * 4000 + 4000 * 900 * 2800


def test_a_network_in_bfloat16_is_summarised_like_any_other() -> None:
    net = build("simplenn", classes=10)
    expected = summarise(net, (3, 32, 32))
    assert summarise(net.bfloat16(), (3, 32, 32)) == expected


def test_each_call_has_its_own_receptive_field() -> None:
    conv = nn.Conv2d(1, 1, 3, stride=2)
    rows = summarise(nn.Sequential(conv, nn.ReLU(), conv, nn.Flatten(), nn.Linear(9, 2)), (1, 15, 15)).rows
    assert [row.sees for row in rows] == [(3, 3), (3, 3), (7, 7), (7, 7), "all"]


class Deciding(nn.Module):
    """Cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if len(x) else x


def test_without_a_trace_the_rest_of_the_table_is_there() -> None:
    found = summarise(Deciding(), (1, 5, 5))
    assert found.rows == (Row("conv", "Conv2d", (1, 3, 3), 9, 1, 81, None),)
    assert str(found).splitlines()[3] == "conv   Conv2d  1x3x3         9       1          10    81      ?"


def test_the_stages_of_resnet20_by_hand() -> None:
    """Stem and six convolutions; a first one that halves the map and five more, twice; the linear layer.

    Biases come with norms only: 2 x 16 numbers after each of 7 convolutions, and so on.
    """
    found = summarise(build("resnet20", classes=10), (3, 32, 32)).stages
    first = 3 * 9 * 16 + 6 * 16 * 9 * 16
    assert found == (
        Stage((32, 32), 7, first + 7 * 32, 1024 * first),
        Stage((16, 16), 6, (16 + 5 * 32) * 9 * 32 + 6 * 64, 256 * (16 + 5 * 32) * 9 * 32),
        Stage((8, 8), 6, (32 + 5 * 64) * 9 * 64 + 6 * 128, 64 * (32 + 5 * 64) * 9 * 64),
        Stage((1, 1), 1, 650, 640),
    )


def test_a_gate_is_part_of_the_stage_around_it() -> None:
    def row(side: int, macs: int) -> Row:
        return Row("", "", (4, side, side), macs, 0, macs)

    vector = Row("", "", (9,), 6, 0, 6)
    sides = [row(8, 1), row(4, 2), row(1, 3), row(4, 4), row(2, 5), row(1, 0), vector]
    assert Summary((3, 8, 8), tuple(sides)).stages == (
        *(Stage((8, 8), 1, 1, 1), Stage((4, 4), 3, 9, 9), Stage((2, 2), 1, 5, 5), Stage((1, 1), 1, 6, 6)),
    )


def test_the_tables_by_hand() -> None:
    rows = (
        Row("conv", "Conv2d", (8, 28, 28), 600, 8, 470_400, (5, 5)),
        Row("act", "ReLU", (8, 28, 28), 0, 0, 0, (5, 3)),
        Row("fc", "Linear", (10,), 840, 10, 840, "all"),
    )
    assert str(Summary((3, 32, 32), rows)) == (
        "input 3x32x32\n"
        "layer  kind    output   weights  biases  parameters     MACs  field\n"
        "-------------------------------------------------------------------\n"
        "conv   Conv2d  8x28x28      600       8         608  470,400      5\n"
        "act    ReLU    8x28x28        .       .           .        .    5x3\n"
        "fc     Linear  10           840      10         850      840    all\n"
        "-------------------------------------------------------------------\n"
        "total                     1,440      18       1,458  471,240\n"
        "\n"
        "              parameters   share     MACs   share\n"
        "-------------------------------------------------\n"
        "convolutions         608  41.7 %  470,400  99.8 %\n"
        "linear               850  58.3 %      840   0.2 %\n"
        "other                  .       .        .       .\n"
        "\n"
        "map    layers  parameters     MACs   share\n"
        "------------------------------------------\n"
        "28x28       1         608  470,400  99.8 %  ########################################\n"
        "1x1         1         850      840   0.2 %\n"
    )


def test_parameters_that_evaluation_does_not_use_are_told_apart() -> None:
    """GoogLeNet as published: 13,378,280 with its auxiliary classifiers, 6,998,552 without."""
    with torch.device("meta"):
        form = googlenet.Form(variant="paper", auxiliary=True)
        net = googlenet.googlenet(classes=1000, channels=3, size=224, form=form)
    found = summarise(net, (3, 224, 224))
    assert (found.parameters, found.idle) == (6_998_552, 13_378_280 - 6_998_552)
    assert str(found).endswith("\n6,379,728 parameters more are used in training only.\n")
    assert {row.sees for row in found.rows if "response" in row.name} == {
        (11, 11),
        (19, 19),
    }  # 7 + 2 x 2; and 2 x 4 more
