"""Each check of `dropout` with layers that drop otherwise, and masks by hand."""

from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.models.blocks import CommonParts
from convscope.verify import dropout as topic


def test_masks_and_chances_by_hand() -> None:
    assert topic._masks(2, 0.5).tolist() == [[0, 0], [0, 2], [2, 0], [2, 2]]
    assert topic._chances(2, 0.25).tolist() == [1 / 16, 3 / 16, 3 / 16, 9 / 16]


class Dropping(nn.Module):
    """Drops a share of its inputs by their place and multiplies the others."""

    def __init__(self, share: float, factor: float, *, always: bool = False) -> None:
        super().__init__()
        self.share, self.factor, self.always = share, factor, always

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training or self.always):
            return x
        dropped = torch.arange(x.numel()).view_as(x) % 100 < 100 * self.share
        return torch.where(dropped, 0.0, self.factor * x)


def with_layer(monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    monkeypatch.setattr(topic, "make_dropout", lambda parts: make(parts.dropout))


def test_a_right_layer_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    with_layer(monkeypatch, lambda p: Dropping(p, 1 / (1 - p)))
    assert topic._values().holds
    assert topic._share().holds
    assert topic._evaluation().holds


def test_a_layer_that_does_not_scale_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with_layer(monkeypatch, lambda p: Dropping(p, 1))
    assert not topic._values().holds


def test_a_layer_that_drops_more_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with_layer(monkeypatch, lambda p: Dropping(p + 0.01, 1 / (1 - p)))
    assert not topic._share().holds


def test_a_layer_that_is_never_off_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with_layer(monkeypatch, lambda p: Dropping(p, 1 / (1 - p), always=True))
    assert not topic._evaluation().holds
    with_layer(monkeypatch, lambda p: nn.Identity())
    assert not topic._evaluation().holds


@pytest.mark.parametrize("name", ["relu", "leaky-relu"])
def test_another_activation_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic, "make_activation", lambda parts, may_overwrite: nn.Softplus())
    assert not topic._before_and_after(name).holds
    assert not topic._same_draws().holds


def test_of_tanh_by_hand() -> None:
    finding = topic._before_and_after("tanh", true=False)
    assert (
        "is 0.9640 with dropout before and 1.5232 with dropout after" in finding.evidence
    )  # tanh 2, 2 tanh 1


def test_an_activation_that_is_homogeneous_and_does_not_commute_would_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(topic, "_difference", lambda name: (1.0 if name == "relu" else 0.0, 1.0))
    assert not topic._which_commute().holds


def with_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks of 0 and 1, as if nothing were divided by 1 - p."""
    right = topic._masks
    monkeypatch.setattr(topic, "_masks", lambda units, share: (right(units, share) != 0).double())


@pytest.mark.parametrize("check", [topic._linear_mean, topic._geometric_mean, topic._penalty])
def test_masks_that_do_not_scale_are_seen(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with_masks(monkeypatch)
    assert not check().holds


def test_the_mean_of_two_relus_by_hand() -> None:
    """Of the four masks, (2, 0) alone leaves something above zero: 2, with a probability of 1/4."""
    assert "mean over the 4 masks is 0.5, and in evaluation the output is 0" in topic._other_means().evidence


def test_a_mean_of_fractions_that_is_off_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic, "Fraction", lambda a, b=1: Fraction(a, b) + Fraction(1, 10**9))
    assert not topic._mean().holds


def test_the_layer_of_the_networks_is_checked() -> None:
    assert isinstance(topic.make_dropout(CommonParts(dropout=0.5)), nn.Dropout)
