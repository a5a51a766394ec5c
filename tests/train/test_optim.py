"""Five steps on a quadratic, beside torch's own optimizers and beside the printed formulas in NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from convscope.core.config import Choice, Recipe
from convscope.models import build
from convscope.train import optim

RNG = np.random.default_rng(0)
CURVATURE = np.diag([1.0, 3.0, 0.5, 10.0])
START = RNG.normal(size=4)
STEPS = 5
Weights = list[np.ndarray]
Update = Callable[[np.ndarray, int], np.ndarray]


def gradient(weight: np.ndarray) -> np.ndarray:
    """Of w^T C w / 2."""
    return CURVATURE @ weight


def rate(step: int) -> float:
    """It doubles after the first step, as a schedule would have it."""
    return 0.05 if step == 1 else 0.1


def walk(optimizer: torch.optim.Optimizer, weight: nn.Parameter) -> Weights:
    """The weights after each step."""
    found = []
    for step in range(1, STEPS + 1):
        optim.set_rate(optimizer, rate(step))
        optimizer.zero_grad()
        matrix = torch.from_numpy(CURVATURE).to(weight.dtype)
        (weight @ matrix @ weight / 2).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        found.append(weight.detach().numpy().copy())
    return found


def walk_in_numpy(update: Update, decay: float = 0.0, decoupled: float = 0.0) -> Weights:
    """The weights after each step of weight <- weight - rate update(g, step), steps counted from 1."""
    weight, found = START.copy(), []
    for step in range(1, STEPS + 1):
        g = gradient(weight) + decay * weight
        weight = (1 - rate(step) * decoupled) * weight - rate(step) * update(g, step)
        found.append(weight)
    return found


def close(some: Weights, other: Weights) -> bool:
    """To rounding: far below 5e-9, which is what eps within the root would change where slopes are 1."""
    return bool(np.allclose(some, other, rtol=1e-11, atol=1e-13))


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(START.copy()))


def ours(name: str, decay: float = 0.0, decoupled: bool = False, **options: Any) -> Weights:
    weight = parameter()
    recipe = Recipe(lr=0.05, optimizer=Choice(name=name, options=options), decoupled=decoupled)
    return walk(optim.build(recipe, [optim.Group(("w",), (weight,), decay)]), weight)


def theirs(kind: type[torch.optim.Optimizer], **options: Any) -> Weights:
    """Torch's class, in the loop over tensors that is easiest to trust."""
    weight = parameter()
    return walk(kind([weight], lr=0.05, foreach=False, **options), weight)  # type: ignore[call-arg]


# The formulas, with eps where torch has it ----------------------------------------------------------------------


def sgd(momentum: float, nesterov: bool) -> Update:
    velocity = np.zeros(4)

    def update(g: np.ndarray, step: int) -> np.ndarray:
        nonlocal velocity
        velocity = momentum * velocity + g
        return g + momentum * velocity if nesterov else velocity

    return update


def rmsprop(beta2: float, eps: float, momentum: float) -> Update:
    square, velocity = np.zeros(4), np.zeros(4)

    def update(g: np.ndarray, step: int) -> np.ndarray:
        nonlocal square, velocity
        square = beta2 * square + (1 - beta2) * g * g
        velocity = momentum * velocity + g / (np.sqrt(square) + eps)
        return velocity

    return update


def adam(beta1: float, beta2: float, eps: float, amsgrad: bool = False) -> Update:
    mean, square, largest = np.zeros(4), np.zeros(4), np.zeros(4)

    def update(g: np.ndarray, step: int) -> np.ndarray:
        nonlocal mean, square, largest
        mean = beta1 * mean + (1 - beta1) * g
        square = beta2 * square + (1 - beta2) * g * g
        largest = np.maximum(largest, square) if amsgrad else square
        return mean / (1 - beta1**step) / (np.sqrt(largest / (1 - beta2**step)) + eps)

    return update


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True), (0.0, True)])
def test_sgd(momentum: float, nesterov: bool, decay: float) -> None:
    found = ours("sgd", decay, momentum=momentum, nesterov=nesterov)
    assert close(found, walk_in_numpy(sgd(momentum, nesterov), decay))
    look_ahead = nesterov and momentum > 0
    made = theirs(torch.optim.SGD, momentum=momentum, nesterov=look_ahead, weight_decay=decay)
    assert close(found, made)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("options", [{}, {"beta2": 0.9, "eps": 0.1}, {"momentum": 0.9}], ids=str)
def test_rmsprop(options: dict[str, float], decay: float) -> None:
    found = ours("rmsprop", decay, **options)
    full = {"beta2": 0.99, "eps": 1e-8, "momentum": 0.0, **options}
    assert close(found, walk_in_numpy(rmsprop(**full), decay))
    made = theirs(
        torch.optim.RMSprop,
        alpha=full["beta2"],
        eps=full["eps"],
        momentum=full["momentum"],
        weight_decay=decay,
    )
    assert close(found, made)


# beta1 = 0.5 and beta2 = 0.9 are S2.21's.
BETAS: list[dict[str, Any]] = [{}, {"beta1": 0.5, "beta2": 0.9}, {"beta1": 0.0, "eps": 0.1}]


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("options", BETAS, ids=str)
def test_adam(options: dict[str, Any], amsgrad: bool, decay: float) -> None:
    found = ours("adam", decay, amsgrad=amsgrad, **options)
    full = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, **options}
    assert close(found, walk_in_numpy(adam(**full, amsgrad=amsgrad), decay))
    betas = (full["beta1"], full["beta2"])
    made = theirs(torch.optim.Adam, betas=betas, eps=full["eps"], weight_decay=decay, amsgrad=amsgrad)
    assert close(found, made)


def test_amsgrad_differs_once_gradients_shrink() -> None:
    """A large gradient and then small ones: the mean square forgets, its largest value does not."""
    weights = {}
    for amsgrad in (False, True):
        weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimizer = optim.adam(
            [{"params": [weight]}], lr=1.0, beta1=0.0, beta2=0.5, eps=1e-12, amsgrad=amsgrad
        )
        for g in (8.0, 1.0):
            weight.grad = torch.full((1,), g, dtype=torch.float64)
            optimizer.step()
        weights[amsgrad] = -weight.item() - 1  # the first step is 1 in both
    # Mean squares 32 and then 16.5, each over 1 - 0.5^2 = 0.75.
    assert weights == pytest.approx({False: (16.5 / 0.75) ** -0.5, True: (32 / 0.75) ** -0.5}, rel=1e-9)


@pytest.mark.parametrize("options", BETAS, ids=str)
def test_adamw(options: dict[str, Any]) -> None:
    found = ours("adamw", 0.1, **options)
    full = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, **options}
    assert close(found, walk_in_numpy(adam(**full), decoupled=0.1))
    betas = (full["beta1"], full["beta2"])
    assert close(found, theirs(torch.optim.AdamW, betas=betas, eps=full["eps"], weight_decay=0.1))
    # Asked for in either way, or in both, it decays once.
    for name, decoupled in (("adam", True), ("adamw", True)):
        assert close(found, ours(name, 0.1, decoupled, **options))
    assert not np.allclose(found, ours("adam", 0.1, **options), rtol=1e-3)


# What the lecture says ------------------------------------------------------------------------------------------

SLOPES = np.array([1.0, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8])


def first_step(name: str) -> np.ndarray:
    """At rate 1 and the defaults, from gradients of several sizes."""
    weight = nn.Parameter(torch.zeros(len(SLOPES), dtype=torch.float64))
    recipe = Recipe(lr=1.0, optimizer=Choice(name=name))
    optimizer = optim.build(recipe, [optim.Group(("w",), (weight,), 0.0)])
    weight.grad = torch.from_numpy(SLOPES.copy())
    optimizer.step()
    return -weight.detach().numpy()


@pytest.mark.parametrize(
    ("name", "square", "ratios"),
    [
        # (s + eps) / sqrt(s^2 + eps) with eps = 1e-8 and s the size of the gradient,
        ("adam", SLOPES**2, [1 + 5e-9, 0.999951, 0.995047, 0.707178, 0.0100995, 0.0002]),
        # or a tenth of it, since m2 starts at zero and nothing corrects that.
        ("rmsprop", 0.01 * SLOPES**2, [1 - 4e-7, 0.995047, 0.707178, 0.0996032, 0.0011, 0.00011]),
    ],
)
def test_eps_inside_the_root_as_printed_takes_smaller_steps(
    name: str, square: np.ndarray, ratios: list[float]
) -> None:
    """E3.10: the lecture's step in shares of ours (torch's), first step, by the size of the gradient."""
    found = first_step(name)
    assert found == pytest.approx(SLOPES / (np.sqrt(square) + 1e-8), rel=1e-9)
    as_printed = SLOPES / np.sqrt(square + 1e-8)
    assert as_printed / found == pytest.approx(ratios, rel=2e-6)


@pytest.mark.parametrize(("beta1", "beta2"), [(0.9, 0.999), (0.5, 0.9)])
def test_the_correction_of_the_start_is_exact_where_the_gradient_is_constant(
    beta1: float, beta2: float
) -> None:
    """S3.58: m1 = (1 - beta1^k) g and m2 = (1 - beta2^k) g g; corrected, g and g g: every step is lr sign(g)."""
    g = np.array([3.0, -0.5, 1e-3, -20.0])
    weight = nn.Parameter(torch.zeros(4, dtype=torch.float64))
    optimizer = optim.adam([{"params": [weight]}], lr=0.25, beta1=beta1, beta2=beta2, eps=1e-16)
    for k in range(1, 31):
        weight.grad = torch.from_numpy(g.copy())
        optimizer.step()
        state = {key: value.numpy() for key, value in optimizer.state[weight].items()}
        assert state["exp_avg"] == pytest.approx((1 - beta1**k) * g, rel=1e-12)
        assert state["exp_avg_sq"] == pytest.approx((1 - beta2**k) * g * g, rel=1e-12)
        assert weight.detach().numpy() == pytest.approx(-0.25 * k * np.sign(g), rel=1e-10)


def test_rmsprops_first_step_is_ten_times_the_rate() -> None:
    """1/sqrt(1 - 0.99): nothing corrects that the mean square starts at zero."""
    assert first_step("rmsprop")[0] == pytest.approx(10, rel=1e-6)
    assert first_step("adam")[0] == pytest.approx(1, rel=1e-6)


# Groups --------------------------------------------------------------------------------------------------------


def test_which_parameters_decay() -> None:
    model = build("resnet20", classes=10, channels=3, size=32)
    decaying, other = optim.groups(model, Recipe(weight_decay=1e-3))
    assert (decaying.weight_decay, other.weight_decay) == (1e-3, 0.0)
    assert set(decaying.names) | set(other.names) == {name for name, _ in model.named_parameters()}
    shapes = dict(model.named_parameters())
    assert all(shapes[name].ndim > 1 for name in decaying.names)
    assert all(shapes[name].ndim == 1 for name in other.names) and any("bias" in name for name in other.names)
    (everything,) = optim.groups(model, Recipe(weight_decay=1e-3, decay="all"))
    assert len(everything.names) == len(shapes)


def test_frozen_parameters_are_in_no_group() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    assert [group.names for group in optim.groups(model, Recipe())] == [("1.weight",), ("1.bias",)]


def test_a_group_says_what_it_does() -> None:
    weights = [nn.Parameter(torch.zeros(1000, 2)) for _ in range(4)]
    many = optim.Group(("a", "b", "c", "d"), tuple(weights), 5e-4)
    assert str(many) == "0.0005 on 8,000 numbers in 4 tensors (a, b, c, ...)"
    assert str(optim.Group(("a",), (weights[0],), 0.0)) == "none on 2,000 numbers in 1 tensor (a)"


def test_the_rate_reaches_every_group() -> None:
    model = nn.Linear(2, 2)
    optimizer = optim.build(Recipe(), optim.groups(model, Recipe()))
    optim.set_rate(optimizer, 0.123)
    assert [group["lr"] for group in optimizer.param_groups] == [0.123, 0.123]
