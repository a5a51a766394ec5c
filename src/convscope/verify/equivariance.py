"""What becomes of a layer's output when the image is moved?

Equivariant: it moves as well.  Invariant: it stays.  Moves are circular here
unless a statement says otherwise: what leaves on one side comes in on the
other, so that a border is a choice of the layer and not of the image.

    H, W  pixels
"""

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.models import build

from . import Finding
from .numbers import ROUNDING, apart, drawn, experienced

SIDE = 8
SHIFTS = list(itertools.product(range(SIDE), range(SIDE)))
"""All circular moves of an image of 8x8, down and across."""

Layer = Callable[[Tensor], Tensor]


def equivariance() -> Iterator[Finding]:
    """Convolutions and pools move with the image, as far as borders and strides let them; linear layers do not."""
    yield _convolution()
    yield _inside()
    yield _border()
    yield _strided()
    yield _stride_of_one()
    yield _pools()
    yield _pool_of_one()
    yield _pool_forgets()
    yield _pools_by_channel()
    yield _pointwise()
    yield _linear()
    yield _logistic()
    yield _only_convolutions()
    yield _invariant()
    yield _maps_not_invariant()
    yield _network()


def _moved(x: Tensor, down: int, across: int) -> Tensor:
    """Circularly, by so many pixels."""
    return x.roll((down, across), (-2, -1))


def _largest(layer: Layer, x: Tensor, *, stride: int = 1, step: int = 1) -> float:
    """How far the layer of the moved image is from the moved layer of the image, over all moves.

    Args:
        layer: (N, C, H, W) -> (N, C', H / stride, W / stride).
        x: images.
        stride: so many pixels of the image are one of the output.
        step: only moves by multiples of it, which `stride` divides.
    """
    whole = layer(x)
    moves = [(i, j) for i, j in SHIFTS if i % step == j % step == 0]
    return max(apart(layer(_moved(x, i, j)), _moved(whole, i // stride, j // stride)) for i, j in moves)


def _images(key: int) -> Tensor:
    return drawn(key, 2, 3, SIDE, SIDE)


def _circular(w: Tensor, *, stride: int = 1) -> Layer:
    """A 3x3 convolution for which the image has no border."""
    return lambda x: F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), w, stride=stride)


def _convolution() -> Finding:
    error = _largest(_circular(drawn(1, 4, 3, 3, 3)), _images(2))
    return Finding(
        "Convolution is equivariant with respect to translations.",
        "S3.8",
        f"Without a border, for all {len(SHIFTS)} moves of 8x8 images, the largest difference is {error:.1e}.",
        error < ROUNDING,
    )


def _inside() -> Finding:
    """An object of 4x4 on an empty image of 12x12, everywhere where its halo stays inside."""
    w, thing = drawn(3, 4, 3, 3, 3), drawn(4, 1, 3, 4, 4)
    images = {(i, j): F.pad(thing, (j, 8 - j, i, 8 - i)) for i, j in itertools.product(range(1, 8), repeat=2)}
    whole = F.conv2d(images[1, 1], w, padding=1)
    errors = [
        apart(F.conv2d(image, w, padding=1), _moved(whole, i - 1, j - 1)) for (i, j), image in images.items()
    ]
    return Finding(
        "Moving the object moves its feature maps by as much, where the border is far.",
        "S3.8",
        f"A 3x3 convolution with padding 1, an object of 4x4 at {len(images)} places of an empty 12x12 image: the "
        f"largest difference is {max(errors):.1e}.",
        max(errors) < ROUNDING,
    )


def _border() -> Finding:
    """Ones stay ones wherever they are moved, so every place should give the same."""
    ones = torch.ones(1, 1, SIDE, SIDE, dtype=torch.float64)
    filtered = F.conv2d(ones, torch.ones(1, 1, 3, 3, dtype=torch.float64), padding=1)[0, 0]
    error = _largest(lambda x: F.conv2d(x, drawn(1, 4, 3, 3, 3), padding=1), _images(2))
    return Finding(
        "Padding with zeros does not break the equivariance at the border.",
        "S3.3, S3.8",
        f"Of an image of ones, which a move does not change, a 3x3 filter of ones makes {filtered[0, 0]:.0f} in the "
        f"corner, {filtered[0, 3]:.0f} at the edge and {filtered[3, 3]:.0f} inside; other images differ by up to "
        f"{error:.1f}.",
        error < ROUNDING,
        true=False,
    )


def _strided() -> Finding:
    error = _largest(_circular(drawn(1, 4, 3, 3, 3), stride=2), _images(2), stride=2, step=2)
    return Finding(
        "A convolution with stride 2 is equivariant to moves by even numbers of pixels, its output moving half as far.",
        "S3.4, S3.8",
        f"For {len(SHIFTS) // 4} such moves the largest difference is {error:.1e}.",
        error < ROUNDING,
    )


def _nearest(layer: Layer, x: Tensor, *, side: int) -> float:
    """How far the layer of the image moved by one pixel is from the nearest move of its layer."""
    whole, after = layer(x), layer(_moved(x, 0, 1))
    return min(apart(after, _moved(whole, i, j)) for i, j in itertools.product(range(side), repeat=2))


def _stride_of_one() -> Finding:
    difference = _nearest(_circular(drawn(1, 4, 3, 3, 3), stride=2), _images(2), side=SIDE // 2)
    return Finding(
        "A convolution with stride 2 is equivariant to moves by one pixel.",
        "S3.4, S3.8",
        f"Its output for the image moved by one pixel is none of the {(SIDE // 2) ** 2} moves of its output: the "
        f"nearest differs by {difference:.2f}.",
        difference < ROUNDING,
        true=False,
    )


def _pools() -> Finding:
    pools: tuple[Layer, ...] = (lambda x: F.max_pool2d(x, 2), lambda x: F.avg_pool2d(x, 2))
    halving = max(_largest(pool, _images(5), stride=2, step=2) for pool in pools)
    dense = max(
        _largest(pool, _images(5)) for pool in (_overlapping(F.max_pool2d), _overlapping(F.avg_pool2d))
    )
    return Finding(
        "Pooling is equivariant like a convolution of its stride: with stride 1 to all moves, with 2 to even ones.",
        "S3.6, S3.8",
        f"For largest values and averages of 2x2 the largest differences are {dense:.1e} over {len(SHIFTS)} moves and "
        f"{halving:.1e} over {len(SHIFTS) // 4}.",
        max(halving, dense) < ROUNDING,
    )


def _overlapping(pool: Callable[..., Tensor]) -> Layer:
    """Windows of 2x2 at every pixel, for which the image has no border."""
    return lambda x: pool(F.pad(x, (0, 1, 0, 1), mode="circular"), 2, 1)


def _pool_of_one() -> Finding:
    row = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]]])
    before, after = (F.max_pool2d(x, (1, 2)).flatten() for x in (row, _moved(row, 0, 1)))
    return Finding(
        "Pooling with stride 2 is equivariant to moves by one pixel.",
        "S3.6, S3.8",
        f"Of 1 1 0 0 the largest of each two are {_row(before)}; of 0 1 1 0 they are {_row(after)}, no move of that.",
        any(torch.equal(after, before.roll(i)) for i in range(2)),
        true=False,
    )


def _row(numbers: Tensor) -> str:
    return " ".join(f"{number:g}" for number in numbers.tolist())


def _pool_forgets() -> Finding:
    """All images of 4x4 with one pixel in each window of 2x2."""
    images = []
    for places in itertools.product(range(4), repeat=4):
        image = torch.zeros(1, 1, 4, 4)
        for window, place in enumerate(places):
            image[0, 0, 2 * (window // 2) + place // 2, 2 * (window % 2) + place % 2] = 1 + window
        images.append(image)
    batch = torch.cat(images)
    results = [len(torch.unique(pool(batch, 2).flatten(1), dim=0)) for pool in (F.max_pool2d, F.avg_pool2d)]
    return Finding(
        "Pooling forgets place: where in its window a value stood makes no difference.",
        "S3.42, S4.4",
        f"All {len(images)} images of 4x4 with the values 1, 2, 3, 4 anywhere in the four windows have {results[0]} "
        f"result under the largest value and {results[1]} under the average.",
        results == [1, 1],
    )


def _pools_by_channel() -> Finding:
    x = drawn(6, 2, 5, 9, 7)
    pools: tuple[Layer, ...] = (lambda x: F.max_pool2d(x, 3, 2), lambda x: F.avg_pool2d(x, 3, 2))
    error = max(apart(pool(x), torch.cat([pool(each) for each in torch.split(x, 1, 1)], 1)) for pool in pools)
    return Finding(
        "Pooling operates over each channel independently.",
        "S3.6",
        f"5 channels pooled together and one by one differ by at most {error:.1e}.",
        error < ROUNDING,
    )


def _pointwise() -> Finding:
    x, w = _images(7), drawn(8, 4, 3, 1, 1)
    order = drawn(9, SIDE * SIDE).argsort()

    def mixed(x: Tensor) -> Tensor:
        return x.flatten(2)[:, :, order].view_as(x)

    error = max(
        apart(layer(mixed(x)), mixed(layer(x))) for layer in (torch.relu, lambda x: F.conv2d(x, w).relu())
    )
    return Finding(
        "Activations and 1x1 convolutions are equivariant to every permutation of the pixels.",
        "S3.8, S3.40",
        f"With the 64 pixels in an arbitrary order the largest difference is {error:.1e}.",
        error < ROUNDING,
    )


def _linear() -> Finding:
    layer = nn.Linear(SIDE * SIDE, SIDE * SIDE, bias=False).double()
    layer.weight.data = drawn(10, SIDE * SIDE, SIDE * SIDE) / SIDE
    x = drawn(11, 2, 1, SIDE, SIDE)
    difference = _largest(lambda x: layer(x.flatten(1)).view_as(x), x)
    return Finding(
        "Fully connected layers encode shift equivariance.",
        "S3.1, S3.8",
        f"For a layer from 8x8 to 8x8 with arbitrary weights the largest of {len(SHIFTS)} differences is "
        f"{difference:.1f}, where the numbers have deviation 1.",
        difference < ROUNDING,
        true=False,
    )


def _logistic() -> Finding:
    """A weight of 1 for one pixel, 0 for all others."""
    weight, image = torch.zeros(2, SIDE, SIDE)
    weight[0, 0] = image[0, 0] = 1
    logits = [F.linear(x.flatten(), weight.flatten()[None]).item() for x in (image, _moved(image, 0, 1))]
    return Finding(
        "Logistic regression, a single fully connected layer, encodes shift invariance.",
        "S3.1",
        f"With weight 1 for the first pixel and 0 for the others, an image of that pixel alone has logit "
        f"{logits[0]:g}, and moved by one pixel {logits[1]:g}.",
        logits[0] == logits[1],
        true=False,
    )


def _only_convolutions() -> Finding:
    """The matrices A with A S = S A for both unit moves S are the solutions of a linear system."""
    side, count = 3, 9
    eye = torch.eye(count, dtype=torch.float64)
    images = eye.view(count, 1, side, side)
    equations = []
    for move in ((1, 0), (0, 1)):
        s = _moved(images, *move).flatten(1).T.contiguous()
        equations.append(torch.kron(s.T.contiguous(), eye) - torch.kron(eye, s))
    free = count**2 - int(torch.linalg.matrix_rank(torch.cat(equations)))
    filters = drawn(12, 20, 1, side, side)
    matrices = torch.stack([_circular(w[None])(images).flatten(1).T for w in filters])
    spanned = int(torch.linalg.matrix_rank(matrices.flatten(1)))
    error = max(_largest_of_three(_circular(w[None]), images) for w in filters)
    return Finding(
        "Among linear layers the convolutions, and no others, are equivariant to all moves.",
        "S3.8, S3.7",
        f"Of the {count**2} dimensions of matrices for 3x3 images, those that commute with all moves have {free}, and "
        f"the circular convolutions, which commute with an error of {error:.1e}, span {spanned}.",
        free == spanned == count and error < ROUNDING,
    )


def _largest_of_three(layer: Layer, x: Tensor) -> float:
    whole = layer(x)
    moves = itertools.product(range(3), repeat=2)
    return max(apart(layer(_moved(x, i, j)), _moved(whole, i, j)) for i, j in moves)


def _features(x: Tensor) -> Tensor:
    """Two convolutions without a border, each with its ReLU."""
    first = _circular(drawn(13, 6, 3, 3, 3))(x).relu()
    return _circular(drawn(14, 4, 6, 3, 3))(first).relu()


def _changes(layer: Layer, x: Tensor) -> float:
    return max(apart(layer(x), layer(_moved(x, i, j))) for i, j in SHIFTS)


def _invariant() -> Finding:
    x = _images(15)
    means = _changes(lambda x: _features(x).mean((2, 3)), x)
    maxima = _changes(lambda x: _features(x).amax((2, 3)), x)
    return Finding(
        "Equivariant layers and a global pool together are invariant: the object's place does not matter.",
        "S3.8, S3.42",
        f"After two convolutions with ReLU, {len(SHIFTS)} moves change the global average by at most {means:.1e} and "
        f"the global maximum by at most {maxima:.1e}.",
        max(means, maxima) < ROUNDING,
    )


def _maps_not_invariant() -> Finding:
    x = _images(15)
    change, error = _changes(_features, x), _largest(_features, x)
    return Finding(
        "Equivariant layers are invariant.",
        "S3.8",
        f"The same two convolutions are equivariant with an error of {error:.1e}, but a move changes their maps by up "
        f"to {change:.1f}.",
        change < ROUNDING,
        true=False,
    )


def _network() -> Finding:
    network = experienced(build("resnet20", classes=10, channels=3, size=16, width=4), 16)
    x = drawn(17, 1, 3, 16, 16)
    with torch.no_grad():
        logits, moved = network(x), network(_moved(x, 0, 1))
    change = apart(logits, moved)
    return Finding(
        "A network of convolutions that ends with a global average is invariant to every move.",
        "S3.8, S3.42",
        f"ResNet-20, whose convolutions pad with zeros and whose stages have stride 2, changes its logits by up to "
        f"{change:.2f} when the image moves by one pixel; they range from {logits.min():.1f} to {logits.max():.1f}.",
        change < ROUNDING,
        true=False,
    )
