"""What must be true of accuracies, entropies and the first loss?

In all of it logarithms are natural, as in the losses.

    K  classes      N  images
"""

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.evaluate.metrics import score
from convscope.models import build

from . import Finding
from .numbers import ROUNDING, drawn

CLASSES = (1, 2, 3, 5, 6, 10, 20)
FROM_NOTHING = ("mlp", "lenet5", "simplenn")
"""Networks that start with small logits."""
SMALL = ("logistic", *FROM_NOTHING, "resnet20", "se-resnet20")
NEAR = 0.05
"""How far from ln K a first loss may be (S1.25)."""
STEPS = 12
"""Distributions over three classes are tried in steps of 1/12."""


def counting() -> Iterator[Finding]:
    """Accuracies are counts, entropy is largest where all is equally likely, and losses start at ln K."""
    yield _top5()
    yield _top5_of_few()
    yield _batches()
    yield _largest_entropy()
    yield _smallest_entropy()
    yield _cross_entropy()
    yield _uniform_loss()
    yield _sign()
    yield _sum_over_classes()
    yield _first_losses()
    yield _every_first_loss()
    yield _zero_head()


def _predictions() -> Iterator[tuple[Tensor, Tensor]]:
    """(logits, labels): arbitrary ones, ones of which many are equal, and all equal."""
    for key, classes in enumerate(CLASSES):
        labels = torch.arange(60) % classes
        logits = drawn(key, 60, classes)
        yield from ((logits, labels), (logits.round(), labels), (torch.zeros_like(logits), labels))


def _one_by_one() -> Iterator[tuple[int, int, Tensor, int]]:
    """(correct, correct among five, logits, label) of each image by itself, where no other can make up for it."""
    for logits, labels in _predictions():
        for row, label in zip(logits, labels, strict=True):
            scores = score(row[None], label[None])
            yield scores.correct, scores.correct_top5, row, int(label)


def _top5() -> Finding:
    cases = wrong = 0
    example = ""
    for top1, top5, row, label in _one_by_one():
        cases += 1
        if top5 < top1:
            wrong += 1
            example = (
                example or f" With {len(row)} logits {_row(row)}, class {label} is first and not among five."
            )
    return Finding(
        "Top-5 accuracy is never below top-1 accuracy.",
        "S3.16",
        f"Of {cases:,} images with up to {max(CLASSES)} classes, many with equal logits, {wrong:,} are right at the "
        f"first guess and not among five.{example}",
        not wrong,
    )


def _row(numbers: Tensor) -> str:
    return " ".join(f"{number:g}" for number in numbers.tolist())


def _top5_of_few() -> Finding:
    few = [score(logits, labels) for logits, labels in _predictions() if logits.shape[1] <= 5]
    images, right = sum(s.images for s in few), sum(s.correct_top5 for s in few)
    return Finding(
        "With at most five classes the top-5 accuracy is 1.",
        "S3.16",
        f"Of {images:,} images with 1, 2, 3 or 5 classes {right:,} are right.",
        images == right,
    )


def _batches() -> Finding:
    wrong, cases = 0, 0
    for logits, labels in _predictions():
        whole = score(logits, labels)
        parts = [score(logits[i : i + 7], labels[i : i + 7]) for i in range(0, len(labels), 7)]
        cases += 1
        wrong += (whole.images, whole.correct, whole.correct_top5) != (
            sum(p.images for p in parts),
            sum(p.correct for p in parts),
            sum(p.correct_top5 for p in parts),
        )
    return Finding(
        "An accuracy is a count of images, whatever batches they came in.",
        "S3.16",
        f"For {cases} sets of 60 images the counts of all and the sums over batches of 7 differ in {wrong}.",
        not wrong,
    )


def _simplex() -> Tensor:
    """All distributions over three classes in steps of 1/12, (91, 3)."""
    pairs = itertools.product(range(STEPS + 1), repeat=2)
    shares = [(i, j, STEPS - i - j) for i, j in pairs if i + j <= STEPS]
    return torch.tensor(shares, dtype=torch.float64) / STEPS


def _entropy(p: Tensor) -> Tensor:
    """(..., K) -> (...,), in nats; 0 ln 0 = 0."""
    entropy: Tensor = torch.special.entr(p).sum(-1)
    return entropy


def _largest_entropy() -> Finding:
    grid = _simplex()
    largest = grid[_entropy(grid).argmax()]
    over, nearest = -math.inf, math.inf
    for classes in CLASSES:
        uniform = float(_entropy(torch.full((classes,), 1 / classes, dtype=torch.float64)))
        others = _entropy(drawn(classes, 1000, classes).softmax(1))
        over = max(over, float(others.max()) - math.log(classes))
        nearest = min(nearest, -abs(uniform - math.log(classes)))
    return Finding(
        "Entropy is largest when all items have equal probability, and then ln K.",
        "E4.3, S4.8",
        f"Of {len(grid)} distributions over 3 classes, {_row(largest)} has the most; of 1,000 arbitrary ones for each "
        f"of {len(CLASSES)} K none is above ln K by more than {max(over, 0):.1e}, and the uniform one misses it by "
        f"{-nearest:.1e}.",
        bool((largest == 1 / 3).all()) and over < ROUNDING and -nearest < ROUNDING,
    )


def _smallest_entropy() -> Finding:
    uniform, certain = _entropy(torch.tensor([[0.1] * 10, [1.0] + [0.0] * 9], dtype=torch.float64)).tolist()
    return Finding(
        "Entropy is a measure that minimizes when all items have equal probability of occurrence.",
        "E4.3",
        f"Ten classes with equal probability have {uniform:.4f} nats, and one certain class has {certain:.4f}.",
        uniform <= certain,
        true=False,
    )


def _cross_entropy() -> Finding:
    grid = _simplex()
    inner = grid[(grid > 0).all(1)]
    costs = -grid @ inner.log().T
    best = inner[costs.argmin(1)]
    reachable = (grid > 0).all(1)
    wrong = int((best[reachable] != inner).any(1).sum())
    excess = float((costs.min(1).values - _entropy(grid))[reachable].abs().max())
    return Finding(
        "Cross-entropy is smallest when the predicted distribution is the true one, and then the entropy.",
        "S4.8, S1.24",
        f"For {len(inner)} true distributions over 3 classes, among as many predictions the best is another one "
        f"{wrong} times, and its cross-entropy differs from the entropy by at most {excess:.1e}.",
        not wrong and excess < ROUNDING,
    )


def _uniform_loss() -> Finding:
    errors = [
        abs(
            float(F.cross_entropy(torch.zeros(1, k, dtype=torch.float64), torch.tensor([k - 1])))
            - math.log(k)
        )
        for k in CLASSES
    ]
    ten = float(F.cross_entropy(torch.zeros(1, 10, dtype=torch.float64), torch.tensor([3])))
    return Finding(
        "The cross-entropy of a prediction that gives all K classes the same probability is -ln(1/K) = ln K.",
        "E1.6, S1.25",
        f"For ten classes it is {ten:.6f}; for {len(CLASSES)} K up to {max(CLASSES)} it differs from ln K by at most "
        f"{max(errors):.1e}.",
        max(errors) < ROUNDING,
    )


def _sign() -> Finding:
    return Finding(
        "The first loss of 2.304 is approximately ln(0.1), which is equal to 2.303.",
        "E1.6",
        f"ln(0.1) = {math.log(0.1):.4f}; it is ln(10) that is {math.log(10):.4f}.",
        math.isclose(math.log(0.1), 2.303, abs_tol=1e-3),
        true=False,
    )


def _sum_over_classes() -> Finding:
    """At the uniform prediction the sum happens to be minus the loss; at no other is it."""
    logits = torch.tensor([[0.7, *[0.3 / 9] * 9]], dtype=torch.float64).log()
    loss = float(F.cross_entropy(logits, torch.tensor([0])))
    total = float((logits.exp() * logits).sum())
    return Finding(
        "The cross-entropy is the sum of p ln(p) over the ten classes, such as 10 * 0.1 * ln(0.1).",
        "E1.6",
        f"Where the true class has probability 0.7 and the others have the rest, the loss is {loss:.4f}, -ln(0.7) and "
        f"no sum, and the sum is {total:.4f}; with ten times 0.1 it is {math.log(0.1):.4f}, below zero.",
        math.isclose(loss, total),
        true=False,
    )


def _first_loss(name: str, classes: int, *, head: bool = True) -> float:
    """Of noise for images, in training mode, as in a run; without a head its last layer is zero."""
    network = build(name, classes=classes, channels=3, size=32)
    if not head:
        last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
    with torch.no_grad():
        logits = network(drawn(classes, 100, 3, 32, 32).float())
    return float(F.cross_entropy(logits.double(), torch.arange(100) % classes))


def _first_losses() -> Finding:
    far = {(name, k): _first_loss(name, k) - math.log(k) for name in FROM_NOTHING for k in (2, 10, 100)}
    (name, k), worst = max(far.items(), key=lambda item: abs(item[1]))
    return Finding(
        "The loss before any training step is approximately ln K.",
        "S1.25, E1.6",
        f"Of {', '.join(FROM_NOTHING)} with 2, 10 and 100 classes, {name} with {k} is the farthest from it, by "
        f"{worst:+.3f}; SimpleNN with 10 is {far['simplenn', 10]:+.4f} from {math.log(10):.4f}.",
        abs(worst) < NEAR,
    )


def _every_first_loss() -> Finding:
    loss = _first_loss("resnet20", 10)
    return Finding(
        "The loss of every fresh network is within 0.05 of ln K.",
        "S1.25",
        f"That of ResNet-20, whose first logits are not small, is {loss:.3f} for ten classes, {loss - math.log(10):.3f} "
        "above.",
        abs(loss - math.log(10)) < NEAR,
        true=False,
    )


def _zero_head() -> Finding:
    far = {name: _first_loss(name, 10, head=False) - math.log(10) for name in SMALL}
    worst = max(map(abs, far.values()))
    return Finding(
        "A network whose last layer is zero starts at exactly ln K, whatever lies before it.",
        "E1.6",
        f"The first losses of {len(SMALL)} networks ({', '.join(SMALL)}) with ten classes differ from ln 10 by at most "
        f"{worst:.1e}.",
        worst < ROUNDING,
    )
