"""The check of the smoothness measures fails where one of them is another; constants by hand."""

import math

import pytest
import torch

from convscope.verify import smoothness as topic


def test_constants_by_hand() -> None:
    # x^2 on [-1, 1]: slopes up to 2, which change by 2 a unit.
    assert topic.constants((lambda x: x * x, lambda x: 2 * x)) == pytest.approx((2, 2), rel=1e-4)
    assert topic.constants(topic.STEEP) == pytest.approx((100, 0))


def test_losses_by_hand() -> None:
    # (0.5 + 2 + 10)/2 before the first step; with the rate 0.1 the third coordinate is then gone.
    found = topic.losses(0.1)
    assert found[0] == 6.25
    assert found[1] == pytest.approx((0.5 * 0.95**2 + 2 * 0.8**2) / 2)


def test_a_beta_that_does_not_divide_by_the_distance_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert topic._along_the_gradient().holds
    monkeypatch.setattr(topic.diagnostic.Walk, "beta", property(lambda walk: float(walk.changes.max())))
    assert not topic._along_the_gradient().holds


def test_a_second_difference_divided_by_the_rates_would_be_found_to_measure_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a quadratic of one curvature it is about (L rate)^2 f, so the squares of the rates divide them out."""
    right = topic.losses
    monkeypatch.setattr(topic, "CURVATURES", torch.tensor([10.0] * 3, dtype=torch.float64))
    monkeypatch.setattr(topic, "losses", lambda rate: [loss / rate**2 for loss in right(rate)])
    found = topic._second_difference()
    assert found.holds and not found.as_expected


def test_functions_of_which_the_smoother_is_the_flatter_would_clear_the_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(topic, "STEEP", (lambda x: 1e-5 * x, lambda x: torch.full_like(x, 1e-5)))
    assert topic._smooth_is_not_flat().holds


def test_batches_without_noise_would_clear_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic, "drawn", lambda key, *shape: torch.zeros(shape, dtype=torch.float64))
    assert topic._successive_gradients().holds


def test_a_band_that_ignores_the_rates_would_be_of_the_landscape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic, "losses", lambda rate: [math.exp(-step) for step in range(topic.STEPS)])
    assert topic._band().holds
