"""Residual networks against a slow version that overwrites nothing, and counts worked out by hand."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from convscope.core.errors import ConfigError
from convscope.models import build, resnet, summarise
from convscope.models.blocks import Parts, make_norm
from convscope.models.residual import BasicBlock, PreActivationBlock, Stage, Style, SubsampledShortcut
from convscope.models.resnet import Form, resnet20

DEPTHS = (20, 32, 44, 56, 110)
PLAIN = Stage(blocks=1, inner=4, out=4, stride=1)
FORMS = [(shortcut, version) for shortcut in ("A", "B", "none") for version in (1, 2)]


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def by_hand(depth: int, shortcut: str, version: int) -> int:
    """Parameters for 3 channels and 10 classes; 3x3 kernels, two numbers per normed channel."""
    n = (depth - 2) // 6
    stem = 3 * 16 * 9 + 2 * 16
    first = 2 * n * (16 * 16 * 9 + 2 * 16)
    second = 16 * 32 * 9 + (2 * n - 1) * 32 * 32 * 9 + 2 * n * 2 * 32
    third = 32 * 64 * 9 + (2 * n - 1) * 64 * 64 * 9 + 2 * n * 2 * 64
    projections = 16 * 32 + 32 * 64 if shortcut == "B" else 0
    if shortcut == "B" and version == 1:
        projections += 2 * 32 + 2 * 64
    # Version 2 moves each norm before its convolution: the same channels, one place further on.
    return stem + first + second + third + projections + 64 * 10 + 10


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("shortcut", "version"), FORMS)
def test_parameters_by_hand(depth: int, shortcut: str, version: int) -> None:
    with torch.device("meta"):
        net = getattr(resnet, f"resnet{depth}")(
            classes=10, channels=3, size=32, form=Form(shortcut=shortcut, version=version)
        )
    assert sum(p.numel() for p in net.parameters()) == by_hand(depth, shortcut, version)


@pytest.mark.parametrize(("shortcut", "parameters"), [("A", 269_722), ("B", 272_474), ("none", 269_722)])
def test_parameters_of_resnet20_as_published(shortcut: str, parameters: int) -> None:
    """S1.49."""
    net = build("resnet20", classes=10, shortcut=shortcut)
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize("depth", DEPTHS)
def test_depth_counts_convolutions_and_the_linear_layer(depth: int) -> None:
    with torch.device("meta"):
        net = getattr(resnet, f"resnet{depth}")(classes=10, channels=3, size=32, form=Form(width=1))
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in net.modules()) == depth


def normed(layer: nn.Module, x: Tensor) -> Tensor:
    """Batch normalisation of a batch, from its formula."""
    if isinstance(layer, nn.Identity):
        return x
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    scaled = (x - mean) / (variance + 1e-5).sqrt()
    return scaled * layer.weight[:, None, None] + layer.bias[:, None, None]


def slow_shortcut(block: Any, x: Tensor, like: Tensor, shortcut: str) -> Tensor | float:
    if shortcut == "none":
        return 0.0
    if x.shape == like.shape:
        return x
    if shortcut == "A":
        half = x[:, :, ::2, ::2]
        return torch.cat([half, torch.zeros_like(half)], 1)
    return normed(block.downsample[1], block.downsample[0](x))


def slow(net: Any, x: Tensor, shortcut: str, version: int) -> Tensor:
    """The network from the papers' drawings, every result in memory of its own."""
    blocks = [*net.layer1, *net.layer2, *net.layer3]
    x = normed(net.bn1, net.conv1(x)).relu()
    for i, block in enumerate(blocks):
        if version == 1:
            out = normed(block.bn1, block.conv1(x)).relu()
            out = normed(block.bn2, block.conv2(out))
            x = (out + slow_shortcut(block, x, out, shortcut)).relu()
        else:
            ready = x if i == 0 else normed(block.bn1, x).relu()
            out = block.conv2(normed(block.bn2, block.conv1(ready)).relu())
            start = x if x.shape == out.shape else ready
            x = out + slow_shortcut(block, start, out, shortcut)
    if version == 2:
        x = normed(net.bn2, x).relu()
    return net.fc(x.mean((2, 3)))


# Goes red when the first activation of version 2 overwrites the shortcut's input (norm none): seen.
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize(("shortcut", "version"), FORMS)
def test_logits_and_gradients_equal_those_of_the_slow_version(
    shortcut: str, version: int, norm: str, rng: torch.Generator
) -> None:
    net = build("resnet20", classes=3, width=2, shortcut=shortcut, version=version, norm=norm).double()
    images = torch.randn(4, 3, 9, 9, generator=rng, dtype=torch.float64)
    weights = [p for p in net.parameters()]
    ours, theirs = net(images), slow(net, images, shortcut, version)
    torch.testing.assert_close(ours, theirs)
    direction = torch.randn(4, 3, generator=rng, dtype=torch.float64)
    for a, b in zip(
        torch.autograd.grad((ours * direction).sum(), weights),
        torch.autograd.grad((theirs * direction).sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("size", [8, 9])
def test_shortcut_a_takes_every_second_pixel_to_the_bit(size: int, rng: torch.Generator) -> None:
    images = torch.randn(2, 3, size, size, generator=rng)
    found = SubsampledShortcut(2, 4)(images)
    assert torch.equal(found[:, :3], images[:, :, ::2, ::2])
    assert torch.equal(found[:, 3:], torch.zeros_like(found[:, 3:]))


def test_a_block_of_version_2_with_nothing_in_it_is_the_identity(rng: torch.Generator) -> None:
    """S3.50: identity is learnable."""
    block = PreActivationBlock(4, PLAIN, 1, Style(Parts(), "A", "2"), activated=False)
    nn.init.zeros_(block.conv2.weight)
    images = torch.randn(2, 4, 8, 8, generator=rng)
    assert torch.equal(block(images), images)


def test_a_block_of_version_1_with_nothing_in_it_is_the_identity_on_what_is_positive(
    rng: torch.Generator,
) -> None:
    """S3.45, S3.46."""
    block = BasicBlock(4, PLAIN, 1, Style(Parts(), "A"))
    nn.init.zeros_(block.bn2.weight)
    images = torch.randn(2, 4, 8, 8, generator=rng).relu()
    assert torch.equal(block(images), images)


def layout(x: Tensor) -> tuple[int, ...]:
    """Which axis is how far out in memory: (0, 2, 3, 1) is channels-last."""
    return tuple(sorted(range(4), key=lambda axis: -x.stride(axis)))


# Goes red with `x[:, :, ::2, ::2]` for the average over 1x1 windows: the gradient comes back contiguous.
def test_the_gradient_of_shortcut_a_stays_channels_last(rng: torch.Generator) -> None:
    images = torch.randn(2, 3, 8, 8, generator=rng).to(memory_format=torch.channels_last).requires_grad_()
    found = SubsampledShortcut(2, 4)(images)
    direction = torch.ones(2, 7, 4, 4).to(memory_format=torch.channels_last)
    (gradient,) = torch.autograd.grad(found, images, direction)
    assert layout(found) == layout(gradient) == (0, 2, 3, 1)
    assert gradient[:, :, ::2, ::2].min() == 1
    assert gradient.sum() == 2 * 3 * 4 * 4


# Goes red when a sum takes its layout from a contiguous operand.
@pytest.mark.parametrize(("shortcut", "version"), FORMS)
def test_every_convolution_meets_channels_last_in_both_directions(
    shortcut: str, version: int, rng: torch.Generator
) -> None:
    net = build("resnet20", classes=5, width=4, shortcut=shortcut, version=version)
    found: dict[str, set[tuple[int, ...]]] = {"input": set(), "gradient": set()}

    def look(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        found["input"].add(layout(inputs[0]))
        output.register_hook(lambda gradient: found["gradient"].add(layout(gradient)))

    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            assert layout(module.weight) == (0, 2, 3, 1) or module.kernel_size == (1, 1)
            module.register_forward_hook(look)
    images = torch.randn(4, 3, 16, 16, generator=rng).to(memory_format=torch.channels_last)
    net(images).sum().backward()
    assert found == {"input": {(0, 2, 3, 1)}, "gradient": {(0, 2, 3, 1)}}


class Copies(TorchDispatchMode):
    """Notes every operation that copies a map without computing anything."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001
        name = func.overloadpacket.__name__
        copies = ("clone", "copy_", "_to_copy", "contiguous")
        if name in copies and any(isinstance(a, Tensor) and a.dim() == 4 for a in args):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("version", [1, 2])
def test_the_forward_pass_copies_nothing(version: int, rng: torch.Generator) -> None:
    net = build("resnet20", classes=5, width=4, version=version)
    images = torch.randn(4, 3, 16, 16, generator=rng).to(memory_format=torch.channels_last)
    with Copies() as copies:
        net(images)
    assert copies.found == []


def test_the_sum_is_written_over_the_blocks_own_result(rng: torch.Generator) -> None:
    block = BasicBlock(4, PLAIN, 1, Style(Parts(), "A"))
    seen: list[int] = []
    block.bn2.register_forward_hook(lambda module, inputs, output: seen.append(output.data_ptr()))
    assert block(torch.randn(2, 4, 8, 8, generator=rng)).data_ptr() == seen[0]


@pytest.mark.parametrize("size", [8, 9, 11, 33])
def test_any_size_from_eight_works(size: int) -> None:
    net = build("resnet20", classes=4, channels=1, size=size, width=2)
    assert net(torch.zeros(2, 1, size, size)).shape == (2, 4)


@pytest.mark.parametrize("depth", [20, 110])
def test_smaller_images_are_refused(depth: int) -> None:
    with pytest.raises(ConfigError) as caught:
        build(f"resnet{depth}", classes=10, size=7)
    assert str(caught.value) == (
        f"resnet{depth} cannot take 7x7 images: it halves the map twice, and its 3x3 convolutions would "
        "then see mostly padding. The smallest images that work are 8x8."
    )


def test_forms_made_by_hand_are_refused_too() -> None:
    with pytest.raises(ConfigError) as caught:
        resnet20(classes=10, channels=3, size=32, form=Form(shortcut="C"))
    assert str(caught.value) == "The shortcut of a resnet must be 'A', 'B' or 'none', not 'C'."
    with pytest.raises(ConfigError) as caught:
        resnet20(classes=10, channels=3, size=32, form=Form(version=3))
    assert str(caught.value) == "The version of a resnet must be 1, 1.5 or 2, not 3."


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("width", 0, "Input should be greater than or equal to 1"),
        ("shortcut", "C", "Input should be 'A', 'B' or 'none'"),
        ("version", 3, "Input should be 1 or 2"),
    ],
)
def test_a_value_that_is_not_allowed(key: str, value: object, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("resnet20", classes=10, **{key: value})
    assert str(caught.value) == f"The option {key!r} of the model 'resnet20' cannot be {value!r}: {reason}."


def test_biases_are_dropped_only_before_a_norm() -> None:
    """S3.88."""
    with_norms, without = (
        build("resnet20", classes=10, norm=norm, shortcut="B", width=2) for norm in ("batch", "none")
    )
    for net, expected in ((with_norms, 0), (without, 21)):
        biases = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.bias is not None]
        assert len(biases) == expected
    assert type(make_norm(Parts(norm="none"), 2)) is nn.Identity


def test_dropout_acts_before_the_classifier_only() -> None:
    net = build("resnet20", classes=10, dropout=0.2, width=2)
    assert [name for name, module in net.named_modules() if isinstance(module, nn.Dropout)] == ["drop"]


def test_kaiming_is_the_default() -> None:
    net = build("resnet20", classes=10)
    assert net.layer1[0].conv1.weight.std().item() == pytest.approx((2 / 144) ** 0.5, rel=0.05)
    # No ReLU follows the classifier: it keeps torch's bound of 1/sqrt(64), and the first loss is near ln 10.
    assert 0.12 < net.fc.weight.abs().max().item() <= 1 / 8


def test_the_first_loss_is_near_ln_k() -> None:
    net = build("resnet20", classes=10)
    images = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    loss = torch.nn.functional.cross_entropy(net(images), torch.arange(64) % 10).item()
    assert abs(loss - math.log(10)) < 0.5


# The large networks ----------------------------------------------------------------------------------------

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def torchvisions(depth: int, *, stem: int = 7, classes: int = 1000) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all weights, from table 1 and torchvision's way of naming."""
    shapes: dict[str, tuple[int, ...]] = {}

    def normed(conv: str, norm: str, out: int, into: int, kernel: int) -> None:
        shapes[f"{conv}.weight"] = (out, into, kernel, kernel)
        shapes[f"{norm}.weight"] = shapes[f"{norm}.bias"] = (out,)

    normed("conv1", "bn1", 64, 3, stem)
    into = 64
    for stage, blocks in enumerate(BLOCKS[depth], 1):
        inner = 32 * 2**stage
        out = inner if depth < 50 else 4 * inner
        for i in range(blocks):
            at = f"layer{stage}.{i}"
            kernels = [(inner, into, 3), (out, inner, 3)]
            if depth >= 50:
                kernels = [(inner, into, 1), (inner, inner, 3), (out, inner, 1)]
            for j, (outputs, inputs, kernel) in enumerate(kernels, 1):
                normed(f"{at}.conv{j}", f"{at}.bn{j}", outputs, inputs, kernel)
            if into != out or (stage > 1 and i == 0):
                normed(f"{at}.downsample.0", f"{at}.downsample.1", out, into, 1)
            into = out
    return shapes | {"fc.weight": (classes, into), "fc.bias": (classes,)}


def ghost(name: str, form: Any = None, **shape: int) -> nn.Module:
    """A network without numbers."""
    shape = {"classes": 1000, "channels": 3, "size": 224} | shape
    with torch.device("meta"):
        return getattr(resnet, name)(**shape, **({} if form is None else {"form": form}))


def counted(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160), (152, 60_192_808)],
)
def test_the_large_networks_have_torchvisions_names_and_the_published_counts(
    depth: int, parameters: int
) -> None:
    """S2.3-6; E2.1: with three blocks in its second stage ResNet-50 would have 25,276,968."""
    expected = torchvisions(depth)
    assert {name: tuple(p.shape) for name, p in ghost(f"resnet{depth}").named_parameters()} == expected
    assert sum(math.prod(shape) for shape in expected.values()) == parameters


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [(18, 11_173_962), (34, 21_282_122), (50, 23_520_842), (101, 42_512_970), (152, 58_156_618)],
)
def test_the_same_for_small_images(depth: int, parameters: int) -> None:
    """S2.8, S3.48: 3x3 instead of 7x7, ten classes instead of a thousand."""
    expected = torchvisions(depth, stem=3, classes=10)
    net = ghost(f"resnet{depth}_cifar", classes=10, size=32)
    assert {name: tuple(p.shape) for name, p in net.named_parameters()} == expected
    assert sum(math.prod(shape) for shape in expected.values()) == parameters


def test_the_7x7_stem_makes_it_the_large_network() -> None:
    """S2.9."""
    with_stem = ghost("resnet18_cifar", resnet.LargeCifar(stem="7x7"), classes=10, size=32)
    assert str(with_stem) == str(ghost("resnet18", classes=10, size=32))
    # 7x7 is 49 numbers per pair of channels where 3x3 is 9.
    assert counted(with_stem) - counted(ghost("resnet18_cifar", classes=10)) == 3 * 64 * (49 - 9)


@pytest.mark.parametrize(("depth", "published"), [(18, 1.8), (34, 3.6), (50, 3.8), (101, 7.6), (152, 11.3)])
def test_multiply_adds_of_version_1_as_in_figure_1(depth: int, published: float) -> None:
    """S2.3-6; the paper for what is garbled there."""
    net = ghost(f"resnet{depth}", resnet.Large(version="1"))
    assert summarise(net, (3, 224, 224)).macs / 1e9 == pytest.approx(published, rel=0.03)


def test_what_version_1_5_costs_more_by_hand() -> None:
    """S3.49: the first 1x1 of a stage sees four times as many pixels, and the 3x3 what it saw before."""
    first, later = (
        summarise(ghost("resnet50", resnet.Large(version=version)), (3, 224, 224)).macs
        for version in ("1", "1.5")
    )
    assert later - first == sum(
        (4 - 1) * side**2 * into * inner
        for side, into, inner in [(28, 256, 128), (14, 512, 256), (7, 1024, 512)]
    )


def test_versions_are_texts_and_numbers_alike() -> None:
    nets = [build("resnet50-cifar", classes=2, width=4, blocks=1, version=v) for v in ("1.5", 1.5, "v1.5")]
    assert len({str(net) for net in nets}) == 1
    with pytest.raises(ConfigError) as caught:
        build("resnet50", classes=2, version=1.4)
    assert str(caught.value) == (
        "The option 'version' of the model 'resnet50' cannot be 1.4: Input should be '1', '1.5' or '2'."
    )


def test_preactivation_has_its_norms_one_convolution_later() -> None:
    """Norms of projections fall away, those of blocks stand before their convolutions."""
    assert counted(ghost("preactresnet18", classes=10, size=32)) == 11_173_962 - 2 * (128 + 256 + 512)
    assert counted(ghost("preactresnet18", classes=10, size=32)) == 11_172_170


def test_the_pooling_network_sees_what_every_block_puts_out(rng: torch.Generator) -> None:
    """S2.14: 64 + 64 + 128 + 128 + 256 + 256 + 512 + 512 = 1920 means."""
    assert counted(ghost("resnet18_pooling", classes=10)) == 11_173_962 - 5_130 + 1920 * 10 + 10 == 11_188_042
    net = build("resnet18-pooling", classes=3, width=2).eval()
    plain = build("resnet18-cifar", classes=3, width=2).eval()
    images = torch.randn(2, 3, 8, 8, generator=rng)
    seen: list[Tensor] = []
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        for block in plain.get_submodule(stage):
            block.register_forward_hook(lambda module, inputs, output: seen.append(output.mean((2, 3))))
    body = {key: value for key, value in net.state_dict().items() if not key.startswith("fc.")}
    plain.load_state_dict(body | {f"fc.{key}": value for key, value in plain.fc.state_dict().items()})
    plain(images)
    torch.testing.assert_close(net(images), net.fc(torch.cat(seen, 1)))


def test_blocks_are_an_option() -> None:
    """Three blocks a stage is what ResNet-20 has, five what ResNet-32 has."""
    assert counted(build("resnet20", classes=10, blocks=5)) == counted(build("resnet32", classes=10))
    assert len(build("resnet50-cifar", classes=2, width=4, blocks=2).layer3) == 2
