"""The check of the starting weights fails where one has the wrong variance; fans counted by hand."""

from functools import wraps

import pytest
import torch
from torch import nn

from convscope.compute.fences import seeded
from convscope.models import init
from convscope.verify import initialisation


def scaled(draw, factor: float):
    """The same start, with weights so many times as large."""

    @wraps(draw)
    def drawn(module: nn.Module, *given: object, **options: object) -> None:
        draw(module, *given, **options)
        with torch.no_grad():
            for layer in module.modules():
                if isinstance(layer, nn.Linear | nn.Conv2d):
                    layer.weight.mul_(factor)

    return drawn


@pytest.mark.parametrize(
    ("name", "checks"),
    [
        ("lecun", ["_lecun_depth", "_backward_needs_the_other_fan", "_convolutions_keep"]),
        ("xavier", ["_xavier_between"]),
        ("kaiming", ["_kaiming_forward", "_kaiming_backward"]),
    ],
)
def test_weights_an_eighth_too_large_are_found(
    name: str, checks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """1.125^2 is 1.27, to the power of 5 layers 3.2."""
    for check in checks:
        assert getattr(initialisation, check)().holds
    monkeypatch.setattr(init, name, scaled(getattr(init, name), 1.125))
    for check in checks:
        assert not getattr(initialisation, check)().holds, check


@pytest.mark.parametrize("name", ["lecun", "xavier", "kaiming"])
def test_one_percent_too_much_is_found_in_what_is_drawn(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, name, scaled(getattr(init, name), 1.01))
    assert not initialisation._drawn_variances().holds


def test_under_relu_lecun_would_hold_with_the_factor_of_kaiming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "lecun", scaled(init.lecun, 2**0.5))
    found = initialisation._lecun_under_relu()
    assert found.holds and not found.as_expected


def test_a_normal_cut_elsewhere_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "truncated_normal", init.normal)
    assert not initialisation._truncated().holds


def test_fans_that_forget_the_groups_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    # torch's fan out is not divided by the groups.
    monkeypatch.setattr(init, "_fans", lambda layer: nn.init._calculate_fan_in_and_fan_out(layer.weight))
    assert not initialisation._fans_of_convolutions().holds


def test_fans_by_hand() -> None:
    with seeded(0):
        layer, strided = nn.Conv2d(2, 5, 3, padding=1), nn.Conv2d(2, 5, 3, stride=3)
    assert initialisation.counted_fans(layer) == (18, 45)
    # Windows side by side: each input is in one window.
    assert initialisation.counted_fans(strided) == (18, 5)


def test_variances_by_hand() -> None:
    """Twice the identity, then thrice: 4 and 36 forward, 9 and 36 on the way back."""
    with seeded(0):
        made = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)).double()
    made[0].weight.data, made[1].weight.data = 2 * torch.eye(4).double(), 3 * torch.eye(4).double()
    assert initialisation.forward_variances(made) == pytest.approx([4, 36])
    assert initialisation.backward_variances(made) == pytest.approx([9, 36])


def test_the_topic_leaves_the_callers_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    findings = list(initialisation.initialisation())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(finding.as_expected for finding in findings)
