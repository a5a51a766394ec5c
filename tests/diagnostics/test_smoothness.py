"""Along the gradient of a quadratic everything is known; in a network, what training does is done."""

import copy
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope.core.config import Recipe
from convscope.core.errors import ConfigError
from convscope.core.streams import Streams
from convscope.data import Data, ImageSet, Normaliser
from convscope.data.images import Sealed
from convscope.diagnostics.smoothness import band, second_differences, smoothness, walk
from convscope.evaluate.subject import Moment, Subject, subject_of

CLASSES = ("a", "b", "c")


def drawn(model: nn.Module) -> nn.Module:
    draw = np.random.default_rng(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.from_numpy(draw.standard_normal(tuple(parameter.shape))))
    return model


def linear() -> nn.Module:
    return drawn(nn.Sequential(nn.Flatten(), nn.Linear(32, 3)))


def normed(dropout: float = 0.0) -> nn.Module:
    return drawn(
        nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Dropout(dropout),
            nn.Linear(16, 3),
        )
    )  # fmt: skip


def subject_with(model: nn.Module, **more: Any) -> Subject:
    draw = np.random.default_rng(5)
    pixels = torch.from_numpy(draw.integers(0, 256, (24, 2, 4, 4), dtype=np.uint8))
    train = ImageSet(pixels, torch.arange(24), torch.from_numpy(draw.integers(0, 3, 24)), CLASSES)
    data = Data("noise", CLASSES, train, train, Sealed(0, lambda: train), (0.5, 0.5), (0.25, 0.25), "")
    return subject_of(
        model, data, Normaliser(data.mean, data.std), "a net on noise", streams=Streams(3), **more
    )


def batch(step: int) -> tuple[Tensor, Tensor]:
    draw = np.random.default_rng(step)
    return torch.from_numpy(draw.standard_normal((8, 2, 4, 4), np.float32)), torch.from_numpy(
        draw.integers(0, 3, 8)
    )


def moment(lr: float = 0.1, give: Callable[[int], tuple[Tensor, Tensor]] = batch) -> Moment:
    return Moment(7, 0.5, lr, give)


def plain(model: nn.Module, given: tuple[Tensor, Tensor], loss: Any) -> tuple[float, list[Tensor]]:
    """Loss and gradients of a network as it is, by .backward()."""
    model.zero_grad()
    value = loss(model(given[0]), given[1])
    value.backward()
    return value.item(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def length(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(float(t.double().square().sum()) for t in tensors))


def squared(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits - nn.functional.one_hot(labels, 3)).square().mean()


def test_beta_of_a_quadratic_is_its_curvature_along_the_gradient() -> None:
    scales = torch.tensor([4.0, 1.0, 0.5], dtype=torch.float64)

    def half_square(w: Tensor) -> tuple[float, Tensor]:
        return float((scales * w * w).sum() / 2), scales * w

    found = walk(half_square, torch.tensor([0.0, 2.0, 0.0], dtype=torch.float64), [0.5, 1.0, 4.0])
    assert found.beta == pytest.approx(1.0)
    # f(2 - 2 eta) = (2 - 2 eta)^2 / 2: 0.5, 0 and 18.
    assert (found.start, found.gradient, found.losses.tolist()) == (2.0, 2.0, [0.5, 0.0, 18.0])
    assert found.distances.tolist() == found.changes.tolist() == [1.0, 2.0, 8.0]
    # g = (4, 1, 0), H g = (16, 1, 0).
    mixed = walk(half_square, torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64), [0.1, 0.2])
    assert mixed.beta == pytest.approx(math.sqrt(257 / 17))


def test_beta_of_a_network_with_a_quadratic_loss_is_that_of_its_hessian() -> None:
    model = linear()
    found = smoothness(subject=subject_with(model, moment=moment()), loss="mse")
    inputs, labels = batch(7)
    _, (weight, bias) = plain(model, (inputs, labels), squared)
    gradient = torch.cat([weight, bias[:, None]], 1).double().numpy()
    wide = np.hstack([inputs.flatten(1).double().numpy(), np.ones((8, 1))])
    curved = gradient @ (2 / 3 * wide.T @ wide / 8)
    assert found.beta == pytest.approx(np.linalg.norm(curved) / np.linalg.norm(gradient), rel=0.01)
    assert found.gradient == pytest.approx(np.linalg.norm(gradient), rel=1e-5)
    assert found.steps.tolist() == pytest.approx(np.linspace(0.05, 0.4, 8).tolist())
    # The gradient changes in proportion to the distance.
    assert found.change_low == pytest.approx(0.05 * np.linalg.norm(curved), rel=0.01)
    assert found.change_high == pytest.approx(0.4 * np.linalg.norm(curved), rel=0.01)


def test_the_walk_is_what_training_would_meet() -> None:
    model = normed().train()
    subject = subject_with(model, moment=moment())
    before = {name: tensor.clone() for name, tensor in subject.model.state_dict().items()}
    state = torch.get_rng_state()
    found = smoothness(subject=subject, low=1.0, high=2.0, points=2)
    start, gradients = plain(model, batch(7), nn.functional.cross_entropy)
    assert found.start_loss == pytest.approx(start, rel=1e-5)
    losses, changes = [], []
    for eta in (0.1, 0.2):
        there = copy.deepcopy(model)
        for parameter, gradient in zip(there.parameters(), gradients, strict=True):
            parameter.data.sub_(gradient, alpha=eta)
        loss, changed = plain(there, batch(7), nn.functional.cross_entropy)
        losses.append(loss)
        changes.append(length([a - b for a, b in zip(changed, gradients, strict=True)]))
    assert found.losses[0].tolist() == pytest.approx(losses, rel=1e-4)
    assert found.changes[0].tolist() == pytest.approx(changes, rel=1e-3)
    assert (found.loss_low, found.loss_high) == (found.losses.min(), found.losses.max())
    assert found.beta == pytest.approx(
        max(c / d for c, d in zip(changes, found.distances[0], strict=True)), rel=1e-3
    )
    after = subject.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert not subject.model.training
    assert torch.equal(torch.get_rng_state(), state)


def test_proxies_are_those_of_three_plain_steps() -> None:
    model = normed().train()
    found = smoothness(subject=subject_with(model, moment=moment()), points=2)
    losses, lasts = [], []
    for step in (7, 8, 9):
        loss, gradients = plain(model, batch(step), nn.functional.cross_entropy)
        losses.append(loss)
        lasts.append(gradients[-2])
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.data.sub_(gradient, alpha=0.1)
    assert found.last_layer == "5.weight"
    assert found.last_layer_change == pytest.approx(length([lasts[1] - lasts[0]]), rel=1e-4)
    assert found.second_difference == pytest.approx(abs(2 * losses[1] - losses[0] - losses[2]), rel=1e-3)


def test_dropout_drops_the_same_at_every_point() -> None:
    found = smoothness(subject=subject_with(normed(dropout=0.5), moment=moment(lr=1e-6)), points=2)
    assert found.change_high < 1e-3 * found.gradient
    assert found.loss_high == pytest.approx(found.start_loss, rel=1e-3)
    clean = smoothness(subject=subject_with(normed(), moment=moment(lr=1e-6)), points=2)
    assert found.start_loss != pytest.approx(clean.start_loss, rel=1e-3)


def test_while_training_it_looks_at_the_coming_step() -> None:
    asked = []

    def give(step: int) -> tuple[Tensor, Tensor]:
        asked.append(step)
        images, labels = batch(step)
        return images, nn.functional.one_hot(labels, 3).float()

    found = smoothness(subject=subject_with(normed(), moment=moment(0.05, give)), points=2)
    assert asked == [7, 8, 9]
    assert (found.batches, found.batch, found.lr) == (1, 8, 0.05)
    labelled = smoothness(subject=subject_with(normed(), moment=moment(0.05)), points=2)
    np.testing.assert_allclose(found.losses, labelled.losses, rtol=1e-6)


def test_of_a_run_it_takes_the_rate_and_batches_of_the_training_split() -> None:
    recipe = Recipe(lr=0.25)
    subject = subject_with(normed(), recipe=recipe)
    found, again = (smoothness(subject=subject, points=3, batch=6) for _ in range(2))
    assert (found.lr, found.batches, found.batch, found.losses.shape) == (0.25, 8, 6, (8, 3))
    assert np.array_equal(found.losses, again.losses)
    assert len(np.unique(found.losses[:, 0])) == 8
    assert found.loss_high == pytest.approx(found.losses.max(1).mean())
    assert found.beta == pytest.approx((found.changes / found.distances).max(1).mean())


def test_without_a_last_linear_layer_the_last_convolution_counts() -> None:
    model = drawn(nn.Sequential(nn.Conv2d(2, 2, 3), nn.Conv2d(2, 3, 2), nn.Flatten()))
    assert smoothness(subject=subject_with(model, moment=moment()), points=2).last_layer == "1.weight"


def test_nothing_moves_at_a_learning_rate_of_zero() -> None:
    found = smoothness(subject=subject_with(normed(), moment=moment(lr=0.0)), points=2)
    assert math.isnan(found.beta)
    assert found.sentence == (
        "a net on noise: after 0 to 0 times the gradient, nothing moves: the learning rate or the gradient is zero."
    )


def test_sentence_says_the_three_measures() -> None:
    found = smoothness(subject=subject_with(linear(), moment=moment()), loss="mse")
    assert re.fullmatch(
        r"a net on noise: after 0\.05 to 0\.4 times the gradient, the loss lies between [\d.]+ and [\d.]+, from "
        r"[\d.]+; the gradient, of length [\d.]+, changes by [\d.]+ to [\d.]+, and the effective beta is [\d.]+\.",
        found.sentence,
    )
    assert f"beta is {found.beta:.3g}." in found.sentence


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Smoothness moves by multiples of a learning rate, and a module has none: give lr=..."),
        (
            {"lr": 0.1, "low": 2.0, "high": 2.0},
            "The steps go from low to high: low must be below high, not 2 and 2.",
        ),
    ],
)
def test_what_it_cannot_do_is_said(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        smoothness(subject=subject_with(linear()), **options)


def test_band_and_second_differences_by_hand() -> None:
    low, high = band([[3.0, 2.0, 1.0], [2.0, 4.0, 1.5]])
    assert (low.tolist(), high.tolist()) == ([2.0, 2.0, 1.0], [3.0, 4.0, 1.5])
    # |8 - 1 - 9| and |18 - 4 - 2|
    assert second_differences([1.0, 4.0, 9.0, 2.0]).tolist() == [2.0, 12.0]
    message = "A band needs one loss a step of each run, and as many of each; there are 2 curves with 1 and 2 steps."
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        band([[1.0], [1.0, 2.0]])
