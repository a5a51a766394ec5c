"""What every loss of the catalog promises.  A new one is tested here without a new test.

It gets a line in BEST; one with options gets lines in VARIANTS.
"""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from convscope.core import catalog
from convscope.core.config import Choice
from convscope.evaluate import losses

VARIANTS: dict[str, list[dict[str, Any]]] = {"cross-entropy": [{"smoothing": 0.1}, {"smoothing": 0.9}]}
CASES = [
    pytest.param(Choice(name=name, options=options), id=f"{name} {options or ''}")
    for name in catalog.names("losses")
    for options in ({}, *VARIANTS.get(name, []))
]
every_loss = pytest.mark.parametrize("choice", CASES)

# The logits at which shares strictly between 0 and 1 cost least.
BEST: dict[str, Callable[[Tensor], Tensor]] = {
    "cross-entropy": torch.log,
    "mse": lambda shares: shares,
    "bce": torch.logit,
    "l1": lambda shares: shares,
}
# What they cost there.
LEAST: dict[str, Callable[[Tensor], Tensor]] = {
    "cross-entropy": lambda y: -(y * y.log()).sum(1),
    "mse": lambda y: torch.zeros(len(y)),
    "bce": lambda y: -(y * y.log() + (1 - y) * (1 - y).log()).mean(1),
    "l1": lambda y: torch.zeros(len(y)),
}
N, K = 6, 4


def cost(choice: Choice) -> Callable[[Tensor, Tensor], Tensor]:
    options = choice.resolved("losses").options
    function = catalog.find("losses", choice.name).load()
    return lambda logits, shares: function(logits, shares, **options)


def draw(key: int, rows: int = N) -> Tensor:
    return torch.randn(rows, K, generator=torch.Generator().manual_seed(key))


def shares(key: int = 9, rows: int = N) -> Tensor:
    """Half of the images of one class, the others mixed."""
    found = draw(key, rows).softmax(1)
    found[::2] = torch.eye(K)[torch.arange(len(found[::2])) % K]
    return found


@every_loss
def test_one_number_per_image_in_single_precision_never_below_zero(choice: Choice) -> None:
    found = cost(choice)(10 * draw(0, 50), shares(rows=50))
    assert (found.shape, found.dtype) == ((50,), torch.float32)
    assert (found >= 0).all()


@every_loss
def test_the_gradient_is_that_of_finite_differences(choice: Choice) -> None:
    """Central differences in double precision; no logit lies within 1e-3 of a kink."""
    logits, true = (2 * draw(1)).double(), shares().double()
    assert (logits - true).abs().min() > 1e-3
    logits.requires_grad_()
    found = torch.autograd.grad(cost(choice)(logits, true).sum(), logits)[0]
    step, wanted = 1e-5, torch.empty_like(logits)
    with torch.no_grad():
        for i in range(N):
            for k in range(K):
                moved = [logits.clone(), logits.clone()]
                moved[0][i, k] += step
                moved[1][i, k] -= step
                above, below = (cost(choice)(m, true).sum() for m in moved)
                wanted[i, k] = (above - below) / (2 * step)
    assert torch.allclose(found, wanted, rtol=1e-6, atol=1e-8)
    assert found.abs().max() > 0.01


@every_loss
def test_an_image_costs_the_same_alone_or_in_company(choice: Choice) -> None:
    logits, true = draw(2), shares()
    together = cost(choice)(logits, true)
    alone = torch.cat([cost(choice)(logits[i : i + 1], true[i : i + 1]) for i in range(N)])
    assert torch.allclose(together, alone, rtol=1e-6, atol=1e-7)


@every_loss
def test_renaming_the_classes_changes_nothing(choice: Choice) -> None:
    order = torch.tensor([2, 0, 3, 1])
    logits, true = draw(3), shares()
    renamed = cost(choice)(logits[:, order], true[:, order])
    assert torch.allclose(cost(choice)(logits, true), renamed, rtol=1e-6, atol=1e-7)


@every_loss
def test_the_right_answer_costs_less_than_a_wrong_one(choice: Choice) -> None:
    true = torch.eye(K)
    right = cost(choice)(true.clone(), true)
    for turn in range(1, K):
        assert (cost(choice)(true.roll(turn, 0), true) > right).all()


def test_every_loss_has_a_line_in_best() -> None:
    assert list(BEST) == list(LEAST) == catalog.names("losses")
    assert set(VARIANTS) <= set(BEST)


@every_loss
def test_nothing_costs_less_than_the_perfect_prediction(choice: Choice) -> None:
    true = draw(4).double().softmax(1)
    # Smoothing moves what is perfect; the loss itself is not asked where to.
    smoothing = choice.options.get("smoothing", 0.0)
    meant = (1 - smoothing) * true + smoothing / K
    best = BEST[choice.name](meant)
    least = cost(choice)(best, true)
    assert torch.allclose(least, LEAST[choice.name](meant).double(), rtol=1e-9, atol=1e-12)
    for key in range(20):
        for size in (0.01, 0.3, 5.0):
            other = cost(choice)(best + size * draw(key).double(), true)
            assert (other > least).all()


@every_loss
def test_large_logits_cost_much_but_stay_finite(choice: Choice) -> None:
    """A log of a probability that rounds to zero would not."""
    for size in (1e2, 1e4):
        logits = (size * torch.tensor([[1.0, -1.0, 0.5, 0.0], [-1.0, 1.0, 0.0, 1.0]])).requires_grad_()
        found = cost(choice)(logits, torch.eye(K)[[1, 0]])
        (slope,) = torch.autograd.grad(found.sum(), logits)
        assert found.isfinite().all() and slope.isfinite().all()
        assert (found > 0.1 * size / K).all()


@every_loss
def test_logits_and_shares_are_left_alone(choice: Choice) -> None:
    logits, true = draw(5), shares()
    before = logits.clone(), true.clone()
    cost(choice)(logits, true)
    assert torch.equal(logits, before[0]) and torch.equal(true, before[1])


def test_every_function_of_logits_and_shares_is_in_the_catalog() -> None:
    written = {
        f"{function.__module__}:{name}"
        for name, function in inspect.getmembers(losses, inspect.isfunction)
        if list(inspect.signature(function).parameters)[:2] == ["logits", "shares"]
    }
    assert written == {item.target for item in catalog.items("losses")}


@pytest.mark.parametrize("name", catalog.names("losses"))
def test_the_docstring_names_its_source(name: str) -> None:
    assert "Reference:\n" in (catalog.find("losses", name).load().__doc__ or "")
