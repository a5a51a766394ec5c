"""ECE is that of plain loops and of a table on paper; a network that is k times too sure has the temperature k."""

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn

from convscope.core.errors import ConfigError
from convscope.core.streams import Streams
from convscope.data import Data, ImageSet, Normaliser
from convscope.data.images import Sealed
from convscope.diagnostics.calibration import HIGHEST, LOWEST, best_temperature, calibration
from convscope.evaluate.subject import Subject, subject_of


class Table(nn.Module):
    """Answers image n, whose first two pixels spell n, with row n of a table."""

    def __init__(self, logits: np.ndarray) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.tensor(logits, dtype=torch.float32))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        number = images[:, 0, 0, 0] * 256 + images[:, 0, 0, 1]
        return self.rows[number.round().long()]


def answering(logits: Any, labels: Any, seed: int = 0) -> Subject:
    logits = np.asarray(logits, dtype=float)
    number = torch.arange(len(logits))
    pixels = torch.stack([number // 256, number % 256], 1).to(torch.uint8).view(-1, 1, 1, 2)
    classes = tuple(f"c{k}" for k in range(logits.shape[1]))
    images = ImageSet(pixels, number, torch.tensor(np.asarray(labels)), classes)
    data = Data("table", classes, images, images, Sealed(0, lambda: images), (0.0,), (1.0,), "")
    return subject_of(
        Table(logits), data, Normaliser((0.0,), (1 / 255,)), "a net on table", streams=Streams(seed)
    )


def by_loops(logits: np.ndarray, labels: np.ndarray, bins: int) -> tuple[float, float, float, float]:
    """ECE, MCE, Brier score and negative log-likelihood, image by image."""
    filled: dict[int, list[tuple[float, bool]]] = {}
    brier = nll = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        total = sum(math.exp(value) for value in row)
        probabilities = [math.exp(value) / total for value in row]
        sure = max(probabilities)
        which = next(m for m in range(bins) if m / bins < sure <= (m + 1) / bins)
        filled.setdefault(which, []).append((sure, probabilities.index(sure) == label))
        brier += sum((p - (k == label)) ** 2 for k, p in enumerate(probabilities))
        nll -= math.log(probabilities[label])
    ece = mce = 0.0
    for members in filled.values():
        sure = sum(s for s, _ in members) / len(members)
        right = sum(r for _, r in members) / len(members)
        ece += len(members) / len(labels) * abs(right - sure)
        mce = max(mce, abs(right - sure))
    return ece, mce, brier / len(labels), nll / len(labels)


def drawn(count: int, scale: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from softmax(z), and the logits scale * z of a network that knows z."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 1.5, (count, 4)).astype(np.float32).astype(float)
    labels = (z + rng.gumbel(size=z.shape)).argmax(1)
    return scale * z, labels


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_errors_are_those_of_plain_loops(bins: int) -> None:
    logits, labels = drawn(400, 2.0)
    found = calibration(subject=answering(logits, labels), bins=bins)
    ece, mce, brier, nll = by_loops(logits, labels, bins)
    assert [found.ece, found.mce, found.brier, found.nll] == pytest.approx([ece, mce, brier, nll], rel=1e-9)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert found.nll == pytest.approx(log_loss(labels, shares), rel=1e-9)
    assert found.accuracy == np.mean(logits.argmax(1) == labels)


def sure(*confidences: float) -> list[list[float]]:
    """Logits of two classes, the first predicted with these probabilities."""
    return [[math.log(p / (1 - p)), 0.0] for p in confidences]


def test_errors_on_paper() -> None:
    # Of 10 bins: two images 0.75 sure, one right; one image 0.95 sure and wrong; one image 0.65 sure and right.
    found = calibration(subject=answering(sure(0.75, 0.75, 0.95, 0.65), [0, 1, 1, 0]), bins=10)
    assert found.bin_images.tolist() == [0, 0, 0, 0, 0, 0, 1, 2, 0, 1]
    assert found.bin_correct.tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 0, 0]
    assert found.bin_confidence[[6, 7, 9]].tolist() == pytest.approx([0.65, 0.75, 0.95])
    assert np.isnan(found.bin_confidence[0])
    assert found.ece == pytest.approx((2 * 0.25 + 0.95 + 0.35) / 4)
    assert found.mce == pytest.approx(0.95)
    assert found.confidence == pytest.approx((0.75 * 2 + 0.95 + 0.65) / 4)
    # Two classes: (1 - p)^2 twice for a right answer, p^2 twice for a wrong one.
    assert found.brier == pytest.approx(2 * (0.25**2 + 0.75**2 + 0.95**2 + 0.35**2) / 4, rel=1e-6)
    assert found.intervals()[7].tolist() == pytest.approx([0.0945, 0.9055], abs=1e-4)


def test_bin_holds_its_upper_edge() -> None:
    # Equal logits of two classes are exactly 0.5 sure: (0.25, 0.5] of four bins.
    found = calibration(subject=answering([[0, 0], [0, 0]], [0, 1]), bins=4)
    assert found.bin_images.tolist() == [0, 2, 0, 0]


def test_bins_of_equal_mass() -> None:
    found = calibration(subject=answering(sure(0.9, 0.6, 0.8, 0.7), [0, 0, 0, 1]), bins=2, binning="mass")
    assert found.bin_images.tolist() == [2, 2]
    assert found.bin_confidence.tolist() == pytest.approx([0.65, 0.85])
    assert found.edges.tolist() == pytest.approx([0, 0.7, 1])
    assert found.ece == pytest.approx((abs(1 - 1.3) + abs(2 - 1.7)) / 4, rel=1e-6)


def test_temperature_of_a_network_three_times_too_sure_is_three() -> None:
    logits, labels = drawn(4000, 3.0)
    found = calibration(subject=answering(logits, labels))
    assert found.temperature == pytest.approx(3, rel=0.08)
    # The likelihood is stationary there: mean of z_true equals mean of the expected z.
    shares = np.exp(logits / found.temperature)
    shares /= shares.sum(1, keepdims=True)
    assert logits[np.arange(4000), labels].mean() == pytest.approx((shares * logits).sum(1).mean(), rel=1e-4)
    assert found.ece > 0.2
    assert found.scaled_ece < 0.03
    assert found.scaled_nll < found.nll
    assert found.scaled_accuracy == found.accuracy


def test_no_image_is_scaled_by_a_temperature_fitted_on_it() -> None:
    logits, labels = drawn(40, 2.0)
    found = calibration(subject=answering(logits, labels, seed=5))
    halves = np.array_split(Streams(5).generator("inspect").permutation(40), 2)
    total = 0.0
    for half, other in (halves, halves[::-1]):
        temperature = best_temperature(logits[other], labels[other])
        total += by_loops(logits[half] / temperature, labels[half], 1)[3] * 20
    assert found.scaled_nll == pytest.approx(total / 40, rel=1e-9)
    own = [best_temperature(logits[half], labels[half]) for half in halves]
    assert found.temperature_halves == pytest.approx(own)


def test_calibrated_network_shows_no_more_than_chance() -> None:
    said = [calibration(subject=answering(*drawn(500, 1.0, seed))) for seed in range(20)]
    above = sum(one.ece > one.ece_chance_high for one in said)
    assert above <= 4  # 1 in 20 is expected; more than 4 has probability 0.003
    assert np.mean([one.ece for one in said]) == pytest.approx(
        np.mean([one.ece_chance for one in said]), rel=0.15
    )


def test_sentence() -> None:
    logits, labels = drawn(300, 2.0)
    found = calibration(subject=answering(logits, labels))
    assert found.sentence == (
        f"a net on table: {found.confidence:.1%} sure on average and {found.accuracy:.1%} right, "
        f"{100 * (found.confidence - found.accuracy):.1f} points too sure; calibration error (ECE, 15 bins of equal "
        f"width) {found.ece:.4f}, more than the {found.ece_chance_high:.4f} that chance explains; a temperature of "
        f"{found.temperature:.2f} makes it {found.scaled_ece:.4f}, and the negative log-likelihood "
        f"{found.scaled_nll:.4f} instead of {found.nll:.4f} (300 images of val)."
    )


@pytest.mark.parametrize(("labels", "end"), [([0, 0, 1, 1], LOWEST), ([1, 1, 0, 0], HIGHEST)])
def test_temperature_beyond_the_range_is_said(labels: list[int], end: float) -> None:
    found = calibration(subject=answering([[1, 0], [1, 0], [0, 1], [0, 1]], labels))
    assert found.temperature == pytest.approx(end, rel=0.01)
    assert found.sentence.endswith(" The best temperature lies beyond those looked at, 0.1 to 10.")


def test_one_image_is_refused() -> None:
    message = "A temperature is fitted on one half of the images and used on the other: give at least 2."
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        calibration(subject=answering([[0, 1]], [0]))
