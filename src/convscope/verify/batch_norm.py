"""What does batch normalisation compute, in training, in evaluation, and folded?

B  images      P, Q  pixels      m, v  mean and variance of a channel over B, P and Q
scale, shift  what the norm learns: gamma and beta in the documents
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.compute.fences import seeded
from convscope.models import build
from convscope.models.fold import fold

from . import Finding
from .numbers import ROUNDING, apart, drawn, experienced

CHANNELS = 5
BATCH = 16
NO_EPS = 1e-30
"""So small that v + eps is v to the last bit; torch refuses zero."""


def batch_norm() -> Iterator[Finding]:
    """Batch norm sets the mean and variance of a batch, and later those of the training set."""
    yield _features()
    yield _maps()
    yield _bessel()
    yield _moments()
    yield _zero_mean()
    yield _zero_mean_in_expectation()
    yield _identity()
    yield _company()
    yield _alone()
    yield _two()
    yield _running()
    yield _unbiased()
    yield _layer_by_layer()
    yield _at_once()
    yield _running_is_not()
    yield _folding()
    yield _inert()
    yield _inert_gradient()
    yield _inert_in_evaluation()
    yield _scale_of_weights()
    yield _scale_of_small_weights()
    yield _trainable()


def _norm(kind: type[nn.BatchNorm1d | nn.BatchNorm2d] = nn.BatchNorm2d, eps: float = 1e-5) -> Any:
    """With its own scale, shift and statistics, in training mode."""
    layer = kind(CHANNELS, eps=eps)
    return experienced(layer, 1).train()


def _by_hand(x: Tensor, norm: Any, over: tuple[int, ...], *, less: int = 0) -> Tensor:
    """The formula; `less` is taken from the number that the sum of squares is divided by."""
    shape = [1, CHANNELS, *[1] * (x.ndim - 2)]
    count = x.numel() // CHANNELS
    mean = x.sum(over, keepdim=True) / count
    variance = (x - mean).square().sum(over, keepdim=True) / (count - less)
    standard = (x - mean) / (variance + norm.eps).sqrt()
    result: Tensor = norm.weight.view(shape) * standard + norm.bias.view(shape)
    return result


def _images(key: int, batch: int = BATCH) -> Tensor:
    """Maps whose channels have means and deviations of their own."""
    x = drawn(key, batch, CHANNELS, 4, 3)
    return x * (1 + torch.arange(CHANNELS).view(-1, 1, 1)) + torch.arange(CHANNELS).view(-1, 1, 1)


def _features() -> Finding:
    norm, x = _norm(nn.BatchNorm1d), _images(2).mean((2, 3))
    error = apart(norm(x), _by_hand(x, norm, (0,)))
    return Finding(
        "For linear layers, batch norm acts on each neuron: (X - m) / sqrt(v + eps) times scale plus shift, with m and v "
        "over the batch and v divided by B.",
        "S3.79, S3.80",
        f"For {BATCH} images and {CHANNELS} neurons, torch's layer differs from the formula by at most {error:.1e}.",
        error < ROUNDING,
    )


def _maps() -> Finding:
    norm, x = _norm(), _images(3)
    error = apart(norm(x), _by_hand(x, norm, (0, 2, 3)))
    return Finding(
        "For convolutional layers, batch norm acts on each channel, with m and v over the batch and all pixels, "
        "divided by BPQ.",
        "S3.79, S3.81",
        f"For {BATCH} images of {CHANNELS}x4x3 torch's layer differs from the formula by at most {error:.1e}.",
        error < ROUNDING,
    )


def _bessel() -> Finding:
    norm, x = _norm(), _images(3)
    difference = apart(norm(x), _by_hand(x, norm, (0, 2, 3), less=1))
    return Finding(
        "Batch norm divides by BPQ - 1 in training, as an unbiased variance does.",
        "S3.79",
        f"With BPQ - 1 = {BATCH * 12 - 1} the outputs differ by up to {difference:.1e}.",
        difference < ROUNDING,
        true=False,
    )


def _moments() -> Finding:
    norm = _norm(eps=NO_EPS)
    out = norm(_images(4)).detach()
    mean, variance = out.mean((0, 2, 3)), out.var((0, 2, 3), correction=0)
    errors = (apart(mean, norm.bias), apart(variance, norm.weight.square()))
    return Finding(
        "In training the output of each channel has the mean beta and the variance gamma squared.",
        "E1.1, S3.80, S3.81",
        f"With eps = 1e-30 and shifts from {norm.bias.min().item():.2f} to {norm.bias.max().item():.2f}, the means differ "
        f"by at most {errors[0]:.1e} and the variances by {errors[1]:.1e}.",
        max(errors) < ROUNDING,
    )


def _zero_mean() -> Finding:
    norm, x = _norm(), _images(4) + 1
    largest = [float(norm.train(mode)(x).detach().mean((0, 2, 3)).abs().max()) for mode in (True, False)]
    return Finding(
        "The outputs of batch norm do not necessarily have zero mean.",
        "S1.1",
        f"After a norm that has learned, the means of {CHANNELS} channels are up to {largest[0]:.2f} in training, and in "
        f"evaluation, for images unlike those of its statistics, up to {largest[1]:.2f}.",
        min(largest) > 0.01,
    )


def _zero_mean_in_expectation() -> Finding:
    norm, batches = _norm(), 50
    means = torch.stack([norm(_images(100 + i)).detach().mean((0, 2, 3)) for i in range(batches)])
    expected = means.mean(0).abs().max().item()
    return Finding(
        "Batch normalization does ensure that the output has zero mean in expectation.",
        "E1.1",
        f"Over {batches} batches in training, the mean of a channel is {expected:.3f}, its beta, and the means of the "
        f"batches differ from it by {(means - norm.bias).abs().max().item():.1e}.",
        expected < 0.01,
        true=False,
    )


def _identity() -> Finding:
    norm, x = _norm(), _images(5)
    norm.weight.data.copy_((x.var((0, 2, 3), correction=0) + norm.eps).sqrt())
    norm.bias.data.copy_(x.mean((0, 2, 3)))
    error = apart(norm(x), x)
    return Finding(
        "Batch norm keeps the representation power: with the right scale and shift it undoes itself.",
        "S3.83",
        f"With scale sqrt(v + eps) and shift m, {BATCH} images leave it changed by at most {error:.1e}.",
        error < ROUNDING,
    )


def _with_others(norm: Any) -> float:
    """How much the result for one image depends on which others are in its batch."""
    image, others = _images(6, 1), _images(7, BATCH)
    whole = norm(torch.cat([image, others]))[:1]
    half = norm(torch.cat([image, others[: BATCH // 2]]))[:1]
    return apart(whole, half)


def _company() -> Finding:
    change = _with_others(_norm())
    return Finding(
        "With batch norm, in training the output for an image depends on that image alone.",
        "S3.83",
        f"It changes by up to {change:.2f} when half of the {BATCH} others leave the batch.",
        change < ROUNDING,
        true=False,
    )


def _alone() -> Finding:
    change = _with_others(_norm().eval())
    return Finding(
        "model.eval() makes the output for an image independent of its batch, which may be of one image.",
        "S3.82",
        f"It changes by {change:.1e} when half of the {BATCH} others leave the batch.",
        change < ROUNDING,
    )


def _two() -> Finding:
    norm = _norm(nn.BatchNorm1d, eps=NO_EPS)
    outputs = [(norm(drawn(key, 2, CHANNELS)) - norm.bias) / norm.weight for key in range(8, 28)]
    error = max(apart(out.abs(), torch.ones_like(out)) for out in outputs)
    return Finding(
        "With batches of two images, all that batch norm leaves of a neuron is which of the two is larger.",
        "S3.83",
        f"In {len(outputs)} batches every standardised output is 1 or -1, up to {error:.1e}.",
        error < ROUNDING,
    )


def _running() -> Finding:
    norm = _norm()
    mean, variance = norm.running_mean.clone(), norm.running_var.clone()
    batches = [_images(200 + i) for i in range(10)]
    for x in batches:
        norm(x)
        mean = 0.9 * mean + 0.1 * x.mean((0, 2, 3))
        variance = 0.9 * variance + 0.1 * x.var((0, 2, 3))
    error = max(apart(norm.running_mean, mean), apart(norm.running_var, variance))
    x = _images(300)
    standard = (x - mean.view(-1, 1, 1)) / (variance + norm.eps).sqrt().view(-1, 1, 1)
    by_hand = standard * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
    evaluated = apart(norm.eval()(x), by_hand)
    return Finding(
        "By default torch computes a running average of m and v during training, and uses it in evaluation.",
        "S3.82",
        f"After {len(batches)} batches, nine tenths of the old and one tenth of the new each time, they differ by at "
        f"most {error:.1e}, and outputs in evaluation by {evaluated:.1e}.",
        max(error, evaluated) < ROUNDING,
    )


def _unbiased() -> Finding:
    norm, x = _norm(), _images(9)
    norm.momentum = 1.0
    norm(x)
    ratio = (norm.running_var / x.var((0, 2, 3), correction=0)).mean().item()
    count = BATCH * 12
    return Finding(
        "The running variance is the average of the v that training divides by.",
        "S3.82",
        f"torch averages v times BPQ/(BPQ - 1), here {count}/{count - 1} = {count / (count - 1):.5f}; the ratio is "
        f"{ratio:.5f}.",
        abs(ratio - 1) < ROUNDING,
        true=False,
    )


def _network() -> Any:
    """Two convolutions with their norms and a linear layer."""
    with seeded(10):
        network = nn.Sequential(
            nn.Conv2d(2, CHANNELS, 3), nn.BatchNorm2d(CHANNELS), nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3), nn.BatchNorm2d(CHANNELS), nn.ReLU(),
            nn.Flatten(), nn.Linear(CHANNELS * 16, 3),
        )  # fmt: skip
    return experienced(network, 11)


@torch.no_grad()
def _estimated(network: Any, data: Tensor, *, together: bool) -> None:
    """Give each norm the mean and variance that its inputs have over all data; changed in place.

    Args:
        network: a sequence.
        data: the training set, here small enough for one batch.
        together: take the inputs of all norms from one pass through the network as it is, instead of norm by
            norm with those before it done.
    """
    network.eval()
    old = {i: network[:i](data) for i in (1, 4)}
    for norm, i in ((network[1], 1), (network[4], 4)):
        inputs = old[i] if together else network[:i](data)
        norm.running_mean.copy_(inputs.mean((0, 2, 3)))
        norm.running_var.copy_(inputs.var((0, 2, 3), correction=0))


def _training_set() -> Tensor:
    return drawn(12, 64, 2, 8, 8) + 0.5


def _from_the_set(network: Any) -> float:
    """How far evaluation is from what training computes with all data in one batch."""
    data = _training_set()
    evaluated = network.eval()(data)
    for norm in (network[1], network[4]):
        norm.momentum = 0.0
    return apart(evaluated, network.train()(data))


def _layer_by_layer() -> Finding:
    network = _network()
    _estimated(network, _training_set(), together=False)
    error = _from_the_set(network)
    return Finding(
        "m and v can be computed on the full training set, layer by layer: evaluation is then what training computes "
        "with all images in one batch.",
        "S3.82",
        f"For {len(_training_set())} images and two norms the outputs differ by at most {error:.1e}.",
        error < ROUNDING,
    )


def _at_once() -> Finding:
    network = _network()
    _estimated(network, _training_set(), together=True)
    error = _from_the_set(network)
    return Finding(
        "m and v can be computed on the full training set for all layers in one pass, with the old m and v.",
        "S3.82",
        f"The second norm's inputs change when the first norm's m and v do: the outputs differ by up to {error:.2f}.",
        error < ROUNDING,
        true=False,
    )


def _running_is_not() -> Finding:
    network, data = _network(), _training_set()
    with torch.no_grad():
        for _ in range(20):
            for i in range(0, len(data), BATCH):
                network.train()(data[i : i + BATCH])
    error = _from_the_set(network)
    return Finding(
        "The running average gives the same m and v as the full training set.",
        "S3.82",
        f"After 20 passes over the {len(data)} images in batches of {BATCH} with fixed weights, the outputs differ by up "
        f"to {error:.3f}.",
        error < ROUNDING,
        true=False,
    )


def _folding() -> Finding:
    x = drawn(13, 2, 3, 16, 16)
    errors, gone = {}, 0
    for name in ("resnet20", "resnext29", "simplenn:norm=batch"):
        options = {"width": 4, "blocks": 1} if name.startswith("res") else {}
        network = experienced(build(name, classes=10, channels=3, size=16, **options), 14)
        folded = fold(network)
        gone += _norms(network) - _norms(folded)
        with torch.no_grad():
            errors[name] = apart(network(x), folded(x))
    worst = max(errors.values())
    return Finding(
        "After training, the functionality of batch norm can be absorbed into the previous linear or convolutional "
        "layer.",
        "S3.87",
        f"In {', '.join(errors)} {gone} norms are gone, and the logits differ by at most {worst:.1e}.",
        worst < ROUNDING and gone > 0,
    )


def _norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def _normed(x: Tensor, w: Tensor, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """A convolution and its norm in training, with scale and shift of their own."""
    norm = _norm(eps=eps)
    return F.batch_norm(F.conv2d(x, w, bias), None, None, norm.weight, norm.bias, True, eps=norm.eps)


def _layers() -> tuple[Tensor, Tensor, Tensor]:
    """Images, weights and bias of a convolution."""
    return drawn(15, BATCH, 2, 6, 6), drawn(16, CHANNELS, 2, 3, 3), 10 * drawn(17, CHANNELS)


def _inert() -> Finding:
    x, w, bias = _layers()
    error = apart(_normed(x, w), _normed(x, w, bias))
    return Finding(
        "A bias before batch norm does nothing, since beta subsumes it.",
        "S3.88",
        f"Biases up to {bias.abs().max():.1f} change outputs in training by at most {error:.1e}.",
        error < ROUNDING,
    )


def _inert_gradient() -> Finding:
    x, w, bias = _layers()
    bias.requires_grad_()
    outputs = _normed(x, w, bias)
    (gradient,) = torch.autograd.grad((outputs * drawn(18, *outputs.shape)).sum(), bias)
    largest = gradient.abs().max().item()
    return Finding(
        "A bias before batch norm never learns: its gradient is zero.",
        "S3.88",
        f"For an arbitrary loss the largest of {CHANNELS} gradients is {largest:.1e}.",
        largest < ROUNDING,
    )


def _inert_in_evaluation() -> Finding:
    x, w, bias = _layers()
    norm = _norm().eval()
    change = apart(norm(F.conv2d(x, w)), norm(F.conv2d(x, w, bias)))
    norm.running_mean.add_(bias)
    error = apart(norm(F.conv2d(x, w, bias)), _norm().eval()(F.conv2d(x, w)))
    return Finding(
        "In evaluation a bias before batch norm does nothing whatever the running mean.",
        "S3.88",
        f"With the old running mean it changes outputs by up to {change:.1f}; with one that has moved by the bias, as in "
        f"training, by {error:.1e}.",
        change < ROUNDING,
        true=False,
    )


SCALES = (0.01, 0.5, 3.0, 1000.0)


def _scale_of_weights() -> Finding:
    x, w, _ = _layers()
    direction = drawn(18, *_normed(x, w).shape)

    def gradient(scale: float) -> Tensor:
        scaled = (scale * w).requires_grad_()
        (found,) = torch.autograd.grad((_normed(x, scaled, eps=NO_EPS) * direction).sum(), scaled)
        return found

    outputs = max(apart(_normed(x, a * w, eps=NO_EPS), _normed(x, w, eps=NO_EPS)) for a in SCALES)
    gradients = max(apart(a * gradient(a), gradient(1)) for a in SCALES)
    across = float((gradient(1) * w).flatten(1).sum(1).abs().max())
    return Finding(
        "Batch norm makes the scale of the weights before it irrelevant: outputs stay, and gradients are at right angles "
        "to the weights and as many times smaller.",
        "S3.73",
        f"With eps = 1e-30 and weights times {', '.join(f'{a:g}' for a in SCALES)}, outputs differ by at most "
        f"{outputs:.1e} and gradients times the factor by {gradients:.1e}; gradient times weights is {across:.1e}.",
        max(outputs, gradients, across) < ROUNDING,
    )


def _scale_of_small_weights() -> Finding:
    x, w, _ = _layers()
    changes = {a: apart(_normed(x, a * w), _normed(x, w)) for a in (1e-3, 0.1, 10.0)}
    found = ", ".join(f"times {a:g} by {change:.1e}" for a, change in changes.items())
    return Finding(
        "Batch norm makes the scale of the weights before it irrelevant with eps = 1e-5, too, however small they are.",
        "S3.73",
        f"Where v is no larger than eps it does not: weights change outputs {found}.",
        max(changes.values()) < ROUNDING,
        true=False,
    )


def _trainable() -> Finding:
    network = build("resnet20", classes=10, channels=3, size=16)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    count = sum(p.numel() for norm in norms for p in norm.parameters())
    channels = sum(norm.num_features for norm in norms)
    total = sum(p.numel() for p in network.parameters())
    return Finding(
        "Batch norm has trainable parameters: two for each channel.",
        "S3.80, S3.85",
        f"The norms of ResNet-20 have {channels} channels and {count:,} of its {total:,} parameters, "
        f"{count / total:.1%}.",
        count == 2 * channels,
    )
