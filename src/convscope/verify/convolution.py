"""What is a convolution: a formula, a matrix, a size, a count?

Every statement is computed from its own words, in loops, and compared with
torch's convolutions and pools, and with what `convscope summary` counts.

    C  channels      H, W  pixels      F  of a filter      P  of padding      S  of a stride
    M, N  channels in and out      D  pixels per side of the output
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from convscope.models import build, summarise

from . import Finding
from .numbers import ROUNDING, apart, drawn

GRID = [(w, f, p, s) for w in range(1, 13) for f in range(1, 6) for p in range(4) for s in range(1, 5)]
"""(W, F, P, S); 960 of them."""
COUNTED = ("lenet5", "simplenn", "resnet20", "resnet18-cifar", "preactresnet18", "resnext29", "se-resnet20")


def convolution() -> Iterator[Finding]:
    """A convolution is a sum, a matrix with shared weights, a fully connected layer at each place, and a count."""
    yield _formula()
    yield _alone()
    yield _row()
    yield _matrix()
    yield _shared()
    yield _examples()
    yield _unseen()
    yield _sizes()
    yield _sizes_of_pools()
    yield _ceil()
    yield _always_up()
    yield _pixelwise()
    yield _pixelwise_count()
    yield _stacked()
    yield _products()
    yield _networks()


def _formula() -> Finding:
    x, w, b = drawn(1, 2, 3, 6, 5), drawn(2, 4, 3, 3, 2), drawn(3, 4)
    by_hand = np.zeros((2, 4, 4, 4))
    for k, n, i, j in np.ndindex(*by_hand.shape):
        terms = (w[n, c, a, e] * x[k, c, i + a, j + e] for c, a, e in np.ndindex(3, 3, 2))
        by_hand[k, n, i, j] = float(b[n] + sum(terms))
    error = apart(F.conv2d(x, w, b), torch.from_numpy(by_hand))
    return Finding(
        "Y[k,l,i,j] = sum over c,a,e of w[l,c,a,e] X[k,c,i+a-1,j+e-1] + b[l], of size (m-f1+1) x (n-f2+1).",
        "S3.2",
        f"Written out as loops for 2 images of 3x6x5 and 4 filters of 3x3x2, the {by_hand.size} sums differ from "
        f"torch's by at most {error:.1e}.",
        error < ROUNDING,
    )


def _alone() -> Finding:
    x, w = drawn(4, 5, 3, 8, 8), drawn(5, 4, 3, 3, 3)
    together = F.conv2d(x, w)
    alone = torch.cat([F.conv2d(image[None], w) for image in x])
    biased = F.conv2d(x, w, torch.zeros(4, dtype=w.dtype))
    error = max(apart(together, alone), apart(together, biased))
    return Finding(
        "A convolution treats every image of a batch by itself, and without a bias as with a bias of zero.",
        "S3.2",
        f"5 images together and one by one, with a bias of zero and with none, differ by at most {error:.1e}.",
        error < ROUNDING,
    )


def _row() -> Finding:
    x, w = drawn(6, 8), drawn(7, 3)
    banded = torch.zeros(6, 8, dtype=w.dtype)
    for i in range(6):
        banded[i, i : i + 3] = w
    error = apart(F.conv1d(x[None, None], w[None, None])[0, 0], banded @ x)
    return Finding(
        "A convolution of a row is its product with a banded matrix, each of whose rows has the same weights one "
        "place further right.",
        "S3.7",
        f"With 3 weights and 8 pixels, the product with the 6x8 matrix differs by at most {error:.1e}.",
        error < ROUNDING,
    )


def _matrix() -> Finding:
    """Entry by entry, for two channels of 5x6 and three filters of 3x2."""
    x, w = drawn(8, 2, 5, 6), drawn(9, 3, 2, 3, 2)
    settings = list(itertools.product((0, 1, 2), (1, 2, 3)))
    error = 0.0
    for padding, stride in settings:
        ours = F.conv2d(x[None], w, stride=stride, padding=padding)[0]
        error = max(error, apart(ours.flatten(), as_matrix(w, (5, 6), padding, stride) @ x.flatten()))
        operator = F.conv2d(_units(2, 5, 6), w, stride=stride, padding=padding).flatten(1).T
        error = max(error, apart(operator, as_matrix(w, (5, 6), padding, stride)))
    return Finding(
        "A convolution of images is a matrix, w[l,c,a,e] where row (l,i,j) meets column (c, Si+a-P, Sj+e-P), and "
        "zero elsewhere.",
        "S3.7",
        f"For {len(settings)} pairs of stride and padding, the matrix written down entry by entry and the one that "
        f"torch makes of the unit images differ by at most {error:.1e}.",
        error < ROUNDING,
    )


def as_matrix(w: Tensor, sides: tuple[int, int], padding: int, stride: int) -> Tensor:
    """Of the convolution of an image of these sides: (N, C, F1, F2) -> (N H' W', C H W)."""
    (filters, channels, f1, f2), (height, width) = w.shape, sides
    down = (height + 2 * padding - f1) // stride + 1
    across = (width + 2 * padding - f2) // stride + 1
    matrix = torch.zeros(filters, down, across, channels, height, width, dtype=w.dtype)
    for i, j, a, e in np.ndindex(down, across, f1, f2):
        y, x = stride * i + a - padding, stride * j + e - padding
        if 0 <= y < height and 0 <= x < width:
            matrix[:, i, j, :, y, x] = w[:, :, a, e]
    return matrix.reshape(filters * down * across, channels * height * width)


def _units(channels: int, height: int, width: int) -> Tensor:
    """Images with a single one, at each place in turn."""
    count = channels * height * width
    return torch.eye(count, dtype=torch.float64).view(count, channels, height, width)


def _shared() -> Finding:
    w = drawn(10, 3, 2, 3, 2)
    matrix = F.conv2d(_units(2, 5, 6), w).flatten(1).T
    times = Counter(matrix[matrix != 0].tolist())
    places = 3 * 5
    return Finding(
        "In the matrix of a convolution the components of w appear many times: each is used again for every patch.",
        "S3.7",
        f"3 filters of 2x3x2 on 2x5x6: the matrix has {matrix.numel():,} entries, {sum(times.values())} of them not "
        f"zero, but only {len(times)} different ones, each {min(times.values())} times for {places} patches.",
        set(times) == set(w.flatten().tolist()) and set(times.values()) == {places},
    )


def _side(pixels: int, window: int, padding: int, stride: int) -> int:
    """Of what torch's convolution puts out; 0 where the window has no place, -1 where H is not as W."""
    image = torch.zeros(1, 1, pixels, pixels)
    return _or_none(lambda: F.conv2d(image, image.new_zeros(1, 1, window, window), None, stride, padding))


def _or_none(layer: Callable[[], Tensor]) -> int:
    try:
        height, width = layer().shape[2:]
        return height if height == width else -1
    except RuntimeError:  # there is no place for the window
        return 0


def _examples() -> Finding:
    stated = {(7, 5, 0, 1): 3, (7, 5, 2, 1): 7, (7, 3, 0, 2): 3, (7, 3, 0, 1): 5, (7, 3, 1, 3): 3}
    wrong = [case for case, side in stated.items() if _side(*case) != side]
    return Finding(
        "7x7 with a 5x5 filter gives 3x3, and 7x7 with padding 2; a 3x3 filter gives 5x5, with stride 2 3x3, and "
        "with stride 3 and padding 1 3x3.",
        "S3.3, S3.4",
        f"Of {len(stated)} sizes torch gives {len(stated) - len(wrong)}.",
        not wrong,
    )


def _unseen() -> Finding:
    """Which pixels have no gradient."""
    unseen = {}
    for padding, stride in ((0, 1), (0, 2), (0, 3), (1, 3)):
        image = torch.zeros(1, 1, 7, 7, requires_grad=True)
        filtered = F.conv2d(image, torch.ones(1, 1, 3, 3), stride=stride, padding=padding)
        (gradient,) = torch.autograd.grad(filtered.sum(), image)
        unseen[padding, stride] = int((gradient == 0).sum())
    return Finding(
        "A 3x3 filter with stride 3 does not fit 7x7, but fits it with padding 1.",
        "S3.4",
        f"(7-3)/3+1 = {4 / 3 + 1:.2f} is no whole number, and {unseen[0, 3]} of the 49 pixels, the last row and "
        f"column, are never looked at; with padding 1 it is {unseen[1, 3]} pixels, with strides 1 "
        f"and 2 {unseen[0, 1] + unseen[0, 2]}.",
        unseen == {(0, 1): 0, (0, 2): 0, (0, 3): 13, (1, 3): 0},
    )


def _rounded_down(pixels: int, window: int, padding: int, stride: int) -> int:
    return max(0, math.floor((pixels - window + 2 * padding) / stride + 1))


def _sizes() -> Finding:
    wrong = [case for case in GRID if _side(*case) != _rounded_down(*case)]
    return Finding(
        "W_out = floor((W_in - F + 2P)/S + 1), and the same for H.",
        "S3.5",
        f"Of {len(GRID)} cases, W to 12, F to 5, P to 3 and S to 4, torch's convolution has another size in "
        f"{len(wrong)}{_first(wrong)}; where the formula gives none, it refuses.",
        not wrong,
    )


def _first(wrong: list[tuple[int, int, int, int]]) -> str:
    return " (W={}, F={}, P={}, S={})".format(*wrong[0]) if wrong else ""


def _pooled(case: tuple[int, int, int, int], *, average: bool, ceil: bool) -> int:
    pixels, window, padding, stride = case
    image = torch.zeros(1, 1, pixels, pixels)
    if average:
        return _or_none(lambda: F.avg_pool2d(image, window, stride, padding, ceil_mode=ceil))
    return _or_none(lambda: F.max_pool2d(image, window, stride, padding, ceil_mode=ceil))


# torch's pools take at most half a window of padding, and refuse the rest.
POOLS = [(w, f, p, s) for w, f, p, s in GRID if 2 * p <= f]


def _sizes_of_pools() -> Finding:
    wrong = [
        case
        for case in POOLS
        if {_pooled(case, average=average, ceil=False) for average in (False, True)} != {_rounded_down(*case)}
    ]
    return Finding(
        "Pools have the sizes of convolutions.",
        "S3.5, S3.6",
        f"Of {len(POOLS)} cases with at most half a window of padding, largest values and averages have another "
        f"size in {len(wrong)}{_first(wrong)}.",
        not wrong,
    )


def _rounded_up(pixels: int, window: int, padding: int, stride: int) -> int:
    side = math.ceil((pixels - window + 2 * padding) / stride + 1)
    # The last window has to begin inside the map or the padding before it.
    return max(0, side - 1 if (side - 1) * stride >= pixels + padding else side)


def _ceil() -> Finding:
    wrong = [
        case
        for case in POOLS
        if {_pooled(case, average=average, ceil=True) for average in (False, True)} != {_rounded_up(*case)}
    ]
    sides = [_pooled((32, 3, 0, 2), average=False, ceil=ceil) for ceil in (True, False)]
    return Finding(
        "With ceil_mode=True (32-3)/2 + 1 = 15.5 is rounded up to 16; by default torch rounds down.",
        "S3.39, S3.43",
        f"torch gives {sides[0]} and {sides[1]}; of {len(POOLS)} cases, those with ceil_mode differ in {len(wrong)}"
        f"{_first(wrong)} from the formula rounded up, less a last window that would begin behind the map.",
        not wrong and sides == [16, 15],
    )


def _always_up() -> Finding:
    wrong = [
        (w, f, p, s)
        for w, f, p, s in POOLS
        if _pooled((w, f, p, s), average=False, ceil=True) != math.ceil((w - f + 2 * p) / s + 1) > 0
    ]
    example = " ".join(
        f"W={w}, F={f}, P={p}, S={s} would have {math.ceil((w - f + 2 * p) / s + 1)}, and torch gives "
        f"{_pooled((w, f, p, s), average=False, ceil=True)}."
        for w, f, p, s in wrong[:1]
    )
    return Finding(
        "With ceil_mode=True the formula is always rounded up.",
        "S3.39",
        f"Of {len(POOLS)} cases {len(wrong)} are not. {example}".strip(),
        not wrong,
        true=False,
    )


def _pixelwise() -> Finding:
    x, w, b = drawn(11, 2, 6, 5, 4), drawn(12, 3, 6, 1, 1), drawn(13, 3)
    convolved = F.conv2d(x, w, b)
    connected = torch.zeros_like(convolved)
    for k, i, j in np.ndindex(2, 5, 4):
        connected[k, :, i, j] = F.linear(x[k, :, i, j], w[:, :, 0, 0], b)
    error = apart(convolved, connected)
    return Finding(
        "A 1x1 convolution is a fully connected layer that acts on each place by itself, the same on all.",
        "S3.40",
        f"At the 40 places of 2 images of 6x5x4, the layer from 6 to 3 differs by at most {error:.1e}.",
        error < ROUNDING,
    )


def _pixelwise_count() -> Finding:
    layer = nn.Conv2d(192, 96, 1, device="meta")
    count = sum(p.numel() for p in layer.parameters())
    return Finding(
        "96 filters of 1x1 that act on 192 channels have 96 x 192 + 96 parameters.",
        "S3.40",
        f"The layer has {count:,}, and 96 x 192 + 96 = {96 * 192 + 96:,}.",
        count == 96 * 192 + 96,
    )


def _stacked() -> Finding:
    seen = {}
    for layers in (2, 5):
        image = torch.zeros(1, 1, 15, 15, dtype=torch.float64, requires_grad=True)
        x: Tensor = image
        for _ in range(layers):
            x = F.conv2d(x, torch.ones(1, 1, 3, 3, dtype=torch.float64), padding=1)
        (gradient,) = torch.autograd.grad(x[0, 0, 7, 7], image)
        seen[layers] = int(gradient.count_nonzero())
    weights = {side: sum(p.numel() for p in nn.Conv2d(8, 8, side, bias=False, device="meta").parameters())
               for side in (3, 5, 11)}  # fmt: skip
    return Finding(
        "Two 3x3 convolutions see as much as one 5x5, five as much as one 11x11, with fewer weights.",
        "S3.38",
        f"By gradients they see {seen[2]} and {seen[5]} pixels; from 8 channels to 8 they have "
        f"{2 * weights[3]:,} weights for {weights[5]:,}, and {5 * weights[3]:,} for {weights[11]:,}.",
        seen == {2: 5 * 5, 5: 11 * 11} and 2 * weights[3] < weights[5] and 5 * weights[3] < weights[11],
    )


def _products() -> Finding:
    """MACs as the entries of the matrix that are not zero, which knows nothing of the formula."""
    cases = list(itertools.product((1, 2, 5), (1, 3), (4, 6)))
    wrong = 0
    for m, n, d in cases:
        layer = nn.Conv2d(m, n, 3, bias=False).double()
        nn.init.ones_(layer.weight)
        products = int(layer(_units(m, d + 2, d + 2)).count_nonzero())
        summary = summarise(layer, (m, d + 2, d + 2))
        formula = (9 * m * n, 9 * m * n * d * d)
        wrong += (summary.weights, summary.macs) != formula or products != formula[1]
    return Finding(
        "A 3x3 convolution from M to N channels has 3 x 3 x M x N weights and 3 x 3 x M x N x D x D multiply-adds.",
        "S1.8",
        f"In {len(cases)} layers, with M to 5, N to 3 and D to 6, the entries of its matrix that are not zero are as "
        f"many as the formula and `summarise` say in {len(cases) - wrong}.",
        not wrong,
    )


def _networks() -> Finding:
    wrong, macs = [], 0
    for name in COUNTED:
        with torch.device("meta"):
            network = build(name, classes=10, channels=3, size=32).eval()
        summary = summarise(network, (3, 32, 32))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.empty(1, 3, 32, 32, device="meta"))
        theirs = (sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2)
        macs += theirs[1]
        if (summary.parameters, summary.macs) != theirs:
            wrong.append(name)
    return Finding(
        "The multiply-adds and parameters of a network are the sums of those of its layers.",
        "S1.8, S1.20",
        f"In {len(COUNTED) - len(wrong)} of {len(COUNTED)} networks ({', '.join(COUNTED)}) the sums equal torch's own "
        f"count of operations, {macs / 1e9:.3f}e9 together, and of parameters.",
        not wrong,
    )
