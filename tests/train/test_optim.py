"""Three steps on a quadratic, beside torch's own optimizers and beside ten lines of NumPy."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from convscope.core.config import Choice, Recipe
from convscope.models import build
from convscope.train import optim
from convscope.train.muon import Muon, muon, orthogonalised

RNG = np.random.default_rng(0)
CURVATURE = np.diag([1.0, 3.0, 0.5, 10.0])
START = RNG.normal(size=4)
STEPS = 3
Weights = list[np.ndarray]


def gradient(weight: np.ndarray) -> np.ndarray:
    """Of w^T C w / 2."""
    return CURVATURE @ weight


def walk(optimizer: torch.optim.Optimizer, weight: nn.Parameter) -> Weights:
    """The weights after each of three steps; the rate doubles after the first, as a schedule would have it."""
    found = []
    for step in range(STEPS):
        optim.set_rate(optimizer, 0.05 * (1 if step == 0 else 2))
        optimizer.zero_grad()
        matrix = torch.from_numpy(CURVATURE).to(weight.dtype)
        (weight @ matrix @ weight / 2).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        found.append(weight.detach().numpy().copy())
    return found


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(START.copy()))


def ours(name: str, decay: float = 0.0, **options: Any) -> Weights:
    weight = parameter()
    recipe = Recipe(lr=0.05, optimizer=Choice(name=name, options=options))
    return walk(optim.build(recipe, [optim.Group(("w",), (weight,), decay)]), weight)


def sgd_in_numpy(momentum: float, nesterov: bool, decay: float) -> Weights:
    weight, velocity, found = START.copy(), np.zeros(4), []
    for step in range(STEPS):
        rate = 0.05 * (1 if step == 0 else 2)
        g = gradient(weight) + decay * weight
        velocity = momentum * velocity + g
        weight = weight - rate * (g + momentum * velocity if nesterov else velocity)
        found.append(weight)
    return found


def adam_in_numpy(beta1: float, beta2: float, eps: float, decay: float) -> Weights:
    weight, mean, square, found = START.copy(), np.zeros(4), np.zeros(4), []
    for step in range(1, STEPS + 1):
        rate = 0.05 * (1 if step == 1 else 2)
        g = gradient(weight) + decay * weight
        mean = beta1 * mean + (1 - beta1) * g
        square = beta2 * square + (1 - beta2) * g * g
        mean_hat, square_hat = mean / (1 - beta1**step), square / (1 - beta2**step)
        weight = weight - rate * mean_hat / (np.sqrt(square_hat) + eps)
        found.append(weight)
    return found


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True), (0.0, True)])
def test_sgd(momentum: float, nesterov: bool, decay: float) -> None:
    found = ours("sgd", decay, momentum=momentum, nesterov=nesterov)
    assert np.allclose(found, sgd_in_numpy(momentum, nesterov, decay), rtol=1e-12)
    weight = parameter()
    theirs = torch.optim.SGD(
        [weight],
        lr=0.05,
        momentum=momentum,
        nesterov=nesterov and momentum > 0,
        weight_decay=decay,
        foreach=False,
    )
    assert np.allclose(found, walk(theirs, weight), rtol=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("options", [{}, {"beta1": 0.5, "beta2": 0.9, "eps": 0.1}])
def test_adam(options: dict[str, float], decay: float) -> None:
    found = ours("adam", decay, **options)
    full = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, **options}
    assert np.allclose(found, adam_in_numpy(decay=decay, **full), rtol=1e-10)
    weight = parameter()
    betas = (full["beta1"], full["beta2"])
    theirs = torch.optim.Adam(
        [weight], lr=0.05, betas=betas, eps=full["eps"], weight_decay=decay, foreach=False
    )
    assert np.allclose(found, walk(theirs, weight), rtol=1e-10)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_muon_steps_everything_but_convolutions_as_nesterov_does(decay: float) -> None:
    """With a rate of its own, `others_lr` times as large."""
    found = ours("muon", decay, others_lr=1.0, others_momentum=0.8)
    assert np.allclose(found, sgd_in_numpy(0.8, True, decay), rtol=1e-12)
    weight, plain = parameter(), ours("muon", decay, others_lr=0.5, others_momentum=0.0)
    theirs = torch.optim.SGD([weight], lr=0.05, weight_decay=decay)
    for step in range(STEPS):
        theirs.param_groups[0]["lr"] = 0.5 * 0.05 * (1 if step == 0 else 2)
        theirs.zero_grad()
        (weight @ torch.from_numpy(CURVATURE) @ weight / 2).backward()  # type: ignore[no-untyped-call]
        theirs.step()
        assert np.allclose(plain[step], weight.detach().numpy(), rtol=1e-12)


def newton_schulz(matrix: np.ndarray) -> np.ndarray:
    """Three rounds of the quintic, on singular values: X = U S V^T -> U p(p(p(S))) V^T."""
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    s = s / (np.linalg.norm(matrix) + 1e-7)
    for _ in range(3):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return np.asarray(u @ np.diag(s) @ v)


@pytest.mark.parametrize("shape", [(8, 3, 3, 3), (4, 8, 3, 3), (16, 16, 1, 1), (1, 3, 3, 3), (32, 1, 3, 3)])
def test_orthogonalising_keeps_singular_vectors(shape: tuple[int, ...]) -> None:
    matrix = RNG.normal(size=(shape[0], int(np.prod(shape[1:]))))
    found = orthogonalised(torch.from_numpy(matrix)).numpy()
    assert np.allclose(found, newton_schulz(matrix), atol=1e-10)
    u, _, v = np.linalg.svd(matrix, full_matrices=False)
    inside = u.T @ found @ v.T
    assert np.allclose(inside, np.diag(np.diag(inside)), atol=1e-10)


@pytest.mark.parametrize("spread", [1.0, 2.0, 5.0])
def test_singular_values_become_about_one(spread: float) -> None:
    """Of matrices whose largest is up to five times the smallest: between 0.6 and 1.3 after three rounds."""
    u, _ = np.linalg.qr(RNG.normal(size=(12, 12)))
    v, _ = np.linalg.qr(RNG.normal(size=(30, 12)))
    matrix = u @ np.diag(np.linspace(1, spread, 12)) @ v.T
    values = np.linalg.svd(orthogonalised(torch.from_numpy(matrix)).numpy(), compute_uv=False)
    assert values.min() > 0.6 and values.max() < 1.3


def test_a_filter_bank_and_its_transpose_are_treated_alike() -> None:
    matrix = torch.from_numpy(RNG.normal(size=(20, 5)))
    assert torch.allclose(orthogonalised(matrix), orthogonalised(matrix.T).T, atol=1e-12)


def test_no_gradient_at_all_gives_no_step() -> None:
    assert torch.equal(orthogonalised(torch.zeros(3, 4)), torch.zeros(3, 4))


@pytest.mark.parametrize("fix_norm", [True, False])
def test_muon_on_a_convolution_by_numpy(fix_norm: bool) -> None:
    weight = nn.Parameter(torch.from_numpy(RNG.normal(size=(6, 2, 3, 3))))
    slopes = [RNG.normal(size=weight.shape) for _ in range(STEPS)]
    optimizer = muon([{"params": [weight], "weight_decay": 0.1}], lr=0.05, momentum=0.6, fix_norm=fix_norm)
    expected, velocity = weight.detach().numpy().copy(), np.zeros(weight.shape)
    for slope in slopes:
        weight.grad = torch.from_numpy(slope)
        optimizer.step()
        velocity = 0.6 * velocity + slope
        direction = (slope + 0.6 * velocity).reshape(6, -1)
        expected *= np.sqrt(6) / np.linalg.norm(expected) if fix_norm else 1 - 0.05 * 0.1
        expected = expected - 0.05 * newton_schulz(direction).reshape(expected.shape)
    assert np.allclose(weight.detach().numpy(), expected, rtol=1e-9)


def test_parameters_without_a_gradient_stay() -> None:
    frozen, moving = parameter(), parameter()
    optimizer = Muon(
        [{"params": [frozen, moving], "weight_decay": 0.1}], muon([{"params": [parameter()]}], 0.1).defaults
    )
    moving.grad = torch.ones(4, dtype=torch.float64)
    optimizer.step()
    assert np.array_equal(frozen.detach().numpy(), START)
    assert not np.array_equal(moving.detach().numpy(), START)


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
    assert str(optim.Group(("a",), (weights[0],), 0.0)) == "none on 2,000 numbers in 1 tensors (a)"


def test_the_rate_reaches_every_group() -> None:
    model = nn.Linear(2, 2)
    optimizer = optim.build(Recipe(), optim.groups(model, Recipe()))
    optim.set_rate(optimizer, 0.123)
    assert [group["lr"] for group in optimizer.param_groups] == [0.123, 0.123]
