"""The check of the optimizers fails where one is wrong; formulas and counter-examples worked by hand."""

import numpy as np
import pytest
import torch

from convscope.core import catalog
from convscope.train import muon, optim
from convscope.verify import optimizers


def test_every_optimizer_of_the_catalog_is_checked() -> None:
    assert set(optimizers.CHECKS) == set(catalog.names("optimizers"))


def test_the_formulas_by_hand() -> None:
    g = np.array([2.0, -1.0, 0.0, 4.0, 0.5])
    heavy, ahead = optimizers.momentum(0.5), optimizers.momentum(0.5, nesterov=True)
    assert heavy(g, 1).tolist() == g.tolist() and heavy(g, 2).tolist() == (1.5 * g).tolist()
    assert ahead(g, 1).tolist() == (1.5 * g).tolist() and ahead(g, 2).tolist() == (1.75 * g).tolist()
    # m = g^2/4, its root |g|/2, so steps of +-2; corrected Adam begins with +-1; eps = 1e-8 is seen at 1e-8 only.
    assert optimizers.rmsprop(0.75)(g, 1) == pytest.approx([2, -2, 0, 2, 2], rel=1e-7)
    assert optimizers.adam(0.9, 0.999)(g, 1) == pytest.approx([1, -1, 0, 1, 1], rel=1e-7)
    # At g = 1e-4 = sqrt(eps): 1e-4/sqrt(2e-8) = 0.7071 inside, 1e-4/(1e-4 + 1e-8) outside.
    small = np.full(5, 1e-4)
    assert optimizers.rmsprop(0.0, inside=True)(small, 1) == pytest.approx(np.full(5, 2**-0.5), rel=1e-12)
    assert optimizers.rmsprop(0.0)(small, 1) == pytest.approx(np.full(5, 1 / 1.0001), rel=1e-12)
    # AMSGrad remembers 4^2 x 0.1 where Adam forgets: second moments 1.6, 1.44 after a slope of 4, then 0.
    amsgrad, adam = optimizers.adam(0.0, 0.9, largest=True), optimizers.adam(0.0, 0.9)
    for update in (amsgrad, adam):
        update(np.full(5, 4.0), 1)
    assert amsgrad(np.full(5, 0.1), 2)[0] == pytest.approx(0.1 / (1.6 / 0.19) ** 0.5, rel=1e-7)
    assert adam(np.full(5, 0.1), 2)[0] == pytest.approx(0.1 / (1.441 / 0.19) ** 0.5, rel=1e-7)


WRONG = {
    "sgd": (torch.optim.SGD, {"momentum": 0.9, "dampening": 0.1}, optimizers._momentum),
    "rmsprop": (torch.optim.RMSprop, {"alpha": 0.98}, optimizers._rmsprop),
    "adam": (torch.optim.Adam, {"betas": (0.9, 0.99)}, optimizers._adam),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.01}, optimizers._adamw),
}


@pytest.mark.parametrize("name", WRONG)
def test_another_optimizer_under_that_name_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, options, check = WRONG[name]
    assert check().holds

    def wrong(groups, lr, momentum: float = 0.9, nesterov: bool = False, amsgrad: bool = False):
        return kind([{"params": group["params"]} for group in groups], lr=lr, **options)

    monkeypatch.setattr(optim, name, wrong)
    assert not check().holds


def test_a_muon_with_one_round_less_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert optimizers._muon().holds
    monkeypatch.setattr(muon, "ROUNDS", 2)
    assert not optimizers._muon().holds


def test_a_moment_that_starts_at_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Started(torch.optim.Adam):
        def step(self, closure=None):
            super().step(closure)
            for state in self.state.values():
                if state["step"] == 1:
                    state["exp_avg"] += 1e-3

    def wrong(groups, lr, beta1: float = 0.9):
        return Started([{"params": group["params"]} for group in groups], lr=lr)

    monkeypatch.setattr(optim, "adam", wrong)
    assert not optimizers._means_are_corrected("exp_avg", 0.9, 1, "first").holds
    assert optimizers._means_are_corrected("exp_avg_sq", 0.999, 2, "second").holds


def test_steps_needed_by_hand() -> None:
    # 2^-20 = 9.5e-7 is the first power of a half below 1e-6.
    assert optimizers.steps_needed((1.0,), 0.5, 0.0) == 20
    # The best rate 2/(1 + 9) = 0.2 shrinks both coordinates by 0.8: 0.8^62 = 9.8e-7.
    assert optimizers.steps_needed((1.0, 9.0), 0.2, 0.0) == 62
    # The first step of momentum lands on the minimum and the second leaves it.
    assert optimizers.steps_needed((1.0,), 1.0, 0.5) > 10


def test_an_adam_that_never_forgets_would_pass_reddis_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the claim that Adam always converges is not refuted, which is not as expected."""
    right = optim.adam
    monkeypatch.setattr(
        optim,
        "adam",
        lambda groups, lr, beta1=0.9, beta2=0.999, amsgrad=False: right(groups, lr, beta1, beta2, 1e-8, True),
    )
    optim.adam.__annotations__.update(beta1=float, beta2=float, amsgrad=bool)
    always, amsgrad = optimizers._reddi()
    assert always.holds and not always.as_expected
    assert amsgrad.holds
