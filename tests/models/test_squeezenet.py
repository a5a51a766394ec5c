"""SqueezeNet: counts worked out by hand, torchvision's names, and where the map is made small."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from convscope.models import summarise
from convscope.models.blocks import Parts
from convscope.models.squeezenet import Fire, Width, squeezenet

LARGE = {"classes": 1000, "channels": 3, "size": 224}
PLAIN = Parts(norm="none", dropout=0.5)
# Place in the network: channels that come in, squeezed, put out by each of the two that expand.
FIRES = {
    3: (64, 16, 64),
    4: (128, 16, 64),
    6: (128, 32, 128),
    7: (256, 32, 128),
    9: (256, 48, 192),
    10: (384, 48, 192),
    11: (384, 64, 256),
    12: (512, 64, 256),
}


def test_parameters_by_hand() -> None:
    stem = 3 * 64 * 9 + 64  # 1,792
    fires = [
        (64 * 16 + 16) + (16 * 64 + 64) + (16 * 64 * 9 + 64),  # 11,408
        (128 * 16 + 16) + (16 * 64 + 64) + (16 * 64 * 9 + 64),  # 12,432
        (128 * 32 + 32) + (32 * 128 + 128) + (32 * 128 * 9 + 128),  # 45,344
        (256 * 32 + 32) + (32 * 128 + 128) + (32 * 128 * 9 + 128),  # 49,440
        (256 * 48 + 48) + (48 * 192 + 192) + (48 * 192 * 9 + 192),  # 104,880
        (384 * 48 + 48) + (48 * 192 + 192) + (48 * 192 * 9 + 192),  # 111,024
        (384 * 64 + 64) + (64 * 256 + 256) + (64 * 256 * 9 + 256),  # 188,992
        (512 * 64 + 64) + (64 * 256 + 256) + (64 * 256 * 9 + 256),  # 197,184
    ]
    last = 512 * 1000 + 1000  # 513,000
    assert stem + sum(fires) + last == 1_235_496
    with torch.device("meta"):
        net = squeezenet(**LARGE)
    modules = [m for m in net.features if isinstance(m, Fire)]
    assert [sum(p.numel() for p in m.parameters()) for m in modules] == fires
    assert sum(p.numel() for p in net.parameters()) == 1_235_496
    assert not any(isinstance(m, nn.Linear) for m in net.modules())


def torchvisions() -> dict[str, tuple[int, ...]]:
    convs = {"features.0": (64, 3, 3, 3), "classifier.1": (1000, 512, 1, 1)}
    for number, (into, squeezed, out) in FIRES.items():
        convs[f"features.{number}.squeeze"] = (squeezed, into, 1, 1)
        convs[f"features.{number}.expand1x1"] = (out, squeezed, 1, 1)
        convs[f"features.{number}.expand3x3"] = (out, squeezed, 3, 3)
    weights = {f"{key}.weight": shape for key, shape in convs.items()}
    return weights | {f"{key}.bias": shape[:1] for key, shape in convs.items()}


@pytest.mark.parametrize("changed", [{}, {"dropout": 0.0}, {"conv_dropout": 0.1}, {"activation": "elu"}])
def test_names_and_shapes_are_torchvisions(changed: dict[str, object]) -> None:
    with torch.device("meta"):
        net = squeezenet(**LARGE, parts=replace(PLAIN, **changed))
    assert {key: tuple(value.shape) for key, value in net.state_dict().items()} == torchvisions()


def test_a_norm_shifts_no_name_and_takes_all_biases_but_the_last() -> None:
    with torch.device("meta"):
        net = squeezenet(**LARGE, parts=replace(PLAIN, norm="batch"))
    mine = {key: tuple(value.shape) for key, value in net.state_dict().items() if "norm" not in key}
    kept = {key: shape for key, shape in torchvisions().items() if not key.endswith("bias")}
    assert mine == kept | {"classifier.1.bias": (1000,)}


def test_a_fire_module_by_hand() -> None:
    """Two pixels squeezed to their difference, which 1x1 doubles and 3x3 sums over the neighbours."""
    fire = Fire(2, 1, 1, PLAIN).double()
    with torch.no_grad():
        for p in fire.parameters():
            p.zero_()
        fire.squeeze.weight.copy_(torch.tensor([1.0, -1.0])[None, :, None, None])
        fire.expand1x1.weight.fill_(2.0)
        fire.expand3x3.weight.fill_(1.0)
        fire.expand3x3.bias.fill_(-1.0)
    image = torch.tensor([[[5.0, 1.0, 4.0]], [[2.0, 3.0, 4.0]]], dtype=torch.float64)[None]
    # Squeezed: 3, then -2, which ReLU makes 0, then 0.
    found = fire(image)[0, :, 0].tolist()
    assert found == [[6.0, 0.0, 0.0], [2.0, 2.0, 0.0]]


def test_the_map_is_made_small_early_only_in_version_1_1() -> None:
    """Its pools follow layers 1, 4 and 7, rounding up."""
    net = squeezenet(**LARGE, form=Width(1 / 16)).eval()
    sides: list[int] = []
    for module in net.features:
        module.register_forward_hook(lambda m, inputs, output: sides.append(output.shape[2]))
    net(torch.zeros(1, 3, 224, 224))
    assert sides == [111, 111, 55, 55, 55, 27, 27, 27, 13, 13, 13, 13, 13]


def test_no_logit_is_negative_as_published() -> None:
    net = squeezenet(classes=50, channels=3, size=64, form=Width(1 / 4)).eval()
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    logits = net(images)
    assert logits.min() == 0 < logits.max()


def test_most_multiply_adds_are_late() -> None:
    """S1.9: pools come late, so the last maps before the classifier, 13x13, have more than half of the work."""
    with torch.device("meta"):
        net = squeezenet(classes=1000, channels=3, size=224)
    found = summarise(net, (3, 224, 224))
    shares = {stage.side: stage.macs / found.macs for stage in found.stages if stage.macs}
    assert list(shares) == [(111, 111), (55, 55), (27, 27), (13, 13)]
    assert [round(share, 3) for share in shares.values()] == [0.061, 0.204, 0.197, 0.538]
