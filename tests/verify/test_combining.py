"""The check of combinations fails where one is built wrongly; weights and means worked by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.evaluate import averaging, mixture, views
from convscope.verify import combining


def test_best_shares_by_hand() -> None:
    # Errors of 1 and 2, orthogonal: shares as 1/1 to 1/4, so 0.8 and 0.2.
    members = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert combining.best_shares(members, np.zeros(2)) == pytest.approx([0.8, 0.2])
    # The second has the errors of the first and more: it gets nothing.
    assert combining.best_shares(np.array([[1.0, 1.0], [1.0, 3.0]]), np.zeros(2)) == pytest.approx([1, 0])
    # Errors of opposite signs cancel, two thirds to one third.
    assert combining.best_shares(np.array([[1.0], [-2.0]]), np.zeros(1)) == pytest.approx([2 / 3, 1 / 3])


def test_best_shares_are_better_than_a_fine_grid() -> None:
    for key in range(5):
        members, answers = combining._problem(key)
        found = combining.squared(combining.best_shares(members, answers) @ members, answers)
        corners = np.random.default_rng(key).dirichlet(np.full(4, 0.5), size=3000)
        assert min(combining.squared(theta @ members, answers) for theta in corners) >= found


def test_uniform_shares_are_found_not_to_be_well_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combining, "best_shares", lambda members, answers: np.full(len(members), 0.25))
    assert not combining._well_chosen().holds
    monkeypatch.setattr(mixture, "fit_weights", lambda members, labels: torch.full((len(members),), 1 / 3))
    assert not combining._fitted().holds


def test_a_mean_that_is_no_mean_of_probabilities_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of the logits: then the counterpart holds, which is not as expected."""

    def logits(members: list[Tensor], weights: object = None) -> Tensor:
        return torch.stack([member.double() for member in members]).mean(0).log_softmax(1)

    monkeypatch.setattr(mixture, "mixture", logits)
    found = combining._which_mean()
    assert found.holds and not found.as_expected


def test_a_mean_in_which_the_first_member_counts_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = mixture.mixture
    assert combining._copies().holds
    monkeypatch.setattr(mixture, "mixture", lambda members, weights=None: 1.001 * right(members, weights))
    assert not combining._copies().holds


def test_views_without_the_mirror_image_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = views.views_of
    assert combining._mirrored().holds and combining._ten_crop().holds
    monkeypatch.setattr(
        views, "views_of", lambda images, kind, pixels=None: right(images, kind, pixels)[:1] * 10
    )
    assert not combining._mirrored().holds
    assert not combining._ten_crop().holds


def test_a_network_that_does_not_mind_being_mirrored_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not tell views that work from views that do nothing."""
    monkeypatch.setattr(combining, "_network", nn.Flatten)
    monkeypatch.setattr(combining, "drawn", lambda *_: torch.ones(6, 1, 28, 28, dtype=torch.float64))
    assert not combining._mirrored().holds


def test_dropout_of_another_share_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = F.dropout

    def heavier(input: Tensor, p: float, training: bool, inplace: bool = False) -> Tensor:
        return right(input, 0.7 if p else 0.0, training, inplace)

    assert combining._sampled_dropout().holds
    monkeypatch.setattr(F, "dropout", heavier)
    assert not combining._sampled_dropout().holds


def test_an_average_that_keeps_the_first_network_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert combining._averaged_linear().holds
    monkeypatch.setattr(averaging, "average_weights", lambda models: models[0])
    assert not combining._averaged_linear().holds
    found = combining._averaged_networks()
    assert found.holds and not found.as_expected


def test_a_symmetric_glyph_would_clear_the_flip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combining, "NINE", tuple(row[::-1] for row in combining.SIX))
    assert combining._one_flip().holds
    assert not combining._two_flips().holds
