"""Which networks and blocks compute the same, and what do their parts do?

The blocks are those of the zoo, in float64 and with norms as if they had
learned: a fresh norm would hide much.

    N  images      C  channels      H, W  pixels
"""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.compute.fences import seeded
from convscope.models import build, nin
from convscope.models.blocks import GlobalAvgPool2d, Parts, Width
from convscope.models.grow import grow
from convscope.models.residual import (
    BasicBlock,
    Bottleneck,
    PreActivationBlock,
    PreActivationBottleneck,
    SplitBottleneck,
    SqueezeExcitation,
    Stage,
    Style,
)

from . import Finding
from .numbers import ROUNDING, apart, drawn, experienced

CARDINALITY = 32
NORMED = Parts(init="kaiming")
BARE = Parts(norm="none")


def architectures() -> Iterator[Finding]:
    """Network in Network, global pools, residual networks and ResNeXt, block by block."""
    yield _network_in_network()
    yield _global_pool_forgets()
    yield _global_pool_is_free()
    yield _zero_weights()
    yield _zero_weights_below_zero()
    yield _zero_weights_of_version_2()
    yield _halves()
    yield _embedded()
    yield _embedded_by_grow()
    yield _embedded_without_relu()
    yield _ignored()
    yield _looked_at()
    yield _paths()
    yield _biases()
    yield _excitation()


def _network_in_network() -> Finding:
    with seeded(0):
        network: Any = nin.nin(classes=3, channels=2, size=6, form=Width(1 / 16))
    block, x = network.block1.double(), drawn(1, 2, 2, 6, 6)
    for i, layer in enumerate(block):  # they start at zero, where one that is forgotten would not show
        layer.conv.bias.data.copy_(drawn(20 + i, len(layer.conv.bias)))
    convolved = block(x)
    by_patch = torch.zeros_like(convolved)
    patches = F.unfold(x, 5, padding=2)  # (N, 2 * 5 * 5, 36)
    for n, place in itertools.product(range(2), range(36)):
        hidden = patches[n, :, place]
        for layer in block:
            hidden = F.linear(hidden, layer.conv.weight.flatten(1), layer.conv.bias).relu()
        by_patch[n, :, place // 6, place % 6] = hidden
    error = apart(convolved, by_patch)
    return Finding(
        "A block of Network in Network, a small perceptron that acts on every patch, is an f x f convolution and two "
        "1x1 convolutions, each with its activation.",
        "S3.41",
        f"On the 72 patches of 5x5 of two images the perceptron {50}-{'-'.join(str(len(la.conv.bias)) for la in block)} "
        f"differs from the network's first block by at most {error:.1e}.",
        error < ROUNDING,
    )


def _global_pool_forgets() -> Finding:
    x, pool = drawn(2, 2, 5, 6, 6), GlobalAvgPool2d()
    orders = drawn(3, 50, 36).argsort(1)
    mixed = [x.flatten(2)[:, :, order].view_as(x) for order in orders]
    error = max(apart(pool(image), pool(x)) for image in mixed)
    return Finding(
        "Global average pool removes the spatial dependency, and so it is translation invariant.",
        "S3.42",
        f"In {len(orders)} arbitrary orders of the 36 pixels the averages differ by at most {error:.1e}.",
        error < ROUNDING,
    )


def _global_pool_is_free() -> Finding:
    pool, linear = GlobalAvgPool2d(), nn.Linear(192 * 8 * 8, 10, device="meta")
    counts = [sum(p.numel() for p in module.parameters()) for module in (pool, linear)]
    return Finding(
        "The global average pool has no trainable parameters; linear layers have many.",
        "S3.42",
        f"It has {counts[0]}; a linear layer from the 192 maps of 8x8 that it averages to ten classes has {counts[1]:,}.",
        counts == [0, 192 * 8 * 8 * 10 + 10],
    )


def _block(kind: type[Any], version: str, *, out: int = 16, stride: int = 1, shortcut: Any = "B") -> Any:
    """A block of the zoo that gets 16 maps; its first activation is its own."""
    inner = out if kind in (BasicBlock, PreActivationBlock) else 8
    style = Style(NORMED, shortcut, version)
    more = {"activated": False} if version == "2" else {}
    with seeded(4):
        block = kind(16, Stage(1, inner, out, stride), stride, style, **more)
    return experienced(block, 5)


VERSION_1 = ((BasicBlock, "1"), (Bottleneck, "1"), (Bottleneck, "1.5"))
VERSION_2 = ((PreActivationBlock, "2"), (PreActivationBottleneck, "2"))


def _change(kinds: Any, x: Tensor) -> float:
    """How much blocks without a weight that is not zero change what they get, at most."""
    changes = []
    for kind, version in kinds:
        block = _block(kind, version)
        for parameter in block.parameters():
            nn.init.zeros_(parameter)
        changes.append(apart(block(x.clone()), x))
    return max(changes)


def _zero_weights() -> Finding:
    change = _change(VERSION_1, drawn(6, 2, 16, 6, 6).relu())
    return Finding(
        "In a residual block, all weights zero correspond to the identity.",
        "S3.45",
        f"Basic block and bottlenecks change what comes from a ReLU, as everything does in the network, by {change:g}.",
        change == 0,
    )


def _zero_weights_below_zero() -> Finding:
    x = drawn(6, 2, 16, 6, 6)
    change = _change(VERSION_1, x)
    return Finding(
        "All weights zero are the identity for every input of a block that ends with a ReLU.",
        "S3.45, S3.50",
        f"Numbers below zero become zero: the largest change is {change:.2f}, and the smallest number was {x.min():.2f}.",
        change == 0,
        true=False,
    )


def _zero_weights_of_version_2() -> Finding:
    change = _change(VERSION_2, drawn(6, 2, 16, 6, 6))
    return Finding(
        "In version 2, where all operations come before the addition, the identity can be learned for every input.",
        "S3.50",
        f"With all weights zero, its two kinds of blocks change numbers of both signs by {change:g}.",
        change == 0,
    )


def _halves() -> Finding:
    x, wrong, cases = drawn(7, 1, 16, 8, 8), 0, 0
    for (kind, version), shortcut in itertools.product(VERSION_1 + VERSION_2, ("A", "B")):
        regular = _block(kind, version, shortcut=shortcut)(x.clone())
        halved = _block(kind, version, out=32, stride=2, shortcut=shortcut)(x.clone())
        cases += 1
        wrong += (regular.shape, halved.shape) != ((1, 16, 8, 8), (1, 32, 4, 4))
    return Finding(
        "A regular block preserves spatial dimension and number of channels; a down-sampling block halves the one and "
        "changes the other.",
        "S3.45",
        f"Of {cases} pairs, all kinds of blocks with both kinds of shortcuts, {cases - wrong} make 16x8x8 of 16x8x8, and "
        "32x4x4 with stride 2.",
        not wrong,
    )


def _pair(**options: Any) -> tuple[nn.Module, nn.Module]:
    """ResNet-18 and ResNet-34, each with its own weights."""
    shallow, deep = (
        build(name, classes=10, channels=3, size=16, width=4, seed=seed, **options)
        for seed, name in enumerate(("resnet18-cifar", "resnet34-cifar"))
    )
    return experienced(shallow, 8), experienced(deep, 9)


def _fit(deep: nn.Module, shallow: nn.Module) -> int:
    """Copy all that both have, set the other parameters to zero; returns how many tensors that were."""
    known, zeros = shallow.state_dict(), 0
    parameters = dict(deep.named_parameters())
    for name, tensor in deep.state_dict().items():
        if name in known:
            tensor.copy_(known[name])
        elif name in parameters:
            zeros += 1
            tensor.zero_()
    return zeros


@torch.no_grad()
def _logits(*networks: nn.Module) -> list[Tensor]:
    return [network(drawn(10, 4, 3, 16, 16)) for network in networks]


def _embedded() -> Finding:
    shallow, deep = _pair()
    before, own = _logits(shallow, deep)
    zeros = _fit(deep, shallow)
    error = apart(before, *_logits(deep))
    return Finding(
        "A trained ResNet-18 can be exactly fitted into a ResNet-34: copy over the parameters and set those of the "
        "additional blocks to 0.",
        "S3.46",
        f"With {zeros} tensors of parameters zero the logits differ by {error:g}; before they differed by "
        f"{apart(before, own):.1f}.",
        error == 0,
    )


def _embedded_by_grow() -> Finding:
    shallow, deep = _pair()
    grown = grow(deep.float(), shallow.float())
    deep.double(), shallow.double()
    error = apart(*_logits(shallow, deep))
    return Finding(
        "A trained ResNet-18 fits into a ResNet-34 with only the last norm of each additional block at zero.",
        "S3.46, S3.93",
        f"`grow` copies {len(grown.copied)} layers and makes {len(grown.identities)} blocks the identity; the logits "
        f"differ by {error:g}.",
        error == 0,
    )


def _embedded_without_relu() -> Finding:
    names = ("leaky-relu", "swish", "tanh")
    errors = {}
    for name in names:
        shallow, deep = _pair(activation=name)
        _fit(deep, shallow)
        errors[name] = apart(*_logits(shallow, deep))
    found = ", ".join(f"{error:.2f} for {name}" for name, error in errors.items())
    return Finding(
        "With parameters copied and zero, ResNet-18 fits into ResNet-34 whatever the activation.",
        "S3.46",
        f"ReLU is idempotent, others are not: the logits differ by up to {found}.",
        max(errors.values()) < ROUNDING,
        true=False,
    )


def _without_gradient(version: str) -> tuple[int, int]:
    """(pixels of the map that a down-sampling bottleneck ignores, pixels)."""
    block = _block(Bottleneck, version, out=32, stride=2)
    x = drawn(11, 1, 16, 8, 8).requires_grad_()
    (gradient,) = torch.autograd.grad(block(x).square().sum(), x)
    return int((gradient == 0).all(1).sum()), 64


def _ignored() -> Finding:
    ignored, pixels = _without_gradient("1")
    return Finding(
        "In bottleneck blocks that perform down-sampling, the 1x1 convolution with stride 2 ignores 75 % of the neurons.",
        "S3.49",
        f"In version 1, {ignored} of {pixels} places of the map, {ignored / pixels:.0%}, have no gradient.",
        4 * ignored == 3 * pixels,
    )


def _looked_at() -> Finding:
    ignored, pixels = _without_gradient("1.5")
    return Finding(
        "ResNet v1.5, which has the stride in the 3x3 convolution, ignores none.",
        "S3.49",
        f"In version 1.5, {ignored} of {pixels} places of the map have no gradient.",
        ignored == 0,
    )


def _resnext(parts: Parts) -> tuple[Any, Any]:
    """(block a, block b with its weights and grouped convolutions): 32 paths of width 2 from 16 maps to 24."""
    stage = Stage(1, 2 * CARDINALITY, 24, 1)
    with seeded(12):
        explicit: Any = SplitBottleneck(16, stage, 1, Style(parts, "B", groups=CARDINALITY, explicit=True))
        grouped: Any = Bottleneck(16, stage, 1, Style(parts, "B", bottleneck=True, groups=CARDINALITY))
    experienced(explicit, 13), experienced(grouped, 14)
    _join([path[0] for path in explicit.paths], grouped.conv1)
    _join([path[1] for path in explicit.paths], grouped.bn1)
    _join([path[3] for path in explicit.paths], grouped.conv2)
    _join([path[4] for path in explicit.paths], grouped.bn2)
    last = [path[-1] for path in explicit.paths]
    grouped.conv3.weight.data.copy_(torch.cat([layer.weight.detach() for layer in last], 1))
    if grouped.conv3.bias is not None:
        grouped.conv3.bias.data.copy_(sum(layer.bias.detach() for layer in last))
    for name in ("bn3", "downsample"):
        getattr(grouped, name).load_state_dict(getattr(explicit, name).state_dict())
    return explicit, grouped


def _join(layers: list[nn.Module], whole: nn.Module) -> None:
    """Give a layer the channels of all paths, one path after the other."""
    for name, tensor in whole.state_dict().items():
        if tensor.ndim:
            tensor.copy_(torch.cat([layer.state_dict()[name] for layer in layers]))


def _concatenated(explicit: Any, grouped: Any, x: Tensor) -> Tensor:
    """Block (b): the paths side by side up to their second convolution, one 1x1 convolution for all."""
    side_by_side = torch.cat([path[:-1](x) for path in explicit.paths], 1)
    block: Tensor = grouped.bn3(grouped.conv3(side_by_side)) + grouped.downsample(x)
    return block.relu()


def _paths() -> Finding:
    explicit, grouped = _resnext(NORMED)
    x = drawn(15, 2, 16, 6, 6)
    results = [explicit(x), _concatenated(explicit, grouped, x), grouped(x)]
    error = max(apart(results[0], other) for other in results[1:])
    return Finding(
        "Blocks (a) and (b) of ResNeXt are equivalent: a sum of 1x1 convolutions is one of concatenated maps.",
        "S3.51",
        f"With {CARDINALITY} paths the sum of paths, the concatenation, and a grouped convolution in its place differ "
        f"by at most {error:.1e}.",
        error < ROUNDING,
    )


def _biases() -> Finding:
    explicit, grouped = _resnext(BARE)
    x = drawn(15, 2, 16, 6, 6)
    error = apart(explicit(x), grouped(x))
    counts = [sum(p.numel() for p in block.parameters()) for block in (explicit, grouped)]
    return Finding(
        "Block (a) has 32 bias terms which are added to serve the role of the single bias term of block (b).",
        "S3.51",
        f"Without norms, the bias of (b) being the sum of the {CARDINALITY} biases of (a), they differ by at most "
        f"{error:.1e}; (a) has {counts[0] - counts[1]} parameters more, {CARDINALITY - 1} times the 24 maps.",
        error < ROUNDING and counts[0] - counts[1] == (CARDINALITY - 1) * 24,
    )


def _excitation() -> Finding:
    with seeded(16):
        layer: Any = SqueezeExcitation(16, 4, NORMED).double()
    x = drawn(17, 3, 16, 5, 5)
    w1, b1, w2, b2 = (parameter.detach().flatten(1) if parameter.ndim > 1 else parameter.detach()
                      for parameter in layer.parameters())  # fmt: skip
    scale = 1 / (1 + (-((x.mean((2, 3)) @ w1.T + b1).relu() @ w2.T + b2)).exp())
    error = apart(layer(x), x * scale[:, :, None, None])
    return Finding(
        "Squeeze and excitation multiplies each channel by a number in (0, 1) that a bottleneck computes from the "
        "global averages.",
        "S3.52",
        f"Written with matrices it differs by at most {error:.1e}; the 48 numbers lie between {scale.min():.2f} and "
        f"{scale.max():.2f}.",
        error < ROUNDING and 0 < float(scale.min()) < float(scale.max()) < 1,
    )
