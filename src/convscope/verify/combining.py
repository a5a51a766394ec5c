"""When are several predictions together better than one, and when are they not?

Ensembles with the best weights and with bad ones, convexity, means over the
networks that dropout contains, views of one image, means of weights: on
random predictions where something holds for all, by a counter-example where
it does not.

    M  members      N  images      K  classes
"""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.data import ImageSet, Normaliser
from convscope.evaluate import averaging, mixture, views
from convscope.evaluate.dropout import sample_dropout
from convscope.models import build

from . import Finding
from .numbers import ROUNDING, apart, drawn

PROBLEMS = 100
FITTED = 15
SIX = ("###", "#..", "###", "#.#", "###")
NINE = ("###", "#.#", "###", "..#", "###")
"""As seven segments show them."""


def combining() -> Iterator[Finding]:
    """Ensembles, dropout as one, test-time views, averaged weights; and which flip makes a 9 of a 6."""
    yield _well_chosen()
    yield _fitted()
    yield _badly_chosen()
    yield _convex()
    yield _ambiguity()
    yield _independent()
    yield _copies()
    yield _accuracy()
    yield _which_mean()
    yield _sampled_dropout()
    yield _mirrored()
    yield _ten_crop()
    yield _views_cost()
    yield _views_and_accuracy()
    yield _averaged_linear()
    yield _averaged_networks()
    yield _two_flips()
    yield _one_flip()


# Ensembles ---------------------------------------------------------------------------------------------------------


def best_shares(members: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """The theta >= 0 with sum 1 and the least mean of (theta . m - y)^2; (M, N), (N,) -> (M,).

    The minimum lies inside of one face of the simplex, where the gradient has no direction left: every face is
    tried, and the best point that lies inside of its own is taken.
    """
    errors = members - answers
    gram = errors @ errors.T / errors.shape[1]
    best, found = math.inf, np.zeros(len(members))
    for size in range(1, len(members) + 1):
        for face in itertools.combinations(range(len(members)), size):
            # The slope is the same in all directions of the face, and the sum is 1.  Least squares, since members
            # whose errors are proportional make the matrix singular.
            system = np.ones((size + 1, size + 1))
            system[:size, :size] = gram[np.ix_(face, face)]
            system[size, size] = 0
            theta = np.zeros(len(members))
            theta[list(face)] = np.linalg.lstsq(system, np.r_[np.zeros(size), 1.0])[0][:size]
            cost = float(theta @ gram @ theta)
            if theta.min() >= 0 and abs(theta.sum() - 1) < ROUNDING and cost < best:
                best, found = cost, theta
    return found


def _problem(key: int) -> tuple[np.ndarray, np.ndarray]:
    """Four members with errors of different sizes and with something in common, 40 answers."""
    draw = drawn(key, 6, 40).numpy()
    sizes = np.exp(drawn(1000 + key, 4, 1).numpy())
    return np.asarray(draw[5] + sizes * (draw[:4] + draw[4])), draw[5]


def squared(prediction: np.ndarray, answers: np.ndarray) -> float:
    """Mean of (m - y)^2."""
    return float(((prediction - answers) ** 2).mean())


def _well_chosen() -> Finding:
    worst, gains = -math.inf, []
    for key in range(PROBLEMS):
        members, answers = _problem(key)
        single = min(squared(member, answers) for member in members)
        together = squared(best_shares(members, answers) @ members, answers)
        worst = max(worst, together - single)
        gains.append(1 - together / single)
    return Finding(
        "With well chosen theta >= 0 of sum 1 an ensemble's mean squared error is at most that of its best member.",
        "S3.89",
        f"In {PROBLEMS} problems with 4 members it is never above by more than {max(worst, 0.0):.0e}, and below by "
        f"{np.mean(gains):.0%} on average.",
        worst < ROUNDING and float(np.mean(gains)) > 0.01,
    )


def _labelled(key: int) -> tuple[list[Tensor], Tensor]:
    """Logits of three members for 60 images of 4 classes that lean towards the labels, and the labels."""
    labels = torch.arange(60) % 4
    towards = F.one_hot(labels, 4)
    return [drawn(3 * key + i, 60, 4) + (i / 2) * towards for i in range(3)], labels


def loss(logs: Tensor, labels: Tensor) -> float:
    """Mean cross-entropy of log-probabilities."""
    return float(F.nll_loss(logs, labels))


def _fitted() -> Finding:
    worst = -math.inf
    for key in range(FITTED):
        members, labels = _labelled(key)
        weights = mixture.fit_weights(members, labels)
        single = min(loss(member.log_softmax(1), labels) for member in members)
        worst = max(worst, loss(mixture.mixture(members, weights), labels) - single)
    return Finding(
        "The weights the package fits make the cross-entropy of the mean probabilities at most that of the best member.",
        "S3.89",
        f"In {FITTED} problems with 3 members, the difference to the best member is at most {worst:+.1e} nats on the "
        f"images they were fitted on, where fitting ends within {mixture.TOLERANCE:.0e}.",
        worst < 2 * mixture.TOLERANCE,
    )


def _badly_chosen() -> Finding:
    answers = np.array([0.0, 1.0, 2.0, 3.0])
    members = np.stack([answers + 0.1, answers + 4])
    uniform, single = squared(members.mean(0), answers), squared(members[0], answers)
    theta = best_shares(members, answers)
    return Finding(
        "An ensemble is at least as good as its best member, whatever its weights.",
        "counterpart of S3.89",
        f"With members that are 0.1 and 4 too high, uniform weights have the mean squared error {uniform:.4f}, the first "
        f"member alone {single:.4f}; well chosen weights are ({theta[0]:g}, {theta[1]:g}).",
        uniform <= single,
        true=False,
    )


def _convex() -> Finding:
    worst = -math.inf
    for key in range(PROBLEMS):
        members, answers = _problem(key)
        theta = drawn(2000 + key, 4).softmax(0).numpy()
        mean = float(theta @ [squared(member, answers) for member in members])
        worst = max(worst, squared(theta @ members, answers) - mean)
        logits, labels = _labelled(key)
        costs = [loss(each.log_softmax(1), labels) for each in logits]
        worst = max(worst, loss(mixture.mixture(logits), labels) - sum(costs) / 3)
    return Finding(
        "With theta >= 0 of sum 1 an ensemble's loss is at most the mean of its members' losses, where that is convex.",
        "S3.89",
        f"For squared error with arbitrary theta and cross-entropy of mean probabilities, in {2 * PROBLEMS} problems, it "
        f"is below the mean by at least {-worst:.1e}.",
        worst <= ROUNDING,
    )


def _ambiguity() -> Finding:
    off = 0.0
    for key in range(PROBLEMS):
        members, answers = _problem(key)
        together = members.mean(0)
        mean = sum(squared(member, answers) for member in members) / len(members)
        spread = sum(squared(member, together) for member in members) / len(members)
        off = max(off, abs(squared(together, answers) - (mean - spread)) / mean)
    return Finding(
        "A uniform ensemble's mean squared error is the members' mean, less their mean squared distance from it.",
        "S3.89; Krogh, Vedelsby (1995)",
        f"In {PROBLEMS} problems the two sides differ by at most {off:.1e} of the members' mean.",
        off < ROUNDING,
    )


def _independent() -> Finding:
    """Errors of +1 and -1 with equal chances, every combination counted."""
    errors = {
        m: [(sum(signs) / m) ** 2 for signs in itertools.product((-1, 1), repeat=m)] for m in (1, 2, 5, 10)
    }
    off = max(abs(sum(squares) / len(squares) - 1 / m) for m, squares in errors.items())
    return Finding(
        "The mean of M members with independent errors of one size and mean zero has 1/M of their mean squared error.",
        "S3.89",
        f"Over all 2^M combinations of errors of +1 and -1, for M = {', '.join(map(str, errors))}, it differs from 1/M by "
        f"at most {off:.0e}.",
        off < ROUNDING,
    )


def _copies() -> Finding:
    members, _ = _labelled(0)
    off = apart(mixture.mixture([members[0]] * 5), members[0].log_softmax(1))
    return Finding(
        "Members that are alike gain nothing from each other.",
        "S3.89",
        f"The log-probabilities of five copies of one member differ from its own by at most {off:.1e}.",
        off < ROUNDING,
    )


def _mean_and_members(members: Sequence[Sequence[float]], label: int) -> tuple[bool, float]:
    """Whether the mean of the probabilities is right, and the share of members that are."""
    shares = torch.tensor(members, dtype=torch.float64)
    together = mixture.mixture([row[None].log() for row in shares])
    return bool(together.argmax() == label), float((shares.argmax(1) == label).double().mean())


def _accuracy() -> Finding:
    right, share = _mean_and_members([(0.51, 0.49), (0.51, 0.49), (0.01, 0.99)], label=0)
    return Finding(
        "The mean of the probabilities is at least as accurate as its members on average.",
        "counterpart of S3.89",
        f"Members that give the true class 0.51, 0.51 and 0.01 are right in {share:.0%}; their mean, 0.34, is "
        f"{'right' if right else 'wrong'}.",
        float(right) >= share,
        true=False,
    )


def _which_mean() -> Finding:
    shares = torch.tensor([[0.4, 0.6], [0.4, 0.6], [0.999, 0.001]], dtype=torch.float64)
    members = [row[None].log() for row in shares]
    probabilities = mixture.mixture(members).exp()
    logits = torch.stack(members).mean(0).softmax(1)
    return Finding(
        "The mean of the probabilities and the softmax of the mean of the logits are the same.",
        "counterpart of S3.91",
        f"Of members that give class 0 the probabilities 0.4, 0.4 and 0.999 the first is {float(probabilities[0, 0]):.3f} "
        f"and the second {float(logits[0, 0]):.3f}.",
        apart(probabilities, logits) < ROUNDING,
        true=False,
    )


# Dropout -----------------------------------------------------------------------------------------------------------

SAMPLES = 600


def _sampled_dropout() -> Finding:
    """A perceptron with 8 hidden units has 256 networks inside; each has probability 1/256 at p = 1/2."""
    network = build("mlp", classes=3, channels=1, size=4, width=8, dropout=0.5, init="kaiming").eval()
    pixels = torch.from_numpy(
        np.random.Generator(np.random.Philox(key=5)).integers(0, 256, (4, 1, 4, 4), dtype=np.uint8)
    )
    images = ImageSet(pixels, torch.arange(4), torch.zeros(4, dtype=torch.int64), ("a", "b", "c"))
    normalise = Normaliser((0.5,), (0.25,))
    masks = torch.tensor(list(itertools.product((0.0, 2.0), repeat=8)))
    with torch.no_grad():
        hidden, output = network.get_submodule("hidden"), network.get_submodule("output")
        inside = hidden(normalise(pixels).flatten(1))
        each = output(masks[:, None] * inside).double().softmax(2)
    wanted = each.mean(0)
    found = sample_dropout(network, images, normalise, samples=SAMPLES).logs.exp()
    deviations = (found - wanted).abs() / (each.std(0, correction=0) / math.sqrt(SAMPLES))
    return Finding(
        "Networks drawn by dropout have the mean of all 2^K networks that dropout contains as theirs.",
        "S3.31",
        f"The mean of {SAMPLES:,} networks that the package draws is at most {float(deviations.max()):.1f} standard "
        f"errors ({float((found - wanted).abs().max()):.4f}) from that of all 256 of a perceptron with 8 hidden units.",
        float(deviations.max()) < 4 and float(each.std(0).max()) > 0.01,
    )


# Views -------------------------------------------------------------------------------------------------------------


def _network() -> nn.Module:
    return build("lenet5", classes=10, channels=1, size=28).double().eval()


def _change(network: nn.Module) -> float:
    """By how much an answer changes, in log-probability, when the image is mirrored."""
    images = drawn(11, 6, 1, 28, 28)
    with torch.no_grad():
        return apart(network(images).log_softmax(1), network(images.flip(3)).log_softmax(1))


def _mirrored() -> Finding:
    plain = _change(_network())
    off = max(_change(views.Viewed(_network(), kind)) for kind in ("flip", "ten-crop"))
    return Finding(
        "Averaged over an image and its mirror image, a prediction is the same for both.",
        "S3.91",
        f"Mirroring changes log-probabilities by {plain:.3f} plain, and by {off:.1e} with the views `flip` or `ten-crop`.",
        off < ROUNDING < plain,
    )


def _ten_crop() -> Finding:
    images = drawn(12, 2, 3, 32, 32)
    seen = views.views_of(images, "ten-crop")
    padded = F.pad(images, (2, 2, 2, 2), mode="reflect")
    corners = [(2, 2), (0, 0), (0, 4), (4, 0), (4, 4)]
    five = [padded[:, :, i : i + 32, j : j + 32] for i, j in corners]
    off = max(
        apart(one, other) for one, other in zip(seen, [*five, *(view.flip(3) for view in five)], strict=False)
    )
    return Finding(
        "Ten-crop is five patches, the centre and the corners, and their horizontal reflections.",
        "S3.91",
        f"Of an image of 32x32 the package makes {len(seen)} views; they differ from patches cut by hand by {off:g}.",
        len(seen) == 10 and off == 0,
    )


def _views_cost() -> Finding:
    network, images, labels = _network(), drawn(13, 12, 1, 28, 28), torch.arange(12) % 10
    worst = -math.inf
    with torch.no_grad():
        for kind in views.KINDS:
            each = [loss(network(view).log_softmax(1), labels) for view in views.views_of(images, kind)]
            worst = max(worst, loss(views.Viewed(network, kind)(images), labels) - sum(each) / len(each))
    return Finding(
        "The cross-entropy of the mean over views is at most the mean of the views' cross-entropies.",
        "S3.91",
        f"For {', '.join(views.KINDS)} it is below by at least {-worst:.1e} nats.",
        worst <= ROUNDING,
    )


class _Sided(nn.Module):
    """Class 0 where the left pixel outweighs five times the right one."""

    def forward(self, images: Tensor) -> Tensor:
        left, right = images.flatten(1).T
        return torch.stack([left - 5 * right, torch.zeros_like(left)], 1)


def _views_and_accuracy() -> Finding:
    image = torch.tensor([1.0, 0.0], dtype=torch.float64).view(1, 1, 1, 2)
    network = _Sided()
    plain = float(network(image).softmax(1)[0, 0])
    seen = float(views.Viewed(network, "flip")(image).exp()[0, 0])
    return Finding(
        "Test-time augmentation never makes a right prediction wrong.",
        "counterpart of S3.91",
        f"A network that weighs the left pixel with 1 and the right one with -5 gives the true class {plain:.3f} for the "
        f"image (1, 0), and {seen:.3f} averaged with its mirror image.",
        seen > 0.5,
        true=False,
    )


# Weights -----------------------------------------------------------------------------------------------------------


def _averaged_linear() -> Finding:
    members = [build("logistic", classes=4, channels=1, size=5, seed=seed).double() for seed in range(3)]
    images = drawn(14, 9, 1, 5, 5)
    with torch.no_grad():
        mean = torch.stack([member(images) for member in members]).mean(0)
        off = apart(averaging.average_weights(members)(images), mean)
    return Finding(
        "Of linear models, the one with the mean of the weights gives the mean of the logits.",
        "S3.89; Izmailov et al. (2018)",
        f"For three logistic regressions they differ by at most {off:.1e}.",
        off < ROUNDING,
    )


def _averaged_networks() -> Finding:
    """The same function twice: the hidden units of the second are those of the first in reverse order."""
    one = build("mlp", classes=3, channels=1, size=4, width=6, init="kaiming").double()
    other = build("mlp", classes=3, channels=1, size=4, width=6, init="kaiming").double()
    state = {
        name: tensor.flip(0) if name.startswith("hidden") else tensor
        for name, tensor in one.state_dict().items()
    }
    other.load_state_dict(state | {"output.weight": state["output.weight"].flip(1)})
    images = drawn(15, 9, 1, 4, 4)
    with torch.no_grad():
        same = apart(one(images), other(images))
        off = apart(averaging.average_weights([one, other])(images), one(images))
    return Finding(
        "The mean of the weights of two networks that compute the same function computes it too.",
        "counterpart of S3.89; Izmailov et al. (2018)",
        f"Two perceptrons whose hidden units are numbered differently agree to {same:.0e}; the network in their middle is "
        f"{off:.2f} off in its logits.",
        off < ROUNDING,
        true=False,
    )


# A 6 and a 9 -------------------------------------------------------------------------------------------------------


def _glyph(rows: Sequence[str]) -> Tensor:
    return torch.tensor([[pixel == "#" for pixel in row] for row in rows])


def _two_flips() -> Finding:
    images = drawn(16, 20, 3, 9, 7)
    turned, flipped = torch.rot90(images, 2, (2, 3)), images.flip(2).flip(3)
    equal = torch.equal(turned, flipped)
    made = torch.equal(_glyph(SIX).flip(0).flip(1), _glyph(NINE))
    return Finding(
        "Both flips together are a rotation by 180 degrees, which makes a 9 of a 6.",
        "S1.3, E1.9",
        f"20 images flipped both ways equal those rotated, pixel by pixel: {equal}; a 6 of seven segments becomes a 9: "
        f"{made}.",
        equal and made,
    )


def _one_flip() -> Finding:
    six, nine = _glyph(SIX), _glyph(NINE)
    differ = {way: int((six.flip(axis) != nine).sum()) for way, axis in (("horizontal", 1), ("vertical", 0))}
    return Finding(
        "A flip makes a 9 of a 6.",
        "S1.3 as printed, E1.9",
        f"In seven segments the horizontal flip of a 6 differs from a 9 in {differ['horizontal']} of {six.numel()} "
        f"pixels, the vertical one in {differ['vertical']}.",
        min(differ.values()) == 0,
        true=False,
    )
