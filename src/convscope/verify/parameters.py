"""Have the networks the sizes that the documents print?

Networks are built on torch's meta device, which knows shapes and no numbers:
ResNet-152 takes no memory.

    M, N  channels in and out of a layer      K  classes
"""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from torch import nn

from convscope.compute.fences import seeded
from convscope.models import alexnet, googlenet, lenet, nin, resnet, simplenn, summarise, vgg
from convscope.models.baseline import HiddenLayers, mlp
from convscope.models.blocks import Parts, make_conv
from convscope.models.graph import follow
from convscope.models.residual import ResNet, Style
from convscope.models.resnet import Form, Large

from . import Finding

CIFAR = {"classes": 10, "channels": 3, "size": 32}
IMAGENET = {"classes": 1000, "channels": 3, "size": 224}
Make = Callable[..., nn.Module]


def parameters() -> Iterator[Finding]:
    """Parameters, multiply-adds and layers as printed, and what depthwise separable convolutions save."""
    yield _simplenn_layers()
    yield _simplenn_total()
    yield _small_resnets()
    yield _resnets_for_imagenet()
    yield _resnets_for_cifar()
    yield _second_stage()
    yield _split("AlexNet", alexnet.alexnet, (2_469_696, 58_631_144), "S3.34")
    yield _split("VGG19", vgg.vgg19, (20_024_384, 123_642_856), "S3.36")
    yield _towers()
    yield _vgg()
    yield _lectures()
    yield _modules()
    yield _third_module()
    yield _hidden_units()
    yield _multiply_adds()
    yield _garbled()
    yield _depths()
    yield _separable()
    yield _ratio()
    yield _nine()
    yield _nine_in_networks()


def _bare(make: Make, shape: dict[str, int] = CIFAR, **options: Any) -> nn.Module:
    """The network without numbers, in evaluation mode."""
    with torch.device("meta"), seeded(0):
        return make(**shape, **options).eval()


def _count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _compared(
    statement: str, source: str, stated: dict[str, int], makes: dict[str, Callable[[], nn.Module]]
) -> Finding:
    """Whether networks have as many parameters as is stated."""
    found = {name: _count(makes[name]()) for name in stated}
    listed = ", ".join(f"{name} {count:,}" for name, count in found.items())
    return Finding(statement, source, f"Built, they have: {listed}.", found == stated)


def _simplenn_layers() -> Finding:
    stated = {"conv1": 600, "conv2": 1152, "fc1": 69_120, "fc2": 10_080, "fc3": 840}
    rows = summarise(_bare(simplenn.simplenn), (3, 32, 32)).rows
    found = {row.name: row.weights for row in rows if row.weights}
    shapes = [row.output for row in rows if row.name in ("conv1", "pool1", "conv2", "pool2")]
    listed = ", ".join(f"{name} {count:,}" for name, count in found.items())
    return Finding(
        "SimpleNN has 3 x 8 x 5 x 5 = 600, 1152, 69120, 10080 and 840 weights, and maps of 8x28x28, 8x14x14, 16x12x12 "
        "and 16x6x6.",
        "S1.16, S1.17",
        f"Built, it has {listed}, and maps of {', '.join('x'.join(map(str, shape)) for shape in shapes)}.",
        found == stated and shapes == [(8, 28, 28), (8, 14, 14), (16, 12, 12), (16, 6, 6)],
    )


def _simplenn_total() -> Finding:
    rows = summarise(_bare(simplenn.simplenn), (3, 32, 32)).rows
    layers = [row.parameters for row in rows if row.parameters]
    normed = _count(_bare(simplenn.simplenn, parts=Parts(norm="batch")))
    return Finding(
        "With biases SimpleNN's layers have 608, 1,168, 69,240, 10,164 and 850 parameters, 82,030 in all, and 82,078 "
        "with batch norm.",
        "S1.18, X1.6",
        f"Built, they have {', '.join(f'{each:,}' for each in layers)}, {sum(layers):,} in all, and with batch norm "
        f"{normed:,}.",
        layers == [608, 1168, 69_240, 10_164, 850] and normed == 82_078,
    )


def _small_resnets() -> Finding:
    return _compared(
        "ResNet-20 has 269,722 parameters with shortcut A and 272,474 with shortcut B.",
        "S1.49",
        {"A": 269_722, "B": 272_474},
        {each: partial(_bare, resnet.resnet20, form=Form(shortcut=each)) for each in ("A", "B")},
    )


RESNETS = {
    18: (resnet.resnet18, resnet.resnet18_cifar),
    34: (resnet.resnet34, resnet.resnet34_cifar),
    50: (resnet.resnet50, resnet.resnet50_cifar),
    101: (resnet.resnet101, resnet.resnet101_cifar),
    152: (resnet.resnet152, resnet.resnet152_cifar),
}


def _resnets_for_imagenet() -> Finding:
    stated = (11_689_512, 21_797_672, 25_557_032, 44_549_160, 60_192_808)
    return _compared(
        "ResNet-18, 34, 50, 101 and 152 for 1000 classes have the parameters that their tables imply.",
        "S2.3, S2.4, S2.5, S2.6",
        {f"ResNet-{depth}": count for depth, count in zip(RESNETS, stated, strict=True)},
        {f"ResNet-{depth}": partial(_bare, large, IMAGENET) for depth, (large, _) in RESNETS.items()},
    )


def _resnets_for_cifar() -> Finding:
    stated = (11_173_962, 21_282_122, 23_520_842, 42_512_970, 58_156_618)
    return _compared(
        "ResNet-18, 34, 50, 101 and 152 with a 3x3 first convolution, for ten classes, have theirs; ResNet-18 11,173,962.",
        "S2.8, S3.48",
        {f"ResNet-{depth}": count for depth, count in zip(RESNETS, stated, strict=True)},
        {f"ResNet-{depth}": partial(_bare, small) for depth, (_, small) in RESNETS.items()},
    )


def _second_stage() -> Finding:
    stages = resnet.large_stages(50, 64, 0)
    three = [
        stage if i != 1 else type(stage)(3, stage.inner, stage.out, stage.stride)
        for i, stage in enumerate(stages)
    ]
    style = Style(Parts(), "B", "1.5", bottleneck=True)
    with torch.device("meta"):
        printed, published = (_count(ResNet(1000, 3, "7x7", 64, each, style)) for each in (three, stages))
    return Finding(
        "ResNet-50 has three blocks in conv3_x.",
        "E2.1",
        f"With three it has {printed:,} parameters, with four the published {published:,}.",
        printed == 25_557_032,
        true=False,
    )


def _split(name: str, make: Make, stated: tuple[int, int], source: str) -> Finding:
    summary = summarise(_bare(make, IMAGENET), (3, 224, 224))
    found = (summary.of("convolutions")[0], summary.of("linear")[0])
    share = [f"{each:,} ({each / sum(found):.0%})" for each in found]
    return Finding(
        f"{name} has {stated[0]:,} parameters in convolutions and {stated[1]:,} in linear layers, {sum(stated):,} in all.",
        source,
        f"Built, it has {share[0]} and {share[1]}, {summary.parameters:,} in all.",
        found == stated and summary.parameters == sum(stated),
    )


def _towers() -> Finding:
    counts = {
        towers: _count(_bare(alexnet.alexnet, IMAGENET, form=alexnet.Form(towers=towers)))
        for towers in (1, 2)
    }
    return Finding(
        "The AlexNet of two towers that the slide draws has 61,100,840 parameters.",
        "E3.4",
        f"It has {counts[2]:,}; {counts[1]:,} are those of the later one with a single tower.",
        counts[2] == 61_100_840,
        true=False,
    )


def _vgg() -> Finding:
    return _compared(
        "VGG-A has 132,863,336 parameters and VGG16 138,357,544; VGG-A with a small head for ten classes has 9,750,922.",
        "S3.35, X2.2",
        {"VGG-A": 132_863_336, "VGG16": 138_357_544, "VGG-A for CIFAR-10": 9_750_922},
        {
            "VGG-A": partial(_bare, vgg.vgg11, IMAGENET),
            "VGG16": partial(_bare, vgg.vgg16, IMAGENET),
            "VGG-A for CIFAR-10": partial(_bare, vgg.vgg11_cifar),
        },
    )


def _lectures() -> Finding:
    gray = {**CIFAR, "channels": 1}
    return _compared(
        "The lecture's LeNet-5 has 61,706 parameters, and 62,006 for colour; its networks for CIFAR-10 have 58,375,114 "
        "(AlexNet), 32,850,250 (VGG), 966,986 (NiN) and 6,180,410 (GoogLeNet).",
        "X3.1, X3.2, X3.3, X3.4, X3.5",
        {
            "LeNet-5": 61_706,
            "LeNet-5 for colour": 62_006,
            "AlexNet": 58_375_114,
            "VGG": 32_850_250,
            "NiN": 966_986,
            "GoogLeNet": 6_180_410,
        },
        {
            "LeNet-5": partial(_bare, lenet.lenet5, gray),
            "LeNet-5 for colour": partial(_bare, lenet.lenet5),
            "AlexNet": partial(_bare, alexnet.alexnet_cifar),
            "VGG": partial(_bare, vgg.vgg13_cifar),
            "NiN": partial(_bare, nin.nin),
            "GoogLeNet": partial(_bare, googlenet.googlenet_cifar),
        },
    )


def _modules() -> Finding:
    stated = {
        "3a": 256,
        "3b": 480,
        "4a": 512,
        "4b": 512,
        "4c": 512,
        "4d": 528,
        "4e": 832,
        "5a": 832,
        "5b": 1024,
    }
    network: Any = _bare(googlenet.googlenet, IMAGENET, form=googlenet.Form(variant="paper"))
    found, into = {}, 192
    for name in stated:
        module = network.get_submodule(f"inception{name}")
        into = found[name] = module(torch.empty(1, into, 7, 7, device="meta")).shape[1]
    count = _count(network)
    return Finding(
        "GoogLeNet's nine modules put out 256, 480, 512, 512, 512, 528, 832, 832 and 1024 channels, and it has about 7.0 "
        "million parameters.",
        "X3.6, S3.43",
        f"Built, they put out {', '.join(map(str, found.values()))}, and it has {count:,}.",
        found == stated and round(count / 1e6, 1) == 7.0,
    )


def _third_module() -> Finding:
    found = {}
    for which in ("paper", "slide"):
        network: Any = _bare(googlenet.googlenet_cifar, form=googlenet.SmallForm(module_3b=which))
        found[which] = network.stage3(torch.empty(1, 192, 4, 4, device="meta")).shape[1]
    return Finding(
        "GoogLeNet's second module, drawn with 128, 256, 64 and 64 channels, puts out 480.",
        "E3.16",
        f"These are {found['slide']}; the paper's 128, 192, 96 and 64 are {found['paper']}.",
        found["slide"] == 480,
        true=False,
    )


def _hidden_units() -> Finding:
    d, k = 784, 10
    sides = {"classes": k, "channels": 1, "size": 28}
    wrong = [
        h
        for h in (1, 50, 51, 1000)
        if _count(_bare(mlp, sides, form=HiddenLayers(width=h))) != (d + 1) * h + (h + 1) * k
    ]
    threshold = (4000 * k - k) / (d + 1 + k)
    return Finding(
        "A perceptron with H hidden units has (d + 1) H + (H + 1) K parameters; for 4,000 digits of 784 pixels they "
        "reach n K = 40,000 at about 50.3 units.",
        "S3.18",
        f"Of 4 widths up to 1000 the formula is wrong for {len(wrong)}, and 40,000 is reached at H = {threshold:.2f}.",
        not wrong and round(threshold, 1) == 50.3,
    )


PRINTED = {18: 1.8e9, 34: 3.6e9, 50: 3.8e9, 101: 7.6e9, 152: 11.3e9}
"""What the table calls FLOPs."""


def _macs(depth: int) -> int:
    """Without norms, which count none and take most of the time."""
    make, _ = RESNETS[depth]
    network = _bare(make, IMAGENET, parts=Parts(norm="none"), form=Large(version="1"))
    return summarise(network, (3, 224, 224)).macs


def _multiply_adds() -> Finding:
    found = {depth: _macs(depth) for depth in (18, 34, 50, 101)}
    far = max(abs(found[depth] / PRINTED[depth] - 1) for depth in found)
    listed = ", ".join(f"{count / 1e9:.2f}" for count in found.values())
    return Finding(
        "ResNet-18, 34, 50 and 101 need 1.8, 3.6, 3.8 and 7.6 billion multiply-adds for an image of 224x224.",
        "S2.3, S2.4, S2.5, S2.6",
        f"They need {listed} billion, at most {far:.1%} from that.",
        far < 0.03,
    )


def _garbled() -> Finding:
    found = _macs(152)
    return Finding(
        "ResNet-152 needs 41.3 billion multiply-adds.",
        "E2.1",
        f"It needs {found / 1e9:.1f} billion, the {PRINTED[152] / 1e9:.1f} of the paper.",
        math.isclose(found, 41.3e9, rel_tol=0.03),
        true=False,
    )


def _depth(network: nn.Module) -> int:
    """Convolutions and linear layers on the longest way through the network."""
    longest: dict[Any, int] = {}
    graph = follow(network)
    for node in graph.nodes:
        layer = network.get_submodule(str(node.target)) if node.op == "call_module" else None
        before = max((longest[each] for each in node.all_input_nodes), default=0)
        longest[node] = before + isinstance(layer, nn.Conv2d | nn.Linear)
    return max(longest.values())


def _depths() -> Finding:
    stated: dict[tuple[str, Make], int] = {
        ("AlexNet", alexnet.alexnet): 8,
        ("VGG16", vgg.vgg16): 16,
        ("VGG19", vgg.vgg19): 19,
        ("GoogLeNet", googlenet.googlenet): 22,
        **{(f"ResNet-{depth}", large): depth for depth, (large, _) in RESNETS.items()},
    }
    found = {name: _depth(_bare(make, IMAGENET)) for name, make in stated}
    listed = ", ".join(f"{name} {depth}" for name, depth in found.items())
    return Finding(
        "AlexNet has 8 layers, VGG16 and VGG19 16 and 19, GoogLeNet 22, and ResNets as many as their names say, if "
        "batch norms are not counted.",
        "S3.35, S3.36, S3.43, S3.45, S3.53",
        f"The longest ways through the networks pass so many convolutions and linear layers: {listed}.",
        list(found.values()) == list(stated.values()),
    )


def _both(m: int, n: int, d: int) -> list[tuple[int, int]]:
    """(weights, multiply-adds) of a 3x3 convolution from M to N channels and of its separable version, map D x D."""
    found = []
    for separable in (False, True):
        with torch.device("meta"):
            layer = make_conv(Parts(separable=separable), m, n, 3, padding=1)
        summary = summarise(layer, (m, d, d))
        found.append((summary.weights, summary.macs))
    return found


SHAPES = [(m, n, d) for m in (3, 16, 64) for n in (16, 32, 64, 512) for d in (7, 32)]


def _separable() -> Finding:
    wrong = 0
    for m, n, d in SHAPES:
        full, separable = (9 * m * n, 9 * m * n * d * d), (9 * m + m * n, 9 * m * d * d + d * d * m * n)
        wrong += _both(m, n, d) != [full, separable]
    return Finding(
        "A depthwise separable convolution has 3 x 3 x M x D x D + D x D x M x N multiply-adds and 3 x 3 x M + M x N "
        "parameters.",
        "S1.8",
        f"Of {len(SHAPES)} layers, and as many 3x3 convolutions, {wrong} have other counts.",
        not wrong,
    )


def _saved(n: int) -> Fraction:
    full, separable = _both(8, n, 8)
    return Fraction(full[1], separable[1])


def _ratio() -> Finding:
    channels = (16, 32, 64, 512)
    wrong = [n for n in channels if _saved(n) != Fraction(9 * n, n + 9)]
    listed = ", ".join(f"{float(_saved(n)):.2f} for N = {n}" for n in channels)
    return Finding(
        "A depthwise separable convolution needs 9N/(N + 9) times fewer multiply-adds than a 3x3 convolution.",
        "E1.3",
        f"The ratios of the counts are {listed}; {len(wrong)} of {len(channels)} differ from the formula.",
        not wrong,
    )


def _nine() -> Finding:
    n = next(n for n in range(1, 10_000) if Fraction(9 * n, n + 9) >= Fraction(895, 100))
    return Finding(
        "A depthwise separable convolution needs 9 times fewer multiply-adds than a 3x3 convolution.",
        "E1.3, S1.8",
        f"With 16 channels it is {float(_saved(16)):.1f} times fewer; 9N/(N + 9) is below 9 for every N, and "
        f"reaches {float(_saved(n)):.2f} at N = {n:,}.",
        all(_saved(k) == 9 for k in (16, n)),
        true=False,
    )


def _nine_in_networks() -> Finding:
    """The 3x3 convolutions, each with what takes its place."""
    saved = {}
    for name, make in (("ResNet-20", resnet.resnet20), ("ResNet-18 for CIFAR-10", resnet.resnet18_cifar)):
        macs = []
        for separable in (False, True):
            network = _bare(make, parts=Parts(norm="none", separable=separable))
            rows = summarise(network, (3, 32, 32)).rows
            macs.append(
                sum(row.macs for row in rows if row.group == "convolutions" and "downsample" not in row.name)
            )
        saved[name] = macs[0] / macs[1]
    listed = " and ".join(f"{ratio:.2f} in {name}" for name, ratio in saved.items())
    return Finding(
        "Replacing all 3x3 convolutions of a ResNet with depthwise separable ones saves approximately a factor of 9 in "
        "these layers.",
        "E1.3, S1.8",
        f"The multiply-adds of these layers become fewer by a factor of {listed}.",
        all(round(ratio) == 9 for ratio in saved.values()),
        true=False,
    )
