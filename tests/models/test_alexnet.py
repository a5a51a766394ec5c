"""AlexNet: counts worked out by hand, torchvision's names, and the two towers taken apart."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convscope.core.errors import ConfigError
from convscope.models.alexnet import Form, SmallAlexNet, Width, alexnet, alexnet_cifar
from convscope.models.blocks import Parts
from convscope.models.response import ResponseNorm

LARGE = {"classes": 1000, "channels": 3, "size": 224}
SMALL = {"classes": 10, "channels": 3, "size": 32}
TINY = Form(width=1 / 16)
PLAIN = Parts(norm="none", dropout=0.5)


def split(net: nn.Module) -> tuple[int, int]:
    """Parameters of the convolutions and of the linear layers."""
    conv, linear = (
        sum(p.numel() for m in net.modules() if isinstance(m, kind) for p in m.parameters())
        for kind in (nn.Conv2d, nn.Linear)
    )
    assert conv + linear == sum(p.numel() for p in net.parameters())
    return conv, linear


def test_parameters_of_one_tower_by_hand() -> None:
    """S3.34: an input channel and output channel meet in kernel area weights; a bias per output channel."""
    conv = (
        (3 * 64 * 11 * 11 + 64)  # 23,296
        + (64 * 192 * 5 * 5 + 192)  # 307,392
        + (192 * 384 * 3 * 3 + 384)  # 663,936
        + (384 * 256 * 3 * 3 + 256)  # 884,992
        + (256 * 256 * 3 * 3 + 256)  # 590,080
    )
    linear = (
        (256 * 6 * 6 * 4096 + 4096)  # 37,752,832
        + (4096 * 4096 + 4096)  # 16,781,312
        + (4096 * 1000 + 1000)  # 4,097,000
    )
    assert (conv, linear, conv + linear) == (2_469_696, 58_631_144, 61_100_840)
    with torch.device("meta"):
        assert split(alexnet(**LARGE)) == (conv, linear)


def test_parameters_of_two_towers_by_hand() -> None:
    """Layers two, four and five see the half of the maps that lies on their own device."""
    conv = (
        (3 * 96 * 11 * 11 + 96)  # 34,944
        + (48 * 256 * 5 * 5 + 256)  # 307,456
        + (256 * 384 * 3 * 3 + 384)  # 885,120
        + (192 * 384 * 3 * 3 + 384)  # 663,936
        + (192 * 256 * 3 * 3 + 256)  # 442,624
    )
    assert (conv, conv + 58_631_144) == (2_334_080, 60_965_224)
    with torch.device("meta"):
        assert split(alexnet(**LARGE, form=Form(towers=2))) == (conv, 58_631_144)


def test_parameters_for_cifar_by_hand() -> None:
    """X3.2."""
    conv = (
        (3 * 96 * 4 * 4 + 96)  # 4,704
        + (96 * 96 * 3 * 3 + 96)  # 83,040
        + (96 * 256 * 5 * 5 + 256)  # 614,656
        + (256 * 384 * 3 * 3 + 384)  # 885,120
        + (384 * 384 * 3 * 3 + 384)  # 1,327,488
        + (384 * 256 * 3 * 3 + 256)  # 884,992
    )
    linear = (256 * 6 * 6 * 4096 + 4096) + (4096 * 4096 + 4096) + (4096 * 10 + 10)
    assert (conv, linear, conv + linear) == (3_800_000, 54_575_114, 58_375_114)
    with torch.device("meta"):
        assert split(alexnet_cifar(**SMALL)) == (conv, linear)


def torchvisions() -> dict[str, tuple[int, ...]]:
    """Each convolution is followed by a ReLU, the first, second and fifth of those by a pool."""
    found: dict[str, tuple[int, ...]] = {}
    convs = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3)}
    convs |= {8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    linears = {1: (4096, 9216), 4: (4096, 4096), 6: (1000, 4096)}  # dropout comes first: 0 and 3
    for part, layers in (("features", convs), ("classifier", linears)):
        for number, shape in layers.items():
            found[f"{part}.{number}.weight"] = shape
            found[f"{part}.{number}.bias"] = shape[:1]
    return found


@pytest.mark.parametrize("changed", [{}, {"dropout": 0.0}, {"conv_dropout": 0.1}, {"activation": "swish"}])
def test_names_and_shapes_are_torchvisions(changed: dict[str, object]) -> None:
    with torch.device("meta"):
        net = alexnet(**LARGE, parts=replace(PLAIN, **changed))
    assert {key: tuple(value.shape) for key, value in net.state_dict().items()} == torchvisions()


def test_a_norm_shifts_no_name_and_takes_the_biases_of_the_convolutions() -> None:
    with torch.device("meta"):
        net = alexnet(**LARGE, parts=replace(PLAIN, norm="batch"))
    mine = {key: tuple(value.shape) for key, value in net.state_dict().items() if "norm" not in key}
    gone = {f"features.{number}.bias" for number in (0, 3, 6, 8, 10)}
    assert mine == {key: shape for key, shape in torchvisions().items() if key not in gone}
    assert [key for key in net.state_dict() if key.endswith("norm0.weight")] == ["features.norm0.weight"]


def test_the_towers_meet_in_layer_three_only() -> None:
    """Whether the first half of a layer's maps depends on the second half of those of layer one."""
    net = alexnet(classes=3, channels=3, size=67, form=Form(width=1 / 8, towers=2)).double().eval()
    # Response normalisation looks across the border between the towers, so it is left out here.
    layers = [m for m in net.features if not isinstance(m, ResponseNorm)]
    images = torch.randn(2, 3, 67, 67, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first = layers[1](layers[0](images)).detach().requires_grad_()
    depends, x = [], first
    for layer in layers[2:]:
        x = layer(x.clone())
        if isinstance(layer, nn.Conv2d):
            (gradient,) = torch.autograd.grad(x[:, : x.shape[1] // 2].sum(), first, retain_graph=True)
            depends.append(bool(gradient[:, first.shape[1] // 2 :].any()))
    assert depends == [False, True, True, True]
    assert [m.groups for m in layers if isinstance(m, nn.Conv2d)] == [1, 2, 1, 2, 2]


def test_two_towers_respond_before_the_first_two_pools() -> None:
    names = [
        name for name, _ in alexnet(**LARGE, form=Form(width=1 / 16, towers=2)).features.named_children()
    ]
    assert names == ["0", "1", "response1", "2", "3", "4", "response4", *map(str, range(5, 13))]
    assert not any(isinstance(m, ResponseNorm) for m in alexnet(**LARGE, form=TINY).modules())


def maps(net: nn.Module, size: int) -> list[int]:
    """Height of what each convolution and pool puts out."""
    sides: list[int] = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AdaptiveAvgPool2d):
            module.register_forward_hook(lambda m, inputs, output: sides.append(output.shape[2]))
    net.eval()(torch.zeros(1, 3, size, size))
    return sides


@pytest.mark.parametrize("towers", [1, 2])
def test_sizes_of_the_maps_are_the_papers(towers: int) -> None:
    net = alexnet(**LARGE, form=Form(width=1 / 32, towers=towers))
    assert maps(net, 224) == [55, 27, 27, 13, 13, 13, 13, 6, 6]


def test_sizes_of_the_maps_for_cifar() -> None:
    """X3.2."""
    assert maps(alexnet_cifar(**SMALL, form=Width(1 / 32)), 32) == [29, 27, 27, 13, 13, 13, 13, 6]


@pytest.mark.parametrize("size", [16, 17, 19, 20, 28, 33, 64])
def test_the_head_for_cifar_fits_what_is_left(size: int) -> None:
    net = alexnet_cifar(classes=4, channels=3, size=size, form=Width(1 / 32))
    assert net.eval()(torch.zeros(2, 3, size, size)).shape == (2, 4)


def test_dropout_acts_on_the_inputs_of_the_first_two_linear_layers() -> None:
    """X3.2: after the last pool and after the first hidden layer."""
    for net in (alexnet(**LARGE, form=TINY), alexnet_cifar(**SMALL, form=Width(1 / 16))):
        kinds = [type(m).__name__ for m in net.classifier]
        assert kinds == ["Dropout", "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Linear"]
        assert {m.p for m in net.modules() if isinstance(m, nn.Dropout)} == {0.5}


def test_logits_for_cifar_by_functions() -> None:
    net = alexnet_cifar(**SMALL, form=Width(1 / 32)).eval()
    assert isinstance(net, SmallAlexNet)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    c = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    f = [m for m in net.modules() if isinstance(m, nn.Linear)]
    y = x
    for layer, padding, pooled in zip(c, (0, 0, 2, 1, 1, 1), (0, 0, 1, 0, 0, 1), strict=True):
        y = F.conv2d(y, layer.weight, layer.bias, padding=padding).relu()
        y = F.max_pool2d(y, 3, 2) if pooled else y
    y = f[2](f[1](f[0](y.flatten(1)).relu()).relu())
    torch.testing.assert_close(net(x), y)


def test_a_number_of_towers_that_is_not_known() -> None:
    with pytest.raises(ConfigError) as caught:
        alexnet(**LARGE, form=Form(towers=3))  # type: ignore[arg-type]
    assert str(caught.value) == "The towers of alexnet must be 1 or 2, not 3."
