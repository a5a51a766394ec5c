"""Dropout that stays on: its mean and spread against what can be worked out, and what it leaves alone."""

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor, nn

from convscope.core.errors import ConfigError
from convscope.data import Normaliser
from convscope.data.images import Arrays, image_set
from convscope.evaluate.dropout import dropouts, sample_dropout
from convscope.evaluate.predict import logits
from convscope.models import build

NORMALISE = Normaliser((0.0,), (1.0,))


def white(count: int, size: int = 1):
    pixels = np.full((count, 1, size, size), 255, dtype=np.uint8)
    return image_set(Arrays(pixels, np.zeros(count, dtype=np.int64)), ("a", "b"))


class Coin(nn.Module):
    """A white pixel: logit 2 for class 0 (1 doubled) in half of the samples, otherwise 0."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.norm = nn.Dropout(0.5), nn.BatchNorm1d(1, eps=0)

    def forward(self, images: Tensor) -> Tensor:
        kept = self.drop(self.norm(images.flatten(1)))
        return torch.cat([kept, torch.zeros_like(kept)], 1)


def test_mean_and_spread_of_a_coin() -> None:
    """Class 0 has probability sigmoid(2) or 1/2, half of the time each: mean 0.69040, deviation 0.19040.

    Over 200 images and 40 samples, the mean's own deviation is 0.19040 / sqrt(8000) = 0.0021.
    """
    found = sample_dropout(Coin(), white(200), NORMALISE, samples=40)
    high = 1 / (1 + np.exp(-2))
    assert float(found.logs.exp()[:, 0].mean()) == pytest.approx((high + 0.5) / 2, abs=4 * 0.0021)
    # With n - 1 the variance has no bias: its mean over images is that of the coin.
    assert float(found.spread.square().mean()) == pytest.approx(((high - 0.5) / 2) ** 2, rel=0.03)
    assert found.samples == 40 and bool(found.right.all())


def test_samples_by_hand() -> None:
    """Each image's mean is (k high + (T - k)/2) / T for a whole k; its spread follows from k."""
    samples = 5
    found = sample_dropout(Coin(), white(50), NORMALISE, samples=samples)
    high = 1 / (1 + np.exp(-2))
    heads = (found.logs.exp()[:, 0].numpy() * samples - samples / 2) / (high - 0.5)
    np.testing.assert_allclose(heads, heads.round(), atol=1e-6)
    assert len(set(heads.round())) > 3
    share = heads.round() / samples
    expected = (high - 0.5) * np.sqrt(share * (1 - share) * samples / (samples - 1))
    np.testing.assert_allclose(found.spread.numpy(), expected, atol=1e-6)


def test_right_is_counted_for_the_mean_and_for_each_sample() -> None:
    """Ties go to class 0, so every sample and the mean have every image of class 0 right."""
    found = sample_dropout(Coin(), white(7), NORMALISE, samples=3)
    assert found.correct == (7, 7, 7) and int(found.right.sum()) == 7


def test_a_function_of_the_seed_that_changes_nothing() -> None:
    model = build("lenet5", classes=2, channels=1, size=28, norm="batch", dropout=0.4).train()
    model.get_submodule("drop5").eval()
    images = white(8, 28)
    before, state = tiny.of_tensors(model.state_dict()), torch.random.get_rng_state()
    modes = [module.training for module in model.modules()]
    one, same, other = (sample_dropout(model, images, NORMALISE, samples=3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.logs, same.logs) and torch.equal(one.spread, same.spread)
    assert not torch.equal(one.logs, other.logs)
    assert tiny.of_tensors(model.state_dict()) == before
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), state)
    # And the next plain prediction has no dropout in it.
    plain = logits(model, images, NORMALISE)
    assert torch.equal(plain, logits(model, images, NORMALISE))


def test_refusals() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.0), nn.Linear(1, 2))
    assert dropouts(model) == []
    with pytest.raises(ConfigError) as error:
        sample_dropout(model, white(2), NORMALISE)
    assert str(error.value) == (
        "This network has no dropout to sample from: every pass would be the same. Train one with --model.dropout 0.5, "
        "for example."
    )
    with pytest.raises(ConfigError) as error:
        sample_dropout(Coin(), white(2), NORMALISE, samples=1)
    assert str(error.value) == "Samples of dropout are compared with each other: 2 are the fewest, not 1."
