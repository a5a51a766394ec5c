"""Does automatic differentiation give the gradient, in which order is it cheap, and what does it cost?

The lecture's graph, f(x, y) = y log x + sqrt(y log x) at x = 3, y = 2, in
forward and in reverse mode, by hand, by torch and by the closed form; products
of Jacobians in every order; operations counted, not timed, so that a busy
machine changes nothing.

    L  layers, or nodes of a graph      n_l  outputs of layer l; n_0 inputs
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from convscope.models import build

from . import Finding
from .numbers import ROUNDING, apart, drawn

X, Y = 3.0, 2.0
COUNTED = ("simplenn", "lenet5", "resnet20")
"""Networks whose operations are counted."""


def autodiff() -> Iterator[Finding]:
    """E3.8 and E3.11 on the lecture's graph; orders of multiplication; costs; what torch's calls do."""
    yield from _lecture_graph()
    yield _slope_in_y()
    yield _printed_root()
    yield from _pseudocode()
    yield _finite_differences()
    yield _reverse_when_narrowing()
    yield _reverse_always()
    yield _orders_agree()
    yield _cost_of_gradient()
    yield _backward_by_hand()
    yield _no_grad()
    yield _gradients_add_up()


# The lecture's graph -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """One step of a computation: what it needs (positions from 1), its value, and its slope in each input."""

    inputs: tuple[int, ...]
    value: Callable[..., float]
    slopes: tuple[Callable[..., float], ...]


GRAPH: dict[int, Node] = {
    3: Node((1,), math.log, (lambda x: 1 / x,)),
    4: Node((2, 3), lambda y, a: y * a, (lambda y, a: a, lambda y, a: y)),
    5: Node((4,), math.sqrt, (lambda b: 1 / (2 * math.sqrt(b)),)),
    6: Node((5, 4), lambda c, b: c + b, (lambda c, b: 1.0, lambda c, b: 1.0)),
}
"""y1 = x, y2 = y, then a = log x, b = y a, c = sqrt b, f = c + b."""


def evaluate(x: float, y: float) -> dict[int, float]:
    """The forward pass: every y_l from those before it."""
    values = {1: x, 2: y}
    for place, node in GRAPH.items():
        values[place] = node.value(*(values[i] for i in node.inputs))
    return values


def forward_mode(x: float, y: float) -> tuple[float, float]:
    """(df/dx, df/dy): slopes carried along with the values, once for each input."""
    values, found = evaluate(x, y), []
    for start in (1, 2):
        slopes = {1: 0.0, 2: 0.0} | {start: 1.0}
        for place, node in GRAPH.items():
            given = [values[i] for i in node.inputs]
            parts = zip(node.slopes, node.inputs, strict=True)
            slopes[place] = sum(slope(*given) * slopes[i] for slope, i in parts)
        found.append(slopes[max(GRAPH)])
    return found[0], found[1]


def reverse_mode(
    x: float, y: float, factor: Callable[[int], int] = lambda place: place
) -> tuple[float, float]:
    """(df/dx, df/dy) by g[i] += g[l] * f[l].grad(i), from the last node to the first.

    Args:
        x: first input.
        y: second input.
        factor: l -> which g is multiplied; as printed it is g[1].
    """
    values = evaluate(x, y)
    g = dict.fromkeys(values, 0.0) | {max(GRAPH): 1.0}
    for place, node in reversed(GRAPH.items()):
        given = [values[i] for i in node.inputs]
        for slope, i in zip(node.slopes, node.inputs, strict=True):
            g[i] += g[factor(place)] * slope(*given)
    return g[1], g[2]


def closed_form(x: float, y: float) -> tuple[float, float]:
    """The derivatives of y log x + sqrt(y log x) from a table of derivatives."""
    root = math.sqrt(y * math.log(x))
    return y / x * (1 + 1 / (2 * root)), math.log(x) * (1 + 1 / (2 * root))


def torch_gradient(x: float, y: float) -> tuple[float, float]:
    """The same by torch."""
    given = [torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in (x, y)]
    b = given[1] * given[0].log()
    first, second = torch.autograd.grad(b + b.sqrt(), given)
    return float(first), float(second)


def _lecture_graph() -> Iterator[Finding]:
    found = {
        "forward mode": forward_mode(X, Y)[0],
        "reverse mode": reverse_mode(X, Y)[0],
        "torch": torch_gradient(X, Y)[0],
        "the closed form": closed_form(X, Y)[0],
    }
    root = math.sqrt(2 * math.log(3))
    right, printed = (2 + 1 / root) / 3, (2 + 1 / (3 * root)) / 3
    off = max(abs(value - right) for value in found.values())
    yield Finding(
        "At x = 3, y = 2 the derivative of y log x + sqrt(y log x) in x is (2 + 1/sqrt(2 log 3))/3 = 0.8915.",
        "S3.77, E3.8",
        f"Found as {right:.4f} by {', '.join(found)}; they differ by at most {off:.1e}.",
        off < ROUNDING and abs(right - 0.8915) < 5e-5,
    )
    yield Finding(
        "At x = 3, y = 2 that derivative is (2 + 1/(3 sqrt(2 log 3)))/3 = 0.7416.",
        "S3.77 as printed, E3.8",
        f"Forward mode gives 1/(3 sqrt(2 log 3)) + 2/3 = {found['forward mode']:.4f}: a third was factored out twice.",
        abs(found["forward mode"] - printed) < 1e-3,
        true=False,
    )


def _slope_in_y() -> Finding:
    wanted = math.sqrt(math.log(3) / 2) / 2 + math.log(3)
    off = max(abs(way(X, Y)[1] - wanted) for way in (forward_mode, reverse_mode, torch_gradient, closed_form))
    return Finding(
        "The derivative in y is sqrt(log(3)/2)/2 + log 3.",
        "S3.77",
        f"It is {wanted:.4f}; forward mode, reverse mode, torch and the closed form differ from it by at most {off:.1e}.",
        off < ROUNDING,
    )


def _printed_root() -> Finding:
    """c = sqrt b, so dc/dy = db/dy / (2 sqrt b); the middle of the printed line lacks the 2, its end has it."""
    b = evaluate(X, Y)[4]
    middle, end = math.log(3) / math.sqrt(b), math.sqrt(math.log(3) / 2) / 2
    return Finding(
        "dc/dy = (1/sqrt b) db/dy = sqrt(log(3)/2)/2.",
        "S3.77 as printed",
        f"The middle is {middle:.4f} and the end {end:.4f}: the root's derivative is 1/(2 sqrt b).",
        abs(middle - end) < ROUNDING,
        true=False,
    )


def _pseudocode() -> Iterator[Finding]:
    points = [(x, y) for x in (1.5, 3.0, 10.0) for y in (0.5, 2.0, 7.0)]
    off = max(
        abs(mine - other)
        for point in points
        for mine, other in zip(reverse_mode(*point), torch_gradient(*point), strict=True)
    )
    yield Finding(
        "g[i] += g[l] f[l].grad(i), from the last node to the first, computes the gradient.",
        "S3.77, E3.11",
        f"At {len(points)} points of the lecture's graph it differs from torch's gradient by at most {off:.1e}.",
        off < ROUNDING,
    )
    printed = reverse_mode(X, Y, lambda place: 1)
    wanted = torch_gradient(X, Y)
    yield Finding(
        "g[i] += g[1] f[1].grad(i), from the last node to the first, computes the gradient.",
        "S3.77 as printed, E3.11",
        f"With g[1] for g[l] it stays ({printed[0]:g}, {printed[1]:g}), since g[1] starts at 0; the gradient is "
        f"({wanted[0]:.4f}, {wanted[1]:.4f}).",
        all(abs(a - b) < ROUNDING for a, b in zip(printed, wanted, strict=True)),
        true=False,
    )


def _finite_differences() -> Finding:
    def value(x: float) -> float:
        return evaluate(x, Y)[6]

    wanted = closed_form(X, Y)[0]
    errors = {
        power: abs((value(X + 10.0**-power) - value(X - 10.0**-power)) / (2 * 10.0**-power) - wanted)
        for power in range(1, 14)
    }
    best = min(errors, key=errors.__getitem__)
    exact = abs(reverse_mode(X, Y)[0] - wanted)
    return Finding(
        "Backpropagation is finite differencing.",
        "counterpart of S3.75",
        f"On the lecture's graph central differences with steps of 1e-1 to 1e-13 are off by at least {errors[best]:.0e} "
        f"(at 1e-{best}); reverse mode is off by {exact:.0e}, its rounding.",
        errors[best] <= max(exact, 1e-15),
        true=False,
    )


# Orders of multiplication ------------------------------------------------------------------------------------------


def cost(sizes: Sequence[int], reverse: bool) -> int:
    """Multiplications of Df_L ... Df_1 for n_0 ... n_L: from the right (forward mode) or from the left (reverse)."""
    last = len(sizes) - 1
    if reverse:
        return sum(sizes[last] * sizes[k] * sizes[k - 1] for k in range(1, last))
    return sum(sizes[k + 1] * sizes[k] * sizes[0] for k in range(1, last))


def cheapest(sizes: Sequence[int]) -> int:
    """The least multiplications over all ways to set brackets."""

    @cache
    def between(first: int, last: int) -> int:
        if last - first < 2:
            return 0
        return min(
            between(first, cut) + between(cut, last) + sizes[first] * sizes[cut] * sizes[last]
            for cut in range(first + 1, last)
        )

    return between(0, len(sizes) - 1)


def _reverse_when_narrowing() -> Finding:
    chains = [sizes[::-1] for sizes in itertools.combinations_with_replacement((1, 2, 3, 5, 10, 40), 6)]
    worse = sum(cost(sizes, reverse=True) > cheapest(sizes) for sizes in chains)
    network = (3072, 512, 128, 32, 10, 1)
    return Finding(
        "Reverse mode needs the fewest multiplications when n_L <= ... <= n_1 <= n_0.",
        "S3.76",
        f"Against the best of all brackets in {len(chains)} chains of 5 Jacobians it is worse in {worse}; for sizes "
        f"{', '.join(map(str, network))} it needs {cost(network, reverse=True):,} multiplications, forward mode "
        f"{cost(network, reverse=False):,}.",
        worse == 0,
    )


def _reverse_always() -> Finding:
    sizes = (1, 10, 100, 1000)
    back, forth = cost(sizes, reverse=True), cost(sizes, reverse=False)
    waist = (100, 1, 100, 1, 100)
    return Finding(
        "Reverse mode is the most efficient order of every chain.",
        "counterpart of S3.76",
        f"From one input to 1,000 outputs over {sizes[1]} and {sizes[2]} it needs {back:,} multiplications and forward "
        f"mode {forth:,}; for sizes {', '.join(map(str, waist))} they need {cost(waist, reverse=True):,} and "
        f"{cost(waist, reverse=False):,}, and the best brackets {cheapest(waist):,}.",
        back <= forth and cost(waist, reverse=True) <= cheapest(waist),
        true=False,
    )


def _orders_agree() -> Finding:
    """A network's Jacobian from its layers' by either order, and torch's."""
    sizes = (9, 7, 6, 4, 3)
    matrices = [drawn(i, b, a) / math.sqrt(a) for i, (a, b) in enumerate(zip(sizes, sizes[1:], strict=False))]

    def network(x: Tensor) -> Tensor:
        for matrix in matrices:
            x = torch.tanh(matrix @ x)
        return x

    point = drawn(9, sizes[0])
    jacobians, value = [], point
    for matrix in matrices:
        value = torch.tanh(matrix @ value)
        jacobians.append((1 - value * value)[:, None] * matrix)
    forth, back = jacobians[0], jacobians[-1]
    for factor in jacobians[1:]:
        forth = factor @ forth
    for factor in jacobians[-2::-1]:
        back = back @ factor
    made = torch.func.jacrev(network)(point)
    off = max(apart(forth, back), apart(forth, made))
    return Finding(
        "Dg = Df_L ... Df_1, in whatever order it is multiplied.",
        "S3.76",
        f"For {len(matrices)} layers of tanh, forward and reverse order and torch's Jacobian differ by at most {off:.1e}.",
        off < ROUNDING,
    )


# Costs and calls ---------------------------------------------------------------------------------------------------


def operations(name: str) -> tuple[int, int]:
    """Floating-point operations in products and convolutions: of the forward pass, and of it and the gradient."""
    network = build(name, classes=10, channels=3, size=32)
    images = drawn(0, 2, 3, 32, 32).float()
    with FlopCounterMode(display=False) as there, torch.no_grad():
        network(images)
    with FlopCounterMode(display=False) as both:
        loss = F.cross_entropy(network(images), torch.tensor([0, 1]))
        torch.autograd.grad(loss, list(network.parameters()))
    return there.get_total_flops(), both.get_total_flops()


def seconds(name: str, repeats: int = 5) -> tuple[float, float]:
    """The least time of a forward pass of 32 images, and of one with the gradient."""
    network = build(name, classes=10, channels=3, size=32)
    images, labels = drawn(0, 32, 3, 32, 32).float(), torch.arange(32) % 10
    alone, both = [], []
    for _ in range(repeats):
        started = perf_counter()
        with torch.no_grad():
            network(images)
        between = perf_counter()
        loss = F.cross_entropy(network(images), labels)
        torch.autograd.grad(loss, list(network.parameters()))
        alone.append(between - started)
        both.append(perf_counter() - between)
    return min(alone), min(both)


def _cost_of_gradient() -> Finding:
    ratios, times = {}, {}
    for name in COUNTED:
        alone, both = operations(name)
        ratios[name] = both / alone
        forward, whole = seconds(name)
        times[name] = whole / forward
    shown = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
    clocked = ", ".join(f"{name} {ratio:.1f}" for name, ratio in times.items())
    return Finding(
        "Computing the gradient costs at most about five times the forward evaluation.",
        "S3.75",
        f"Counted in operations, which decides, forward and backward together are {shown} times the forward pass, nearer "
        f"to three than to five; in seconds, which other programs change, now {clocked} times.",
        all(2 <= ratio <= 5 for ratio in ratios.values()),
    )


def _backward_by_hand() -> Finding:
    """Two layers, ReLU and cross-entropy, with the gradients written out."""
    x, labels = drawn(1, 6, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    first, second = drawn(2, 4, 5).requires_grad_(), drawn(3, 3, 4).requires_grad_()
    hidden = torch.relu(x @ first.T)
    logits = hidden @ second.T
    made = torch.autograd.grad(F.cross_entropy(logits, labels), (first, second))
    with torch.no_grad():
        at_logits = (logits.softmax(1) - F.one_hot(labels, 3)) / len(labels)
        at_hidden = (at_logits @ second) * (hidden > 0)
        off = max(apart(made[0], at_hidden.T @ x), apart(made[1], at_logits.T @ hidden))
    return Finding(
        "`loss.backward()` computes the gradient: no backpropagation needs to be written by hand.",
        "S1.2",
        f"For two layers, ReLU and cross-entropy it differs from one written by hand by at most {off:.1e}.",
        off < ROUNDING,
    )


def _layer() -> nn.Module:
    return build("logistic", classes=3, channels=1, size=4)


def _no_grad() -> Finding:
    network, images = _layer(), drawn(4, 5, 1, 4, 4).float()
    with torch.no_grad():
        bare = network(images)
    kept = network(images)
    differ = int((bare != kept.detach()).sum())
    held = [0 if output.grad_fn is None else len(output.grad_fn.next_functions) for output in (kept, bare)]
    return Finding(
        "In `no_grad` values are the same, and what backpropagation needs is not kept.",
        "S3.78",
        f"{differ} of {kept.numel()} outputs differ in any bit; outside, the output leads back to {held[0]} tensors, "
        f"inside to {held[1]}.",
        differ == 0 and held[0] > 0 and held[1] == 0,
    )


def _gradients_add_up() -> Finding:
    network, images = _layer(), drawn(5, 5, 1, 4, 4).float()
    weight = next(network.parameters())

    def after(times: int, clear: bool) -> Tensor:
        weight.grad = None
        for _ in range(times):
            if clear:
                network.zero_grad()
            F.cross_entropy(network(images), torch.tensor([0, 1, 2, 0, 1])).backward()  # type: ignore[no-untyped-call]
        assert weight.grad is not None  # set by backward
        return weight.grad.clone()

    once = after(1, clear=False)
    kept, cleared = apart(after(2, clear=False), 2 * once), apart(after(2, clear=True), once)
    return Finding(
        "Without `zero_grad` gradients add up from step to step.",
        "S3.78",
        f"Two backward passes leave twice the gradient (off by {kept:.0e}); with `zero_grad` between them, one "
        f"(off by {cleared:.0e}).",
        kept < 1e-6 and cleared < 1e-6 and float(once.abs().max()) > 1e-3,
    )
