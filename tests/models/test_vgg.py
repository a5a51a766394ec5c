"""VGG: counts worked out by hand, torchvision's names, and larger kernels that see as much."""

import inspect
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from convscope.core.errors import ConfigError
from convscope.models import vgg
from convscope.models.blocks import Parts, Separable
from convscope.models.vgg import Form

LARGE = {"classes": 1000, "channels": 3, "size": 224}
SMALL = {"classes": 10, "channels": 3, "size": 32}
PLAIN = Parts(norm="none", dropout=0.5)
CONFIGURATIONS = {
    11: "64 M 128 M 256 256 M 512 512 M 512 512 M",
    13: "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    16: "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    19: "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}
"""Columns A, B, D and E of the paper's table 1; M is a pool."""

# A 3x3 convolution from a to b channels has 9ab weights and b biases.
C3_64, C64_64 = 3 * 64 * 9 + 64, 64 * 64 * 9 + 64  # 1,792 and 36,928
C64_128, C128_128 = 64 * 128 * 9 + 128, 128 * 128 * 9 + 128  # 73,856 and 147,584
C128_256, C256_256 = 128 * 256 * 9 + 256, 256 * 256 * 9 + 256  # 295,168 and 590,080
C256_512, C512_512 = 256 * 512 * 9 + 512, 512 * 512 * 9 + 512  # 1,180,160 and 2,359,808
A = C3_64 + C64_128 + C128_256 + C256_256 + C256_512 + 3 * C512_512  # 9,220,480
B = A + C64_64 + C128_128  # 9,404,992
D = B + C256_256 + 2 * C512_512  # 14,714,688
E = D + C256_256 + 2 * C512_512  # 20,024,384
HEAD = (512 * 7 * 7 * 4096 + 4096) + (4096 * 4096 + 4096) + (4096 * 1000 + 1000)  # 123,642,856
SMALL_HEAD = 2 * (512 * 512 + 512) + (512 * 10 + 10)  # 530,442
LECTURE = C3_64 + C64_64 + C64_128 + C128_128 + C128_256 + 2 * C256_256 + C256_512 + 2 * C512_512
LECTURE_HEAD = (2048 * 4096 + 4096) + (4096 * 4096 + 4096) + (4096 * 10 + 10)


def made(name: str, **options: object) -> nn.Module:
    build: Callable[..., nn.Module] = getattr(vgg, name)
    shape = SMALL if "cifar" in name else LARGE
    with torch.device("meta"):
        return build(**shape, **options)


def split(net: nn.Module) -> tuple[int, int]:
    conv, linear = (
        sum(p.numel() for m in net.modules() if isinstance(m, kind) for p in m.parameters())
        for kind in (nn.Conv2d, nn.Linear)
    )
    return conv, linear


@pytest.mark.parametrize(
    ("name", "conv", "linear", "total"),
    [
        ("vgg11", A, HEAD, 132_863_336),
        ("vgg13", B, HEAD, 133_047_848),
        ("vgg16", D, HEAD, 138_357_544),
        ("vgg19", E, HEAD, 143_667_240),
        ("vgg11_cifar", A, SMALL_HEAD, 9_750_922),
        ("vgg13_cifar", LECTURE, LECTURE_HEAD, 32_850_250),
        ("vgg16_cifar", D, SMALL_HEAD, 15_245_130),
    ],
)
def test_parameters_by_hand(name: str, conv: int, linear: int, total: int) -> None:
    assert conv + linear == total
    net = made(name)
    assert split(net) == (conv, linear)
    assert sum(p.numel() for p in net.parameters()) == total


def test_the_splits_that_are_published() -> None:
    """S3.36, X3.3."""
    assert (E, HEAD) == (20_024_384, 123_642_856)
    assert (LECTURE, LECTURE_HEAD) == (7_635_264, 25_214_986)


@pytest.mark.parametrize(
    ("depth", "maps", "total"),
    [
        # Channels of all convolutions: two numbers each, and the biases stay.
        (11, 64 + 128 + 2 * 256 + 4 * 512, 132_868_840),
        (13, 2 * (64 + 128 + 256) + 4 * 512, 133_053_736),
        (16, 2 * (64 + 128) + 3 * 256 + 6 * 512, 138_365_992),
        (19, 2 * (64 + 128) + 4 * 256 + 8 * 512, 143_678_248),
    ],
)
def test_parameters_with_batch_norm_by_hand(depth: int, maps: int, total: int) -> None:
    net = made(f"vgg{depth}", parts=replace(PLAIN, norm="batch"))
    assert sum(p.numel() for p in net.parameters()) == {11: A, 13: B, 16: D, 19: E}[depth] + HEAD + 2 * maps
    assert sum(p.numel() for p in net.parameters()) == total


@pytest.mark.parametrize(("name", "maps"), [("vgg11_cifar", 2_752), ("vgg16_cifar", 4_224)])
def test_the_small_ones_drop_the_bias_under_a_norm(name: str, maps: int) -> None:
    """S3.88: one bias per map goes, two numbers per map come."""
    plain, normed = (made(name, parts=Parts(norm=norm)) for norm in ("none", "batch"))
    gained = sum(p.numel() for p in normed.parameters()) - sum(p.numel() for p in plain.parameters())
    assert gained == 2 * maps - maps


def torchvisions(depth: int, *, normed: bool) -> dict[str, tuple[int, ...]]:
    """A convolution, its norm if any, its ReLU and a pool take a number each; the head is 0, 3 and 6."""
    found: dict[str, tuple[int, ...]] = {}
    number, into = 0, 3
    for word in CONFIGURATIONS[depth].split():
        if word == "M":
            number += 1
            continue
        out = int(word)
        found[f"features.{number}.weight"] = (out, into, 3, 3)
        found[f"features.{number}.bias"] = (out,)
        if normed:
            for each in ("weight", "bias", "running_mean", "running_var"):
                found[f"features.{number + 1}.{each}"] = (out,)
            found[f"features.{number + 1}.num_batches_tracked"] = ()
        number, into = number + (3 if normed else 2), out
    for number, (out, into) in {0: (4096, 25088), 3: (4096, 4096), 6: (1000, 4096)}.items():
        found[f"classifier.{number}.weight"] = (out, into)
        found[f"classifier.{number}.bias"] = (out,)
    return found


def test_the_rule_for_names_gives_those_that_are_known() -> None:
    """The last convolution of torchvision's vgg16 is features.28, of its vgg16_bn features.40."""
    assert "features.28.weight" in torchvisions(16, normed=False)
    assert "features.29.weight" not in torchvisions(16, normed=False)
    assert torchvisions(16, normed=True)["features.40.weight"] == (512, 512, 3, 3)
    assert torchvisions(16, normed=True)["features.41.running_var"] == (512,)


@pytest.mark.parametrize("changed", [{}, {"dropout": 0.0}, {"conv_dropout": 0.1}, {"activation": "tanh"}])
@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_names_and_shapes_are_torchvisions(depth: int, norm: str, changed: dict[str, object]) -> None:
    net = made(f"vgg{depth}", parts=replace(PLAIN, norm=norm, **changed))
    found = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    assert found == torchvisions(depth, normed=norm == "batch")


def seen(net: nn.Module, size: int) -> int:
    """Pixels per side on which the middle of the last map depends: where its gradient is not zero."""
    for name, module in net.features.named_children():
        if isinstance(module, nn.MaxPool2d):  # which passes the gradient to one pixel of four
            setattr(net.features, name, nn.AvgPool2d(2))
        elif isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            nn.init.zeros_(module.bias)
    image = torch.ones(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    last = net.double().features(image)
    middle = last.shape[2] // 2
    (gradient,) = torch.autograd.grad(last[0, 0, middle, middle], image)
    rows = gradient[0, 0].any(1)
    columns = gradient[0, 0].any(0)
    assert rows.sum() == columns.sum()
    return int(rows.sum())


# Each 3x3 convolution adds 2 pixels, each pool 1, in steps of 1, 2, 4, 8 and 16 pixels.
FIELDS = {
    "vgg11": 1 + (2 + 1) * (1 + 2) + (4 + 1) * (4 + 8 + 16),  # 150
    "vgg16": 1 + (4 + 1) * (1 + 2) + (6 + 1) * (4 + 8 + 16),  # 212
    "vgg19": 1 + (4 + 1) * (1 + 2) + (8 + 1) * (4 + 8 + 16),  # 268
    "vgg13_cifar": 1 + (4 + 1) * (1 + 2) + (6 + 1) * (4 + 8),  # 100
}


# Goes red when the kernel left over in a stage of three is a 3x3 with kernel=11.
@pytest.mark.parametrize("kernel", [3, 5, 11])
@pytest.mark.parametrize("name", list(FIELDS))
def test_larger_kernels_see_as_much(name: str, kernel: int) -> None:
    """S3.38."""
    form = Form(width=1 / 512, kernel=kernel)
    net = getattr(vgg, name)(classes=2, channels=1, size=32, form=form)
    assert seen(net, 288) == FIELDS[name]


@pytest.mark.parametrize(
    ("kernel", "kernels"),
    [
        (3, [3] * 16),
        (5, [5, 5, 5, 5, 5, 5, 5, 5]),
        (11, [5, 5, 9, 9, 9]),
    ],
)
def test_kernels_of_vgg19(kernel: int, kernels: list[int]) -> None:
    net = made("vgg19", form=Form(kernel=kernel))
    assert [m.kernel_size[0] for m in net.modules() if isinstance(m, nn.Conv2d)] == kernels


def test_a_stage_of_three_becomes_5x5_and_3x3_or_one_of_7x7() -> None:
    stages = made("vgg16", form=Form(kernel=5)), made("vgg16", form=Form(kernel=11))
    found = [[m.kernel_size[0] for m in net.modules() if isinstance(m, nn.Conv2d)] for net in stages]
    assert found == [[5, 5, 5, 3, 5, 3, 5, 3], [5, 5, 7, 7, 7]]


def test_two_3x3_have_18_25ths_of_the_weights_of_their_twin() -> None:
    """S3.38: in the last stage all channels are equal, so 4 x 9 C^2 stand against 2 x 25 C^2."""
    weights = []
    for kernel, convolutions in ((3, 4), (5, 2)):
        net = made("vgg19", form=Form(kernel=kernel))
        weights.append([m.weight.numel() for m in net.features if isinstance(m, nn.Conv2d)][-convolutions:])
    assert weights == [[9 * 512**2] * 4, [25 * 512**2] * 2]


def test_separable_replaces_every_convolution_but_those_of_the_twins() -> None:
    """S1.8."""
    parts = replace(PLAIN, separable=True)
    net = made("vgg16", parts=parts)
    assert sum(isinstance(m, Separable) for m in net.features) == 13
    # 3 x 9 + 3 x 64 + 64 for the first; torchvision's biases stay with the pointwise half.
    assert sum(p.numel() for p in net.features[0].parameters()) == 27 + 192 + 64
    twin = made("vgg16", parts=parts, form=Form(kernel=5))
    assert sum(isinstance(m, Separable) for m in twin.features) == 3


@pytest.mark.parametrize("name", ["vgg11_cifar", "vgg13_cifar", "vgg16_cifar"])
@pytest.mark.parametrize("size", [32, 33, 47, 64])
def test_the_small_heads_fit_what_is_left(name: str, size: int) -> None:
    net = getattr(vgg, name)(classes=4, channels=1, size=size, form=Form(width=1 / 64))
    assert net.eval()(torch.zeros(2, 1, size, size)).shape == (2, 4)


def test_the_published_head_takes_small_images_too() -> None:
    net = vgg.vgg11(classes=4, channels=1, size=32, form=Form(width=1 / 64)).eval()
    image = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    one = net.features(image)
    assert one.shape[2:] == (1, 1)
    assert torch.equal(net.avgpool(one), one.expand(-1, -1, 7, 7))
    assert net(image).shape == (1, 4)


def test_dropout_follows_the_hidden_layers() -> None:
    """S3.35."""
    kinds = [type(m).__name__ for m in made("vgg16").classifier]
    assert kinds == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert not any(isinstance(m, nn.Dropout) for m in made("vgg11_cifar").modules())


def loss_after_steps(init: str) -> float:
    """Of VGG-A after 15 steps of Adam, on five kinds of stripes."""
    torch.manual_seed(0)
    parts = Parts(norm="none", init=init)
    net = vgg.vgg11_cifar(classes=5, channels=3, size=32, parts=parts, form=Form(width=1 / 8))
    images = torch.randn(20, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(20) % 5
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, :, label * 32 // 5] += 3
    optimizer = torch.optim.Adam(net.parameters(), lr=0.001)
    for _ in range(15):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
    return loss.item()


def test_vgg_a_learns_without_a_norm_as_it_starts_by_default() -> None:
    """S3.38: VGG needs a good initialisation; as torch starts it, the loss is still near ln 5 = 1.61."""
    default = inspect.signature(vgg.vgg11_cifar).parameters["parts"].default
    assert default == Parts(norm="none", init="kaiming")
    assert loss_after_steps(default.init) < 0.8
    assert loss_after_steps("torch") > 1.4


def test_a_kernel_that_is_not_known() -> None:
    with pytest.raises(ConfigError) as caught:
        made("vgg11", form=Form(kernel=4))  # type: ignore[arg-type]
    assert str(caught.value) == "The kernel of a vgg must be 3, 5 or 11, not 4."
