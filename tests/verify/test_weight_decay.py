"""The check of weight decay fails where decay is done wrongly, and its two regressions are scikit-learn's."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from convscope.train import optim
from convscope.verify import Finding, weight_decay


def of(findings: Iterator[Finding], words: str) -> Finding:
    (found,) = [finding for finding in findings if words in finding.statement]
    return found


def test_twice_the_decay_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = optim.sgd

    def wrong(groups, lr, momentum: float = 0.9, nesterov: bool = False):
        doubled = [{**group, "weight_decay": 2 * group["weight_decay"]} for group in groups]
        return right(doubled, lr, momentum, nesterov)

    monkeypatch.setattr(optim, "sgd", wrong)
    findings = list(weight_decay.weight_decay())
    for words in ("theta <-", "For plain gradient descent, `weight_decay`", "For momentum, `weight_decay`"):
        assert not of(iter(findings), words).holds
    # What is printed would be right of such an optimizer.
    assert of(iter(findings), "for plain gradient descent only").holds


def test_decoupled_decay_that_goes_into_the_gradient_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing tells it from a penalty, so the counterparts hold, which is not as expected."""

    def coupled(optimizer: torch.optim.Optimizer, *_: object) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = parameter.grad + group["decoupled"] * parameter.detach()

    monkeypatch.setattr(optim, "_decay", coupled)
    for words in weight_decay.ADAPTIVE:
        found = weight_decay._decoupled(words)
        assert found.holds and not found.as_expected
    assert not weight_decay._adamw().holds
    # Adam's first step on nothing but decay: the rate, whatever lambda.
    assert weight_decay._first_step(0.1, decoupled=True) == pytest.approx(weight_decay.RATE, rel=1e-6)


def test_first_steps_by_hand() -> None:
    # lr sign(g) = 0.05 in the gradient; lr lambda w = 0.05 x 0.1 x 1 beside it.
    assert weight_decay._first_step(0.1, decoupled=False) == pytest.approx(0.05, rel=1e-6)
    assert weight_decay._first_step(0.1, decoupled=True) == pytest.approx(0.005, rel=1e-12)


def test_the_regressions_are_those_of_scikit_learn() -> None:
    from sklearn.linear_model import Lasso, Ridge

    features, answers = weight_decay._regression()
    theirs = Lasso(alpha=0.2, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(features, answers).coef_
    assert np.allclose(weight_decay.lasso(features, answers, 0.2), theirs, atol=1e-9)
    # scikit-learn's ridge has no 1/n and no 1/2.
    theirs = Ridge(alpha=0.2 * len(answers), fit_intercept=False).fit(features, answers).coef_
    assert np.allclose(weight_decay.ridge(features, answers, 0.2), theirs, atol=1e-9)


def test_who_selects_is_found_to_be_the_other_one_when_they_are_exchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lasso, ridge = weight_decay.lasso, weight_decay.ridge
    monkeypatch.setattr(weight_decay, "lasso", ridge)
    monkeypatch.setattr(weight_decay, "ridge", lasso)
    sparser, reversed_ = weight_decay._who_selects()
    assert not sparser.holds
    assert reversed_.holds and not reversed_.as_expected
