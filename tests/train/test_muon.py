"""Muon beside a version in NumPy that works on singular values, and beside torch's gradient descent."""

import numpy as np
import pytest
import torch
from torch import nn

from convscope.core.config import Choice, Recipe
from convscope.train import optim
from convscope.train.muon import Muon, muon, orthogonalised

RNG = np.random.default_rng(0)
STEPS = 5


def newton_schulz(matrix: np.ndarray) -> np.ndarray:
    """Three rounds of the quintic, on singular values: X = U S V^T -> U p(p(p(S))) V^T."""
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    s = s / (np.linalg.norm(matrix) + 1e-7)
    for _ in range(3):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return np.asarray(u @ np.diag(s) @ v)


def pull(weight: nn.Parameter, target: torch.Tensor) -> None:
    """Leave the gradient of |weight - target|^2 / 2 with curvatures from 1 to 10."""
    curvature = torch.linspace(1, 10, weight.numel(), dtype=weight.dtype).view(weight.shape)
    weight.grad = curvature * (weight.detach() - target)


@pytest.mark.parametrize("fix_norm", [True, False])
@pytest.mark.parametrize("shape", [(6, 2, 3, 3), (20, 2, 3, 3)], ids=str)
def test_a_convolution_by_numpy(shape: tuple[int, ...], fix_norm: bool) -> None:
    """On a quadratic; the rate doubles after the first step."""
    weight = nn.Parameter(torch.from_numpy(RNG.normal(size=shape)))
    target = torch.from_numpy(RNG.normal(size=shape))
    curvature = np.linspace(1, 10, weight.numel()).reshape(shape)
    optimizer = muon([{"params": [weight], "weight_decay": 0.1}], lr=0.05, momentum=0.6, fix_norm=fix_norm)
    expected, velocity = weight.detach().numpy().copy(), np.zeros(shape)
    for step in range(STEPS):
        rate = 0.05 if step == 0 else 0.1
        optimizer.param_groups[0]["lr"] = rate
        pull(weight, target)
        optimizer.step()
        slope = curvature * (expected - target.numpy())
        velocity = 0.6 * velocity + slope
        direction = (slope + 0.6 * velocity).reshape(len(slope), -1)
        expected = expected * (np.sqrt(len(slope)) / np.linalg.norm(expected) if fix_norm else 1 - rate * 0.1)
        expected = expected - rate * newton_schulz(direction).reshape(shape)
        assert np.allclose(weight.detach().numpy(), expected, rtol=1e-9, atol=1e-11), step


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize(("factor", "momentum"), [(1.0, 0.8), (0.5, 0.0), (1.6, 0.9)])
@pytest.mark.parametrize("shape", [(4,), (3, 5)], ids=str)
def test_everything_else_takes_torchs_nesterov_steps(
    shape: tuple[int, ...], factor: float, momentum: float, decay: float
) -> None:
    """At a rate of its own, `others_lr` times as large."""
    start, target = RNG.normal(size=shape), torch.from_numpy(RNG.normal(size=shape))
    ours, theirs = (nn.Parameter(torch.from_numpy(start.copy())) for _ in range(2))
    optimizers = (
        muon([{"params": [ours], "weight_decay": decay}], 0.02, others_lr=factor, others_momentum=momentum),
        torch.optim.SGD(
            [theirs], lr=0.02 * factor, momentum=momentum, nesterov=momentum > 0, weight_decay=decay
        ),
    )
    for _ in range(STEPS):
        for weight, optimizer in zip((ours, theirs), optimizers, strict=True):
            pull(weight, target)
            optimizer.step()
        assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-13)
    assert not np.allclose(ours.detach().numpy(), start, atol=0.05)


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


def test_parameters_without_a_gradient_stay() -> None:
    frozen, moving = (nn.Parameter(torch.full((4,), 2.0)) for _ in range(2))
    group = {"params": [frozen, moving], "weight_decay": 0.1}
    optimizer = Muon([group], muon([{"params": [nn.Parameter(torch.zeros(1))]}], 0.1).defaults)
    moving.grad = torch.ones(4)
    optimizer.step()
    assert frozen.tolist() == [2.0] * 4
    assert moving.tolist() != [2.0] * 4


def test_a_first_step_goes_where_torchs_goes() -> None:
    """torch.optim.Muon takes matrices, and iterates in bfloat16: the same direction to a thousandth."""
    start, gradient = torch.from_numpy(RNG.normal(size=(2, 6, 18))).float()
    theirs, ours = nn.Parameter(start.clone()), nn.Parameter(start.clone().view(6, 2, 3, 3))
    theirs.grad, ours.grad = gradient.clone(), gradient.clone().view(6, 2, 3, 3)
    torch.optim.Muon([theirs], lr=0.05, weight_decay=0.0, momentum=0.6, ns_steps=3).step()
    muon([{"params": [ours], "weight_decay": 0.0}], lr=0.05, momentum=0.6, fix_norm=False).step()
    moved, wanted = (ours.detach().view(6, 18) - start).flatten(), (theirs.detach() - start).flatten()
    assert torch.cosine_similarity(moved, wanted, dim=0) > 0.999
    assert float(moved.norm() / wanted.norm()) == pytest.approx(1.0, abs=0.01)


def test_what_keeps_its_norm_does_not_decay_and_the_words_say_so() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    kept = {
        "0.1 on 8 numbers in 1 tensor (3.weight)",
        "none on 118 numbers in 4 tensors (0.weight, 1.weight, 1.bias, ...)",
    }
    free = {
        "0.1 on 116 numbers in 2 tensors (0.weight, 3.weight)",
        "none on 10 numbers in 3 tensors (1.weight, 1.bias, 3.bias)",
    }
    for fix_norm, words in ((True, kept), (False, free)):
        recipe = Recipe(weight_decay=0.1, optimizer=Choice(name="muon", options={"fix_norm": fix_norm}))
        asked = optim.groups(model, recipe)
        assert set(map(str, optim.acting(asked, optim.build(recipe, asked)))) == words
